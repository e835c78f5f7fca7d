"""What a call costs in CPU, beside a bare client in the same run: plain, and streamed in 54 chunks, sync and async.

    python evals/bench/calls.py [--rounds N] [--delay-ms N] [--in-flight-only]

The server is another process on loopback. The floor is `httpx` with the request as it is, the answer split into events
and every event through `json.loads`: less than that nobody can do who looks at an answer. `performer` is one HTTP
attempt of agentroute, from canonical request to typed events; `router` is `complete` or `stream`, with decision,
failover and record; `decision` is `route` alone, on the same requests. Contenders take turns, call by call.

Then 1, 16, 64 and 256 calls in flight at a provider that takes its time before each answer: what a pool costs is not
seen at one that answers at once. Each of these rows is a process of its own; RSS is the most that it held.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import platform
import random
import resource
import statistics
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import httpx

from agentroute import ChatRequest, Router, Target
from agentroute.failover.effects import Timeouts, Try
from agentroute.transport import AsyncHttpPerformer, HttpPerformer

OUT = Path(__file__).resolve().parent.parent / "results" / "bench_calls.txt"
BOUNDS = {"plain": 1.6, "stream": 2.0}
USAGE = {"prompt_tokens": 120, "completion_tokens": 50, "total_tokens": 170}
WORDS = [f"word{number} " for number in range(50)]


# -- the server --------------------------------------------------------------------------------------------------------


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    body = {
        "id": "chatcmpl-9d1f",
        "object": "chat.completion.chunk",
        "created": 1790000000,
        "model": "m-2026",
        "service_tier": "default",
        "system_fingerprint": "fp_1",
        "choices": choices,
        "usage": None,
    }
    return b"data: " + json.dumps({**body, **more}).encode() + b"\n\n"


EVENTS = [
    chunk({"role": "assistant", "content": "", "refusal": None}),
    *[chunk({"content": word}) for word in WORDS],
    chunk({}, "stop"),
    chunk({}, choices=[], usage=USAGE),
    b"data: [DONE]\n\n",
]
ANSWER = json.dumps(
    {
        "id": "chatcmpl-9d1f",
        "object": "chat.completion",
        "created": 1790000000,
        "model": "m-2026",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "".join(WORDS), "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
        "service_tier": "default",
        "system_fingerprint": "fp_1",
    }
).encode()


def serve(port: Any, pause_s: float, delay_s: float = 0.0) -> None:
    """Answers each POST after `delay_s`: events one by one with a pause after each where the body asks for a stream,
    else JSON. The path `/connections` tells how many there have been.
    """
    connections = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if head.startswith(b"GET /connections"):
                count = str(connections).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(count), count))
                continue
            lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
            body = await reader.readexactly(int(lines[b"content-length"]))
            if delay_s:
                await asyncio.sleep(delay_s)
            if b'"stream":true' in body.replace(b" ", b""):
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                )
                for event in EVENTS:
                    writer.write(b"%x\r\n%s\r\n" % (len(event), event))
                    if pause_s:
                        await asyncio.sleep(pause_s)
                writer.write(b"0\r\n\r\n")
            else:
                length = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
                writer.write(b"HTTP/1.1 200 OK\r\n" + length + ANSWER)

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            await answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(one, "127.0.0.1", 0, backlog=1024)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


# -- the contenders ----------------------------------------------------------------------------------------------------


def body_of(draw: random.Random, stream: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "You are a careful assistant. " * 20},
            {"role": "user", "content": f"Please find out why order {draw.random()} was not shipped and tell me."},
        ],
    }
    return {**body, "stream": True, "stream_options": {"include_usage": True}} if stream else body


NO_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None)
"""With httpx's own limits its pool closes connections under a request at 256 threads, and calls fail."""

HEADERS = {"authorization": "Bearer the-key", "content-type": "application/json", "accept-encoding": "identity"}


class Events:
    """The least a client does with a stream: split it into events, parse each."""

    def __init__(self) -> None:
        self.rest = b""
        self.text: list[str] = []

    def feed(self, piece: bytes) -> None:
        *whole, self.rest = (self.rest + piece).split(b"\n\n")
        for event in whole:
            data = event.removeprefix(b"data: ")
            if data != b"[DONE]":
                for choice in json.loads(data)["choices"]:
                    self.text.append(choice["delta"].get("content") or "")


def target(url: str) -> Target:
    return Target(
        name="m", provider="bench", model="m", tier="mid", base_url=url, api_key="the-key", context_window=100_000
    )


def said(items: Iterator[Any]) -> str:
    return "".join(getattr(getattr(item, "payload", None), "text", "") for item in items)


