"""The transport over real sockets: its clocks, what it takes for an answer, what it gives away and leaves behind."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import logging
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

import agentroute
from agentroute import (
    AuthenticationFailed,
    BadResponse,
    ChatRequest,
    ChatResponse,
    ConfigError,
    ConnectionFailed,
    ProviderError,
    ProviderTimeout,
    RequestError,
    StreamInterrupted,
    Target,
    ToolCall,
    Usage,
    fold,
)
from agentroute.failover.drivers import adrive, drive
from agentroute.failover.effects import Clock, SystemClock, Timeouts
from agentroute.failover.flow import Log, Plan, flow
from agentroute.providers import DIALECTS
from agentroute.transport import AsyncHttpPerformer, HttpPerformer
from agentroute.transport.names import Names
from tests.loopback import within

from .loopback import (
    ANSWER,
    COMPLETION,
    END,
    HELLO,
    LAST,
    ROLE,
    SSE_HEAD,
    USAGE,
    WORLD,
    Loopback,
    chunk,
    event,
    plain,
    refusal,
    sse,
)

REQUEST = ChatRequest.from_openai({"messages": [{"role": "user", "content": "hello"}]})
QUICK = Timeouts(connect=1.0, first_content=0.3, between_events=0.3, whole_answer=0.3)
PATIENT = Timeouts(connect=5.0, first_content=20.0, between_events=20.0, whole_answer=20.0)
DEEP = b'{"choices":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


class Ran:
    """What came of one call. Raises nothing: `error` holds it."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.error: BaseException | None = None
        self.log = Log()
        self.seconds = 0.0

    @property
    def response(self) -> ChatResponse:
        return fold(self.events)

    @property
    def text(self) -> str:
        return self.response.text


def plan(targets: Any, timeouts: Timeouts, deadline_s: float | None, stream: bool, clock: Clock) -> Plan:
    deadline = None if deadline_s is None else clock.monotonic() + deadline_s
    return Plan(tuple(targets), REQUEST, stream, timeouts, deadline)


def call_sync(
    *targets: Target, timeouts: Timeouts = PATIENT, deadline_s: float | None = None, stream: bool = True
) -> Ran:
    ran, clock = Ran(), SystemClock()
    began = time.monotonic()
    with closing(HttpPerformer()) as performer:
        try:
            for one in drive(
                flow(plan(targets, timeouts, deadline_s, stream, clock), ran.log, clock), performer, clock
            ):
                ran.events.append(one)
        except Exception as error:
            ran.error = error
    ran.seconds = time.monotonic() - began
    return ran


def call_async(
    *targets: Target, timeouts: Timeouts = PATIENT, deadline_s: float | None = None, stream: bool = True
) -> Ran:
    ran, clock = Ran(), SystemClock()

    async def main() -> None:
        performer = AsyncHttpPerformer()
        try:
            async for one in adrive(
                flow(plan(targets, timeouts, deadline_s, stream, clock), ran.log, clock), performer, clock
            ):
                ran.events.append(one)
        except Exception as error:
            ran.error = error

    began = time.monotonic()
    asyncio.run(main())
    ran.seconds = time.monotonic() - began
    return ran


Call = Callable[..., Ran]
both = pytest.mark.parametrize("call", [call_sync, call_async], ids=["sync", "async"])
both_ways = pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])


