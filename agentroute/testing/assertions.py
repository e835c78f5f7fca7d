"""assert_route: what a suite says about a decision, with the whole decision shown where it is not so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentroute.decisions import Constraints, Decision, StepContext, StepKind, Task
from agentroute.messages import ChatRequest
from agentroute.targets import Tier

if TYPE_CHECKING:
    from agentroute.router import Router

__all__ = ["assert_route"]


def assert_route(
    routed: Router | Decision,
    request: ChatRequest | Mapping[str, Any] | Sequence[Any] | str | None = None,
    *,
    context: StepContext | None = None,
    constraints: Constraints | Mapping[str, Any] | None = None,
    target: str | None = None,
    tier: str | Tier | None = None,
    min_tier: str | Tier | None = None,
    max_tier: str | Tier | None = None,
    step_kind: str | StepKind | None = None,
    task: str | Task | None = None,
    because: str | Iterable[str] | None = None,
    dropped: str | Mapping[str, str] | None = None,
) -> Decision:
    """Asserts what a router would decide for a request, or what it has decided. Nothing is sent anywhere.

    Args:
        routed: a router, with a request; or a decision, without one.
        request: the text of a user message, a list of messages, an OpenAI chat-completions body, or a ChatRequest.
        context, constraints: as for `Router.route`.
        target: the name of the target that would be called first.
        tier, min_tier, max_tier: its tier.
        step_kind, task: what the step was taken for, as a member or its value (`"after_error"`).
        because: text, or several, each of which stands in a reason (of the decision, or of the chosen candidate),
            whatever its case.
        dropped: the name of a target that was filtered out, or names with a piece of the reason each.

    Returns:
        The decision, for whatever else there is to say about it.

    Raises:
        AssertionError: lists everything that is not so, then the decision: reasons, candidates with costs, dropped.
        TypeError: a router without a request, a decision with one, or nothing to assert.

    >>> assert_route(router, "hello", max_tier="mid", because="greeting")  # doctest: +SKIP
    """
    __tracebackhide__ = True
    expected = (target, tier, min_tier, max_tier, step_kind, task, because, dropped)
    if all(value is None for value in expected):
        raise TypeError("assert_route has nothing to assert; give a target, a tier, a step_kind, a reason, ...")
    decision = _decide(routed, request, context, constraints)
    wrong = [
        *_differences("target", decision.target, target),
        *_differences("tier", decision.tier.value, None if tier is None else Tier.parse(tier).value),
        *_tier_bounds(decision.tier, min_tier, max_tier),
        *_differences("step_kind", decision.step_kind.value, None if step_kind is None else StepKind(step_kind).value),
        *_differences("task", decision.task.value, None if task is None else Task(task).value),
        *_missing_reasons(decision, because),
        *_missing_drops(decision, dropped),
    ]
    if wrong:
        listed = "\n".join(f"  - {line}" for line in wrong)
        raise AssertionError(f"the step was not routed as expected:\n{listed}\n{decision.explain()}")
    return decision


def _decide(
    routed: Router | Decision,
    request: ChatRequest | Mapping[str, Any] | Sequence[Any] | str | None,
    context: StepContext | None,
    constraints: Constraints | Mapping[str, Any] | None,
) -> Decision:
    if isinstance(routed, Decision):
        if request is not None or context is not None or constraints is not None:
            raise TypeError("a decision has been taken: give no request, context or constraints with it")
        return routed
    if request is None:
        raise TypeError("assert_route needs a request to route: a ChatRequest, an OpenAI body or a text")
    return routed.route(request, context=context, constraints=constraints)


def _differences(name: str, actual: str, expected: str | None) -> Iterator[str]:
    if expected is not None and actual != expected:
        yield f"{name} is {actual!r}, expected {expected!r}"


def _tier_bounds(actual: Tier, least: str | Tier | None, most: str | Tier | None) -> Iterator[str]:
    if least is not None and actual < Tier.parse(least):
        yield f"tier is {actual.value!r}, expected at least {Tier.parse(least).value!r}"
    if most is not None and actual > Tier.parse(most):
        yield f"tier is {actual.value!r}, expected at most {Tier.parse(most).value!r}"


def _missing_reasons(decision: Decision, because: str | Iterable[str] | None) -> Iterator[str]:
    given = [*decision.reasons, *(c.reason for c in decision.candidates if c.target == decision.target)]
    for text in (because,) if isinstance(because, str) else because or ():
        if not any(text.casefold() in reason.casefold() for reason in given):
            yield f"no reason says {text!r}"


def _missing_drops(decision: Decision, expected: str | Mapping[str, str] | None) -> Iterator[str]:
    reasons = {drop.target: drop.reason for drop in decision.dropped}
    for name, text in ({expected: ""} if isinstance(expected, str) else expected or {}).items():
        if name not in reasons:
            yield f"{name!r} was not dropped"
        elif text.casefold() not in reasons[name].casefold():
            yield f"{name!r} was dropped for another reason than {text!r}"
