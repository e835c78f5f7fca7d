"""Gemini request bodies: what a client says is read whole, and what is written is what Google's own types take."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute import ChatRequest, RequestError
from agentroute.formats import gemini
from agentroute.formats.base import Encoded
from agentroute.formats.gemini.fields import camel
from agentroute.formats.gemini.schema import json_schema
from agentroute.messages import (
    Extra,
    Image,
    Message,
    Reasoning,
    ResponseSchema,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

SCHEMA = {"type": "object", "properties": {"city_name": {"type": "string"}}}
SIGNATURE = "EpwICpkI/AX-LI2nxl_U6g+sWZ=="
BODY: dict[str, Any] = {
    "systemInstruction": {"parts": [{"text": "Be brief."}]},
    "contents": [
        {
            "role": "user",
            "parts": [{"text": "Weather?"}, {"inlineData": {"mimeType": "image/png", "data": "iVBOR+/w"}}],
        },
        {
            "role": "model",
            "parts": [
                {"text": "Two calls.", "thought": True, "thoughtSignature": "c2ln"},
                {"text": "Looking.", "thoughtSignature": "dGV4dA=="},
                {
                    "functionCall": {"id": "a", "name": "weather", "args": {"city_name": "Rome"}},
                    "thoughtSignature": SIGNATURE,
                },
                {"functionCall": {"id": "b", "name": "weather", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "a", "name": "weather", "response": {"result": "sunny"}}},
                {"functionResponse": {"id": "b", "name": "weather", "response": {"error": "no city"}}},
            ],
        },
        {"role": "model", "parts": [{"executableCode": {"language": "PYTHON", "code": "1"}}]},
        {"role": "user", "parts": [{"fileData": {"fileUri": "https://a.example/b.png", "mimeType": "image/png"}}]},
    ],
    "tools": [
        {"functionDeclarations": [{"name": "weather", "description": "now", "parametersJsonSchema": SCHEMA}]},
        {"googleSearch": {}},
    ],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}},
    "generationConfig": {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 40,
        "maxOutputTokens": 100,
        "stopSequences": ["END"],
        "seed": 7,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.2,
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
        "thinkingConfig": {"include_thoughts": True},
        "fromTomorrow": 1,
    },
    "safetySettings": [{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"}],
    "cachedContent": "cachedContents/1",
}


def encode(*messages: Message, model: str = "m", stream: bool = False, **more: Any) -> Encoded:
    return gemini.encode_request(ChatRequest(messages, **more), model=model, stream=stream)


def user(*parts: Any) -> Message:
    return Message("user", tuple(Text(part) if isinstance(part, str) else part for part in parts))


def decode(*parts: Any, role: str = "user") -> tuple[Message, ...]:
    return gemini.decode_request({"contents": [{"role": role, "parts": list(parts)}]}).messages


def valid(body: dict[str, Any]) -> None:
    """Google's own types refuse an unknown field and a field of a wrong type."""
    from google.genai import types

    for content in [*body["contents"], *filter(None, [body.get("systemInstruction")])]:
        types.Content.model_validate(content)
    for tool in body.get("tools", ()):
        types.Tool.model_validate(tool)
    if "toolConfig" in body:
        types.ToolConfig.model_validate(body["toolConfig"])
    types.GenerationConfig.model_validate(body.get("generationConfig", {}))


