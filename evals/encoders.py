"""Do labelled examples and an encoder tell the task of an ask better than the rules, and what do they cost?

    python evals/encoders.py --data DIR [--model FOLDER_OR_NAME]   (default: AGENTROUTE_EVAL_DATA, else ../shared/data)

Examples: `labels/tasks.jsonl`, ten for each of the 14 tasks, written for agentroute before any was scored (the column
`examples` leaves each out in turn: one author, so in-sample in style). MT-bench's categories and GSM8K (RouteLLM's
copies) were asked and labelled by others. `nearest alone`: the nearest example always has its way. `rules, then`: what
ships; an example counts from a similarity at which nine in ten examples, each left out in turn, got their own task
(`least`; `none`: there is no such similarity, so the examples are not used). `ms`: CPU of `predict`, median.

`asked`: how many requests the encoder would be asked about, on whole conversations of tau2-bench, each step as the
request it was; the rules answer the others.

With `--model` a sentence-transformers model is scored, too.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import os
import random
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from agentroute import ChatRequest
from agentroute.decisions import Prediction, Task
from agentroute.routing.classifier import Classifier, StandardClassifier
from agentroute.routing.encoders import Encoder, Index, SentenceTransformerEncoder, StaticEncoder
from agentroute.routing.examples import Example, ExamplesClassifier, asks_about, read_examples
from agentroute.routing.step import Step

ROOT = Path(__file__).resolve().parent.parent
CATEGORIES = {
    "writing": {Task.WRITING},
    "roleplay": {Task.CHAT, Task.WRITING},
    "reasoning": {Task.REASONING},
    "math": {Task.REASONING},
    "coding": {Task.CODE_GENERATION},
    "extraction": {Task.EXTRACTION, Task.CLASSIFICATION},
    "stem": {Task.QA, Task.ANALYSIS, Task.REASONING},
    "humanities": {Task.QA, Task.ANALYSIS, Task.WRITING},
}
"""The tasks that count as right for a category of MT-bench, fixed before scoring."""
GSM8K = 300


def asks(data: Path) -> dict[str, list[tuple[str, set[Task]]]]:
    import pyarrow.parquet as parquet

    bench = parquet.read_table(data / "routellm" / "mt_bench.parquet").to_pylist()
    maths = parquet.read_table(data / "routellm" / "gsm8k.parquet").to_pylist()
    maths = random.Random(1).sample(maths, min(GSM8K, len(maths)))
    return {
        "MT-bench": [(row["turn1"], CATEGORIES[row["category"]]) for row in bench],
        "GSM8K": [(row["prompt"], {Task.REASONING}) for row in maths],
    }


def judge(classifier: Classifier, ask: str) -> Prediction:
    request = ChatRequest.of(ask)
    return classifier.predict(Step.of(request), request)


def right(classifier: Classifier, rows: Sequence[tuple[str, set[Task]]]) -> float:
    return sum(judge(classifier, ask).task in tasks for ask, tasks in rows) / len(rows)


def left_out(encoder: Encoder, rows: Sequence[tuple[str, set[Task]]]) -> float:
    """The share of rows that lie nearest to a row of their own kind, each left out in turn."""
    others = Index(encoder, [ask for ask, _ in rows]).nearest_others()
    return sum(rows[place][1] == own[1] for own, (place, _) in zip(rows, others, strict=True)) / len(rows)


def nearest_alone(encoder: Encoder, examples: Sequence[Example], rows: Sequence[tuple[str, set[Task]]]) -> float:
    """The share right if the nearest example always had its way, however far off."""
    found = Index(encoder, [each.text for each in examples]).nearest(encoder.encode([ask for ask, _ in rows]))
    return sum(examples[place].task in tasks for (place, _), (_, tasks) in zip(found, rows, strict=True)) / len(rows)


def conversations(data: Path) -> Iterable[ChatRequest]:
    """Each step of the visible conversations as the request it was."""
    with gzip.open(data / "tau2" / "traces.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            tools = json.loads((data / "tau2" / f"domain_{row['domain']}.json").read_text(encoding="utf-8"))["tools"]
            tools = [tool if "function" in tool else {"type": "function", "function": tool} for tool in tools]
            messages = row["messages"]
            for place, message in enumerate(messages):
                if place and message["role"] == "assistant":
                    yield ChatRequest.from_openai({"messages": _plain(messages[:place]), "tools": tools})


def _plain(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """As OpenAI's messages: tau2 keeps calls without the `function` that holds name and arguments."""
    plain = []
    for each in messages:
        kept = {key: each[key] for key in ("role", "content", "tool_call_id") if each.get(key) is not None}
        if each["role"] == "tool":
            kept["tool_call_id"] = each.get("tool_call_id") or each["id"]
        if each.get("tool_calls"):
            kept["tool_calls"] = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {"name": call["name"], "arguments": json.dumps(call["arguments"])},
                }
                for call in each["tool_calls"]
            ]
        plain.append(kept)
    return plain


