"""Targets that are a framework's own ready models: what every integration shares to take them into a pool."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from agentroute.errors import ConfigError
from agentroute.providers import NATIVE
from agentroute.targets import Target, Tier

__all__ = ["NATIVE", "NativeTarget", "check_models", "read_targets"]

Model = TypeVar("Model")

_TIERS = frozenset(tier.value for tier in Tier)


@dataclass(frozen=True, slots=True)
class NativeTarget(Generic[Model]):
    """A ready model of a framework and the target (dialect `native`) that stands for it in the pool.

    Made by an integration's `native`.
    """

    model: Model
    target: Target


def read_targets(
    targets: Mapping[str, Any] | Iterable[Any], native: Callable[[Any], NativeTarget[Model]]
) -> tuple[tuple[Target, ...], dict[str, Model]]:
    """The targets for a Router, and the framework's model behind each native one, by name.

    `targets` holds Targets, NativeTargets and ready models (which `native` wraps); a dict's keys are their names, and
    where a key is a tier's name, their tiers too. Raises ConfigError for anything that is no target, and where a key
    names one tier and its target another.
    """
    if isinstance(targets, Mapping):
        entries = [_named(key, _entry(value, native)) for key, value in targets.items()]
    elif isinstance(targets, Iterable) and not isinstance(targets, str | bytes):
        entries = [_entry(value, native) for value in targets]
    else:
        raise ConfigError(f"`targets` is a {type(targets).__name__}; give a list, or a dict of names to targets")
    models = {entry.target.name: entry.model for entry in entries if isinstance(entry, NativeTarget)}
    return tuple(entry.target if isinstance(entry, NativeTarget) else entry for entry in entries), models


def check_models(pool: Iterable[Target], models: Mapping[str, Any]) -> None:
    """Raises ConfigError where a native target has no model, or a model stands for a target that is not native."""
    for target in pool:
        if (target.dialect == NATIVE) != (target.name in models):
            raise ConfigError(f"target {target.name!r}: a native target, and no other, has its model in `models`")


def _entry(value: Any, native: Callable[[Any], NativeTarget[Model]]) -> Target | NativeTarget[Model]:
    if isinstance(value, Target):
        if value.dialect == NATIVE:
            raise ConfigError(f"target {value.name!r} is native and has no model; use native(model, name=...)")
        return value
    return value if isinstance(value, NativeTarget) else native(value)


def _named(key: str, entry: Target | NativeTarget[Model]) -> Target | NativeTarget[Model]:
    target = entry.target if isinstance(entry, NativeTarget) else entry
    tier = Tier(key) if key in _TIERS else target.tier
    if target.tier not in (None, tier):
        raise ConfigError(f"the key {key!r} names one tier and its target another ({target.tier.value})")
    target = Target(**{name: getattr(target, name) for name in Target.__slots__} | {"name": key, "tier": tier})
    return replace(entry, target=target) if isinstance(entry, NativeTarget) else target
