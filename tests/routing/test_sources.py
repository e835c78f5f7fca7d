"""Work on source code: what the agent read, changed and ran, never a file name in somebody's text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentroute.messages import ChatRequest, Message, Text, ToolCall, ToolResult
from agentroute.routing.actions import did
from agentroute.routing.learned import Weights, features
from agentroute.routing.sources import lists_source, source_weight
from agentroute.routing.step import Step
from agentroute.routing.task import Work


@pytest.mark.parametrize(
    ("name", "arguments", "weight"),
    [
        ("read_file", {"path": "src/parser.py"}, 1.0),
        ("Edit", {"file_path": "/w/a.zig", "old_string": "a"}, 1.0),
        ("write_file", {"path": "/w/process.py"}, 0.5),
        ("bash", {"command": "python run.py"}, 0.5),
        ("bash", {"command": "pytest tests/test_a.py"}, 1.0),
        ("bash", {"command": "sed -n 1,9p src/a.svelte"}, 1.0),
        ("bash", {"command": "git status"}, 0.0),
        ("read_file", {"path": "notes/hours.txt"}, 0.0),
        ("fetch_page", {"url": "https://x.example/index.php"}, 0.0),
        ("fetch_page", {"url": "docs.rs"}, 0.0),
        ("bash", {"command": "curl https://x.example/main.py"}, 0.0),
        ("web_search", {"query": "main.py example"}, 0.0),
        ("send_mail", {"text": "see you at 10 a.m"}, 0.0),
    ],
)
def test_how_much_a_call_is_work_on_source(name: str, arguments: dict[str, str], weight: float) -> None:
    given = json.dumps(arguments)
    assert source_weight(name, given, did(name, given)) == weight


@pytest.mark.parametrize("suffix", "py pyx dart zig erl svelte sh hs ml clj jl pl sol f90 cxx tf html css pony".split())
def test_many_languages_are_known(suffix: str) -> None:
    given = json.dumps({"path": f"src/parser.{suffix}"})
    assert source_weight("edit", given, did("edit", given)) == 1.0


@pytest.mark.parametrize(
    ("name", "arguments", "result", "expected"),
    [
        ("bash", {"command": "grep -rn total ."}, "./src/a.py:3:total\n./src/b.py:9:total", True),
        ("Glob", {"pattern": "**/*"}, "src/a.ts\nsrc/b.ts\nREADME.md", True),
        ("bash", {"command": "ls"}, "notes.txt\nhours.txt\nx.py", False),
        ("web_search", {"query": "x"}, "x.py\ny.py", False),
        ("search", {"query": "x"}, "x.py\ny.py", False),
        ("fetch_page", {"url": "u"}, "x.py\ny.py", False),
    ],
)
def test_hits_of_a_search_in_files(name: str, arguments: dict[str, str], result: str, expected: bool) -> None:
    assert lists_source(name, result, did(name, json.dumps(arguments))) is expected


def loop(*calls: tuple[str, dict[str, str], str], ask: str = "Please mend what is broken here.") -> Step:
    return Step.of(requested(*calls, ask=ask))


def requested(*calls: tuple[str, dict[str, str], str], ask: str = "Please mend it.") -> ChatRequest:
    messages = [Message("user", (Text(ask),))]
    for place, (name, arguments, result) in enumerate(calls):
        messages.append(Message("assistant", (ToolCall(f"c{place}", name, json.dumps(arguments)),)))
        messages.append(Message("tool", (ToolResult(f"c{place}", (Text(result),)),)))
    return ChatRequest(tuple(messages))


def test_the_share_counts_not_a_single_file() -> None:
    office = [("query_runs", {"project": "p"}, "5 runs")] * 2
    script = ("write_file", {"path": "/w/process_data.py"}, "written")
    assert loop(*office, script).on_source < 0.3
    code = [("read", {"path": "a.zig"}, "1"), ("edit", {"path": "a.zig"}, "Edited.")]
    assert loop(*code).on_source == 1.0
    assert loop(("open", {"file": "a.py"}, "x"), ("edit", {"lines": "1:3"}, "Edited.")).on_source == 1.0


def values(step: Step, request: ChatRequest) -> dict[str, float]:
    return features(step, Work.of(request, step))


def test_long_turns_that_go_well_count_for_nothing() -> None:
    fine: list[Any] = [("lookup", {"n": str(n)}, "found") for n in range(9)]
    request = requested(*fine)
    assert values(Step.of(request), request)["steps_in_turn"] == 0
    request = requested(*fine, ("lookup", {"n": "x"}, "Error: no such entry"))
    assert values(Step.of(request), request)["steps_in_turn"] == 10


def test_the_ceiling_keeps_the_tiers_apart() -> None:
    weights = Weights.shipped()
    hopeless = dict.fromkeys((name for name, _, _ in weights.terms), 3.0)
    budget, mid, standard, premium = weights.predict(hopeless)[0]
    assert budget < mid < standard < premium
    assert premium >= 0.5
    assert premium - budget > 0.4


@pytest.mark.parametrize(
    "ask", ["Compute 17^23 mod 31 + 4^9 / 3 + 12*7.", "```python\ndef f(x):\n    return g(x)[0]\n```"]
)
def test_a_text_beside_a_hard_ask_is_no_text_to_answer_from(ask: str) -> None:
    text = "lorem ipsum dolor sit amet. " * 90
    for asked, expected in ((f"{text}\n\n{ask}", 0.0), (f"{text}\n\nWho is named?", 1.0)):
        request = ChatRequest((Message("user", (Text(asked),)),))
        assert values(Step.of(request), request)["text_given"] == expected


def test_a_text_is_given_before_a_model_has_spoken_and_by_a_person() -> None:
    text = "lorem ipsum dolor sit amet. " * 90
    first = Message("user", (Text(text),))
    spoken = Message("assistant", (Text("Thank you."),))
    question = Message("user", (Text("Who is named?"),))
    for messages, expected in (
        ((first, spoken, question), True),
        ((question, spoken, first), False),
        ((Message("user", (Text(f"<environment_details>{text}</environment_details>\nWho?"),)),), False),
        ((Message("system", (Text("Answer with ```bash\nx\n```"),)), first), False),
    ):
        request = ChatRequest(messages)
        assert Work.of(request, Step.of(request)).text_given is expected
