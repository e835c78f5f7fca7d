"""What ends a call: `close()` while another thread or task waits for its next event, and how often it may try."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from agentroute import Decision, ProviderError, Router, Target, Timeouts
from tests.loopback import ANSWER, HELLO, ROLE, Loopback, Script, refusal, sse

BEGUN = sse(ROLE, HELLO, end=False)

WAITS: dict[str, tuple[Script, str | None, str]] = {
    "for the first byte": (["hang"], None, "abandoned"),
    "for the headers to end": ([b"HTTP/1.1 200 OK\r\ncontent-ty", "hang"], None, "abandoned"),
    "for the next event": ([BEGUN, "hang"], "hello", "abandoned"),
    "through pings": ([BEGUN, *([b"9\r\n: ping\n\n\n\r\n", 0.02] * 500)], "hello", "abandoned"),
    "to be allowed again": ([refusal(429, retry_after="50")], None, "cancelled"),
}
"""What the caller waits for when it is stopped: the script, the text that had come, the outcome."""

QUESTION = "why?"


def stopped(routed: Router, ready: Callable[[], bool], question: str = QUESTION) -> tuple[str | None, Decision]:
    """The text and the decision of a stream that another thread closes once it waits."""
    stream = routed.stream(question)
    texts: list[str] = []

    def read() -> None:
        texts.extend(getattr(event, "text", "") for event in stream)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    until(ready)
    stream.close()
    reader.join(10)
    assert not reader.is_alive()
    return "".join(texts) or None, stream.decision


def stopped_on_a_loop(
    routed: Router, ready: Callable[[], bool], question: str = QUESTION
) -> tuple[str | None, Decision]:
    async def both() -> tuple[str | None, Decision]:
        stream = routed.astream(question)

        async def read() -> str:
            return "".join([getattr(event, "text", "") async for event in stream])

        reader = asyncio.create_task(read())
        await asyncio.to_thread(until, ready)
        await stream.aclose()
        return await asyncio.wait_for(reader, 10) or None, stream.decision

    return asyncio.run(both())


def until(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not ready() and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.1)


BOTH = pytest.mark.parametrize("stop", [stopped, stopped_on_a_loop], ids=["sync", "async"])


@BOTH
@pytest.mark.parametrize("waits", WAITS)
def test_whatever_it_waits_for_it_ends_like_a_stream_and_is_recorded(stop: Any, waits: str) -> None:
    script, text, outcome = WAITS[waits]
    with Loopback(script) as server, Router([server.target()]) as routed:
        assert stop(routed, lambda: bool(server.requests))[0] == text
        (decision,) = routed.ledger.decisions  # type: ignore[attr-defined]
        assert decision.outcome == outcome
        assert [attempt.target for attempt in decision.attempts] == ["a"]


@BOTH
def test_while_a_server_does_not_read_the_request(stop: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        target = Target(name="a", provider="acme", model="m", tier="mid", base_url=url, api_key="sk-test-0123456789")
        with Router([target]) as routed:
            accepted: list[socket.socket] = []
            threading.Thread(target=lambda: accepted.append(listener.accept()[0]), daemon=True).start()
            _, decision = stop(routed, lambda: bool(accepted), "x" * 20_000_000)
            assert decision.outcome == "abandoned"
            accepted[0].close()


@BOTH
def test_no_other_target_is_asked_and_no_circuit_opens(stop: Any) -> None:
    with Loopback(["hang"]) as server, Router([server.target("a"), server.target("b")]) as routed:
        for number in range(5):
            _, decision = stop(routed, lambda asked=number + 1: len(server.requests) == asked)  # type: ignore[misc]
            assert (decision.outcome, len(decision.attempts)) == ("abandoned", 1)
        assert len(server.requests) == 5
        assert [routed.breakers.open_until(target, time.monotonic()) for target in routed.pool] == [None, None]


@BOTH
def test_other_calls_of_the_router_go_on(stop: Any) -> None:
    """Kept connections too: the one of a call that was stopped is nobody's, the one of a whole answer is kept."""
    scripts: list[Script] = [[ANSWER, "keep"], ["hang"], [ANSWER, "keep"], [ANSWER, "keep"]]
    with Loopback(lambda n: scripts[n - 1]) as server, Router([server.target()]) as routed:
        assert routed.complete(QUESTION).text == "hello world"
        stop(routed, lambda: len(server.requests) == 2)
        assert [routed.complete(QUESTION).text for _ in range(2)] == ["hello world"] * 2


def test_a_stream_that_was_read_to_its_end_keeps_its_connection() -> None:
    with Loopback([ANSWER, "keep"]) as server, Router([server.target()]) as routed:
        for _ in range(3):
            with routed.stream(QUESTION) as stream:
                list(stream)
            stream.close()
        assert server.connections == 1


def test_closing_from_many_threads_while_events_come_raises_nothing() -> None:
    script = [BEGUN, *([b"%x\r\n%s\r\n" % (len(HELLO), HELLO)] * 5_000)]
    with Loopback(script) as server, Router([server.target()]) as routed:
        for _ in range(10):
            stream = routed.stream(QUESTION)
            iterator = iter(stream)
            next(iterator)
            problems: list[BaseException] = []
            threads = [threading.Thread(target=_noting, args=(stream.close, problems)) for _ in range(4)]
            threads.append(threading.Thread(target=_noting, args=(lambda it=iterator: list(it), problems)))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(10)
            assert problems == []
            assert stream.decision.outcome == "abandoned"


def _noting(do: Callable[[], Any], problems: list[BaseException]) -> None:
    try:
        do()
    except BaseException as error:
        problems.append(error)


