"""Each repair alone: a strict server refuses the history as it is and takes the repaired one; the record says why."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest

from agentroute.history import Repaired, repair
from agentroute.history.reasoning import PLACEHOLDER_SIGNATURE
from agentroute.messages import (
    Audio,
    ChatRequest,
    Document,
    Extra,
    Image,
    Message,
    Part,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from agentroute.targets import Target

from .receivers import RECEIVERS

ALL = tuple(RECEIVERS)
CLAUDE = RECEIVERS["anthropic"].origin
PNG = Image(data="iVBORw0KGgo=", media_type="image/png")
PDF = Document(data="JVBERi0=", media_type="application/pdf", name="a.pdf")
SOUND = Audio(data="UklGRg==", media_type="audio/wav")


def user(text: str = "go") -> Message:
    return Message("user", (Text(text),))


def assistant(*parts: Part | str) -> Message:
    return Message("assistant", tuple(Text(part) if isinstance(part, str) else part for part in parts))


def call(call_id: str = "call00001", name: str = "read") -> ToolCall:
    return ToolCall(call_id, name, "{}")


def result(call_id: str = "call00001", *content: Text | Image | Document | str, name: str | None = None) -> Message:
    held = tuple(Text(part) if isinstance(part, str) else part for part in content or ("done",))
    return Message("tool", (ToolResult(call_id, held, name=name),))


def repaired(who: str, *messages: Message, tools: tuple[Tool, ...] = ()) -> Repaired:
    """Repairs, and sees to it that the input stays, the outcome is taken, and a second repair finds nothing to do."""
    request = ChatRequest(messages, tools=tools)
    copy = deepcopy(request)
    found = repair(request, RECEIVERS[who].target)
    assert request == copy
    assert RECEIVERS[who].refuses(found.request, SIGNED) == []
    assert repair(found.request, RECEIVERS[who].target) == Repaired(found.request)
    return found


SIGNED = {"c2ln"}
OWN = Reasoning("thought", "c2ln", CLAUDE)

CASES: list[tuple[str, str, tuple[Message, ...], str | None, str]] = [
    # what it is about, receiver, messages, what the server says (None: the encoder writes round it), what is recorded
    (
        "foreign signature",
        "anthropic",
        (user(), assistant(Reasoning("t", "x", "openai/o4"), "yes"), user()),
        "invalid signature",
        "reasoning of 1 message left out: it came from openai/o4",
    ),
    (
        "signature of a sister",
        "anthropic",
        (user(), assistant(Reasoning("t", "x", "anthropic/claude-opus"), "yes"), user()),
        "invalid signature",
        "it came from anthropic/claude-opus",
    ),
    (
        "foreign redacted",
        "anthropic",
        (user(), assistant(Reasoning("", "x", "anthropic/a", redacted=True), "yes"), user()),
        "invalid data",
        "reasoning of 1 message",
    ),
    (
        "signature of nobody",
        "anthropic",
        (user(), assistant(Reasoning("t", "x"), "yes"), user()),
        "invalid signature",
        "it is not known which model signed it",
    ),
    (
        "unsigned reasoning",
        "anthropic",
        (user(), assistant(Reasoning("t"), "yes"), user()),
        None,
        "reasoning of 1 message left out: it has no signature",
    ),
    (
        "reasoning at the end",
        "anthropic",
        (user(), assistant("yes", OWN), user()),
        "cannot be thinking",
        "reasoning at the end of 1 message",
    ),
    (
        "encrypted by another",
        "responses",
        (user(), assistant(Reasoning("", "x", "openai/o4", True), "yes"), user()),
        "could not be verified",
        "it came from openai/o4",
    ),
    (
        "missing thought signature",
        "gemini",
        (user(), assistant(call()), result()),
        "thought_signature",
        "a placeholder put for the thought signature of 1 step",
    ),
    (
        "missing reasoning_content",
        "deepseek",
        (user(), assistant(call()), result()),
        "reasoning_content",
        "empty reasoning put beside 1 message",
    ),
    (
        "illegal id",
        "anthropic",
        (user(), assistant(call("a.b:1")), result("a.b:1")),
        "match pattern",
        "the id of 1 call replaced: this provider refuses",
    ),
    (
        "long id",
        "openai",
        (user(), assistant(call("i" * 41)), result("i" * 41)),
        "40 at most",
        "the id of 1 call replaced",
    ),
    (
        "long call_id",
        "responses",
        (user(), assistant(call("i" * 65)), result("i" * 65)),
        "too long",
        "the id of 1 call replaced",
    ),
    (
        "id of another length",
        "mistral",
        (user(), assistant(call("toolu_1")), result("toolu_1")),
        "9 letters",
        "the id of 1 call replaced",
    ),
    ("empty id", "anthropic", (user(), assistant(call("")), result("")), "match pattern", "the id of 1 call replaced"),
    (
        "same id in two steps",
        "anthropic",
        (user(), assistant(call()), result(), assistant(call()), result()),
        "unique",
        "the id of 1 call replaced: another call before it had the same",
    ),
    (
        "same id in one step",
        "openai",
        (user(), assistant(call(), call()), result(), result()),
        "two calls of one id",
        "another call before it had the same",
    ),
    (
        "orphan result",
        "openai",
        (user(), result("gone", "42"), user()),
        "without a call",
        "1 result turned into text of the user: no call asked for it",
    ),
    ("orphan result", "anthropic", (user(), result("gone", "42"), user()), "do not match", "1 result turned into text"),
    ("orphan result", "gemini", (user(), result("gone", "42"), user()), "must equal", "1 result turned into text"),
    (
        "orphan result",
        "responses",
        (user(), result("gone", "42"), user()),
        "no tool call found",
        "1 result turned into text",
    ),
    (
        "empty orphan",
        "openai",
        (user(), result("gone", ""), user()),
        "without a call",
        "1 result left out: it is empty",
    ),
    (
        "result given twice",
        "openai",
        (user(), assistant(call()), result(), result(), user()),
        "without a call",
        "1 result left out: the same stands there already",
    ),
    (
        "orphan call",
        "openai",
        (user(), assistant(call()), user()),
        "without a result",
        "a result written for 1 call: none was recorded",
    ),
    ("orphan call", "anthropic", (user(), assistant(call()), user()), "do not match", "a result written for 1 call"),
    ("orphan call", "gemini", (user(), assistant(call()), user()), "must equal", "a result written for 1 call"),
    ("orphan call", "responses", (user(), assistant(call()), user()), "no tool output", "a result written for 1 call"),
    ("call at the very end", "openai", (user(), assistant(call())), "at the end", "a result written for 1 call"),
    ("call at the very end", "anthropic", (user(), assistant(call())), "at the end", "a result written for 1 call"),
    (
        "one of two results",
        "anthropic",
        (user(), assistant(call(), call("call00002")), result("call00002"), user()),
        "do not match",
        "a result written for 1 call",
    ),
    (
        "late result",
        "openai",
        (user(), assistant(call()), user("wait"), assistant("yes"), result()),
        "without a result",
        "1 result moved behind the call",
    ),
    (
        "result before its call",
        "anthropic",
        (user(), result(), assistant(call()), user()),
        "do not match",
        "1 result moved behind the call",
    ),
    (
        "words between results",
        "openai",
        (user(), assistant(call(), call("call00002")), result(), user("hm"), result("call00002")),
        "without a result",
        "1 result moved behind the call",
    ),
    (
        "words among results",
        "openai",
        (user(), assistant(call()), Message("tool", (Text("look"), *result().parts))),
        None,
        "words among the results of 1 message",
    ),
    (
        "nothing said",
        "openai",
        (user(), assistant(), user()),
        "says nothing",
        "1 message left out: nothing stands in it",
    ),
    ("empty words", "openai", (user(), assistant(""), user()), "says nothing", "1 message left out"),
    ("blank words", "anthropic", (user(), assistant(" \n"), user()), "non-whitespace", "1 message left out"),
    (
        "blank user",
        "anthropic",
        (user(), assistant("yes"), user(" ")),
        "non-whitespace",
        '"(empty message)" written into 1 message of the user',
    ),
    (
        "empty user",
        "gemini",
        (user(), assistant("yes"), user("")),
        "text or data",
        '"(empty message)" written into 1 message',
    ),
    (
        "blank result",
        "anthropic",
        (user(), assistant(call()), result("call00001", " ")),
        "non-whitespace",
        "empty texts of 1 message left out",
    ),
    (
        "prefill",
        "anthropic",
        (user(), assistant("The answer is ")),
        "trailing whitespace",
        "white space at the end of 1 message",
    ),
    (
        "assistant first",
        "anthropic",
        (assistant("hello"), user()),
        "first message",
        "1 message of the user put at the beginning",
    ),
    (
        "assistant first",
        "gemini",
        (assistant("hello"), user()),
        "first content",
        "1 message of the user put at the beginning",
    ),
    (
        "system alone",
        "anthropic",
        (Message("system", (Text("be"),)),),
        "at least one message",
        "1 message of the user put at the beginning",
    ),
    (
        "system alone",
        "responses",
        (Message("system", (Text("be"),)),),
        "no input",
        "1 message of the user put at the beginning",
    ),
    ("nothing at all", "openai", (), "no messages", "1 message of the user put at the beginning"),
    (
        "system in the middle",
        "gemini",
        (user(), Message("system", (Text("be"),)), user()),
        None,
        "1 message after the first turn turned into text of the user",
    ),
    (
        "developer in the middle",
        "anthropic",
        (user(), Message("developer", (Text("be"),)), user()),
        None,
        "1 message after the first turn turned into text",
    ),
    ("two of the user", "mistral", (user(), user()), "user after role user", "1 message joined with the one before"),
    (
        "user behind a result",
        "mistral",
        (user(), assistant(call()), result(), user()),
        "user after role tool",
        '"OK." of the assistant put between',
    ),
    (
        "system in the middle",
        "mistral",
        (user(), assistant("a"), Message("system", (Text("be"),)), user()),
        "system after role",
        "1 message joined",
    ),
    (
        "picture in a result",
        "openai",
        (user(), assistant(call()), result("call00001", "see", PNG)),
        "more than text",
        "the pictures of 1 result put into a message of the user",
    ),
    (
        "picture in a result",
        "mistral",
        (user(), assistant(call()), result("call00001", "see", PNG)),
        "more than text",
        "the pictures of 1 result",
    ),
    (
        "picture of the assistant",
        "openai",
        (user(), assistant("look", PNG), user()),
        "more than text",
        "images of 1 message left out",
    ),
    (
        "document in a result",
        "openai",
        (user(), assistant(call()), result("call00001", "see", PDF)),
        "more than text",
        "the documents of 1 result put into a message of the user",
    ),
    (
        "document of the assistant",
        "openai",
        (user(), assistant("look", PDF), user()),
        "more than text",
        "documents of 1 message left out",
    ),
    (
        "recording of the assistant",
        "mistral",
        (user(), assistant("hear", SOUND), user()),
        "more than text",
        "recordings of 1 message left out",
    ),
]


@pytest.mark.parametrize(
    ("who", "messages", "refusal", "recorded"),
    [case[1:] for case in CASES],
    ids=[f"{case[0]}-{case[1]}" for case in CASES],
)
def test_refused_then_repaired(who: str, messages: tuple[Message, ...], refusal: str | None, recorded: str) -> None:
    if refusal is not None:
        assert refusal in " ".join(RECEIVERS[who].refuses(ChatRequest(messages), SIGNED))
    found = repaired(who, *messages)
    assert recorded in " ".join(found.changes)


@pytest.mark.parametrize("who", ALL)
def test_what_is_sound_is_not_touched(who: str) -> None:
    beside = (Reasoning("t"),) if who == "deepseek" else ()
    first = replace(call(), extra=Extra("gemini", {"thoughtSignature": "c2ln"}, RECEIVERS["gemini"].origin))
    messages = (
        Message("system", (Text("be brief"),)),
        user(),
        assistant(*beside, "both", first, call("call00002", "write")),
        result(),
        result("call00002"),
        assistant(*beside, "done"),
        user("thanks"),
    )
    request = ChatRequest(messages)
    found = repair(request, RECEIVERS[who].target)
    assert found.request is request
    assert found.changes == ()


def test_own_reasoning_stays_byte_for_byte() -> None:
    found = repaired("anthropic", user(), assistant(OWN, call()), result())
    assert found.request.messages[1].parts[0] is OWN


def test_reasoning_of_a_client_goes_to_the_dialect_it_names() -> None:
    came = Reasoning("t", "c2ln", extra=Extra("anthropic_messages", {}))
    assert repaired("anthropic", user(), assistant(came, "yes")).changes == ()
    assert repaired("responses", user(), assistant(came, "yes")).changes != ()


def test_plain_reasoning_goes_where_there_is_a_field_for_it() -> None:
    found = repaired(
        "deepseek", user(), assistant(Reasoning("t", extra=Extra("gemini", {}, "google/g")), call()), result()
    )
    assert found.request.messages[1].parts[0] == Reasoning("t")
    assert RECEIVERS["deepseek"].body(found.request)["messages"][1]["reasoning_content"] == "t"
    found = repaired("openai", user(), assistant(Reasoning("t"), call()), result())
    assert found.changes == ("reasoning of 1 message left out: this provider takes none back",)


def test_each_kind_is_said_once_with_its_count() -> None:
    thought = Reasoning("t", "x", "openai/gpt-6.1")
    found = repaired("anthropic", user(), assistant(thought, thought, "a"), user(), assistant(thought, "b"), user())
    assert found.changes == ("reasoning of 2 messages left out: it came from openai/gpt-6.1",)


def test_state_of_another_model_of_the_dialect_is_left_out_and_named() -> None:
    details = Extra("openai_chat", {"reasoning_details": [{"data": "x"}], "index": 1}, "openrouter/x-ai/grok")
    message = replace(assistant("yes"), extra=details)
    router = Target(provider="openrouter", model="google/gemini", tier="mid")
    found = repair(ChatRequest((user(), message)), router)
    assert found.request.messages[1].extra is None
    assert found.changes == ("`reasoning_details` of 1 message left out: it came from openrouter/x-ai/grok",)
    same = Target(provider="openrouter", model="x-ai/grok", tier="mid")
    assert repair(ChatRequest((user(), message)), same).changes == ()
    harmless = replace(message, extra=Extra("openai_chat", {"index": 1}, "openrouter/x-ai/grok"))
    found = repair(ChatRequest((user(), harmless)), router)
    assert (found.request.messages[1].extra, found.changes) == (None, ())
    callers = replace(message, extra=Extra("openai_chat", {"index": 1}))
    assert repair(ChatRequest((user(), callers)), router).request.messages[1] is callers


def test_a_new_id_is_the_same_each_time_and_the_result_follows() -> None:
    messages = (user(), assistant(call("x.1"), call("x.2")), result("x.2", "two"), result("x.1", "one"))
    first = repaired("mistral", *messages).request.messages
    longer = repaired("mistral", *messages, assistant(call("x.1")), result("x.1", "again")).request.messages
    assert longer[: len(first)] == first
    ids = [made.id for made in first[1].tool_calls]
    assert [(found.parts[0].tool_call_id, found.parts[0].text) for found in first[2:4]] == [
        (ids[0], "one"),
        (ids[1], "two"),
    ]
    assert longer[-2].tool_calls[0].id not in ids
    assert longer[-1].tool_results[0].tool_call_id == longer[-2].tool_calls[0].id


def test_calls_of_one_id_are_told_apart_by_the_name_of_their_tool() -> None:
    found = repaired(
        "openai",
        user(),
        assistant(call("", "read"), call("", "write")),
        result("", "written", name="write"),
        result("", "read", name="read"),
    )
    spoken, *results = found.request.messages[1:]
    names = {made.id: made.name for made in spoken.tool_calls}
    assert [(names[kept.tool_results[0].tool_call_id], kept.tool_results[0].text) for kept in results] == [
        ("read", "read"),
        ("write", "written"),
    ]


def test_the_result_that_was_not_recorded_says_so_and_is_an_error() -> None:
    written = repaired("anthropic", user(), assistant(call()), user()).request.messages[2].tool_results[0]
    assert written.is_error is True
    assert written.text == "No result was recorded: the call was interrupted."


def test_what_was_said_among_results_stays_behind_them() -> None:
    found = repaired(
        "anthropic", user(), assistant(call(), call("call00002")), result(), user("hm"), result("call00002"), user("ok")
    )
    assert [(message.role, message.text) for message in found.request.messages[2:]] == [
        ("tool", ""),
        ("tool", ""),
        ("user", "hm"),
        ("user", "ok"),
    ]


def test_an_orphan_keeps_its_words_and_files() -> None:
    found = repaired("anthropic", user(), result("gone", "42", PNG, name="weigh"))
    assert found.request.messages[1] == Message("user", (Text("Result of `weigh`, called earlier: 42"), PNG))
    assert repaired("anthropic", user(), result("gone", PDF)).request.messages[1].parts[1] == PDF


def test_system_in_the_middle_stays_in_its_place_with_its_cache_marker() -> None:
    marker = Extra("anthropic_messages", {"cache_control": {"type": "ephemeral"}})
    found = repaired("anthropic", user(), assistant("a"), Message("system", (Text("be", marker),)), user())
    assert found.request.messages[2] == Message("user", (Text("<system>\nbe\n</system>", marker),))
    assert repaired("openai", user(), Message("system", (Text("be"),)), user()).changes == ()


def test_pictures_of_a_step_stand_behind_all_its_results() -> None:
    found = repaired(
        "openai", user(), assistant(call(), call("call00002")), result("call00001", "see", PNG), result("call00002")
    )
    roles = [message.role for message in found.request.messages]
    assert roles == ["user", "assistant", "tool", "tool", "user"]
    assert found.request.messages[2].tool_results[0].text == "see(picture: see the next message of the user)"
    assert found.request.messages[4].parts == (Text("From the result of call00001:"), PNG)
    for who in ("anthropic", "gemini", "responses"):
        assert not any(
            "picture" in words or "document" in words
            for words in repaired(who, user(), assistant(call()), result("call00001", PNG, PDF)).changes
        )


def test_documents_of_a_step_go_with_its_pictures() -> None:
    found = repaired("openai", user(), assistant(call()), result("call00001", PDF, "see", PNG))
    shown = "see(picture: see the next message of the user)(document: see the next message of the user)"
    assert found.request.messages[2].tool_results[0].text == shown
    assert found.request.messages[3].parts == (Text("From the result of call00001:"), PDF, PNG)
    assert len(found.changes) == 2


def test_what_the_assistant_made_is_named_in_its_place() -> None:
    found = repaired("anthropic", user(), assistant(PDF, SOUND, PNG), user())
    assert found.request.messages[1].parts == (Text("(a document)"), Text("(a recording)"), Text("(an image)"))
    assert repaired("gemini", user(), assistant(SOUND), user()).changes == ()


def test_only_the_first_call_of_a_step_gets_the_placeholder() -> None:
    found = repaired("gemini", user(), assistant(call(), call("call00002")), result(), result("call00002"))
    first, second = found.request.messages[1].tool_calls
    assert first.extra == Extra("gemini", {"thoughtSignature": PLACEHOLDER_SIGNATURE})
    assert second.extra is None


def test_a_part_no_other_dialect_has_leaves_the_turn_standing() -> None:
    file = Text("", Extra("openai_chat", {"type": "file", "file": {"file_id": "f"}}))
    found = repaired("anthropic", Message("user", (file,)), assistant("yes"), user())
    assert found.request.messages[0].parts == (file, Text("(empty message)"))
    assert repaired("anthropic", user(), Message("assistant", (file,)), user()).changes == (
        "1 message left out: nothing stands in it that this model can be given",
    )


def marked(text: str) -> Text:
    return Text(text, Extra("anthropic_messages", {"cache_control": {"type": "ephemeral"}}))


def test_at_most_four_cache_markers_the_oldest_of_the_conversation_go() -> None:
    tool = Tool("read", extra=marked("").extra)
    messages = (
        Message("system", (marked("be"),)),
        *(Message("user", (marked(str(at)),)) for at in range(3)),
        assistant(call()),
        Message("tool", (ToolResult("call00001", (marked("r"),), extra=marked("").extra),)),
    )
    request = ChatRequest(messages, tools=(tool,))
    assert "maximum of 4" in " ".join(RECEIVERS["anthropic"].refuses(request))
    found = repaired("anthropic", *messages, tools=(tool,))
    assert found.changes == ("3 cache markers left out: Anthropic takes 4 at most",)
    assert [message.parts[0].extra is None for message in found.request.messages[:4]] == [False, True, True, True]
    assert found.request.tools == (tool,)
    assert RECEIVERS["anthropic"].refuses(ChatRequest(messages[3:], tools=(tool,))) == []
    assert repair(ChatRequest(messages[3:], tools=(tool,)), RECEIVERS["anthropic"].target).changes == ()


def test_a_model_without_reasoning_is_not_given_any() -> None:
    from agentroute.targets import Capabilities

    plain = Target(provider="deepseek", model="deepseek-chat", tier="mid", capabilities=Capabilities(reasoning=False))
    request = ChatRequest((user(), assistant(call()), result()))
    assert repair(request, plain).request is request


def test_a_native_model_is_its_integrations_business() -> None:
    request = ChatRequest((assistant(call("")),))
    assert repair(request, Target(provider="x", model="m", tier="mid", dialect="native")).request is request


def test_a_result_bears_no_other_name_than_its_call() -> None:
    messages = (user(), assistant(call("call00001", "read")), result("call00001", "done", name="write"))
    assert "must equal" in " ".join(RECEIVERS["gemini"].refuses(ChatRequest(messages)))
    found = repaired("gemini", *messages)
    assert "the name of 1 result left out: its call has another" in found.changes


def test_thinking_goes_on_where_it_stands_in_a_message_of_its_own() -> None:
    asked = Extra("anthropic_messages", {"thinking": {"type": "enabled", "budget_tokens": 1024}})
    request = ChatRequest((user(), assistant(OWN), assistant(call()), result()), extra=asked)
    assert RECEIVERS["anthropic"].refuses(request, SIGNED) == []
    assert repair(request, RECEIVERS["anthropic"].target).request is request


def test_encrypted_reasoning_does_not_stand_for_what_is_demanded() -> None:
    own = Reasoning("", "c2ln", RECEIVERS["deepseek"].origin)
    found = repaired("deepseek", user(), assistant(own, call()), result())
    assert found.request.messages[1].parts[:2] == (Reasoning(""), own)
