"""What a call through the gateway costs in CPU, beside a bare pass-through and, where it is installed, LiteLLM's proxy.

    python evals/bench/gateway.py [--seconds S] [--litellm /path/to/venv/bin/litellm] [--calls 100000]

Upstream, contender and load are processes of their own; the CPU is the contender's, by /proc (Linux). Two floors, both
Starlette and aiohttp, with nothing routed, checked or recorded: `bytes` reads the request's JSON and passes a stream on
as it comes; `floor` reads and writes the JSON once each way, of each event too, which is the least that a translator
does. The ratios that are wanted were set by a floor of that kind. The gateway runs as a user runs it: a client key with
a budget, two targets, decisions, an SQLite ledger. Contenders take turns, `--rounds` times; the table has the median
and the smallest and largest, and is only good for ratios: the machine has other work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import aiohttp

OUT = Path(__file__).resolve().parent.parent / "results" / "bench_gateway.txt"
USAGE = {"prompt_tokens": 120, "completion_tokens": 50, "total_tokens": 170}
WORDS = [f"word{number} " for number in range(52)]
KEY = "sk-bench-key"
MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant. " * 8},
    {"role": "user", "content": "What is the capital of France?"},
]


# -- upstream ----------------------------------------------------------------------------------------------------------


def chunk(delta: dict[str, str], finish: str | None = None, usage: dict[str, int] | None = None) -> bytes:
    choices = [] if usage else [{"index": 0, "delta": delta, "finish_reason": finish}]
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices}
    return b"data: " + json.dumps({**body, "usage": usage}).encode() + b"\n\n"


EVENTS = [*(chunk({"content": word}) for word in WORDS), chunk({}, "stop"), chunk({}, usage=USAGE)]
PLAIN = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Paris. " * 20}, "finish_reason": "stop"}],
        "usage": USAGE,
    }
).encode()


class Upstream(asyncio.Protocol):
    """Answers every request on a kept connection, after `delay` seconds, with the plain or the streamed answer."""

    delay = 0.0
    gap = 0.0

    def __init__(self) -> None:
        self.raw = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.raw += data
        head, end, rest = self.raw.partition(b"\r\n\r\n")
        if not end:
            return
        lines = head.lower().split(b"\r\n")
        length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length")), 0)
        if len(rest) < length:
            return
        self.raw = rest[length:]
        stream = b'"stream":true' in rest or b'"stream": true' in rest
        loop = asyncio.get_running_loop()
        loop.call_later(self.delay, lambda: loop.create_task(self.stream()) if stream else self.plain())

    def plain(self) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(PLAIN)
        self.transport.write(head + PLAIN)

    async def stream(self) -> None:
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for data in EVENTS:
            self.transport.write(b"%x\r\n%s\r\n" % (len(data), data))
            await asyncio.sleep(self.gap)
        done = b"data: [DONE]\n\n"
        self.transport.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(done), done))


def upstream(port: int, delay: float, gap: float) -> None:
    Upstream.delay, Upstream.gap = delay, gap

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
        await server.serve_forever()

    asyncio.run(run())


# -- contenders --------------------------------------------------------------------------------------------------------


def bytes_(port: int, to: int) -> None:
    """The pass-through."""
    serve_floor(port, to, lambda pieces: pieces)


def floor(port: int, to: int) -> None:
    """JSON read and written once each way."""
    serve_floor(port, to, rewritten)


async def rewritten(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data: {"):
                yield b"data: " + json.dumps(json.loads(line[6:])).encode() + b"\n\n"
            elif line:
                yield line + b"\n\n"


def serve_floor(port: int, to: int, passed: Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]]) -> None:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    sessions: list[aiohttp.ClientSession] = []

    async def call(request: Request) -> Response:
        if not sessions:
            sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        body = json.loads(await request.body())
        url = f"http://127.0.0.1:{to}/v1/chat/completions"
        answer = await sessions[0].post(url, json=body)
        if not body.get("stream"):
            return Response(json.dumps(json.loads(await answer.read())), media_type="application/json")
        return StreamingResponse(passed(answer.content.iter_any()), media_type="text/event-stream")

    app = Starlette(routes=[Route("/v1/chat/completions", call, methods=["POST"])])
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


@contextmanager
def ours(port: int, to: int) -> Iterator[int]:
    """The gateway with everything on, as its command starts it."""
    from agentroute.gateway.settings import hash_key

    targets = "".join(
        f'[[target]]\nname = "{name}"\nprovider = "bench"\nmodel = "m"\ntier = "{tier}"\n'
        f'base_url = "http://127.0.0.1:{to}/v1"\napi_key = "env:BENCH_UPSTREAM_KEY"\n'
        f"price = {{ input = {price}, output = {price} }}\n"
        for name, tier, price in (("small", "budget", 0.1), ("large", "premium", 10))
    )
    keys = (
        f'[[gateway.key]]\nname = "bench"\nsha256 = "{hash_key(KEY)}"\n'
        "budget = { day = 1000000 }\nconcurrency = 10000\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agentroute.toml"
        path.write_text(f'ledger = "{folder}/ledger.db"\n{targets}[gateway]\nport = {port}\n{keys}')
        with command([sys.executable, "-m", "agentroute", "serve", str(path)], BENCH_UPSTREAM_KEY="k") as pid:
            yield pid


@contextmanager
def command(run: list[str], **known: str) -> Iterator[int]:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(run, env={**os.environ, **known}, **quiet)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def litellm(program: str, port: int, to: int) -> Iterator[int]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        entry = {"model": "openai/m", "api_base": f"http://127.0.0.1:{to}/v1", "api_key": "k"}
        path.write_text(json.dumps({"model_list": [{"model_name": "auto", "litellm_params": entry}]}))
        run = [program, "--config", str(path), "--port", str(port), "--host", "127.0.0.1", "--num_workers", "1"]
        with command(run, LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_MASTER_KEY=KEY) as pid:
            yield pid


# -- load --------------------------------------------------------------------------------------------------------------


def cpu(pid: int) -> float:
    """CPU seconds of a process and its children that ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def rss(pid: int) -> float:
    """Resident megabytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def load(
    port: int, *, stream: bool, connections: int, seconds: float, over_s: float = 0.0
) -> tuple[int, list[float]]:
    """How many calls were answered, and of streams the times between their pieces. The first calls begin one after the
    other, in `over_s` seconds: streams in step would all end and begin at once."""
    until, done, gaps = time.monotonic() + seconds, 0, []
    body = {"model": "auto", "messages": MESSAGES, "stream": stream, "stream_options": {"include_usage": True}}
    if not stream:
        del body["stream_options"]
    headers = {"authorization": f"Bearer {KEY}"}
    url = f"http://127.0.0.1:{port}/v1/chat/completions"

    async def worker(session: aiohttp.ClientSession, begin: float) -> None:
        nonlocal done
        await asyncio.sleep(begin)
        while time.monotonic() < until:
            async with session.post(url, json=body, headers=headers) as answer:
                last, raw = time.monotonic(), b""
                between: list[float] = []
                async for piece in answer.content.iter_any():
                    now = time.monotonic()
                    between.append(now - last)
                    last, raw = now, (raw + piece)[-200:] if stream else raw + piece
                # The last piece waits for the upstream's end: reason, count and `[DONE]` are three events.
                gaps.extend(between[:-1])
                assert answer.status == 200, raw
                assert not stream or b"[DONE]" in raw, raw
            done += 1

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(worker(session, over_s * at / connections) for at in range(connections)))
    return done, gaps


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for(port: int, pid: int, seconds: float = 90.0) -> float:
    """Seconds until it takes connections."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as found:
                # Where nobody listens yet, TCP may connect a socket to itself.
                if found.getsockname() != found.getpeername():
                    return time.monotonic() - began
        except OSError:
            pass
        time.sleep(0.02)
    raise SystemExit(f"process {pid} does not listen on {port}")


