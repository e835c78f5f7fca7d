"""The features of a model call: why it is made, what happened before it, and what must not sway them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute.decisions import StepContext, StepKind
from agentroute.messages import (
    Audio,
    ChatRequest,
    Document,
    Image,
    Message,
    Part,
    Reasoning,
    ResponseSchema,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from agentroute.routing.step import Step

TOOLS = (Tool("bash", "Runs a command"), Tool("submit", "Hands the patch in"))
ASK = "Fix the login page so that it takes long passwords."


def system(text: str) -> Message:
    return Message("system", (Text(text),))


def user(text: str) -> Message:
    return Message("user", (Text(text),))


def says(text: str) -> Message:
    return Message("assistant", (Text(text),))


def calls(*commands: str) -> Message:
    """One assistant message with a shell call for each command."""
    parts = tuple(ToolCall(f"c{place}", "bash", json.dumps({"command": each})) for place, each in enumerate(commands))
    return Message("assistant", parts)


def results(*texts: str, is_error: bool | None = None) -> Message:
    return Message("tool", tuple(ToolResult(f"c{place}", (Text(text),), is_error) for place, text in enumerate(texts)))


def step(*messages: Message, context: StepContext | None = None, **request: Any) -> Step:
    return Step.of(ChatRequest(messages, **({"tools": TOOLS} | request)), context)


def test_first_ask() -> None:
    found = step(system("You are an agent."), user(ASK))
    assert found.kind is StepKind.FIRST_ASK
    assert (found.last_role, found.ask, found.ask_chars, found.n_user_turns) == ("user", ASK, len(ASK), 1)
    assert (found.steps_taken, found.steps_in_turn, found.last_action, found.evidence) == (0, 0, "none", ())
    assert found.prefix_chars == len("You are an agent.") + len(ASK)


def test_after_result() -> None:
    found = step(user(ASK), calls("cat a.py", "grep -n x b.py"), results("x = 1", "3: x"))
    assert found.kind is StepKind.AFTER_RESULT
    assert (found.n_results_last, found.errors_last, found.error_streak) == (2, 0, 0)
    assert (found.steps_taken, found.steps_in_turn, found.reads, found.searches) == (1, 1, 1, 1)
    assert found.last_role == "tool"


@pytest.mark.parametrize(
    "batch",
    [
        results("Traceback (most recent call last):\n  File 'a'\nKeyError: 1"),
        results("fine", "3 failed, 9 passed in 1.2s"),
        results("anything", is_error=True),
    ],
)
def test_after_error(batch: Message) -> None:
    found = step(user(ASK), calls("python a.py", "pytest"), batch)
    assert found.kind is StepKind.AFTER_ERROR
    assert (found.errors_last, found.error_streak, found.errors_recent) == (1, 1, 1)


def test_an_empty_result_is_no_error() -> None:
    found = step(user(ASK), calls("grep x a"), results("<returncode>1</returncode>\n<output>\n</output>"))
    assert found.kind is StepKind.AFTER_RESULT
    assert [each.verdict for each in found.evidence] == ["empty"]


def test_a_streak_of_errors_and_the_recovery() -> None:
    failing = [user(ASK)]
    for place in range(3):
        failing += [calls(f"python a{place}.py"), results("Error: no")]
    assert step(*failing).error_streak == 3
    mended = step(*failing, calls("python b.py"), results("done"))
    assert mended.kind is StepKind.AFTER_RESULT
    assert (mended.error_streak, mended.errors_recent, mended.recovered) == (0, 3, True)
    assert not step(*failing, calls("x"), results("done"), calls("y"), results("done")).recovered


def test_a_repeated_call() -> None:
    loop = [
        user(ASK),
        calls("cat a.py"),
        results("x = 1"),
        calls("ls"),
        results("a.py"),
        calls("cat a.py"),
        results("x = 1"),
    ]
    found = step(*loop)
    assert found.kind is StepKind.REPEATED_CALL
    assert (found.repeated_call, found.repeats, found.spinning) == (True, 1, False)
    again = step(*loop, calls("cat a.py"), results("x = 1"))
    assert (again.repeats, again.spinning) == (2, True)


def test_the_same_test_run_after_an_edit_is_no_repetition() -> None:
    found = step(
        user(ASK),
        calls("pytest -q"),
        results("3 failed, 1 passed in 1s"),
        calls("sed -i s/a/b/ a.py"),
        results(""),
        calls("pytest -q"),
        results("4 passed in 1s"),
    )
    assert found.kind is StepKind.AFTER_RESULT
    assert not found.repeated_call
    assert (found.tests, found.edits, found.last_action) == (2, 1, "test")


def test_a_repetition_of_another_turn_does_not_count() -> None:
    turn = [user(ASK), calls("cat a.py"), results("x = 1")]
    found = step(*turn, says("Done."), *turn)
    assert not found.repeated_call
    assert (found.n_user_turns, found.steps_taken, found.steps_in_turn) == (2, 3, 1)


LOOP = (user(ASK), calls("cat a.py"), results("x = 1"))


@pytest.mark.parametrize(
    ("messages", "request_fields", "context", "kind"),
    [
        (LOOP, {"tool_choice": ToolChoice("none")}, None, StepKind.FORCED_FINAL),
        ((*LOOP, user("You have no steps left: answer now.")), {"tools": ()}, None, StepKind.FORCED_FINAL),
        (LOOP, {"tools": ()}, None, StepKind.AFTER_RESULT),
        ((*LOOP, says("Done."), user("Thanks! And why?")), {"tools": ()}, None, StepKind.FIRST_ASK),
        ((user(ASK),), {"tool_choice": ToolChoice("none"), "tools": ()}, None, StepKind.FIRST_ASK),
        ((user(ASK),), {"tools": (), "response_schema": ResponseSchema()}, None, StepKind.STRUCTURED),
        ((user(ASK),), {"tool_choice": ToolChoice("tool", "submit")}, None, StepKind.STRUCTURED),
        ((user(ASK),), {"tool_choice": ToolChoice("required"), "tools": TOOLS[:1]}, None, StepKind.STRUCTURED),
        ((user(ASK),), {"tool_choice": ToolChoice("required")}, None, StepKind.FIRST_ASK),
        (LOOP, {"tool_choice": ToolChoice("tool", "submit")}, None, StepKind.AFTER_RESULT),
        (LOOP, {"response_schema": ResponseSchema()}, None, StepKind.AFTER_RESULT),
        ((user(ASK),), {"tools": (Tool("transfer_to_billing"), Tool("handoff_to_sales"))}, None, StepKind.DELEGATE),
        ((user(ASK),), {"tools": (Tool("transfer_to_billing"), Tool("search"))}, None, StepKind.FIRST_ASK),
        (LOOP, {"tools": (Tool("transfer_to_billing"), Tool("handoff_to_sales"))}, None, StepKind.AFTER_RESULT),
        (LOOP, {"tools": (Tool("Task"),)}, StepContext(agent="writer"), StepKind.AFTER_RESULT),
        (LOOP, {}, StepContext(role="supervisor"), StepKind.DELEGATE),
        ((user(ASK),), {}, StepContext(agent="Manager"), StepKind.DELEGATE),
        ((user(ASK),), {"tools": ()}, StepContext(role="coordinator"), StepKind.FIRST_ASK),
        (LOOP, {"tools": ()}, StepContext(role="coordinator"), StepKind.AFTER_RESULT),
        (LOOP, {}, StepContext(failed=True), StepKind.AFTER_ERROR),
        ((user(ASK),), {}, StepContext(failed=True), StepKind.AFTER_ERROR),
        (
            (user(ASK),),
            {"tools": (), "response_schema": ResponseSchema()},
            StepContext(failed=True),
            StepKind.STRUCTURED,
        ),
        (
            (*LOOP, says("Done."), user("Your task is to create a detailed summary of the conversation so far.")),
            {},
            None,
            StepKind.SUMMARISE,
        ),
        (
            (user("a"), says("b"), user("c"), says("d"), user("Summarize our conversation for the next agent.")),
            {"tools": ()},
            None,
            StepKind.SUMMARISE,
        ),
        ((user("Summarize the whole meeting."),), {"tools": ()}, None, StepKind.FIRST_ASK),
        ((system("Be brief."),), {}, None, StepKind.FIRST_ASK),
        ((), {}, None, StepKind.FIRST_ASK),
    ],
)
def test_kinds(
    messages: Sequence[Message], request_fields: dict[str, Any], context: StepContext | None, kind: StepKind
) -> None:
    assert step(*messages, context=context, **request_fields).kind is kind


def test_a_reminder_after_the_results_changes_no_kind() -> None:
    reminder = user("<system-reminder>Your todo list has changed: error, failed.</system-reminder>")
    assert step(*LOOP, reminder).kind is StepKind.AFTER_RESULT
    assert step(*LOOP, reminder).steps_in_turn == 1


def test_results_sent_as_user_text() -> None:
    found = step(
        user(ASK),
        says("Let me run it."),
        user("<returncode>1</returncode>\n<output>\nKeyError: 1\n</output>"),
        tools=(),
    )
    assert found.kind is StepKind.AFTER_ERROR
    assert (found.ask, found.n_user_turns, found.n_results_last) == (ASK, 1, 1)


def test_facts_of_the_request() -> None:
    found = step(
        Message("user", (Text("What is this?"), Image(data="aGk=", media_type="image/png"))),
        tool_choice=ToolChoice("required"),
        response_schema=ResponseSchema(),
        context=StepContext(agent="coder", role="reviewer", node="review", parent_id="d1"),
    )
    assert (found.needs_vision, found.forced_tool, found.wants_schema, found.n_tools) == (True, True, True, 2)
    assert (found.agent, found.role, found.node, found.is_subagent) == ("coder", "reviewer", "review", True)
    seen = step(user(ASK), calls("shot"), Message("tool", (ToolResult("c0", (Image(url="https://x.org/a"),)),)))
    assert seen.needs_vision
    assert not step(user(ASK)).needs_vision
    assert (seen.needs_documents, seen.needs_audio) == (False, False)
    read = step(user(ASK), calls("read"), Message("tool", (ToolResult("c0", (Document(url="https://x.org/a"),)),)))
    assert (read.needs_vision, read.needs_documents, read.needs_audio) == (False, True, False)
    heard = step(Message("user", (Text(ASK), Audio(data="UklGRg=="))))
    assert (heard.needs_vision, heard.needs_documents, heard.needs_audio) == (False, False, True)


def test_signed_reasoning_counts_only_in_the_open_loop() -> None:
    thought = Message("assistant", (Reasoning("hm", signature="s"), ToolCall("c0", "bash", "{}")))
    assert step(user(ASK), thought, results("ok")).has_reasoning_state
    assert not step(user(ASK), thought, results("ok"), says("Done."), user("Next.")).has_reasoning_state


ASK_FEATURES = (
    *("ask", "ask_chars", "ask_tokens", "n_user_turns", "code", "maths", "script", "n_numbers", "n_sentences"),
    *("n_questions", "n_intents", "kind"),
)

WORDS = st.text(alphabet=st.characters(exclude_categories=("Cs",), exclude_characters="<>"), max_size=300)


def of_ask(found: Step) -> dict[str, Any]:
    return {name: getattr(found, name) for name in ASK_FEATURES}


@given(ask=WORDS.filter(str.strip), noise=WORDS)
def test_system_prompts_schemas_and_reminders_do_not_sway_the_ask(ask: str, noise: str) -> None:
    plain = of_ask(step(user(ask)))
    tools = (*TOOLS, Tool("other", noise, {"type": "object", "description": noise}))
    assert of_ask(step(system(noise), user(ask))) == plain
    assert of_ask(step(user(ask), tools=tools)) == plain
    assert of_ask(step(user(f"{ask}\n<system-reminder>{noise}</system-reminder>"))) == plain
    assert of_ask(step(user(f"<environment_details>{noise}</environment_details>\n{ask}"))) == plain


FILES = st.sampled_from(
    [Document(data="ZGVmIGY6IHBhc3M="), Document(data="5pel5pys", media_type="text/plain"), Audio(data="eCA9IDE=")]
)


@given(ask=WORDS.filter(str.strip), file=FILES)
def test_a_file_does_not_sway_the_ask(ask: str, file: Document | Audio) -> None:
    assert of_ask(step(Message("user", (Text(ask), file)))) == of_ask(step(user(ask)))


PARTS: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, st.text(max_size=60)),
    st.builds(Image, st.just("https://x.org/a.png")),
    st.builds(Document, data=st.sampled_from(["JVBERi0=", "A" * 9_000]), media_type=st.sampled_from([None, "text/x"])),
    st.builds(Audio, data=st.sampled_from(["UklGRg==", None])),
    st.builds(ToolCall, st.text(max_size=5), st.text(max_size=12), st.text(max_size=60)),
    st.builds(
        ToolResult,
        st.text(max_size=5),
        st.lists(st.builds(Text, st.text(max_size=60)), max_size=2).map(tuple),
        st.sampled_from([None, True, False]),
    ),
    st.builds(Reasoning, st.text(max_size=20), st.sampled_from([None, "s"])),
)
MESSAGES = st.lists(
    st.builds(
        Message,
        st.sampled_from(["system", "developer", "user", "assistant", "tool"]),
        st.lists(PARTS, max_size=4).map(tuple),
    ),
    max_size=12,
)


@given(messages=MESSAGES, tools=st.sampled_from([(), TOOLS]), choice=st.sampled_from([None, ToolChoice("none")]))
def test_any_conversation_has_features(
    messages: list[Message], tools: tuple[Tool, ...], choice: ToolChoice | None
) -> None:
    request = ChatRequest(tuple(messages), tools=tools, tool_choice=choice)
    found = Step.of(request)
    assert found == Step.of(request)
    assert found.n_messages == len(messages)
    assert 0 <= found.steps_in_turn <= found.steps_taken <= len(messages)
    assert found.errors_last <= found.n_results_last


@pytest.mark.parametrize(
    "messages",
    [
        (user("\ud800 lone surrogate \udfff"),),
        (results("orphan"),),
        (user(ASK), results("orphan")),
        (user(ASK), says("a"), says("b")),
        (user(ASK), calls("unanswered")),
        (Message("user", ()), Message("assistant", ()), Message("tool", ())),
        (user(ASK), calls("cat big"), results("x" * 1_000_000)),
        (user("<context>" * 5_000),),
        (user(ASK), *((calls("ls"), results("a")) * 5_000)),
        (user(ASK), *(user("<system-reminder>x</system-reminder>"),) * 10_000),
        (user(ASK), calls(*["ls"] * 500), results(*["a"] * 500)),
    ],
    ids=lambda messages: f"{len(messages)}-messages",
)
def test_odd_conversations(messages: tuple[Message, ...]) -> None:
    found = Step.of(ChatRequest(messages))
    assert found.n_messages == len(messages)
    assert len(found.ask) <= 2_000


def test_a_long_loop_keeps_its_ask_and_counts() -> None:
    found = step(user(ASK), *((calls("ls -la src"), results("a.py")) * 300))
    assert (found.ask, found.steps_taken, found.steps_in_turn, found.spinning) == (ASK, 300, 300, True)


def test_a_step_is_a_value() -> None:
    found = step(user(ASK))
    assert replace(found) == found
    assert hash(found) == hash(step(user(ASK)))
    assert all(field.type is not None for field in fields(Step))


@pytest.mark.parametrize("messages", [(user(ASK),), LOOP], ids=["no result", "a sound result"])
def test_what_the_caller_knows_of_a_failure_counts_as_evidence(messages: tuple[Message, ...]) -> None:
    step = Step.of(ChatRequest(messages, tools=TOOLS), StepContext(failed=True))
    assert (step.errors_last, step.error_streak, step.errors_recent, step.recovered) == (1, 1, 1, False)
    assert step.evidence[-1].reason == "the caller says that the latest call or answer failed"
