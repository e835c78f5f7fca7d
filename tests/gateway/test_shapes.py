"""The request shapes of real client programs through the gateway, to an upstream of each dialect: nothing gets lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentroute.gateway import GatewaySettings
from agentroute.testing import ScriptedProvider

from .doors import DIALECTS, Client

SHAPES = Path(__file__).resolve().parents[3] / "shared" / "clients"


def shapes() -> Iterator[Any]:
    for path in sorted(SHAPES.glob("*.jsonl")):
        yield pytest.param(path, id=path.stem)


_ANY: list[Any] = list(shapes()) or [pytest.param(SHAPES, marks=pytest.mark.requires("shared"), id="none")]


@pytest.mark.requires("shared")
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("path", _ANY)
async def test_every_shape_is_answered(opened: Any, path: Path, upstream: str) -> None:
    with ScriptedProvider("The summary, or the title, or the answer.") as provider:
        target = provider.target(model="m", tier="mid", dialect=upstream, context_window=1_000_000)
        client = await opened([target], GatewaySettings(models={"*": "auto"}))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
            shape = json.loads(line)
            if shape["method"] != "POST" or not isinstance(shape["body"], dict):
                continue
            if path.stem == "claude_code" and shape["kind"] == "search" and upstream != "anthropic_messages":
                continue  # asks for Anthropic's own search and nothing else
            # Items that are named lie in the memory of another process: what the client sends then is another test's.
            body = _without_references(shape["body"])
            sent = {name: value for name, value in shape["headers"].items() if name not in ("host", "content-length")}
            before = len(provider.requests)
            answer = await client.post(shape["path"], json=body, headers=sent)
            assert answer.status_code == 200, f"{number}: {answer.status_code} {answer.text[:500]}"
            (request,) = provider.requests[before:]
            asked, received = _facts(shape["dialect"], body), request.asked
            assert len(received.tools) >= asked["functions"], f"{number}: tools were lost"
            results = sum(len(message.tool_results) for message in received.messages)
            assert results == asked["results"], f"{number}: results were lost"
            missing = [text for text in asked["texts"] if text not in json.dumps(request.body, ensure_ascii=False)]
            assert not missing, f"{number}: {missing[:2]}"


def _without_references(body: dict[str, Any]) -> dict[str, Any]:
    items = body.get("input")
    if not isinstance(items, list):
        return body
    return {**body, "input": [item for item in items if item.get("type") != "item_reference"]}


def _facts(dialect: str, body: dict[str, Any]) -> dict[str, Any]:
    """What a request holds, read without the project's own reading: functions, results, the last user's words."""
    functions, results = 0, 0
    if dialect == "openai_chat":
        functions = len(body.get("tools") or ())
        results = sum(message["role"] == "tool" for message in body["messages"])
    elif dialect == "openai_responses":
        late = [tool for item in _items(body) if item.get("type") == "additional_tools" for tool in item["tools"]]
        for tool in (*(body.get("tools") or ()), *late):
            inner = tool.get("tools") or [tool]
            functions += sum(each.get("type") in ("function", "custom") for each in inner)
        results = sum(str(item.get("type")).endswith("call_output") for item in _items(body))
    elif dialect == "anthropic_messages":
        functions = sum("input_schema" in tool for tool in body.get("tools") or ())
        blocks = [block for message in body["messages"] for block in message["content"] if isinstance(block, dict)]
        results = sum(block.get("type") == "tool_result" for block in blocks)
    else:
        functions = sum(len(tool.get("functionDeclarations") or ()) for tool in body.get("tools") or ())
        results = sum("functionResponse" in part for content in body["contents"] for part in content["parts"])
    return {"functions": functions, "results": results, "texts": list(_said(body))}


def _said(body: dict[str, Any]) -> Iterator[str]:
    """How each text of the user begins, as far as JSON shows it unescaped."""
    turns = body.get("messages") or body.get("contents") or _items(body)
    for turn in turns:
        if turn.get("role") != "user":
            continue
        content = turn.get("content", turn.get("parts"))
        for part in [{"text": content}] if isinstance(content, str) else content:
            if isinstance(part.get("text"), str):
                yield part["text"][:60].partition("\n")[0].partition('"')[0].partition("\\")[0].rstrip()


def _items(body: dict[str, Any]) -> list[dict[str, Any]]:
    items = body.get("input")
    return items if isinstance(items, list) else []


def test_a_shape_that_loses_a_tool_is_noticed() -> None:
    tools = [{"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]}, {"type": "web_search"}]
    assert _facts("openai_responses", {"input": "x", "tools": tools})["functions"] == 1
    assert Client("openai_chat").body()["model"] == "auto"
