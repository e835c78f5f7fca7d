"""A real model as the weak target of a shadow: llama.cpp with a 135M model, asked about recorded steps once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentroute import Router, Target
from agentroute.learning.samples import sampled
from agentroute.learning.screening import screened
from agentroute.learning.shadow import Shadow, State, offer
from tests.smollm2 import smollm2

pytestmark = pytest.mark.requires("smollm2")


def test_it_is_asked_compared_and_licensed_for_nothing(tmp_path: Path) -> None:
    lines = []
    for number in range(3):
        ask = {"role": "user", "content": f"How much is {number} plus {number}? Answer with the number alone."}
        answer = {"role": "assistant", "content": str(2 * number)}
        request = {"messages": [ask], "max_tokens": 8, "temperature": 0}
        response = {"model": "strong-1", "choices": [{"index": 0, "message": answer}]}
        lines.append({"conversation_id": f"c{number}", "role": "sums", "request": request, "response": response})
    traces = tmp_path / "traces.jsonl"
    traces.write_text("\n".join(map(json.dumps, lines)))
    found = sampled([traces])
    with smollm2() as url:
        local = Target(
            name="local",
            provider="llamacpp",
            model="smollm2",
            tier="budget",
            base_url=url,
            price={"input": 0, "output": 0},
        )
        with Router([local]) as router:
            assert offer(found.samples, router.pool, ["local"], models=found.models).usd == 0
            state = State(tmp_path / "shadow.jsonl")

            def ask_local(request: object, target: Target) -> object:
                return router.complete(request, constraints={"target": target.name, "max_attempts": 1})  # type: ignore[arg-type]

            counts = Shadow(router.pool, ask_local, state, parallel=1).run(found.samples, ["local"])  # type: ignore[arg-type]
    assert counts["answered"] == 3
    assert all(each.shown for each in state.answered.values())
    (row,) = screened(state.answered.values())
    assert (row.form, row.word, row.conversations) == ("one-shot", "too few", 3)
