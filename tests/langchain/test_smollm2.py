"""An agent on a server not written by us: llama.cpp serving a 135M model, with the tool call forced by its grammar."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_agentroute import RoutedChatModel, decision_of
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from agentroute import Target
from tests.smollm2 import smollm2

pytestmark = pytest.mark.requires("smollm2", "langchain")

# The model's own template has no tools. This one shows them, calls and results the way Hermes and Qwen models do, with
# two examples, for a model this small calls nothing it has not seen called. llama.cpp derives from it the grammar that
# a required call must follow.
TEMPLATE = """\
{%- if tools %}
    {{- '<|im_start|>system\\nYou may call these functions:\\n<tools>' }}
    {%- for tool in tools %}
        {{- '\\n' }}{{- tool | tojson }}
    {%- endfor %}
    {{- '\\n</tools>\\nFor each call return a JSON object with name and arguments within tags:\\n<tool_call>\\n' }}
    {{- '{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call><|im_end|>\\n' }}
    {%- for city in ['Rome', 'Oslo'] %}
        {{- '<|im_start|>user\\nWhat is the weather in ' + city + '?<|im_end|>\\n' }}
        {{- '<|im_start|>assistant\\n<tool_call>\\n{"name": "get_weather", "arguments": {"city": "' + city }}
        {{- '"}}\\n</tool_call><|im_end|>\\n' }}
    {%- endfor %}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {{- '<|im_start|>assistant' }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for call in message.tool_calls %}
            {{- '\\n<tool_call>\\n{"name": "' }}{{- call.function.name }}
            {{- '", "arguments": ' }}{{- call.function.arguments | tojson }}{{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with smollm2(TEMPLATE) as url:
        yield url


class FirstTheToolThenTheAnswer(AgentMiddleware[Any, Any]):
    """A model this small decides nothing: its first call must be the tool, and after the result it may call none."""

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        answered = any(isinstance(message, ToolMessage) for message in request.messages)
        return handler(request.override(tool_choice="none" if answered else "any"))


def test_an_agent_runs_on_a_server_not_written_by_us(base_url: str) -> None:
    asked: list[str] = []

    @tool
    def get_weather(city: str) -> str:
        """The weather of a city"""
        asked.append(city)
        return f"{city}: 18 degrees, sunny"

    target = Target(name="local", provider="llamacpp", model="smollm2", tier="budget", base_url=base_url)
    one_call = {"local": {"parallel_tool_calls": False}}
    model = RoutedChatModel(targets=[target], temperature=0, max_tokens=96, target_kwargs=one_call)
    counted = UsageMetadataCallbackHandler()
    agent = create_agent(model, tools=[get_weather], middleware=[FirstTheToolThenTheAnswer()])
    question = HumanMessage("Is it cold in New York?")

    state = agent.invoke({"messages": [question]}, {"callbacks": [counted]})

    model.router.close()
    _, call, result, answer = state["messages"]
    assert [c["name"] for c in call.tool_calls] == ["get_weather"]
    assert asked == [call.tool_calls[0]["args"]["city"]]
    assert isinstance(result, ToolMessage)
    assert isinstance(answer, AIMessage)
    assert answer.text
    assert not answer.tool_calls
    total = 0
    for message in (call, answer):
        decision = decision_of(message)
        assert decision is not None
        assert (decision.target, decision.outcome) == ("local", "ok")
        assert decision.usage is not None
        assert decision.usage.input_tokens == message.usage_metadata["input_tokens"] > 50
        assert decision.usage.output_tokens == message.usage_metadata["output_tokens"] > 0
        assert decision.cost == 0
        total += decision.usage.input_tokens
    assert counted.usage_metadata["smollm2"]["input_tokens"] == total
