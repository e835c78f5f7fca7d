"""What each kind of client is told of each kind of failure, and how often it then comes again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from agentroute.testing import Fault, ScriptedProvider
from tests.faults.calls import Jumping

from .doors import DIALECTS, Client, events

LASTING = {401: 400, 402: 400, 403: 400, 404: 404, 400: 400}
"""A provider's status, and what it is to a client: the key is ours, so no client is sent to look at its own."""

PASSING = (429, 500, 502, 503, 529)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("status", LASTING)
async def test_what_lasts_is_told_so(opened: Any, door: Client, status: int, stream: bool) -> None:
    with ScriptedProvider("hello", fault=Fault.error(status)) as provider:
        client = await opened([provider.target(model="m", tier="mid")])
        answer = await client.post(door.path(stream), json=door.body(stream=stream))
    assert answer.status_code == LASTING[status]
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    assert answer.headers["x-request-id"]
    assert door.error(answer.json())["message"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("status", PASSING)
async def test_what_passes_is_told_so(opened: Any, door: Client, status: int, stream: bool) -> None:
    with ScriptedProvider("hello", fault=Fault.error(status, retry_after=0)) as provider:
        client = await opened([provider.target(model="m", tier="mid")])
        answer = await client.post(door.path(stream), json=door.body(stream=stream))
    assert answer.status_code in (429, 503, 529)
    assert (answer.status_code == 429) == (status == 429)
    assert answer.headers["x-should-retry"] == "false"
    assert int(answer.headers["retry-after"]) >= 1
    if door.dialect == "anthropic_messages" and status == 529:
        assert answer.status_code == 529
        assert answer.json()["error"]["type"] == "overloaded_error"


async def test_codex_is_never_told_a_passing_429(opened: Any) -> None:
    with ScriptedProvider("hello", fault=Fault.error(429, retry_after=0)) as provider:
        client = await opened([provider.target(model="m", tier="mid")])
        sent = {"user-agent": "codex_cli_rs/0.171.0 (Linux)"}
        answer = await client.post("/v1/responses", json=Client("openai_responses").body(stream=True), headers=sent)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]


TOO_LONG = Fault.error(400, code="context_length_exceeded", message="prompt has 250000 tokens, 200000 are allowed")


@pytest.mark.parametrize(
    ("dialect", "words"),
    [
        (
            "openai_chat",
            "This model's maximum context length is 200000 tokens. However, your messages resulted in 250000",
        ),
        ("openai_responses", "This model's maximum context length is 200000 tokens."),
        ("anthropic_messages", "prompt is too long: 250000 tokens > 200000 maximum"),
        ("gemini", "The input token count (250000) exceeds the maximum number of tokens allowed (200000)."),
    ],
)
async def test_too_long_is_said_in_the_client_s_own_words(opened: Any, dialect: str, words: str) -> None:
    door = Client(dialect)
    with ScriptedProvider("hello", fault=TOO_LONG) as provider:
        client = await opened([provider.target(model="m", tier="mid")])
        answer = await client.post(door.path(), json=door.body())
    assert answer.status_code == 400
    assert words in door.error(answer.json())["message"]
    if dialect.startswith("openai"):
        assert answer.json()["error"]["code"] == "context_length_exceeded"


async def test_too_long_for_every_window_is_said_before_a_call(opened: Any, door: Client) -> None:
    with ScriptedProvider("hello") as provider:
        client = await opened([provider.target(model="m", tier="mid", context_window=1000)])
        answer = await client.post(door.path(), json=door.body("long text " * 2000))
    assert answer.status_code == 400
    assert "1000" in door.error(answer.json())["message"]
    assert not provider.requests


async def test_a_window_that_our_choice_made_small_is_no_reason_to_compact(opened: Any, door: Client) -> None:
    with ScriptedProvider("hello") as provider:
        small = provider.target(model="s", tier="budget", context_window=1000)
        large = provider.target(model="l", tier="premium", context_window=100_000)
        client = await opened([small, large])
        hint = {"x-agentroute-max-tier": "budget"}
        answer = await client.post(door.path(), json=door.body("long text " * 2000), headers=hint)
    message = door.error(answer.json())["message"]
    assert answer.status_code == 400
    assert "too long" not in message
    assert "maximum" not in message
    assert "no target may serve" in message


