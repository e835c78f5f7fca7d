"""What can be called: tiers, prices, targets and the pool of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from enum import Enum
from os import PathLike
from typing import Any, Final

from agentroute.errors import ConfigError, UnknownTarget, nearest
from agentroute.providers import NO_AUDIO, PROVIDERS, Endpoint, Provider
from agentroute.providers.addresses import is_own, sends_in_the_clear, url_problem
from agentroute.providers.keys import KeyFunction, Secret, looks_like_key
from agentroute.providers.network import Cert, Network, Proxy

from .model_rules import UNKNOWN, ModelRules
from .prices import Price, PriceStep

__all__ = ["ABILITIES", "Capabilities", "Dominated", "Pool", "Price", "PriceStep", "Target", "Tier"]


class Tier(Enum):
    """How capable a target is, as four ranks. Compares by rank: `Tier.BUDGET < Tier.PREMIUM`."""

    BUDGET = "budget"
    MID = "mid"
    STANDARD = "standard"
    PREMIUM = "premium"

    def __init__(self, _: str) -> None:
        self.rank: int = len(type(self).__members__)
        """0 for budget to 3 for premium."""

    @classmethod
    def parse(cls, value: str | Tier) -> Tier:
        """A tier from its name. Raises ConfigError for any other."""
        if isinstance(value, Tier):
            return value
        try:
            return cls(value)
        except ValueError:
            raise ConfigError(f"{value!r} is no tier; use one of {', '.join(tier.value for tier in cls)}") from None

    def __lt__(self, other: object) -> bool:
        return self.rank < other.rank if isinstance(other, Tier) else NotImplemented

    def __le__(self, other: object) -> bool:
        return self.rank <= other.rank if isinstance(other, Tier) else NotImplemented

    def __gt__(self, other: object) -> bool:
        return self.rank > other.rank if isinstance(other, Tier) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return self.rank >= other.rank if isinstance(other, Tier) else NotImplemented


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model can do; None is not known, and is not held against it.

    `documents`: whether it reads files (PDF) that stand in a message; `audio`: whether it hears recordings there.
    """

    tools: bool | None = None
    vision: bool | None = None
    structured_output: bool | None = None
    reasoning: bool | None = None
    documents: bool | None = None
    audio: bool | None = None


