"""The names a client may put into `model`: the router's choice, a strategy, a tier, or one target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agentroute.errors import UnknownTarget, nearest
from agentroute.router import Router
from agentroute.targets import Tier

__all__ = ["AUTO", "listed", "meaning"]

AUTO: Final = "auto"
_CHOICE: Final = frozenset({"", AUTO, "agentroute", "agentroute-auto", "agentroute/auto"})
"""`agentroute-auto` is for the Gemini CLI, which keeps `auto` for Google's own."""

_STRATEGIES: Final = ("cheapest", "balanced", "best")
_TIERS: Final = tuple(tier.value for tier in Tier)


def meaning(model: str | None, names: Mapping[str, str], router: Router) -> tuple[str | None, dict[str, Any]]:
    """The model of the request (None leaves the choice to the router) and the constraints that its name stands for.

    `auto:cheapest` is a strategy, `tier:mid` a tier; anything else is a target's name or its model. Raises
    UnknownTarget for a word behind `auto:` or `tier:` that is none.
    """
    word = (model or "").removeprefix("models/")
    if word in names:
        word = names[word]
    elif "*" in names and not (_ours(word) or _known(word, router)):
        word = names["*"]
    if word in _CHOICE:
        return None, {}
    head, colon, rest = word.partition(":")
    if colon and head in _CHOICE and rest in _STRATEGIES:
        return None, {"strategy": rest}
    if head == "tier" and rest in _TIERS:
        return None, {"tier": rest}
    if colon and head in {*_CHOICE, "tier"} and not _known(word, router):
        words = [f"{head}:{each}" for each in (_TIERS if head == "tier" else _STRATEGIES)]
        kind = "tier" if head == "tier" else "strategy"
        raise UnknownTarget(f"{rest[:60]!r} is no {kind}{nearest(word, words) or ';'} known are {', '.join(words)}")
    return word, {}


def _ours(word: str) -> bool:
    head = word.partition(":")[0]
    return head in _CHOICE or head == "tier"


def _known(word: str, router: Router) -> bool:
    return word in router.pool or any(target.model == word for target in router.pool)


def listed(router: Router, names: Mapping[str, str]) -> list[str]:
    """Every name that a client may ask for, the router's choice first."""
    tiers = sorted({target.tier for target in router.pool if target.tier is not None})
    return [
        AUTO,
        "agentroute-auto",
        *(f"{AUTO}:{strategy}" for strategy in _STRATEGIES),
        *(f"tier:{tier.value}" for tier in tiers),
        *(target.name for target in router.pool),
        *(name for name in names if name != "*" and name not in router.pool),
    ]