@contextmanager
def process(run: object, *arguments: object) -> Iterator[int]:
    child = multiprocessing.get_context("spawn").Process(target=run, args=arguments, daemon=True)  # type: ignore[arg-type]
    child.start()
    assert child.pid is not None
    try:
        yield child.pid
    finally:
        child.terminate()
        child.join(10)
        if child.is_alive():
            child.kill()


CONTENDERS = ("bytes", "floor", "ours")


@contextmanager
def contender(name: str, to: int, program: str | None = None) -> Iterator[tuple[int, int, float]]:
    """Its port, its process, and after how many seconds it took connections."""
    port = free_port()
    if program is not None:
        started = litellm(program, port, to)
    elif name == "ours":
        started = ours(port, to)
    else:
        started = process(floor if name == "floor" else bytes_, port, to)
    with started as pid:
        ready = wait_for(port, pid)
        print(f"# {name} ready in {ready:.1f} s", file=sys.stderr)
        asyncio.run(load(port, stream=False, connections=4, seconds=0.5))
        asyncio.run(load(port, stream=True, connections=4, seconds=0.5))
        yield port, pid, ready


def measured(port: int, pid: int, *, stream: bool, connections: int, seconds: float) -> tuple[float, int, list[float]]:
    """CPU milliseconds a call."""
    before = cpu(pid)
    done, gaps = asyncio.run(load(port, stream=stream, connections=connections, seconds=seconds))
    return (cpu(pid) - before) * 1000 / done, done, gaps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--litellm", help="the command of LiteLLM's proxy, in an environment of its own")
    parser.add_argument("--calls", type=int, default=0, help="calls after which the memory is looked at")
    asked = parser.parse_args()
    found = Found()
    to, slow = free_port(), free_port()
    lines = [f"{date.today()}  {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
             f"load {os.getloadavg()[0]:.1f} before, nice {os.nice(0)}", ""]  # fmt: skip
    with process(upstream, to, 0.0, 0.0), process(upstream, slow, 0.0, GAP_S):
        wait_for(to, 0)
        wait_for(slow, 0)
        for _ in range(asked.rounds):
            for name in (*CONTENDERS, *(["litellm"] if asked.litellm else [])):
                found.take(name, to, asked.litellm if name == "litellm" else None, asked.seconds)
        lines += [*found.table(), *found.judged(litellm=asked.litellm is not None)]
        for name in ("floor", "ours"):
            lines.append(slow_streams(name, slow, asked.seconds))
        if asked.calls:
            with contender("ours", to) as (port, pid, _):
                done = 0
                while done < asked.calls:
                    done += asyncio.run(load(port, stream=False, connections=32, seconds=5))[0]
                lines.append(f"resident after {done:,} calls: {rss(pid):.0f} MB (wanted: at most 150)")
    text = "\n".join(lines)
    print(text)
    OUT.write_text(text + "\n", encoding="utf-8")


