"""Tasks whose output has a form."""

from __future__ import annotations

import json

import pytest
from crewai import Crew
from crewai.utilities.converter import Converter, ConverterError
from crewai_agentroute import RoutedConverter

from agentroute import ChatRequest
from agentroute.testing import ScriptedReply

from .crews import POOLS, Report, add, adds, agent, routed, serving, task

both = pytest.mark.parametrize("kind", POOLS)


@both
def test_r09_output_json_with_tools(kind: str) -> None:
    with serving(adds) as provider:
        llm = routed(kind, provider)
        who = agent("Researcher", llm, tools=[add])
        job = task("Add.", who, output_json=Report, converter_cls=RoutedConverter)
        output = Crew(agents=[who], tasks=[job]).kickoff()
        assert output.json_dict == {"title": "as asked", "count": 7}
        assert len(provider.requests) == len(llm.router.ledger.decisions) == 3


@both
async def test_r09_output_json_on_an_event_loop(kind: str) -> None:
    with serving(adds) as provider:
        llm = routed(kind, provider)
        converter = RoutedConverter(llm=llm, model=Report, text="two", instructions="convert")
        assert json.loads(await converter.ato_json()) == {"title": "as asked", "count": 7}
        assert json.loads(converter.to_json()) == {"title": "as asked", "count": 7}


async def test_r09_a_conversion_that_fails_is_returned_as_crewai_wants_it() -> None:
    with serving("no form at all") as provider:
        converter = RoutedConverter(
            llm=routed("wire", provider), model=Report, text="two", instructions="convert", max_attempts=1
        )
        assert isinstance(converter.to_json(), ConverterError)
        assert isinstance(await converter.ato_json(), ConverterError)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_r09_crewais_own_converter_goes_past_any_llm_that_is_not_its_own() -> None:
    """The reason for RoutedConverter; and the provider's name is nobody's, so that no key is used behind our back."""
    with serving(adds) as provider:
        llm = routed("wire", provider)
        assert llm.provider == "agentroute"
        Converter(llm=llm, model=Report, text="two", instructions="convert", max_attempts=1).to_json()
        assert not provider.requests


@both
def test_output_pydantic_with_tools(kind: str) -> None:
    with serving(adds) as provider:
        llm = routed(kind, provider)
        who = agent("Researcher", llm, tools=[add])
        output = Crew(agents=[who], tasks=[task("Add.", who, output_pydantic=Report)]).kickoff()
        assert output.pydantic == Report(title="as asked", count=7)


def test_an_answer_that_is_json_without_a_schema_asked_for() -> None:
    def script(request: ChatRequest) -> ScriptedReply:
        return ScriptedReply('{"title": "x", "count": 2}')

    with serving(script) as provider:
        llm = routed("wire", provider)
        who = agent("Researcher", llm)
        output = Crew(agents=[who], tasks=[task("Say.", who, output_json=Report)]).kickoff()
        assert output.json_dict == {"title": "x", "count": 2}