class TestDecoding:
    def test_all_of_it(self) -> None:
        request = gemini.decode_request(BODY)
        assert [message.role for message in request.messages] == [
            "system",
            "user",
            "assistant",
            "tool",
            "assistant",
            "user",
        ]
        system, asked, called, results, _, picture = request.messages
        assert system.text == "Be brief."
        assert asked.parts == (Text("Weather?"), Image(data="iVBOR+/w", media_type="image/png"))
        thought, text, first, second = called.parts
        assert thought == Reasoning("Two calls.", "c2ln", extra=Extra("gemini", {}))
        assert text == Text("Looking.", Extra("gemini", {"thoughtSignature": "dGV4dA=="}))
        assert first == ToolCall(
            "a", "weather", '{"city_name":"Rome"}', Extra("gemini", {"thoughtSignature": SIGNATURE})
        )
        assert second == ToolCall("b", "weather", "{}")
        assert results.tool_results == (
            ToolResult("a", (Text("sunny"),), None, "weather"),
            ToolResult("b", (Text("no city"),), True, "weather"),
        )
        assert picture.parts == (Image(url="https://a.example/b.png", media_type="image/png"),)
        assert request.tools[0] == Tool("weather", "now", SCHEMA)
        assert request.tools[1] == Tool("googleSearch", extra=Extra("gemini", {"googleSearch": {}}))
        assert request.tool_choice == ToolChoice("tool", "weather")
        assert request.sampling == Sampling(0.5, 0.9, 100, ("END",), 7, 0.1, 0.2)
        assert request.response_schema == ResponseSchema(SCHEMA)
        assert request.model is None

    def test_written_back_it_says_the_same(self) -> None:
        before = copy.deepcopy(BODY)
        request = gemini.decode_request(BODY)
        encoded = gemini.encode_request(request, model="m")
        assert encoded.body == BODY
        assert encoded.changes == ()
        assert before == BODY

    def test_snake_case_says_the_same(self) -> None:
        snake = {
            "system_instruction": {"parts": [{"text": "s"}]},
            "contents": [
                {"role": "model", "parts": [{"function_call": {"id": "a", "name": "f"}, "thought_signature": "c2ln"}]},
                {"parts": [{"function_response": {"id": "a", "name": "f", "response": {"a_b": 1}}}]},
            ],
            "tools": [{"function_declarations": [{"name": "f", "parameters_json_schema": SCHEMA}]}],
            "tool_config": {"function_calling_config": {"mode": "ANY", "allowed_function_names": ["f"]}},
            "generation_config": {"top_p": 0.5, "max_output_tokens": 3, "thinking_config": {"thinking_budget": 0}},
            "safety_settings": [],
        }
        request = gemini.decode_request(snake)
        assert [message.role for message in request.messages] == ["system", "assistant", "tool"]
        assert request.messages[1].parts == (ToolCall("a", "f", "{}", Extra("gemini", {"thoughtSignature": "c2ln"})),)
        assert request.messages[2].tool_results[0].text == '{"a_b":1}'
        assert request.tools == (Tool("f", "", SCHEMA),)
        assert request.tool_choice == ToolChoice("tool", "f")
        assert request.sampling == Sampling(top_p=0.5, max_output_tokens=3)
        assert request.extra == Extra("gemini", {"safetySettings": [], "thinkingConfig": {"thinking_budget": 0}})

    def test_a_result_without_an_id_answers_the_first_open_call_of_its_name(self) -> None:
        def call(name: str) -> dict[str, Any]:
            return {"functionCall": {"name": name, "args": {}}}

        def result(name: str, text: str) -> dict[str, Any]:
            return {"functionResponse": {"name": name, "response": {"result": text}}}

        contents = [
            {"role": "model", "parts": [call("f"), call("g"), call("f")]},
            {"role": "user", "parts": [result("f", "1"), result("f", "3"), result("g", "2"), result("f", "none")]},
        ]
        request = gemini.decode_request({"contents": contents})
        ids = [call.id for call in request.messages[0].tool_calls]
        assert len(set(ids)) == 3
        answered = {result.text: result.tool_call_id for result in request.messages[1].tool_results}
        assert [answered["1"], answered["2"], answered["3"]] == ids
        assert answered["none"] not in ids
        assert request == gemini.decode_request({"contents": contents})

    def test_files_that_we_have_no_word_for_are_kept_whole(self) -> None:
        parts = [
            {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}},
            {"fileData": {"fileUri": "gs://bucket/a.png", "mimeType": "image/png"}},
            {
                "fileData": {
                    "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/a",
                    "mimeType": "image/png",
                }
            },
            {"fileData": {"fileUri": "https://www.youtube.com/watch?v=a"}, "videoMetadata": {"fps": 1}},
        ]
        messages = decode(*parts)
        assert all(isinstance(part, Text) for part in messages[0].parts)
        assert encode(*messages).body["contents"][0]["parts"] == parts

    def test_base64_for_urls_becomes_the_common_form(self) -> None:
        (message,) = decode({"inlineData": {"mimeType": "image/jpeg", "data": "_9j_4A"}})
        assert message.parts == (Image(data="/9j/4A==", media_type="image/jpeg"),)

    def test_a_picture_inside_a_function_response_goes_back_inside(self) -> None:
        inside = [
            {"inlineData": {"mimeType": "image/png", "data": "iVBO"}},
            {"fileData": {"fileUri": "https://a.example/1.png", "mimeType": "image/png"}},
            {"inlineData": {"mimeType": "text/plain", "data": "aGk="}},
        ]
        held = {"id": "a", "name": "f", "response": {}, "parts": inside, "scheduling": "SILENT"}
        messages = decode({"functionResponse": held})
        assert encode(*messages).body["contents"][0]["parts"] == [{"functionResponse": held}]

    @pytest.mark.parametrize(
        ("config", "choice"),
        [
            ({"mode": "AUTO"}, ToolChoice("auto")),
            ({"mode": "NONE"}, ToolChoice("none")),
            ({"mode": "ANY"}, ToolChoice("required")),
            ({"mode": "ANY", "allowedFunctionNames": ["f", "g"]}, ToolChoice("required")),
            ({"mode": "VALIDATED"}, None),
            ({"mode": "ANY", "allowedFunctionNames": ["g"]}, ToolChoice("tool", "g")),
        ],
    )
    def test_tool_choice(self, config: dict[str, Any], choice: ToolChoice | None) -> None:
        tools = [{"functionDeclarations": [{"name": name, "description": ""} for name in "fgh"]}]
        body = {
            "contents": [{"role": "user", "parts": [{"text": "x"}]}],
            "tools": tools,
            "toolConfig": {"functionCallingConfig": config},
        }
        request = gemini.decode_request(body)
        assert request.tool_choice == choice
        assert gemini.encode_request(request, model="m").body == body

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ([], "request"),
            ({}, "contents"),
            ({"contents": []}, "contents"),
            ({"contents": "hi"}, "contents"),
            ({"contents": ["hi"]}, "contents[0]"),
            ({"contents": [{"role": "assistant", "parts": []}]}, "contents[0].role"),
            ({"contents": [{"parts": ["hi"]}]}, "contents[0].parts[0]"),
            ({"contents": [{"parts": [{"text": 1}]}]}, "contents[0].parts[0].text"),
            ({"contents": [{"parts": [{"functionCall": {}}]}]}, "contents[0].parts[0].functionCall.name"),
            ({"contents": [{"parts": [{"functionCall": {"name": "f", "args": 1}}]}]}, "functionCall.args"),
            (
                {"contents": [{"parts": [{"functionResponse": {"name": "f", "response": "x"}}]}]},
                "functionResponse.response",
            ),
            ({"contents": [{}], "tools": {}}, "tools"),
            ({"contents": [{}], "tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name"),
            ({"contents": [{}], "generationConfig": {"temperature": "hot"}}, "generationConfig.temperature"),
            ({"contents": [{}], "generationConfig": {"seed": True}}, "generationConfig.seed"),
            ({"contents": [{}], "generationConfig": {"stopSequences": "x"}}, "generationConfig.stopSequences"),
            ({"contents": [{}], "systemInstruction": 1}, "systemInstruction"),
            ({"contents": [{}], "toolConfig": {"functionCallingConfig": {"mode": 1}}}, "functionCallingConfig.mode"),
        ],
    )
    def test_what_is_wrong_is_named(self, body: Any, field: str) -> None:
        with pytest.raises(RequestError) as caught:
            gemini.decode_request(body)
        assert field in str(caught.value)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        "contents role parts text functionCall function_response tools name response args mode "
                        "functionDeclarations generationConfig toolConfig functionCallingConfig".split()
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        )
    )
    def test_nothing_but_a_request_error(self, raw: Any) -> None:
        for body in (
            raw,
            {"contents": raw},
            {"contents": [{"parts": raw}]},
            {"contents": [{"parts": [{}]}], "tools": raw},
        ):
            try:
                request = gemini.decode_request(body)
            except RequestError:
                continue
            gemini.encode_request(request, model="m")


