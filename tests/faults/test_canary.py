"""Keys and prompts where no fault is needed to look for them: objects at rest, and providers that quote what they got.

Every other test of this folder searches its own logs, record and error (`calls.assert_no_canary`).
"""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from agentroute import AgentRouteError, ConfigError, NoCandidateError, Router, Target
from agentroute.decisions import Constraints
from tests.loopback import Loopback, plain, refusal

from .calls import KEY, PROMPT, REQUEST, WAYS, Way, assert_no_canary, call, router, shown, target, ways, well_answer


@ways
def test_a_provider_that_quotes_the_key(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    """In its text, type, code and request id. (httpcore2 logs the headers that a provider sends, at DEBUG.)"""
    canaries.set_level(logging.INFO, logger="httpcore2")
    said = {"message": f"Incorrect API key provided: {KEY}.", "type": KEY, "code": KEY, "param": KEY}
    for status in (400, 401, 403, 429, 500):
        with Loopback([plain({"error": said}, status, x_request_id=KEY)]) as sick:
            targets = (target(sick, api_key=KEY),)
            ran = call(way, *targets)
        assert ran.error is not None
        assert_no_canary(ran, targets, canaries)


@ways
def test_objects_at_rest(way: Way) -> None:
    with Loopback(well_answer(way)) as server:
        one = router([target(server)])
        stream = one.stream(REQUEST)
        planned = one.route(REQUEST)
        for thing in (one, one.pool, list(one.pool), stream, one.performer, one.ledger, one.affinity, planned):
            assert KEY not in repr(thing)
            assert PROMPT not in repr(thing)
        for thing in (planned, *one.pool):
            assert KEY.encode() not in pickle.dumps(thing)
            assert PROMPT.encode() not in pickle.dumps(thing)
        assert KEY not in repr(copy.deepcopy(next(iter(one.pool))))
        stream.close()
        one.close()


def test_an_error_survives_a_pickle_without_its_key() -> None:
    with Loopback([refusal(401)]) as sick:
        ran = call(WAYS[0], target(sick))
    again = pickle.loads(pickle.dumps(ran.error))
    assert (type(again), str(again)) == (type(ran.error), str(ran.error))
    assert isinstance(again, AgentRouteError)
    assert again.decision == ran.decision


def test_the_check_itself_sees_a_key_and_a_prompt() -> None:
    def below(request: object, key: str) -> None:
        raise ValueError("no canary in the text")

    def frames_of_a_library(request: object) -> BaseException:
        code = "def library(request, key, below):\n    below(request, key)\n"
        space: dict[str, object] = {}
        exec(compile(code, "/somewhere/library.py", "exec"), space)
        try:
            space["library"](request, KEY, below)  # type: ignore[operator]
        except ValueError as error:
            return error
        raise AssertionError

    text = shown(frames_of_a_library(REQUEST))
    assert KEY in text
    assert PROMPT in text


@ways
@pytest.mark.parametrize(
    "wrong",
    [
        Constraints(allow_providers=("nobody",)),
        Constraints(target="nobody"),
        Constraints(deny_providers=("opnai",)),
    ],
    ids=["no candidate", "no such target", "no such provider"],
)
def test_an_error_before_the_call_shows_no_prompt(way: Way, wrong: Constraints) -> None:
    one = router([Target(name="a", provider="x", model="m", tier="mid", base_url="http://127.0.0.1:9/v1", api_key=KEY)])

    async def on_a_loop() -> None:
        if way.stream:
            one.astream(REQUEST, constraints=wrong)
        else:
            await one.acomplete(REQUEST, constraints=wrong)

    def ask() -> object:
        if way.asynchronous:
            return asyncio.run(on_a_loop())
        return (one.stream if way.stream else one.complete)(REQUEST, constraints=wrong)

    with pytest.raises(NoCandidateError if wrong.allow_providers else ConfigError) as caught:
        ask()
    assert PROMPT not in shown(caught.value)
    assert KEY not in shown(caught.value)


@pytest.mark.parametrize("ask", [Router.route, Router.prepare], ids=["route", "prepare"])
@pytest.mark.parametrize("request_", [REQUEST, PROMPT, {"messages": PROMPT}], ids=["no candidate", "text", "dict"])
def test_nor_does_one_without_a_call(ask: Callable[..., object], request_: Any) -> None:
    one = router([Target(name="a", provider="x", model="m", tier="mid")])
    with pytest.raises(AgentRouteError) as caught:
        ask(one, request_, constraints=Constraints(allow_providers=("nobody",)))
    assert PROMPT not in shown(caught.value)
