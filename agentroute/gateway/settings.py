"""What an operator may set: where the gateway listens, who may ask, and how much one request may take."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final, get_args

from agentroute.decisions import Strategy
from agentroute.errors import ConfigError, nearest
from agentroute.ledger import Budget, Limit
from agentroute.targets import Tier

__all__ = ["ClientKey", "GatewaySettings", "hash_key", "is_loopback"]


def hash_key(key: str) -> str:
    """What is kept of a client's key: SHA-256, in hex. The keys are long and random, so no salt is needed.

    >>> hash_key("ar-1")[:8]
    'c666e595'
    """
    return hashlib.sha256(key.encode()).hexdigest()


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach the address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class ClientKey:
    """One client's key, as its hash, and what may be done with it. None allows everything.

    `rate_per_minute` counts requests, `concurrency` those that run at the same time; `budget` is what may be spent with
    it. `name` stands in logs and records, and is the `key` of each step's context; the key itself stands nowhere.
    `metrics` lets it read /metrics, which shows the targets and the money of all keys. Raises ConfigError for what is
    no hash, strategy, tier or count.
    """

    name: str
    sha256: str = field(repr=False)
    strategies: tuple[Strategy, ...] | None = None
    max_tier: Tier | None = None
    providers: tuple[str, ...] | None = None
    rate_per_minute: int | None = None
    concurrency: int | None = None
    budget: Limit | None = None
    metrics: bool = False

    def __post_init__(self) -> None:
        where = f"client key {self.name!r}"
        if not _HASH.fullmatch(self.sha256):
            raise ConfigError(f"{where}: sha256 is no hash; give what `agentroute serve --new-key NAME` prints")
        for word in self.strategies or ():
            if word not in get_args(Strategy):
                near = nearest(word, get_args(Strategy)) or ";"
                raise ConfigError(f"{where}: {word!r} is no strategy{near} use {', '.join(get_args(Strategy))}")
        if self.max_tier is not None:
            object.__setattr__(self, "max_tier", Tier.parse(self.max_tier))
        _counts(self, where, "rate_per_minute", "concurrency")

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> ClientKey:
        lists = {name: tuple(facts[name]) for name in ("strategies", "providers") if facts.get(name) is not None}
        budget = facts.get("budget")
        return cls(**{**facts, **lists, "budget": None if budget is None else Limit.of(budget)})


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Where and how the gateway serves. Sizes are bytes, times seconds.

    `models` gives further names that clients may ask for what they stand for (`{"gpt-4o": "auto"}`; `"*"` stands for
    every name that is not known). `hold_s` is how long a stream's headers wait for the first content: until then a
    failure is an HTTP status. `keep_alive_s` is the silence after which a comment is sent, if the client survives it.
    `own_keys` lets a client bring its own key of a provider in the header `x-agentroute-key-PROVIDER`. A request has
    `body_s` for its headers, and again for its body. Raises ConfigError for an address that is open to other machines
    while no key is asked for, and for numbers that are none.
    """

    host: str = "127.0.0.1"
    port: int = 4180
    keys: tuple[ClientKey, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    cors_origins: tuple[str, ...] = ()
    own_keys: bool = False
    max_body: int = 32 * 1024 * 1024
    max_headers: int = 64 * 1024
    max_depth: int = 100
    body_s: float = 30.0
    hold_s: float = 45.0
    keep_alive_s: float = 15.0
    max_connections: int = 2_000
    drain_s: float = 30.0
    kept_decisions: int = 2_000
    kept_answers: int = 64 * 1024 * 1024

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> GatewaySettings:
        """The settings of a config file (`config.load_gateway`)."""
        keys = tuple(ClientKey.of(key) for key in facts.get("keys", ()))
        origins = tuple(facts.get("cors_origins", ()))
        return cls(**{**facts, "keys": keys, "cors_origins": origins})

    @property
    def budget(self) -> Budget | None:
        """What the keys may spend, each its own; None if none of them has a limit."""
        limits = {key.name: key.budget for key in self.keys if key.budget is not None}
        return Budget(key=limits) if limits else None

    def __post_init__(self) -> None:
        _counts(self, "gateway", "max_body", "max_headers", "max_depth", "max_connections")
        _counts(self, "gateway", "body_s", "hold_s", "keep_alive_s", "drain_s", kinds=(int, float))
        if not is_loopback(self.host) and not self.keys:
            raise ConfigError(
                f"host {self.host!r} is open to other machines, and no client key is set; add [[gateway.key]] "
                f"(`agentroute serve --new-key NAME` makes one), or listen on 127.0.0.1"
            )
        names = [key.name for key in self.keys]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ConfigError(f"two client keys are named {sorted(twice)[0]!r}; give each its own name")


def _counts(held: Any, where: str, *names: str, kinds: tuple[type, ...] = (int,)) -> None:
    for name in names:
        value = getattr(held, name)
        if value is not None and (type(value) not in kinds or not 0 < value < math.inf):
            what = "whole number" if kinds == (int,) else "number"
            raise ConfigError(f"{where}: {name} is {value!r}; give a {what} above 0")


_HASH: Final = re.compile("[0-9a-f]{64}")
