"""Old tool results are cleared as Anthropic would, where not every target can do it itself."""

from __future__ import annotations

from typing import Any

import pytest

from agentroute.errors import RequestError
from agentroute.formats import anthropic_messages
from agentroute.gateway.context_edits import edited
from agentroute.messages import ChatRequest
from agentroute.targets import Pool, Target
from agentroute.testing import ScriptedProvider

OTHERS = Pool([Target(provider="openai", model="gpt-6-luna", tier="mid")])
OWN = Pool([Target(provider="anthropic", model="claude-sonnet-5", tier="mid")])


def body(calls: int = 5, **edit: Any) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "read them all"}]
    for number in range(calls):
        name = "read" if number % 2 == 0 else "search"
        call = {"type": "tool_use", "id": f"t{number}", "name": name, "input": {"path": f"file{number}"}}
        messages.append({"role": "assistant", "content": [call]})
        found = {"type": "tool_result", "tool_use_id": f"t{number}", "content": f"RESULT{number} " * 50}
        messages.append({"role": "user", "content": [found]})
    edits = [{"type": "clear_thinking_20251015", "keep": "all"}]
    if edit:
        edits.append({"type": "clear_tool_uses_20250919", **edit})
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in ("read", "search")]
    told = {"edits": edits}
    return {"model": "auto", "max_tokens": 9, "tools": tools, "messages": messages, "context_management": told}


def kept(request: ChatRequest) -> list[int]:
    texts = [result.text for message in request.messages for result in message.tool_results]
    return [number for number, text in enumerate(texts) if f"RESULT{number}" in text]


def uses(value: int) -> dict[str, Any]:
    return {"type": "tool_uses", "value": value}


def tokens(value: int) -> dict[str, Any]:
    return {"type": "input_tokens", "value": value}


@pytest.mark.parametrize(
    ("edit", "left"),
    [
        ({"trigger": uses(2)}, [2, 3, 4]),
        ({"trigger": uses(5)}, [0, 1, 2, 3, 4]),
        ({"trigger": uses(2), "keep": uses(0)}, []),
        ({"trigger": tokens(100), "keep": uses(1)}, [4]),
        ({"trigger": tokens(100_000)}, [0, 1, 2, 3, 4]),
        ({"keep": uses(1)}, [0, 1, 2, 3, 4]),
        ({"trigger": uses(1), "keep": uses(1), "exclude_tools": ["search"]}, [1, 3, 4]),
        ({"trigger": uses(1), "keep": uses(1), "clear_at_least": tokens(100)}, [4]),
        ({"trigger": uses(1), "keep": uses(1), "clear_at_least": tokens(100_000)}, [0, 1, 2, 3, 4]),
    ],
    ids=str,
)
def test_old_results_are_cleared_as_asked(edit: dict[str, Any], left: list[int]) -> None:
    request = anthropic_messages.decode_request(body(**edit))
    before = kept(request)
    found = edited(request, OTHERS)
    assert kept(found) == left
    assert kept(request) == before == [0, 1, 2, 3, 4]
    assert found.extra is not None
    assert found.extra.fields["context_management"] == {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
    assert all(call.arguments != "{}" for message in found.messages for call in message.tool_calls)


@pytest.mark.parametrize(("inputs", "cleared"), [(True, [0, 1, 2, 3]), (["search"], [1, 3]), (False, [])])
def test_the_arguments_of_old_calls_go_too_where_asked(inputs: Any, cleared: list[int]) -> None:
    asked = body(trigger=uses(1), keep=uses(1), clear_tool_inputs=inputs)
    found = edited(anthropic_messages.decode_request(asked), OTHERS)
    calls = [call for message in found.messages for call in message.tool_calls]
    assert [number for number, call in enumerate(calls) if call.arguments == "{}"] == cleared


@pytest.mark.parametrize("pool", [OTHERS, OWN], ids=["others", "own"])
def test_what_nothing_is_to_be_done_about_stays(pool: Pool) -> None:
    request = anthropic_messages.decode_request(body())
    assert edited(request, pool) is request
    request = anthropic_messages.decode_request(body(trigger=uses(1)))
    assert (edited(request, pool) is request) == (pool is OWN)


@pytest.mark.parametrize(
    "told", [7, {"edits": 7}, {"edits": [7]}, *({"edits": [{"type": "clear_tool_uses_20250919", "keep": keep}]}
    for keep in (7, {"type": "x"}, {"type": "tool_uses", "value": True}))],
    ids=str,
)  # fmt: skip
def test_an_edit_that_is_none_is_named(told: Any) -> None:
    request = anthropic_messages.decode_request({**body(), "context_management": told})
    with pytest.raises(RequestError):
        edited(request, OTHERS)


@pytest.mark.parametrize("upstream", ["openai_chat", "openai_responses", "gemini", "anthropic_messages"])
async def test_through_the_gateway(opened: Any, upstream: str) -> None:
    with ScriptedProvider("done") as provider:
        client = await opened([provider.target(model="m", tier="mid", dialect=upstream)])
        sent = {"anthropic-beta": "context-management-2025-06-27"}
        asked = body(trigger=uses(1), keep=uses(2))
        answer = await client.post("/v1/messages", json=asked, headers=sent)
    assert answer.status_code == 200
    (request,) = provider.requests
    if upstream == "anthropic_messages":
        assert request.body["context_management"] == asked["context_management"]
        assert kept(request.asked) == [0, 1, 2, 3, 4]
    else:
        assert kept(request.asked) == [3, 4]
        assert len(request.asked.messages) == 11
