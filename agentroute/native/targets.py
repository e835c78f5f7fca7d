"""What a pool may hold, as a person writes it: targets of ours, `"provider/model"`, and a framework's ready models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from agentroute.errors import ConfigError
from agentroute.providers import NATIVE
from agentroute.providers.keys import looks_like_key
from agentroute.targets import Target, Tier

__all__ = ["NATIVE", "NativeTarget", "read_targets", "wrapped"]

Model = TypeVar("Model")

_TIERS = frozenset(tier.value for tier in Tier)

_WRAPPERS = {
    "langchain_core": "langchain_agentroute.native(model)",
    "crewai": "crewai_agentroute.native(llm)",
    "llama_index": "llama_index.llms.agentroute.native(llm)",
}


@dataclass(frozen=True, slots=True)
class NativeTarget(Generic[Model]):
    """A ready model of a framework, prepared for a pool, and the target (dialect `native`) that stands for it.

    An integration's `native` makes it: own retries off, usage asked for, connections for each event loop.
    """

    model: Model
    target: Target


def read_targets(targets: Mapping[str, Any] | Iterable[Any]) -> tuple[tuple[Target, ...], dict[str, Any]]:
    """The targets of a pool, and the framework's model behind each native one, by the target's name.

    A text `"provider/model"` is a target of that name. A dict's keys are the names; a key that is a tier's name sets
    the tier too, and an explicit name stays. Raises ConfigError for anything that is no target, and if a key names one
    tier (or target) and its value another.

    >>> read_targets(["openai/gpt-4.1-nano"])[0][0].model
    'gpt-4.1-nano'
    """
    if isinstance(targets, Mapping):
        entries = [_keyed(key, _entry(value)) for key, value in targets.items()]
    elif isinstance(targets, Iterable) and not isinstance(targets, str | bytes):
        entries = [_entry(value) for value in targets]
    else:
        what = f"the target {targets.name!r}" if isinstance(targets, Target) else f"a {type(targets).__name__}"
        raise ConfigError(f"`targets` is {what}; give a list of targets, or a dict of names to targets")
    models = {entry.target.name: entry.model for entry in entries if isinstance(entry, NativeTarget)}
    return tuple(entry.target if isinstance(entry, NativeTarget) else entry for entry in entries), models


def wrapped(targets: Any, native: Callable[[Any], NativeTarget[Any]]) -> Any:
    """The same list or dict with the framework's bare ready models wrapped, so that a Router can read it."""

    def wrap(value: Any) -> Any:
        return value if isinstance(value, str | Target | NativeTarget) else native(value)

    if isinstance(targets, Mapping):
        return {key: wrap(value) for key, value in targets.items()}
    if isinstance(targets, Iterable) and not isinstance(targets, str | bytes):
        return [wrap(value) for value in targets]
    return targets


def _entry(value: Any) -> Target | NativeTarget[Any]:
    if isinstance(value, NativeTarget):
        return value
    if isinstance(value, str):
        provider, _, model = value.partition("/")
        if not provider or not model:
            shown = "that looks like a key" if looks_like_key(value) else repr(value)
            raise ConfigError(f"the target {shown} names no model; write 'provider/model', like 'openai/gpt-6-luna'")
        return Target(name=value, provider=provider, model=model)
    if isinstance(value, Target):
        if value.dialect == NATIVE:
            raise ConfigError(f"target {value.name!r} is native and has no model; use native(model, name=...)")
        return value
    homes = {kind.__module__.partition(".")[0] for kind in type(value).__mro__}
    wrapper = next((wrapper for home, wrapper in _WRAPPERS.items() if home in homes), None)
    remedy = f"wrap it: {wrapper}" if wrapper else "give a Target, 'provider/model' or native(model)"
    raise ConfigError(f"a pool cannot hold a {type(value).__name__}; {remedy}")


def _keyed(key: str, entry: Target | NativeTarget[Any]) -> Target | NativeTarget[Any]:
    target = entry.target if isinstance(entry, NativeTarget) else entry
    named = target.name not in (target.model, f"{target.provider}/{target.model}")
    if key in _TIERS:
        tier: Tier | None = Tier(key)
        if target.tier not in (None, tier):
            raise ConfigError(f"the key {key!r} names one tier and its target another ({target.tier.value})")
        name = target.name if named else key
    else:
        if named and target.name != key:
            raise ConfigError(f"the key {key!r} and its target's own name {target.name!r} differ; give one of them")
        tier, name = target.tier, key
    target = replace(target, name=name, tier=tier)
    return replace(entry, target=target) if isinstance(entry, NativeTarget) else target
