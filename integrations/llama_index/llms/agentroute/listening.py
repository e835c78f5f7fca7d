"""What LlamaIndex's agents do not tell their LLM: which of them calls, and which results are those of failed tools.

Their workflows tell instrumentation, in the spans of their steps. The one listener of a process hangs on the root
dispatcher from the first RoutedLLM that `listens`; it keeps no span and nothing of the program's objects, and costs a
microsecond or two for each span.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Final

from llama_index.core.agent.workflow.workflow_events import AgentInput, AgentSetup, ToolCallResult
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.workflow import Event
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.span_handlers.base import BaseSpanHandler

from agentroute.failover.forks import ProcessLock

__all__ = ["calling_agent", "has_failed", "listen", "told_of_failure"]

_REMEMBERED: Final = 4096
"""Failed calls of this process that are known, the latest: more than any conversation in flight has."""

_NAMELESS: Final = "Agent"
"""What LlamaIndex calls an agent that was given no name (llama-index-core 0.14, `BaseWorkflowAgent`)."""

_AGENTS: Final = "llama_index.core.agent."
"""Where the events of its agents' own workflows are declared. Any other event is of a step of the user's, whose span
has the id `Class.step-uuid` (llama-index-workflows 2)."""

_OBSERVATION: Final = "Observation: "
_MISREAD: Final = "Error while parsing the output:"
"""How a ReActAgent tells its LLM, in a message of the user's, what a tool gave, and that it could not read an answer
(llama-index-core 0.14, `ObservationReasoningStep` and `ReActAgent.take_step`)."""

_agent: ContextVar[str | None] = ContextVar("agentroute_llama_index_agent", default=None)
_failed: OrderedDict[tuple[str, int], None] = OrderedDict()
"""The ids of calls that failed, each with the hash of what was said of it."""
_failed_texts: OrderedDict[int, None] = OrderedDict()
"""The hashes alone: an observation has no id."""

_lock = ProcessLock()


def calling_agent() -> str | None:
    """The name of the agent in whose step this runs, of a workflow of one's own that of the step itself, or None."""
    return _agent.get()


def has_failed(call_id: str, text: str) -> bool:
    """Whether the tool raised whose result this is. The text is asked for too: some models count their ids from 0."""
    return (call_id, hash(text)) in _failed


def told_of_failure(messages: Sequence[ChatMessage]) -> bool:
    """Whether a ReActAgent says, in the last message, that the call or the answer before failed."""
    last = messages[-1] if messages else None
    if last is None or last.role not in (MessageRole.USER, MessageRole.TOOL):
        return False
    text = last.content or ""
    if text.startswith(_OBSERVATION):
        return hash(text[len(_OBSERVATION) :]) in _failed_texts
    return text.startswith(_MISREAD)


class _Listener(BaseSpanHandler[Any]):
    def span_enter(self, id_: str, bound_args: inspect.BoundArguments, *_: Any, **__: Any) -> None:
        event = next((value for value in bound_args.arguments.values() if isinstance(value, Event)), None)
        if event is None:
            return
        if not type(event).__module__.startswith(_AGENTS):
            _agent.set(id_.partition("-")[0].rpartition(".")[2])
        elif isinstance(event, AgentInput | AgentSetup) and event.current_agent_name != _NAMELESS:
            _agent.set(event.current_agent_name)

    def span_exit(
        self, id_: str, bound_args: inspect.BoundArguments, instance: Any = None, result: Any = None, **_: Any
    ) -> None:
        if isinstance(result, ToolCallResult) and result.tool_output.is_error:
            text = hash(str(result.tool_output.content))
            with _lock:
                _failed[result.tool_id, text] = _failed_texts[text] = None
                for known in (_failed, _failed_texts):
                    if len(known) > _REMEMBERED:
                        known.popitem(last=False)

    def span_drop(self, *_: Any, **__: Any) -> None:
        """Nothing was kept."""

    def new_span(self, *_: Any, **__: Any) -> None:
        """None is kept."""

    def prepare_to_exit_span(self, *_: Any, **__: Any) -> None:
        """None is kept."""

    def prepare_to_drop_span(self, *_: Any, **__: Any) -> None:
        """None is kept."""


def listen() -> None:
    """Hangs the one listener of this process on the root dispatcher, unless it is there."""
    root = get_dispatcher()
    with _lock:
        if not any(isinstance(handler, _Listener) for handler in root.span_handlers):
            root.add_span_handler(_Listener())