ABILITIES: Final = tuple(each.name for each in fields(Capabilities))
"""The names of all abilities."""


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class Target:
    """A model we can call: provider, model and settings, under a name of the user's choice.

    Facts left out (tier, price, context window, capabilities) are filled from the catalog when the pool is built.
    `context_window` holds input and output; `max_input_tokens` is the most that the prompt alone may have, None if that
    is the window.
    `tier_inferred` says that the tier was read off the output price. `dialect` is the wire format (default: the one
    the provider is usually called in), or `native` for a model object that an integration calls itself. `provider` is a
    known name, or a `Provider` of your own. Several keys in `api_key`: the first is used, the others stand in when it
    is refused or used up. A key may be a function without arguments, plain or asynchronous, that returns it, alone or
    with the moment it expires (`Secret.call`): for tokens that are renewed. Without any, the provider's `usual_keys`
    are looked for in the environment, unless `base_url` leads elsewhere. `settings` are fields that every request to
    this target gets, unless it has its own (`{"thinking": {"type": "adaptive"}}`, `{"reasoning_effort": "low"}`): of
    the dialect that you named, else of the one its provider is usually called in. `rules` say what the model accepts;
    left out they are the catalog's, which also choose the dialect, if you named none (`dialect_given`). `proxy`,
    `verify` and `cert` say how its address is reached, if not as its provider or the router says: the address of an
    HTTP proxy (`"env:HTTPS_PROXY"`; `"direct"` for none), the path of the CA certificates to trust, the path of a
    client certificate or `(certificate, key)`.

    >>> Target(name="small", provider="openai", model="gpt-4.1-mini", tier="mid", api_key="env:OPENAI_API_KEY").tier
    <Tier.MID: 'mid'>
    """

    name: str
    provider: str
    model: str
    tier: Tier | None
    base_url: str | None
    api_key: Secret | None
    spare_keys: tuple[Secret, ...]
    usual_keys: tuple[Secret, ...]
    endpoint: Endpoint
    price: Price | None
    context_window: int | None
    max_input_tokens: int | None
    max_output_tokens: int | None
    capabilities: Capabilities
    cache_ttl_s: float | None
    dialect: str
    settings: Mapping[str, Any] = field(hash=False)
    rules: ModelRules = field(repr=False)
    tier_inferred: bool = field(default=False)
    dialect_given: bool = field(default=True)
    proxy: Proxy | None = field(default=None)
    verify: str | None = field(default=None)
    cert: Cert | None = field(default=None)

    def __init__(
        self,
        *,
        provider: str | Provider,
        model: str,
        name: str | None = None,
        tier: str | Tier | None = None,
        base_url: str | None = None,
        api_key: str | Secret | KeyFunction | Sequence[str | Secret | KeyFunction] | None = None,
        price: Price | Mapping[str, Any] | None = None,
        context_window: int | None = None,
        max_input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        capabilities: Capabilities | None = None,
        cache_ttl_s: float | None = None,
        dialect: str | None = None,
        settings: Mapping[str, Any] | None = None,
        rules: ModelRules | None = None,
        tier_inferred: bool = False,
        dialect_given: bool | None = None,
        spare_keys: tuple[Secret, ...] = (),
        usual_keys: tuple[Secret, ...] | None = None,
        endpoint: Endpoint | None = None,
        proxy: str | Secret | None = None,
        verify: str | PathLike[str] | None = None,
        cert: str | PathLike[str] | Sequence[str | PathLike[str]] | None = None,
    ) -> None:
        # First of all, so that no traceback of what follows can show a literal key among its locals.
        network, unfit = Network.read(proxy, verify, cert)
        proxy = None
        if api_key is not None and not isinstance(api_key, str | Secret) and not callable(api_key):
            keys = tuple(Secret.parse(key) for key in api_key)
            api_key, spare_keys = (keys[0] if keys else None), (*keys[1:], *spare_keys)
        api_key = None if api_key is None else Secret.parse(api_key)
        for key, text in (("provider", provider), ("model", model), ("name", name)):
            if isinstance(text, str) and looks_like_key(text):
                provider, model, name, text = "", "", None, None
                raise ConfigError(f"target `{key}` looks like a key; a key belongs into `api_key`, as 'env:NAME'")
        name = model if name is None else name
        if unfit is not None:
            raise ConfigError(f"target {name!r}: {unfit}")
        known = provider if isinstance(provider, Provider) else PROVIDERS.get(provider)
        if dialect_given is None:
            dialect_given = dialect is not None or endpoint is not None or isinstance(provider, Provider)
        if known is not None:
            network = network.under(known.network)
        if isinstance(provider, Provider):
            if provider.local and price is None and provider.name not in PROVIDERS:
                price = Price(Decimal(0), Decimal(0), source="runs locally")
            provider = provider.name
        if endpoint is None or (dialect is not None and endpoint.dialect != dialect):
            endpoint, problem = _endpoint(known, dialect)
            if problem is not None:
                raise ConfigError(f"target {name!r}: {problem}")
        for key, text in (("provider", provider), ("model", model), ("name", name)):
            if not isinstance(text, str) or not text:
                raise ConfigError(f"target `{key}` is {text!r}; give a non-empty text")
            if not text.isprintable():
                raise ConfigError(f"target `{key}` is {text!a}, which holds a sign that cannot be shown")
        for key, count in (
            ("context_window", context_window),
            ("max_input_tokens", max_input_tokens),
            ("max_output_tokens", max_output_tokens),
        ):
            if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count <= 0):
                raise ConfigError(f"target {name!r}: `{key}` is {count!r}; give a whole number above 0")
        seconds = cache_ttl_s is None or (isinstance(cache_ttl_s, int | float) and 0 <= cache_ttl_s < math.inf)
        if not seconds or isinstance(cache_ttl_s, bool):
            raise ConfigError(f"target {name!r}: `cache_ttl_s` is {cache_ttl_s!r}; give seconds, 0 or more")
        problem = None if base_url is None else url_problem(base_url, endpoint.parts)
        if problem is not None:
            base_url = None
            raise ConfigError(f"target {name!r}: `base_url` {problem}")
        if usual_keys is None:
            usual_keys = () if known is None else _usual_keys(known, base_url)
        in_the_clear = sends_in_the_clear(base_url or endpoint.base_url)
        if in_the_clear and endpoint.auth != "none" and (api_key is not None or usual_keys):
            raise ConfigError(
                f"target {name!r}: `base_url` is plain http to a public host, where anybody on the way could read the "
                f"key; use https, or leave the key out"
            )
        if isinstance(price, Mapping):
            price = Price.of(price)
        for key, value, kind in (
            ("price", price, Price),
            ("capabilities", capabilities, Capabilities),
            ("settings", settings, Mapping),
            ("rules", rules, ModelRules),
        ):
            if value is not None and not isinstance(value, kind):
                raise ConfigError(f"target {name!r}: `{key}` is {value!r}; give a {kind.__name__}")
        put = object.__setattr__
        put(self, "name", name)
        put(self, "provider", provider)
        put(self, "model", model)
        put(self, "tier", None if tier is None else Tier.parse(tier))
        put(self, "base_url", base_url)
        put(self, "api_key", api_key)
        put(self, "spare_keys", spare_keys)
        put(self, "usual_keys", usual_keys)
        put(self, "endpoint", endpoint)
        put(self, "price", price)
        put(self, "context_window", context_window)
        put(self, "max_input_tokens", max_input_tokens)
        put(self, "max_output_tokens", max_output_tokens)
        put(self, "capabilities", _lacking(capabilities or Capabilities(), endpoint.lacks))
        put(self, "cache_ttl_s", cache_ttl_s)
        put(self, "dialect", endpoint.dialect)
        put(self, "settings", dict(settings or {}))
        put(self, "rules", UNKNOWN if rules is None else rules)
        put(self, "tier_inferred", tier_inferred)
        put(self, "dialect_given", dialect_given)
        put(self, "proxy", network.proxy)
        put(self, "verify", network.verify)
        put(self, "cert", network.cert)

    @property
    def origin(self) -> str:
        """What a signature or an unknown field of its answers is bound to: `provider/model`."""
        return f"{self.provider}/{self.model}"

    @property
    def network(self) -> Network:
        """Its `proxy`, `verify` and `cert`."""
        return Network(self.proxy, self.verify, self.cert)

    def reached_as(self, wider: Network) -> Target:
        """This target, with what it does not say of `proxy`, `verify` and `cert` itself."""
        network = self.network.under(wider)
        return replace(self, proxy=network.proxy, verify=network.verify, cert=network.cert)

    @property
    def settings_dialect(self) -> str:
        """The dialect that `settings` are written in: the one given, else the one its provider is usually called in."""
        known = None if self.dialect_given else PROVIDERS.get(self.provider)
        return self.dialect if known is None else known.endpoint().dialect

    def each_key(self) -> tuple[Target, ...]:
        """This target with each of its keys alone, in order."""
        if not self.spare_keys:
            return (self,)
        keys = () if self.api_key is None else (self.api_key, *self.spare_keys)
        return tuple(replace(self, api_key=key, spare_keys=()) for key in keys)


