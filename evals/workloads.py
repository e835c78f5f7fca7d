"""What do the bills of five workloads come to, routed and not? Recorded sessions as numbers, each model with its cache.

    python evals/workloads.py --data DIR        (default: AGENTROUTE_ECONOMICS, else ../shared/economics)

Data: `with_p.json.gz`: 72 office runs (Toolathlon), 227 support conversations (tau2), 5 coding sessions, each step
with the P of the router at 5a5706c. For documents and research with sub-agents nothing is recorded: they are
**modelled**.

`greedy`: the rule before, each step by itself: its cost + k cold steps of the strongest model * (1 - P). `router`: the
selection of today over its horizon, P as the hazard of a step (harm 1, or that of the shipped table: HARM), stakes of
$.25 (office, support) and $1 (coding). `list`: the same choices at list price, without any cache. `loss` is what
failures would cost at these P, stakes and harm 1: nothing here measures quality.

`held`: how often a session's cost and loss together, at harm 1, are no more than greedy's and the best single target's;
the dearest session against always-premium; and what is saved if 10, 20 or 40 steps are expected. `oracle`: the same for
whoever knows the whole session and starts below the top, moving up once, at the best step.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from simulator import POOLS, Bill, Caches, Chooser, Routed, always, bill, pool

from agentroute import Pool, Target
from agentroute.routing import selection
from agentroute.routing.economics import step_cost
from agentroute.routing.runs import Likely

ROOT = Path(__file__).resolve().parent.parent
STAKES: Mapping[str, float] = {"office": 0.25, "support": 0.25}
"""USD a failed task costs, by group; $1 for the others, which are coding."""

HARM: Mapping[str, float] = {"office": 0.3, "support": 0.3}
"""`harm` of the shipped table, by group; 1 for coding."""

WORKLOADS: Mapping[str, tuple[str, ...]] = {
    "coding, a person present": ("pi_large", "pi_compact"),
    "coding, unattended": ("openhands",),
    "support": ("support",),
    "office": ("office",),
}


@dataclass(frozen=True)
class Outcome:
    """One session on one way to choose: its bill, what it costs at list price, and the expected loss by failures."""

    bill: Bill
    listed: float
    loss: float

    @property
    def whole(self) -> float:
        return self.bill.usd + self.loss


def load(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        found: list[dict[str, Any]] = json.load(file)
    return found


def stakes_of(session: Mapping[str, Any]) -> float:
    return STAKES.get(session["group"], 1.0)


def likely(session: Mapping[str, Any]) -> Callable[[int], Likely]:
    return lambda i: tuple(session["ps"][i])  # type: ignore[return-value]


def greedy(session: Mapping[str, Any], among: Pool) -> Chooser:
    """The rule of 5a5706c: every step by itself, risk in cold steps of the strongest."""

    def choose(i: int, step: Mapping[str, Any], _: Mapping[str, Any], caches: Caches) -> Target:
        unit = float(step_cost(among.strongest, step["p"], step["o"]).cost or 0)

        def score(on: Target) -> float:
            held = caches.read(on, step["p"], step["t0"])
            now = float(step_cost(on, step["p"], step["o"], held).cost or 0)
            return now + session["k"][i] * unit * (1 - p_of(session, i, on))

        return min(among, key=score)

    return choose


def p_of(session: Mapping[str, Any], i: int, on: Target) -> float:
    assert on.tier is not None
    return float(session["ps"][i][on.tier.rank])


def outcome(session: Mapping[str, Any], choose: Chooser) -> Outcome:
    found = bill(session, choose)
    steps = session["steps"]
    listed = sum(
        float(on.price.tokens(step["p"], step["o"])) for on, step in zip(found.chosen, steps, strict=True) if on.price
    )
    stakes = stakes_of(session)
    loss = sum((1 - p_of(session, i, on)) * stakes for i, on in enumerate(found.chosen))
    return Outcome(found, listed, loss)


def routed(session: Mapping[str, Any], among: Pool, harm: float = 1.0) -> Outcome:
    stakes = stakes_of(session)
    return outcome(session, Routed(among, likely(session), lambda *_: stakes, harm=harm))


def singles(sessions: Sequence[Mapping[str, Any]], among: Pool) -> dict[str, list[Outcome]]:
    return {on.name: [outcome(session, always(on)) for session in sessions] for on in among}


def best_single(found: Mapping[str, Sequence[Outcome]]) -> str:
    """The one target that, serving every step of every session, has the least cost and loss together."""
    return min(found, key=lambda name: sum(each.whole for each in found[name]))


def table(sessions: Sequence[Mapping[str, Any]], title: str) -> str:
    n = sum(len(session["steps"]) for session in sessions)
    lines = [f"{title} ({len(sessions)} sessions, {n:,} steps)"]
    lines.append(f"  {'pool':10}{'way':30}{'list $':>10}{'cached $':>10}{'saved %':>9}{'loss $':>9}{'switches':>9}")
    for name in POOLS:
        among = pool(name)
        alone = singles(sessions, among)
        best = best_single(alone)
        top = sum(each.bill.usd for each in alone[among.strongest.name])
        ways = {
            "always " + among.strongest.name: alone[among.strongest.name],
            "best single: " + best: alone[best],
            "greedy": [outcome(session, greedy(session, among)) for session in sessions],
            "router, harm 1": [routed(session, among) for session in sessions],
            "router (default)": [routed(session, among, HARM.get(session["group"], 1.0)) for session in sessions],
        }
        for way, found in ways.items():
            usd = sum(each.bill.usd for each in found)
            listed, loss = sum(each.listed for each in found), sum(each.loss for each in found)
            switches = sum(each.bill.switches for each in found)
            lines.append(
                f"  {name:10}{way:30}{listed:10.2f}{usd:10.2f}{100 * (1 - usd / top):9.1f}{loss:9.2f}{switches:9d}"
            )
    return "\n".join(lines)


def oracle(session: Mapping[str, Any], among: Pool, low: Target) -> Outcome:
    """The least that starting on `low` and moving to the top once, at whichever step, comes to."""
    ways = (
        outcome(session, lambda i, *_, at=at: low if i < at else among.strongest)  # type: ignore[misc]
        for at in range(1, len(session["steps"]) + 1)
    )
    return min(ways, key=lambda each: each.whole)


def share(found: Sequence[Outcome], others: Sequence[Outcome]) -> float:
    """Percent of sessions that come to no more than the other way."""
    held = sum(a.whole <= b.whole + 1e-9 for a, b in zip(found, others, strict=True))
    return 100 * held / len(found)


def held(sessions: Sequence[Mapping[str, Any]], title: str) -> str:
    lines = [f"{title}, harm 1: percent of sessions that come to no more than ..., dearest against premium, saved by n"]
    lines.append(f"  {'pool':10}{'greedy':>8}{'best single':>30}{'dearest':>9}{'n 10':>7}{'n 20':>7}{'n 40':>7}")
    for name in POOLS:
        among = pool(name)
        alone = singles(sessions, among)
        best, top = best_single(alone), alone[among.strongest.name]
        found = [routed(session, among) for session in sessions]
        before = [outcome(session, greedy(session, among)) for session in sessions]
        dearest = max(a.bill.usd / b.bill.usd for a, b in zip(found, top, strict=True))
        saved = []
        for n in (10, 20, 40):
            with patch.object(selection, "HORIZON", n):
                usd = sum(routed(session, among).bill.usd for session in sessions)
            saved.append(100 * (1 - usd / sum(each.bill.usd for each in top)))
        lines.append(
            f"  {name:10}{share(found, before):8.1f}{best:>23}{share(found, alone[best]):7.1f}{dearest:9.3f}"
            + "".join(f"{each:7.1f}" for each in saved)
        )
    return "\n".join(lines)


def bound(sessions: Sequence[Mapping[str, Any]]) -> tuple[int, int, int]:
    """How many office sessions of the open pool can come to no more than greedy's and always-premium's both: if the run
    starts below the top and moves up once at the best step; if it stays at the top; and if a threshold on what the
    first step shows (P of the tier below, tokens), the best in hindsight, chooses between the two."""
    among = pool("open")
    low = next(on for on in among if on.name == "deepseek-v4-pro")
    rows = []
    for session in sessions:
        top, before = outcome(session, always(among.strongest)), outcome(session, greedy(session, among))
        least = oracle(session, among, low).whole <= min(top.whole, before.whole) + 1e-9
        shown = (p_of(session, 0, low), session["steps"][0]["p"])
        rows.append((least, top.whole <= before.whole + 1e-9, shown))
    chosen = max(
        sum(below if (shown[which] < at) is down else above for below, above, shown in rows)
        for which in (0, 1)
        for at in {row[2][which] for row in rows} | {float("inf")}
        for down in (True, False)
    )
    return sum(row[0] for row in rows), sum(row[1] for row in rows), chosen


_DOCUMENTS: Sequence[tuple[int, int]] = ((8_000, 300), (20_000, 400), (3_000, 150))
"""Modelled: prompt and output of a question over retrieved texts, one call each."""


def modelled() -> str:
    """The two workloads of which nothing is recorded, from prices and assumptions that are printed."""
    lines = ["documents (RAG): **modelled**: one call each, no cache, the cheapest model, 6 % paid again at the top"]
    for name in POOLS:
        among = pool(name)
        low = min(among, key=lambda on: sum(_once(on, *each) for each in _DOCUMENTS))
        top = sum(_once(among.strongest, *each) for each in _DOCUMENTS)
        usd = sum(_once(low, *each) for each in _DOCUMENTS) + 0.06 * top
        lines.append(f"  {name:10}{low.name:20} saves {100 * (1 - usd / top):5.1f} % of always {among.strongest.name}")
    lines.append(
        "research with sub-agents: **modelled**: 45 % of spend in sub-agents, which start a tier below the top"
    )
    for name in POOLS:
        among = pool(name)
        below = [on for on in among if on is not among.strongest][-1]
        saved = 0.45 * (1 - _once(below, 30_000, 300) / _once(among.strongest, 30_000, 300))
        lines.append(f"  {name:10}{below.name:20} saves {100 * saved:5.1f} % of always {among.strongest.name}")
    return "\n".join(lines)


def _once(on: Target, prompt: int, output: int) -> float:
    return float(step_cost(on, prompt, output, loop=False).cost or 0)


SENTENCE = (
    "Routing is often said to save 60-90 %. On these sessions that holds for one-shot work on documents and for pools "
    "whose strongest model is far dearer than the next; for coding with a person it does not: there nearly all that "
    "can be saved without risk is a prompt cache that does not break (21 and 58 % of two recorded bills)."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("AGENTROUTE_ECONOMICS", str(ROOT.parent / "shared" / "economics"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--out", type=Path, default=ROOT / "evals" / "results" / "workloads.txt")
    arguments = parser.parse_args()
    sessions = load(arguments.data / "with_p.json.gz")
    parts = [
        table([session for session in sessions if session["group"] in groups], title)
        for title, groups in WORKLOADS.items()
    ]
    by_group = {group: [session for session in sessions if session["group"] == group] for group in STAKES}
    parts += [held(some, group) for group, some in by_group.items()]
    below, above, chosen = bound(by_group["office"])
    parts.append(
        f"oracle, open pool, {len(by_group['office'])} office sessions, no more than greedy and than always-premium "
        f"both: {below} if it starts below the top and moves up once at the best step, {above} if it stays at the top, "
        f"{chosen} if the best threshold in hindsight on the first step's P or tokens chooses between the two."
    )
    text = "\n\n".join([*parts, modelled(), SENTENCE]) + "\n"
    arguments.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
