"""Fifty crews in one process, on threads, on temporary event loops, streamed: says what is left of them.

Run by test_loops.py under `-X dev -W error`. Prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import os
import ssl
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true", "CREWAI_TRACING_ENABLED": "false"}
sys.path.insert(0, str(Path(__file__).parent.parent.parent))

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from crewai.events import crewai_event_bus
    from crewai_agentroute import RoutedLLM, route_crew

    from tests.crewai.crews import SMALL, adds, ready, serving, two_agents

# CrewAI's own: every Agent and Crew reads fields that it has deprecated itself.
warnings.filterwarnings("ignore", message="function_calling_llm is deprecated|deprecated$")

# Every client that CrewAI builds reads all certificates, and none needs them here.
ssl.create_default_context = functools.cache(ssl.create_default_context)  # type: ignore[assignment]

COUNTS = {"wire": 50, "native": 15}  # CrewAI's own client is slower

unraised: list[str] = []
sys.unraisablehook = lambda hook: unraised.append(repr(hook.exc_value))


def sockets() -> int:
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except OSError:
            pass
    return found


def run(index: int, llm: Any) -> None:
    crew = two_agents(llm, stream=index % 5 == 4)
    route_crew(crew, llm)
    if index % 5 == 4:
        for _ in crew.kickoff():
            pass
    elif index % 2:
        asyncio.run(crew.akickoff())
    else:
        crew.kickoff()
    long = [{"role": "user", "content": "lorem ipsum " * 2000}, {"role": "assistant", "content": "dolor " * 2000}]
    llm.summarize_messages(long, [])
    asyncio.run(llm.acall("hello"))


def runs(count: int, kind: str) -> None:
    with serving(adds) as provider:
        for index in range(count):
            if kind == "wire":
                target = provider.target(name="small", model=SMALL, context_window=4000)
                llm = RoutedLLM(targets=[target])
            else:
                llm = RoutedLLM(targets={"small": ready(provider)})
            run(index, llm)
            llm.router.close()


def left() -> tuple[int, set[str]]:
    crewai_event_bus.flush()
    gc.collect()
    # CrewAI's event bus keeps a few threads, and makes one when all are busy.
    names = {thread.name for thread in threading.enumerate() if not thread.name.startswith("CrewAISyncHandler")}
    return sockets(), names


def main(kind: str) -> None:
    runs(5, kind)  # what CrewAI keeps for itself (its bus, its pools) is there after these
    before, threads = left()
    runs(COUNTS[kind], kind)
    after, now = left()
    found = {"sockets": after - before, "threads": sorted(now - threads), "unraised": unraised[:5]}
    sys.stdout.write(json.dumps(found) + "\n")


main(sys.argv[1])
