"""Spelling is not an action: what counts as the same, and what does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute.learning.agreement import Act, Level, agrees, compare, effects
from agentroute.messages import ChatRequest, Message, Text, Tool, ToolCall

READ = Tool(
    "read_file",
    parameters={
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "first": {"type": "integer", "default": 1},
            "count": {"type": "integer"},
        },
        "required": ["path"],
    },
)
EDIT = Tool(
    "edit_file",
    parameters={
        "type": "object",
        "properties": {"path": {"type": "string"}, "value": {"type": "integer"}, "check": {"type": "boolean"}},
        "required": ["path", "value"],
    },
)
REQUEST = ChatRequest(messages=(Message("user", (Text("go"),)),), tools=(READ, EDIT))


def act(*calls: tuple[str, Any], text: str = "", same: dict[str, str] | None = None) -> Act:
    made = tuple(
        ToolCall(f"c{index}", name, told if isinstance(told, str) else json.dumps(told))
        for index, (name, told) in enumerate(calls)
    )
    return Act.of(Message("assistant", (Text(text), *made)), REQUEST, same=same)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"path": "src/a.py", "count": 20}, '{"count": 20, "path": "./src/a.py"}'),
        ({"path": "src/a.py", "first": 1}, {"path": "src/a.py"}),
        ({"path": "src//a.py"}, {"path": "src/./a.py"}),
        ({"path": "src/a.py", "count": "20"}, {"path": "src/a.py", "count": 20}),
        ({"path": "src/a.py", "count": 20.0}, {"path": "src/a.py", "count": 20}),
        ({"path": "src/a.py", "count": None}, {"path": "src/a.py"}),
        ({"path": " a  b "}, {"path": "a b"}),
    ],
)
def test_other_spelling_is_the_same_action(one: Any, other: Any) -> None:
    assert compare(act(("read_file", one)), act(("read_file", other))) is Level.SAME


def test_the_order_of_parallel_calls_does_not_count() -> None:
    calls = (("read_file", {"path": "a"}), ("read_file", {"path": "b"}))
    assert compare(act(*calls), act(*reversed(calls))) is Level.SAME


def test_a_tool_said_to_do_the_same_counts_as_the_other() -> None:
    one, other = ("view_file", {"path": "a"}), ("read_file", {"path": "a"})
    assert compare(act(one), act(other)) is Level.OTHER
    assert compare(act(one, same={"view_file": "read_file"}), act(other)) is Level.SAME


@pytest.mark.parametrize(
    ("other", "level"),
    [
        (("edit_file", {"path": "a", "value": 4}), Level.NAMES),
        (("edit_file", {"path": "a", "value": 3, "check": True}), Level.TOOLS),
        (("read_file", {"path": "a"}), Level.OTHER),
        (("edit_file", "{broken"), Level.TOOLS),
    ],
)
def test_four_levels(other: tuple[str, Any], level: Level) -> None:
    one, two = act(("edit_file", {"path": "a", "value": 3})), act(other)
    assert compare(one, two) is compare(two, one) is level
    assert not agrees(one, two)


def test_reads_are_compared_leniently_and_writes_strictly() -> None:
    assert agrees(act(("read_file", {"path": "a", "count": 20})), act(("read_file", {"path": "./a", "first": 40})))
    assert not agrees(act(("read_file", {"path": "a"})), act(("read_file", {"path": "b"})))
    both = [act(("edit_file", {"path": "a", "value": 1, **more})) for more in ({}, {"check": True})]
    assert not agrees(*both)


def test_a_read_without_a_subject_agrees_with_nothing_but_itself() -> None:
    one, other = act(("list_items", {"page": 1})), act(("list_items", {"page": 2}))
    assert not agrees(one, other)
    assert agrees(one, one)


def test_a_call_is_never_a_text() -> None:
    assert compare(act(("read_file", {"path": "a"})), act(text="a")) is Level.OTHER


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        ("The total is 42 units.", "42 units in all, it seems", Level.SAME),
        ("The total is 42.", "The total is 43.", Level.TOOLS),
        ("Yes.", "No.", Level.TOOLS),
        ('{"class": "a", "score": 3}', '```json\n{"score": 3.0, "class": "a"}\n```', Level.SAME),
        ('{"score": 3, "note": "it is very good in many ways"}', '{"score": 3, "note": "fine, and as asked for"}', 3),
        ('{"class": "a", "score": 3}', '{"class": "a", "score": 4}', Level.NAMES),
        ('{"score": 3}', '{"points": 3}', Level.TOOLS),
        ('{"score": 3}', "score: 3", Level.OTHER),
    ],
)
def test_text_answers(one: str, other: str, level: int) -> None:
    assert compare(act(text=one), act(text=other)) == level


def test_effects_are_the_writes_of_a_run_whatever_was_read() -> None:
    write = ("edit_file", {"path": "a", "value": 1})
    one = [act(("read_file", {"path": "x"})), act(write)]
    assert effects(one) == effects([act(write)]) != effects([act(("read_file", {"path": "x"}))])


@given(st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text() | st.lists(st.floats()), max_size=4))
def test_an_action_agrees_with_itself_in_any_order(arguments: dict[str, Any]) -> None:
    one = act(("edit_file", arguments))
    other = act(("edit_file", dict(reversed(list(arguments.items())))))
    assert compare(one, other) is Level.SAME


@given(st.text(max_size=200))
def test_broken_arguments_raise_nothing(text: str) -> None:
    assert agrees(act(("run", text)), act(("run", text)))
