"""Forks, foreign answers and slow readers: an answer reaches the call it belongs to, within the call's deadline."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from agentroute import ContextTooLong, ProviderTimeout, Router, Target
from agentroute.errors import ConnectionFailed

Handle = Callable[[socket.socket, bytes, int], bool]
Ask = Callable[[Router, str], Any]


def answer(text: str, status: str = "200 OK", **fields: Any) -> bytes:
    message = {"role": "assistant", "content": text}
    body = json.dumps(fields or {"model": "m", "choices": [{"message": message, "finish_reason": "stop"}]}).encode()
    return (
        b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        % (
            status.encode(),
            len(body),
        )
        + body
    )


@contextmanager
def serving(handle: Handle, *, reads: bool = True) -> Iterator[str]:
    """`handle(connection, body, number)` answers a request, and says whether the connection is kept."""
    numbers = iter(range(1_000_000))

    def serve(connection: socket.socket) -> None:
        with closing(connection), connection.makefile("rb") as file:
            try:
                while True:
                    body = b""
                    if reads:
                        length = 0
                        while (line := file.readline()) not in (b"\r\n", b""):
                            if line.lower().startswith(b"content-length:"):
                                length = int(line.partition(b":")[2])
                        if not line:
                            return
                        body = file.read(length)
                    if not handle(connection, body, next(numbers)):
                        return
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        listener.shutdown(socket.SHUT_RDWR)


def router(url: str, deadline_s: float = 10, api_key: str = "sk-test-0123456789") -> Router:
    target = Target(name="a", provider="acme", model="m", tier="budget", base_url=url, api_key=api_key)
    return Router(targets=[target], deadline_s=deadline_s)


def plain(routed: Router, text: str) -> Any:
    return routed.complete(text)


def on_a_loop(routed: Router, text: str) -> Any:
    return asyncio.run(routed.acomplete(text))


def both(row: int) -> Any:
    """Sync and async, by the number of the fault's row."""
    return pytest.mark.parametrize("ask", [plain, on_a_loop], ids=[f"row{row}-sync-plain", f"row{row}-async-plain"])


def echo(connection: socket.socket, body: bytes, _: int) -> bool:
    connection.sendall(answer(json.loads(body)["messages"][-1]["content"]))
    return True


def _work(routed: Router, ask: Ask, name: str, wrong: Any) -> None:
    asked = [f"{name}-{number}" for number in range(10)]
    wrong.put([text for text in asked if ask(routed, text).text != text])


@both(104)
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_workers_of_a_warm_router_get_their_own_answers(ask: Ask) -> None:
    with serving(echo) as url, closing(router(url)) as routed:
        assert plain(routed, "warm").text == "warm"
        context = multiprocessing.get_context("fork")
        wrong = context.Queue()
        workers = [context.Process(target=_work, args=(routed, ask, f"w{n}", wrong)) for n in range(3)]
        for worker in workers:
            worker.start()
        assert [plain(routed, f"parent-{n}").text for n in range(20)] == [f"parent-{n}" for n in range(20)]
        assert [wrong.get(timeout=30) for _ in workers] == [[], [], []]
        for worker in workers:
            worker.join(30)