GAP_S = 0.05


def slow_streams(name: str, to: int, seconds: float) -> str:
    with contender(name, to) as (port, pid, _):
        before = cpu(pid)
        _, gaps = asyncio.run(load(port, stream=True, connections=200, seconds=seconds, over_s=len(EVENTS) * GAP_S))
        used = (cpu(pid) - before) / seconds
    added = sorted(gap - GAP_S for gap in gaps)
    p50, p99 = (added[int(len(added) * share)] * 1000 for share in (0.5, 0.99))
    return (
        f"200 streams, an event every {GAP_S * 1000:.0f} ms, {name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms added between "
        f"pieces but the last, {used:.2f} of a core (wanted: p99 at most 50 ms)"
    )


class Found:
    """What was measured: CPU milliseconds a call, by contender and case."""

    CASES = ((False, 16), (True, 16), (False, 256))

    def __init__(self) -> None:
        self.times: dict[tuple[str, str], list[float]] = {}
        self.counts: Counter[tuple[str, str]] = Counter()
        self.ready: list[float] = []

    def take(self, name: str, to: int, command: str | None, seconds: float) -> None:
        with contender(name, to, command) as (port, pid, ready):
            if name == "ours":
                self.ready.append(ready)
            for stream, connections in self.CASES:
                if command is not None and connections == 256:
                    continue
                case = f"{'stream of 54' if stream else 'plain'}, {connections} connections"
                each, done, _ = measured(port, pid, stream=stream, connections=connections, seconds=seconds)
                self.times.setdefault((name, case), []).append(each)
                self.counts[name, case] += done
                print(f"# {name}: {case}: {each:.2f} ms a call ({done} calls)", file=sys.stderr)

    def middle(self, name: str, case: str) -> float:
        return statistics.median(self.times[name, case])

    def table(self) -> Iterator[str]:
        yield f"{'CPU ms a call of the serving process':<42} median (smallest - largest)   n        of floor  of bytes"
        for (name, case), times in self.times.items():
            middle = self.middle(name, case)
            spread = f"{middle:5.2f} ({min(times):.2f} - {max(times):.2f})"
            of = [middle / self.middle(base, case) for base in ("floor", "bytes")]
            yield f"{name:<9} {case:<32} {spread:<29} {self.counts[name, case]:>7,}   {of[0]:6.1f}x  {of[1]:6.1f}x"
        yield ""

    def judged(self, *, litellm: bool) -> Iterator[str]:
        """Each figure that is wanted, and whether it is met."""
        plain, stream, many = (f"{kind} connections" for kind in ("plain, 16", "stream of 54, 16", "plain, 256"))
        ours, floor = (lambda case: self.middle("ours", case)), (lambda case: self.middle("floor", case))
        figures = [
            ("a plain call, of the floor", ours(plain) / floor(plain), 4.5),
            ("a stream of 54, of the floor", ours(stream) / floor(stream), 2.3),
            ("a plain call at 256 connections, of one at 16", ours(many) / ours(plain), 1.3),
            ("seconds until ready (median)", statistics.median(self.ready), 2.0),
        ]
        if litellm:
            figures += [
                ("a plain call, of LiteLLM's", ours(plain) / self.middle("litellm", plain), 1 / 8),
                ("a stream of 54, of LiteLLM's", ours(stream) / self.middle("litellm", stream), 1 / 10),
            ]
        for what, figure, most in figures:
            yield f"{what}: {figure:.3g}, wanted at most {most:.3g}: {'met' if figure <= most else 'NOT met'}"


if __name__ == "__main__":
    main()
