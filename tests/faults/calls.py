"""How the fault tests call a router, in each of its four ways, and what each call is searched for afterwards."""

from __future__ import annotations

import asyncio
import io
import json
import pickle
import time
import types
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
import rich.console
from rich.traceback import Traceback

from agentroute import AgentRouteError, ChatRequest, ChatResponse, Decision, Price, Router, Target
from agentroute.failover.effects import SystemClock, Timeouts
from tests.loopback import ANSWER, COMPLETION, Loopback, Script, plain

KEY = "sk-canary-5e0bb17a94c2d6f8"
PROMPT = "the canary prompt 4f1c sings of 9d27"
REQUEST = ChatRequest.from_openai({"messages": [{"role": "user", "content": PROMPT}]})

QUICK = Timeouts(connect=1.0, first_content=0.25, between_events=0.25, whole_answer=0.25)
PATIENT = Timeouts(connect=5.0, first_content=20.0, between_events=20.0, whole_answer=20.0)


class Jumping(SystemClock):
    """The machine's clock, but what should be slept is jumped over and noted."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return time.monotonic() + sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def asleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@dataclass(frozen=True)
class Way:
    """One of the four ways to call."""

    asynchronous: bool
    stream: bool

    def __str__(self) -> str:
        return f"{'async' if self.asynchronous else 'sync'}-{'stream' if self.stream else 'plain'}"


WAYS = tuple(Way(asynchronous, stream) for asynchronous in (False, True) for stream in (True, False))
STREAMED = tuple(way for way in WAYS if way.stream)
PLAIN = tuple(way for way in WAYS if not way.stream)

ways = pytest.mark.parametrize("way", WAYS, ids=str)
streamed = pytest.mark.parametrize("way", STREAMED, ids=str)
plainly = pytest.mark.parametrize("way", PLAIN, ids=str)


def row(number: int, among: Iterable[Way] = WAYS) -> pytest.MarkDecorator:
    """These ways to call, each under a test id that begins with the row's number."""
    return pytest.mark.parametrize("way", [pytest.param(way, id=f"row{number:02}-{way}") for way in among])


def well_answer(way: Way) -> Script:
    """What the healthy target says."""
    return [ANSWER if way.stream else plain(COMPLETION), "keep"]


@dataclass
class Ran:
    """What came of one call. Whatever was raised is in `error`."""

    response: ChatResponse | None = None
    error: BaseException | None = None
    decision: Decision | None = None
    slept: list[float] = field(default_factory=list)

    @property
    def tried(self) -> list[tuple[str, str | None]]:
        assert self.decision is not None
        return [(attempt.target, attempt.error) for attempt in self.decision.attempts]

    @property
    def first(self) -> Any:
        assert self.decision is not None
        return self.decision.attempts[0]

    @property
    def warnings(self) -> tuple[str, ...]:
        assert self.decision is not None
        return self.decision.warnings


def target(server: Loopback | str, name: str = "sick", *, rank: int = 1, **more: Any) -> Target:
    """A target of the fault tests; the router tries a lower `rank` first, since it costs less."""
    base_url = server if isinstance(server, str) else server.base_url
    facts: dict[str, Any] = {
        "provider": f"{name}-co",
        "model": f"{name}-1",
        "tier": "mid",
        "api_key": KEY,
        "price": Price(input=rank, output=rank, source="test"),
        "context_window": 100_000,
    }
    return Target(name=name, base_url=base_url, **{**facts, **more})


def router(targets: Iterable[Target], **options: Any) -> Router:
    return Router(targets, **{"strategy": "cheapest", "timeouts": PATIENT, "clock": Jumping(), **options})


def call(way: Way, *targets: Target, request: ChatRequest = REQUEST, **options: Any) -> Ran:
    """One call by a router of its own, which is closed again."""
    if not way.asynchronous:
        with router(targets, **options) as one:
            return on(one, way, request)

    async def main() -> Ran:
        async with router(targets, **options) as one:
            return await aon(one, way, request)

    return asyncio.run(main())


def on(one: Router, way: Way, request: ChatRequest = REQUEST) -> Ran:
    ran = Ran()
    try:
        if way.stream:
            with one.stream(request) as stream:
                for _ in stream:
                    pass
            ran.response = stream.response
        else:
            ran.response = one.complete(request)
        ran.decision = ran.response.decision
    except Exception as error:
        _failed(ran, error)
    ran.slept = list(getattr(one.clock, "slept", ()))
    return ran


async def aon(one: Router, way: Way, request: ChatRequest = REQUEST) -> Ran:
    ran = Ran()
    try:
        if way.stream:
            async with one.astream(request) as stream:
                async for _ in stream:
                    pass
            ran.response = stream.response
        else:
            ran.response = await one.acomplete(request)
        ran.decision = ran.response.decision
    except Exception as error:
        _failed(ran, error)
    ran.slept = list(getattr(one.clock, "slept", ()))
    return ran


def _failed(ran: Ran, error: Exception) -> None:
    assert isinstance(error, AgentRouteError), f"an untyped {type(error).__name__} reached the caller: {error}"
    ran.error = error
    ran.decision = error.decision


# -- what must be nowhere ----------------------------------------------------------------------------------------------


def shown(error: BaseException) -> str:
    """All that the most talkative tools say of an error: rich with every local, repr, fields, causes, a pickle."""
    out = io.StringIO()
    console = rich.console.Console(file=out, width=400, no_color=True)
    seen: list[BaseException] = []
    queue: list[BaseException | None] = [error]
    while queue:
        one = queue.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        queue += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
        ours = _below_the_test(one.__traceback__)
        console.print(
            Traceback.from_exception(
                type(one), one, ours, show_locals=True, locals_max_length=1000, locals_max_string=10_000
            )
        )
        print(str(one), repr(one), vars(one), one.args, file=out)
        while ours is not None:
            print([repr(value) for value in list(ours.tb_frame.f_locals.values())], file=out)
            ours = ours.tb_next
    print(pickle.dumps(error), file=out)
    return out.getvalue()


def _below_the_test(frames: types.TracebackType | None) -> types.TracebackType | None:
    """The traceback without the test's own frames: a caller's frames hold the caller's request, and may."""
    while frames is not None and "/tests/" in frames.tb_frame.f_code.co_filename:
        frames = frames.tb_next
    return frames


def everything(ran: Ran, targets: Iterable[Target], log: pytest.LogCaptureFixture) -> str:
    """Logs at DEBUG, the record, the targets and the error, in every form in which they are shown or written."""
    out = [log.text, repr(log.records), *(repr(vars(record)) for record in log.records)]
    if ran.error is not None:
        out.append(shown(ran.error))
    if ran.decision is not None:
        out += [repr(ran.decision), json.dumps(ran.decision.to_dict()), repr(pickle.dumps(ran.decision))]
    for one in targets:
        out += [repr(one), str(one), repr(pickle.dumps(one))]
    return "\n".join(out)


def assert_no_canary(ran: Ran, targets: Iterable[Target], log: pytest.LogCaptureFixture) -> None:
    text = everything(ran, targets, log)
    for canary in (KEY, KEY[3:], KEY[-12:], PROMPT, PROMPT[-9:]):
        at = text.find(canary)
        assert at < 0, f"{canary!r} is shown: ...{text[max(at - 400, 0) : at + 200]}"
