"""The requests of real client programs through the gateway to an upstream of each dialect: what arrives, as a matrix.

    python evals/shapes.py [FOLDER ...]       # default: the shapes of tests/gateway/shapes

A shape is a line of JSON: `kind`, `method`, `path`, `dialect`, `headers` and `body`. What arrives at the upstream must
hold every function, tool result and text of the user, and the settings that its dialect and model know. This is read
from the bodies on both sides, not with the project's own reading. tests/gateway/test_shapes.py holds every cell.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from agentroute import Router
from agentroute.gateway import GatewaySettings, create_app
from agentroute.testing import ScriptedProvider

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "gateway" / "shapes"
UPSTREAMS = {
    "openai_chat": ("openai", "gpt-5.2"),
    "openai_responses": ("openai", "gpt-6-sol"),
    "anthropic_messages": ("anthropic", "claude-sonnet-4-6"),
    "gemini": ("gemini", "gemini-3.8-flash"),
}
"""Each dialect with a provider and a model whose rules the catalog knows, and which takes most settings."""


@dataclass(frozen=True)
class Shape:
    client: str
    number: int
    facts: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.client} {self.number} {self.facts['kind']}"

    @property
    def body(self) -> dict[str, Any]:
        """Items that are named lie in the memory of another process: what a client sends then is another test's."""
        body = dict(self.facts["body"])
        if isinstance(body.get("input"), list):
            body["input"] = [item for item in body["input"] if item.get("type") != "item_reference"]
        return body


def shapes(folder: Path = FOLDER) -> list[Shape]:
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        found += [Shape(path.stem, number, facts) for number, facts in enumerate(lines)]
    return [shape for shape in found if shape.facts["method"] == "POST" and isinstance(shape.facts["body"], dict)]


def only_anthropic(shape: Shape) -> bool:
    """Claude Code's own search call asks for Anthropic's search and nothing else."""
    tools = shape.facts["body"].get("tools") or ()
    return bool(tools) and all(str(tool.get("type", "")).startswith("web_search_") for tool in tools)


def functions(dialect: str, body: Mapping[str, Any]) -> int:
    tools = body.get("tools") or ()
    match dialect:
        case "openai_chat":
            return len(tools)
        case "openai_responses":
            late = [tool for item in _items(body) if item.get("type") == "additional_tools" for tool in item["tools"]]
            inner = [each for tool in (*tools, *late) for each in tool.get("tools") or [tool]]
            return sum(each.get("type") in ("function", "custom") for each in inner)
        case "anthropic_messages":
            return sum("input_schema" in tool for tool in tools)
        case _:
            return sum(len(tool.get("functionDeclarations") or ()) for tool in tools)


def results(dialect: str, body: Mapping[str, Any]) -> int:
    match dialect:
        case "openai_chat":
            return sum(message["role"] == "tool" for message in body["messages"])
        case "openai_responses":
            return sum(str(item.get("type")).endswith("call_output") for item in _items(body))
        case "anthropic_messages":
            turns = [message["content"] for message in body["messages"]]
            blocks = [block for content in turns if isinstance(content, list) for block in content]
            return sum(block.get("type") == "tool_result" for block in blocks)
        case _:
            return sum("functionResponse" in part for content in body["contents"] for part in content["parts"])


def texts(body: Mapping[str, Any]) -> Iterator[str]:
    """How each text of the user begins, as far as JSON shows it unescaped."""
    for turn in body.get("messages") or body.get("contents") or _items(body):
        if turn.get("role") != "user":
            continue
        content = turn.get("content", turn.get("parts"))
        for part in [{"text": content}] if isinstance(content, str) else content:
            if isinstance(part.get("text"), str):
                yield part["text"][:60].partition("\n")[0].partition('"')[0].partition("\\")[0].rstrip()