def test_by_the_reader_itself_between_two_events() -> None:
    with Loopback([BEGUN, "hang"]) as server, Router([server.target()]) as routed:
        stream = routed.stream(QUESTION)
        for _ in stream:
            stream.close()
        assert stream.decision.outcome == "abandoned"
        assert server.gone.wait(5)


@pytest.mark.parametrize(
    "ask", [lambda r, **k: r.complete(QUESTION, **k), lambda r, **k: list(r.stream(QUESTION, **k))]
)
@pytest.mark.parametrize(("allowed", "tried"), [(None, 20), (3, 3), (30, 24)])
@pytest.mark.parametrize("status", [429, 401])
def test_the_attempts_of_a_call_are_bounded(ask: Any, allowed: int | None, tried: int, status: int) -> None:
    """Four targets with six keys each, every one of them refused."""
    with Loopback([refusal(status)]) as server:
        targets = [server.target(f"t{n}", api_key=[f"sk-test-{n}-{key}" for key in range(6)]) for n in range(4)]
        with Router(targets) as routed, pytest.raises(ProviderError) as failed:
            ask(routed, constraints={"max_attempts": allowed})
        assert len(server.requests) == len(failed.value.attempts) == tried
        warned = [text for text in failed.value.decision.warnings if text.startswith("max_attempts")]
        assert warned == ([] if tried == 24 else [f"max_attempts: {24 - tried} not tried"])


@contextlib.contextmanager
def alarmed(stop: Callable[[], None]) -> Iterator[None]:
    import signal

    before = signal.signal(signal.SIGALRM, lambda *_: stop())
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif("not hasattr(__import__('signal'), 'setitimer')", reason="no timers on this system")
def test_from_a_signal_handler_of_the_thread_that_reads() -> None:
    with Loopback([BEGUN, "hang"]) as server, Router([server.target()]) as routed:
        stream = routed.stream(QUESTION)
        with alarmed(stream.close):
            assert [type(event).__name__ for event in stream][-1] == "TextDelta"
        assert stream.decision.outcome == "abandoned"


def test_a_second_task_may_not_read_the_same_stream() -> None:
    async def both() -> None:
        stream = routed.astream(QUESTION)
        first: AsyncIterator[Any] = aiter(stream)
        reading = asyncio.ensure_future(anext(first))
        await asyncio.sleep(0.1)
        with pytest.raises(RuntimeError, match="one task"):
            await anext(aiter(stream))
        await stream.aclose()
        with contextlib.suppress(StopAsyncIteration):
            await reading

    with Loopback(["hang"]) as server, Router([server.target()]) as routed:
        asyncio.run(both())


# -- before the request is written ---------------------------------------------------------------------------------


@contextlib.contextmanager
def full() -> Iterator[tuple[str, Callable[[], bool]]]:
    """A port whose queue is full: whoever connects waits for an answer that does not come."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as waiting:
        port = listener.getsockname()[1]
        for _ in range(3):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        yield f"http://127.0.0.1:{port}/v1", lambda: True


@contextlib.contextmanager
def silent(scheme: str, said: bytes = b"") -> Iterator[tuple[str, Callable[[], bool]]]:
    """A server that accepts, and says nothing but this."""
    accepted: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            accepted.append(listener.accept()[0])
            accepted[0].sendall(said)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/v1", lambda: bool(accepted)
        for connection in accepted:
            connection.close()


@contextlib.contextmanager
def unresolved() -> Iterator[tuple[str, Callable[[], bool]]]:
    """A name that the resolver never answers for."""
    asked, go = threading.Event(), threading.Event()

    def getaddrinfo(*_: Any, **__: Any) -> Any:
        asked.set()
        go.wait(20)
        raise OSError("too late")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agentroute.transport.names.socket.getaddrinfo", getaddrinfo)
        yield "http://never.test/v1", asked.is_set
        go.set()
        for thread in threading.enumerate():
            if thread.name == "agentroute-names":
                thread.join(5)


BEFORE: dict[str, Callable[[], Any]] = {
    "for a connection": full,
    "for a name": unresolved,
    "for TLS": lambda: silent("https"),
    "in the middle of TLS": lambda: silent("https", b"\x16\x03\x03\x40\x00\x02"),
}


def target_at(url: str, **facts: Any) -> Target:
    facts = {"api_key": "sk-test-0123456789", **facts}
    return Target(name="a", provider="acme", model="m", tier="mid", base_url=url, **facts)


@BOTH
@pytest.mark.parametrize("waits", BEFORE)
def test_while_it_waits_for_a_connection(stop: Any, waits: str) -> None:
    with BEFORE[waits]() as (url, ready):
        with Router([target_at(url)], timeouts=Timeouts(connect=60), deadline_s=90) as routed:
            text, decision = stop(routed, ready)
        assert (text, decision.outcome, len(decision.attempts)) == (None, "abandoned", 1)


@BOTH
def test_while_a_proxy_opens_no_tunnel(stop: Any) -> None:
    with silent("http", b"HTTP/1.1 ") as (proxy, ready):
        target = target_at("https://127.0.0.1:9/v1", proxy=proxy.removesuffix("/v1"))
        with Router([target], timeouts=Timeouts(connect=60), deadline_s=90) as routed:
            text, decision = stop(routed, ready)
        assert (text, decision.outcome, len(decision.attempts)) == (None, "abandoned", 1)


@BOTH
def test_while_a_function_gives_no_key(stop: Any) -> None:
    asked, go = threading.Event(), threading.Event()

    def key() -> str:
        asked.set()
        go.wait(20)
        return "sk-test-0123456789"

    target = target_at("http://127.0.0.1:9/v1", api_key=key)
    with Router([target], timeouts=Timeouts(connect=60), deadline_s=90) as routed:
        text, decision = stop(routed, asked.is_set)
    go.set()
    assert (text, decision.outcome, len(decision.attempts)) == (None, "abandoned", 1)
