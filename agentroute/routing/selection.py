"""Filters the pool, scores what is left and puts it in order: complete before the first byte is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from difflib import get_close_matches
from typing import TypeAlias

from agentroute.decisions import Candidate, Constraints, Dropped, Prediction, StepKind, Strategy
from agentroute.errors import ConfigError, NoCandidateError, UnknownTarget
from agentroute.failover.breaker import Open
from agentroute.formats.fitting import can_be_forced
from agentroute.formats.foreign import foreign_tool, unsupported_part
from agentroute.formats.media import refusal_of
from agentroute.messages import Audio, ChatRequest, Document, Image, ToolResult
from agentroute.providers import NATIVE, PROVIDERS
from agentroute.targets import Pool, Target, Tier

from .actions import Action, named
from .economics import HORIZON, StepCost, growth, spend, step_cost
from .profiles import Known
from .reasoning_state import LiveState
from .runs import CLEAN, ON_EVIDENCE, Run, smoothed
from .step import Step
from .strategy import Row
from .tokens import PROSE_CHARS

__all__ = ["Selection", "Situation", "pinned", "select"]

MAX_FALLBACKS = 3
"""Fallbacks behind the first candidate: enough to outlive two sick providers, few enough to fail in time."""

_TIE = 0.02
"""Scores this close (relative) count as equal where the table prefers a target."""

_STAY = 0.05
"""What losing live reasoning weighs at least, relative to the score: P and expected cost are not known to a few
percent, so a switch for less than this gives up a train of thought for noise."""

_MARGIN = 0.15
"""A move must save this share of what it changes, spend and risk. Measured on 304 recorded sessions in four pools
(`evals/workloads.py`, 2026-11-28): the sum of cost and loss is flat between 0.05 and 0.2; with 0.15 no session in which
nothing failed costs more than always-premium by 5 %."""

_HARMLESS: frozenset[Action] = frozenset(("read", "search"))
"""What tools may do, by their names, without changing anything."""

_ONCE = frozenset({StepKind.HOUSEKEEPING, StepKind.SUMMARISE})
"""Kinds of step after which the conversation does not go on from this prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that the choice for one step looks at, beside the pool: what is asked, what it is likely to need, and how the
    targets stand at this moment.

    `warm`: tokens of the prompt that lie in a target's cache, by its name. `loop`: more steps are likely. `opened`: the
    targets (by name) whose circuit is open. `reasoning`: what any model but its origin would have to think again.
    `run`: what the steps before have shown; `seen_tokens`: how long the prompt of the last one was. `known`: what
    outcomes have shown of the role that asks. `above`: a check failed on this tier, so higher ones come first.
    `budgeted`: a budget has to be kept.
    """

    request: ChatRequest
    step: Step
    prediction: Prediction
    strategy: Strategy
    row: Row
    constraints: Constraints
    input_tokens: int
    output_tokens: int
    warm: Mapping[str, int] = field(default_factory=dict)
    loop: bool = True
    opened: Mapping[str, Open] = field(default_factory=dict)
    reasoning: LiveState | None = None
    run: Run | None = None
    seen_tokens: int = 0
    budgeted: bool = False
    known: Known | None = None
    above: Tier | None = None

    def failure(self, strongest: Target, again: float) -> tuple[float, str]:
        """USD that an insufficient answer is expected to cost at this step, and what that is.

        `again` is this step on the strongest target, cold. A step that acts by tools may spoil its task unnoticed, as
        far as no check notices; without tools whoever reads the answer notices, and asks again.
        """
        told, row = self.constraints.stakes, self.row
        if told is None and not self.request.tools:
            return row.lost * again, f"{row.lost:g} steps of the strongest"
        stakes = row.stakes if told is None else float(told)
        usd, why = stakes, f"stakes ${stakes:g}"
        if row.checks:
            held = self.input_tokens - growth(self.input_tokens, self.seen_tokens)
            warm = step_cost(strongest, self.input_tokens, self.output_tokens, max(held, 0), loop=self.loop).cost
            redone = row.lost * (again if warm is None else float(warm))
            usd = row.checks * redone + (1.0 - row.checks) * stakes
            why += f", {row.checks:g} of failures seen"
        return usd * row.harm, why + ("" if row.harm == 1.0 else f" x {row.harm:g}")

    def too_weak(self, pool: Pool) -> Tier | None:
        """The pool's lowest tier, if it is below standard and the step may act on the world: while nothing is known of
        a role, no agent that changes things is left to the weakest. None if there is no such tier."""
        lowest = min(target.tier for target in pool if target.tier is not None)
        if lowest >= Tier.STANDARD or self.n == 1:
            return None
        return lowest if any(named(tool.name)[0] not in _HARMLESS for tool in self.request.tools) else None

    @property
    def n(self) -> int:
        """Steps over which the cost of a switch is spread."""
        return HORIZON if self.loop and self.prediction.step_kind not in _ONCE else 1

    def cost_on(self, target: Target) -> StepCost:
        """What the step is expected to cost there."""
        warm = self.warm.get(target.name, 0)
        return step_cost(target, self.input_tokens, self.output_tokens, warm, loop=self.loop)


@dataclass(frozen=True, slots=True)
class Selection:
    """The targets to try, in order, and what speaks for each; the dropped ones, and what speaks against them."""

    targets: tuple[Target, ...]
    candidates: tuple[Candidate, ...]
    dropped: tuple[Dropped, ...]
    costs: Mapping[str, StepCost]
    note: str | None = None
    content_filter_fallback: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True)
class _Option:
    """`lost_tokens` of live reasoning would have to be thought again here, for `lost` USD (None: price unknown).

    `weighed` says that it counts against this target. `spend`: USD a step over the steps to come; `risk`: USD that a
    failure costs, times how likely this target makes it at this step (None: the strategy does not weigh it).
    """

    target: Target
    tier: Tier
    sufficiency: float
    cost: StepCost
    lost_tokens: int = 0
    lost: float = 0.0
    weighed: bool = False
    spend: float = 0.0
    risk: float | None = None


_Order: TypeAlias = tuple[float, float, float, float]
"""What candidates are sorted by: two reasons to come behind (how far P is below the floor and an unknown price; or an
unknown price and being too weak), score in USD, then the higher P."""


def pinned(request: ChatRequest, constraints: Constraints, pool: Pool) -> str | None:
    """The name of the one target that must serve, or None. A pin is a target's name or else its model.

    Raises UnknownTarget for one that is not in the pool.
    """
    wanted = constraints.target if constraints.target is not None else request.model
    if wanted is None or (wanted == "auto" and constraints.target is None):
        return None
    if wanted in pool:
        return wanted
    of_model = next((target.name for target in pool if target.model == wanted), None)
    if of_model is not None:
        return of_model
    names = [target.name for target in pool]
    near = get_close_matches(wanted, [*names, *(target.model for target in pool)], n=1)
    remedy = f"did you mean {near[0]!r}?" if near else f"use 'auto' to let the router choose, or {', '.join(names)}"
    raise UnknownTarget(f"no target is named {wanted!r}, and none has that model; {remedy}")


def _check_denied(constraints: Constraints, pool: Pool) -> None:
    """A misspelt name would deny nobody. (A misspelt allowed one shuts out too much, which shows.)"""
    for name in constraints.deny_providers:
        if name in PROVIDERS or any(target.provider == name for target in pool):
            continue
        known = sorted({*PROVIDERS, *(target.provider for target in pool)})
        near = get_close_matches(name.lower(), known, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
        raise ConfigError(f"deny_providers: no provider is named {name!r}; {remedy}")


def select(situation: Situation, pool: Pool) -> Selection:
    """Orders the pool for one step. A pin has no fallback: whoever names a model means that one.

    Targets whose circuit is open are dropped, unless nothing else is left; then they come in the order in which they
    may be tried again. Reasoning that a switch would lose counts against the other models.

    Raises NoCandidateError, with the reason of each target, if none may serve, and ConfigError for a name that is not
    in the pool, or a denied provider that is unknown.
    """
    request, opened = situation.request, situation.opened
    pin = pinned(request, situation.constraints, pool)
    _check_denied(situation.constraints, pool)
    options: list[_Option] = []
    dropped: list[Dropped] = []
    files = _files(request, situation.step)
    likely = situation.prediction.sufficiency
    if situation.strategy == "balanced":
        likely = smoothed(situation.run, likely, situation.prediction.step_kind)
    for target in pool:
        reason = _why_not(target, situation, files, pin)
        if reason is not None:
            dropped.append(Dropped(target.name, reason))
            continue
        assert target.tier is not None
        sufficiency = likely[target.tier.rank]
        if situation.known is not None:
            sufficiency = situation.known.of(target.name, sufficiency)
        options.append(_Option(target, target.tier, sufficiency, situation.cost_on(target)))
    options = _writing_enough(options, dropped, request)
    allowed = _allowed_after_filter(situation, files, pool)
    if not options:
        listed = "; ".join(f"{d.target}: {d.reason}" for d in dropped)
        shorter = replace(situation, input_tokens=0, output_tokens=0, warm={})
        too_long = any(_why_not(target, shorter, files, pin) is None for target in pool)
        too_small = [pool[d.target] for d in dropped if d.reason == _outgrown(pool[d.target], situation)]
        window = max((target.context_window or 0 for target in too_small), default=None)
        raise NoCandidateError(
            f"no target may serve this step ({listed})",
            dropped=tuple(dropped),
            too_long=too_long,
            tokens=None if window is None else situation.input_tokens + situation.output_tokens,
            window=window,
        )
    if pin is not None:
        return _selection([(options[0], None, "pinned by the caller")], options, dropped, allowed=allowed)

    well = [option for option in options if option.target.name not in opened]
    if well:
        dropped += [
            Dropped(option.target.name, f"circuit open: {opened[option.target.name]}")
            for option in options
            if option.target.name in opened
        ]
        options = well
    if situation.reasoning is not None:
        options = _with_losses(options, situation.reasoning, situation.step)
    if situation.strategy == "balanced":
        again = step_cost(pool.strongest, situation.input_tokens, situation.output_tokens, loop=False)
        ranked, note = _weighed(options, situation, pool, again), None
    else:
        ranked, note = _rank(options, situation.strategy, situation.row)
    if not well:
        ranked = sorted(ranked, key=lambda entry: opened[entry[0].target.name].seconds)
        ranked = [(o, score, f"{reason}; circuit open: {opened[o.target.name]}") for o, score, reason in ranked]
        note = "every circuit is open: the first to come back comes first"
    if situation.known is not None and well:
        leading = situation.known.leading(situation.step)
        behind = f"; no licence in role {situation.known.role!r}"
        ranked = [
            *(entry for entry in ranked if entry[0].target.name in leading),
            *((o, score, reason + behind) for o, score, reason in ranked if o.target.name not in leading),
        ]
    ranked = _forced_first(ranked, request)
    above = situation.above
    if above is not None:
        ranked = sorted(ranked, key=lambda entry: (entry[0].tier <= above) + (entry[0].tier < above))
    first, rest = ranked[0], ranked[1:]
    if well:
        # A stable sort: other providers first, each part in its order.
        rest = sorted(rest, key=lambda entry: entry[0].target.provider == first[0].target.provider)
    chosen = [first, *rest[:MAX_FALLBACKS]]
    kept = {entry[0].target.name for entry in chosen}
    dropped += [
        Dropped(option.target.name, f"not needed: {MAX_FALLBACKS} fallbacks stand before it")
        for option, _, _ in ranked
        if option.target.name not in kept
    ]
    return _selection(chosen, options, dropped, note, allowed)


def _writing_enough(options: list[_Option], dropped: list[Dropped], request: ChatRequest) -> list[_Option]:
    """Without those that write less than is asked for, if another of their tier writes as much."""
    limit = request.sampling.max_output_tokens
    if limit is None or not any(_writes_less(option.target, limit) for option in options):
        return options
    enough = {option.tier for option in options if not _writes_less(option.target, limit)}
    kept = []
    for option in options:
        if _writes_less(option.target, limit) and option.tier in enough:
            most = option.target.max_output_tokens
            reason = f"writes at most {most:,} tokens, {limit:,} are asked for, and another of its tier writes them"
            dropped.append(Dropped(option.target.name, reason))
        else:
            kept.append(option)
    return kept


def _writes_less(target: Target, limit: int) -> bool:
    return target.max_output_tokens is not None and limit > target.max_output_tokens


def _forced_first(
    ranked: list[tuple[_Option, float | None, str]], request: ChatRequest
) -> list[tuple[_Option, float | None, str]]:
    """Those that can be made to call a tool before those that can only be asked to, if a call is demanded."""
    if request.tool_choice is None or request.tool_choice.mode not in ("required", "tool"):
        return ranked
    able = [entry for entry in ranked if can_be_forced(request, entry[0].target.rules)]
    asked = [
        (option, score, f"{reason}; cannot be forced to call a tool, is asked to")
        for option, score, reason in ranked
        if not can_be_forced(request, option.target.rules)
    ]
    return [*able, *asked]


def _selection(
    chosen: list[tuple[_Option, float | None, str]],
    options: list[_Option],
    dropped: list[Dropped],
    note: str | None = None,
    allowed: tuple[Target, ...] = (),
) -> Selection:
    return Selection(
        targets=tuple(option.target for option, _, _ in chosen),
        candidates=tuple(
            Candidate(
                target=option.target.name,
                tier=option.tier,
                sufficiency=option.sufficiency,
                expected_cost=option.cost.cost,
                cached_tokens=option.cost.cached_tokens,
                score=score,
                reason=reason,
                risk=option.risk,
            )
            for option, score, reason in chosen
        ),
        dropped=tuple(dropped),
        costs={option.target.name: option.cost for option in options},
        note=note,
        content_filter_fallback=allowed,
    )


def _allowed_after_filter(
    situation: Situation, files: tuple[Image | Document | Audio, ...], pool: Pool
) -> tuple[Target, ...]:
    """The targets named for filtered content, as far as they can serve the request and policy allows them."""
    named = situation.constraints.content_filter_fallback
    return tuple(pool[name] for name in named if _why_not(pool[name], situation, files, name) is None)


def _with_losses(options: list[_Option], reasoning: LiveState, step: Step) -> list[_Option]:
    """What a switch would lose. Where the model that holds the reasoning has just failed, a higher tier is free to
    take over."""
    holders = [option.tier for option in options if option.target.origin == reasoning.origin]
    tokens = max(round(reasoning.chars / PROSE_CHARS), 1)
    found = []
    for option in options:
        if option.target.origin == reasoning.origin:
            found.append(option)
            continue
        price = option.target.price
        usd = 0.0
        if price is not None:
            usd = float(price.at(option.cost.input_tokens).output) * tokens / 1_000_000
        escalates = step.kind in ON_EVIDENCE and all(option.tier > tier for tier in holders)
        found.append(replace(option, lost_tokens=tokens, lost=usd, weighed=not escalates))
    return found


def _outgrown(target: Target, situation: Situation) -> str | None:
    tokens = situation.input_tokens + situation.output_tokens
    if target.context_window is None or tokens <= target.context_window:
        return None
    return f"about {tokens:,} tokens do not fit its window of {target.context_window:,}"


def _why_not(
    target: Target, situation: Situation, files: tuple[Image | Document | Audio, ...], pin: str | None
) -> str | None:
    """What keeps the target from serving this step, or None. `pin` is the name of the only target that may."""
    request, step, row, constraints = situation.request, situation.step, situation.row, situation.constraints
    tier, can = target.tier, target.capabilities
    assert tier is not None
    if pin is not None and target.name != pin:
        return f"the caller asked for {pin!r}"
    if constraints.allow_providers is not None and target.provider not in constraints.allow_providers:
        return f"provider {target.provider!r} is not among those allowed"
    if target.provider in constraints.deny_providers:
        return f"provider {target.provider!r} is denied"
    if can.tools is False and request.tools:
        return "cannot call tools"
    unfit = _unfit(target, request)
    if unfit is not None:
        return unfit
    unknown = _unknown_tool(target, request)
    if unknown is not None:
        return f"does not have the built-in tool {unknown!r}"
    if can.vision is False and step.needs_vision:
        return "cannot see images"
    missing = _cannot_take(target, files)
    if missing is not None:
        return missing
    if can.structured_output is False and request.response_schema is not None and request.response_schema.schema:
        return "cannot keep to a response schema"
    outgrown = _outgrown(target, situation)
    if outgrown is not None:
        return outgrown
    most = target.max_input_tokens
    if most is not None and situation.input_tokens > most:
        return f"about {situation.input_tokens:,} tokens of input are above its limit of {most:,}"
    if situation.budgeted and target.price is None:
        return "its price is unknown, so the budget cannot be kept"
    if constraints.max_cost is not None:
        cost = situation.cost_on(target).cost
        if cost is None:
            return "its price is unknown, so max_cost cannot be kept"
        if cost > Decimal(str(constraints.max_cost)):
            return f"expected ${cost:.4f} is above max_cost ${constraints.max_cost}"
    limit = request.sampling.max_output_tokens
    strict = constraints.strict_max_tokens or target.dialect == NATIVE
    if limit is not None and target.max_output_tokens is not None and limit > target.max_output_tokens and strict:
        return f"writes at most {target.max_output_tokens:,} tokens, {limit:,} are asked for"
    if isinstance(constraints.tier, Tier) and tier is not constraints.tier:
        return f"the caller asked for tier {constraints.tier.value}"
    ceiling = constraints.max_tier if isinstance(constraints.max_tier, Tier) else None
    if ceiling is not None and tier > ceiling:
        return f"above max_tier {ceiling.value}"
    if pin is not None or constraints.tier is not None:
        return None
    if row.max_tier is not None and tier > row.max_tier:
        return f"above the table's max_tier {row.max_tier.value}"
    if row.min_tier is not None and tier < row.min_tier and (ceiling is None or row.min_tier <= ceiling):
        return f"below the table's min_tier {row.min_tier.value}"
    return None


def _unfit(target: Target, request: ChatRequest) -> str | None:
    """What the model does not take in the dialect it is called in, and no encoder can put right."""
    rules = target.rules
    if target.dialect == NATIVE:
        return None
    if rules.dialects and target.dialect not in rules.dialects:
        return f"is not to be had in {target.dialect}, only in {', '.join(rules.dialects)}"
    if request.tools and target.dialect == "openai_chat" and rules.chat_tools == "no":
        return "takes tools in the Responses dialect only"
    if rules.max_tools is not None and len(request.tools) > rules.max_tools:
        return f"takes at most {rules.max_tools} tools, the request has {len(request.tools)}"
    return None


def _files(request: ChatRequest, step: Step) -> tuple[Image | Document | Audio, ...]:
    """Every picture, document and recording of the request."""
    if not (step.needs_vision or step.needs_documents or step.needs_audio):
        return ()
    found: list[Image | Document | Audio] = []
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, ToolResult):
                found += [held for held in part.content if isinstance(held, Image | Document)]
            elif isinstance(part, Image | Document | Audio):
                found.append(part)
    return tuple(found)


def _cannot_take(target: Target, files: tuple[Image | Document | Audio, ...]) -> str | None:
    """What keeps the target from one of them: what its model can do, or what its dialect can say."""
    can = target.capabilities
    for file in files:
        if isinstance(file, Document) and can.documents is False:
            return "cannot read documents"
        if isinstance(file, Audio) and can.audio is False:
            return "cannot hear audio"
        problem = None if isinstance(file, Image) else unsupported_part(file, target.dialect)
        problem = problem or refusal_of(file, target.rules)
        if problem is not None:
            return problem
    return None


def _unknown_tool(target: Target, request: ChatRequest) -> str | None:
    """The name of a tool that the request cannot do without and providers of another dialect run themselves.

    One that is merely offered beside functions is a wish (coding agents offer a web search with each step): it is left
    out where it is not known. A native model speaks its provider's dialects.
    """
    built_in = [tool for tool in request.tools if tool.extra is not None and not tool.parameters]
    if not built_in:
        return None
    dialects: tuple[str, ...] = (target.dialect,)
    if target.dialect == NATIVE:
        provider = PROVIDERS.get(target.provider)
        dialects = () if provider is None else tuple(endpoint.dialect for endpoint in provider.endpoints)
    if not dialects:
        return None
    unknown = [tool.name for tool in built_in if all(foreign_tool(tool, dialect) for dialect in dialects)]
    if not unknown:
        return None
    choice = request.tool_choice
    if choice is not None and choice.mode == "tool":
        return choice.name if choice.name in unknown else None
    extra = request.extra
    chosen = extra.fields.get("tool_choice") if extra is not None and extra.dialect not in dialects else None
    if isinstance(chosen, Mapping) and chosen.get("type") != "allowed_tools":
        return unknown[0]
    return unknown[0] if len(unknown) == len(request.tools) else None


def _weighed(
    options: list[_Option], situation: Situation, pool: Pool, strongest: StepCost
) -> list[tuple[_Option, float | None, str]]:
    """Best first, by what a step costs over the steps to come and what a failure would, each with its score (USD; None
    if the price is unknown, which ranks behind) and reason. What is too weak for the step comes behind what is not. The
    run stays where it is, unless a move is worth it."""
    known = [usd for option in options if (usd := _usd(option)) is not None]
    proven = frozenset[str]() if situation.known is None else situation.known.licensed
    again = float(strongest.cost) if strongest.cost is not None else max(known, default=0.0)
    n, (failure, why) = situation.n, situation.failure(pool.strongest, again)
    too_weak = situation.too_weak(pool)
    grown = growth(situation.input_tokens, situation.seen_tokens)
    entries: list[tuple[_Order, _Option, float | None, str]] = []
    for option in options:
        p = option.sufficiency
        spent = spend(option.target, option.cost, grown, n)
        if spent is None:
            entries.append(((1.0, 0.0, 0.0, -p), option, None, f"price unknown; P {p:.2f}{_losing(option)}"))
            continue
        risk = (1.0 - p) * failure
        score = spent + risk
        if option.weighed:
            score += max(option.lost, _STAY * spent)
        cached = f", {option.cost.cached_tokens:,} tokens cached" if option.cost.cached_tokens else ""
        over = f" a step over {n}" if n > 1 else ""
        reason = f"${spent:.5f}{over} + risk ${risk:.5f} (P {p:.2f}, {why}{cached})"
        weighed = replace(option, spend=spent, risk=risk)
        reason += _losing(option)
        weak = option.tier is too_weak and option.target.name not in proven
        if weak:
            reason += "; it acts with tools, and nothing is known of the role yet: not the weakest"
        entries.append(((0.0, float(weak), score, -p), weighed, score, reason))
    entries.sort(key=lambda entry: entry[0])
    if situation.row.prefer:
        entries = _preferred_first(entries, situation.row.prefer)
    if situation.run is not None and n > 1:
        entries = _home_first(entries, situation.run, situation)
    return [(option, score, reason) for _, option, score, reason in entries]


def _home_first(
    entries: list[tuple[_Order, _Option, float | None, str]], run: Run, situation: Situation
) -> list[tuple[_Order, _Option, float | None, str]]:
    """With the target that serves the run in front, unless another is better by a margin on what differs.

    Downwards a run moves where the move costs nobody a train of work: at the start of a turn, where nothing is warm
    anyway, and some clean steps after it was moved up.
    """
    at = next((at for at, entry in enumerate(entries) if entry[1].target.name == run.home), None)
    if at is None or entries[at][2] is None or entries[at][0][:2] != entries[0][0][:2]:
        return entries
    key, home, score, reason = entries[at]
    assert score is not None
    clean = run.raised and run.clean + 1 >= CLEAN and situation.prediction.step_kind not in ON_EVIDENCE
    down = situation.step.steps_in_turn == 0 or not home.cost.cached_tokens or clean
    for place, (_, option, other, _) in enumerate(entries[:at]):
        if other is None or (option.tier < home.tier and not down):
            continue
        if option.tier < home.tier and not run.raised:
            other += _coming_back(option, home, situation)
        differing = abs(option.spend - home.spend) + abs((option.risk or 0.0) - (home.risk or 0.0))
        if score - other > _MARGIN * differing:
            return [entries[place], *entries[:place], *entries[place + 1 :]]
        break
    if at == 0:
        return entries
    staying = (key, home, score, f"{reason}; stays, a move would not pay now")
    return [staying, *entries[:at], *entries[at + 1 :]]


def _coming_back(option: _Option, home: _Option, situation: Situation) -> float:
    """USD a step that a move down is expected to cost later: after a step that is too hard the run goes up again, and
    its home has to read what it has not read before, and half of what follows."""
    price, n = home.target.price, situation.n
    if price is None:
        return 0.0
    rates = price.at(situation.input_tokens)
    write = rates.input if rates.cache_write is None else max(rates.cache_write, rates.input)
    unread = situation.input_tokens - home.cost.cached_tokens
    away = min(n / 2, 1.0 / max(1.0 - option.sufficiency, 1e-9))
    unread += round(growth(situation.input_tokens, situation.seen_tokens) * away)
    return (1.0 - option.sufficiency**n) * unread * float(write) / 1_000_000 / n


def _rank(
    options: list[_Option], strategy: Strategy, row: Row
) -> tuple[list[tuple[_Option, float | None, str]], str | None]:
    """The cheapest above the strategy's floor first, each with its expected cost as score (USD; None if the price is
    unknown, which ranks behind) and reason."""
    note = None
    best = max(option.sufficiency for option in options)
    floor = row.floor if strategy == "cheapest" else best - 0.01
    if strategy == "cheapest" and best < floor:
        note = f"no target reaches P {floor:.2f}: the most likely ones come first"
        floor = best
    entries: list[tuple[_Order, _Option, float | None, str]] = []
    for option in options:
        usd = _usd(option)
        p = option.sufficiency
        below = 0.0 if p >= floor else floor - p
        if usd is None:
            entries.append(((below, 1.0, 0.0, -p), option, None, f"price unknown; P {p:.2f}{_losing(option)}"))
            continue
        cached = f", {option.cost.cached_tokens:,} tokens cached" if option.cost.cached_tokens else ""
        reach = f"reaches {floor:.2f}" if below == 0.0 else f"below {floor:.2f}"
        score = usd
        if option.weighed:
            score += max(option.lost, _STAY * score)
        reason = f"${usd:.5f}, P {p:.2f} {reach}{cached}{_losing(option)}"
        entries.append(((below, 0.0, score, -p), option, score, reason))
    entries.sort(key=lambda entry: entry[0])
    if row.prefer:
        entries = _preferred_first(entries, row.prefer)
    return [(option, score, reason) for _, option, score, reason in entries], note


def _losing(option: _Option) -> str:
    if not option.lost_tokens:
        return ""
    weight = f", ${option.lost:.5f}" if option.weighed else ", not weighed after a failure"
    return f"; loses {option.lost_tokens:,} tokens of reasoning{weight}"


def _preferred_first(
    entries: list[tuple[_Order, _Option, float | None, str]], prefer: tuple[str, ...]
) -> list[tuple[_Order, _Option, float | None, str]]:
    (below, unknown, score, _), *_ = entries[0]
    for name in prefer:
        for index, (key, option, value, reason) in enumerate(entries):
            tied = key[:2] == (below, unknown) and key[2] <= score * (1 + _TIE)
            if option.target.name == name and tied:
                entries.pop(index)
                return [(key, option, value, f"{reason}; preferred by the table"), *entries]
    return entries


def _usd(option: _Option) -> float | None:
    return None if option.cost.cost is None else float(option.cost.cost)
