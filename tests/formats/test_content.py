"""What a request holds, within the rules of each model: schemas, names, pictures and JSON that strict servers take."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from agentroute import ChatRequest, Target
from agentroute.catalog import resolve
from agentroute.formats import Encoded, of
from agentroute.messages import (
    Document,
    Extra,
    Image,
    Message,
    ReasoningSetting,
    ResponseSchema,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from agentroute.providers import Quirks
from tests.receivers import RECEIVERS

TEXT = {"type": "string"}
JPEG = "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJ"
WEBP = "UklGRiQAAABXRUJQVlA4IBgAAAAwAQCdASoBAAEAAgA0JaQAA3AA"
ASK = Message("user", (Text("hello"),))
LONG = "mcp__devtools_mcp_chrome_devtools_performance_analyze_insight_one_xy"
NAMES = ["admin.tools.list", "files/read file", LONG, "x" * 140, "größe", "plain"]
A, B = {"properties": {"a": TEXT}, "required": ["a"]}, {"properties": {"b": TEXT}}
LOOP = {"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}}
ROOTS: dict[str, dict[str, Any]] = {
    "anyOf": {"type": "object", "anyOf": [A, B]},
    "oneOf without a type": {"oneOf": [{"type": "object", **A}, {"type": "object"}]},
    "allOf": {"allOf": [A, {"$ref": "#/$defs/B"}], "$defs": {"B": B}},
    "no type": {**A},
    "no properties": {"type": "object"},
    "a reference": {"$ref": "#/$defs/T", "$defs": {"T": {"type": "object", **A}}},
    "itself": {"$ref": "#/$defs/N", "$defs": {"N": LOOP}},
    "not": {"type": "object", **A, "not": {"required": ["b"]}},
    "null too": {"type": ["object", "null"], **A},
    "no object": {"type": "array", "items": TEXT},
}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


SCHEMAS: dict[str, dict[str, Any]] = {
    "open": _object(n={"type": "integer"}, o=_object(x=TEXT)),
    "limits": _object(n={"type": "integer", "minimum": 1}, t={"type": "string", "pattern": "a"}),
    "map": _object(env={"type": "object", "additionalProperties": TEXT}),
    "choice": {
        **_object(c={"oneOf": [TEXT, {"type": "null"}]}, e={"allOf": [{"$ref": "#/$defs/E"}]}),
        "$defs": {"E": {"enum": ["a"]}},
    },
    **ROOTS,
}


def request(*messages: Message, **more: Any) -> ChatRequest:
    return ChatRequest(messages or (ASK,), **more)


def encoded(asked: ChatRequest, target: Target) -> Encoded:
    return of(target.dialect).encode_request(
        asked, model=target.model, quirks=target.endpoint.quirks, rules=target.rules
    )


def a_target(provider: str, model: str = "some-model", **more: Any) -> Target:
    return resolve(Target(provider=provider, model=model, tier="mid", api_key="k", **more))


@pytest.mark.parametrize("name", RECEIVERS)
@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("strict", [None, True])
def test_tools_of_any_root_are_taken(name: str, root: str, strict: bool | None) -> None:
    asked = request(tools=(Tool("attach", "Attaches.", ROOTS[root], strict),))
    before = copy.deepcopy(ROOTS[root])
    assert RECEIVERS[name].refuses(asked) == []
    assert ROOTS[root] == before


@pytest.mark.parametrize("name", RECEIVERS)
@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("strict", [None, True])
def test_answers_of_any_schema_are_taken(name: str, schema: str, strict: bool | None) -> None:
    asked = request(response_schema=ResponseSchema(SCHEMAS[schema], "my answer", strict))
    assert RECEIVERS[name].refuses(asked) == []


@pytest.mark.parametrize("name", RECEIVERS)
@pytest.mark.parametrize(
    "messages", [(ASK,), (Message("system", (Text("Be brief."),)), ASK), (Message("user", (Text("Give JSON."),)),)]
)
def test_json_of_any_shape_is_asked_for(name: str, messages: tuple[Message, ...]) -> None:
    asked = request(*messages, response_schema=ResponseSchema())
    sent = RECEIVERS[name].encoded(asked)
    assert RECEIVERS[name].refuses(asked) == []
    settings = sent.body.get("response_format") or sent.body.get("text") or sent.body.get("generationConfig")
    assert settings or "json" in json.dumps(sent.body).lower()


@pytest.mark.parametrize(
    ("target", "setting"),
    [
        (a_target("deepseek", "deepseek-v4-pro"), {"type": "json_object"}),
        (a_target("zai", "glm-5.2"), {"type": "json_object"}),
        (a_target("minimax", "minimax-m3", dialect="openai_chat", base_url="http://127.0.0.1"), None),
    ],
    ids=lambda held: held.provider if isinstance(held, Target) else "",
)
def test_a_schema_that_no_setting_takes_is_told_in_the_prompt(target: Target, setting: Any) -> None:
    schema = {"type": "object", "properties": {"elementId": TEXT}}
    sent = encoded(
        request(Message("system", (Text("Be brief."),)), ASK, response_schema=ResponseSchema(schema)), target
    )
    system = sent.body["messages"][0]
    assert system["content"].startswith("Be brief.\n\n")
    assert "JSON" in system["content"]
    assert json.dumps(schema) in system["content"]
    assert sent.body.get("response_format") == setting
    assert "the schema of the answer told in the prompt: this model takes none" in sent.changes


@pytest.mark.parametrize("schema", [None, {"type": "object", "properties": {"elementId": TEXT}}])
@pytest.mark.parametrize(
    ("model", "tools", "demanded"),
    [
        ("gemini-2.5-flash-lite", True, False),
        ("gemini-2.5-flash-lite", False, True),
        ("gemini-3.1-pro-preview", True, True),
    ],
)
def test_an_answers_form_is_asked_for_in_words_where_tools_exclude_it(
    model: str, tools: bool, demanded: bool, schema: dict[str, Any] | None
) -> None:
    offered = (Tool("look", "", {"type": "object", "properties": {}}),) if tools else ()
    asked = request(ASK, tools=offered, response_schema=ResponseSchema(schema))
    sent = encoded(asked, a_target("google", model))
    assert ("responseMimeType" in sent.body.get("generationConfig", {})) is demanded
    assert ("JSON" in json.dumps(sent.body.get("systemInstruction", ""))) is not demanded
    assert any("in the prompt" in change for change in sent.changes) is not demanded


@pytest.mark.parametrize("name", RECEIVERS)
def test_names_go_there_and_come_back(name: str) -> None:
    receiver = RECEIVERS[name]
    tools = tuple(Tool(called, "", {"type": "object", "properties": {}}) for called in NAMES)
    for called in NAMES:
        asked = request(
            ASK,
            Message("assistant", (ToolCall("abcdefghi", called, "{}"),)),
            Message("tool", (ToolResult("abcdefghi", (Text("done"),), name=called),)),
            tools=tools,
            tool_choice=ToolChoice("tool", called),
        )
        sent = receiver.encoded(asked)
        back = of(receiver.target.dialect).decode_request(sent.body)
        assert len({tool.name for tool in back.tools}) == len(NAMES)
        assert [sent.names.get(tool.name, tool.name) for tool in back.tools] == NAMES
        assert back.tool_choice is not None
        assert back.tool_choice.name is not None
        assert sent.names.get(back.tool_choice.name, back.tool_choice.name) == called
        calls = [call.name for message in back.messages for call in message.tool_calls]
        assert [sent.names.get(name, name) for name in calls] == [called]
        assert [change for change in receiver.refuses(asked) if "name" in change] == []


def test_a_history_keeps_its_names_when_the_tools_are_gone() -> None:
    target = a_target("anthropic", "claude-sonnet-4-6")
    said = Message("assistant", (ToolCall("c1", "a.b", "{}"),))
    with_tools = encoded(request(ASK, said, tools=(Tool("a.b", "", {"type": "object"}), Tool("c.d"))), target)
    without = encoded(request(ASK, said), target)
    assert with_tools.body["messages"] == without.body["messages"]


_ALLOWED: dict[str, Any] = {
    "openai_chat": {"allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "a.b"}}]}},
    "openai_responses": {"mode": "auto", "tools": [{"type": "function", "name": "a.b"}]},
}


@pytest.mark.parametrize("dialect", _ALLOWED)
def test_allowed_tools_go_under_the_new_names(dialect: str) -> None:
    choice = {"type": "allowed_tools", **_ALLOWED[dialect]}
    asked = request(tools=(Tool("a.b"),), extra=Extra(dialect, {"tool_choice": choice}))
    sent = encoded(asked, a_target("openai", "gpt-5.1", dialect=dialect))
    (new,) = sent.names
    assert json.dumps(sent.body["tool_choice"]) == json.dumps(choice).replace("a.b", new)


@pytest.mark.parametrize("name", ["anthropic", "openai", "responses", "gemini"])
@pytest.mark.parametrize(
    ("data", "given", "right"),
    [
        (JPEG, "image/png", "image/jpeg"),
        (JPEG, "image/jpg", "image/jpeg"),
        (JPEG, None, "image/jpeg"),
        (WEBP, "image/png", "image/webp"),
        ("R0lGODlhAQABAIAAAAAAAP", "image/webp", "image/gif"),
        ("AAAA", "image/jpg", "image/jpeg"),
        ("AAAA", "image/png", "image/png"),
    ],
)
def test_pictures_say_what_they_are(name: str, data: str, given: str | None, right: str) -> None:
    picture = Image(data=data, media_type=given)
    receiver = RECEIVERS[name]
    inside = Message("tool", (ToolResult("abcdefghi", (Text("shot"), picture)),))
    asked = request(
        Message("user", (Text("what?"), picture)), Message("assistant", (ToolCall("abcdefghi", "f", "{}"),)), inside
    )
    sent = json.dumps(receiver.body(asked if name == "anthropic" else request(asked.messages[0])))
    assert sent.count(right) == (2 if name == "anthropic" else 1)
    assert (given in sent) == (given == right) if given else True


def test_a_pdf_under_another_type_is_a_pdf() -> None:
    sent = RECEIVERS["anthropic"].body(
        request(Message("user", (Document(data="JVBERi0xLjQK", media_type="image/png"),)))
    )
    assert sent["messages"][0]["content"][0]["source"]["media_type"] == "application/pdf"


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        (a_target("openai", "gpt-4.1"), True),
        (a_target("mistral", "mistral-large-4"), True),
        (a_target("groq", "llama-9"), None),
        (a_target("vllm", "some-model", base_url="http://127.0.0.1"), None),
        (a_target("anthropic", "claude-sonnet-4-6"), True),
    ],
    ids=lambda held: held.provider if isinstance(held, Target) else "",
)
def test_strict_goes_only_where_it_is_known(target: Target, sent: bool | None) -> None:
    schema = {"type": "object", "properties": {"a": TEXT}, "required": ["a"], "additionalProperties": False}
    tool = encoded(request(tools=(Tool("f", "", schema, strict=True),)), target).body["tools"][0]
    assert tool.get("function", tool).get("strict") is sent


def test_a_tool_that_cannot_be_strict_is_not_called_so() -> None:
    target = a_target("openai", "gpt-4.1")
    sent = encoded(request(tools=(Tool("f", "", {"type": "object", "properties": {"a": TEXT}}, strict=True),)), target)
    assert sent.body["tools"][0]["function"]["strict"] is False
    assert sent.changes == ("`strict` of the tool `f` left out: some of its properties are optional",)


def test_what_a_folded_schema_cannot_say_stands_in_the_description() -> None:
    schema = {
        "anyOf": [
            {"properties": {"id": TEXT}, "required": ["id"]},
            {"properties": {"name": TEXT}, "required": ["name"]},
        ]
    }
    sent = encoded(request(tools=(Tool("find", "Finds.", schema),)), a_target("anthropic", "claude-sonnet-4-6"))
    assert sent.body["tools"][0]["description"] == "Finds.\n\nGive one of these: `id`; or `name`."


@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic_messages", "gemini", "openai_responses"])
def test_a_translation_for_no_target_changes_nothing(dialect: str) -> None:
    tools = (Tool("a.b", "d", ROOTS["anyOf"], strict=True), Tool(LONG, "", ROOTS["no type"]))
    sent = of(dialect).encode_request(request(tools=tools), model="m")
    back = of(dialect).decode_request(sent.body)
    assert [replace(tool, strict=None, extra=None) for tool in back.tools] == [replace(t, strict=None) for t in tools]
    assert sent.names == {}


@pytest.mark.parametrize("name", RECEIVERS)
def test_fitting_twice_is_fitting_once(name: str) -> None:
    """A provider's cache keeps the prefix only if the same request gives the same bytes, at every step."""
    tools = tuple(Tool(called, "d", schema) for called, schema in zip(NAMES, ROOTS.values(), strict=False))
    schema = ResponseSchema(SCHEMAS["limits"])
    first = RECEIVERS[name].body(request(tools=tools, response_schema=schema))
    more = (ASK, Message("assistant", (Text("well"),)), Message("user", (Text("as JSON, please"),)))
    second = RECEIVERS[name].body(request(*more, tools=tools, response_schema=schema))
    for place in ("tools", "system", "instructions", "systemInstruction", "response_format", "output_config", "text"):
        assert first.get(place) == second.get(place)


