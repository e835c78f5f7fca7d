"""RoutedLLM: a CrewAI LLM whose every call is routed, with failover, to one of several targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import aclosing, closing
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from crewai.llms.base_llm import BaseLLM, llm_call_context
from pydantic import BaseModel, Field, PrivateAttr, SerializerFunctionWrapHandler, model_serializer

from agentroute import Budget, ConfigError, Decision, Router
from agentroute.decisions import Strategy
from agentroute.failover.forks import ProcessLock
from agentroute.ledger import Ledger
from agentroute.ledger.notices import OnNotice
from agentroute.routing.policies import read_constraints
from agentroute.routing.prefix import Prefix
from agentroute.routing.tokens import estimate

from .answers import written_usage
from .attempts import AsyncLLMPerformer, LLMPerformer
from .calls import RoutedCall
from .pool import native, usable_window
from .registering import NAME, register_for_agents, register_for_flows
from .requests import Asked, read_request
from .restoring import Shared

__all__ = ["RoutedLLM"]

_Method = TypeVar("_Method", bound=Callable[..., Any])

_OF_THE_ROUTER = ("strategy", "ledger", "baseline", "deadline_s", "budget", "on_notice")
_OF_TARGETS = ("api_key", "base_url", "n")
_KEPT = {
    "role",
    "constraints",
    "additional_params",
    "temperature",
    "top_p",
    "max_tokens",
    "seed",
    "stop",
    "frequency_penalty",
    "presence_penalty",
    "stream",
}
"""The settings that a waiting flow keeps."""


_counting = ProcessLock()
"""One count at a time, in each process."""


def _not_retried(method: _Method) -> _Method:
    """CrewAI would try three times on anything that reads like a 429: here the chain alone retries."""
    method._crewai_rate_limit_wrapped = True  # type: ignore[attr-defined]
    return method


class RoutedLLM(BaseLLM):
    """An LLM that sends each call to the cheapest of its targets that will do it right.

    Args:
        targets: a list of ready CrewAI LLMs, agentroute Targets, `"provider/model"` texts and `native(...)`, or a dict
            of names to any of these, in which a tier's name (`budget`, ...) sets the tier.
        strategy, ledger, baseline, deadline_s, budget, on_notice: settings of the router that is made of `targets`.
        router: a Router of your own instead, which may hold ready LLMs too (`native(llm)`).
        temperature, top_p, max_tokens, seed, stop, and the penalties: hold for every target.
        additional_params: further fields of a chat-completions body.
        router_name: by this name an agent or a flow that comes back in another process finds the RoutedLLM made there.
        role: stands in if CrewAI does not say who calls.
        constraints: fields of Constraints (`max_tier`, `strategy`, ...) for every call.

    Each agent needs a handle of its own, for CrewAI adds up the counts of every agent's LLM: `for_agent` makes one,
    `route_crew` one for each agent. `last_decision` is the latest call's. Raises ConfigError for a wrong setting, and
    what `Router.complete` raises for a call.
    """

    llm_type: str = NAME
    model: str = NAME
    provider: str = NAME
    role: str | None = None
    constraints: dict[str, Any] = Field(default_factory=dict)
    _shared: Shared = PrivateAttr()
    _counted_by: RoutedLLM | None = PrivateAttr(default=None)
    _last: Decision | None = PrivateAttr(default=None)
    _misfit: Any = PrivateAttr(default=None)
    """The form that the latest answer did not have: who asks for it again, asks after a failure."""

    def __init__(
        self,
        *,
        router: Router | Mapping[str, Any] | None = None,
        targets: Any = None,
        router_name: str | None = None,
        strategy: Strategy | None = None,
        ledger: Ledger | str | Path | None = None,
        baseline: str | None = None,
        deadline_s: float | None = None,
        budget: Budget | Mapping[str, Any] | float | None = None,
        on_notice: OnNotice | None = None,
        **settings: Any,
    ) -> None:
        for name, value in settings.items():
            _check_setting(name, value)
        super().__init__(**{"model": NAME, "provider": NAME, **settings})
        options = {
            "strategy": strategy,
            "ledger": ledger,
            "baseline": baseline,
            "deadline_s": deadline_s,
            "budget": budget,
            "on_notice": on_notice,
        }
        # CrewAI writes the class down, and of an agent's `function_calling_llm` nothing that is not every LLM's.
        copied = "llm_type" in settings
        self._shared = _shared(router, targets, options, router_name, copied=copied)
        if not copied:  # those were checked, and the router may come later
            read_constraints(self.constraints, self.router.pool)
        register_for_flows(RoutedLLM)

    @property
    def router(self) -> Router:
        """The router that this handle shares with its copies."""
        return self._shared.router

    @property
    def models(self) -> Mapping[str, BaseLLM]:
        """The CrewAI LLM behind each native target, by the target's name."""
        return self._shared.router.models

    @property
    def last_decision(self) -> Decision | None:
        """The decision of the call of this handle that ended last, or None."""
        return self._last

    def for_agent(self, name: str | None = None, role: str | None = None, **constraints: Any) -> RoutedLLM:
        """A handle on the same router for one agent, with counters of its own.

        CrewAI's name of an agent is its role; `role` is for another one. `constraints` are fields of Constraints
        (`target`, `tier`, `max_tier`, `strategy`, ...), over those of this handle. Raises ConfigError for another one,
        and for a target or a provider that is not there.
        """
        made = self._copied()
        made.role = role or name or self.role
        made.constraints = {**self.constraints, **constraints}
        read_constraints(made.constraints, self.router.pool)
        made._counted_by = None
        return made

    # -- the two calls -------------------------------------------------------------------------------------------

    @_not_retried
    def call(
        self,
        messages: str | list[Any],
        tools: list[dict[str, Any]] | None = None,
        callbacks: list[Any] | None = None,
        available_functions: dict[str, Any] | None = None,
        from_task: Any | None = None,
        from_agent: Any | None = None,
        response_model: type[BaseModel] | None = None,
    ) -> str | Any:
        """A text; with `tools` a list of `{"id", "type", "function"}` where the model calls some, or, where
        `available_functions` holds the function, its result; with `response_model` an instance. Never None or "".
        """
        asked = Asked([], tools, callbacks, available_functions, from_task, from_agent, response_model)
        with llm_call_context() as call_id:
            routed = RoutedCall(self, asked, call_id)
            try:
                attempts, call = routed.open(messages)
                with closing(call.run(LLMPerformer(attempts))) as payloads:
                    for payload in payloads:
                        routed.take(payload)
                return routed.result()
            except BaseException as error:
                failure = routed.failed(error)
                if failure is error:
                    raise
            raise failure

    @_not_retried
    async def acall(
        self,
        messages: str | list[Any],
        tools: list[dict[str, Any]] | None = None,
        callbacks: list[Any] | None = None,
        available_functions: dict[str, Any] | None = None,
        from_task: Any | None = None,
        from_agent: Any | None = None,
        response_model: type[BaseModel] | None = None,
    ) -> str | Any:
        """`call` on an event loop; each loop has connections of its own, which end with it."""
        asked = Asked([], tools, callbacks, available_functions, from_task, from_agent, response_model)
        with llm_call_context() as call_id:
            routed = RoutedCall(self, asked, call_id)
            try:
                attempts, call = routed.open(messages)
                async with aclosing(call.arun(AsyncLLMPerformer(attempts))) as payloads:
                    async for payload in payloads:
                        routed.take(payload)
                return routed.result()
            except BaseException as error:
                failure = routed.failed(error)
                if failure is error:
                    raise
            raise failure

    # -- what CrewAI asks about a model --------------------------------------------------------------------------

    def supports_function_calling(self) -> bool:
        """Whether some target can call tools: where one is given, only such targets are tried."""
        return any(target.capabilities.tools is not False for target in self.router.pool)

    def supports_multimodal(self) -> bool:
        return any(target.capabilities.vision is not False for target in self.router.pool)

    def _multimodal_formatter_name(self) -> str:
        return "openai"

    def get_context_window_size(self) -> int:
        """85 % of the largest window of the pool, in tokens, as CrewAI's own LLMs have it."""
        return usable_window(self.router.pool, self.models)

    def get_input_tokens_count(
        self,
        messages: str | list[Any],
        tools: list[dict[str, Any]] | None = None,
        response_model: type[BaseModel] | None = None,
    ) -> int:
        """An estimate, in tokens: which tokenizer will read the messages is not known before they are routed."""
        request = read_request(self._format_messages(messages), tools, response_model)
        return estimate(Prefix.of(request.messages, request.tools)).input_tokens

    # -- counters ------------------------------------------------------------------------------------------------

    def _count(self, decision: Decision, from_agent: Any) -> None:
        """Adds up all that the call's attempts have used. A copy counts for the LLM it was made from (CrewAI's memory
        works on one) until it turns out to be an agent's own.
        """
        self._last = decision
        if self._counted_by is not None and getattr(from_agent, "llm", None) is self:
            self._counted_by = None
        counter: RoutedLLM = self
        while counter._counted_by is not None:
            counter = counter._counted_by
        with _counting:
            for attempt in decision.attempts:
                if attempt.usage is not None or attempt.outcome == "ok":
                    counter._track_token_usage_internal(written_usage(attempt.usage) or {"total_tokens": 0})
                    if attempt.outcome != "ok":
                        counter._token_usage["successful_requests"] -= 1

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {**handler(self), "router": self._shared.written()}

    def to_config_dict(self) -> dict[str, Any]:
        """What a flow that waits for a person keeps of this LLM: `LLM(**config)` is a handle on the same router again.

        In another process that is the router of the same `router_name`, or one made anew of the same targets.
        """
        held = self.model_dump(mode="json", include=_KEPT, exclude_none=True)
        return {**held, "model": NAME, "provider": NAME, "router": self._shared.written()}

    # -- copies --------------------------------------------------------------------------------------------------

    def _copied(self) -> RoutedLLM:
        made = BaseLLM.__copy__(self)
        made.stop = list(self.stop)
        made.additional_params = dict(self.additional_params)
        made.constraints = dict(self.constraints)
        made._token_usage = dict.fromkeys(self._token_usage, 0)
        made._last = None
        made._misfit = None
        return made

    def __copy__(self) -> RoutedLLM:
        made = self._copied()
        made._counted_by = self
        return made

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> RoutedLLM:
        made = self._copied()
        made._counted_by = None
        return made

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        fresh = {
            "_token_usage": dict.fromkeys(self._token_usage, 0),
            "_last": None,
            "_misfit": None,
            "_counted_by": None,
        }
        return {**state, "__pydantic_private__": {**state["__pydantic_private__"], **fresh}}


