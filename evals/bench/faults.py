"""What faults cost in real seconds, each as the excess over a control in the same run; plain and asynchronous.

    python evals/bench/faults.py [--rounds N]

* overshoot: three targets that hang, a deadline of 2 s: how long after the deadline the error comes
* all down: three targets that refuse at once, the same deadline: how long the error takes in all
* cancel: a stream is left after its first text: how long until the provider sees the connection close
* failover: a target that answers 503, then a healthy one, beside the healthy one alone

The servers are raw sockets in threads of the same process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import queue
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from agentroute import AgentRouteError, ChatRequest, Price, Router, Target
from agentroute.failover.breaker import Breakers

OUT = Path(__file__).resolve().parent.parent / "results" / "bench_faults.txt"
DEADLINE_S = 2.0
BOUNDS_MS = {"overshoot": 200.0, "all down": DEADLINE_S * 1000 + 100.0, "cancel": 1000.0, "failover": 20.0}
REQUEST = ChatRequest.from_openai({"messages": [{"role": "user", "content": "hello"}]})

_BODY = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6},
    }
).encode()
_EVENT = {
    "id": "c",
    "object": "chat.completion.chunk",
    "model": "m",
    "choices": [{"index": 0, "delta": {"content": "x"}}],
}
_FIRST = b"data: " + json.dumps(_EVENT).encode() + b"\n\n"
WELL = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
DOWN = b"HTTP/1.1 503 X\r\nx-should-retry: false\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
SPEAKS = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    + b"%x\r\n%s\r\n" % (len(_FIRST), _FIRST)
)  # fmt: skip
SILENT = b""


class Server:
    """Says the same to every request, and notes when a client goes away."""

    def __init__(self, says: bytes) -> None:
        self._says = says
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.gone: queue.SimpleQueue[float] = queue.SimpleQueue()
        threading.Thread(target=self._accept, daemon=True).start()

    def target(self, name: str, rank: int) -> Target:
        return Target(
            name=name,
            provider=f"{name}-co",
            model="m",
            tier="mid",
            api_key="sk-bench",
            base_url=f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1",
            price=Price(input=rank, output=rank, source="bench"),
        )

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while connection.recv(65536):
                connection.sendall(self._says)
        self.gone.put(time.perf_counter())


@contextlib.contextmanager
def servers(*says: bytes) -> Iterator[tuple[list[Server], Router]]:
    made = [Server(one) for one in says]
    targets = [server.target(f"t{number}", number) for number, server in enumerate(made, 1)]
    yield made, Router(targets, strategy="cheapest", deadline_s=DEADLINE_S)


def one_call(router: Router) -> float:
    """Milliseconds until the answer or the error. Circuits are closed before, so that every target is asked."""
    router.breakers = Breakers()
    started = time.perf_counter()
    with contextlib.suppress(AgentRouteError):
        router.complete(REQUEST)
    return (time.perf_counter() - started) * 1000


async def one_acall(router: Router) -> float:
    router.breakers = Breakers()
    started = time.perf_counter()
    with contextlib.suppress(AgentRouteError):
        await router.acomplete(REQUEST)
    return (time.perf_counter() - started) * 1000


def leave(router: Router) -> float:
    """When the stream was left, after its first text."""
    with router.stream(REQUEST) as stream:
        for _ in stream:
            if stream.response.text:
                break
        return time.perf_counter()


async def aleave(router: Router) -> float:
    async with router.astream(REQUEST) as stream:
        async for _ in stream:
            if stream.response.text:
                break
        return time.perf_counter()


def cancelled(router: Router, server: Server, way: str, run: asyncio.Runner) -> float:
    left = leave(router) if way == "sync" else run.run(_aleave_and_wait(router, server))
    return ((server.gone.get(timeout=10) if way == "sync" else _seen.pop()) - left) * 1000


_seen: list[float] = []


async def _aleave_and_wait(router: Router, server: Server) -> float:
    left = await aleave(router)
    _seen.append(await asyncio.to_thread(server.gone.get, True, 10))
    return left


def measure(way: str, rounds: int, slow_rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """For each figure, its milliseconds and those of its control."""
    with asyncio.Runner() as run:

        def call(router: Router) -> float:
            return one_call(router) if way == "sync" else run.run(one_acall(router))

        found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in BOUNDS_MS}
        with (
            servers(SILENT, SILENT, SILENT) as (_, hanging),
            servers(DOWN, DOWN, DOWN) as (_, down),
            servers(DOWN, WELL) as (_, second),
            servers(WELL) as (_, alone),
            servers(SPEAKS) as ((speaker,), speaking),
        ):
            routers = (hanging, down, second, alone, speaking)
            for router in (second, alone, down):
                call(router)
            for _ in range(slow_rounds):
                found["overshoot"][0].append(call(hanging) - DEADLINE_S * 1000)
                found["overshoot"][1].append(_slept(way, run))
            for _ in range(rounds):
                found["failover"][0].append(call(second))
                found["failover"][1].append(call(alone))
                found["all down"][0].append(call(down))
                found["all down"][1].append(call(alone))
                found["cancel"][0].append(cancelled(speaking, speaker, way, run))
                found["cancel"][1].append(0.0)
            for router in routers:
                router.close()
                run.run(router.aclose())
    return found


def _slept(way: str, run: asyncio.Runner) -> float:
    """How late this machine wakes a sleeper: the control of the deadline."""
    started = time.perf_counter()
    if way == "sync":
        time.sleep(DEADLINE_S / 4)
    else:
        run.run(asyncio.sleep(DEADLINE_S / 4))
    return (time.perf_counter() - started - DEADLINE_S / 4) * 1000


def show(name: str, way: str, values: list[float], control: list[float]) -> str:
    excess = [value - other for value, other in zip(values, control, strict=True)]
    median, worst = statistics.median(excess), max(excess)
    kept = "kept" if (median if name == "failover" else worst) <= BOUNDS_MS[name] else "MISSED"
    return (
        f"{name:10} {way:6} {len(excess):4} {statistics.median(values):9.2f} {statistics.median(control):9.2f} "
        f"{median:9.2f} {worst:9.2f}   {BOUNDS_MS[name]:g} ({kept})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--slow-rounds", type=int, default=8)
    options = parser.parse_args()
    lines = [
        f"Faults in real time, {date.today()}, Python {platform.python_version()}, {platform.system()} "
        f"{platform.machine()}, {os.cpu_count()} cores; ms",
        "",
        "figure     way       n    median   control    excess       max   bound",
    ]
    for way in ("sync", "async"):
        for name, (values, control) in measure(way, options.rounds, options.slow_rounds).items():
            lines.append(show(name, way, values, control))
    lines += [
        "",
        "overshoot: after a deadline of 2 s over three hanging targets; control: how late a sleeper wakes. all down:",
        "the whole error of three refusals; control: one healthy call. cancel: until the provider sees the connection",
        "close; no control. failover: a 503 and then a healthy answer; control: the healthy one alone. Bounds hold for",
        "the largest excess; that of failover, which is added to each call, for the median.",
    ]
    text = "\n".join(lines) + "\n"
    OUT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