def _endpoint(known: Provider | None, dialect: str | None) -> tuple[Endpoint, str | None]:
    """The way in that the provider has for this dialect, or what is wrong with the name."""
    try:
        return known.endpoint(dialect) if known is not None else Endpoint(dialect or "openai_chat"), None
    except ConfigError as error:
        return Endpoint(), str(error)


def _usual_keys(known: Provider, base_url: str | None) -> tuple[Secret, ...]:
    """The variables that hold this provider's key: for its own address, or for one where it has none (Azure)."""
    own = [(way.base_url, way.parts) for way in known.endpoints if way.base_url is not None]
    if base_url is not None and own and not any(is_own(base_url, url, parts) for url, parts in own):
        return ()
    return tuple(Secret.env(name) for name in known.key_names)


def _lacking(capabilities: Capabilities, lacks: Iterable[str]) -> Capabilities:
    """What the provider has for no model is not there, unless the user says that it is."""
    return replace(capabilities, **{name: False for name in lacks if getattr(capabilities, name) is None})


@dataclass(frozen=True, slots=True)
class Dominated:
    """By the facts of the pool `target` is never the first choice: `by` is of its tier or a higher one, costs no more
    at any size, and is known to do as much.

    A tier is a coarse measure, so `target` may be the better model all the same, or worth its place as a fallback.
    """

    target: str
    by: str


