"""Which targets a RoutedLLM was given: ours, ready CrewAI LLMs, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import ref

from crewai.llms.base_llm import BaseLLM
from crewai.llms.context_window import CONTEXT_WINDOW_USAGE_RATIO

from agentroute import Capabilities, ConfigError, Pool, Price, Target, Tier
from agentroute.failover.forks import renew_in_child
from agentroute.native.targets import NATIVE, NativeTarget

__all__ = ["NativeReport", "current_report", "native", "usable_window"]

_PROVIDERS: Final = {
    "azure_openai": "azure",
    "bedrock": "aws",
    "gemini": "google",
    "vertex_ai": "google",
}
"""CrewAI's `provider` where the catalog knows it by another name."""

_UNKNOWN_WINDOW: Final = 128_000
"""Tokens, where no target's window is known. CrewAI withholds tool results that are large for the window it is told, so
a small number would lose data; a request that is too long in truth is refused by its provider, and CrewAI compacts it.
"""


@dataclass(slots=True)
class NativeReport:
    """What a native LLM reported during one attempt: its counts, whether it has shown part of an answer, and whether
    it has told the event bus that it failed."""

    usage: list[dict[str, Any]] = field(default_factory=list)
    shown: bool = False
    failed: bool = False


current_report: ContextVar[NativeReport | None] = ContextVar("crewai_agentroute_report", default=None)


def native(
    llm: BaseLLM, *, name: str | None = None, tier: str | Tier | None = None, price: Price | None = None
) -> NativeTarget[BaseLLM]:
    """A ready CrewAI LLM as a target. It is called through its public methods, with its own retries off.

    Provider and model are its own; the catalog fills in price and tier from them. `name` defaults to the model's,
    `price` is USD per million tokens. Raises ConfigError for what is no LLM.
    """
    if not isinstance(llm, BaseLLM):
        raise ConfigError(f"a target is a {type(llm).__name__}; give an agentroute Target or a CrewAI LLM")
    prefix, _, rest = llm.model.partition("/")
    provider, model = (prefix, rest) if rest else (llm.provider, llm.model)
    can_call = getattr(llm, "supports_function_calling", None)
    target = Target(
        name=name,
        provider=_PROVIDERS.get(provider, provider),
        model=model,
        tier=tier,
        price=price,
        capabilities=Capabilities(tools=bool(can_call()) if callable(can_call) else None),
        dialect=NATIVE,
    )
    return NativeTarget(_prepared(llm), target)


_CLIENTS = ("_client", "_async_client")


def _prepared(llm: BaseLLM) -> BaseLLM:
    """A copy that does not retry by itself and reports to `current_report`: its own counters are of no use, as they do
    not say which call they counted. Clients are built when first used, and remember the number of retries.
    """
    copy = llm.model_copy(update={"max_retries": 0} if "max_retries" in type(llm).model_fields else None)
    without_clients(copy)
    show, fail = copy._emit_stream_chunk_event, copy._emit_call_failed_event

    def track(usage_data: dict[str, Any]) -> None:
        report = current_report.get()
        if report is not None:
            report.usage.append(usage_data)

    def emit(*args: Any, **kwargs: Any) -> None:
        report = current_report.get()
        if report is not None:
            report.shown = True
        show(*args, **kwargs)

    def emit_failed(*args: Any, **kwargs: Any) -> None:
        # CrewAI's OpenAI client tells of one failure twice; the bus takes the second for the end of the agent's run.
        report = current_report.get()
        if report is not None and not report.failed:
            report.failed = True
            fail(*args, **kwargs)

    object.__setattr__(copy, "_track_token_usage_internal", track)
    object.__setattr__(copy, "_emit_stream_chunk_event", emit)
    object.__setattr__(copy, "_emit_call_failed_event", emit_failed)
    object.__setattr__(copy, "_of_this_process", _OfThisProcess(copy))
    return copy


class _OfThisProcess:
    """The clients of a ready LLM, which a forked child builds anew: its parent's connections are its parent's."""

    def __init__(self, llm: BaseLLM) -> None:
        self._llm = ref(llm)
        self._of_parents: list[Any] = []
        renew_in_child(self)

    def begin_anew(self) -> None:
        llm = self._llm()
        if llm is not None:
            self._of_parents.append([getattr(llm, name, None) for name in _CLIENTS])
            without_clients(llm)


def without_clients(llm: BaseLLM) -> None:
    """The LLM (a copy) builds its clients anew, where CrewAI's own classes keep them."""
    for name in _CLIENTS:
        if name in type(llm).__private_attributes__ and type(llm).__module__.startswith("crewai.llms.providers."):
            setattr(llm, name, None)


def usable_window(pool: Pool, models: Mapping[str, BaseLLM]) -> int:
    """The part that CrewAI uses of the largest window known, in tokens: a longer prompt goes to that target."""
    known = [target.context_window for target in pool if target.context_window is not None]
    usable = [int(window * CONTEXT_WINDOW_USAGE_RATIO) for window in known]
    usable += [models[t.name].get_context_window_size() for t in pool if t.context_window is None and t.name in models]
    return max(usable, default=int(_UNKNOWN_WINDOW * CONTEXT_WINDOW_USAGE_RATIO))
