"""The one object that puts it all together: a request becomes a decision, and a decision becomes a call."""

from __future__ import annotations

import hashlib
import logging
import pickle
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from agentroute.failover.forks import renew_in_child

from . import transport
from .accounting import Baseline
from .call import AsyncResponseStream, Call, ResponseStream
from .catalog import MAX_AGE_DAYS, build_pool, current, next_change, read_on
from .catalog.checking import address_problem, doubts
from .decisions import CacheBreak, Constraints, Decision, Prediction, StepContext, Strategy
from .errors import AgentRouteError, BudgetExceeded, ConfigError, RequestError
from .failover.breaker import Breakers, Open
from .failover.effects import Clock, SystemClock, Timeouts
from .failover.flow import MAX_ATTEMPTS, Plan
from .figures import usd
from .ledger import Label, Ledger, MemoryLedger
from .ledger.budget import Bound, Budget, Hold, Spending
from .ledger.notices import Notice, Notices, OnNotice
from .messages import ChatRequest, ChatResponse, Usage, check_parts, check_request
from .native.targets import NativeTarget, read_targets, wrapped
from .providers import NATIVE
from .providers.keys import Secret
from .providers.network import Network
from .routing.affinity import Affinity, Recall, kept
from .routing.cache_breaks import CacheBreaks
from .routing.caches import asked_of, is_loop
from .routing.checks import Before, Checked, Checks, Memory
from .routing.classifier import CAUTION, Classifier, StandardClassifier
from .routing.economics import StepCost, affordable_output, expected_output, step_cost
from .routing.policies import constraints_for, read_policies, role_of
from .routing.prefix import Mark, Prefix, opening_key
from .routing.profiles import Profiles
from .routing.reasoning_state import LiveState, live_state
from .routing.runs import Run, after
from .routing.selection import Selection, Situation, select
from .routing.step import Step
from .routing.strategy import StrategyTable
from .routing.tokens import Anchor, estimate
from .routing.trials import LiveTrial, Tried
from .targets import Pool, Target, Tier

if TYPE_CHECKING:
    from .ledger import SqliteLedger
    from .ledger.labels import Source
    from .recording import Recorder

__all__ = ["AsyncResponseStream", "Call", "Look", "ResponseStream", "Router"]

logger = logging.getLogger("agentroute")

SLOW_S = 30.0
"""A call that took this long is told at INFO: people who wait for an agent's step ask by then what it is doing."""

_NO_CONTEXT = StepContext()


@dataclass(frozen=True, slots=True)
class Look:
    """A request as decisions see it, before constraints, prices and what is remembered of its conversation."""

    request: ChatRequest
    context: StepContext
    prefix: Prefix
    step: Step
    prediction: Prediction
    reasoning: LiveState | None


