"""Whether what an operator has set fits the pool that is served: names that nothing has, bounds that nothing meets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agentroute.decisions import Constraints
from agentroute.errors import ConfigError, UnknownTarget, nearest
from agentroute.messages import ChatRequest
from agentroute.providers import PROVIDERS
from agentroute.router import Router
from agentroute.routing.selection import pinned
from agentroute.targets import Target

from .names import meaning
from .settings import ClientKey, GatewaySettings

__all__ = ["check", "doubts", "elsewhere"]


def check(settings: GatewaySettings, router: Router) -> None:
    """Raises ConfigError for a provider or a model that is named in the settings and nowhere else: found at a client's
    first call, it would be that client's puzzle."""
    problems = [*_providers(settings, router), *_models(settings, router)]
    if problems:
        raise ConfigError("; ".join(problems))


def doubts(settings: GatewaySettings, router: Router) -> Iterator[str]:
    """What may be meant so, and probably is not."""
    for key in settings.keys:
        if not any(_within(target, key) for target in router.pool):
            yield f"gateway: no target of the pool is within the bounds of the key {key.name!r}, so it can call nothing"
    if settings.own_keys:
        for target in router.pool:
            if elsewhere(target):
                yield (
                    f"gateway: own_keys: no key of a client's own is taken for {target.provider!r}, since the target "
                    f"{target.name!r} has another address than that provider"
                )


def elsewhere(target: Target) -> bool:
    """Whether the target stands at another address than its provider's: nobody gave their key for that one."""
    known = PROVIDERS.get(target.provider)
    usual = None if known is None else known.endpoint(target.dialect).base_url
    return usual is not None and (target.base_url or target.endpoint.base_url) != usual


def _providers(settings: GatewaySettings, router: Router) -> Iterator[str]:
    known = sorted({*PROVIDERS, *(target.provider for target in router.pool)})
    for key in settings.keys:
        for name in key.providers or ():
            if name not in known:
                near = nearest(name, known) or f"; known are {', '.join(known)}"
                yield f"gateway.key {key.name!r}: no provider is named {name!r}{near}"


def _models(settings: GatewaySettings, router: Router) -> Iterator[str]:
    for name, meant in settings.models.items():
        try:
            word, _ = meaning(meant, _NOTHING, router)
            pinned(ChatRequest(messages=(), model=word), Constraints(), router.pool)
        except UnknownTarget as error:
            yield f"gateway.models: {name!r} stands for {meant!r}: {error}"


_NOTHING: Final[dict[str, str]] = {}


def _within(target: Target, key: ClientKey) -> bool:
    fits = key.max_tier is None or target.tier is None or target.tier <= key.max_tier
    return fits and (key.providers is None or target.provider in key.providers)
