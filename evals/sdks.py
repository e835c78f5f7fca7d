"""The official SDKs' usual calls through the gateway, held against the same calls made directly: a matrix.

    python evals/sdks.py            # prints it and writes results/sdks.txt; ends with 1 if a cell differs

Each call is made twice: to a scripted provider in the client's own dialect, and to a gateway whose only target is that
provider in each of the four dialects. What the SDK returns must be equal, but for ids, names of models, signatures,
times, the provider's own word for why it ended, and the figures that the gateway adds to the usage. A count of 0 and
one that the upstream's dialect cannot tell are alike here. tests/gateway/test_sdks.py makes the same calls.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import date
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import anthropic
import openai
import uvicorn
from google import genai
from google.genai import types
from pydantic import BaseModel

from agentroute import Router
from agentroute.gateway import GatewaySettings
from agentroute.gateway.app import Gateway
from agentroute.gateway.server import uvicorn_config
from agentroute.messages import ChatRequest, Image, Usage
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

OUT = Path(__file__).resolve().parent / "results" / "sdks.txt"
UPSTREAMS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
USAGE = Usage(input_tokens=100, output_tokens=20, cache_read_tokens=64)
TEXTS = {"parallel": "both, please", "reasoning": "think, please"}
CASES = ("plain", "system", "stream", "tools", "tools stream", "parallel", "json", "parse", "reasoning", "image")
Case = Callable[[Any, str], Awaitable[Any]]


class Place(BaseModel):
    city: str


def reply(request: ChatRequest) -> ScriptedReply:
    """What the model says depends on what it was asked alone."""
    said = next(message.text for message in reversed(request.messages) if message.role == "user")
    if request.tools and not any(message.role == "tool" for message in request.messages):
        calls = [tool_call("weather", city=city) for city in (("Paris", "Rome") if "both" in said else ("Paris",))]
        return ScriptedReply("I look.", tuple(calls), usage=USAGE)
    if request.response_schema is not None:
        return ScriptedReply('{"city": "Paris"}', usage=USAGE)
    if any(isinstance(part, Image) for message in request.messages for part in message.parts):
        return ScriptedReply("a picture", usage=USAGE)
    results = [result.text for message in request.messages for result in message.tool_results]
    system = [message.text for message in request.messages if message.role == "system"]
    thought = "First this, then that." if "think" in said else ""
    return ScriptedReply(f"{system or ''}{results or ''} hello there, general {said}", reasoning=thought, usage=USAGE)


async def done(value: Any) -> Any:
    """The result of a call of either kind of client."""
    return await value if inspect.isawaitable(value) else value


async def each(stream: Any) -> AsyncIterator[Any]:
    if hasattr(stream, "__aiter__"):
        async for piece in stream:
            yield piece
    else:
        for piece in stream:
            yield piece


async def streamed(manager: Any, final: str) -> Any:
    """The kinds of events of an SDK's stream helper, and what it makes of them in the end."""
    if hasattr(manager, "__aenter__"):
        async with manager as stream:
            kinds = [event.type async for event in stream]
            return kinds[0], kinds[-1], await getattr(stream, final)()
    with manager as stream:
        kinds = [event.type for event in stream]
        return kinds[0], kinds[-1], getattr(stream, final)()


async def chat(client: Any, case: str) -> Any:
    ask: list[Any] = [{"role": "user", "content": TEXTS.get(case, "hello")}]
    tool = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
    create = client.chat.completions.create
    match case:
        case "plain":
            return await done(create(model="auto", messages=ask, temperature=0.5, max_tokens=50))
        case "system":
            return await done(create(model="auto", messages=[{"role": "system", "content": "Be brief."}, *ask]))
        case "stream":
            return await streamed(
                client.chat.completions.stream(model="auto", messages=ask, stream_options={"include_usage": True}),
                "get_final_completion",
            )
        case "tools" | "parallel":
            first = await done(create(model="auto", messages=ask, tools=[tool]))
            message = first.choices[0].message
            results = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in message.tool_calls]
            after = await done(create(model="auto", messages=[*ask, message, *results], tools=[tool]))
            return first, after
        case "tools stream":
            strict = {"type": "function", "function": {**tool["function"], "strict": True}}  # type: ignore[dict-item]
            return await streamed(
                client.chat.completions.stream(model="auto", messages=ask, tools=[strict]), "get_final_completion"
            )
        case "json":
            form = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}}
            return await done(create(model="auto", messages=ask, response_format=form))
        case "parse":
            return await done(client.chat.completions.parse(model="auto", messages=ask, response_format=Place))
        case "reasoning":
            return await done(create(model="auto", messages=ask, reasoning_effort="low"))
        case "image":
            part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
            look = [{"role": "user", "content": [{"type": "text", "text": "look"}, part]}]
            return await done(create(model="auto", messages=look))
        case _:
            return None


