"""The official SDKs against the gateway and against the same upstream directly: one result."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import types
from pydantic import BaseModel

from agentroute.messages import ChatRequest, Image
from agentroute.testing import Fault, ScriptedProvider, ScriptedReply, tool_call

from .doors import DIALECTS
from .served import Served

PIXEL = base64.b64encode(
    base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
).decode()
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
CASES = ("plain", "stream", "tools", "parallel", "structured", "image")


class Place(BaseModel):
    city: str


def reply(request: ChatRequest) -> ScriptedReply:
    """What the model says depends on what it was asked alone."""
    if request.tools and not any(message.role == "tool" for message in request.messages):
        both = "both" in request.messages[-1].text
        calls = [tool_call("weather", city="Paris"), *([tool_call("weather", city="Rome")] if both else [])]
        return ScriptedReply(tool_calls=tuple(calls))
    if request.response_schema is not None:
        return ScriptedReply('{"city": "Paris"}')
    if any(isinstance(part, Image) for message in request.messages for part in message.parts):
        return ScriptedReply("a picture")
    results = [result.text for message in request.messages for result in message.tool_results]
    return ScriptedReply(f"results: {results}" if results else "hello there, general")


@pytest.fixture(params=DIALECTS)
def both(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """The address of an upstream, and of a gateway over it that speaks this dialect to it."""
    with ScriptedProvider(reply, api_key="k") as provider:
        target = provider.target(model="m", tier="mid", dialect=request.param)
        with Served([target]) as gateway:
            yield provider.base_url.removesuffix("/v1"), gateway.url


def same(direct: Any, through: Any) -> None:
    assert through == direct


@pytest.mark.parametrize("case", CASES)
def test_openai_chat(both: tuple[str, str], case: str) -> None:
    found = []
    for url in both:
        with openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client:
            found.append(_chat(client, case))
    same(*found)


def _chat(client: openai.OpenAI, case: str) -> Any:
    ask: Any = [{"role": "user", "content": "both, please" if case == "parallel" else "hello"}]
    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
    create = client.chat.completions.create
    match case:
        case "plain":
            answer = create(model="auto", messages=ask)
            return answer.choices[0].message.content, answer.choices[0].finish_reason
        case "stream":
            with client.chat.completions.stream(model="auto", messages=ask) as stream:
                final = stream.get_final_completion()
            return final.choices[0].message.content, final.choices[0].finish_reason
        case "tools" | "parallel":
            first = create(model="auto", messages=ask, tools=[tool]).choices[0].message
            calls: Any = first.tool_calls
            results: Any = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in calls]
            after = create(model="auto", messages=[*ask, first, *results], tools=[tool])
            said = [(call.function.name, json.loads(call.function.arguments)) for call in calls]
            return said, after.choices[0].message.content
        case "structured":
            parsed = client.chat.completions.parse(model="auto", messages=ask, response_format=Place)
            return parsed.choices[0].message.parsed
        case _:
            picture: Any = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
            look: Any = [{"role": "user", "content": [{"type": "text", "text": "look"}, picture]}]
            return create(model="auto", messages=look).choices[0].message.content


@pytest.mark.parametrize("case", CASES)
def test_openai_responses(both: tuple[str, str], case: str) -> None:
    found = []
    for url in both:
        with openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client:
            found.append(_responses(client, case))
    same(*found)


def _responses(client: openai.OpenAI, case: str) -> Any:
    ask: Any = [{"role": "user", "content": "both, please" if case == "parallel" else "hello"}]
    tool: Any = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}
    create = client.responses.create
    match case:
        case "plain":
            return create(model="auto", input="hello").output_text
        case "stream":
            with client.responses.stream(model="auto", input="hello") as stream:
                kinds = [event.type for event in stream]
                return stream.get_final_response().output_text, kinds[0], kinds[-1]
        case "tools" | "parallel":
            first = create(model="auto", input=ask, tools=[tool])
            calls: Any = [item for item in first.output if item.type == "function_call"]
            results: Any = [
                {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"} for call in calls
            ]
            after = create(model="auto", input=[*ask, *first.output, *results], tools=[tool])
            return [(call.name, json.loads(call.arguments)) for call in calls], after.output_text
        case "structured":
            return client.responses.parse(model="auto", input="hello", text_format=Place).output_parsed
        case _:
            picture: Any = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"}
            look: Any = [{"role": "user", "content": [{"type": "input_text", "text": "look"}, picture]}]
            return create(model="auto", input=look).output_text


def test_openai_responses_goes_on_from_an_answer(both: tuple[str, str]) -> None:
    tool: Any = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}
    with openai.OpenAI(base_url=f"{both[1]}/v1", api_key="k", max_retries=0) as client:
        first = client.responses.create(model="auto", input="hello", tools=[tool])
        call: Any = first.output[0]
        result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        after = client.responses.create(model="auto", input=[result], previous_response_id=first.id, tools=[tool])
        named: Any = {"type": "item_reference", "id": call.id}
        referred = client.responses.create(
            model="auto", input=[{"role": "user", "content": "hello"}, named, result], tools=[tool]
        )
    assert after.output_text == referred.output_text == "results: ['sunny']"


@pytest.mark.parametrize("case", CASES)
def test_anthropic_messages(both: tuple[str, str], case: str) -> None:
    found = []
    for url in both:
        with anthropic.Anthropic(base_url=url, api_key="k", max_retries=0) as client:
            found.append(_messages(client, case))
    same(*found)


def _messages(client: anthropic.Anthropic, case: str) -> Any:
    ask: Any = [{"role": "user", "content": "both, please" if case == "parallel" else "hello"}]
    tool: Any = {"name": "weather", "input_schema": SCHEMA}
    create = client.messages.create
    match case:
        case "plain":
            answer: Any = create(model="auto", max_tokens=100, messages=ask)
            return answer.content[0].text, answer.stop_reason
        case "stream":
            with client.messages.stream(model="auto", max_tokens=100, messages=ask) as stream:
                final: Any = stream.get_final_message()
            return final.content[0].text, final.stop_reason
        case "tools" | "parallel":
            first: Any = create(model="auto", max_tokens=100, messages=ask, tools=[tool])
            calls = [block for block in first.content if block.type == "tool_use"]
            results = [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"} for call in calls]
            turns: Any = [*ask, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
            after: Any = create(model="auto", max_tokens=100, messages=turns, tools=[tool])
            return [(call.name, call.input) for call in calls], after.content[0].text
        case "structured":
            parsed: Any = client.messages.parse(model="auto", max_tokens=100, messages=ask, output_format=Place)
            return parsed.parsed_output
        case _:
            source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
            look: Any = [{"role": "user", "content": [{"type": "image", "source": source}]}]
            seen: Any = create(model="auto", max_tokens=100, messages=look)
            return seen.content[0].text


@pytest.mark.parametrize("case", CASES)
def test_google_genai(both: tuple[str, str], case: str) -> None:
    found = []
    for url, version in zip(both, ("v1", "v1beta"), strict=True):
        options = types.HttpOptions(base_url=url, api_version=version)
        client = genai.Client(api_key="k", http_options=options)
        try:
            found.append(_gemini(client, case))
        finally:
            client.close()
    same(*found)


def _gemini(client: genai.Client, case: str) -> Any:
    ask: Any = "both, please" if case == "parallel" else "hello"
    declared: Any = {"name": "weather", "parameters_json_schema": SCHEMA}
    tools: Any = [types.Tool(function_declarations=[declared])]
    quiet = types.AutomaticFunctionCallingConfig(disable=True)
    generate = client.models.generate_content
    match case:
        case "plain":
            return generate(model="agentroute-auto", contents=ask).text
        case "stream":
            pieces = client.models.generate_content_stream(model="agentroute-auto", contents=ask)
            return "".join(piece.text or "" for piece in pieces)
        case "tools" | "parallel":
            config = types.GenerateContentConfig(tools=tools, automatic_function_calling=quiet)
            first: Any = generate(model="agentroute-auto", contents=ask, config=config)
            results = [
                types.Part.from_function_response(name=c.name, response={"result": "sunny"})
                for c in first.function_calls
            ]
            turns: Any = [types.Content(role="user", parts=[types.Part(text=ask)]), first.candidates[0].content]
            turns.append(types.Content(role="user", parts=results))
            after = generate(model="agentroute-auto", contents=turns, config=config)
            return [(call.name, call.args) for call in first.function_calls], after.text
        case "structured":
            config = types.GenerateContentConfig(response_mime_type="application/json", response_json_schema=SCHEMA)
            return generate(model="agentroute-auto", contents=ask, config=config).text
        case _:
            picture = types.Part.from_bytes(data=base64.b64decode(PIXEL), mime_type="image/png")
            return generate(model="agentroute-auto", contents=[picture, "look"]).text


async def test_the_asynchronous_clients(both: tuple[str, str]) -> None:
    said = []
    for url in both:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
            stream = await client.chat.completions.create(
                model="auto", messages=[{"role": "user", "content": "hello"}], stream=True
            )
            said.append("".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]))
        async with anthropic.AsyncAnthropic(base_url=url, api_key="k") as other:
            answer: Any = await other.messages.create(
                model="auto", max_tokens=9, messages=[{"role": "user", "content": "hello"}]
            )
            said.append(answer.content[0].text)
    assert said == ["hello there, general"] * 4


def test_an_sdk_asks_once_where_every_target_failed() -> None:
    """Two tries of its own would be the default; the header stops them."""
    ask: Any = [{"role": "user", "content": "hello"}]
    with (
        ScriptedProvider("x", fault=Fault.error(500)) as provider,
        Served([provider.target(model="m", tier="mid")]) as gateway,
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="k") as client,
        anthropic.Anthropic(base_url=gateway.url, api_key="k") as other,
    ):
        with pytest.raises(openai.APIStatusError):
            client.chat.completions.create(model="auto", messages=ask)
        with pytest.raises(anthropic.APIStatusError):
            other.messages.create(model="auto", max_tokens=9, messages=ask)
        answers = sum(gateway.gateway.metrics.answers.values())
    assert answers == 2