def _strict_tools(sizes: list[tuple[int, int]]) -> tuple[Tool, ...]:
    """Strict tools with so many optional properties and so many that take a text or a number."""
    found = []
    for number, (optional, unions) in enumerate(sizes):
        properties: dict[str, Any] = {f"o{at}": TEXT for at in range(optional)}
        either = {f"u{at}": {"anyOf": [TEXT, {"type": "integer"}]} for at in range(unions)}
        schema = {"type": "object", "properties": {**properties, **either}, "required": [*either]}
        found.append(Tool(f"t{number}", "", schema, strict=True))
    return tuple(found)


@pytest.mark.parametrize(
    ("sizes", "strict"),
    [
        ([(0, 0)] * 21, 20),
        ([(8, 0)] * 4, 3),
        ([(0, 8)] * 3, 2),
        ([(25, 0), (1, 1)], 1),
        ([(0, 0)] * 20, 20),
    ],
)
def test_a_request_holds_no_more_strict_tools_than_the_model_takes(sizes: list[tuple[int, int]], strict: int) -> None:
    found = encoded(request(ASK, tools=_strict_tools(sizes)), a_target("anthropic", "claude-sonnet-5-5"))
    assert [tool.get("strict") is True for tool in found.body["tools"]].count(True) == strict
    assert any("what the model takes in all" in change for change in found.changes) == (strict < len(sizes))
    elsewhere = encoded(request(ASK, tools=_strict_tools(sizes[:1])), a_target("mistral", "mistral-large-4"))
    assert elsewhere.body["tools"][0]["function"]["strict"] is True