class Pool:
    """The targets a router may choose from, by name, in the order given.

    `strongest` is the dearest target of the top tier: what savings are counted against unless the user names another.
    Raises ConfigError for an empty pool, two targets of one name, or a target without a tier.
    """

    __slots__ = ("_by_name", "strongest", "targets")

    def __init__(self, targets: Iterable[Target]) -> None:
        self.targets = tuple(targets)
        self._by_name = {target.name: target for target in self.targets}
        if not self.targets:
            raise ConfigError("the pool is empty; give at least one target")
        if len(self._by_name) != len(self.targets):
            names = [target.name for target in self.targets]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ConfigError(f"two targets are named {twice[0]!r}; every name must be its own")
        for target in self.targets:
            if target.name == "auto":
                raise ConfigError("a target is named 'auto', which means that the router chooses; give another name")
            if target.tier is None:
                raise ConfigError(
                    f"target {target.name!r}: neither the catalog nor the price of {target.provider}/{target.model} "
                    f"tells its tier; give tier='budget', 'mid', 'standard' or 'premium'"
                )
        top = max(_tier(target) for target in self.targets)
        self.strongest: Target = max((target for target in self.targets if target.tier is top), key=_dearness)

    def __iter__(self) -> Iterator[Target]:
        return iter(self.targets)

    def __len__(self) -> int:
        return len(self.targets)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Target:
        try:
            return self._by_name[name]
        except KeyError:
            raise UnknownTarget(f"no target is named {name!r}; the pool has {', '.join(self._by_name)}") from None

    def get(self, name: str) -> Target | None:
        return self._by_name.get(name)

    def check_named(self, name: str, who: str) -> None:
        """Raises ConfigError if no target has this name; `who` says what named it ("the trial names the target")."""
        if name not in self._by_name:
            near = nearest(name, self._by_name) or ";"
            names = ", ".join(self._by_name)
            raise ConfigError(f"{who} {name!r}, which is not in the pool{near} it has {names}")

    def __repr__(self) -> str:
        return f"Pool({', '.join(self._by_name)})"

    @property
    def dominated(self) -> tuple[Dominated, ...]:
        """Targets that another one of the pool always comes before.

        Nothing is said where a price is unknown, or where the other may lack an ability or a size that this one may
        have, nor of one model with other settings.
        """
        found = []
        for target in self.targets:
            for other in self.targets:
                if other is not target and _dominates(other, target):
                    found.append(Dominated(target.name, other.name))
                    break
        return tuple(found)


def _tier(target: Target) -> Tier:
    """The tier of a pool's target: Pool has made sure that it is there."""
    assert target.tier is not None
    return target.tier


def _dearness(target: Target) -> tuple[Decimal, Decimal]:
    """By output price, then input price; an unknown price counts as none."""
    return (target.price.output, target.price.input) if target.price else (Decimal(-1), Decimal(-1))


def _dominates(other: Target, target: Target) -> bool:
    if other.price is None or target.price is None or _tier(other) < _tier(target):
        return False
    if (other.provider, other.model) == (target.provider, target.model) and other.settings != target.settings:
        return False  # one model at two efforts: the price of a token does not tell them apart
    sizes = {0} | {step.above_input_tokens + 1 for price in (other.price, target.price) for step in price.steps}
    theirs = [_rates(other.price.at(size)) for size in sorted(sizes)]
    mine = [_rates(target.price.at(size)) for size in sorted(sizes)]
    no_dearer = all(t <= m for row, own in zip(theirs, mine, strict=True) for t, m in zip(row, own, strict=True))
    return no_dearer and (theirs != mine or _tier(other) > _tier(target)) and _can_do_as_much(other, target)


def _rates(price: Price | PriceStep) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    return (
        price.input,
        price.output,
        price.input if price.cache_read is None else price.cache_read,
        price.input if price.cache_write is None else price.cache_write,
    )


def _can(target: Target, ability: str) -> bool | None:
    """Whether it can, as far as is known: no model hears what its dialect has no word for."""
    if ability == "audio" and target.dialect in NO_AUDIO:
        return False
    can: bool | None = getattr(target.capabilities, ability)
    return can


def _can_do_as_much(other: Target, target: Target) -> bool:
    """Certain only where the other is known to have an ability, or this one to lack it; likewise for the sizes."""
    for name in ABILITIES:
        if _can(other, name) is not True and _can(target, name) is not False:
            return False
    for name in ("context_window", "max_input_tokens", "max_output_tokens"):
        theirs, mine = getattr(other, name), getattr(target, name)
        if theirs != mine and (theirs is None or mine is None or theirs < mine):
            return False
    return True
