"""Predicts P(tier suffices) from features and weights that are plain data. No training code, no numpy.

P(tier) = sigmoid(threshold[tier] - difficulty), difficulty = caution + sum of weight x feature. The thresholds rise
with the tier, so P never falls: monotone by construction.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from agentroute.decisions import StepKind
from agentroute.errors import ConfigError
from agentroute.targets import Tier

from .step import Step
from .task import Work

__all__ = ["FEATURES", "Weights", "features"]

_SAID = 0.25
"""A term whose part of the difficulty (logits) is at least this is named among the reasons."""


def features(step: Step, work: Work) -> dict[str, float]:
    """The features by name; all are counts or shares, 0 where there is nothing to say. Structure only: no words."""
    in_loop = step.steps_in_turn > 0 and step.last_action != "none"
    overlap = step.tool_overlap
    return {
        "source_loop": float(work.on_source),
        "tool_loop": float(in_loop and not work.on_source),
        "code_ask": min(step.code / 0.4, 1.0) if not in_loop else 0.0,
        "maths": min(step.maths * 3.0, 1.0) if not in_loop else 0.0,
        "text_given": float(work.text_given and step.code < 0.1 and step.maths < 0.1),
        "more_intents": float(min(max(step.n_intents - 1, 0), 4)) if step.n_tools and not work.on_source else 0.0,
        "off_tools": max(1.0 - 2.0 * overlap, 0.0) if overlap is not None and step.n_tools and not in_loop else 0.0,
        "steps_in_turn": float(min(step.steps_in_turn, 20)) if step.errors_recent else 0.0,
        "failed": float(step.errors_last > 0),
        "streak": float(min(max(step.error_streak - 1, 0), 3)),
        "repeats": float(min(step.repeats, 2)),
        "spinning": float(step.spinning),
        "vision": float(step.needs_vision),
        "form": float(step.kind is StepKind.STRUCTURED),
        "final": float(step.kind is StepKind.FORCED_FINAL),
        "hand_over": float(step.kind is StepKind.DELEGATE),
    }


FEATURES = (
    "source_loop",
    "tool_loop",
    "code_ask",
    "maths",
    "text_given",
    "more_intents",
    "off_tools",
    "steps_in_turn",
    "failed",
    "streak",
    "repeats",
    "spinning",
    "vision",
    "form",
    "final",
    "hand_over",
)


@dataclass(frozen=True, slots=True)
class Weights:
    """One artefact: thresholds from budget to premium, and a (feature, weight, reason) for each term.

    `ceiling` bounds the difficulty: where nothing is likely to suffice, the tiers must still differ, or the least cost
    would decide.
    """

    version: str
    thresholds: tuple[float, float, float, float]
    caution: float
    ceiling: float
    terms: tuple[tuple[str, float, str], ...]

    def predict(self, values: Mapping[str, float]) -> tuple[tuple[float, float, float, float], tuple[str, ...]]:
        """P(tier suffices) for the four tiers, and the reasons that weighed, in the artefact's order."""
        difficulty = self.caution
        said: list[str] = []
        for name, weight, because in self.terms:
            value = values[name]
            if value:
                part = weight * value
                difficulty += part
                if abs(part) >= _SAID:
                    said.append(because)
        difficulty = min(difficulty, self.ceiling)
        budget, mid, standard, premium = (1.0 / (1.0 + math.exp(difficulty - at)) for at in self.thresholds)
        return (budget, mid, standard, premium), tuple(said)

    @classmethod
    @cache
    def shipped(cls) -> Weights:
        """The prior that ships with agentroute (`weights/prior.json`, with its card)."""
        text = resources.files(__package__).joinpath("weights", "prior.json").read_text(encoding="utf-8")
        return cls.from_dict(json.loads(text), "weights/prior.json")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str) -> Weights:
        """Reads an artefact. Raises ConfigError for unknown features, numbers that are none, or falling thresholds."""
        try:
            at = [float(data["thresholds"][tier.value]) for tier in Tier]
            terms = tuple((str(t["feature"]), float(t["weight"]), str(t["because"])) for t in data["terms"])
            caution, version = float(data["caution"]), str(data["version"])
            ceiling = float(data["ceiling"])
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{where}: {type(error).__name__}: {error}") from None
        unknown = [name for name, _, _ in terms if name not in FEATURES]
        if unknown:
            raise ConfigError(f"{where}: unknown feature {unknown[0]!r}; known are {', '.join(FEATURES)}")
        if sorted(at) != at or not all(math.isfinite(x) for x in (*at, caution, ceiling, *(w for _, w, _ in terms))):
            raise ConfigError(f"{where}: thresholds must be finite and rise from budget to premium, weights be finite")
        return cls(version, (at[0], at[1], at[2], at[3]), caution, ceiling, terms)