@pytest.mark.parametrize("model", ["qwen3.8-max", "qwen3.7-plus", "qwen-plus", "qwen4-max"])
def test_json_is_asked_for_in_words_while_a_model_thinks_that_refuses_the_setting_then(model: str) -> None:
    asked = request(ASK, response_schema=ResponseSchema())
    found = encoded(asked, a_target("alibaba", model))
    assert "response_format" not in found.body
    assert "JSON" in json.dumps(found.body["messages"])
    off = encoded(replace(asked, reasoning=ReasoningSetting("none")), a_target("alibaba", model))
    assert off.body["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize("provider", ["xai", "mistral", "groq", "cerebras", "fireworks", "moonshot", "openrouter"])
def test_a_strict_answer_has_closed_objects_everywhere(provider: str) -> None:
    schema = {"type": "object", "properties": {"a": _object(b=TEXT) | {"required": ["b"]}}, "required": ["a"]}
    asked = request(ASK, response_schema=ResponseSchema(schema, "out", True))
    text = json.dumps(encoded(asked, a_target(provider)).body)
    assert text.count('"additionalProperties": false') == 2
    assert '"strict": true' in text


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "gpt-6-sol"), ("azure", "gpt-4.1"), ("anthropic", "claude-opus-5"), ("mistral", "mistral-large-4")],
)
def test_a_strict_tool_without_parameters_says_that_it_has_none(provider: str, model: str) -> None:
    found = encoded(request(ASK, tools=(Tool("now", "", {}, strict=True),)), a_target(provider, model))
    text = json.dumps(found.body["tools"])
    assert '"properties": {}' in text
    assert '"additionalProperties": false' in text


