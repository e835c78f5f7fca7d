"""A server not written by us behind the gateway: llama.cpp with a 135M model, asked by the official SDKs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from agentroute import Target
from tests.smollm2 import smollm2

from .served import Served

pytestmark = pytest.mark.requires("smollm2")

ASK: Any = [{"role": "user", "content": "What is the capital of France? Answer with one word."}]
COLD = {"temperature": 0}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Served]:
    with smollm2() as url:
        target = Target(name="local", provider="llamacpp", model="smollm2", tier="budget", base_url=url)
        with Served([target]) as served:
            yield served


def test_openai_whole_and_streamed(gateway: Served) -> None:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="any") as client:
        create = client.chat.completions.create
        whole = create(model="auto", messages=ASK, max_tokens=12, temperature=0)
        pieces = create(
            model="auto",
            messages=ASK,
            max_tokens=12,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(pieces)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert whole.choices[0].message.content == text
    assert text
    usage: Any = chunks[-1].usage
    assert whole.usage is not None
    assert usage.completion_tokens == whole.usage.completion_tokens > 0
    assert usage.agentroute["target"] == "local"
    assert usage.agentroute["cost_usd"] == 0


def test_openai_forces_a_schema(gateway: Served) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="any") as client:
        answer = client.chat.completions.create(
            model="auto", messages=ASK, max_tokens=40, temperature=0, response_format=form
        )
    assert isinstance(json.loads(answer.choices[0].message.content or "")["city"], str)


def test_the_other_doors(gateway: Served) -> None:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="any") as client:
        responses = client.responses.create(model="auto", input=ASK[0]["content"], max_output_tokens=12, temperature=0)
    with anthropic.Anthropic(base_url=gateway.url, api_key="any") as other:
        message: Any = other.messages.create(model="auto", max_tokens=12, messages=ASK, extra_body=COLD)
        with other.messages.stream(model="auto", max_tokens=12, messages=ASK, extra_body=COLD) as stream:
            streamed = stream.get_final_text()
    options = types.HttpOptions(base_url=gateway.url)
    with genai.Client(api_key="any", http_options=options) as google:
        config = types.GenerateContentConfig(max_output_tokens=12, temperature=0)
        gemini = google.models.generate_content(model="agentroute-auto", contents=ASK[0]["content"], config=config)
    assert responses.output_text
    assert responses.output_text == message.content[0].text == streamed == gemini.text
    assert responses.usage is not None
    assert responses.usage.output_tokens == message.usage.output_tokens > 0