class Router:
    """Sends each step to the cheapest target that will do it right. Safe in threads and tasks.

    `targets`: a list of Targets, `"provider/model"` texts and ready models (`native(model)` of an integration), in any
    order, or a dict of names to these, in which a tier's name (`budget`, ...) sets the tier. Without any, one is made
    for each tier of every provider whose key is in the environment.
    `baseline` names the target that savings are counted against (default: the dearest of the top tier).
    `deadline_s` bounds a whole call, fallbacks included. `clock`, `new_id`, `affinity`, `breakers`, `ledger` and
    `classifier` can be your own (`breakers` to share what is known of sick targets between routers); `ledger` may be a
    file's path. `roles` are constraints for every step of a role or agent (`{"writer": {"max_tier": "mid"}}`), which a
    step's own are put over. `policy` is what outcomes have shown of roles and targets (`agentroute calibrate` writes
    the file); `trial` draws whole runs of a role for a candidate (`agentroute trial` writes the file). `recording` (a
    Recorder, or the folder of one) keeps prompts and answers for `agentroute replay`; without it they are kept nowhere.
    `checks` hold results and answers against code of your own: what fails is an outcome, and the rest of the turn goes
    to a higher tier (docs/outcomes.md); `success_when` says of each answer without tool calls whether it is right, or a
    score. Raises ConfigError for an empty pool or a name that is not in it.

    `proxy`, `verify` and `cert` say how targets are reached that say nothing of it themselves (see `Target`).

    A copy, shallow or deep, is the same router. A pickle holds the settings, keys by their variables' names only, and
    gives a router that has seen nothing yet; see `docs/configuration.md`.

    Every call takes a text, a list of messages, an OpenAI body or a ChatRequest, and constraints as a dict or
    Constraints.

    >>> router = Router(["openai/gpt-4.1-nano", "anthropic/claude-opus-4-6"])
    >>> router.route("hello", constraints={"max_tier": "mid"}).target
    'openai/gpt-4.1-nano'
    """

    def __init__(
        self,
        targets: Mapping[str, Any] | Iterable[Any] | None = None,
        *,
        strategy: Strategy = "balanced",
        baseline: str | None = None,
        table: StrategyTable | None = None,
        classifier: Classifier | None = None,
        affinity: Affinity | None = None,
        breakers: Breakers | None = None,
        ledger: Ledger | str | Path | None = None,
        clock: Clock | None = None,
        timeouts: Timeouts | None = None,
        deadline_s: float = 600.0,
        roles: Mapping[str, Constraints | Mapping[str, Any]] | None = None,
        budget: Budget | Mapping[str, Any] | float | None = None,
        spending: Spending | None = None,
        on_notice: OnNotice | None = None,
        recording: Recorder | str | Path | None = None,
        policy: Profiles | str | Path | None = None,
        trial: Tried | str | Path | None = None,
        checks: Mapping[str, Any] | None = None,
        success_when: Callable[[ChatResponse], bool | float | None] | None = None,
        new_id: Callable[[], str] | None = None,
        proxy: str | Secret | None = None,
        verify: str | PathLike[str] | None = None,
        cert: str | PathLike[str] | Sequence[str | PathLike[str]] | None = None,
    ) -> None:
        """Reads the pool and the budget, opens the ledger; makes no call."""
        # First of all, so that no traceback of what follows can show a password among its locals.
        network, unfit = Network.read(proxy, verify, cert)
        proxy = None
        if unfit is not None:
            raise ConfigError(unfit)
        if targets is None:
            from .config import targets_from_environment

            targets = targets_from_environment()
        self._clock: Clock = clock or SystemClock()
        ours, self.models = read_targets(targets)
        self.pool: Pool = build_pool([each.reached_as(network) for each in ours], timestamp=self._clock.now())
        self._prices_end = next_change(self.pool)
        self._prices_read = read_on(self.pool)
        self.strategy: Strategy = Constraints(strategy=strategy).strategy or "balanced"
        self.baseline: Target = self.pool.strongest if baseline is None else self.pool[baseline]
        self.roles: Mapping[str, Constraints] = read_policies(roles, self.pool)
        self.policy = Profiles.load(policy) if isinstance(policy, str | Path) else policy
        if self.policy is not None:
            self.policy.check(self.pool)
        if isinstance(trial, str | Path):
            trial = Tried.load(trial)
        self.trial = None if trial is None else LiveTrial(trial)
        if trial is not None:
            trial.check(self.pool)
        self.table = StrategyTable.default() if table is None else table
        self.classifier: Classifier = StandardClassifier() if classifier is None else classifier
        self.affinity = Affinity() if affinity is None else affinity
        self.cache_breaks = CacheBreaks()
        self.breakers = Breakers() if breakers is None else breakers
        self._opened_ledger: SqliteLedger | None = None
        if isinstance(ledger, str | Path):
            ledger = self._opened_ledger = _open(ledger)
        self.ledger: Ledger = MemoryLedger() if ledger is None else ledger
        self._told_of_labels = False
        self.checks = None if checks is None else Checks(checks)
        if success_when is not None and not callable(success_when):
            raise ConfigError(f"success_when is a {type(success_when).__name__}; give a function of the answer")
        self._success_when = success_when
        self._steps = Memory()
        self._hears = not (recording is None and checks is None and success_when is None)
        self.recording = None if recording is None else _recorder(recording, self.pool)
        self.notices = Notices(on_notice)
        self.spending = Spending() if spending is None else spending
        self.budget: Budget | None = None if budget is None else Budget.of(budget)
        if self.budget is not None:
            self.keep(self.budget)
        self.policy_version = f"{self.table.version}/{self.classifier.version}"
        self._timeouts = timeouts or Timeouts()
        self._deadline_s = Constraints(deadline_s=deadline_s).deadline_s
        self._new_id = new_id or _random_id
        self._digest_key = secrets.token_bytes(16)
        self.begin_anew()
        renew_in_child(self)
        self._performer: transport.HttpPerformer | None = None
        self._async_performer: transport.AsyncHttpPerformer | None = None
        for target in self.pool:
            for doubt in doubts(target):
                logger.warning("target %r: %s", target.name, doubt)
        if self.budget is not None:
            for target in self.pool:
                if target.price is None:
                    logger.warning("target %r has no known price, so it does not serve under a budget", target.name)
        for pair in self.pool.dominated:
            logger.warning(
                "target %r is never the first choice beside %r (dearer, no higher tier)", pair.target, pair.by
            )

    def begin_anew(self) -> None:
        """For a forked child: another thread of its parent may have held the lock."""
        self._lock = threading.Lock()

    @classmethod
    def from_config(cls, path: str | Path, **options: Any) -> Router:
        """A router from a TOML file (`docs/configuration.md`). Raises ConfigError naming the file and the key, also for
        a target without an address: a pool that is to decide only is built in code."""
        from .config import load

        settings = {**load(path), **options}
        try:
            router = cls(**settings)
        except ConfigError as error:
            problem = str(error)
        else:
            lost = [(target.name, address_problem(target)) for target in router.pool]
            problem = "; ".join(f"target {name!r}: {text}" for name, text in lost if text is not None)
            if not problem:
                return router
            router.close()
        raise ConfigError(f"{path}: {problem}")

    @classmethod
    def given(
        cls,
        router: Router | None,
        targets: Any,
        native: Callable[[Any], NativeTarget[Any]],
        kind: type,
        options: Mapping[str, Any],
    ) -> Router:
        """For integrations: the router that was given, or a new one over `targets`, whose ready models `native` wraps.

        `options` are settings of the new router (`strategy`, `ledger`, ...); None is not given. Raises ConfigError if
        both or neither were given, for options beside a router, which has its own, and for a router that holds ready
        models of another kind.
        """
        options = {name: value for name, value in options.items() if value is not None}
        if (router is None) == (targets is None):
            raise ConfigError("give either `router` or `targets`, and not both")
        if router is None:
            return cls(wrapped(targets, native), **options)
        if not isinstance(router, Router):
            raise ConfigError(f"`router` is a {type(router).__name__}; give an agentroute Router")
        for name in options:
            raise ConfigError(f"`{name}` is given beside a router, which has its own; make it Router(..., {name}=...)")
        for name, model in router.models.items():
            if not isinstance(model, kind):
                held = type(model).__name__
                raise ConfigError(f"target {name!r} is a ready {held}; here only a {kind.__name__} can be called")
        return router

    # -- copies ----------------------------------------------------------------------------------------------------

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """The settings. Raises ConfigError if the classifier or a ready model cannot be pickled."""
        problem = None if type(self.classifier) is StandardClassifier else _why_not_pickled(self.classifier)
        if problem is not None:
            raise ConfigError(
                f"the router cannot be pickled: its classifier {type(self.classifier).__name__} cannot ({problem}); "
                f"make it of picklable parts, or build the router where it is used"
            )
        problem = None if self.notices.on_notice is None else _why_not_pickled(self.notices.on_notice)
        if problem is not None:
            raise ConfigError(
                f"the router cannot be pickled: its on_notice cannot ({problem}); give a function of a module, or "
                f"build the router where it is used"
            )
        for name, given in (("checks", self.checks and self.checks.given), ("success_when", self._success_when)):
            problem = None if given is None else _why_not_pickled(given)
            if problem is not None:
                raise ConfigError(
                    f"the router cannot be pickled: its `{name}` cannot ({problem}); give named functions"
                )
        for name, model in self.models.items():
            problem = _why_not_pickled(model)
            if problem is not None:
                raise ConfigError(
                    f"the router cannot be pickled: its target {name!r} is a ready {type(model).__name__}, which "
                    f"cannot ({problem}); give it as a Target with api_key='env:NAME', or build the router where it is "
                    f"used"
                )
        settings = {
            "targets": [
                NativeTarget(self.models[target.name], target) if target.name in self.models else target
                for target in self.pool
            ],
            "strategy": self.strategy,
            "baseline": self.baseline.name,
            "table": self.table,
            "classifier": self.classifier,
            "ledger": None if self._opened_ledger is None else self._opened_ledger.path,
            "timeouts": self._timeouts,
            "deadline_s": self._deadline_s,
            "roles": self.roles,
            "budget": self.budget,
            "on_notice": self.notices.on_notice,
            "recording": self.recording,
            "policy": self.policy,
            "trial": None if self.trial is None else self.trial.tried,
            "checks": None if self.checks is None else self.checks.given,
            "success_when": self._success_when,
        }
        return _unpickled, (type(self), settings)

    # -- deciding ------------------------------------------------------------------------------------------------

    def route(
        self,
        request: ChatRequest | Mapping[str, Any] | Sequence[Any] | str,
        *,
        context: StepContext | None = None,
        constraints: Constraints | Mapping[str, Any] | None = None,
    ) -> Decision:
        """The decision that would be taken now, with its reasons. Makes no call and writes no state.

        Raises NoCandidateError where no target may serve, ConfigError for a pin that is not in the pool.
        """
        with _SEALED:
            return self.prepare(request, context=context, constraints=constraints).decision

    def prepare(
        self,
        request: ChatRequest | Mapping[str, Any] | Sequence[Any] | str,
        *,
        context: StepContext | None = None,
        constraints: Constraints | Mapping[str, Any] | None = None,
        stream: bool = True,
        budget: Budget | None = None,
    ) -> Call:
        """A decided call that has not begun: what integrations build on. See `Call.run`.

        `budget` has to hold the call beside the router's own; `keep` has made it known.
        """
        with _SEALED:
            look = self.look(ChatRequest.of(request), context)
            return self.decided(look, Constraints.of(constraints), stream, budget)

    def look(self, request: ChatRequest, context: StepContext | None = None) -> Look:
        """What every decision about this request begins with, worked out once for as many as are wanted."""
        check_request(request)
        context = _NO_CONTEXT if context is None else context
        if not isinstance(context, StepContext):
            raise RequestError(f"`context` is a {type(context).__name__}; give a StepContext")
        try:
            prefix = Prefix.of_request(request)
        except (AttributeError, TypeError):
            check_parts(request.messages)
            raise
        step = Step.of(request, context, prefix.whole.bulk)
        prediction = self.classifier.predict(step, request)
        return Look(request, context, prefix, step, prediction, live_state(request))

    def keep(self, budget: Budget) -> None:
        """Counts from now on what this budget limits, and reads in the ledger what was spent before."""
        self.spending.follow(budget, self.ledger, self._clock.now(), self._clock.monotonic())

    def decided(self, look: Look, constraints: Constraints, stream: bool = True, budget: Budget | None = None) -> Call:
        """`prepare`, for a request that was looked at before."""
        request, context, prefix, step = look.request, look.context, look.prefix, look.step
        prediction = look.prediction
        role = role_of(self.roles, context, request)
        constraints = constraints if role is None else constraints_for(self.roles[role], constraints)
        created_at = self._clock.now()
        self._read_prices(created_at)
        now = self._clock.monotonic()
        recall = self.affinity.recall(prefix, self.pool, now)
        tokens = estimate(prefix, self._anchor(prefix, context) or recall.anchor)
        strategy = constraints.strategy or self.strategy
        row = self.table.row(prediction.task, prediction.complexity)
        opened = {
            target.name: view for target in self.pool if (view := self.breakers.open_until(target, now)) is not None
        }
        loop = is_loop(request)
        drawn = None if self.trial is None else self.trial.drawn(context)
        known = None if drawn is None else drawn.known
        if known is None and self.policy is not None:
            known = self.policy.of(context, request, created_at.date(), self._model)
        output_tokens = expected_output(prediction.step_kind, prediction.task, request)
        bounds = self._bounds(request, context, created_at, budget)
        situation = Situation(
            request=request,
            step=step,
            prediction=prediction,
            strategy=strategy,
            row=row,
            constraints=constraints,
            input_tokens=tokens.input_tokens,
            output_tokens=output_tokens,
            warm=recall.warm,
            loop=loop,
            opened=opened,
            reasoning=look.reasoning,
            run=recall.run,
            seen_tokens=recall.seen_tokens,
            known=known,
            budgeted=bool(bounds),
        )
        checked = None if self.checks is None else self._checked(self.checks, look, recall)
        if checked is not None and checked.escalation is not None:
            situation = replace(situation, above=checked.escalation.above)
        selection = select(situation, self.pool)
        first = selection.candidates[0]
        expected = selection.costs[first.target]
        baseline_warm = self._baseline_warm(recall, now)
        baseline = step_cost(self.baseline, tokens.input_tokens, output_tokens, baseline_warm, loop=loop)
        reasons = prediction.reasons if selection.note is None else (*prediction.reasons, selection.note)
        if role is not None:
            reasons = (*reasons, f"policy of role {role!r}")
        if known is not None:
            reasons = (*(each for each in reasons if not each.endswith(CAUTION)), *known.reasons)
        if checked is not None and checked.escalation is not None:
            reasons = (*reasons, checked.escalation.reason)
        decision = Decision(
            id=self._new_id(),
            created_at=created_at,
            policy_version=self.policy_version,
            context=_cut_off(context),
            request_digest=self._digest(prefix.whole),
            request_chars=prefix.whole.bulk.chars,
            target=first.target,
            tier=first.tier,
            task=prediction.task,
            step_kind=prediction.step_kind,
            complexity=prediction.complexity,
            strategy=strategy,
            sufficiency={tier.value: prediction.sufficiency[tier.rank] for tier in Tier},
            confidence=prediction.confidence,
            reasons=reasons,
            candidates=selection.candidates,
            dropped=selection.dropped,
            estimated_usage=expected.usage,
            expected_cost=expected.cost,
            baseline_target=self.baseline.name,
            baseline_cost=baseline.cost,
            explored=drawn is not None and drawn.explored and first.target in drawn.known.licensed,
            propensity=1.0 if drawn is None else drawn.propensity,
        )
        max_cost = None if constraints.max_cost is None else Decimal(str(constraints.max_cost))
        deadline_s = constraints.deadline_s if constraints.deadline_s is not None else self._deadline_s
        plan = Plan(
            targets=selection.targets,
            request=request,
            stream=stream,
            timeouts=self._timeouts,
            deadline=None if deadline_s is None else now + deadline_s,
            breakers=self.breakers,
            content_filter_fallback=selection.content_filter_fallback,
            max_attempts=constraints.max_attempts or MAX_ATTEMPTS,
            most_output={} if max_cost is None else _paid_for(situation, selection, max_cost),
        )
        alone = recall.last_target in (None, self.baseline.name)
        return Call(
            decision,
            plan,
            Baseline(self.baseline, baseline_warm, alone=alone, loop=loop),
            clock=self._clock,
            performer=lambda: self.performer,
            async_performer=lambda: self.async_performer,
            ended=partial(self._ended, look, checked, recall.last_target, opened),
            refused=self._refused,
            reserve=partial(self._reserve, bounds, plan, expected) if bounds else None,
            max_cost=max_cost,
            heard=partial(self._heard, look) if self._hears else None,
        )

    def _bounds(
        self, request: ChatRequest, context: StepContext, now: datetime, budget: Budget | None
    ) -> tuple[Bound, ...]:
        """The limits that hold for this step."""
        if self.budget is None and budget is None:
            return ()
        opening = partial(opening_key, request.messages)
        both = (each.bounds(context, now, opening) for each in (self.budget, budget) if each is not None)
        return tuple(bound for bounds in both for bound in bounds)

    def _reserve(self, bounds: tuple[Bound, ...], plan: Plan, expected: StepCost) -> Hold:
        """Sets aside what the call costs on its first target if it writes all that the caller allows."""
        first, cost = plan.targets[0], expected.cost or Decimal(0)
        limits = (plan.request.sampling.max_output_tokens, plan.most_output.get(first.name))
        allowed = min((limit for limit in limits if limit is not None), default=expected.output_tokens)
        if first.max_output_tokens is not None:
            allowed = min(allowed, first.max_output_tokens)
        more = max(allowed - expected.output_tokens, 0)
        rate = Decimal(0) if first.price is None else first.price.at(expected.input_tokens).output
        now = self._clock.now()
        return self.spending.reserve(bounds, cost, cost + more * rate / 1_000_000, now, self._clock.monotonic())

    def _ended(
        self,
        look: Look,
        checked: Checked | None,
        before: str | None,
        opened: Mapping[str, Open],
        decision: Decision,
        hold: Hold | None,
    ) -> tuple[Decision, tuple[Notice, ...]]:
        """Records the step, remembers which target has read its prefix, and tells what somebody should know of it."""
        decision = self._record(look, checked, decision)
        now = self._clock.monotonic()
        failed = {a.target for a in decision.attempts if a.outcome == "failed"} - opened.keys()
        views = ((name, self.breakers.open_until(self.pool[name], now)) for name in failed if name in self.pool)
        new = {name: view for name, view in views if view is not None} if failed else {}
        try:
            check = None if checked is None or checked.escalation is None else checked.escalation.check
            last = None if before is None else self.pool.get(before)
            return decision, self.notices.of(decision, now, before=last, check=check, opened=new, hold=hold)
        except Exception:
            logger.exception("nothing could be told of decision %s", decision.id)
            return decision, ()

    def _refused(self, error: BudgetExceeded, decision: Decision) -> tuple[Notice, ...]:
        return self.notices.refused(error, decision, self._clock.monotonic())

    def _checked(self, checks: Checks, look: Look, recall: Recall) -> Checked:
        """What the checks say of the results in this request, and whether its turn goes on higher."""
        before = self._steps.before(look.prefix, look.context)
        last = recall.last_target if before is None else before.target
        served = None if last is None else self.pool.get(last)
        return Checked.of(checks, look.request, look.step, before, served)

    def _keep_checked(self, checked: Checked, look: Look, decision: Decision) -> None:
        """Notes what the checks said of the step before, and what the next one must know of this one."""
        previous = look.context.previous
        step = checked.before.decision_id if checked.before is not None else None if previous is None else previous.id
        if step is not None:
            for each in checked.verdicts:
                self.outcome(step, ok=each.ok, source="person" if each.person else "check", name=each.name)
        if decision.outcome == "ok":
            before = Before(decision.id, decision.target, decision.tier, escalation=checked.escalation)
            self._steps.keep(look.prefix, look.context, before)

    def _heard(self, look: Look, decision: Decision, response: ChatResponse) -> None:
        """What is done with a whole answer, if anything is."""
        if self.recording is not None:
            self.recording.take(decision, look.request, response)
        if self.checks is not None:
            failed = None
            for each in self.checks.answer(look.request, response, look.context):
                self.outcome(decision, ok=each.ok, name=each.name)
                failed = failed if each.ok else each.name
            self._steps.heard(look.prefix, look.step, decision, response, failed)
        if self._success_when is not None and not response.tool_calls:
            said = self._success_when(response)
            if isinstance(said, bool):
                self.outcome(decision, ok=said, name="success_when")
            elif said is not None:
                self.outcome(decision, score=said, name="success_when")

    def _record(self, look: Look, checked: Checked | None, decision: Decision) -> Decision:
        """Remembers which target has read the step's prefix, and records the step with what was found broken of it."""
        if decision.outcome == "ok":
            try:
                usage, estimated = None if decision.counted_input is None else decision.usage, decision.estimated_usage
                broken = self.observe(
                    look.prefix, decision.target, usage, estimated, request=look.request, decision=decision
                )
                if broken is not None:
                    decision = replace(decision, cache_broken=broken)
            except Exception:
                logger.exception("the affinity did not take decision %s", decision.id)
        _log(decision)
        for held in (self.policy, self.trial):
            if held is not None:
                held.began(decision)
        try:
            self.ledger.append(decision)
        except Exception:
            logger.exception("the ledger did not take decision %s", decision.id)
        if checked is not None:
            self._keep_checked(checked, look, decision)
        return decision

    def _read_prices(self, now: datetime) -> None:
        """Brings the pool to the prices that hold now, however long this process has run. No network."""
        read = self._prices_read
        if read is not None and (now.date() - read).days > MAX_AGE_DAYS:
            self._prices_read = None
            logger.warning(
                "the price list is %d days old (its newest note is of %s), so costs may be wrong; "
                "pip install -U genai-prices brings a new one",
                (now.date() - read).days,
                read,
            )
        if self._prices_end is None or now < self._prices_end:
            return
        pool = Pool(current(target, now) for target in self.pool)
        self.pool, self.baseline, self._prices_end = pool, pool[self.baseline.name], next_change(pool)

    def _model(self, name: str) -> str | None:
        target = self.pool.get(name)
        return None if target is None else target.model

    def _digest(self, mark: Mark) -> str:
        return hashlib.blake2b(str(mark.key).encode(), key=self._digest_key, digest_size=16).hexdigest()

    def _anchor(self, prefix: Prefix, context: StepContext) -> Anchor | None:
        """The previous decision's own count, where its request is a prefix of this one."""
        previous = context.previous
        counted = None if previous is None else previous.counted_input
        if previous is None or counted is None:
            return None
        for mark in prefix.earlier:
            if self._digest(mark) == previous.request_digest:
                return Anchor(counted, mark.bulk)
        return None

    def _baseline_warm(self, recall: Recall, now: float) -> int:
        """The baseline is taken to have served every step so far, so it holds what the last one sent."""
        ttl = self.baseline.cache_ttl_s
        if recall.seen_at is None or ttl is None or now - recall.seen_at > ttl:
            return recall.warm.get(self.baseline.name, 0)
        return recall.seen_tokens

    # -- calling -------------------------------------------------------------------------------------------------

    def complete(
        self,
        request: ChatRequest | Mapping[str, Any] | Sequence[Any] | str,
        *,
        context: StepContext | None = None,
        constraints: Constraints | Mapping[str, Any] | None = None,
    ) -> ChatResponse:
        """The whole answer, with `.decision`.

        Raises what `route` raises; ProviderError and its kinds where no target answered (`.decision` is on the error).
        """
        with _SEALED:
            call = self.prepare(request, context=context, constraints=constraints, stream=False)
        del request, context  # An error's traceback shows this frame, and may show its locals.
        answer = ResponseStream(call)
        for event in answer:
            del event  # Nor what came, if the call is interrupted.
        return answer.response

    async def acomplete(
        self,
        request: ChatRequest | Mapping[str, Any] | Sequence[Any] | str,
        *,
        context: StepContext | None = None,
        constraints: Constraints | Mapping[str, Any] | None = None,
    ) -> ChatResponse:
        """`complete` on an event loop."""
        with _SEALED:
            call = self.prepare(request, context=context, constraints=constraints, stream=False)
        del request, context
        answer = AsyncResponseStream(call)
        async for event in answer:
            del event
        return answer.response

    def stream(
        self,
        request: ChatRequest | Mapping[str, Any] | Sequence[Any] | str,
        *,
        context: StepContext | None = None,
        constraints: Constraints | Mapping[str, Any] | None = None,
    ) -> ResponseStream:
        """The answer as events, while it comes.

        with router.stream(request) as stream:
            for event in stream: ...
        stream.response, stream.decision
        """
        with _SEALED:
            return ResponseStream(self.prepare(request, context=context, constraints=constraints))

    def astream(
        self,
        request: ChatRequest | Mapping[str, Any] | Sequence[Any] | str,
        *,
        context: StepContext | None = None,
        constraints: Constraints | Mapping[str, Any] | None = None,
    ) -> AsyncResponseStream:
        """`stream` on an event loop: `async with`, `async for`."""
        with _SEALED:
            return AsyncResponseStream(self.prepare(request, context=context, constraints=constraints))

    def observe(
        self,
        prefix: Prefix,
        target: str,
        usage: Usage | None,
        estimated: Usage,
        *,
        request: ChatRequest | None = None,
        decision: Decision | None = None,
    ) -> CacheBreak | None:
        """Notes that `target` has read this prefix: it is warm there as far as its provider counted (`usage`, None for
        none that is believed), and that count anchors the next estimate.

        `request` tells what its markers ask for, `decision` what the step has shown of the run. Returns what the target
        had kept of this conversation and did not read again, if a `request` is given.
        """
        counted = None if usage is None else usage.prompt_tokens
        tokens = estimated.input_tokens or 0 if counted is None else counted
        served = self.pool[target]
        asked, system = asked_of(request, served)
        left = kept(served, tokens, usage, asked=asked, system=system)
        now = self._clock.monotonic()
        run = None if decision is None else self._run(prefix, served, decision, now)
        self.affinity.record(prefix, served, tokens, now, counted=counted is not None, kept=left, run=run)
        return None if request is None else self.cache_breaks.served(prefix, request.messages, served, usage, left, now)

    def _run(self, prefix: Prefix, served: Target, decision: Decision, now: float) -> Run:
        """What the conversation has shown once this step is done."""
        before = self.affinity.recall(prefix, (served,), now).run
        home = None if before is None else self.pool.get(before.home)
        rank = served.tier.rank if served.tier is not None else 0
        was = home.tier.rank if home is not None and home.tier is not None else rank
        likely = decision.sufficiency
        return after(
            before,
            (likely["budget"], likely["mid"], likely["standard"], likely["premium"]),
            decision.step_kind,
            served.name,
            up=rank > was,
            down=rank < was,
        )

    # -- outcomes ------------------------------------------------------------------------------------------------

    def outcome(
        self,
        decision: Decision | str | None = None,
        *,
        conversation_id: str | None = None,
        role: str | None = None,
        ok: bool | None = None,
        score: float | None = None,
        source: Source = "check",
        name: str | None = None,
    ) -> None:
        """Notes in the ledger how a step (its decision, or the id of it) or a whole conversation went. Returns at once.

        `ok`, `score` (any finite number) or both. `source` says who knows: `check` (code that can tell: tests, a
        schema, a guardrail), `person`, `benchmark` or `judge` (a model's opinion: shown, and certifies nothing). `role`
        narrows what is said of a conversation to one that took part; `name` tells several checks from each other.
        Raises RequestError for what cannot be meant; a fault of the ledger is logged and never raised.

        >>> router = Router(["openai/gpt-4.1-nano"])
        >>> router.outcome("a1b2", ok=False, source="person")
        """
        label = Label(
            at=self._clock.now(),
            decision_id=decision.id if isinstance(decision, Decision) else decision,
            conversation_id=conversation_id,
            role=role,
            ok=ok,
            score=score,
            source=source,
            name=name,
        )
        for held in (self.policy, self.trial):
            if held is not None and ok is not None and source != "judge":
                told = held.ended(label.decision_id or label.conversation_id or "", ok, role)
                if told is not None:
                    logger.warning("%s", told)
        try:
            append: Callable[[Label], None] | None = getattr(self.ledger, "append_label", None)
            if append is not None:
                append(label)
            elif not self._told_of_labels:
                self._told_of_labels = True
                logger.warning("the ledger %s keeps no outcomes (no `append_label`)", type(self.ledger).__name__)
        except Exception:
            logger.exception("the ledger did not take an outcome")

    # -- what is held --------------------------------------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def performer(self) -> transport.HttpPerformer:
        """Our own transport, made at the first call."""
        with self._lock:
            if self._performer is None:
                self._performer = transport.HttpPerformer(clock=self._clock)
            return self._performer

    @property
    def async_performer(self) -> transport.AsyncHttpPerformer:
        """Our own transport for event loops, made at the first call."""
        with self._lock:
            if self._async_performer is None:
                self._async_performer = transport.AsyncHttpPerformer(clock=self._clock)
            return self._async_performer

    def close(self) -> None:
        """Closes the connections of plain calls, and the ledger where only its path was given. The router may be used
        again."""
        with self._lock:
            performer, self._performer = self._performer, None
        if performer is not None:
            performer.close()
        if self._opened_ledger is not None:
            self._opened_ledger.close()
        if self.recording is not None:
            self.recording.close()

    async def aclose(self) -> None:
        """Closes the connections of this event loop, and those of plain calls."""
        with self._lock:
            performer, self._async_performer = self._async_performer, None
        if performer is not None:
            await performer.aclose()
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        pool = getattr(self, "pool", ())  # A traceback that shows locals may ask before it is made.
        return f"Router({', '.join(target.name for target in pool)}; strategy={getattr(self, 'strategy', None)!r})"