@pytest.mark.parametrize("kind", ["anyOf", "oneOf", "allOf"])
@pytest.mark.parametrize("model", ["kimi-k3", "kimi-k2.6", "kimi-k4"])
def test_a_root_that_is_folded_keeps_its_type_where_none_may_stand_beside_any_of(model: str, kind: str) -> None:
    schema = {"type": "object", kind: [A, B], "properties": {"p": {"type": "array", "prefixItems": [TEXT, TEXT]}}}
    found = encoded(request(ASK, tools=(Tool("t", "", schema),)), a_target("moonshot", model))
    sent = found.body["tools"][0]["function"]["parameters"]
    assert sent["type"] == "object"
    assert kind not in sent
    assert "prefixItems" not in json.dumps(sent)


def test_properties_that_are_none_are_an_empty_object() -> None:
    tool = Tool("t", "", {"type": "object", "properties": None})
    for name, model in (("openai", "gpt-6-sol"), ("anthropic", "claude-opus-5"), ("groq", "m")):
        assert '"properties": {}' in json.dumps(encoded(request(ASK, tools=(tool,)), a_target(name, model)).body)


TWO = (Text("one"), Text("two"))


@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic_messages", "gemini", "openai_responses"])
@pytest.mark.parametrize("role", ["system", "later system", "user", "assistant", "tool"])
def test_texts_of_one_message_are_kept_apart_or_it_is_said(dialect: str, role: str) -> None:
    call = ToolCall("c", "f", "{}")
    spoken = {
        "system": (Message("system", TWO), ASK),
        "later system": (ASK, Message("assistant", (Text("yes"),)), Message("system", TWO), ASK),
        "user": (Message("user", TWO),),
        "assistant": (ASK, Message("assistant", TWO), ASK),
        "tool": (ASK, Message("assistant", (call,)), Message("tool", (ToolResult("c", TWO),)), ASK),
    }[role]
    sent = of(dialect).encode_request(ChatRequest(spoken), model="m")
    written = json.dumps(sent.body)
    if "onetwo" in written:
        assert any("texts of an answer joined" in change for change in sent.changes)
        assert (role, dialect) == ("assistant", "openai_responses")
    elif "one\\n\\ntwo" in written:
        assert any("joined by an empty line" in change or "<system> marks" in change for change in sent.changes)
    else:
        assert '"one"' in written
        assert '"two"' in written


def test_a_server_that_takes_one_text_is_said_to_get_one() -> None:
    quirks = Quirks(text_content="all")
    sent = of("openai_chat").encode_request(ChatRequest((Message("user", TWO),)), model="m", quirks=quirks)
    assert sent.body["messages"][0]["content"] == "one\n\ntwo"
    assert any("joined by an empty line" in change for change in sent.changes)
