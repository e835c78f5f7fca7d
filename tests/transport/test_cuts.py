"""What was shown before an answer went bad does not depend on how its bytes were cut on the way."""

from __future__ import annotations

from typing import Any

import pytest

from agentroute import Router, StreamInterrupted, TextDelta
from tests.loopback import HELLO, ROLE, SSE_HEAD, Loopback, chunk


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("bad", [b"data: \xff\n\n", b"data: {\n\n", b"event: \xff\ndata: {}\n\n"])
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_bad_event_behind_a_good_one(together: bool, bad: bytes, asynchronous: bool) -> None:
    events = [ROLE, HELLO, bad]
    body = chunk(b"".join(events)) if together else b"".join(map(chunk, events))
    shown: list[Any] = []

    async def read(router: Router) -> None:
        if not asynchronous:
            with router.stream("hello") as stream:
                shown.extend(stream)
            return
        async with router.astream("hello") as events:
            async for event in events:
                shown.append(event)

    with Loopback([SSE_HEAD + body]) as server:
        router = Router([server.target("a")])
        with pytest.raises(StreamInterrupted):
            await read(router)
        await router.aclose()
        router.close()
    assert [event.text for event in shown if isinstance(event, TextDelta)] == ["hello"]
