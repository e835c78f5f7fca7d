"""How many of the steps that are done on too low a tier spoil their task? From runs whose end is known.

    python evals/harm.py --data DIR        (default: AGENTROUTE_EVAL_DATA, else ../shared/data)

Data: `tau2/traces.jsonl.gz` (tau2-bench, MIT), the airline domain: 30 tasks, each done by five models, with rewards.

The hazard of a model is `-ln(share of runs that end well) / steps a run`. Most of it is the task's own: the strongest
model fails, too. What counts for a choice is how it differs between models, against how 1 - P differs between their
tiers at the same steps. `harm` is the slope of that through the origin (least squares over the models below the
strongest); the interval is a bootstrap over tasks. Nothing here was used to set the prior, nor the other way round.
"""

from __future__ import annotations

import argparse
import math
import os
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from agentroute import Router, Tier
from agentroute.catalog.example import example_targets
from agentroute.replay.records import Trace
from agentroute.replay.traces import Traces

ROOT = Path(__file__).resolve().parent.parent
DOMAIN = "airline"
DRAWS = 2000
TIERS: Mapping[str, Tier] = {
    "claude-opus-4-6": Tier.PREMIUM,
    "claude-sonnet-4-5": Tier.STANDARD,
    "gpt-5.4": Tier.STANDARD,
    "azure/gpt-4o-2024-11-20": Tier.MID,
    "ollama_chat/qwen2.5:7b": Tier.BUDGET,
}
"""The models of the recording and the tiers they are taken for: by hand, before anything was computed."""


@dataclass(frozen=True)
class Run:
    task: str
    model: str
    ended_well: bool
    steps: int
    short: tuple[float, ...]
    """1 - P by tier, summed over the steps."""


def load(path: Path, router: Router) -> list[Run]:
    found = []
    for _, _, trace in Traces([path]):
        if not isinstance(trace, Trace):
            raise SystemExit(f"the data cannot be read: {trace}")
        model = next((call.model for call in trace.calls if call.model), "")
        domain, _, task = (trace.id or "").partition("/")
        if model not in TIERS or trace.reward is None or domain != DOMAIN:
            continue
        short = [0.0] * 4
        for call in trace.calls:
            request = replace(trace.request, messages=trace.request.messages[: call.n_messages])
            p = router.look(request).prediction.sufficiency
            short = [each + 1 - of for each, of in zip(short, p, strict=True)]
        found.append(Run(task.split("/")[0], model, trace.reward >= 1, len(trace.calls), tuple(short)))
    return found


def hazard(runs: Sequence[Run]) -> float:
    well = max(sum(run.ended_well for run in runs), 0.5)
    return -math.log(well / len(runs)) / (sum(run.steps for run in runs) / len(runs))


def gap(runs: Sequence[Run], tier: Tier) -> float:
    """How much likelier a step is too hard for this tier than for the strongest."""
    return sum(run.short[tier.rank] - run.short[Tier.PREMIUM.rank] for run in runs) / sum(run.steps for run in runs)


def slope(runs: Sequence[Run]) -> float:
    by_model: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_model[run.model].append(run)
    strongest = hazard(next(found for model, found in by_model.items() if TIERS[model] is Tier.PREMIUM))
    below = [(gap(runs, TIERS[m]), hazard(found) - strongest) for m, found in by_model.items()]
    return sum(x * y for x, y in below) / sum(x * x for x, _ in below)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("AGENTROUTE_EVAL_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--out", type=Path, default=ROOT / "evals" / "results" / "harm.txt")
    arguments = parser.parse_args()
    router = Router(targets=example_targets())
    runs = load(arguments.data / "tau2" / "traces.jsonl.gz", router)
    draw = random.Random(1)
    by_task: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_task[run.task].append(run)
    tasks = list(by_task.values())
    drawn = sorted(slope([run for task in draw.choices(tasks, k=len(tasks)) for run in task]) for _ in range(DRAWS))
    lines = [
        f"Harm of an insufficient step, tau2-bench {DOMAIN}, {date.today()}, {router.policy_version}",
        f"  {'model':28}{'tier':>10}{'ended well':>12}{'hazard':>8}{'1 - P, above the strongest':>28}",
    ]
    for model, tier in TIERS.items():
        own = [run for run in runs if run.model == model]
        well = f"{sum(run.ended_well for run in own)} of {len(own)}"
        lines.append(f"  {model:28}{tier.value:>10}{well:>12}{hazard(own):8.3f}{gap(runs, tier):28.3f}")
    low, high = drawn[DRAWS // 40], drawn[-DRAWS // 40 - 1]
    lines.append(f"harm {slope(runs):.2f} (95 % over {len(tasks)} tasks: {low:.2f} to {high:.2f})")
    text = "\n".join(lines) + "\n"
    arguments.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
