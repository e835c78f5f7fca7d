"""Labelled examples change the task of a first ask, never what suffices, and only as far as they tell tasks apart."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import pytest

from agentroute import ChatRequest, Router
from agentroute.catalog.example import example_targets
from agentroute.decisions import Task
from agentroute.errors import ConfigError
from agentroute.routing.classifier import StandardClassifier
from agentroute.routing.encoders import StaticEncoder
from agentroute.routing.examples import Example, ExamplesClassifier, read_examples
from agentroute.routing.step import Step

MINUTES = [f"What did the committee say about {what}?" for what in "rent heating parking pets noise repairs".split()]
PARCELS = [f"Where is parcel {number} of my order?" for number in (17, 18, 26, 35, 46, 52)]


def examples() -> list[Example]:
    return [
        *(Example(f"minutes {n}", text, Task.SUMMARISATION) for n, text in enumerate(MINUTES)),
        *(Example(f"parcels {n}", text, Task.TOOL_USE) for n, text in enumerate(PARCELS)),
    ]


@pytest.fixture(scope="module")
def mixed() -> ExamplesClassifier:
    return ExamplesClassifier(examples(), StaticEncoder())


def both(classifier: ExamplesClassifier, *messages: dict[str, Any], **body: Any) -> tuple[Any, Any]:
    request = ChatRequest.from_openai({"messages": list(messages), **body})
    step = Step.of(request)
    return StandardClassifier().predict(step, request), classifier.predict(step, request)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def test_a_like_ask_gets_the_example_s_task_and_nothing_else(mixed: ExamplesClassifier) -> None:
    plain, told = both(mixed, user("What did the committee say about dogs?"))
    assert plain.task is Task.QA
    assert told.task is Task.SUMMARISATION
    assert told.reasons[0].startswith("most like the example minutes ")
    assert told.reasons[1:] == plain.reasons
    assert (told.sufficiency, told.step_kind, told.confidence) == (plain.sufficiency, plain.step_kind, plain.confidence)


def test_an_ask_like_none_is_left_to_the_rules(mixed: ExamplesClassifier) -> None:
    plain, told = both(mixed, user("Sing a lullaby in C minor"))
    assert told == plain


CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


@pytest.mark.parametrize(
    "messages",
    [
        [user(PARCELS[0]), {"role": "assistant", "content": "Soon."}, user(MINUTES[0])],
        [
            user(MINUTES[0]),
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": "ok"},
        ],
        [user(MINUTES[0] + "\n```python\ndef f(x):\n    return [y for y in x]\n\nclass A:\n    pass\n```\n" * 6)],
        [user("")],
    ],
    ids=["a later turn", "in a loop", "code", "nothing asked"],
)
def test_structure_goes_before_examples(mixed: ExamplesClassifier, messages: list[dict[str, Any]]) -> None:
    class Never:
        name = "never"

        def encode(self, texts: Sequence[str]) -> Any:
            raise AssertionError("asked")

    mixed = pickle.loads(pickle.dumps(mixed))
    mixed._encoder = Never()
    plain, told = both(mixed, *messages)
    assert told == plain


def test_a_greeting_before_the_ask_does_not_hide_it(mixed: ExamplesClassifier) -> None:
    greeting = {"role": "assistant", "content": "Hi! How can I help?"}
    assert both(mixed, greeting, user("What did the committee say about bins?"))[1].task is Task.SUMMARISATION


def test_examples_that_tell_nothing_apart_are_not_used() -> None:
    tasks = (Task.QA, Task.CHAT)
    mislabelled = [Example(str(n), text, tasks[n % 2]) for n, text in enumerate([*MINUTES, *PARCELS])]
    classifier = ExamplesClassifier(mislabelled, StaticEncoder())
    assert classifier.least is None
    plain, told = both(classifier, user(MINUTES[0]))
    assert told == plain


class Line:
    """Puts a text of digits at an angle, in degrees."""

    name = "line"

    def encode(self, texts: Sequence[str]) -> Any:
        angles = numpy.radians([float(text) for text in texts])
        return numpy.stack([numpy.cos(angles), numpy.sin(angles)], axis=1)


def test_the_least_similarity_is_where_nine_in_ten_are_right() -> None:
    pairs = [(10 * n + shift, Task.QA if n % 2 else Task.CHAT) for n in range(6) for shift in (0.0, 1.0)]
    far = [(100.0, Task.QA), (104.0, Task.CHAT), (120.0, Task.QA), (125.0, Task.CHAT)]
    rows = [Example(str(n), str(angle), task) for n, (angle, task) in enumerate([*pairs, *far])]
    least = ExamplesClassifier(rows, Line()).least
    assert least == pytest.approx(
        numpy.cos(numpy.radians(4.0))
    )  # 12 of the nearest 13 are right, 12 of the nearest 15 are not enough


def test_it_serves_a_router_and_its_pickle(mixed: ExamplesClassifier) -> None:
    router = Router(example_targets(), classifier=mixed)
    decision = router.route("What did the committee say about the roof?")
    assert decision.task is Task.SUMMARISATION
    assert mixed.version in decision.policy_version
    again = pickle.loads(pickle.dumps(router))
    assert again.route("What did the committee say about the roof?").target == decision.target
    assert again.policy_version == router.policy_version


def test_the_version_follows_the_examples(mixed: ExamplesClassifier) -> None:
    fewer = ExamplesClassifier(examples()[1:], StaticEncoder())
    assert fewer.version != mixed.version


def test_too_few() -> None:
    with pytest.raises(ConfigError, match="9 examples are too few"):
        ExamplesClassifier(examples()[:9], StaticEncoder())


def test_a_file(tmp_path: Path) -> None:
    rows = [{"text": each.text, "task": each.task.value} for each in examples()]
    rows[3]["id"] = "mine"
    file = tmp_path / "examples.jsonl"
    file.write_text("\ufeff" + "\n\n".join(map(json.dumps, rows)), encoding="utf-8")
    read = read_examples(file)
    assert [each.text for each in read] == [*MINUTES, *PARCELS]
    assert (read[0].id, read[3].id, read[4].id) == ("line 1", "mine", "line 9")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "examples.jsonl:2: not JSON"),
        ("[1]", "examples.jsonl:2: each line is an object"),
        ('{"text": "x"}', "task None is none; known are chat, qa"),
        ('{"text": "x", "task": "cooking"}', "task 'cooking' is none"),
        ('{"text": "x", "task": ["qa"]}', "is none"),
        ('{"text": " ", "task": "qa"}', "text must be a text"),
        ('{"text": "x", "task": "qa", "id": 3}', "id must be a text, not 3"),
        ('{"text": "x", "task": "qa", "tier": "mid"}', "unknown key 'tier'; known are id, text, task"),
        ("[" * 100_000, "examples.jsonl:2"),
    ],
)
def test_a_wrong_line(tmp_path: Path, line: str, says: str) -> None:
    file = tmp_path / "examples.jsonl"
    file.write_text('{"text": "x", "task": "qa"}\n' + line, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"examples\.jsonl") as caught:
        read_examples(file)
    assert says in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.jsonl"):
        read_examples(tmp_path / "gone.jsonl")