def _check_setting(name: str, value: Any) -> None:
    """CrewAI takes any setting and sends what it does not know; here a wrong name is an error."""
    if name in _OF_TARGETS and value is not None:
        raise ConfigError(f"`{name}` is no setting of a RoutedLLM; each of its targets has its own")
    if name in ("model", "provider") and value != NAME:
        raise ConfigError(f"`{name}` is {value!r}; a RoutedLLM has `targets`, and its own name is {NAME!r}")
    if name == "models":
        raise ConfigError("`models` is no setting; give ready LLMs in `targets`, or Router(targets=[native(llm), ...])")
    if name not in RoutedLLM.model_fields and name != "stop_sequences":
        known = [*RoutedLLM.model_fields, "targets", "router_name", *_OF_THE_ROUTER]
        near = get_close_matches(name, known, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else "fields of a provider's own go into `additional_params`"
        raise ConfigError(f"RoutedLLM has no setting {name!r}; {remedy}")


def _shared(router: Any, targets: Any, options: Mapping[str, Any], name: str | None, *, copied: bool) -> Shared:
    if copied and router is None and targets is None:
        return Shared.lost("CrewAI has copied this LLM without its router; give it to the agent again")
    if isinstance(router, Mapping):
        return Shared.restored(router)
    return Shared(Router.given(router, targets, native, BaseLLM, options), name)


register_for_agents(RoutedLLM)
