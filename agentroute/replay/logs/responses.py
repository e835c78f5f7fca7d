"""OpenAI Responses: logged requests with their answers, and stored answers whose prompt is the chain before them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agentroute.errors import RequestError
from agentroute.messages import ChatRequest, Message, Text
from agentroute.replay.records import Problem, RecordedCall, Trace

from .asking import asked_of
from .base import Place
from .calls import refuse_error, who
from .fields import CallFailed, Raw, dig, json_of, mapping, name_of, openai_usage, plain, served_by, time_of
from .messages import Pairing, answer_of, messages_of, tools_of

__all__ = ["Responses", "is_responses"]

_KEPT = 2_000
"""Answers that are kept to be gone on from; one that goes on from an older one has an unknown history."""


def is_responses(raw: Raw) -> bool:
    if raw.get("object") == "response":
        return True
    body = mapping(raw.get("request")) or mapping(raw.get("body")) or raw
    response = raw.get("response")
    inner = dig(response, "body")
    told = mapping(inner) or mapping(response)
    if told.get("object") == "response" or ("output" in told and "choices" not in told and "messages" not in body):
        return "custom_id" not in raw or "body" in raw
    asked = body.get("input", body.get("previous_response_id"))
    return isinstance(asked, str | list) and "messages" not in body and ("model" in body or "instructions" in body)


class Responses:
    """Keeps the last answers by id: a request may name one to go on from."""

    def __init__(self) -> None:
        self._chains: dict[str, tuple[Message, ...]] = {}

    def read(self, raw: Raw, place: Place) -> Iterator[Trace | Problem]:
        yield self.call(raw)

    def close(self) -> tuple[Trace, ...]:
        return ()

    def call(self, line: Raw, *, fmt: str = "openai_responses", whole: bool = False) -> Trace:
        """The call that a line logs. Raises RequestError if it has none."""
        body = mapping(line.get("request")) or mapping(line.get("body")) or line
        body = mapping(body.get("body")) or body
        told = mapping(line.get("response"))
        response = mapping(told.get("body")) or told or (line if line.get("object") == "response" else {})
        if response:
            refuse_error(response)
            if response.get("status") in ("failed", "cancelled"):
                raise CallFailed("the recorded call failed and has no answer")
        pairing = Pairing()
        messages = self._asked(body, response, pairing)
        items = response.get("output")
        answer = None
        if isinstance(items, list):
            answer = answer_of([mapping(item) for item in items if _spoken(item)], "response.output", pairing)
        if answer is not None and not answer.parts:
            answer = Message("assistant", (Text(""),))
        held = tuple(messages) if answer is None else (*messages, answer)
        own = name_of(response, "id")
        conversation = name_of(line, "conversation_id", "session_id", "thread_id") or _conversation(body, response)
        for key in (own, conversation):
            if key is not None:
                self._chains.pop(key, None)
                self._chains[key] = tuple(each for each in held if each.role not in ("system", "developer"))
        while len(self._chains) > _KEPT:
            del self._chains[next(iter(self._chains))]
        times = (line.get("timestamp"), line.get("created_at"), response.get("created_at"))
        call = RecordedCall(
            len(messages),
            answer,
            openai_usage(response.get("usage")),
            served_by(name_of(body, "model"), name_of(response, "model")),
            next((at for each in times if (at := time_of(each)) is not None), None),
            own,
        )
        return Trace(
            format=fmt,
            request=ChatRequest(held, tools=tools_of(body.get("tools") or response.get("tools"))),
            calls=(call,),
            whole=whole,
            id=name_of(line, "custom_id") or own,
            conversation_id=conversation,
            asked=None if whole else asked_of(body),
            **who(line),
        )

    def _asked(self, body: Raw, response: Raw, pairing: Pairing) -> list[Message]:
        """The prompt: instructions (which are not inherited), the chain before, the input. Empty if it is not known."""
        words = body.get("instructions") or response.get("instructions")
        system = [Message("system", (Text(words),))] if isinstance(words, str) and words else []
        before = name_of(body, "previous_response_id") or name_of(response, "previous_response_id")
        chain: tuple[Message, ...] = ()
        if before is not None:
            known = self._chains.get(before)
            if known is None and "input" not in body:
                return []
            chain = known or ()
        elif (conversation := _conversation(body, response)) is not None:
            chain = self._chains.get(conversation, ())
        asked = json_of(body.get("input"))
        if asked is not None and not isinstance(asked, str | list):
            raise RequestError(f"`input` is a {type(asked).__name__}; give a text or a list of items")
        found = _joined(asked, pairing)
        return [*system, *chain, *found] if found or chain else []


def _joined(asked: Any, pairing: Pairing) -> list[Message]:
    """The input's messages, with what the model said in several items as one."""
    items = [item for item in asked if _spoken(item)] if isinstance(asked, list) else asked
    found: list[Message] = []
    for message in messages_of(items, "input", pairing):
        if message.role == "assistant" and found and found[-1].role == "assistant":
            found[-1] = Message("assistant", (*found[-1].parts, *message.parts))
        else:
            found.append(message)
    return found


def _spoken(item: Any) -> bool:
    """Whether an item says something we route by: not a reference, nor a built-in tool's own record."""
    kind = mapping(item).get("type", "message")
    return kind in ("message", "function_call", "function_call_output", "reasoning") or isinstance(item, str)


def _conversation(body: Raw, response: Raw) -> str | None:
    held = body.get("conversation") or response.get("conversation")
    return name_of(held, "id") if isinstance(held, Mapping) else plain(held) or None
