"""Tells the task of a first ask by the nearest of the user's own labelled examples. It never touches what suffices.

Rules come first: an encoder is asked only about the first ask of a conversation that no structure explains. All other
steps (in a loop, after results, side calls, code) are told by the conversation itself.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agentroute.decisions import Prediction, StepKind, Task
from agentroute.errors import ConfigError
from agentroute.messages import ChatRequest

from .classifier import Classifier, StandardClassifier
from .encoders import Encoder, Index
from .step import Step

__all__ = ["Example", "ExamplesClassifier", "asks_about", "read_examples"]

_RIGHT = 0.9
"""Share of the examples, each left out in turn, that must get their own task from the nearest other example."""

_FEWEST = 10
"""Examples below which that share says nothing."""

_TASKS = {task.value: task for task in Task}
_KEYS = ("id", "text", "task")
_KINDS = (StepKind.FIRST_ASK, StepKind.STRUCTURED)
_ON_CODE = 0.2
_REMEMBERED = 1024
"""Asks, by their digest: one stays the same for all steps that wait for its first answer, and often comes again."""


@dataclass(frozen=True, slots=True)
class Example:
    """An ask and the task that it is. `id` is what decisions name it by: they never carry its text."""

    id: str
    text: str
    task: Task


class ExamplesClassifier:
    """Puts labelled examples beside a classifier: they may change the task of its predictions, and nothing else.

    How near is near enough is read off the examples themselves: the least similarity from which nine in ten of them,
    each left out in turn, get their own task from the nearest other one (`least`; None if they never do, and then
    the examples are not used). The task chooses a row of the strategy table; P(tier suffices) stays as it was.

    >>> examples = read_examples("examples.jsonl")                              # doctest: +SKIP
    >>> Router(targets, classifier=ExamplesClassifier(examples, StaticEncoder()))  # doctest: +SKIP

    Raises ConfigError if there are fewer than 10 examples.
    """

    def __init__(self, examples: Iterable[Example], encoder: Encoder, classifier: Classifier | None = None) -> None:
        self._examples = tuple(examples)
        if len(self._examples) < _FEWEST:
            raise ConfigError(f"{len(self._examples)} examples are too few to tell tasks apart: at least {_FEWEST}")
        self._encoder = encoder
        self._classifier: Classifier = StandardClassifier() if classifier is None else classifier
        self._index = Index(encoder, [example.text for example in self._examples])
        self.least = self._least()
        self._known: dict[bytes, tuple[Example, float]] = {}
        told = "\n".join(f"{each.task.value}\t{each.text}" for each in self._examples)
        digest = hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
        self.version = f"{self._classifier.version}+examples-{digest}-{encoder.name}"

    def predict(self, step: Step, request: ChatRequest) -> Prediction:
        predicted = self._classifier.predict(step, request)
        if self.least is None or not asks_about(step):
            return predicted
        example, near = self._nearest(step.ask)
        if near < self.least:
            return predicted
        because = f"most like the example {example.id} ({near:.2f}): {example.task.value}"
        return replace(predicted, task=example.task, reasons=(because, *predicted.reasons))

    def _nearest(self, ask: str) -> tuple[Example, float]:
        key = hashlib.blake2b(ask.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        found = self._known.get(key)
        if found is None:
            place, near = self._index.nearest(self._encoder.encode([ask]))[0]
            if len(self._known) >= _REMEMBERED:
                self._known = {}
            found = self._known[key] = (self._examples[place], near)
        return found

    def _least(self) -> float | None:
        others = self._index.nearest_others()
        ranked = sorted(
            (
                (near, self._examples[place].task is own.task)
                for own, (place, near) in zip(self._examples, others, strict=True)
            ),
            reverse=True,
        )
        least, right = None, 0
        for n, (near, same) in enumerate(ranked, 1):
            right += same
            if n >= _FEWEST and right >= math.ceil(_RIGHT * n):
                least = near
        return least

    def __reduce__(self) -> tuple[Any, ...]:
        return ExamplesClassifier, (self._examples, self._encoder, self._classifier)


def read_examples(path: str | Path) -> list[Example]:
    """The examples of a JSONL file, one `{"text": ..., "task": ...}` a line, with an `id` if you like (else the line's
    number). Raises ConfigError naming file, line and value."""
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    return [_example(line, f"{path}:{number}", number) for number, line in enumerate(lines, 1) if line.strip()]


def _example(line: str, where: str, number: int) -> Example:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise ConfigError(f'{where}: each line is an object such as {{"text": "...", "task": "extraction"}}')
    unknown = [key for key in row if key not in _KEYS]
    if unknown:
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(_KEYS)}")
    text, task, name = row.get("text"), row.get("task"), row.get("id", f"line {number}")
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"{where}: text must be a text that is not empty")
    if not isinstance(task, str) or task not in _TASKS:
        raise ConfigError(f"{where}: task {task!r} is none; known are {', '.join(_TASKS)}")
    if not isinstance(name, str):
        raise ConfigError(f"{where}: id must be a text, not {name!r}")
    return Example(name, text, _TASKS[task])


def asks_about(step: Step) -> bool:
    """Whether nothing but the words of the ask could tell the task."""
    return (
        bool(step.ask)
        and step.kind in _KINDS
        and step.n_user_turns <= 1
        and not step.steps_in_turn
        and step.code < _ON_CODE
    )
