"""Is agreement a label? Recorded calls of pairs of models on the same prompts, with both outcomes (BFCL).

    python evals/bfcl.py --data DIR        (default: AGENTROUTE_EVAL_DATA, else ../shared/data)

Data: `bfcl/agreement.parquet` (function calling, 2024-08-11; five pairs of models): the level of agreement of their
calls and whether each was right. "Suffices": the cheap model is right, or the strong one is not either. A role is a
category of the benchmark. Needs pyarrow.

1. AUC of the four levels for "suffices".
2. "Cheap if the lower bound of agreement on 20 steps of a role is at least t": how often it keeps 97 % of the strong
   model's success on the other steps. t is the least that keeps it in 90 % of draws on every other pair; and the same
   with .1 more, a rule that was made after t alone had failed on one pair. The shipped t was chosen with all in sight.
3. Promise of 97 %, from 600 outcomes: roles are ordered by agreement on them, a fixed sequence with the exact bound
   says how many go cheap; 50 splits.
"""

from __future__ import annotations

import argparse
import os
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentroute.learning.bounds import at_least, needed, ruled_out
from agentroute.learning.screening import SUFFICES

ROOT = Path(__file__).resolve().parent.parent
KEPT = 0.97


@dataclass(frozen=True, slots=True)
class Row:
    """One test: its category, the level of agreement, and whether both models were right."""

    role: str
    level: int
    cheap: bool
    strong: bool

    @property
    def suffices(self) -> bool:
        return self.cheap or not self.strong


def read(path: Path) -> dict[str, list[Row]]:
    import pyarrow.parquet as parquet

    pairs: dict[str, list[Row]] = defaultdict(list)
    for each in parquet.read_table(path).to_pylist():
        row = Row(each["category"], each["level"], each["ok_cheap"], each["ok_strong"])
        pairs[f"{each['cheap']} -> {each['strong']}"].append(row)
    return dict(pairs)


def auc(rows: Sequence[Row]) -> float:
    good = [row.level for row in rows if row.suffices]
    bad = [row.level for row in rows if not row.suffices]
    wins = sum((one > other) + 0.5 * (one == other) for one in good for other in bad)
    return wins / (len(good) * len(bad))


def kept(rows: Sequence[Row], cheap_roles: set[str]) -> tuple[float, float]:
    """(success as a share of the strong model's, share of steps that go cheap)."""
    ok = sum(row.cheap if row.role in cheap_roles else row.strong for row in rows)
    return ok / sum(row.strong for row in rows), sum(row.role in cheap_roles for row in rows) / len(rows)


def drawn(rows: Sequence[Row], rng: random.Random, n: int = 20) -> tuple[dict[str, list[Row]], list[Row]]:
    """`n` shadowed steps of each role, and all others."""
    by_role: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_role[row.role].append(row)
    shadowed, rest = {}, []
    for role, mine in by_role.items():
        mixed = rng.sample(mine, len(mine))
        shadowed[role] = mixed[:n]
        rest += mixed[n:]
    return shadowed, rest


def by_threshold(rows: Sequence[Row], threshold: float, draws: int, seed: int) -> tuple[float, float, float]:
    """(share of draws that keep the promise, mean success of the strong one's, mean share that goes cheap)."""
    rng, results = random.Random(seed), []
    for _ in range(draws):
        shadowed, rest = drawn(rows, rng)
        cheap = {
            role
            for role, mine in shadowed.items()
            if at_least(sum(row.level == 3 for row in mine), len(mine), SUFFICES[1]) >= threshold
        }
        results.append(kept(rest, cheap))
    held = sum(ratio >= KEPT for ratio, _ in results) / draws
    return held, sum(r for r, _ in results) / draws, sum(share for _, share in results) / draws


