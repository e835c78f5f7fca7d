"""Which target a recorded model's name stands for: one of the pool, else what the catalog knows by that name."""

from __future__ import annotations

from agentroute.catalog import maker_of, resolve
from agentroute.errors import AgentRouteError
from agentroute.providers import PROVIDERS
from agentroute.targets import Pool, Target

__all__ = ["Models"]


class Models:
    """Looks each name up once."""

    def __init__(self, pool: Pool | None = None) -> None:
        self._pool = () if pool is None else tuple(pool)
        self._known: dict[str, Target | None] = {}

    def named(self, model: str | None) -> Target | None:
        """The target, with its price if that is known; None for a name that nobody knows."""
        if model is None:
            return None
        if model not in self._known:
            self._known[model] = self._find(model)
        return self._known[model]

    def _find(self, model: str) -> Target | None:
        for target in self._pool:
            if model in (target.name, target.model, f"{target.provider}/{target.model}"):
                return target
        provider, _, rest = model.partition("/")
        name = model
        if provider in PROVIDERS and rest:
            name = rest
        else:
            provider = maker_of(model.rsplit("/", 1)[-1]) or ""
            name = model.rsplit("/", 1)[-1]
        if not provider:
            return None
        try:
            return resolve(Target(provider=provider, model=name, name=model))
        except AgentRouteError:
            return None
