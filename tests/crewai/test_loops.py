"""Worker threads and event loops of the moment."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agentroute.testing import Fault

from .crews import POOLS, WAYS, adds, asked, routed, serving, two_agents

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("way", WAYS)
def test_r04_each_event_loop_has_connections_of_its_own(kind: str, way: str) -> None:
    with serving("hello") as provider:
        llm = routed(kind, provider)
        for _ in range(3):
            assert asyncio.run(asked(way, llm)) == "hello"
        assert len(provider.requests) == 3


@pytest.mark.parametrize("kind", POOLS)
def test_r04_loops_in_threads_at_once(kind: str) -> None:
    with serving("hello") as provider:
        llm = routed(kind, provider)
        answers: list[str] = []
        threads = [threading.Thread(target=lambda: answers.append(asyncio.run(llm.acall("hello")))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == ["hello"] * 4


@pytest.mark.parametrize("kind", POOLS)
async def test_r04_the_executor_calls_from_worker_threads(kind: str) -> None:
    with serving(adds) as provider:
        llm = routed(kind, provider)
        crew = two_agents(llm)
        outputs = await asyncio.gather(*(crew.copy().kickoff_async() for _ in range(3)))
        assert [output.raw for output in outputs] == ["Two and three make five."] * 3


@pytest.mark.parametrize("kind", ["wire", "native"])
def test_r04_fifty_runs_leave_no_warning_socket_or_thread(kind: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", str(Path(__file__).with_name("fifty.py")), kind],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")},
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "Warning" not in ran.stderr, ran.stderr[-3000:]
    left = json.loads(ran.stdout.strip().splitlines()[-1])
    assert left == {"sockets": 0, "threads": [], "unraised": []}


@pytest.mark.parametrize("kind", POOLS)
async def test_a_call_that_is_cancelled_lets_go(kind: str) -> None:
    with serving("never", fault=Fault.stall()) as provider:
        llm = routed(kind, provider)
        call = asyncio.ensure_future(llm.acall("hello"))
        while not provider.requests:
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        (decision,) = llm.router.ledger.decisions
        assert decision.outcome == "cancelled"
        assert llm.last_decision == decision
        while provider.open_connections:
            await asyncio.sleep(0.01)