def chosen(pairs: dict[str, list[Row]], without: str, draws: int) -> float:
    """The least threshold that keeps the promise in 90 % of draws on every other pair."""
    for threshold in (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9):
        others = [rows for name, rows in pairs.items() if name != without]
        if all(by_threshold(rows, threshold, draws, 7)[0] >= 0.90 for rows in others):
            return threshold
    return 1.0


def promised(rows: Sequence[Row], rng: random.Random, n: int) -> tuple[float, float, int]:
    """(kept, share cheap, roles) of a policy calibrated on n outcomes, on the other rows.

    Half of the outcomes order the roles by what agreement says of them; the other half certifies, role after role.
    """
    mixed = rng.sample(list(rows), len(rows))
    learned, rest = mixed[:n], mixed[n:]
    first, second = learned[: n // 3], learned[n // 3 :]
    sums: dict[str, list[float]] = defaultdict(list)
    for row in first:
        sums[row.role].append((0.0, 0.15, 0.55, 0.95)[row.level])
    pooled = sum(map(sum, sums.values())) / len(first)
    score = {role: (sum(each) + 3 * pooled) / (len(each) + 3) for role, each in sums.items()}
    order = sorted(score, key=lambda role: -score[role])
    cheap: set[str] = set()
    for role in order:
        tried = cheap | {role}
        values = [(row.cheap if row.role in tried else row.strong) - KEPT * row.strong for row in second]
        if _level(values) > 0.05:
            break
        cheap = tried
    ratio, share = kept(rest, cheap)
    return ratio, share, len(cheap)


def _level(values: Sequence[float]) -> float:
    return ruled_out(values, -1.0, 1.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("AGENTROUTE_EVAL_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--out", type=Path, default=ROOT / "evals" / "results" / "bfcl.txt")
    arguments = parser.parse_args()
    pairs = read(arguments.data / "bfcl" / "agreement.parquet")
    lines: list[str] = []

    def say(text: str) -> None:
        print(text, flush=True)
        lines.append(text)

    say(f"{'pair':<62}{'n':>5}{'cheap':>7}{'strong':>7}{'AUC':>7}")
    for name, rows in pairs.items():
        cheap, strong = (sum(f(row) for row in rows) / len(rows) for f in _RIGHT)
        say(f"{name:<62}{len(rows):>5}{cheap:7.3f}{strong:7.3f}{auc(rows):7.3f}")
    say(
        say(
            f"\n20 shadowed steps a role, {100 * SUFFICES[1]:.0f} % bound; {arguments.draws} draws; "
            "t: the threshold without the pair"
        )
    )
    say(f"{'pair':<62}{'t':>5}  held, kept, cheap   the same, t + .1     as shipped, {SUFFICES[0]}")
    for name, rows in pairs.items():
        threshold = chosen(pairs, name, arguments.draws)
        found = [by_threshold(rows, t, arguments.draws, 11) for t in (threshold, threshold + 0.1, SUFFICES[0])]
        shown = "  ".join(" ".join(f"{x:6.3f}" for x in each) for each in found)
        say(f"{name:<62}{threshold:5.2f}  {shown}")
    say("\npromise of 97 %, calibrated, exact bound; 50 splits")
    say(f"{'pair':<62}{'n':>5}{'held':>7}{'kept':>7}{'cheap':>7}{'none':>6}")
    for name, rows in pairs.items():
        for n in (60, 600):
            rng = random.Random(3)
            splits = [promised(rows, rng, n) for _ in range(50)]
            held = sum(ratio >= KEPT for ratio, _, _ in splits) / 50
            ratio, share = (sum(each[index] for each in splits) / 50 for index in (0, 1))
            none = sum(each[2] == 0 for each in splits)
            say(f"{name:<62}{n:>5}{held:7.2f}{ratio:7.3f}{share:7.3f}{none:>6}")
    say(f"with no failure seen, 97 % takes {needed(KEPT)} outcomes")
    arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


_RIGHT: tuple[Callable[[Row], bool], ...] = (lambda row: row.cheap, lambda row: row.strong)


if __name__ == "__main__":
    main()