@both(104)
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_that_are_no_fork_take_the_router_along(method: str, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this system")
    monkeypatch.setenv("ACME_TEST_KEY", "sk-test-0123456789")
    with serving(echo) as url, closing(router(url, api_key="env:ACME_TEST_KEY")) as routed:
        assert plain(routed, "warm").text == "warm"
        context: Any = multiprocessing.get_context(method)
        wrong = context.Queue()
        workers = [context.Process(target=_work, args=(routed, ask, f"w{n}", wrong), daemon=True) for n in range(2)]
        for worker in workers:
            worker.start()
        assert [wrong.get(timeout=60) for _ in workers] == [[], []]
        for worker in workers:
            worker.join(30)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_does_not_wait_for_locks_of_its_parents_threads() -> None:
    with serving(echo) as url, closing(router(url)) as routed:
        plain(routed, "warm")
        context = multiprocessing.get_context("fork")
        wrong = context.Queue()
        idle: Any = routed.performer._connections._idle  # type: ignore[attr-defined]
        held = (routed._lock, routed.breakers._lock, routed.affinity._lock)
        with held[0], held[1], held[2], idle._lock:
            worker = context.Process(target=_locked, args=(routed, wrong))
            worker.start()
        assert wrong.get(timeout=30) == []
        worker.join(30)


def _locked(routed: Router, wrong: Any) -> None:
    worker = threading.Thread(target=_work, args=(routed, plain, "child", wrong), daemon=True)
    worker.start()
    worker.join(20)


@both(105)
def test_a_second_answer_behind_the_first_is_never_delivered(ask: Ask) -> None:
    def handle(connection: socket.socket, body: bytes, number: int) -> bool:
        connection.sendall(answer("first") + answer("foreign") if number == 0 else answer(f"true {number}"))
        return True

    with serving(handle) as url, closing(router(url)) as routed:
        if ask is plain:
            assert [ask(routed, "q").text for _ in range(3)] == ["first", "true 1", "true 2"]
        else:

            async def three() -> list[str]:
                return [(await routed.acomplete("q")).text for _ in range(3)]

            assert asyncio.run(three()) == ["first", "true 1", "true 2"]


LATE = pytest.mark.parametrize(
    "said",
    [b"", b"HTTP/1.1 200 OK\r\ncontent-ty", b"\x00garbage\r\n\r\n", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\na: b\r\n"],
    ids=["nothing", "half a head", "garbage", "half a line", "no end of the head"],
)


@both(106)
@LATE
def test_a_kept_connection_that_breaks_late_or_in_words_is_an_attempt_of_its_own(said: bytes, ask: Ask) -> None:
    def handle(connection: socket.socket, body: bytes, number: int) -> bool:
        if number == 1:
            if not said:
                threading.Event().wait(0.5)
            connection.sendall(said)
            return False
        connection.sendall(answer("ok"))
        return True

    with serving(handle) as url, closing(router(url)) as routed:
        second = twice(routed, ask)
    assert second.text == "ok"
    told = [(attempt.error, attempt.possible_duplicate_cost) for attempt in second.decision.attempts]
    assert told == [("ConnectionFailed", True), (None, False)]


@both(106)
@LATE
def test_once_and_not_for_ever(said: bytes, ask: Ask) -> None:
    requests: list[int] = []

    def handle(connection: socket.socket, body: bytes, number: int) -> bool:
        requests.append(number)
        if number > 0:
            if not said:
                threading.Event().wait(0.5)
            connection.sendall(said)
            return False
        connection.sendall(answer("ok"))
        return True

    with serving(handle) as url, closing(router(url)) as routed, pytest.raises(ConnectionFailed) as broke:
        twice(routed, ask)
    assert [attempt.possible_duplicate_cost for attempt in broke.value.attempts] == [True, True]
    assert requests == [0, 1, 2]


def twice(routed: Router, ask: Ask) -> Any:
    """The answer to the second of two calls that use one connection."""
    if ask is plain:
        ask(routed, "first")
        return ask(routed, "second")

    async def both() -> Any:
        await routed.acomplete("first")
        return await routed.acomplete("second")

    return asyncio.run(both())


@both(109)
def test_an_answer_that_comes_before_the_body_is_read_is_heard(ask: Ask) -> None:
    def handle(connection: socket.socket, body: bytes, _: int) -> bool:
        connection.recv(1000)
        error = {"message": "too large", "code": "context_length_exceeded"}
        connection.sendall(answer("", "413 Too Large", error=error))
        return False

    with serving(handle, reads=False) as url, closing(router(url)) as routed, pytest.raises(ContextTooLong):
        ask(routed, "x" * 8_000_000)


@both(109)
def test_the_deadline_holds_while_a_slow_server_reads_the_body(ask: Ask) -> None:
    taken: list[int] = []
    ended = threading.Event()

    def handle(connection: socket.socket, body: bytes, _: int) -> bool:
        try:
            while piece := connection.recv(500_000):
                taken.append(len(piece))
                if len(taken) < 40:
                    threading.Event().wait(0.1)
        finally:
            ended.set()
        return False

    with serving(handle, reads=False) as url, closing(router(url, deadline_s=2)) as routed:
        with pytest.raises(ProviderTimeout, match="deadline"):
            ask(routed, "x" * 30_000_000)
        # On a machine under load the time may be over before there is a connection.
        assert not taken or ended.wait(30)
    assert sum(taken) < 29_000_000, "it was written to its end, whatever the deadline"


def test_trio_is_told_in_one_sentence() -> None:
    with serving(echo) as url, closing(router(url)) as routed:
        call = routed.acomplete("q")
        with pytest.raises(Exception, match="asyncio"):
            call.send(None)
