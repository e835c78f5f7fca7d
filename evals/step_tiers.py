"""Does routing keep agent steps right? Scores the strategies on steps whose cheapest sufficient tier was verified.

    python evals/step_tiers.py --data DIR        (default: AGENTROUTE_EVAL_DATA, else ../shared/data)

Data: `step_tiers/steps.jsonl.gz`, the visible rows of TwinRouterBench (arXiv 2605.18859; CommonstackAI/UncommonRoute):
full prefixes of real agent steps, each with the cheapest tier that was sufficient when the step was run.

RowPass: share of steps sent to a tier at least that high. RowExact: to just that tier. TrajPass: share of instances of
which every step passes. Spend: list price of the steps on the example pool (no cache, estimated tokens), as a share of
always-premium; `with redo` adds the instance's whole premium bill for every instance that failed. Roles are unknown to
the router: each row is routed on its own, from its messages alone.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from agentroute import ChatRequest, Constraints, Router, Tier
from agentroute.catalog.example import example_targets
from agentroute.routing.economics import step_cost

ROOT = Path(__file__).resolve().parent.parent
TIERS = {"low": Tier.BUDGET, "mid": Tier.MID, "mid_high": Tier.STANDARD, "high": Tier.PREMIUM}
SEEDS = range(20)


@dataclass(frozen=True)
class Row:
    benchmark: str
    instance: str
    needed: Tier
    request: ChatRequest
    spend: Mapping[Tier, float]
    routed: Mapping[str, Tier]


@dataclass(frozen=True)
class Score:
    n: int
    row_pass: float
    row_exact: float
    traj_pass: float
    spend: float
    spend_with_redo: float


def load(path: Path, router: Router) -> list[Row]:
    """The rows, each routed once by each strategy."""
    by_tier = {target.tier: target for target in router.pool}
    rows = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            data: dict[str, Any] = json.loads(line)
            request = ChatRequest.from_openai({"messages": data["messages"]})
            decisions = {
                name: router.route(request, constraints=Constraints(strategy=name))
                for name in ("cheapest", "balanced", "best")
            }
            usage = decisions["balanced"].estimated_usage
            spend = {
                tier: float(step_cost(by_tier[tier], usage.input_tokens or 0, usage.output_tokens or 0).cost or 0)
                for tier in Tier
            }
            rows.append(
                Row(
                    benchmark=data["benchmark"],
                    instance=data["instance_id"],
                    needed=TIERS[data["target_tier"]],
                    request=request,
                    spend=spend,
                    routed={name: decision.tier for name, decision in decisions.items()},
                )
            )
    return rows


def score(rows: list[Row], choose: Callable[[Row], Tier]) -> Score:
    chosen = [(row, choose(row)) for row in rows]
    instances: dict[str, list[tuple[Row, Tier]]] = defaultdict(list)
    for row, tier in chosen:
        instances[row.instance].append((row, tier))
    premium = sum(row.spend[Tier.PREMIUM] for row in rows)
    spend = sum(row.spend[tier] for row, tier in chosen)
    failed = [steps for steps in instances.values() if any(tier < row.needed for row, tier in steps)]
    redo = sum(row.spend[Tier.PREMIUM] for steps in failed for row, _ in steps)
    return Score(
        n=len(rows),
        row_pass=sum(tier >= row.needed for row, tier in chosen) / len(rows),
        row_exact=sum(tier is row.needed for row, tier in chosen) / len(rows),
        traj_pass=1 - len(failed) / len(instances),
        spend=spend / premium,
        spend_with_redo=(spend + redo) / premium,
    )


POLICIES: dict[str, Callable[[Row], Tier]] = {
    "oracle": lambda row: row.needed,
    "balanced (default)": lambda row: row.routed["balanced"],
    "cheapest": lambda row: row.routed["cheapest"],
    "best": lambda row: row.routed["best"],
    "always-premium": lambda row: Tier.PREMIUM,
    "always-standard": lambda row: Tier.STANDARD,
    "always-mid": lambda row: Tier.MID,
    "always-budget": lambda row: Tier.BUDGET,
    "code-repair agent -> premium, else budget": (
        lambda row: Tier.PREMIUM if row.benchmark == "swebench" else Tier.BUDGET
    ),
}


def random_score(rows: list[Row]) -> tuple[Score, Score]:
    """Mean and standard deviation over seeds of a router that draws its tiers with balanced's own shares."""
    shares = [row.routed["balanced"] for row in rows]
    scores = []
    for seed in SEEDS:
        draw = random.Random(seed)
        scores.append(score(rows, lambda row, draw=draw: draw.choice(shares)))  # type: ignore[misc]
    fields = Score.__dataclass_fields__
    mean = {name: sum(getattr(s, name) for s in scores) / len(scores) for name in fields}
    spread = {name: (sum((getattr(s, name) - mean[name]) ** 2 for s in scores) / len(scores)) ** 0.5 for name in fields}
    return Score(**mean), Score(**spread)  # type: ignore[arg-type]


def table(rows: list[Row], title: str) -> str:
    head = f"{title} (n={len(rows)} steps, {len({row.instance for row in rows})} instances; percent)"
    lines = [head, f"{'':44}{'RowPass':>9}{'RowExact':>9}{'TrajPass':>9}{'Spend':>8}{'with redo':>11}"]

    def line(name: str, s: Score) -> str:
        return (
            f"{name:44}{100 * s.row_pass:9.1f}{100 * s.row_exact:9.1f}{100 * s.traj_pass:9.1f}"
            f"{100 * s.spend:8.1f}{100 * s.spend_with_redo:11.1f}"
        )

    lines += [line(name, score(rows, choose)) for name, choose in POLICIES.items()]
    mean, spread = random_score(rows)
    lines += [line("random, balanced's tier shares (mean)", mean), line(f"  its SD over {len(SEEDS)} seeds", spread)]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("AGENTROUTE_EVAL_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--out", type=Path, default=ROOT / "evals" / "results" / "step_tiers.txt")
    arguments = parser.parse_args()
    router = Router(targets=example_targets())
    rows = load(arguments.data / "step_tiers" / "steps.jsonl.gz", router)
    pool = ", ".join(f"{target.name} ({target.tier.value})" for target in router.pool if target.tier)
    parts = [
        f"Step tiers, {date.today()}, policy {router.policy_version}; pool: {pool}.",
        "The prior was set by hand while looking at these rows: they are no held-out test.",
        table(rows, "All"),
        *(
            table([row for row in rows if row.benchmark == name], name)
            for name in sorted({row.benchmark for row in rows})
        ),
    ]
    text = "\n\n".join(parts) + "\n"
    arguments.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
