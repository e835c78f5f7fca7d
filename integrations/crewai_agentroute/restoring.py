"""What the handles of one router share, and how it comes back after CrewAI has written an agent down as data."""

from __future__ import annotations

import secrets
import weakref
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from agentroute import Capabilities, ConfigError, Price, Router, Target
from agentroute.native.targets import NATIVE
from agentroute.providers.keys import Secret
from agentroute.targets import PriceStep

__all__ = ["Shared"]


class Shared:
    """A router, or why there is none. Never copied, so that copies of a handle share it.

    The latest of a `name` is the one that is found by it.
    """

    def __init__(self, router: Router | None, name: str | None = None) -> None:
        self._router = router
        self._name = name
        self._problem = ""
        self._id = secrets.token_hex(16)
        _here[self._id] = self
        if name is not None:
            _by_name[name] = self

    @property
    def router(self) -> Router:
        """Raises ConfigError where it could not be restored."""
        if self._router is None:
            raise ConfigError(self._problem)
        return self._router

    @classmethod
    def lost(cls, problem: str) -> Shared:
        """One without a router: every use raises ConfigError with this text."""
        made = cls(None)
        made._problem = problem
        return made

    def written(self) -> dict[str, Any]:
        """The router as plain data: targets, strategy, baseline, budget, and of keys the names of their variables.

        Within this process the id alone leads back to the same router, with all that it holds.
        """
        data: dict[str, Any] = {"id": self._id, "name": self._name}
        if self._router is not None:
            data |= {"strategy": self._router.strategy, "baseline": self._router.baseline.name}
            data["budget"] = None if self._router.budget is None else self._router.budget.to_dict()
            data["targets"] = [_written(target) for target in self._router.pool]
        return data

    @classmethod
    def restored(cls, data: Mapping[str, Any]) -> Shared:
        """The router itself if it is still here, else that of its name, else one of the same targets, with nothing in
        its ledger."""
        name = data.get("name")
        known = _here.get(str(data.get("id"))) or (None if name is None else _by_name.get(name))
        if known is not None:
            return known
        targets = data.get("targets") or ()
        lost = [target["name"] for target in targets if target["dialect"] == NATIVE]
        if lost or not targets:
            return cls.lost(
                f"this agent was restored, and the LLM behind its target {(lost or ['?'])[0]!r} was not written down; "
                f"make the RoutedLLM in this process first, with the same router_name as there, or give the crew its "
                f"router again: route_crew(crew, router)"
            )
        pool = [_read(target) for target in targets]
        router = Router(pool, strategy=data["strategy"], baseline=data["baseline"], budget=data.get("budget"))
        return cls(router, name)

    def __copy__(self) -> Shared:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Shared:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        for name in self._router.models if self._router is not None else ():
            raise ConfigError(
                f"target {name!r} is a CrewAI LLM, which holds a key and connections and cannot be pickled; "
                f"build the RoutedLLM anew in the other process, or give the target as an agentroute Target"
            )
        return (Shared.lost, (self._problem,)) if self._router is None else (Shared, (self._router, self._name))


_here: weakref.WeakValueDictionary[str, Shared] = weakref.WeakValueDictionary()
_by_name: weakref.WeakValueDictionary[str, Shared] = weakref.WeakValueDictionary()

_PLAIN = (
    "name",
    "provider",
    "model",
    "base_url",
    "context_window",
    "max_input_tokens",
    "max_output_tokens",
    "cache_ttl_s",
    "dialect",
)


def _written(target: Target) -> dict[str, Any]:
    data: dict[str, Any] = {name: getattr(target, name) for name in _PLAIN}
    data["tier"] = None if target.tier is None else target.tier.value
    data["tier_inferred"] = target.tier_inferred
    data["dialect_given"] = target.dialect_given
    data["capabilities"] = asdict(target.capabilities)
    data["settings"] = dict(target.settings)
    keys = [] if target.api_key is None else [target.api_key, *target.spare_keys]
    data["keys"] = [key.env_name for key in keys]
    data["usual_keys"] = [key.env_name for key in target.usual_keys]
    # A price of the catalog's is read there again, with what answers do to it.
    own = target.price is not None and target.price.as_of is None and not target.price.modifiers
    data["price"] = _price(target.price) if target.price is not None and own else None
    return data


_RATES = ("input", "output", "cache_read", "cache_write", "cache_write_1h", "cache_write_12h")
_OF_A_PRICE = (*_RATES, "steps", "source")


def _price(price: Price) -> dict[str, Any]:
    data = {name: value for name, value in asdict(price).items() if name in _OF_A_PRICE}
    for rates in (data, *data["steps"]):
        for name in _RATES:
            rates[name] = None if rates.get(name) is None else str(rates[name])
    return {**data, "steps": list(data["steps"])}


def _read(data: Mapping[str, Any]) -> Target:
    price = data["price"]
    if price is not None:
        price = Price(**{**price, "steps": tuple(PriceStep(**step) for step in price["steps"])})
    target = Target(
        **{name: data[name] for name in _PLAIN},
        tier=data["tier"],
        tier_inferred=data["tier_inferred"],
        dialect_given=data["dialect_given"],
        capabilities=Capabilities(**data["capabilities"]),
        settings=data["settings"],
        price=price,
        usual_keys=tuple(Secret.env(name) for name in data["usual_keys"]),
    )
    # A key that was a literal has no name: what it leaves raises, with the remedy, when it is used.
    keys = tuple(Secret._of(None, name) for name in data["keys"])
    return replace(target, api_key=keys[0], spare_keys=keys[1:]) if keys else target
