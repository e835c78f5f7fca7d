"""Whatever a provider answers, a client gets an answer or an error of its dialect, and the gateway never breaks."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import pytest

from agentroute.testing import Fault, ScriptedProvider
from tests.attacks.test_fuzz import mutated, streamed, whole

from .doors import DIALECTS, Client

EACH = int(os.environ.get("AGENTROUTE_FUZZ", "480")) // len(DIALECTS) ** 2
"""Answers of a dialect through a door, half of them streamed; AGENTROUTE_FUZZ sets how many there are in all."""


def answers(dialect: str, stream: bool, chance: random.Random) -> Fault:
    if not stream:
        body = json.dumps(mutated(whole(dialect), chance)).encode("utf-8", "surrogatepass")
        return Fault.raw(body)
    sent = streamed(dialect)
    for _ in range(chance.choice((1, 1, 2))):
        at = chance.randrange(len(sent))
        sent[at] = (sent[at][0], mutated(sent[at][1], chance))
    lines = [f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in sent]
    if chance.random() < 0.2:
        del lines[chance.randrange(len(lines)) :]
    return Fault.raw("".join(lines).encode(), content_type="text/event-stream")


@pytest.mark.parametrize("upstream", DIALECTS)
async def test_a_broken_answer_is_never_a_broken_gateway(opened: Any, door: Client, upstream: str, caplog: Any) -> None:
    chance = random.Random(f"{door.dialect} {upstream}")
    with ScriptedProvider("hello", fault=lambda request: answers(upstream, request.stream, chance)) as provider:
        client = await opened([provider.target(model="m", tier="mid", dialect=upstream)])
        for number in range(EACH):
            stream = number % 2 == 1
            answer = await client.post(door.path(stream), json=door.body(stream=stream))
            for text in _texts(answer):
                json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} was sent"))
            if answer.status_code != 200:
                assert answer.status_code != 500, answer.text
                assert door.error(answer.json())["message"]
            assert "the gateway failed" not in caplog.text, caplog.text[-3000:]


def _texts(answer: Any) -> list[str]:
    """Each JSON text of an answer, whole or streamed."""
    if answer.headers["content-type"] == "application/json":
        return [answer.text]
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n") if line.startswith("data: ")]
    return [line for line in lines if line != "[DONE]"]