def test_google_schemas_become_json_schemas() -> None:
    schema = {
        "type": "OBJECT",
        "properties": {
            "min_items": {"type": "STRING", "enum": ["a"], "nullable": True},
            "b": {"type": "ARRAY", "min_items": "2", "items": {"type": "TYPE_UNSPECIFIED"}},
            "c": {"any_of": [{"type": "INTEGER"}, {"type": "NUMBER"}], "nullable": True},
        },
        "propertyOrdering": ["b"],
    }
    before = copy.deepcopy(schema)
    assert json_schema(schema) == {
        "type": "object",
        "properties": {
            "min_items": {"type": ["string", "null"], "enum": ["a", None]},
            "b": {"type": "array", "minItems": 2, "items": {}},
            "c": {"anyOf": [{"anyOf": [{"type": "integer"}, {"type": "number"}]}, {"type": "null"}]},
        },
        "propertyOrdering": ["b"],
    }
    assert schema == before


class TestEncoding:
    @pytest.mark.parametrize(
        ("model", "path"),
        [
            ("gemini-2.5-pro", "/models/gemini-2.5-pro:generateContent"),
            ("models/a", "/models/a:generateContent"),
            ("tunedModels/a", "/tunedModels/a:generateContent"),
            ("a/../b?key=1#c:d e", "/models/a%2F..%2Fb%3Fkey%3D1%23c%3Ad%20e:generateContent"),
        ],
    )
    def test_path(self, model: str, path: str) -> None:
        assert encode(user("hi"), model=model).path == path

    def test_path_of_a_stream(self) -> None:
        assert encode(user("hi"), model="a", stream=True).path == "/models/a:streamGenerateContent?alt=sse"

    def test_no_model(self) -> None:
        with pytest.raises(RequestError, match="no model"):
            gemini.encode_request(ChatRequest((user("hi"),)))

    def test_roles_are_merged_and_system_messages_joined(self) -> None:
        encoded = encode(
            Message("system", (Text("a"),)),
            Message("developer", (Text("b"),)),
            user("1"),
            user("2"),
            Message("assistant", (Text("3"),)),
            Message("assistant", (Text("4"),)),
        )
        assert encoded.body["systemInstruction"] == {"parts": [{"text": "a"}, {"text": "b"}]}
        assert encoded.body["contents"] == [
            {"role": "user", "parts": [{"text": "1"}, {"text": "2"}]},
            {"role": "model", "parts": [{"text": "3"}, {"text": "4"}]},
        ]
        assert encoded.changes == ()
        valid(encoded.body)

    def test_a_late_system_message_moves_and_says_so(self) -> None:
        encoded = encode(user("1"), Message("system", (Text("late"),)))
        assert encoded.body["systemInstruction"] == {"parts": [{"text": "late"}]}
        assert len(encoded.changes) == 1

    def test_only_a_system_message(self) -> None:
        encoded = encode(Message("system", (Text("a"),)))
        assert encoded.body["contents"] == [{"role": "user", "parts": [{"text": ""}]}]
        assert len(encoded.changes) == 1

    @pytest.mark.parametrize(
        ("text", "is_error", "response"),
        [
            ("sunny", None, {"result": "sunny"}),
            ("", None, {"result": ""}),
            ("boom", True, {"error": "boom"}),
            ("fine", False, {"result": "fine"}),
            ('{"a": [1, "x"]}', None, {"a": [1, "x"]}),
            ("[1]", None, {"result": "[1]"}),
            ('{"id": 9007199254740993}', None, {"result": '{"id": 9007199254740993}'}),
            ('{"a": NaN}', None, {"result": '{"a": NaN}'}),
            ('{"a": 1e999}', None, {"result": '{"a": 1e999}'}),
            ('{"result":"x"}', None, {"result": '{"result":"x"}'}),
            ('{"error":"x"}', None, {"result": '{"error":"x"}'}),
        ],
    )
    def test_results(self, text: str, is_error: bool | None, response: dict[str, Any]) -> None:
        content = (Text(text),) if text else ()
        messages = (
            Message("assistant", (ToolCall("a", "weather", "{}"),)),
            Message("tool", (ToolResult("a", content, is_error),)),
        )
        encoded = encode(*messages)
        (part,) = encoded.body["contents"][1]["parts"]
        assert part == {"functionResponse": {"id": "a", "name": "weather", "response": response}}
        valid(encoded.body)
        (again,) = gemini.decode_request(encoded.body).messages[1].tool_results
        assert again.is_error is (True if is_error else None)
        assert again.text.replace(" ", "") == text.replace(" ", "")

    def test_parallel_results_stand_first_and_their_pictures_behind_them(self) -> None:
        picture = Image(data="iVBORw0=", detail="high")
        encoded = encode(
            Message("assistant", (ToolCall("a", "f", "{}"), ToolCall("b", "g", ""))),
            Message("tool", (ToolResult("a", (Text("one"), picture)),)),
            Message("tool", (ToolResult("b", (Text("two"),)),)),
            user("so?"),
        )
        parts = encoded.body["contents"][1]["parts"]
        assert [next(iter(part)) for part in parts] == ["functionResponse", "functionResponse", "inlineData", "text"]
        assert parts[2]["inlineData"] == {"mimeType": "image/png", "data": "iVBORw0="}
        assert len(encoded.changes) == 2
        valid(encoded.body)

    def test_a_result_of_no_call(self) -> None:
        encoded = encode(Message("tool", (ToolResult("zz", (Text("x"),)),)))
        assert encoded.body["contents"][0]["parts"][0]["functionResponse"]["name"] == "unknown"
        assert len(encoded.changes) == 1

    @pytest.mark.parametrize("arguments", ["[1]", "{", '{"a": NaN}', "null"])
    def test_arguments_that_are_no_object(self, arguments: str) -> None:
        encoded = encode(Message("assistant", (ToolCall("a", "f", arguments),)))
        call = encoded.body["contents"][0]["parts"][0]["functionCall"]
        assert call == {"id": "a", "name": "f", "args": {"INVALID_JSON": arguments}}
        assert "INVALID_JSON" in encoded.changes[0]

    def test_pictures(self) -> None:
        encoded = encode(
            user(
                Image(data="/9j/4A==", media_type="image/webp"),
                Image(data="/9j/4A=="),
                Image(url="https://a.example/B.PNG?x=1"),
                Image(url="https://a.example/b"),
            )
        )
        assert encoded.body["contents"][0]["parts"] == [
            {"inlineData": {"mimeType": "image/jpeg", "data": "/9j/4A=="}},
            {"inlineData": {"mimeType": "image/jpeg", "data": "/9j/4A=="}},
            {"fileData": {"fileUri": "https://a.example/B.PNG?x=1", "mimeType": "image/png"}},
            {"fileData": {"fileUri": "https://a.example/b"}},
        ]
        valid(encoded.body)

    def test_reasoning_goes_back_only_where_it_came_in_this_dialect(self) -> None:
        mine = Reasoning("a", "c2ln", "google/m", extra=Extra("gemini", {}, "google/m"))
        encoded = encode(
            Message(
                "assistant",
                (
                    Reasoning("open"),
                    Reasoning("b", "xx", "anthropic/c", extra=Extra("anthropic_messages", {})),
                    mine,
                    Text("hi"),
                ),
            )
        )
        assert encoded.body["contents"][0]["parts"] == [
            {"text": "a", "thought": True, "thoughtSignature": "c2ln"},
            {"text": "hi"},
        ]
        assert encoded.changes == ("reasoning left out: Gemini takes back its own alone",)

    def test_signatures_go_back_to_exactly_their_part(self) -> None:
        signed = Extra("gemini", {"thoughtSignature": SIGNATURE}, "google/m")
        encoded = encode(
            Message(
                "assistant", (Text("a"), Text("", signed), ToolCall("x", "f", "{}", signed), ToolCall("y", "f", "{}"))
            )
        )
        parts = encoded.body["contents"][0]["parts"]
        assert [part.get("thoughtSignature") for part in parts] == [None, SIGNATURE, SIGNATURE, None]
        assert json.dumps(parts).count(SIGNATURE) == 2

    def test_what_it_cannot_hold_is_said_once(self) -> None:
        request = ChatRequest.from_openai(
            {
                "messages": [
                    {"role": "user", "content": "hi", "name": "ann"},
                    {"role": "user", "content": "ho", "name": "bo"},
                ],
                "tools": [{"type": "function", "function": {"name": "f", "strict": True}}],
                "parallel_tool_calls": False,
                "reasoning_effort": "low",
                "max_tokens": 5,
                "tool_choice": "auto",
            }
        )
        encoded = gemini.encode_request(request, model="m")
        assert encoded.body == {
            "contents": [{"role": "user", "parts": [{"text": "hi"}, {"text": "ho"}]}],
            "tools": [{"functionDeclarations": [{"name": "f", "description": ""}]}],
            "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
            "generationConfig": {"thinkingConfig": {"thinkingLevel": "low"}, "maxOutputTokens": 5},
        }
        named = ["name", "strict", "parallel_tool_calls"]
        assert [sum(f"`{name}`" in change for change in encoded.changes) for name in named] == [1, 1, 1]
        assert len(encoded.changes) == 3

    def test_settings_of_a_target_go_where_they_belong(self) -> None:
        settings = {
            "thinkingConfig": {"thinkingBudget": 0},
            "generationConfig": {"topK": 3, "temperature": 1},
            "safety_settings": [],
            "toolConfig": {"functionCallingConfig": {"streamFunctionCallArguments": True}},
        }
        encoded = encode(user("hi"), extra=Extra("gemini", settings), sampling=Sampling(temperature=0.1))
        assert encoded.body["generationConfig"] == {
            "topK": 3,
            "temperature": 0.1,
            "thinkingConfig": {"thinkingBudget": 0},
        }
        assert encoded.body["safetySettings"] == []
        assert "toolConfig" not in encoded.body
        assert len(encoded.changes) == 1
        valid(encoded.body)

    def test_a_choice_without_tools_is_not_written(self) -> None:
        assert "toolConfig" not in encode(user("hi"), tool_choice=ToolChoice("auto")).body

    def test_any_json(self) -> None:
        encoded = encode(user("hi"), response_schema=ResponseSchema())
        assert encoded.body["generationConfig"] == {"responseMimeType": "application/json"}
        assert gemini.decode_request(encoded.body).response_schema == ResponseSchema()


