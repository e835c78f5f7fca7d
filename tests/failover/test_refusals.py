"""Which settings a refusal names, and what is asked without them."""

from __future__ import annotations

from typing import Any

import pytest

from agentroute import InvalidRequest, ProviderError, Target, Unsupported
from agentroute.failover.refusals import Fitted, without_refused
from agentroute.messages import ChatRequest, Extra, Message, Sampling, Text

ASK = (Message("user", (Text("hello"),)),)


def refusal(text: str, param: str | None = None, status: int | None = 400) -> Unsupported:
    error = Unsupported(f"'a': the provider answered 400: {text}", status=status)
    error.param = param
    return error


def fitted(*, settings: dict[str, Any] | None = None, dialect: str = "openai_chat", **fields: Any) -> Fitted:
    target = Target(name="a", provider="loop", model="m", dialect=dialect, settings=settings)
    return Fitted(target, ChatRequest(ASK, **fields))


WARM = Sampling(temperature=0.2, top_p=0.9, stop=("x",), seed=3, max_output_tokens=9)


@pytest.mark.parametrize(
    ("error", "left"),
    [
        (refusal("`temperature` is deprecated for this model."), {"temperature": None}),
        (refusal("invalid temperature: only 1 is allowed"), {"temperature": None}),
        (refusal("temperature and top_p cannot both be used"), {"temperature": None, "top_p": None}),
        (refusal("Unknown name \"topP\" at 'generation_config'"), {"top_p": None}),
        (refusal("body.seed: Extra inputs are not permitted", "seed"), {"seed": None}),
        (refusal("Unrecognized request argument supplied: stop"), {"stop": ()}),
        (refusal("not supported", "stop_sequences"), {"stop": ()}),
    ],
)
def test_how_tokens_are_drawn(error: ProviderError, left: dict[str, Any]) -> None:
    again = without_refused(fitted(sampling=WARM), error)
    assert again is not None
    assert {name: getattr(again.request.sampling, name) for name in left} == left
    kept = {"temperature": 0.2, "top_p": 0.9, "stop": ("x",), "seed": 3, "max_output_tokens": 9} | left
    assert {name: getattr(again.request.sampling, name) for name in kept} == kept
    assert {change.split("`")[1] for change in again.changes} == set(left)


def test_what_was_only_passed_through() -> None:
    extra = Extra("openai_chat", {"min_p": 0.1, "reasoning_effort": "high", "n": 1})
    before = fitted(settings={"verbosity": "low", "reasoning_effort": "low"}, extra=extra)
    again = without_refused(before, refusal("Function tools with reasoning_effort are not supported"))
    assert again is not None
    assert (again.target.settings, again.request.extra) == (
        {"verbosity": "low"},
        Extra("openai_chat", {"min_p": 0.1, "n": 1}),
    )
    assert again.changes == ("`reasoning_effort` left out: the target refused it",)
    assert before.target.settings == {"verbosity": "low", "reasoning_effort": "low"}, "the caller's own is untouched"
    third = without_refused(again, refusal("'verbosity' is not supported"))
    assert third is not None
    assert len(third.changes) == 2


def test_one_field_of_a_setting() -> None:
    again = without_refused(
        fitted(settings={"thinking": {"type": "enabled", "budget_tokens": 9}}), refusal("thinking.budget_tokens: no")
    )
    assert again is not None
    assert again.target.settings == {"thinking": {"type": "enabled"}}


def test_the_switch_for_parallel_calls() -> None:
    again = without_refused(fitted(parallel_tool_calls=False), refusal("no", "parallel_tool_calls"))
    assert again is not None
    assert again.request.parallel_tool_calls is None


@pytest.mark.parametrize(
    ("before", "error"),
    [
        (fitted(), refusal("`temperature` is not supported")),
        (fitted(sampling=WARM), refusal("this organization has been disabled")),
        (fitted(sampling=WARM), refusal("a non-stop seeded user is not supported")),
        (fitted(sampling=WARM), refusal("`max_output_tokens` is not supported", "max_output_tokens")),
        (fitted(sampling=WARM), refusal("`temperature` is not supported", status=403)),
        (fitted(sampling=WARM), InvalidRequest("`temperature` is too warm", status=400)),
        (fitted(settings={"tools": [{"type": "web_search"}]}), refusal("`tools` is not supported", "tools")),
        (fitted(extra=Extra("gemini", {"min_p": 1})), refusal("`min_p` is not supported")),
        (fitted(sampling=WARM, dialect="native"), refusal("`temperature` is not supported")),
    ],
)
def test_nothing_that_may_be_left_out(before: Fitted, error: ProviderError) -> None:
    assert without_refused(before, error) is None
