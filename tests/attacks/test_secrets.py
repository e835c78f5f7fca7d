"""Keys typed where names belong, and what an interrupted call leaves in the hands of a traceback that shows locals."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import traceback
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentroute import ConfigError, Provider, Router, Target
from agentroute.providers import Endpoint
from tests.loopback import ROLE, Loopback, event, sse

KEY = "sk-canary-7f3a9b2c4d5e6f"
SAID = "canary-of-the-answer"


def shown(error: BaseException) -> str:
    """All that a crash reporter would store of it, but for the frames of this file."""
    texts = [repr(error), str(error), repr(vars(error))]
    cause: BaseException | None = error
    while cause is not None:
        for frame, _ in traceback.walk_tb(cause.__traceback__):
            for value in frame.f_locals.values() if frame.f_code.co_filename != __file__ else ():
                with contextlib.suppress(AttributeError):  # What is not made whole has no repr.
                    texts.append(repr(value))
        cause = cause.__cause__ or cause.__context__
    return "\n".join(texts)


FACTS: dict[str, Any] = {"name": "a", "provider": "acme", "model": "m", "tier": "mid", "base_url": "https://h/v1"}


@pytest.mark.parametrize(
    "typed",
    [
        {"model": KEY},
        {"provider": KEY},
        {"name": KEY},
        {"base_url": f"https://h/{KEY}/v1"},
        {"base_url": f"https://h/v1/{KEY}"},
        {"base_url": f"https://{KEY}.example/v1"},
        {"base_url": f"https://h/v1;key={KEY}"},
        {"base_url": f"https://h/v1?key={KEY}"},
        {"base_url": f"https://h/v1#{KEY}"},
        {"base_url": f"https://user:{KEY}@h/v1"},
        {"base_url": f"https://{KEY}@h/v1"},
    ],
)
def test_a_key_that_is_typed_as_a_name_or_an_address_is_refused_unseen(typed: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        Target(**{**FACTS, **typed})
    assert KEY not in str(refused.value)
    path = tmp_path / "agentroute.toml"
    facts = {**FACTS, **typed}
    path.write_text("[[target]]\n" + "".join(f'{name} = "{value}"\n' for name, value in facts.items()))
    with pytest.raises(ConfigError) as read:
        Router.from_config(path)
    assert KEY not in str(read.value)
    assert KEY not in str(read.value.__cause__)


@pytest.mark.parametrize("url", [f"https://h/{KEY}/v1", f"https://{KEY}@h/v1", f"https://h/{KEY}/{{region}}/v1"])
def test_a_provider_of_ones_own_refuses_it_too(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Target(
            name="a",
            provider=Provider("house", Endpoint(base_url=url, parts={"region": "eu"})),  # type: ignore[arg-type]
            model="m",
            tier="mid",
        )
    assert KEY not in shown(refused.value)


@pytest.mark.parametrize(
    "url", ["https://h/v1/skills", "https://sk.example/risk-free/v1", "https://h/deployments/sk-1"]
)
def test_a_path_that_only_begins_like_one_is_an_address(url: str) -> None:
    assert Target(**{**FACTS, "base_url": url}).base_url == url


BEGUN = sse(ROLE, event({"content": SAID}), end=False)


def test_a_cancelled_task_shows_nothing_of_what_had_come() -> None:
    async def run(router: Router, *, streamed: bool) -> BaseException:
        async def read() -> None:
            async with router.astream("q") as stream:
                async for each in stream:
                    del each

        task = asyncio.ensure_future(read() if streamed else router.acomplete("q"))
        for _ in range(500):
            await asyncio.sleep(0.01)
            if server.requests and said.is_set():
                break
        await asyncio.sleep(0.1)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as error:
            return error
        raise AssertionError

    said = threading.Event()

    def script(_: int) -> Iterator[Any]:
        yield BEGUN
        said.set()
        yield "hang"

    for streamed in (False, True):
        said.clear()
        with Loopback(script) as server, Router([server.target(api_key=KEY)]) as router:
            error = asyncio.run(run(router, streamed=streamed))
        found = shown(error)
        assert "router.py" in "".join(traceback.format_tb(error.__traceback__)) or streamed
        assert SAID not in found
        assert KEY not in found


@pytest.mark.skipif("not hasattr(__import__('signal'), 'setitimer')", reason="no timers on this system")
def test_an_interrupt_shows_nothing_of_what_had_come() -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    try:
        for streamed in (False, True):
            with Loopback([BEGUN, "hang"]) as server, Router([server.target(api_key=KEY)]) as router:
                signal.setitimer(signal.ITIMER_REAL, 0.5)
                with pytest.raises(KeyboardInterrupt) as caught:
                    deque(router.stream("q"), maxlen=0) if streamed else router.complete("q")
                assert SAID not in shown(caught.value)
                assert KEY not in shown(caught.value)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
