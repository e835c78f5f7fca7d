"""One bad value in one answer: the answer, the conversation, the totals and every screen stay sound."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agentroute import ChatRequest, ChatResponse, ConfigError, Price, ProviderError, Router, StepContext, Target
from agentroute.cli import app
from agentroute.events import fold
from agentroute.formats import anthropic_messages
from agentroute.formats.reading import load_event, sound
from agentroute.messages import Message, Reasoning, Text
from agentroute.native.errors import sdk_error
from agentroute.routing.strategy import StrategyTable
from tests.loopback import COMPLETION, END, HELLO, LAST, ROLE, SSE_HEAD, Loopback, Step, chunk, plain, refusal

Ask = Callable[[Router, ChatRequest], ChatResponse]


def complete(router: Router, request: ChatRequest) -> ChatResponse:
    return router.complete(request)


def stream(router: Router, request: ChatRequest) -> ChatResponse:
    with router.stream(request) as events:
        list(events)
    return events.response


def acomplete(router: Router, request: ChatRequest) -> ChatResponse:
    async def run() -> ChatResponse:
        async with router:
            return await router.acomplete(request)

    return asyncio.run(run())


def astream(router: Router, request: ChatRequest) -> ChatResponse:
    async def run() -> ChatResponse:
        async with router, router.astream(request) as events:
            async for _ in events:
                pass
        return events.response

    return asyncio.run(run())


ways = pytest.mark.parametrize(
    "ask",
    [complete, stream, acomplete, astream],
    ids=["row108-sync-plain", "row108-sync-stream", "row108-async-plain", "row108-async-stream"],
)
CHAT = (Message("user", (Text("q"),)),)


def asked_twice(ask: Ask, first: Callable[[bool], bytes]) -> tuple[Router, ChatResponse, ChatResponse]:
    """Two steps of a conversation: the first answer is `first(streamed)`, the second a sound one."""
    streamed = ask in (stream, astream)
    sound_one = SSE_HEAD + b"".join(map(chunk, (ROLE, HELLO, END))) + LAST if streamed else plain(COMPLETION)
    with Loopback(lambda number: [first(streamed) if number == 1 else sound_one]) as server:
        facts: Any = {"tier": "mid", "context_window": 128_000, "price": Price(1, 4)}
        with Router(targets=[server.target(**facts)]) as router:
            one = ask(router, ChatRequest(messages=CHAT))
            two = ask(router, ChatRequest(messages=(*CHAT, one.message, *CHAT)))
    return router, one, two


def answer(streamed: bool, more: str, usage: str = '{"prompt_tokens": 5, "completion_tokens": 2}') -> bytes:
    """An answer with `more` beside its words, written by hand: these are what no JSON writer writes."""
    said = f'{{"role": "assistant", "content": "hello", {more}}}'
    if not streamed:
        choice = f'{{"index": 0, "message": {said}, "finish_reason": "stop"}}'
        return plain(f'{{"id": "c", "model": "m", "choices": [{choice}], "usage": {usage}}}'.encode())
    choice = f'{{"index": 0, "delta": {said}, "finish_reason": "stop"}}'
    event = f'data: {{"id": "c", "model": "m", "choices": [{choice}]}}\n\n'
    last = f'data: {{"choices": [], "usage": {usage}}}\n\ndata: [DONE]\n\n'
    return SSE_HEAD + chunk(event.encode()) + chunk(last.encode()) + LAST


@ways
@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", '[{"score": NaN}]', "1" + "0" * 400]
)
def test_a_number_that_is_none_does_not_end_the_conversation(ask: Ask, value: str) -> None:
    router, one, two = asked_twice(ask, lambda streamed: answer(streamed, f'"safety": {{"score": {value}}}'))
    assert (one.text, two.text) == ("hello", "hello world" if ask in (complete, acomplete) else "hello")
    assert [len(decision.attempts) for decision in router.ledger.decisions] == [1, 1]


COUNTS = ["1" + "0" * 18, "9" * 4000, "NaN", "1e999", "-5", "[]", "[7]", "{}", '{"a": 7}', '"7"', "true", "7.5", "null"]


@ways
@pytest.mark.parametrize("value", COUNTS)
@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens"])
def test_a_count_that_is_none_is_unknown(ask: Ask, value: str, name: str) -> None:
    other = {"prompt_tokens": "completion_tokens", "completion_tokens": "prompt_tokens"}[name]
    usage = f'{{"{name}": {value}, "{other}": 2}}'
    router, one, two = asked_twice(ask, lambda streamed: answer(streamed, '"x": 1', usage))
    assert one.usage is not None
    assert getattr(one.usage, name.replace("prompt", "input").replace("completion", "output")) is None
    first, second = router.ledger.decisions
    assert first.cost is None, "a cost that is not known is not invented"
    assert second.estimated_usage.input_tokens < 100, "no estimate builds on it"
    assert router.ledger.totals.cost == second.cost
    assert router.ledger.totals.unpriced == 1
    assert two.text


@ways
@pytest.mark.parametrize("value", ["[]", "{}", '"x"', "1" + "0" * 300, "-1e30", "0.5"])
def test_an_index_that_is_none_goes_to_the_next_target(ask: Ask, value: str) -> None:
    call = f'"tool_calls": [{{"index": {value}, "id": "c", "function": {{"name": "f", "arguments": "{{}}"}}}}]'
    body = answer(True, call).replace(b'"content": "hello", ', b"")
    size = len(body.partition(b"\r\n\r\n")[2].partition(b"\r\n")[2].partition(b"\n\n")[0]) + 2
    body = SSE_HEAD + b"%x\r\n" % size + body.partition(b"\r\n\r\n")[2].partition(b"\r\n")[2]
    sound_one: list[Step] = [SSE_HEAD + b"".join(map(chunk, (ROLE, HELLO, END))) + LAST]
    with Loopback([body]) as sick, Loopback(sound_one) as well:
        targets = [sick.target(name="a", tier="premium"), well.target(name="b", tier="mid", model="n")]
        with Router(targets=targets, strategy="best") as router:
            found = ask(router, ChatRequest(messages=CHAT))
    assert found.text == "hello"
    assert [attempt.error for attempt in found.decision.attempts] == ["BadResponse", None]  # type: ignore[attr-defined]


UNSAID: dict[str, tuple[list[dict[str, Any]], str, str]] = {
    "words": ([{"type": "text_delta", "text": "hel"}, {"type": "text_delta", "text": "lo"}], "hello", ""),
    "thoughts and words": (
        [
            {"type": "thinking_delta", "thinking": "so"},
            {"type": "signature_delta", "signature": "s"},
            {"type": "stop"},
            {"type": "text_delta", "text": "hello"},
        ],
        "hello",
        "so",
    ),
    "words after the end of their block": (
        [{"type": "text_delta", "text": "hel"}, {"type": "stop"}, {"type": "text_delta", "text": "lo"}],
        "hello",
        "",
    ),
    "cited words": (
        [{"type": "text_delta", "text": "hello"}, {"type": "citations_delta", "citation": {"cited_text": "x"}}],
        "hello",
        "",
    ),
}


@pytest.mark.parametrize("kind", UNSAID)
@pytest.mark.parametrize("index", [0, 7, None])
def test_a_piece_whose_beginning_was_left_out_is_kept(kind: str, index: int | None) -> None:
    deltas, text, thoughts = UNSAID[kind]
    decoder = anthropic_messages.StreamDecoder(target="a", origin="acme/m")
    found, at = decoder.feed(json.dumps({"type": "message_start", "message": {"id": "m"}})), index
    for delta in deltas:
        stop = delta["type"] == "stop"
        told = {"type": "content_block_stop"} if stop else {"type": "content_block_delta", "delta": delta}
        found += decoder.feed(json.dumps({**told, "index": at}))
    found += decoder.feed('{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}')
    found += decoder.close()
    answer = fold(found)
    assert answer.text == text
    assert "".join(part.text for part in answer.message.parts if isinstance(part, Reasoning)) == thoughts


@pytest.mark.parametrize("stopped", [False, True])
def test_arguments_of_no_call_are_a_bad_response(stopped: bool) -> None:
    decoder = anthropic_messages.StreamDecoder(target="a")
    if stopped:
        block = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
        decoder.feed(json.dumps({"type": "content_block_start", "index": 0, "content_block": block}))
        decoder.feed('{"type": "content_block_stop", "index": 0}')
    delta = {"type": "input_json_delta", "partial_json": ""}
    assert decoder.feed(json.dumps({"type": "content_block_delta", "index": 0, "delta": delta})) == []
    delta["partial_json"] = '{"a": 1}'
    with pytest.raises(ProviderError, match="a tool call without an id or name"):
        decoder.feed(json.dumps({"type": "content_block_delta", "index": 0, "delta": delta}))


def test_the_door() -> None:
    body = {"a": [1.5, {"b": float("nan")}, float("-inf")], "c": 10**400}
    before = repr(body)
    assert sound(body, "t") == {"a": [1.5, {"b": "NaN"}, "-Infinity"], "c": 10**400}
    assert repr(body) == before
    fine = {"a": [1, 2.5, None, "x"]}
    assert sound(fine, "t") is fine
    assert load_event('{"a": [NaN, -Infinity, 1e999, 2e3]}', "t") == {"a": ["NaN", "-Infinity", "Infinity", 2000.0]}
    for deep in ("[" * 129 + "]" * 129, '{"a":' * 200 + "1" + "}" * 200):
        with pytest.raises(ProviderError, match="nested deeper"):
            sound(json.loads(deep), "t")
        with pytest.raises(ProviderError, match="nested deeper"):
            load_event(deep, "t")
    assert sound(json.loads("[" * 127 + "]" * 127), "t")


# -- what is shown -------------------------------------------------------------------------------------------------

WILD = "\x1b]0;pwn\x07\x1b[31mred\u202e\r\nFAKE LINE\x00\x9b"


def plainly(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    caplog.set_level(logging.DEBUG, "agentroute")
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
@pytest.mark.parametrize("code", [None, WILD])
def test_a_providers_text_moves_no_terminal_and_forges_no_line(
    status: int, code: str | None, lines: Callable[[], list[str]]
) -> None:
    with (
        Loopback([refusal(status, code, WILD, x_request_id="r\x1b[31m")]) as server,
        Router(targets=[server.target()]) as router,
        pytest.raises(ProviderError) as caught,
    ):
        router.complete("q", context=StepContext(agent=WILD, role=WILD, conversation_id=WILD))
    error = caught.value
    texts = [str(error), repr(error), error.cause or "", error.code or "", error.request_id or "", *lines()]
    decision = router.ledger.decisions[-1]
    texts += [attempt.error_text or "" for attempt in decision.attempts] + decision.explain().split("\n")
    assert all(text.isprintable() for text in texts), [text for text in texts if not text.isprintable()]
    assert "FAKE LINE" not in decision.explain().split("\n")


def test_an_sdks_error_is_shown_like_the_wires() -> None:
    class APIConnectionError(Exception):
        pass

    for error in (APIConnectionError(WILD), TimeoutError(WILD), ConnectionError(f"{WILD} sk-{'a' * 40}")):
        found = sdk_error(error, "t")
        assert found is not None
        assert str(found).isprintable()
        assert (found.cause or "").isprintable()
        assert "sk-aaaa" not in str(found)


@pytest.mark.parametrize("key", ["name", "model", "provider", "base_url"])
def test_a_name_that_cannot_be_shown_is_refused(key: str) -> None:
    facts: Any = {"provider": "acme", "model": "m", "tier": "mid", "base_url": "http://localhost/v1"}
    facts[key] = f"http://localhost/{WILD}" if key == "base_url" else WILD
    with pytest.raises(ConfigError) as caught:
        Target(**facts)
    assert str(caught.value).isprintable()


TARGET = '[[target]]\nprovider="acme"\nmodel="m"\ntier="mid"\nbase_url="http://127.0.0.1:1/v1"\n'


@pytest.mark.parametrize(
    "text",
    [
        TARGET + "context_window=" + "9" * 5000,
        TARGET + "settings={a=" + "[" * 5000 + "]" * 5000 + "}",
        "a." * 500 + "b=1\n" + TARGET,
        TARGET.replace('"m"', json.dumps("m\x1b[31m")),
        f"{json.dumps(WILD)}=1\n" + TARGET,
    ],
    ids=["huge number", "deep", "deep key", "model", "key"],
)
def test_a_config_of_absurd_values_is_a_config_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    for load in (Router.from_config, StrategyTable.load):
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert str(caught.value).isprintable()
    shown = CliRunner().invoke(app, ["models", "--config", str(path)])
    assert isinstance(shown.exception, ConfigError | SystemExit), shown.exception


def test_commands_print_names_out_of_logs_plainly(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    function = {"name": WILD, "arguments": "{}"}
    call = {"id": WILD, "type": "function", "function": function}
    said = {"role": "assistant", "content": WILD, "tool_calls": [call]}
    usage = {"prompt_tokens": 10**400, "completion_tokens": 5}
    entry = {
        "request": {"model": WILD, "messages": [{"role": "user", "content": WILD}], "tools": [call]},
        "response": {"model": WILD, "choices": [{"message": said, "finish_reason": WILD}], "usage": usage},
        **dict.fromkeys(("id", "conversation_id", "agent", "role", "outcome"), WILD),
    }
    good = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "model": WILD}
    path.write_text("\n".join((json.dumps(entry), WILD, json.dumps(good), json.dumps({"messages": WILD}))))
    for command in (["replay", str(path)], ["replay", "--describe", str(path)], ["route", "--explain", str(path)]):
        shown = CliRunner().invoke(app, command)
        assert plainly(shown.output), command
        assert shown.exit_code == 0 or isinstance(shown.exception, ConfigError | SystemExit), shown.exception


def test_a_price_is_summed_exactly_after_all_that() -> None:
    router, *_ = asked_twice(complete, lambda streamed: answer(streamed, '"x": 1'))
    assert router.ledger.totals.cost == 2 * Decimal("0.000013")