def sync_contenders(url: str) -> dict[str, Callable[[dict[str, Any]], str]]:
    client = httpx.Client(trust_env=False, limits=NO_LIMITS, timeout=None)
    performer = HttpPerformer()
    router = Router(targets=[target(url)])
    path = f"{url}/chat/completions"

    def floor(body: dict[str, Any]) -> str:
        content = json.dumps(body).encode()
        if not body.get("stream"):
            answer = json.loads(client.post(path, content=content, headers=HEADERS).content)
            return str(answer["choices"][0]["message"]["content"])
        events = Events()
        with client.stream("POST", path, content=content, headers=HEADERS) as response:
            for piece in response.iter_raw():
                events.feed(piece)
        return "".join(events.text)

    def performed(body: dict[str, Any]) -> str:
        stream = bool(body.pop("stream", False))
        return said(performer.perform(Try(target(url), ChatRequest.from_openai(body), stream, Timeouts())))

    def routed(body: dict[str, Any]) -> str:
        stream = bool(body.pop("stream", False))
        request = ChatRequest.from_openai({**body, "model": "auto"})
        if not stream:
            return router.complete(request).text
        with router.stream(request) as events:
            return "".join(getattr(event, "text", "") for event in events)

    def decided(body: dict[str, Any]) -> str:
        body.pop("stream", None)
        router.route(ChatRequest.from_openai({**body, "model": "auto"}))
        return "".join(WORDS)

    return {"floor": floor, "performer": performed, "router": routed, "decision": decided}


def async_contenders(url: str) -> dict[str, Callable[[dict[str, Any]], Coroutine[Any, Any, str]]]:
    client = httpx.AsyncClient(trust_env=False, limits=NO_LIMITS, timeout=None)
    performer = AsyncHttpPerformer()
    router = Router(targets=[target(url)])
    path = f"{url}/chat/completions"

    async def floor(body: dict[str, Any]) -> str:
        content = json.dumps(body).encode()
        if not body.get("stream"):
            answer = json.loads((await client.post(path, content=content, headers=HEADERS)).content)
            return str(answer["choices"][0]["message"]["content"])
        events = Events()
        async with client.stream("POST", path, content=content, headers=HEADERS) as response:
            async for piece in response.aiter_raw():
                events.feed(piece)
        return "".join(events.text)

    async def performed(body: dict[str, Any]) -> str:
        stream = bool(body.pop("stream", False))
        attempt = Try(target(url), ChatRequest.from_openai(body), stream, Timeouts())
        return said(iter([item async for item in performer.perform(attempt)]))

    async def routed(body: dict[str, Any]) -> str:
        stream = bool(body.pop("stream", False))
        request = ChatRequest.from_openai({**body, "model": "auto"})
        if not stream:
            return (await router.acomplete(request)).text
        async with router.astream(request) as events:
            return "".join([getattr(event, "text", "") async for event in events])

    async def decided(body: dict[str, Any]) -> str:
        body.pop("stream", None)
        router.route(ChatRequest.from_openai({**body, "model": "auto"}))
        return "".join(WORDS)

    return {"floor": floor, "performer": performed, "router": routed, "decision": decided}


# -- the run -----------------------------------------------------------------------------------------------------------

_WARM_UP = 10


def sync_times(url: str, stream: bool, rounds: int) -> dict[str, list[float]]:
    contenders = sync_contenders(url)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + _WARM_UP):
        for name, call in contenders.items():
            body = body_of(random.Random(number), stream)
            started = time.process_time_ns()
            text = call(body)
            spent = time.process_time_ns() - started
            assert text == "".join(WORDS), (name, text)
            if number >= _WARM_UP:
                times[name].append(spent / 1e6)
    return times


async def async_times(url: str, stream: bool, rounds: int) -> dict[str, list[float]]:
    contenders = async_contenders(url)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + _WARM_UP):
        for name, call in contenders.items():
            body = body_of(random.Random(number), stream)
            started = time.process_time_ns()
            text = await call(body)
            spent = time.process_time_ns() - started
            assert text == "".join(WORDS), (name, text)
            if number >= _WARM_UP:
                times[name].append(spent / 1e6)
    return times