@both
class TestClocks:
    """The servers here would go on for 30 s; that a call ends at all before is what is tested."""

    def test_keep_alive_comments_are_not_content(self, call: Call) -> None:
        drip = [SSE_HEAD, *[step for _ in range(300) for step in (chunk(b": keep-alive\n\n"), 0.05)]]
        with Loopback(drip) as dripping, Loopback([ANSWER]) as healthy:
            ran = call(dripping.target("a"), healthy.target("b"), timeouts=QUICK)
        assert (ran.text, ran.error) == ("hello world", None)
        assert [(a.target, a.error) for a in ran.log.attempts] == [("a", "ProviderTimeout"), ("b", None)]
        assert "no content within 0.3 s" in str(ran.log.attempts[0].error_text)
        assert ran.log.attempts[0].possible_duplicate_cost

    def test_keep_alive_comments_are_no_event_in_the_middle_either(self, call: Call) -> None:
        drip = [SSE_HEAD, chunk(ROLE + HELLO), *[step for _ in range(300) for step in (chunk(b": k\n\n"), 0.05)]]
        with Loopback(drip) as dripping:
            ran = call(dripping.target("a"), timeouts=QUICK)
        assert isinstance(ran.error, StreamInterrupted)
        assert "ProviderTimeout" in str(ran.error.cause)
        assert "nothing for 0.3 s in the middle" in str(ran.error)

    def test_headers_do_not_stop_the_clock_of_the_first_content(self, call: Call) -> None:
        with Loopback([SSE_HEAD, chunk(ROLE), "hang"]) as silent, Loopback([ANSWER]) as healthy:
            ran = call(silent.target("a"), healthy.target("b"), timeouts=QUICK)
        assert ran.text == "hello world"
        assert ran.log.attempts[0].error == "ProviderTimeout"

    def test_a_late_first_token_then_a_stall(self, call: Call) -> None:
        late = Timeouts(connect=1.0, first_content=10.0, between_events=0.3)
        with Loopback([SSE_HEAD, chunk(ROLE), 0.6, chunk(HELLO), "hang"]) as slow, Loopback([ANSWER]) as healthy:
            ran = call(slow.target("a"), healthy.target("b"), timeouts=late)
        assert ran.text == "hello", "0.6 s are within the time to the first content, and over that between events"
        assert isinstance(ran.error, StreamInterrupted)
        assert healthy.requests == []

    def test_the_deadline_over_three_hanging_targets(self, call: Call) -> None:
        with Loopback(["hang"]) as hanging:
            ran = call(*(hanging.target(name) for name in "abc"), timeouts=PATIENT, deadline_s=1.2)
        assert isinstance(ran.error, ProviderTimeout) or ran.error.__class__.__name__ == "AllAttemptsFailed"
        assert [a.error for a in ran.log.attempts] == ["ProviderTimeout"] * 3
        assert 1.1 < ran.log.attempts[-1].started_s + ran.log.attempts[-1].duration_s < 2.5
        assert "the deadline of the call passed" in str(ran.log.attempts[-1].error_text)

    def test_the_deadline_holds_in_the_middle_of_an_answer(self, call: Call) -> None:
        steps = [SSE_HEAD, chunk(ROLE), *[step for _ in range(300) for step in (chunk(HELLO), 0.05)]]
        with Loopback(steps) as endless:
            ran = call(endless.target("a"), deadline_s=0.5)
        assert isinstance(ran.error, StreamInterrupted)
        assert "the deadline of the call passed" in str(ran.error)

    def test_a_plain_answer_has_its_own_limit(self, call: Call) -> None:
        timeouts = Timeouts(first_content=0.1, whole_answer=10.0)
        with Loopback([0.4, plain(COMPLETION)]) as slow:
            ran = call(slow.target("a"), timeouts=timeouts, stream=False)
        assert (ran.text, ran.error) == ("hello world", None)
        with Loopback(["hang"]) as hanging:
            ran = call(hanging.target("a"), timeouts=QUICK, stream=False)
        assert isinstance(ran.error, ProviderTimeout)
        assert "no answer within 0.3 s" in str(ran.error)


def test_the_time_that_a_slow_reader_takes_does_not_count() -> None:
    clock, log = SystemClock(), Log()
    events = []
    with Loopback([SSE_HEAD, chunk(ROLE), chunk(HELLO), 0.05, chunk(WORLD), 0.05, chunk(END), LAST]) as server:
        performer = HttpPerformer()
        with closing(performer):
            plan = Plan((server.target("a"),), REQUEST, True, QUICK)
            for one in drive(flow(plan, log, clock), performer, clock):
                events.append(one)
                time.sleep(0.35)
    assert fold(events).text == "hello world"


