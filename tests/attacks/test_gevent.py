"""Plain calls under gevent, whose patches may come before or after the import: they yield to each other and end."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PATCH = "from gevent import monkey; monkey.patch_all()"
CALLS = """
import gevent, sys
from agentroute import Router
from tests.loopback import ANSWER, HELLO, ROLE, Loopback, sse

def script(number):
    return [0.3, ANSWER] if number <= 20 else [sse(ROLE, HELLO, end=False), "hang"]

with Loopback(script) as server, Router([server.target()], ledger=sys.argv[1]) as router:
    calls = [gevent.spawn(router.complete, f"q{n}") for n in range(20)]
    gevent.joinall(calls, timeout=20)
    print("answered", sum(call.successful() for call in calls), server.connections)
    stream = router.stream("endless")
    reader = gevent.spawn(lambda: [getattr(event, "text", "") for event in stream])
    gevent.sleep(0.3)
    stream.close()
    reader.join(10)
    print("stopped", "".join(reader.value), stream.decision.outcome)
    try:
        with gevent.Timeout(0.2):
            router.complete("endless too")
    except gevent.Timeout:
        print("timed out")
print("written", router.ledger.totals.steps)
"""


@pytest.mark.skipif(find_spec("gevent") is None, reason="gevent is not installed")
@pytest.mark.parametrize("first", [PATCH, "import agentroute.ledger.sqlite, agentroute.transport.clients; " + PATCH])
def test_calls_wait_beside_each_other_and_the_ledger_is_written(first: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", first + "\n" + CALLS, str(tmp_path / "ledger.db")],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.splitlines() == [
        "answered 20 20",
        "stopped hello abandoned",
        "timed out",
        "written 22",
    ], done.stderr[-2000:]