async def responses(client: Any, case: str) -> Any:
    ask: list[Any] = [{"role": "user", "content": TEXTS.get(case, "hello")}]
    tool = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}
    create = client.responses.create
    match case:
        case "plain":
            return await done(create(model="auto", input="hello", temperature=0.5, max_output_tokens=50))
        case "system":
            return await done(create(model="auto", input="hello", instructions="Be brief."))
        case "stream":
            return await streamed(client.responses.stream(model="auto", input="hello"), "get_final_response")
        case "tools" | "parallel":
            first = await done(create(model="auto", input=ask, tools=[tool]))
            calls = [item for item in first.output if item.type == "function_call"]
            results = [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"} for call in calls]
            return first, await done(create(model="auto", input=[*ask, *first.output, *results], tools=[tool]))
        case "tools stream":
            return await streamed(client.responses.stream(model="auto", input=ask, tools=[tool]), "get_final_response")
        case "json":
            form = {"format": {"type": "json_schema", "name": "place", "schema": SCHEMA, "strict": True}}
            return await done(create(model="auto", input="hello", text=form))
        case "parse":
            return await done(client.responses.parse(model="auto", input="hello", text_format=Place))
        case "reasoning":
            return await done(create(model="auto", input=ask, reasoning={"effort": "low", "summary": "auto"}))
        case "image":
            part = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"}
            look = [{"role": "user", "content": [{"type": "input_text", "text": "look"}, part]}]
            return await done(create(model="auto", input=look))
        case _:
            return None


async def messages(client: Any, case: str) -> Any:
    ask: list[Any] = [{"role": "user", "content": TEXTS.get(case, "hello")}]
    usual: dict[str, Any] = {"model": "auto", "max_tokens": 2000}
    tool = {"name": "weather", "input_schema": SCHEMA}
    create = client.messages.create
    match case:
        case "plain":
            return await done(create(**usual, messages=ask, stop_sequences=["END"]))
        case "system":
            return await done(create(**usual, messages=ask, system="Be brief."))
        case "stream":
            return await streamed(client.messages.stream(**usual, messages=ask), "get_final_message")
        case "tools" | "parallel":
            first = await done(create(**usual, messages=ask, tools=[tool]))
            calls = [block for block in first.content if block.type == "tool_use"]
            results = [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"} for call in calls]
            turns = [*ask, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
            return first, await done(create(**usual, messages=turns, tools=[tool]))
        case "tools stream":
            return await streamed(client.messages.stream(**usual, messages=ask, tools=[tool]), "get_final_message")
        case "json":
            form = {"format": {"type": "json_schema", "schema": SCHEMA}}
            return await done(create(**usual, messages=ask, output_config=form))
        case "parse":
            return await done(client.messages.parse(**usual, messages=ask, output_format=Place))
        case "reasoning":
            thinking = {"type": "enabled", "budget_tokens": 1024}
            return await done(create(**usual, messages=ask, thinking=thinking))
        case "image":
            source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
            return await done(
                create(**usual, messages=[{"role": "user", "content": [{"type": "image", "source": source}]}])
            )
        case _:
            return None


async def gemini(client: Any, case: str) -> Any:
    ask = TEXTS.get(case, "hello")
    declared: Any = {"name": "weather", "parameters_json_schema": SCHEMA}
    quiet = types.AutomaticFunctionCallingConfig(disable=True)
    tools: dict[str, Any] = {
        "tools": [types.Tool(function_declarations=[declared])],
        "automatic_function_calling": quiet,
    }

    async def generate(contents: Any = ask, **config: Any) -> Any:
        config_of = types.GenerateContentConfig(**config) if config else None
        return await done(client.models.generate_content(model="agentroute-auto", contents=contents, config=config_of))

    async def pieces(**config: Any) -> Any:
        given: Any = types.GenerateContentConfig(**config) if config else None
        stream = client.models.generate_content_stream(model="agentroute-auto", contents=ask, config=given)
        found = [piece async for piece in each(await done(stream))]
        parts = [part for piece in found for part in (piece.candidates[0].content.parts or ())]
        text = "".join(part.text or "" for part in parts)
        return text, [part.function_call for part in parts if part.function_call], found[-1].candidates[0].finish_reason

    match case:
        case "plain":
            return await generate(temperature=0.5, max_output_tokens=50)
        case "system":
            return await generate(system_instruction="Be brief.")
        case "stream":
            return await pieces()
        case "tools" | "parallel":
            first = await generate(**tools)
            results = [
                types.Part.from_function_response(name=call.name, response={"result": "sunny"})
                for call in first.function_calls
            ]
            turns = [types.Content(role="user", parts=[types.Part(text=ask)]), first.candidates[0].content]
            return first, await generate([*turns, types.Content(role="user", parts=results)], **tools)
        case "tools stream":
            return await pieces(**tools)
        case "json":
            return await generate(response_mime_type="application/json", response_json_schema=SCHEMA)
        case "parse":
            return (await generate(response_mime_type="application/json", response_schema=Place)).parsed
        case "reasoning":
            return await generate(thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=1024))
        case "image":
            picture = types.Part.from_bytes(data=base64.b64decode(PIXEL), mime_type="image/png")
            return await generate([picture, "look"])
        case _:
            return None


CLIENTS: dict[str, Case] = {"chat": chat, "responses": responses, "messages": messages, "gemini": gemini}
MODES = ("sync", "async")


@contextmanager
def opened(name: str, mode: str, url: str) -> Iterator[Any]:
    """One SDK's client. `url` is without `/v1`."""
    if name == "gemini":
        options = types.HttpOptions(base_url=url)
        with genai.Client(api_key="k", http_options=options) as client:
            yield client if mode == "sync" else client.aio
        return
    kind: Any = {
        ("messages", "sync"): anthropic.Anthropic,
        ("messages", "async"): anthropic.AsyncAnthropic,
        ("openai", "sync"): openai.OpenAI,
        ("openai", "async"): openai.AsyncOpenAI,
    }[name if name == "messages" else "openai", mode]
    base = url if name == "messages" else f"{url}/v1"
    client = kind(base_url=base, api_key="k", max_retries=0)
    yield client
    if mode == "sync":
        client.close()


VOLATILE = frozenset(
    "id call_id item_id tool_use_id tool_call_id response_id created created_at completed_at model model_version "
    "system_fingerprint agentroute signature encrypted_content thought_signature create_time sdk_http_response "
    "native_finish_reason".split()
)


def comparable(value: Any) -> Any:
    """What an SDK returned, as JSON, without what no two calls share."""
    if isinstance(value, BaseModel):
        return comparable(value.model_dump(mode="json", exclude_none=True, warnings=False))
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if key not in VOLATILE}
        if isinstance(kept.get("arguments"), str):
            kept["arguments"] = json.loads(kept["arguments"])
        counts = {key for key, each in kept.items() if each == 0 and key.endswith(("tokens", "token_count"))}
        found = {key: comparable(each) for key, each in kept.items() if key not in counts}
        return {key: each for key, each in found.items() if each != {}}
    if isinstance(value, list | tuple):
        return [comparable(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


async def run(name: str, mode: str, url: str) -> dict[str, Any]:
    """What each case gave. An exception is a result too."""
    found: dict[str, Any] = {}
    with opened(name, mode, url) as client:
        for case in CASES:
            try:
                found[case] = comparable(await CLIENTS[name](client, case))
            except Exception as error:
                found[case] = f"{type(error).__name__}: {error}"[:300]
        if mode == "async":
            await client.aclose() if name == "gemini" else await client.close()
    return found


@contextmanager
def gateway(upstream: str) -> Iterator[tuple[str, str]]:
    """The address of a scripted provider, and of a gateway in front of it that speaks this dialect to it."""
    with ScriptedProvider(reply, api_key="k") as provider:
        app = Gateway(Router([provider.target(model="m", tier="mid", dialect=upstream)]), GatewaySettings(port=0))
        server = uvicorn.Server(uvicorn_config(app))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield provider.base_url.removesuffix("/v1"), f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join(15)


def compare(urls: tuple[str, str], name: str, mode: str) -> dict[str, str]:
    """For each case nothing if both results are equal, else what differs."""
    one = asyncio.run(run(name, mode, urls[0]))
    other = asyncio.run(run(name, mode, urls[1]))
    return {case: difference(one[case], other[case]) for case in CASES}


def difference(direct: Any, through: Any, where: str = "") -> str:
    if isinstance(direct, str) and ": " in direct and "Error" in direct.partition(":")[0]:
        return f"{where} the direct call failed: {direct}"
    if direct == through:
        return ""
    if isinstance(direct, dict) and isinstance(through, dict):
        keys = [*direct, *(key for key in through if key not in direct)]
        return next(filter(None, (difference(direct.get(k), through.get(k), f"{where}.{k}") for k in keys)), "")
    if isinstance(direct, list) and isinstance(through, list) and len(direct) == len(through):
        pairs = enumerate(zip(direct, through, strict=True))
        return next(filter(None, (difference(a, b, f"{where}[{i}]") for i, (a, b) in pairs)), "")
    return f"{where}: {json.dumps(direct)[:150]} directly, {json.dumps(through)[:150]} through the gateway"


def main() -> None:
    installed = ", ".join(f"{name} {version(name)}" for name in ("openai", "anthropic", "google-genai"))
    lines = [f"{date.today()}; {installed}; `=`: equal to the direct call"]
    lines.append(f"{'client':<12}{'mode':<7}{'upstream':<20}" + "".join(f"{case:<14}" for case in CASES))
    problems = []
    print("\n".join(lines))
    for upstream in UPSTREAMS:
        with gateway(upstream) as urls:
            for name, mode in product(CLIENTS, MODES):
                cells = compare(urls, name, mode)
                row = "".join(f"{'DIFFERS' if cells[case] else '=':<14}" for case in CASES)
                lines.append(f"{name:<12}{mode:<7}{upstream:<20}{row}".rstrip())
                print(lines[-1], flush=True)
                problems += [f"{name} {mode} {upstream} {case}: {text}" for case, text in cells.items() if text]
    print("\n".join(problems))
    OUT.write_text("\n".join([*lines, *problems]) + "\n", encoding="utf-8")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
