"""The official SDKs against the gateway and against the same upstream directly: one result (evals/sdks.py)."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from agentroute.testing import Fault, ScriptedProvider

from .served import Served

SDKS = runpy.run_path(str(Path(__file__).resolve().parents[2] / "evals" / "sdks.py"))


@pytest.fixture(scope="module", params=SDKS["UPSTREAMS"])
def both(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """The address of an upstream, and of a gateway over it that speaks this dialect to it."""
    with SDKS["gateway"](request.param) as urls:
        yield urls


@pytest.mark.parametrize("mode", SDKS["MODES"])
@pytest.mark.parametrize("name", SDKS["CLIENTS"])
def test_the_usual_calls_are_equal_to_direct_ones(both: tuple[str, str], name: str, mode: str) -> None:
    cells = SDKS["compare"](both, name, mode)
    assert len(cells) == len(SDKS["CASES"])
    assert not {case: problem for case, problem in cells.items() if problem}


@pytest.mark.parametrize(
    ("direct", "through", "told"),
    [
        ({"a": 1}, {"a": 2}, ".a: 1 directly, 2 through"),
        ({"a": [1, 2]}, {"a": [1]}, ".a: [1, 2] directly"),
        ({}, {"b": "x"}, '.b: null directly, "x"'),
        ("APIError: x", "APIError: x", "the direct call failed"),
        ([{"a": None}], [{"a": None}], ""),
    ],
)
def test_a_difference_is_told(direct: Any, through: Any, told: str) -> None:
    found = SDKS["difference"](direct, through)
    assert told in found
    assert bool(found) == bool(told)


def test_openai_responses_goes_on_from_an_answer(both: tuple[str, str]) -> None:
    tool: Any = {"type": "function", "name": "weather", "parameters": SDKS["SCHEMA"], "strict": True}
    with openai.OpenAI(base_url=f"{both[1]}/v1", api_key="k", max_retries=0) as client:
        first = client.responses.create(model="auto", input="hello", tools=[tool])
        call: Any = next(item for item in first.output if item.type == "function_call")
        result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        after = client.responses.create(model="auto", input=[result], previous_response_id=first.id, tools=[tool])
        named: Any = {"type": "item_reference", "id": call.id}
        referred = client.responses.create(
            model="auto", input=[{"role": "user", "content": "hello"}, named, result], tools=[tool]
        )
    assert after.output_text == referred.output_text == "['sunny'] hello there, general hello"


def test_an_sdk_asks_once_where_every_target_failed() -> None:
    """Two tries of its own would be the default; the header stops them."""
    ask: Any = [{"role": "user", "content": "hello"}]
    with (
        ScriptedProvider("x", fault=Fault.error(500)) as provider,
        Served([provider.target(model="m", tier="mid")]) as gateway,
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="k") as client,
        anthropic.Anthropic(base_url=gateway.url, api_key="k") as other,
    ):
        with pytest.raises(openai.APIStatusError):
            client.chat.completions.create(model="auto", messages=ask)
        with pytest.raises(anthropic.APIStatusError):
            other.messages.create(model="auto", max_tokens=9, messages=ask)
        answers = sum(gateway.gateway.metrics.answers.values())
    assert answers == 2