@pytest.mark.parametrize("chunks", [0, 2])
async def test_a_stream_that_breaks_off(opened: Any, door: Client, chunks: int) -> None:
    fault = Fault.cut_after(chunks) if chunks else Fault.cut_before_content()
    with ScriptedProvider("hello from the script, cut in the middle", fault=fault) as provider:
        client = await opened([provider.target(model="m", tier="mid")])
        answer = await client.post(door.path(True), json=door.body(stream=True))
    if not chunks:
        assert answer.status_code == 503
        return
    assert answer.status_code == 200
    told = events(answer.content)[-1]
    if door.dialect == "openai_responses":
        first = events(answer.content)[0]
        assert told["type"] == "response.failed"
        assert told["response"]["id"] == first["response"]["id"]
        assert told["response"]["error"]["message"]
        numbers = [event["sequence_number"] for event in events(answer.content)]
        assert numbers == list(range(len(numbers)))
    else:
        assert told["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"nul", b"\xff", b'{"a": NaN}', b"[" * 10_000, b'{"a":' * 10_000])
async def test_a_body_that_is_none(opened: Any, door: Client, body: bytes) -> None:
    with ScriptedProvider("hello") as provider:
        client = await opened([provider.target(model="m", tier="mid")])
        answer = await client.post(door.path(), content=body)
    assert answer.status_code == 400
    assert door.error(answer.json())["message"]
    assert not provider.requests


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_provider_s_key_is_in_no_error(opened: Any, dialect: str) -> None:
    door = Client(dialect)
    key = "sk-canary-0123456789abcdef0123456789abcdef"
    fault = Fault.error(401, message=f"Incorrect API key provided: {key}.")
    with ScriptedProvider("hello", fault=fault, api_key=key) as provider:
        client = await opened([provider.target(model="m", tier="mid")])
        answer = await client.post(door.path(), json=door.body())
    assert key not in answer.text
    assert key not in str(answer.headers)
    assert "not the client's" in answer.text


Repeats = Callable[[int, Mapping[str, str]], bool]


def _sdk(status: int, headers: Mapping[str, str]) -> bool:
    return headers.get("x-should-retry") != "false" and (status in (408, 409, 429) or status >= 500)


REPEATS: dict[str, tuple[str, int, Repeats]] = {
    "openai SDK": ("openai_chat", 3, _sdk),
    "anthropic SDK": ("anthropic_messages", 3, _sdk),
    "claude code": ("anthropic_messages", 10, _sdk),
    "codex": ("openai_responses", 30, lambda status, _: status >= 500),
    "opencode": ("openai_chat", 8, lambda status, _: status == 429 or status >= 500),
    "qwen code": ("openai_chat", 20, lambda status, _: status == 429 or status >= 500),
    "gemini cli": ("gemini", 4, lambda status, _: status == 429 or status >= 500),
}
"""The dialect of a client, how often it asks at most, and what it asks again after; each was run against a recorder."""


@pytest.mark.parametrize("status", LASTING)
@pytest.mark.parametrize("client_name", REPEATS)
async def test_a_turn_makes_one_request_at_a_lasting_failure(opened: Any, client_name: str, status: int) -> None:
    dialect, most, repeats = REPEATS[client_name]
    assert await _requests(opened, Client(dialect), Fault.error(status), most, repeats) == (1, 1)


@pytest.mark.parametrize("client_name", [name for name, facts in REPEATS.items() if facts[2] is _sdk])
async def test_a_turn_of_the_sdks_makes_one_request_where_every_target_failed(opened: Any, client_name: str) -> None:
    dialect, most, repeats = REPEATS[client_name]
    asked, _ = await _requests(opened, Client(dialect), Fault.error(500), most, repeats)
    assert asked == 1


async def test_a_turn_of_codex_reaches_a_failing_provider_twice_a_request_at_most(opened: Any) -> None:
    """It asks thirty times whatever it is told. A lone target is tried each time, and once more."""
    dialect, most, repeats = REPEATS["codex"]
    asked, reached = await _requests(opened, Client(dialect), Fault.error(500), most, repeats)
    assert asked == most
    assert reached <= 2 * most


async def _requests(opened: Any, door: Client, fault: Fault, most: int, repeats: Repeats) -> tuple[int, int]:
    """How many requests one user turn makes of the gateway, and how many of them reach the provider."""
    with ScriptedProvider("hello", fault=fault) as provider:
        client = await opened([provider.target(model="m", tier="mid")], clock=Jumping())
        asked, again = 0, True
        while again and asked < most:
            answer = await client.post(door.path(True), json=door.body(stream=True))
            asked, again = asked + 1, repeats(answer.status_code, answer.headers)
    return asked, len(provider.requests)