class _Sealed:
    """Around what holds the request: an error of ours leaves without the frames that it came through, since a traceback
    that shows locals would show the conversation."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, AgentRouteError):
            error.__traceback__ = None


_SEALED = _Sealed()


_SURE_OUTPUT = 8_192
"""Tokens that every model of today writes: a higher limit may be refused by one whose own limit is not known."""


def _paid_for(situation: Situation, selection: Selection, max_cost: Decimal) -> dict[str, int]:
    """By target, the output tokens that `max_cost` pays for, if that is less than its model writes anyway."""
    found = {}
    for target in (*selection.targets, *selection.content_filter_fallback):
        if target.dialect == NATIVE:
            continue
        most = affordable_output(target, situation.cost_on(target), max_cost)
        if most is not None and most < (target.max_output_tokens or _SURE_OUTPUT):
            found[target.name] = max(most, 1)
    return found


def _unpickled(kind: type[Router], settings: dict[str, Any]) -> Router:
    return kind(**settings)


def _why_not_pickled(value: object) -> str | None:
    try:
        pickle.dumps(value)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def _log(decision: Decision) -> None:
    """One line for a step, DEBUG, or INFO if it was slow: names, counts and times; nothing of what was said."""
    seconds = sum(attempt.duration_s for attempt in decision.attempts)
    level = logging.INFO if seconds >= SLOW_S else logging.DEBUG
    if not logger.isEnabledFor(level):
        return
    logger.log(
        level,
        "step %s (%s, %s): %s from %r after %.1f s, %d attempts, cost %s",
        decision.id,
        decision.step_kind.value,
        decision.task.value,
        decision.outcome,
        decision.target,
        seconds,
        len(decision.attempts),
        usd(decision.cost, places=5),
    )


def _open(path: str | Path) -> SqliteLedger:
    from .ledger import SqliteLedger

    return SqliteLedger(path)


def _recorder(value: Any, pool: Pool) -> Recorder:
    from .recording import Recorder

    recorder = Recorder.of(value)
    recorder.hide(
        key for target in pool for key in (target.api_key, *target.spare_keys, target.proxy) if isinstance(key, Secret)
    )
    return recorder


def _cut_off(context: StepContext) -> StepContext:
    """The context with one decision before it and no more: a record must not hold all of its trajectory."""
    previous = context.previous
    if previous is None or previous.context.previous is None:
        return context
    return replace(context, previous=replace(previous, context=replace(previous.context, previous=None)))


def _random_id() -> str:
    return secrets.token_hex(12)
