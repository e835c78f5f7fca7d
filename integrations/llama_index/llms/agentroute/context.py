"""What LlamaIndex says about a step, for StepContext and Constraints, and where an answer keeps its decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.prompts import BasePromptTemplate

from agentroute import Decision

__all__ = ["KEY", "PromptMessages", "decided", "decision_of", "prompt_kind", "written_by"]

KEY = "agentroute"
_NO_KIND = "custom"


class PromptMessages(list[ChatMessage]):
    """The messages made from a prompt template, with the kind of that prompt (`text_qa`, `refine`, `summary`, ...).

    LlamaIndex hands the list it gets from `_get_messages` to `chat` as it is, so the kind needs no other way.
    """

    def __init__(self, messages: list[ChatMessage], kind: str | None) -> None:
        super().__init__(messages)
        self.kind = kind


def prompt_kind(prompt: BasePromptTemplate) -> str | None:
    """A template's own type; None where it has none, or `custom`, which says nothing."""
    kind = prompt.metadata.get("prompt_type")
    text = str(getattr(kind, "value", kind) or _NO_KIND)
    return None if text == _NO_KIND else text


def decision_of(answer: Any) -> Decision | None:
    """The decision behind what a RoutedLLM returned, or None.

    `answer` is a ChatResponse or CompletionResponse (the last one of a stream), an agent's AgentOutput, or the event
    that carries one of these (LLMChatEndEvent, ...). Raises ConfigError for a record of another version of agentroute.
    """
    for part in (getattr(answer, "raw", None), getattr(answer, "additional_kwargs", None)):
        record = part.get(KEY) if isinstance(part, Mapping) else getattr(part, KEY, None)
        if record:
            return Decision.from_dict(record)
    held = getattr(answer, "response", None)
    return None if held is None else decision_of(held)


def decided(response: ChatResponse, decision: Decision) -> ChatResponse:
    """A copy with the decision's record in `raw`, or in `additional_kwargs` where a native model's `raw` has no room.

    The message itself only names the target and the decision: LlamaIndex's memories count, and may embed, all that a
    message's `additional_kwargs` hold.
    """
    record = decision.to_dict()
    mark = {"target": decision.target, "decision": decision.id}
    message = response.message.model_copy(
        update={"additional_kwargs": {**response.message.additional_kwargs, KEY: mark}}
    )
    raw, room = _with_record(response.raw, record)
    update: dict[str, Any] = {"message": message, "raw": raw}
    if not room:
        update["additional_kwargs"] = {**response.additional_kwargs, KEY: record}
    return response.model_copy(update=update)


def written_by(message: ChatMessage) -> str | None:
    """The name of the target that wrote this message, where a RoutedLLM returned it."""
    mark = message.additional_kwargs.get(KEY)
    return mark.get("target") if isinstance(mark, Mapping) else None


def _with_record(raw: Any, record: dict[str, Any]) -> tuple[Any, bool]:
    if raw is None or isinstance(raw, Mapping):
        return {**(raw or {}), KEY: record}, True
    if isinstance(raw, BaseModel) and raw.model_config.get("extra") == "allow":
        return raw.model_copy(update={KEY: record}), True
    return raw, False