@both
class TestWhatIsAnAnswer:
    @both_ways
    def test_events_and_json_whatever_was_asked(self, call: Call, stream: bool) -> None:
        for answer in (ANSWER, plain(COMPLETION), plain(COMPLETION, content_type="text/plain")):
            with Loopback([answer]) as server:
                ran = call(server.target("a"), stream=stream)
            assert (ran.text, ran.error) == ("hello world", None)
            assert (ran.response.usage, ran.response.finish_reason) == (Usage(5, 2), "stop")
            assert (ran.log.usage, ran.log.finish_reason, ran.log.warnings) == (Usage(5, 2), "stop", [])

    @both_ways
    @pytest.mark.parametrize(
        "answer",
        [
            plain(b"<html>Sign in, sk-canary</html>", content_type="text/html"),
            plain(b"<html>Sign in</html>", content_type="application/json"),
            plain(json.dumps(COMPLETION).encode()[:60]),
            plain(b'{"choices":[{"index":0,"message":{"role":"assistant","content":"\xff\xfe"}}]}'),
            plain(b'{"choices":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
            plain({**COMPLETION, "choices": []}),
            plain({**COMPLETION, "choices": None}),
            plain(b"\x1f\x8b\x08\x00garbage", content_encoding="gzip"),
            plain(COMPLETION, content_encoding="br"),
            plain(b""),
            plain(b"", 307, location="http://127.0.0.2:9/steal"),
            sse(event(choices=[]), b"data: [DONE]\n\n"),
            sse(b"data: {oops\n\n"),
            sse(b"data: \xff\xfe\n\n"),
            plain({"error": {"message": "upstream", "code": 599}}, 200),
        ],
        ids=[
            "login page",
            "login page as JSON",
            "half JSON",
            "bad UTF-8",
            "deep JSON",
            "no choices",
            "null choices",
            "corrupt gzip",
            "unknown encoding",
            "empty",
            "redirect",
            "no choices in a stream",
            "an event that is no JSON",
            "an event that is no UTF-8",
            "an error with 200",
        ],
    )
    def test_what_is_none_goes_to_the_next_target(self, call: Call, answer: bytes, stream: bool) -> None:
        with Loopback([answer]) as odd, Loopback([ANSWER]) as healthy:
            ran = call(odd.target("a"), healthy.target("b"), stream=stream)
        assert (ran.text, ran.error) == ("hello world", None)
        first = ran.log.attempts[0]
        assert first.error in ("BadResponse", "Overloaded")
        assert "sk-canary" not in str(first.error_text), "nothing of a page is quoted"

    @both_ways
    @pytest.mark.parametrize("dialect", DIALECTS)
    @pytest.mark.parametrize(
        "answer",
        [
            plain(DEEP),
            sse(b"event: message_start\ndata: " + DEEP + b"\n\n"),
            plain(b"[]"),
            plain(b"{}"),
            plain(b"null"),
            plain(b"<html>Sign in", content_type="text/html"),
            sse(b": nothing\n\n"),
            sse(b"data: \xff\xfe\n\n"),
        ],
        ids=["deep", "deep event", "list", "object", "null", "login page", "no event", "no UTF-8"],
    )
    def test_no_dialect_takes_it(self, call: Call, answer: bytes, stream: bool, dialect: str) -> None:
        with Loopback([answer]) as odd, Loopback([ANSWER]) as healthy:
            ran = call(odd.target("a", dialect=dialect), healthy.target("b"), stream=stream)
        assert (ran.text, ran.error) == ("hello world", None)
        assert ran.log.attempts[0].error == "BadResponse"

    @pytest.mark.parametrize("dialect", DIALECTS)
    def test_no_dialect_reads_on_without_end(self, call: Call, dialect: str) -> None:
        with Loopback([SSE_HEAD, *[chunk(b"a" * 1_000_000)] * 20]) as server:
            ran = call(server.target("a", dialect=dialect))
        assert isinstance(ran.error, BadResponse)
        assert "larger than" in str(ran.error)

    def test_gzip_that_nobody_asked_for(self, call: Call) -> None:
        packed = gzip.compress(json.dumps(COMPLETION).encode())
        with Loopback([plain(packed, content_encoding="gzip")]) as server:
            assert call(server.target("a"), stream=False).text == "hello world"

    def test_a_small_body_cannot_become_a_large_one(self, call: Call) -> None:
        bomb = gzip.compress(b'{"a":"' + b"0" * 100_000_000 + b'"}', 9)
        with Loopback([plain(bomb, content_encoding="gzip")]) as server:
            tracemalloc.start()
            ran = call(server.target("a"), stream=False)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert isinstance(ran.error, BadResponse)
        assert "larger than" in str(ran.error)
        assert peak < 80_000_000, "half of what it would unpack to"

    def test_a_line_without_end(self, call: Call) -> None:
        with Loopback([SSE_HEAD, *[chunk(b"a" * 1_000_000)] * 20]) as server:
            ran = call(server.target("a"))
        assert isinstance(ran.error, BadResponse)
        assert "larger than" in str(ran.error)

    def test_an_error_inside_a_stream(self, call: Call) -> None:
        said = b'event: error\ndata: {"error":{"message":"overloaded","type":"server_error","code":529}}\n\n'
        with Loopback([sse(ROLE, said)]) as early, Loopback([sse(ROLE, HELLO, said)]) as late:
            first = call(early.target("a"), late.target("b"))
        assert first.log.attempts[0].error == "Overloaded"
        assert isinstance(first.error, StreamInterrupted)
        assert (first.text, first.error.status) == ("hello", 529)

    def test_a_break_after_the_reason_for_stopping_loses_nothing(self, call: Call) -> None:
        with Loopback([SSE_HEAD, chunk(ROLE + HELLO + event(finish="stop"))]) as server:
            ran = call(server.target("a"))
        assert (ran.text, ran.error, ran.log.outcome) == ("hello", None, "ok")
        assert ran.log.usage is None
        assert ran.log.warnings == ["provider_missing_usage", "broke_off_after_finish: ConnectionFailed"]

    def test_refusals(self, call: Call) -> None:
        with Loopback([refusal(400, "context_length_exceeded", "x" * 1000, x_request_id="req-1")]) as server:
            ran = call(server.target("a"))
        assert isinstance(ran.error, ProviderError)
        assert (type(ran.error).__name__, ran.error.status, ran.error.request_id) == ("ContextTooLong", 400, "req-1")
        assert ran.log.attempts[0].possible_duplicate_cost is False

    def test_tools_come_whole(self, call: Call) -> None:
        def piece(**function: str) -> bytes:
            return event(
                {"tool_calls": [{"index": 0, **({"id": "c1"} if "name" in function else {}), "function": function}]}
            )

        pieces = [piece(name="look", arguments=""), piece(arguments='{"a'), piece(arguments='":1}')]
        with Loopback([sse(ROLE, *pieces, event(finish="tool_calls"), b"data: [DONE]\n\n")]) as server:
            ran = call(server.target("a"))
        assert ran.response.tool_calls == (ToolCall("c1", "look", '{"a":1}'),)


@both
class TestWhatIsSent:
    def test_the_request(self, call: Call) -> None:
        with Loopback([ANSWER]) as server:
            call(server.target("a", model="the-model"))
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v1/chat/completions HTTP/1.1")
        assert b"authorization: bearer sk-loopback-key" in head.lower()
        assert f"user-agent: agentroute/{agentroute.__version__}".encode() in head.lower()
        assert b"accept: text/event-stream" in head.lower()
        assert head.lower().count(b"content-length:") == head.lower().count(b"host:") == 1
        assert json.loads(body) == {
            "model": "the-model",
            "messages": [{"role": "user", "content": "hello"}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    def test_anthropic_is_told_the_version(self, call: Call) -> None:
        with Loopback([plain({})]) as server:
            call(server.target("a", provider="anthropic", dialect="anthropic_messages"), stream=False)
        head = server.requests[0].partition(b"\r\n\r\n")[0].lower()
        assert b"anthropic-version: 2023-06-01" in head
        assert b"x-api-key: sk-loopback-key" in head
        assert b"accept: application/json" in head
        assert b"authorization" not in head

    def test_no_key_no_header(self, call: Call) -> None:
        with Loopback([ANSWER]) as server:
            call(server.target("a", api_key=None))
        assert b"authorization" not in server.requests[0].lower()

    @pytest.mark.parametrize(
        ("facts", "says"),
        [
            ({"dialect": "native", "base_url": "http://127.0.0.1:9"}, "native"),
            ({"base_url": "http://127.0.0.1:9", "api_key": "sk-canary\n"}, "no header can carry"),
        ],
    )
    def test_a_target_that_cannot_be_called(self, call: Call, facts: Any, says: str) -> None:
        with Loopback([ANSWER]) as healthy:
            ran = call(Target(**{"name": "a", "provider": "openai", "model": "m", **facts}), healthy.target("b"))
        assert isinstance(ran.error, ConfigError)
        assert says in str(ran.error)
        assert "sk-canary" not in str(ran.error)
        assert healthy.requests == [], "an error of our own does not fail over"

    @pytest.mark.parametrize("keys", ["env:NOT_SET_ANYWHERE", ["env:NOT_SET_ANYWHERE", "env:NOR_THIS_ONE"]])
    def test_a_key_that_is_not_set_takes_the_call_to_the_next_target(self, call: Call, keys: Any) -> None:
        with Loopback([ANSWER]) as nobody, Loopback([ANSWER]) as healthy:
            ran = call(nobody.target("a", api_key=keys), healthy.target("b"))
        assert ran.text == "hello world"
        assert nobody.requests == [], "nothing is sent without its key"
        assert len(healthy.requests) == 1
        tried = [attempt for attempt in ran.log.attempts if attempt.target == "a"]
        assert [attempt.error for attempt in tried] == ["AuthenticationFailed"] * (1 if isinstance(keys, str) else 2)
        assert "NOT_SET_ANYWHERE is not set; it should hold the key" in (tried[0].error_text or "")
        assert any("AuthenticationFailed" in warning for warning in ran.log.warnings)

    def test_where_no_key_is_set_the_error_names_the_variable(self, call: Call) -> None:
        with Loopback([ANSWER]) as nobody:
            ran = call(nobody.target("a", api_key="env:NOT_SET_ANYWHERE"))
        assert isinstance(ran.error, AuthenticationFailed)
        assert "target 'a': the environment variable NOT_SET_ANYWHERE is not set" in str(ran.error)

    def test_proxies_are_not_read_from_the_environment(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        with Loopback([ANSWER]) as server:
            assert call(server.target("a")).text == "hello world"


@both
def test_connections_are_used_again(call: Call) -> None:
    with Loopback([ANSWER, "keep"]) as server:
        target = server.target("a")
        ran = call(target)
        assert ran.text == "hello world"
        if call is call_sync:
            clock = SystemClock()
            with closing(HttpPerformer()) as performer:
                for stream in (True, False, True):
                    list(drive(flow(Plan((target,), REQUEST, stream), Log(), clock), performer, clock))
        else:

            async def main() -> None:
                performer, clock = AsyncHttpPerformer(), SystemClock()
                for stream in (True, False, True):
                    async with aclosing(
                        adrive(flow(Plan((target,), REQUEST, stream), Log(), clock), performer, clock)
                    ) as run:
                        async for _ in run:
                            pass

            asyncio.run(main())
    assert (server.connections, len(server.requests)) == (2, 4)


def test_a_kept_connection_that_the_server_closed_is_not_the_callers_concern() -> None:
    clock = SystemClock()
    with Loopback([ANSWER]) as server, closing(HttpPerformer()) as performer:
        for _ in range(200):
            log = Log()
            events = list(drive(flow(Plan((server.target("a"),), REQUEST), log, clock), performer, clock))
            assert fold(events).text == "hello world"
            assert len(log.attempts) == 1
    assert server.connections == 200


def test_a_performer_may_be_used_by_many_threads() -> None:
    clock = SystemClock()
    texts: list[str] = []
    with Loopback([ANSWER, "keep"]) as server, closing(HttpPerformer()) as performer:

        def work() -> None:
            for _ in range(5):
                events = list(drive(flow(Plan((server.target("a"),), REQUEST), Log(), clock), performer, clock))
                texts.append(fold(events).text)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert texts == ["hello world"] * 40


# --- what must not get out -------------------------------------------------------------------------------------------

CANARY = "sk-canary-0123456789abcdef"


def everything_shown(error: BaseException) -> str:
    """What a traceback shows at its most talkative, for the error and all that hangs on it."""
    rich = pytest.importorskip("rich.console")
    from rich.traceback import Traceback

    seen: list[BaseException] = []
    queue: list[BaseException | None] = [error]
    while queue:
        one = queue.pop()
        if one is not None and one not in seen:
            seen.append(one)
            queue += [one.__cause__, one.__context__]
    out = io.StringIO()
    console = rich.Console(file=out, width=400, no_color=True)
    for one in seen:
        trace = Traceback.from_exception(
            type(one), one, one.__traceback__, show_locals=True, locals_max_length=1000, locals_max_string=10_000
        )
        console.print(trace)
        print(repr(one), vars(one), one.args, file=out)
        frame = one.__traceback__
        while frame is not None:
            for value in list(frame.tb_frame.f_locals.values()):
                print(repr(value), file=out)
            frame = frame.tb_next
    return out.getvalue()


def scripts_that_fail() -> dict[str, Any]:
    echo = {"error": {"message": f"Incorrect API key provided: {CANARY}", "type": CANARY, "code": CANARY}}
    cut = {"error": {"message": "x" * 380 + CANARY}}
    in_stream = b"data: " + json.dumps(echo).encode() + b"\n\n"
    return {
        "401 that quotes the key": [plain(echo, 401)],
        "401 that quotes half the key": [plain(cut, 401)],
        "an error in a stream that quotes the key": [sse(ROLE, in_stream)],
        "an error after the first content that quotes the key": [sse(ROLE, HELLO, in_stream)],
        "500": [refusal(500)],
        "redirect": [plain(b"", 307, location="http://127.0.0.2:9/x")],
        "reset": ["reset"],
        "no answer": ["hang"],
        "stall": [SSE_HEAD, chunk(ROLE + HELLO), "hang"],
        "cut": [SSE_HEAD, chunk(ROLE + HELLO), 0.05, "reset"],
        "bad status line": [b"HTP/9 banana\r\n\r\n"],
        "two lengths": [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 500\r\n\r\nhello"],
        "a header with a return": [b"HTTP/1.1 200 OK\r\nx-evil: a\rb\r\ncontent-length: 2\r\n\r\n{}"],
        "login page": [plain(f"<html>{CANARY}".encode(), content_type="text/html")],
    }


@both
@pytest.mark.parametrize("name", [*scripts_that_fail(), "refused", "not a name"])
def test_the_key_is_nowhere_to_be_seen(call: Call, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Loopback(scripts_that_fail().get(name, [])) as server:
        target = server.target("a", api_key=CANARY)
        if name == "refused":
            target = Target(name="a", provider="x", model="m", base_url="http://127.0.0.1:1/v1", api_key=CANARY)
        elif name == "not a name":
            target = Target(name="a", provider="x", model="m", base_url=f"http://{'a' * 70}/v1", api_key=CANARY)
        ran = call(target, target, timeouts=QUICK)
    assert ran.error is not None
    if name not in ("refused", "not a name"):
        assert CANARY.encode() in server.requests[0], "the provider does get the key"
    shown = everything_shown(ran.error) + repr(ran.log) + caplog.text + repr(target)
    assert CANARY not in shown
    assert CANARY[:12] not in shown.replace("sk-canary-0123456789abcdef", "")
    context, cause = ran.error.__context__, ran.error.__cause__
    assert (context, cause) == (None, None)


ODD_KEY = "sk+odd/key:0123456789~>?=end"


@both
@pytest.mark.parametrize("before", ["", "a", "ab", "Bearer "])
@pytest.mark.parametrize(
    "encode",
    [
        lambda text: quote(text, safe=""),
        lambda text: quote(text, safe="").lower(),
        quote_plus,
        lambda text: b64encode(text.encode()).decode(),
        lambda text: urlsafe_b64encode(text.encode()).decode(),
        lambda text: text.encode().hex(),
        lambda text: json.dumps(text),
    ],
    ids=["quoted", "quoted small", "quoted plus", "base64", "base64 of URLs", "hexadecimal", "JSON"],
)
def test_the_key_is_concealed_however_it_is_quoted(call: Call, before: str, encode: Callable[[str], str]) -> None:
    said = encode(before + ODD_KEY)
    with Loopback([refusal(401, message=f"the key [{said}] is wrong", x_request_id=said)]) as server:
        ran = call(server.target("a", api_key=ODD_KEY))
    assert isinstance(ran.error, AuthenticationFailed)
    for part in (said[8:-8], encode(ODD_KEY)[4:-4]):
        assert part not in str(ran.error)
        assert part not in str(ran.error.request_id)
    assert "is wrong" in str(ran.error)


async def test_a_cancelled_call_shows_no_key() -> None:
    performer, clock = AsyncHttpPerformer(), SystemClock()
    with Loopback(["hang"]) as server:

        async def call() -> None:
            plan = Plan((server.target("a", api_key=CANARY),), REQUEST)
            async with aclosing(adrive(flow(plan, Log(), clock), performer, clock)) as payloads:
                async for _ in payloads:
                    pass

        task = asyncio.create_task(call())
        while not server.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
    await performer.aclose()
    assert CANARY not in everything_shown(caught.value)


def test_a_request_that_is_no_json() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for odd in (deep, {1, 2}, float("nan")):
        body = {"messages": [{"role": "user", "content": "x", "odd": odd}]}
        log, clock = Log(), SystemClock()
        with Loopback([ANSWER]) as server, closing(HttpPerformer()) as performer:
            plan = Plan((server.target("a"),), ChatRequest.from_openai(body))
            with pytest.raises(RequestError, match="cannot be written as JSON"):
                list(drive(flow(plan, log, clock), performer, clock))
        assert server.requests == []


def test_lone_surrogates_are_replaced_and_pairs_joined() -> None:
    clock = SystemClock()
    request = ChatRequest.from_openai({"messages": [{"role": "user", "content": "a\ud800b\ud83d\ude00 é"}]})
    with Loopback([ANSWER]) as server, closing(HttpPerformer()) as performer:
        list(drive(flow(Plan((server.target("a"),), request), Log(), clock), performer, clock))
    body = json.loads(server.requests[0].partition(b"\r\n\r\n")[2])
    assert body["messages"][0]["content"] == "a\ufffdb\U0001f600 é"


# --- names of hosts --------------------------------------------------------------------------------------------------


class Resolver:
    """Stands in for the system's: knows the hosts it was given, hangs for the others until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **known: list[str]) -> None:
        self.asked: list[str] = []
        self.go = threading.Event()
        self._known = known
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: str | bytes, port: int, *rest: Any, **more: Any) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else host
        if name.startswith("127."):
            return self._real(host, port, *rest, **more)
        self.asked.append(name)
        if name not in self._known:
            self.go.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self._known[name]]

    def threads(self) -> int:
        return sum(thread.name == "agentroute-names" for thread in threading.enumerate())


def named(server: Loopback, host: str) -> Target:
    return Target(name=host, provider="x", model="m", base_url=server.base_url.replace("127.0.0.1", host))


@both
def test_a_resolver_that_hangs_is_not_waited_for(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(monkeypatch)
    quick = Timeouts(connect=0.2, first_content=20.0)
    with Loopback([ANSWER]) as server:
        ran = call(named(server, "hung.test"), server.target("b"), timeouts=quick)
    assert [(a.target, a.error) for a in ran.log.attempts] == [("hung.test", "ProviderTimeout"), ("b", None)]
    first = ran.log.attempts[0]
    assert "no connection within 0.2 s" in str(first.error_text)
    assert first.possible_duplicate_cost is False
    assert ran.seconds < 10, "the resolver takes 30 s"
    assert resolver.threads() == 1
    resolver.go.set()


def test_a_resolver_that_hangs_holds_one_thread_for_each_name(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(monkeypatch)
    names = Names()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            names.addresses("hung.test", 443, iter((0.02, 0.0)).__next__)
    assert (resolver.asked, resolver.threads()) == (["hung.test"], 1)
    resolver.go.set()
    with pytest.raises(OSError, match="Temporary failure"):
        names.addresses("hung.test", 443, within(5))
    for thread in threading.enumerate():
        if thread.name == "agentroute-names":
            thread.join(5)
    assert resolver.threads() == 0


@both
def test_a_name_that_is_found_and_one_that_is_not(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(monkeypatch, **{"good.test": ["127.0.0.1"]})
    resolver.go.set()
    with Loopback([ANSWER]) as server:
        ran = call(named(server, "bad.test"), named(server, "good.test"))
    assert [(a.target, a.error) for a in ran.log.attempts] == [("bad.test", "ConnectionFailed"), ("good.test", None)]
    assert "Temporary failure in name resolution" in str(ran.log.attempts[0].error_text)
    assert b"host: good.test" in server.requests[0].lower()
    assert set(resolver.asked) == {"bad.test", "good.test"}


@both
@pytest.mark.allow_hosts(["127.0.0.1", "127.0.0.2"])
def test_the_next_address_is_tried_where_one_does_not_answer(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    Resolver(monkeypatch, **{"two.test": ["127.0.0.2", "127.0.0.1"]})
    with Loopback([ANSWER]) as server:
        ran = call(named(server, "two.test"))
    assert (ran.text, len(ran.log.attempts)) == ("hello world", 1)


@both
def test_an_address_is_not_looked_up(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(monkeypatch)
    with Loopback([ANSWER]) as server:
        assert call(server.target("a")).text == "hello world"
    assert resolver.asked == []


# --- what must not be left behind ------------------------------------------------------------------------------------


def in_a_fresh_python(code: str) -> str:
    tests = Path(__file__).resolve().parent
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tests,
        env={**os.environ, "PYTHONPATH": str(tests)},
        check=False,
    )
    assert done.stderr == "", done.stderr
    assert done.returncode == 0
    return done.stdout


def test_fifty_event_loops_leave_nothing_open() -> None:
    out = in_a_fresh_python(
        """
        import asyncio, gc, logging, os
        from agentroute import ChatRequest, fold
        from agentroute.failover.flow import Log, Plan, flow
        from agentroute.failover.effects import SystemClock
        from agentroute.failover.drivers import adrive
        from agentroute.transport import AsyncHttpPerformer
        from loopback import ANSWER, Loopback

        # Its debug mode logs slow steps, and the first call imports httpx2.
        logging.getLogger("asyncio").setLevel(logging.ERROR)
        request = ChatRequest.from_openai({"messages": [{"role": "user", "content": "hello"}]})
        performer, clock = AsyncHttpPerformer(), SystemClock()

        async def call(target):
            log = Log()
            run = adrive(flow(Plan((target,), request), log, clock), performer, clock)
            return fold([event async for event in run]).text

        async def two(target):
            return await asyncio.gather(call(target), call(target))

        def descriptors():
            return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

        with Loopback([ANSWER, "keep"]) as server:
            target = server.target("a")
            asyncio.run(two(target))
            # Warnings of objects that are collected are printed to stderr, and the test reads that.
            before = descriptors()
            for _ in range(50):
                assert asyncio.run(two(target)) == ["hello world"] * 2
            import time
            for _ in range(100):
                # The server closes its own ends a moment later than the client.
                if descriptors() <= before: break
                time.sleep(0.02)
            gc.collect()
            print(descriptors() - before, len(performer._pools._open))
        """
    )
    left, clients = map(int, out.split())
    assert left <= 0
    assert clients == 0, "a dead loop is not remembered"


def test_importing_the_transport_does_not_import_httpx2() -> None:
    out = in_a_fresh_python(
        """
        import sys, agentroute.transport
        print([name for name in ("httpx2", "httpcore2", "anyio") if name in sys.modules])
        """
    )
    assert out.strip() == "[]"


def test_close_is_for_both() -> None:
    performer = HttpPerformer()
    performer.close()
    performer.close()

    async def main() -> None:
        performer = AsyncHttpPerformer()
        await performer.aclose()
        with Loopback([ANSWER, "keep"]) as server:
            for _ in range(2):
                run = adrive(flow(Plan((server.target("a"),), REQUEST), Log(), SystemClock()), performer, SystemClock())
                assert fold([event async for event in run]).text == "hello world"
                await performer.aclose()
            assert server.connections == 2

    asyncio.run(main())


def test_types_of_failures_meet_the_errors() -> None:
    with Loopback([refusal(401, "invalid_api_key")]) as server:
        assert isinstance(call_sync(server.target("a")).error, AuthenticationFailed)
    with Loopback(["reset"]) as server:
        ran = call_sync(server.target("a"))
        assert isinstance(ran.error, ConnectionFailed)
        assert ran.log.attempts[0].possible_duplicate_cost
    assert USAGE["prompt_tokens"] == 5
