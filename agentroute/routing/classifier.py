"""From a step to one prediction: rules where they are certain, else the learned head (role profiles come on top)."""

from __future__ import annotations

from typing import Protocol

from agentroute.decisions import Prediction
from agentroute.messages import ChatRequest

from .learned import Weights, features
from .rules import certain
from .step import Step
from .task import Work

__all__ = ["CAUTION", "Classifier", "StandardClassifier"]

CAUTION = ", so with caution"
"""What the reason ends with that only holds as long as no outcomes of the role are known."""

_NO_OUTCOMES = 0.7
"""Confidence is scaled by this while no outcome of the role that asks is known."""


class Classifier(Protocol):
    """Predicts which tiers suffice. Pure: the same step gives the same prediction; no I/O.

    `version` goes into every decision's `policy_version`.
    """

    @property
    def version(self) -> str: ...

    def predict(self, step: Step, request: ChatRequest) -> Prediction: ...


class StandardClassifier:
    """What ships: `rules.certain`, then the weights (default: the prior in `weights/`)."""

    def __init__(self, weights: Weights | None = None) -> None:
        self._weights = weights or Weights.shipped()

    @property
    def version(self) -> str:
        return self._weights.version

    def predict(self, step: Step, request: ChatRequest) -> Prediction:
        known = certain(step)
        if known is not None:
            return known
        work = Work.of(request, step)
        sufficiency, because = self._weights.predict(features(step, work))
        evidence = tuple(each.reason for each in step.evidence if each.failed)[:1]
        role = step.role or step.agent
        caution = f"no outcomes of the role {role!r} yet{CAUTION}" if role else f"the role is not known{CAUTION}"
        plain = because or ("nothing about the step says that it is hard or easy",)
        return Prediction(
            sufficiency=sufficiency,
            task=work.task,
            step_kind=step.kind,
            confidence=round(_NO_OUTCOMES * sum(abs(2.0 * p - 1.0) for p in sufficiency) / 4.0, 3),
            reasons=(*plain, *evidence, caution),
        )
