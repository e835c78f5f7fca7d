"""The request shapes of real client programs through the gateway, to an upstream of each dialect: nothing gets lost."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
EVAL = runpy.run_path(str(ROOT / "evals" / "shapes.py"))
OWN = EVAL["shapes"]()
RECORDED = EVAL["shapes"](ROOT.parent / "shared" / "clients")


@pytest.mark.parametrize("upstream", EVAL["UPSTREAMS"])
@pytest.mark.parametrize("shape", OWN, ids=str)
async def test_nothing_of_a_shape_gets_lost(shape: Any, upstream: str) -> None:
    await nothing_is_lost(shape, upstream)


@pytest.mark.requires("shared")
@pytest.mark.parametrize("upstream", EVAL["UPSTREAMS"])
@pytest.mark.parametrize("client", sorted({shape.client for shape in RECORDED}) or ["none"])
async def test_nothing_of_a_recorded_shape_gets_lost(client: str, upstream: str) -> None:
    for shape in RECORDED:
        if shape.client == client:
            await nothing_is_lost(shape, upstream)


async def nothing_is_lost(shape: Any, upstream: str) -> None:
    status, text, lost = await EVAL["sent"](shape, upstream)
    if EVAL["only_anthropic"](shape) and upstream != "anthropic_messages":
        assert status == 400
        assert "web_search" in text
    else:
        assert (status, lost) == (200, []), f"{shape}: {text[:500]}"


BODY = {
    "input": [{"role": "user", "content": "go on"}, {"type": "function_call_output", "call_id": "c", "output": "x"}],
    "tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]}, {"type": "web_search"}],
    "max_output_tokens": 7,
    "tool_choice": "required",
}
ARRIVED = {
    "messages": [{"role": "user", "content": "go on"}, {"role": "tool", "tool_call_id": "c", "content": "x"}],
    "tools": [{"type": "function", "function": {"name": "n__f"}}],
    "max_completion_tokens": 7,
    "tool_choice": "required",
}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, []),
        ({"tools": []}, ["1 of 1 functions"]),
        ({"messages": ARRIVED["messages"][1:]}, ["the text 'go on'"]),
        ({"messages": ARRIVED["messages"][:1]}, ["1 tool results became 0"]),
        ({"max_completion_tokens": 8}, ["limit 7 became 8"]),
        ({"tool_choice": "auto"}, ["choice 'required' became 'auto'"]),
    ],
    ids=["nothing", "a tool", "a text", "a result", "a limit", "a choice"],
)
def test_what_is_lost_is_noticed(change: dict[str, Any], told: list[str]) -> None:
    shape = EVAL["Shape"]("x", 0, {"kind": "turn", "dialect": "openai_responses", "body": BODY})
    assert EVAL["lost"](shape, "openai_chat", {**ARRIVED, **change}) == told