def milliseconds(classifier: Callable[[], Classifier], rows: Sequence[tuple[str, set[Task]]], rounds: int = 5) -> float:
    taken = []
    for _ in range(rounds):
        fresh = classifier()
        for ask, _ in rows:
            request = ChatRequest.of(ask)
            step = Step.of(request)
            start = time.process_time()
            fresh.predict(step, request)
            taken.append(1000 * (time.process_time() - start))
    return statistics.median(taken)


def encoding_ms(encoder: Encoder, rows: Sequence[tuple[str, set[Task]]], batch: int = 1) -> float:
    """CPU milliseconds a text."""
    texts = [ask for ask, _ in rows]
    encoder.encode(texts[:2])
    start = time.process_time()
    for place in range(0, len(texts), batch):
        encoder.encode(texts[place : place + batch])
    return 1000 * (time.process_time() - start) / len(texts)


def _line(
    name: str, shares: Sequence[float], least: str, classifier: Callable[[], Classifier] | None, rows: Any
) -> str:
    told = "".join("".rjust(n) if s != s else f"{100 * s:>{n}.1f}" for s, n in zip(shares, (10, 10, 8), strict=True))
    took = "" if classifier is None else f"{milliseconds(classifier, rows, 2):.3f}"
    return f"{name:<34}{told}{least:>8}{took:>8}"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("AGENTROUTE_EVAL_DATA") or ROOT.parent / "shared" / "data"
    options.add_argument("--data", type=Path, default=default)
    options.add_argument("--model", help="a sentence-transformers model: a folder or a name")
    args = options.parse_args()
    rows = asks(args.data)
    examples = read_examples(ROOT / "evals" / "labels" / "tasks.jsonl")
    encoders: list[Encoder] = [StaticEncoder()]
    if args.model:
        encoders.append(SentenceTransformerEncoder(args.model))
    own = [(each.text, {each.task}) for each in examples]
    every = (own, rows["MT-bench"], rows["GSM8K"])
    out = [
        f"Task of an ask: share right, percent. {date.today()}, 2 shared cores; {len(examples)} examples of"
        f" {len(Task)} tasks, MT-bench n={len(rows['MT-bench'])}, GSM8K n={len(rows['GSM8K'])}",
        f"{'':<34}{'examples':>10}{'MT-bench':>10}{'GSM8K':>8}{'least':>8}{'ms':>8}",
        _line("rules", [right(StandardClassifier(), each) for each in every], "", StandardClassifier, rows["MT-bench"]),
    ]
    for encoder in encoders:
        mixed = ExamplesClassifier(examples, encoder)
        least = "none" if mixed.least is None else f"{mixed.least:.2f}"
        alone = [left_out(encoder, own), *(nearest_alone(encoder, examples, each) for each in every[1:])]
        out.append(_line(f"nearest alone, {encoder.name}", alone, "", None, ()))
        gated = [float("nan"), *(right(mixed, each) for each in every[1:])]
        fresh = functools.partial(ExamplesClassifier, examples, encoder)
        out.append(_line(f"rules, then {encoder.name}", gated, least, fresh, rows["MT-bench"]))
        out.append(
            f"  one encoding of an MT-bench ask: {encoding_ms(encoder, rows['MT-bench']):.2f} ms; in batches of 32:"
            f" {encoding_ms(encoder, rows['MT-bench'], 32):.2f} ms; MT-bench's categories told by each other, each"
            f" ask left out in turn: {100 * left_out(encoder, rows['MT-bench']):.1f} %"
        )
    counted = [Step.of(request) for request in conversations(args.data)]
    asked = sum(asks_about(step) for step in counted)
    out.append(f"asked: {asked} of {len(counted)} requests of tau2-bench ({100 * asked / len(counted):.1f} %)")
    text = "\n".join(out) + "\n"
    print(text, end="")
    (ROOT / "evals" / "results" / "encoders.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
