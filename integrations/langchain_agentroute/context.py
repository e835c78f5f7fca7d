"""What the running graph says about a step: the facts for StepContext, the policy for Constraints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig

from agentroute import ConfigError, Constraints, Decision, StepContext

__all__ = ["DECISION_EVENT", "NOTICE_EVENT", "constraints_of", "context_of", "decision_of"]

DECISION_EVENT: Final = "agentroute_decision"
"""The custom event that tells interfaces of a decision: when it is taken, and again when it is complete."""

NOTICE_EVENT: Final = "agentroute_notice"
"""The custom event of each notice of a call, when it has ended."""

_KEY = "agentroute"

_MECHANICS: Final = frozenset({"agent", "model", "call_model", "tools", "generate_structured_response"})
"""What `create_agent` and `create_react_agent` (langgraph-prebuilt 1.x) and LangGraph's templates call their own nodes:
they say what a node does in an agent, not whose it is."""

_HOOKS: Final = (".before_agent", ".before_model", ".after_model", ".after_agent", ".wrap_model_call")
"""What a node of a middleware of `create_agent` ends with."""


def context_of(config: RunnableConfig, messages: Sequence[BaseMessage]) -> StepContext:
    """Conversation, agent, role and node as LangGraph and `create_agent` put them into the config's metadata.

    `role` is the caller's own metadata, else what LangChain's middleware says it calls for by itself (`summarization`,
    `tool_selection`), else the agent's name. An agent without a name has that of its node: of a graph inside a node,
    the outer node's. A sub-agent's `parent_id` is the checkpoint namespace of the node it runs in.
    """
    metadata, configurable = config.get("metadata") or {}, config.get("configurable") or {}
    namespace = str(metadata.get("langgraph_checkpoint_ns") or configurable.get("checkpoint_ns") or "")
    parent, _, _ = namespace.rpartition("|")
    node = _text(metadata.get("langgraph_node"))
    agent = _text(metadata.get("lc_agent_name")) or _named_by_nodes(node, parent)
    return StepContext(
        conversation_id=_text(configurable.get("thread_id")) or _text(metadata.get("thread_id")),
        agent=agent,
        role=_text(metadata.get("role")) or _text(metadata.get("lc_source")) or agent,
        node=node,
        parent_id=parent or None,
        previous=_previous(messages),
    )


def constraints_of(config: RunnableConfig, base: Mapping[str, Any]) -> Constraints:
    """The `agentroute` entry of the config's `configurable`, over those of the model (`base`): any field of Constraints
    by its name. Raises ConfigError for another key.
    """
    return Constraints.of((config.get("configurable") or {}).get(_KEY), base)


def decision_of(message: BaseMessage) -> Decision | None:
    """The decision behind a message that a RoutedChatModel returned, or None for any other message.

    Raises ConfigError for a decision that another version of agentroute recorded and this one cannot read.
    """
    record = message.response_metadata.get(_KEY)
    return Decision.from_dict(record) if record else None


def _named_by_nodes(node: str | None, parent: str) -> str | None:
    """The innermost node that is not an agent's own machinery. A namespace is `outer:id|inner:id`."""
    outer = [part.partition(":")[0] for part in parent.split("|")]
    for name in (node, *reversed(outer)):
        if name and name not in _MECHANICS and not name.isdecimal() and not name.endswith(_HOOKS):
            return name
    return None


def _previous(messages: Sequence[BaseMessage]) -> Decision | None:
    """The last answer's decision. A checkpoint may hold one of another version, which is no reason to fail a call."""
    last = next((message for message in reversed(messages) if isinstance(message, AIMessage)), None)
    try:
        return decision_of(last) if last is not None else None
    except ConfigError:
        return None


def _text(value: Any) -> str | None:
    return str(value) if value not in (None, "") else None
