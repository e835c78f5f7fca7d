"""What a policy file costs: loading 1,000 roles, and a decision with it beside one without, in turn in one run.

python evals/bench/policy.py [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

from agentroute import ChatRequest, Router, StepContext
from agentroute.catalog.example import example_targets
from agentroute.learning.calibrate import Policy
from agentroute.learning.policy_file import written
from agentroute.routing.profiles import Profile, Profiles

OUT = Path(__file__).resolve().parent.parent / "results" / "bench_policy.txt"
ROLES = 1_000


def policy(names: list[str]) -> str:
    today = date.today()
    profiles = tuple(
        Profile(
            f"role-{index}", name, 0.95, 0.97, 300, "trial", today, today + timedelta(days=90), 8.0, name != names[-1]
        )
        for index in range(ROLES)
        for name in (names[0], names[-1])
    )
    return written(Policy(names[-1], today, profiles, (), "promised"))


def timed(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return 1000 * (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=400)
    arguments = parser.parse_args()
    targets = example_targets()
    plain = Router(targets)
    order = sorted(plain.pool, key=lambda each: each.tier.rank if each.tier is not None else 0)
    names = [each.name for each in order]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "policy.toml")
        path.write_text(policy(names), encoding="utf-8")
        loads = [timed(lambda: Profiles.load(path)) for _ in range(7)]
        learned = Router(targets, policy=path)
    tool = {"type": "function", "function": {"name": "read_file", "parameters": {"type": "object", "properties": {}}}}
    spent: dict[str, list[float]] = {"without": [], "with": []}
    for number in range(arguments.rounds):
        body = json.dumps({"messages": [{"role": "user", "content": f"Look {number} up"}], "tools": [tool]})
        for name, router in (("without", plain), ("with", learned)):
            request, context = ChatRequest.from_openai(json.loads(body)), StepContext(role=f"role-{number % ROLES}")
            spent[name].append(timed(lambda r=router, q=request, c=context: r.route(q, context=c)))  # type: ignore[misc]
    before, after = (statistics.median(spent[name]) for name in ("without", "with"))
    text = (
        f"{date.today().isoformat()}, CPU\n"
        f"load {ROLES:,} roles, {2 * ROLES:,} profiles: {min(loads):.0f} ms (median {statistics.median(loads):.0f})\n"
        f"a short decision: {before:.3f} ms without, {after:.3f} ms with a policy ({after / before:.2f}x, median of "
        f"{arguments.rounds})\n"
    )
    print(text, end="")
    OUT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
