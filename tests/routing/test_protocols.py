"""Calls and results that stand as text are read like native ones; people's own fences and tags are not."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute.messages import ChatRequest, Message, Text, Tool, ToolCall, ToolResult
from agentroute.routing.protocols import declares, spoken
from agentroute.routing.step import Step

ASK = "The parser drops the last field of each row. Please find out why and mend it."
SCRIPT = [
    ("cat src/parser.py", "def parse(row):\n    return row.split(',')[:-1]"),
    ("python -m pytest -q", "F..\n===== 1 failed, 2 passed in 0.12s ====="),
    ("sed -i 's/:-1//' src/parser.py", "sed: can't read src/parser.py: No such file or directory"),
    ("cat src/parser.py", "def parse(row):\n    return row.split(',')"),
    ("cat src/parser.py", "def parse(row):\n    return row.split(',')"),
]
"""A command and what it printed: the last one was made before, with nothing changed in between."""

KINDS = ["first_ask", "after_result", "after_error", "after_error", "after_result", "repeated_call"]
ACTIONS = ["none", "read", "test", "edit", "read", "read"]


def user(text: str) -> Message:
    return Message("user", (Text(text),))


def says(text: str) -> Message:
    return Message("assistant", (Text(text),))


def native(place: int, command: str, printed: str) -> list[Message]:
    call = ToolCall(f"c{place}", "bash", json.dumps({"command": command}))
    return [Message("assistant", (call,)), Message("tool", (ToolResult(f"c{place}", (Text(printed),)),))]


def swe_agent(place: int, command: str, printed: str) -> list[Message]:
    said = f"DISCUSSION\nLet me look.\n```\n{command}\n```"
    return [says(said), user(f"{printed}\n(Open file: n/a)\n(Current directory: /w)\nbash-$")]


def mini(place: int, command: str, printed: str) -> list[Message]:
    code = 1 if "failed" in printed or "No such" in printed else 0
    said = f"THOUGHT: let me look.\n\n```bash\n{command}\n```"
    return [says(said), user(f"<returncode>{code}</returncode>\n<output>\n{printed}\n</output>")]


def code_act(place: int, command: str, printed: str) -> list[Message]:
    said = f"Let me look.\n<execute_bash>\n{command}\n</execute_bash>"
    return [says(said), user(f"OBSERVATION:\n{printed}\n[Command finished with exit code 0]")]


def cline(place: int, command: str, printed: str) -> list[Message]:
    said = f"Let me look.\n\n<execute_command>\n<command>{command}</command>\n</execute_command>"
    block = "<environment_details>\n# VSCode Open Tabs\nsrc/parser.py\n</environment_details>"
    return [says(said), user(f"[execute_command for '{command}'] Result:\n{printed}\n\n{block}")]


def react(place: int, command: str, printed: str) -> list[Message]:
    said = f"Thought: let me look.\nAction: bash\nAction Input: {json.dumps({'command': command})}"
    return [says(said), user(f"Observation: {printed}")]


def crewai(place: int, command: str, printed: str) -> list[Message]:
    said = f"Thought: let me look.\nAction: bash\nAction Input: {json.dumps({'command': command})}"
    return [says(f"{said}\nObservation: {printed}")]


def ag2(place: int, command: str, printed: str) -> list[Message]:
    code = 1 if "failed" in printed or "No such" in printed else 0
    how = "failed" if code else "succeeded"
    said = f"Let me look.\n```sh\n{command}\n```\nI wait for what it prints."
    return [says(said), user(f"exitcode: {code} (execution {how})\nCode output: {printed}")]


def functions(place: int, command: str, printed: str) -> list[Message]:
    said = f"Let me look.\n<function=bash>\n<parameter=command>{command}</parameter>\n</function>"
    return [says(said), user(f"EXECUTION RESULT of [bash]:\n{printed}")]


def hermes(place: int, command: str, printed: str) -> list[Message]:
    call = json.dumps({"name": "bash", "arguments": {"command": command}})
    return [says(f"<tool_call>\n{call}\n</tool_call>"), user(f"<tool_response>\n{printed}\n</tool_response>")]


def json_action(place: int, command: str, printed: str) -> list[Message]:
    call = json.dumps({"action": "bash", "action_input": {"command": command}}, indent=2)
    return [says(f"```json\n{call}\n```"), user(printed)]


PROTOCOLS: list[Callable[[int, str, str], list[Message]]] = [
    native,
    swe_agent,
    mini,
    code_act,
    cline,
    react,
    crewai,
    ag2,
    functions,
    hermes,
    json_action,
]


def step(messages: list[Message], *, tools: tuple[Tool, ...] = ()) -> Step:
    return Step.of(ChatRequest(tuple(messages), tools=tools))


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.__name__)
def test_one_conversation_has_the_same_kinds_in_every_protocol(
    protocol: Callable[[int, str, str], list[Message]],
) -> None:
    messages = [user(ASK)]
    seen = [step(messages)]
    for place, (command, printed) in enumerate(SCRIPT):
        messages += protocol(place, command, printed)
        seen.append(step(messages))
    assert [each.kind.value for each in seen] == KINDS
    assert [each.last_action for each in seen] == ACTIONS
    assert [each.error_streak for each in seen] == [0, 0, 1, 2, 0, 0]
    assert {each.ask for each in seen} == {ASK}
    assert {each.n_user_turns for each in seen} == {1}
    assert seen[-1].steps_in_turn == len(SCRIPT)


def test_a_scratchpad_holds_ask_calls_and_results_in_one_message() -> None:
    template = (
        "Answer the question. Format:\n\nQuestion: the question\nThought: think\nAction: one of [search, bash]\n"
        "Action Input: the input\nObservation: the result\n... (this can repeat)\n\nBegin!\n\n"
    )
    asked = f"{template}Question: Who won in 1990?\n"
    assert step([user(asked + "Thought:")]).kind.value == "first_ask"
    looked = asked + 'Thought: look\nAction: search\nAction Input: "1990"\nObservation: West Germany\nThought:'
    found = step([user(looked)])
    assert (found.kind.value, found.last_action) == ("after_result", "search")
    assert "West Germany" not in found.ask
    failed = looked[: -len("Thought:")] + "Thought: x\nAction: bash\nAction Input: ls\nObservation: Error: no shell\n"
    assert step([user(failed)]).kind.value == "after_error"


def test_older_react_with_the_input_in_brackets() -> None:
    messages = [
        user("Who won in 1990?"),
        says("Thought 1: look\nAction 1: search[world cup 1990]"),
        user("Observation 1: West Germany"),
    ]
    assert step(messages).kind.value == "after_result"


@pytest.mark.parametrize("language", ["bash", "sh", "", "python"])
@pytest.mark.parametrize("reply", ["That worked. And hidden files?", "Please explain the flag", "ok\nnext?"])
def test_fences_that_a_person_reads_are_no_calls(language: str, reply: str) -> None:
    talk = [user("How do I list files?"), says(f"Like this:\n```{language}\nls -l\n```"), user(reply)]
    assert spoken(talk) == {}
    assert step(talk).kind.value == "first_ask"
    assert step(talk).ask == reply
    talk += [says(f"```{language}\nls -a\n```"), user("Great. How do I sort them by size?")]
    assert step(talk).kind.value == "first_ask"


def test_plain_fences_are_calls_if_every_answer_looks_printed() -> None:
    first = [user(ASK), says("```bash\nls\n```"), user("a.py\nb.py\nc.py\nd.py")]
    assert step(first).kind.value == "first_ask"
    second = [*first, says("```bash\ncat a.py\n```"), user("cat: a.py: Permission denied")]
    assert step(second).kind.value == "after_error"


@pytest.mark.parametrize(
    "said",
    [
        "Use this:\n<dependency>\n<groupId>org.x</groupId>\n</dependency>",
        "<div>\nHello\n</div>",
        "The answer is in <b>bold</b>",
        "Then a<b and c</d>",
        '{"title": "A report", "pages": 3}',
    ],
)
def test_other_tags_and_json_are_no_calls(said: str) -> None:
    assert spoken([user("Show me."), says(said), user("And then?")]) == {}


def test_what_a_person_says_within_a_protocol_is_an_ask() -> None:
    asked = says("<ask_followup_question>\n<question>Which port?</question>\n</ask_followup_question>")
    talk = [user(ASK), *cline(0, *SCRIPT[0]), asked, user("<answer>\n8080\n</answer>")]
    assert (step(talk).kind.value, step(talk).ask) == ("first_ask", "8080")
    denied = cline(0, *SCRIPT[0])[0]
    talk = [user(ASK), denied, user("The user denied this operation.\n<feedback>\nUse port 80\n</feedback>")]
    assert "Use port 80" in step(talk).ask


def test_a_protocol_is_declared_by_what_shows_how_calls_are_written() -> None:
    system = Message("system", (Text("Answer with one command:\n```bash\nyour_command\n```"),))
    assert declares((system, user(ASK)))
    assert declares((user("Use the format:\nAction: x\nAction Input: y"),))
    assert not declares((user("Explain this:\n```bash\nls\n```"),))
    assert not declares(())


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "system"]), st.text(max_size=200)), max_size=8))
def test_any_conversation_is_read(turns: list[tuple[str, str]]) -> None:
    messages = tuple(Message(role, (Text(text),)) for role, text in turns)  # type: ignore[arg-type]
    found = spoken(messages)
    assert found == spoken(messages)
    assert all(0 <= place < len(messages) for place in found)
    Step.of(ChatRequest(messages))