def _items(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    items = body.get("input")
    return items if isinstance(items, list) else []


def settings(dialect: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """What a body sets, under one name in all dialects; what is not set is left out."""
    config = body.get("generationConfig") or {}
    choice = body.get("tool_choice")
    match dialect:
        case "openai_chat" | "openai_responses":
            text = body.get("text") or {}
            form = (body.get("response_format") or text.get("format") or {}).get("type")
            effort = body.get("reasoning_effort") or (body.get("reasoning") or {}).get("effort")
            found = {
                "limit": body.get("max_completion_tokens") or body.get("max_tokens") or body.get("max_output_tokens"),
                "schema": form in ("json_schema", "json_object"),
                "thinks": bool(effort) and effort != "none",
                "choice": choice if isinstance(choice, str) else "one" if choice else None,
                "one call": body.get("parallel_tool_calls") is False,
                "stop": bool(body.get("stop")),
            }
        case "anthropic_messages":
            output = body.get("output_config") or {}
            thinking = (body.get("thinking") or {}).get("type")
            word = (choice or {}).get("type")
            found = {
                "limit": body.get("max_tokens"),
                "schema": bool(output.get("format") or body.get("output_format")),
                "thinks": thinking in ("adaptive", "enabled") or bool(output.get("effort")),
                "choice": {"any": "required", "tool": "one"}.get(word, word),
                "one call": (choice or {}).get("disable_parallel_tool_use") is True,
                "stop": bool(body.get("stop_sequences")),
            }
        case _:
            calling = ((body.get("toolConfig") or {}).get("functionCallingConfig")) or {}
            thinking = config.get("thinkingConfig") or {}
            named = len(calling.get("allowedFunctionNames") or ())
            found = {
                "limit": config.get("maxOutputTokens"),
                "schema": bool(config.get("responseSchema") or config.get("responseJsonSchema")),
                "thinks": bool(thinking.get("thinkingLevel") or thinking.get("thinkingBudget")),
                "choice": "one" if named else {"ANY": "required"}.get(calling.get("mode"), calling.get("mode")),
                "stop": bool(config.get("stopSequences")),
            }
    found["temperature"] = body.get("temperature", config.get("temperature"))
    found["top_p"] = body.get("top_p", config.get("topP"))
    return {name: value for name, value in found.items() if value not in (None, False)}


CANNOT: dict[str, set[str]] = {
    "openai_chat": {"temperature", "top_p", "stop"},
    "openai_responses": {"temperature", "top_p", "stop"},
    "anthropic_messages": {"temperature", "top_p"},
    "gemini": {"one call"},
}
"""What the models above or their dialects do not take: reasoning models have no temperature, Responses no stop words,
Gemini no way to ask for one call at a time. The gateway leaves these out, and the decision says so."""


def lost(shape: Shape, upstream: str, received: Mapping[str, Any]) -> list[str]:
    """What the upstream was not told."""
    dialect, body = shape.facts["dialect"], shape.body
    found = []
    wanted, got = functions(dialect, body), functions(upstream, received)
    if got < wanted:
        found.append(f"{wanted - got} of {wanted} functions")
    if results(upstream, received) != results(dialect, body):
        found.append(f"{results(dialect, body)} tool results became {results(upstream, received)}")
    whole = json.dumps(received, ensure_ascii=False)
    found += [f"the text {text!r}" for text in texts(body) if text not in whole]
    told, arrived = settings(dialect, body), settings(upstream, received)
    for name, value in told.items():
        if name in CANNOT[upstream] or value == "auto" or (name == "one call" and not wanted):
            continue
        if arrived.get(name) != value:
            found.append(f"{name} {value!r} became {arrived.get(name)!r}")
    return found


async def sent(shape: Shape, upstream: str) -> tuple[int, str, list[str]]:
    """The status that the client got, its body, and what was lost on the way."""
    provider_name, model = UPSTREAMS[upstream]
    with ScriptedProvider("The answer, the title, or the summary.", provider=provider_name) as provider:
        target = provider.target(model=model, tier="mid", dialect=upstream, context_window=1_000_000)
        async with Router([target]) as router:
            transport = httpx.ASGITransport(create_app(router, GatewaySettings(models={"*": "auto"})))
            headers = {name: value for name, value in shape.facts["headers"].items() if name not in _OWN}
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4180") as client:
                answer = await client.post(shape.facts["path"], json=shape.body, headers=headers)
        if answer.status_code != 200:
            return answer.status_code, answer.text, []
        (request,) = provider.requests
        return 200, answer.text, lost(shape, upstream, request.body)


_OWN = ("host", "content-length")


def main() -> None:
    folders = [Path(name) for name in sys.argv[1:]] or [FOLDER]
    width = max(len(str(shape)) for folder in folders for shape in shapes(folder)) + 2
    print(f"{'shape':<{width}}" + "".join(f"{upstream:<20}" for upstream in UPSTREAMS))
    problems = []
    for shape in [shape for folder in folders for shape in shapes(folder)]:
        cells = []
        for upstream in UPSTREAMS:
            status, text, missing = asyncio.run(sent(shape, upstream))
            refused = status == 400 and only_anthropic(shape)
            cells.append("all" if status == 200 and not missing else "refused" if refused else "LOST")
            if cells[-1] == "LOST":
                problems.append(f"{shape} to {upstream}: {'; '.join(missing) or f'{status} {text[:300]}'}")
        print(f"{shape!s:<{width}}" + "".join(f"{cell:<20}" for cell in cells).rstrip())
    print("\n".join(problems))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
