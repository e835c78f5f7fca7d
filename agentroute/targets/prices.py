"""What a usage costs: prices, what an answer's own words do to them, and the bill."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias, TypeVar, get_args

from agentroute.errors import ConfigError
from agentroute.messages import Usage

__all__ = ["Bill", "BillSource", "Fee", "Modifier", "ModifierKind", "Price", "PriceStep", "bill"]

_MILLION: Final = Decimal(1_000_000)
_WRITES: Final = ("cache_write", "cache_write_1h", "cache_write_12h")
_RATES: Final = ("input", "output", "cache_read", *_WRITES)

ModifierKind: TypeAlias = Literal["service_tier", "speed", "region"]
BillSource: TypeAlias = Literal["provider", "list"]
"""Who made the figure: the provider in its answer, or we from its list price."""

_KINDS: Final[tuple[ModifierKind, ...]] = get_args(ModifierKind)

_USUAL: Final = frozenset(
    {
        "auto",
        "default",
        "global",
        "normal",
        "not_available",
        "on_demand",
        "standard",
        "traffic_type_unspecified",
        "unspecified",
    }
)
"""Words by which an answer says that the list price holds (OpenAI's `default`, Anthropic's `standard`, `global` and
`not_available`, Groq's and Vertex's `on_demand`), or which only echo the request (`auto`). Read 2026-11-28 in the types
of openai 2.54, anthropic 2.14 and google-genai 3.6.1."""


@dataclass(frozen=True, slots=True)
class PriceStep:
    """Prices that hold for the whole request once its input passes `above_input_tokens`."""

    above_input_tokens: int
    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    cache_write_12h: Decimal | None = None

    def __post_init__(self) -> None:
        start = self.above_input_tokens
        if isinstance(start, bool) or not isinstance(start, int) or start < 0:
            raise ConfigError(f"price step `above_input_tokens` is {start!r}; give a whole number, 0 or more")
        _check_rates(self)


@dataclass(frozen=True, slots=True)
class Modifier:
    """What one word of an answer does to the price of its tokens: multiplies it (`times`), or puts `price` instead.

    `kind` is the field of `Usage` that holds the word (in lower case here). Raises ConfigError for a kind that is none,
    and a factor that is no number of 0 or more.

    >>> Modifier("service_tier", "flex", Decimal("0.5")).word
    'flex'
    """

    kind: ModifierKind
    word: str
    times: Decimal = Decimal(1)
    price: Price | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ConfigError(f"modifier `kind` is {self.kind!r}; give one of {', '.join(_KINDS)}")
        object.__setattr__(self, "word", _word("modifier `word`", self.word).lower())
        object.__setattr__(self, "times", _amount("modifier `times`", self.times, "a factor"))
        if self.price is not None:
            object.__setattr__(self, "price", _made(Price, self.price, "modifier `price`"))


@dataclass(frozen=True, slots=True)
class Fee:
    """What a tool of the provider's costs beside the tokens: USD for each call, or `per` answer that used it at all."""

    tool: str
    usd: Decimal
    per: Literal["call", "answer"] = "call"
    source: str = ""

    def __post_init__(self) -> None:
        if self.per not in ("call", "answer"):
            raise ConfigError(f"fee `per` is {self.per!r}; give 'call' or 'answer'")
        _word("fee `tool`", self.tool)
        object.__setattr__(self, "usd", _amount("fee `usd`", self.usd, "USD"))


