"""Fifty streams at once over providers that fail in every way: nothing is mixed up, nothing is left, nothing grows.

AGENTROUTE_SOAK_S is how many seconds it goes on (default 8; CI takes 180). No time is asserted.
"""

from __future__ import annotations

import asyncio
import collections
import gc
import itertools
import logging
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentroute import AgentRouteError, ChatRequest, Router, StreamInterrupted
from agentroute.failover.breaker import Breakers, Permit
from agentroute.failover.effects import Timeouts
from agentroute.ledger import MemoryLedger
from agentroute.routing.affinity import Affinity

from .calls import target

logger = logging.getLogger("soak")
"""`pytest --log-cli-level=INFO` shows what the soak met."""

SECONDS = float(os.environ.get("AGENTROUTE_SOAK_S", "8"))
WARM_UP_S = max(3.0, SECONDS / 6)
TASKS, THREADS = 40, 10
GROWTH_BYTES = 10_000_000
BRIEF = Timeouts(connect=2.0, first_content=0.5, between_events=0.5, whole_answer=2.0)


@pytest.fixture
def provider() -> Iterator[str]:
    command = [sys.executable, str(Path(__file__).with_name("soak_server.py"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        process.terminate()


class Soak:
    """One router, and what its calls came to."""

    def __init__(self, base_url: str) -> None:
        names = ("sick", "ill", "well")
        self.router = Router(
            [target(base_url, name, rank=rank) for rank, name in enumerate(names, 1)],
            strategy="cheapest",
            timeouts=BRIEF,
            deadline_s=5.0,
            # Small, so that they are full before anything is measured.
            ledger=MemoryLedger(max_decisions=100),
            affinity=Affinity(max_entries=100),
        )
        self.ids = itertools.count()
        self.came: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self.stop = threading.Event()

    def begin(self) -> tuple[str, ChatRequest]:
        number = next(self.ids)
        if number % 20 == 0:
            # Else the sick ones would soon be left alone, and nothing would fail any more.
            self.router.breakers = Breakers()
        name = f"stream-{number}"
        return name, ChatRequest.from_openai({"messages": [{"role": "user", "content": name}]})

    def check(self, name: str, text: str, served: str | None, how: str) -> None:
        self.came[how] += 1
        pieces = set(text.split(";")[:-1])
        if len(pieces) > 1 or any(not piece.startswith(f"{name}@") for piece in pieces):
            self.wrong.append(f"{name}: {text[:200]}")
        if served is not None and pieces and pieces != {f"{name}@{served}-1"}:
            self.wrong.append(f"{name}: recorded as {served}, spoken by {pieces}")

    def failed(self, name: str, error: BaseException) -> None:
        partial = error.partial if isinstance(error, StreamInterrupted) else None
        if not isinstance(error, AgentRouteError):
            self.wrong.append(f"{name}: {error!r}")
        self.check(name, partial.text if partial is not None else "", None, type(error).__name__)

    def work(self) -> None:
        while not self.stop.is_set():
            name, request = self.begin()
            leaves = random.random() < 0.1
            try:
                with self.router.stream(request) as stream:
                    for _ in stream:
                        if leaves and stream.response.text:
                            break
                self.check(name, stream.response.text, stream.decision.target, "left" if leaves else "whole")
            except Exception as error:
                self.failed(name, error)

    async def awork(self) -> None:
        while not self.stop.is_set():
            name, request = self.begin()
            fate = random.random()
            try:
                async with asyncio.timeout(0.05 if fate < 0.1 else None):
                    async with self.router.astream(request) as stream:
                        async for _ in stream:
                            if fate > 0.9 and stream.response.text:
                                break
                self.check(name, stream.response.text, stream.decision.target, "left" if fate > 0.9 else "whole")
            except TimeoutError:
                self.came["cancelled"] += 1
            except Exception as error:
                self.failed(name, error)


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def sockets() -> int:
    found = 0
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:")
        except OSError:
            continue
    return found


def open_permits() -> set[int]:
    """The permits of this process that nobody has given back; other tests may hold some."""
    return {id(one) for one in gc.get_objects() if type(one) is Permit and not one._settled}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory and descriptors are read from /proc")
def test_soak(provider: str) -> None:
    gc.collect()
    sockets_before, threads_before, permits_before = sockets(), threading.active_count(), open_permits()
    soak = Soak(provider)

    async def main() -> tuple[int, int]:
        workers = [asyncio.create_task(soak.awork()) for _ in range(TASKS)]
        await asyncio.sleep(WARM_UP_S)
        gc.collect()
        warm = resident()
        await asyncio.sleep(SECONDS)
        gc.collect()
        grown = resident() - warm
        soak.stop.set()
        await asyncio.gather(*workers)
        await asyncio.to_thread(lambda: [thread.join() for thread in threads])
        await soak.router.aclose()
        return grown, len(asyncio.all_tasks())

    threads = [threading.Thread(target=soak.work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        grown, tasks = asyncio.run(main())
    finally:
        soak.stop.set()
        for thread in threads:
            thread.join()
    gc.collect()
    logger.info("%s streams, %s, grown by %.1f MB", sum(soak.came.values()), dict(soak.came), grown / 1e6)
    assert soak.wrong == []
    assert {"whole", "left", "cancelled", "StreamInterrupted"} <= set(soak.came), "faults were met"
    assert tasks == 1, "no task is left"
    assert open_permits() <= permits_before, "no permit is left"
    for _ in range(100):
        # The executor of `to_thread` and the provider's end take a moment.
        if sockets() <= sockets_before and threading.active_count() <= threads_before:
            break
        time.sleep(0.02)
    assert sockets() <= sockets_before
    assert threading.active_count() <= threads_before
    assert grown < GROWTH_BYTES, f"grown by {grown / 1e6:.1f} MB in {SECONDS:g} s"