def show(times: dict[str, list[float]], bound: float) -> list[str]:
    medians = {name: statistics.median(values) for name, values in times.items()}
    floor = medians["floor"]
    lines = []
    for name, values in times.items():
        ordered = sorted(values)
        low, high = ordered[len(ordered) // 10], ordered[len(ordered) * 9 // 10]
        lines.append(f"  {name:28}{medians[name]:8.3f} {low:8.3f} {high:8.3f}   x{medians[name] / floor:.2f}")
    less = medians["router"] - medians["decision"]
    lines.append(f"  {'router less its decision':28}{less:8.3f}{'':21}x{less / floor:.2f}")
    for label, value in (("with", medians["router"]), ("without", less)):
        kept = "kept" if value / floor <= bound else "MISSED"
        lines.append(f"  bound x{bound} {label} the decision: {kept}")
    return lines


# -- many in flight ----------------------------------------------------------------------------------------------------

IN_FLIGHT = (1, 16, 64, 256)
_TURNS = 10


def crowd(result: Any, url: str, way: str, name: str, n: int) -> None:
    """CPU milliseconds a call, the most memory in MB, connections opened: `n` callers, each with ten calls in turn."""
    # A lone caller would be measured over ten calls only.
    turns = _TURNS if n > 1 else 5 * _TURNS
    bodies = [body_of(random.Random(number), False) for number in range(turns)]

    def in_threads() -> float:
        call = sync_contenders(url)[name]

        def each(_: int) -> None:
            for body in bodies:
                call(dict(body))

        with ThreadPoolExecutor(n) as threads:
            list(threads.map(lambda _: call(dict(bodies[0])), range(n)))
            started = time.process_time_ns()
            list(threads.map(each, range(n)))
            return (time.process_time_ns() - started) / 1e6

    async def on_a_loop() -> float:
        call = async_contenders(url)[name]

        async def each() -> None:
            for body in bodies:
                await call(dict(body))

        await asyncio.gather(*(call(dict(bodies[0])) for _ in range(n)))
        started = time.process_time_ns()
        await asyncio.gather(*(each() for _ in range(n)))
        return (time.process_time_ns() - started) / 1e6

    spent = in_threads() if way == "sync" else asyncio.run(on_a_loop())
    result.send((spent / (n * turns), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def in_flight(delay_s: float) -> list[str]:
    spawn = multiprocessing.get_context("spawn")
    here, there = multiprocessing.Pipe()
    server = spawn.Process(target=serve, args=(there, 0.0, delay_s), daemon=True)
    server.start()
    address = f"http://127.0.0.1:{here.recv()}"
    lines = []
    for way in ("sync", "async"):
        lines += ["", f"plain, {way}, the provider takes {delay_s * 1e3:g} ms"]
        lines.append(f"  {'':12}{'in flight':>10}{'CPU ms':>9}{'to 16':>8}{'RSS MB':>8}{'connections':>13}")
        for name in ("floor", "router"):
            cpu: dict[int, float] = {}
            rows = []
            for n in IN_FLIGHT:
                before = int(httpx.get(f"{address}/connections").text)
                worker = spawn.Process(target=crowd, args=(there, f"{address}/v1", way, name, n))
                worker.start()
                cpu[n], memory = here.recv()
                worker.join()
                opened = int(httpx.get(f"{address}/connections").text) - before - 1
                rows.append((n, memory, opened))
            for n, memory, opened in rows:
                ratio = f"x{cpu[n] / cpu[16]:.2f}"
                lines.append(f"  {name:12}{n:10}{cpu[n]:9.3f}{ratio:>8}{memory:8.0f}{opened:13}")
    server.terminate()
    server.join()
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--delay-ms", type=float, default=100.0, help="what the provider takes, for many in flight")
    parser.add_argument("--in-flight-only", action="store_true", help="only that part; nothing is written")
    given = parser.parse_args()
    if given.in_flight_only:
        print("\n".join(in_flight(given.delay_ms / 1e3)))
        return
    rounds = given.rounds
    lines = [
        f"Calls, {date.today()}, Python {platform.python_version()}, {platform.machine()}, httpx {httpx.__version__}, "
        f"{rounds} rounds; ms: median, 10th and 90th percentile; ratio of medians to the floor of the same run"
    ]
    for case, stream, pause_s in (
        ("plain", False, 0.0),
        ("stream, 54 chunks, one by one", True, 0.0003),
        ("stream, 54 chunks at once", True, 0.0),
    ):
        here, there = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(there, pause_s), daemon=True)
        server.start()
        url = f"http://127.0.0.1:{here.recv()}/v1"
        bound = BOUNDS["stream" if stream else "plain"]
        lines += ["", f"{case}, sync", *show(sync_times(url, stream, rounds), bound)]
        lines += ["", f"{case}, async", *show(asyncio.run(async_times(url, stream, rounds)), bound)]
        server.terminate()
        server.join()
    lines += in_flight(given.delay_ms / 1e3)
    text = "\n".join(lines) + "\n"
    OUT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
