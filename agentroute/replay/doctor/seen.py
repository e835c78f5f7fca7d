"""What a call should have read from its model's cache, what it did read, and why not. Pure: numbers and hashes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

from agentroute.decisions import CacheBreak
from agentroute.messages import Usage
from agentroute.replay.records import Asked
from agentroute.routing.affinity import BELIEVED_TTL_S
from agentroute.routing.cache_breaks import is_compacted, noticeable, paid_again
from agentroute.routing.caches import HOUR, MIN_CACHED_TOKENS, minimum, needs_markers
from agentroute.targets import Target

from .findings import Kind
from .shapes import Shape, difference

__all__ = ["Call", "Seen", "State", "look"]

_OF_HISTORY: Final[frozenset[Kind]] = frozenset({"history_cut", "message_changed", "volatile_text"})
_MOSTLY: Final = 0.8


@dataclass(frozen=True, slots=True)
class Call:
    """One recorded call as numbers: who called which model when, its tokens, and what of its prompt is known.

    `usage` is the provider's count, None without one; `at` in seconds, None if it was not recorded. `asked` and `shape`
    are None where the log holds no request bodies; `known` is a break that a router has told of itself. `loop`: more
    steps are likely; `turn`: a person has just spoken.

    `routed` calls stand in a ledger: what broke there the router has told (`known`), and what was `paid` is recorded.
    `tied`: it is known which conversation they belong to.
    """

    place: str
    agent: str
    model: str
    target: Target | None
    input_tokens: int
    output_tokens: int
    at: float | None = None
    usage: Usage | None = None
    asked: Asked | None = None
    shape: Shape | None = None
    known: CacheBreak | None = None
    loop: bool = True
    turn: bool = False
    routed: bool = False
    tied: bool = True
    paid: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """What a model was sent of a conversation: `tokens`, of which `kept` in its cache for `lifetime` seconds. `debt` is
    what the marker that was missing on a first step would have cost."""

    tokens: int
    kept: int
    at: float
    lifetime: float | None
    shape: Shape | None
    reasoning: str | None
    debt: Decimal


@dataclass(frozen=True, slots=True)
class State:
    """A conversation so far, and whose it is. It is never changed: a branch goes on from where it left. `repeated`: its
    first ask was asked before, so that nobody can tell which of them later steps belong to."""

    number: int
    agent: str | None = None
    held: Mapping[str, Held] = field(default_factory=dict)
    last_model: str | None = None
    last_tokens: int = 0
    at: float | None = None
    steps: int = 0
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """One call, looked at: when (`now`, and the `pause` since its model last read this conversation, None if either is
    not known), its usage with what the cache did (modelled, if nobody counted), what it cost.

    `could`: tokens that the model had been sent before; `lost` of them were paid again, because of `kind`, for `more`
    USD.
    """

    now: float
    pause: float | None
    usage: Usage
    counted: bool
    usd: Decimal | None
    could: int
    lost: int = 0
    kind: Kind | None = None
    position: int | None = None
    more: Decimal | None = None


def look(state: State, call: Call, gap_s: float) -> tuple[Seen, State]:
    """The call as it is seen after those before it in the conversation, and the conversation after it."""
    if call.at is not None:
        now = call.at if state.at is None else max(call.at, state.at)
    else:
        now = 0.0 if state.at is None else state.at + gap_s
    before = state.held.get(call.model)
    if _was_reset(state, call):
        state, before = replace(state, held={}, last_model=None, last_tokens=0), None
    switched = state.last_model not in (None, call.model)
    sent = state.last_tokens if switched else 0 if before is None else before.tokens
    could = _readable(call, min(sent, call.input_tokens))
    kind, position, held = _why(before, call, now, switched=switched)
    usage, counted = call.usage, True
    if usage is None or usage.cache_read_tokens is None:
        could = 0 if call.target is None else could
        usage, counted = _modelled(call, _readable(call, min(held, could))), False
    price = None if call.target is None else call.target.price
    usd = call.paid if call.routed else None if price is None else price.cost(usage)
    lost = max(could - (usage.cache_read_tokens or 0), 0)
    if call.routed:
        lost = 0 if call.known is None else call.known.tokens
    elif kind is None or not noticeable(lost, could):
        lost = 0
    seen = Seen(
        now=now,
        pause=None if before is None or call.at is None else now - before.at,
        usage=usage,
        counted=counted,
        usd=usd,
        could=could,
        lost=lost,
        kind=kind if lost else None,
        position=position if lost else None,
        more=_more(before, call, usage, usd, kind, lost, could) if lost else None,
    )
    now_held = Held(
        tokens=call.input_tokens,
        kept=_kept(call, usage, counted=counted),
        at=now,
        lifetime=_lifetime(call, usage, before),
        shape=call.shape,
        reasoning=None if call.asked is None else call.asked.reasoning,
        debt=_debt(call, usage, usd) if before is None else Decimal(0),
    )
    after = State(
        number=state.number,
        agent=call.agent,
        held={**state.held, call.model: now_held},
        last_model=call.model,
        last_tokens=call.input_tokens,
        at=now,
        steps=state.steps + 1,
    )
    return seen, after


def _was_reset(state: State, call: Call) -> bool:
    """Whether the prompt is so much shorter that the history was compacted; where its shape is known, that says it."""
    shown = call.shape is not None and all(held.shape is not None for held in state.held.values())
    return not shown and is_compacted(state.last_tokens, call.input_tokens)


def _readable(call: Call, tokens: int) -> int:
    """As many tokens as the model's cache would give of these: none if reading costs what anything else does."""
    target = call.target
    if target is None:
        return tokens if tokens >= MIN_CACHED_TOKENS else 0
    if target.price is not None and target.price.at(call.input_tokens).cache_read is None:
        return 0
    return tokens if tokens >= minimum(target) else 0


