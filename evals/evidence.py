"""Scores what `judge` says of tool results against labels set by hand, beside two plain baselines.

python evals/evidence.py --data DIR [--split dev|test|agents] [--out FILE]

Three parts, each with what was seen while the rules were built (SEEN): the two halves of results of tau2-bench and
TwinRouterBench (2026-11-24), and results of 15 kinds of recorded agents (`../cases/routing/evidence.jsonl` beside the
data; texts rewritten). The labels of the last were given before any verdict was seen; `also` names a second verdict
that its labeller takes for right as well.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from agentroute.messages import Text, ToolResult
from agentroute.routing.evidence import judge

HERE = Path(__file__).parent
LABELS = HERE / "labels" / "evidence.jsonl"
FAILURES = ("error", "failing_test")
SEEN = {
    "dev": "seen while the rules were built",
    "test": "held out until the first version stood (2026-11-24), looked at since",
    "agents": "seen while the rules were built",
}
FOUR_WORDS = ("error", "failed", "exception", "traceback")


@dataclass(frozen=True, slots=True)
class Labelled:
    """One tool result with its label. `flag` is the framework's own, where the data has one."""

    reference: str
    source: str
    split: str
    label: str
    doubtful: bool
    text: str
    flag: bool | None
    also: str | None = None

    def wanted(self, said: str) -> str:
        """The label, or the other one that counts as right if that is what was said."""
        return said if said == self.also else self.label


def agents(path: Path) -> Iterator[Labelled]:
    """The labelled results of recorded agents."""
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        yield Labelled(
            reference=row["id"],
            source=row["format"],
            split="agents",
            label=row["label"],
            doubtful=row["also"] is not None,
            text=row["text"],
            flag=row["is_error"],
            also=row["also"],
        )


def load(data: Path) -> Iterator[Labelled]:
    """The labelled results, their texts read from `data`. Raises ValueError where a text is not the one labelled."""
    labels = [json.loads(line) for line in LABELS.read_text("utf-8").splitlines()]
    for name in sorted({label["file"] for label in labels}):
        wanted = [label for label in labels if label["file"] == name]
        rows = {label["row"] for label in wanted}
        with gzip.open(data / name, "rt", encoding="utf-8") as lines:
            kept = {row: json.loads(line)["messages"] for row, line in enumerate(lines) if row in rows}
        for label in wanted:
            message = kept[label["row"]][label["message"]]
            text = message.get("content") or ""
            reference = f"{name}:{label['row']}:{label['message']}"
            if not hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest().startswith(label["sha256"]):
                raise ValueError(f"{reference}: the text is not the one that was labelled")
            yield Labelled(
                reference=reference,
                source=name.partition("/")[0],
                split=label["split"],
                label=label["label"],
                doubtful=label.get("doubtful", False),
                text=text,
                flag=message.get("error"),
            )


def text_only(item: Labelled) -> str:
    return judge(ToolResult("", (Text(item.text),))).verdict


def with_flag(item: Labelled) -> str:
    return judge(ToolResult("", (Text(item.text),), is_error=item.flag)).verdict


def four_words(item: Labelled) -> str:
    """The rule of langchain-router 0.1.4: any of four words is a failure."""
    lower = item.text.lower()
    return "error" if any(word in lower for word in FOUR_WORDS) else "ok"


def always_ok(item: Labelled) -> str:
    return "ok"


JUDGES: dict[str, Callable[[Labelled], str]] = {
    "judge, text only": text_only,
    "judge, with the framework's flag": with_flag,
    "four words": four_words,
    "always ok": always_ok,
}


def scores(pairs: list[tuple[bool, bool]]) -> str:
    """Precision, recall and F1 of (said, true) pairs, with their counts."""
    hit = sum(said and true for said, true in pairs)
    said = sum(said for said, _ in pairs)
    true = sum(true for _, true in pairs)
    if not true:
        return "no such label"
    precision = hit / said if said else 0.0
    recall = hit / true
    f1 = 2 * precision * recall / (precision + recall) if hit else 0.0
    return f"precision {precision:.3f} ({hit}/{said})  recall {recall:.3f} ({hit}/{true})  F1 {f1:.3f}"


def report(items: list[Labelled], title: str) -> Iterator[str]:
    counts = Counter(item.label for item in items)
    shown = "  ".join(f"{label} {counts[label]}" for label in ("ok", "error", "failing_test", "empty"))
    yield f"{title}: n = {len(items)}  ({shown}); {SEEN[items[0].split]}"
    for name, verdict in JUDGES.items():
        said = [verdict(item) for item in items]
        wanted = [item.wanted(verdict) for item, verdict in zip(items, said, strict=True)]
        failures = [(s in FAILURES, w in FAILURES) for s, w in zip(said, wanted, strict=True)]
        yield f"  {name}"
        yield f"    failure  {scores(failures)}"
        if name.startswith("judge"):
            empties = [(s == "empty", w == "empty") for s, w in zip(said, wanted, strict=True)]
            yield f"    empty    {scores(empties)}"
            for s, w, item in zip(said, wanted, items, strict=True):
                if s != w:
                    doubt = "  (doubtful label)" if item.doubtful else ""
                    yield f"    miss     {item.reference}: said {s}, labelled {item.label}{doubt}"
    yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("AGENTROUTE_EVAL_DATA", HERE.parent.parent / "shared/data")
    )
    parser.add_argument("--split", choices=tuple(SEEN), help="only this part; default: all, and each source")
    parser.add_argument("--out", type=Path, help="write the report to this file too")
    options = parser.parse_args()
    data = Path(options.data)
    items = [*load(data), *agents(data.parent / "cases" / "routing" / "evidence.jsonl")]
    lines = [
        f"Evidence in tool results, {date.today().isoformat()}, {len(items)} distinct results labelled by hand",
        "",
    ]
    for split in (options.split,) if options.split else tuple(SEEN):
        part = [item for item in items if item.split == split]
        lines += report(part, f"{split} split")
        if options.split is None:
            for source in sorted({item.source for item in part}):
                lines += report([item for item in part if item.source == source], f"{split} split, {source}")
    text = "\n".join(lines)
    print(text)
    if options.out is not None:
        options.out.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