@dataclass(frozen=True, slots=True)
class Price:
    """USD for a million tokens of each kind, with where it was read.

    A missing `cache_read` or `cache_write` price means that these tokens cost what other input costs. For writes that
    live for 1 or 12 hours a missing price is unknown, and so is the price of an answer that tells a tier, speed or
    region without one of the `modifiers`, or a tool without one of the `fees`. `until` is when another price takes the
    place of this one; `as_of` is the date of the list it was read in, None for a price of your own.
    """

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    steps: tuple[PriceStep, ...] = ()
    source: str = ""
    cache_write_1h: Decimal | None = None
    cache_write_12h: Decimal | None = None
    modifiers: tuple[Modifier, ...] = ()
    fees: tuple[Fee, ...] = ()
    until: datetime | None = None
    as_of: date | None = None

    @classmethod
    def of(cls, value: Price | Mapping[str, Any]) -> Price:
        """A price from a mapping of its fields, as a config file has it; what is in `steps`, `modifiers` and `fees` may
        be mappings too. Raises ConfigError for an unknown or missing key, and for a value that is none."""
        return _made(cls, value, "price")

    def cost(self, usage: Usage) -> Decimal | None:
        """USD for this usage, or None if it cannot be told: `bill` says why."""
        return self.bill(usage).usd

    def tokens(self, input_tokens: int, output_tokens: int, cache_read: int = 0, cache_write: int = 0) -> Decimal:
        """USD for so many tokens at list price; the input includes what is read from the cache and written to it."""
        rates = self.at(input_tokens)
        return (
            max(input_tokens - cache_read - cache_write, 0) * rates.input
            + cache_read * (rates.input if rates.cache_read is None else rates.cache_read)
            + cache_write * (rates.input if rates.cache_write is None else rates.cache_write)
            + output_tokens * rates.output
        ) / _MILLION

    def bill(self, usage: Usage) -> Bill:
        """What this usage costs by the list, or the reason why that is unknown."""
        if usage.input_tokens is None or usage.output_tokens is None:
            return Bill(problem="the provider did not count all tokens")
        rates, times = self, Decimal(1)
        for kind in _KINDS:
            word = getattr(usage, kind)
            if word is None or word.lower() in _USUAL:
                continue
            found = next((m for m in self.modifiers if m.kind == kind and m.word == word.lower()), None)
            if found is None or (found.price is not None and rates is not self):
                return Bill(problem=f"{kind} {word!r} has no known price")
            times *= found.times
            rates = found.price or rates
        total = Decimal(0)
        for part in usage.iterations or (usage,):
            if part.model is not None:
                return Bill(problem=f"a part of the answer is by {part.model!r}, which has a price of its own")
            if part.input_tokens is None or part.output_tokens is None:
                return Bill(problem="the provider did not count all tokens")
            spent = _tokens(rates, part)
            if spent is None:
                return Bill(problem="cache writes that live for hours have no known price")
            total += spent
        total *= times
        for tool, calls in usage.server_tools:
            fee = next((fee for fee in self.fees if fee.tool == tool), None)
            if fee is None and calls:
                return Bill(problem=f"the provider's tool {tool!r} has no known fee")
            if fee is not None:
                total += fee.usd * (calls if fee.per == "call" else min(calls, 1))
        return Bill(total, "list")

    def at(self, input_tokens: int) -> Price | PriceStep:
        """The rates that hold for a request of this size."""
        rates: Price | PriceStep = self
        for step in self.steps:
            if input_tokens > step.above_input_tokens:
                rates = step
        return rates

    def __post_init__(self) -> None:
        _check_rates(self)
        object.__setattr__(self, "steps", _each(PriceStep, self.steps, "steps"))
        object.__setattr__(self, "modifiers", _each(Modifier, self.modifiers, "modifiers"))
        object.__setattr__(self, "fees", _each(Fee, self.fees, "fees"))
        starts = [step.above_input_tokens for step in self.steps]
        if starts != sorted(set(starts)):
            raise ConfigError(f"price steps begin above {starts} input tokens; give each once, the lowest first")
        if self.until is not None and not isinstance(self.until, datetime):
            raise ConfigError(f"price `until` is {self.until!r}; give datetime(..., tzinfo=UTC)")
        if self.until is not None and self.until.tzinfo is None:
            raise ConfigError("price `until` has no time zone; give datetime(..., tzinfo=UTC)")
        if self.as_of is not None and not isinstance(self.as_of, date):
            raise ConfigError(f"price `as_of` is {self.as_of!r}; give a date")


@dataclass(frozen=True, slots=True)
class Bill:
    """What one answer cost in USD and who says so; None with the `problem`.

    `list_usd` is our own figure beside a provider's, None if it is unknown.
    """

    usd: Decimal | None = None
    source: BillSource | None = None
    problem: str | None = None
    list_usd: Decimal | None = None


def bill(price: Price | None, usage: Usage) -> Bill:
    """The provider's own bill if it told one, else the list price of what it counted.

    >>> bill(Price(Decimal(1), Decimal(4)), Usage(1_000_000, 500_000)).usd
    Decimal('3')
    """
    listed = Bill(problem="its price is unknown") if price is None else price.bill(usage)
    if usage.reported_cost is None:
        return listed
    return Bill(usage.reported_cost, "provider", list_usd=listed.usd)


def _tokens(price: Price, usage: Usage) -> Decimal | None:
    """USD for the tokens alone; None if they were written to a cache for a time that has no price."""
    sent, read, written = usage.input_tokens or 0, usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
    long_lived = Decimal(0)
    rates = price.at(sent)
    for count, rate in (
        (usage.cache_write_1h_tokens or 0, rates.cache_write_1h),
        (usage.cache_write_12h_tokens or 0, rates.cache_write_12h),
    ):
        if not count:
            continue
        if rate is None:
            return None
        short = rates.input if rates.cache_write is None else rates.cache_write
        long_lived += count * (rate - short)
    return price.tokens(sent, usage.output_tokens or 0, read, written) + long_lived / _MILLION


def _check_rates(price: Price | PriceStep) -> None:
    """Turns the rates into Decimals. Raises ConfigError for a text that is no number, NaN, infinity or less than 0."""
    for name in _RATES:
        value = getattr(price, name)
        if value is not None or name in ("input", "output"):
            object.__setattr__(price, name, _amount(f"price `{name}`", value, "USD per million tokens"))


def _amount(what: str, value: object, wanted: str) -> Decimal:
    try:
        number = Decimal(str(value))
    except ArithmeticError:
        number = Decimal("nan")
    if not number.is_finite() or number < 0:
        raise ConfigError(f"{what} is {value!r}; give {wanted}, 0 or more")
    return number


def _word(what: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{what} is {value!r}; give a text")
    return value


_Made = TypeVar("_Made", Price, PriceStep, Modifier, Fee)


def _each(kind: type[_Made], values: object, name: str) -> tuple[_Made, ...]:
    if not isinstance(values, Iterable) or isinstance(values, str | Mapping):
        raise ConfigError(f"price `{name}` is {values!r}; give a list of {kind.__name__}")
    return tuple([_made(kind, value, f"price `{name}`") for value in values])


def _made(kind: type[_Made], value: object, what: str) -> _Made:
    """The value itself, or what a mapping of its fields says."""
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(f"{what} is {value!r}; give a {kind.__name__} or a mapping of its fields")
    known = [each.name for each in fields(kind)]
    for key in value:
        if key not in known:
            raise ConfigError(f"{what} has the unknown key {key!r}; known are {', '.join(known)}")
    for each in fields(kind):
        if each.default is MISSING and each.name not in value:
            unit = "; give USD per million tokens" if each.name in _RATES else ""
            raise ConfigError(f"{what} lacks `{each.name}`{unit}")
    return kind(**value)