def _why(before: Held | None, call: Call, now: float, *, switched: bool) -> tuple[Kind | None, int | None, int]:
    """Why a model may not have read what it had been sent: the kind, the place, and the tokens that it still holds."""
    if call.routed:
        known = call.known
        return (None, None, call.input_tokens) if known is None else (known.kind, known.position, 0)
    alive = before is not None and before.lifetime is not None and now - before.at <= before.lifetime
    if switched:
        return "model_switch", None, before.tokens if before is not None and alive else 0
    if before is None:
        return None, None, 0
    if not alive:
        return "expired", None, 0
    target = call.target
    marked = target is not None and needs_markers(target)
    if marked and target is not None and before.kept < minimum(target):
        return "no_markers", None, 0
    if before.shape is not None and call.shape is not None:
        found = difference(before.shape, call.shape)
        if found is not None:
            left = int(found.share * call.input_tokens)
            if found.kind in _OF_HISTORY and is_compacted(before.tokens, call.input_tokens):
                return None, None, left
            return found.kind, found.position, left
        if marked and before.shape.choice != call.shape.choice:
            return "tool_choice_toggled", None, 0
    if call.asked is not None and before.reasoning != call.asked.reasoning:
        return "effort_toggled", None, 0
    if marked and before.kept < _MOSTLY * before.tokens:
        return "unmarked_end", None, before.kept
    return "unexplained", None, before.tokens


def _modelled(call: Call, read: int) -> Usage:
    """The usage of a call whose cache nobody counted. What a model does not read it writes, if its writes have a price
    and are asked for."""
    fresh = call.input_tokens - read
    written = fresh if _writes(call) else 0
    in_hour = written if call.asked is not None and call.asked.hour else None
    return Usage(call.input_tokens, call.output_tokens, read, written, cache_write_1h_tokens=in_hour)


def _writes(call: Call) -> bool:
    target = call.target
    if target is None or target.price is None or target.price.at(call.input_tokens).cache_write is None:
        return False
    if call.input_tokens < minimum(target):
        return False
    asked = call.loop if call.asked is None else call.asked.markers > 0
    return asked or not needs_markers(target)


def _kept(call: Call, usage: Usage, *, counted: bool) -> int:
    """Tokens of the prompt that are in the cache now."""
    target = call.target
    if target is None or not needs_markers(target):
        return call.input_tokens
    if counted and usage.cache_write_tokens is not None:
        return min((usage.cache_read_tokens or 0) + usage.cache_write_tokens, call.input_tokens)
    if call.asked is None or call.asked.end or (counted and usage.cache_read_tokens):
        return call.input_tokens
    if not call.asked.head or call.shape is None:
        return 0
    return int(call.input_tokens * call.shape.share(call.shape.n_system))


def _lifetime(call: Call, usage: Usage, before: Held | None) -> float | None:
    if usage.cache_write_1h_tokens or (call.asked is not None and call.asked.hour):
        return HOUR
    if before is not None and before.lifetime == HOUR and not usage.cache_write_tokens:
        return HOUR
    return BELIEVED_TTL_S if call.target is None else call.target.cache_ttl_s


def _more(
    before: Held | None, call: Call, usage: Usage, usd: Decimal | None, kind: Kind | None, lost: int, could: int
) -> Decimal | None:
    """USD that the lost tokens cost more than reading them would have."""
    if call.known is not None:
        return call.known.cost
    if call.target is None or call.target.price is None or usd is None:
        return None
    if kind in ("no_markers", "unmarked_end"):
        marked = call.target.price.cost(_marked(usage, could))
        return None if marked is None else usd - marked - (before.debt if before is not None else 0)
    return paid_again(call.target.price, usage, lost)


def _debt(call: Call, usage: Usage, usd: Decimal | None) -> Decimal:
    """USD that the first step would have cost more with a marker, if it has none."""
    target = call.target
    if target is None or target.price is None or usd is None or not needs_markers(target) or usage.cache_write_tokens:
        return Decimal(0)
    marked = target.price.cost(_marked(usage, usage.cache_read_tokens or 0))
    return Decimal(0) if marked is None else marked - usd


def _marked(usage: Usage, read: int) -> Usage:
    """The usage of the same call with markers: so much read, the rest written."""
    prompt = usage.input_tokens or 0
    return Usage(prompt, usage.output_tokens, read, max(prompt - read, 0))