def normal(body: dict[str, Any]) -> dict[str, Any]:
    """What a body says, whichever way it is spelled: the forms that docs/formats.md lists as one."""
    body = copy.deepcopy(dict(camel(body)))
    body.get("systemInstruction", {}).pop("role", None)
    if not body.get("generationConfig"):
        body.pop("generationConfig", None)
    names = []
    for tool in body.get("tools", ()):
        tool["functionDeclarations"] = [dict(camel(function)) for function in tool["functionDeclarations"]]
        for function in tool["functionDeclarations"]:
            names.append(function["name"])
            if "parameters" in function:
                function["parametersJsonSchema"] = json_schema(function.pop("parameters"))
    calling = body.get("toolConfig", {}).get("functionCallingConfig", {})
    if calling.get("allowedFunctionNames") == names:
        del calling["allowedFunctionNames"]
    for content in body["contents"]:
        content["parts"] = [{key: _inner(value) for key, value in camel(part).items()} for part in content["parts"]]
    return body


def _inner(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    value = dict(camel(value))
    if "mimeType" in value and "data" in value:
        value["data"] = value["data"].replace("-", "+").replace("_", "/")
    if "parts" in value:
        value["parts"] = [{key: _inner(held) for key, held in camel(part).items()} for part in value["parts"]]
    return value


@pytest.mark.requires("shared")
def test_recorded_requests_say_the_same_when_written_back(shared: Path) -> None:
    paths = sorted((shared / "wire/gemini").glob("*.request.json"))
    assert len(paths) == 25
    for path in paths:
        recorded = json.loads(path.read_text())
        body, model = recorded["body"], recorded["uri"].rsplit("/", 1)[1].partition(":")[0]
        encoded = gemini.encode_request(gemini.decode_request(body), model=model, stream="alt=sse" in recorded["uri"])
        assert encoded.body == normal(body), path.name
        assert recorded["uri"].endswith(encoded.path), path.name
        assert encoded.changes == (), path.name
        body.pop("modelArmorConfig", None)
        valid(encoded.body)
