"""A log of whole request bodies and answers: what every dialect of them has in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentroute.errors import RequestError
from agentroute.messages import ChatRequest, Message, Usage
from agentroute.replay.records import RecordedCall, Trace

from .asking import asked_of
from .fields import CallFailed, Raw, dig, name_of, served_by, time_of

__all__ = ["first", "refuse_error", "split", "trace_of", "who"]

_TIMES = ("timestamp", "created_at", "time", "ts", "start_time", "startTime")
_CONVERSATIONS = ("conversation_id", "session_id", "thread_id", "trace_id")


def split(line: Raw) -> tuple[Raw, Raw | None]:
    """The request body and the response of a line; the line itself is the body if it has none inside."""
    body = next((line[key] for key in ("request", "body") if isinstance(line.get(key), Mapping)), line)
    if "messages" not in body and isinstance(body.get("body"), Mapping):
        body = body["body"]
    response = line.get("response")
    if isinstance(response, str):
        return body, {"content": response}
    if not isinstance(response, Mapping):
        return body, None
    inner = response.get("body")
    return body, inner if isinstance(inner, Mapping) else response


def trace_of(
    fmt: str,
    line: Raw,
    body: Raw,
    response: Raw | None,
    request: ChatRequest,
    usages: Sequence[Usage | None],
    *,
    answered: bool,
    usage: Usage | None,
) -> Trace:
    """A line that logs one call is that call; a bare conversation is a call for each of its assistant messages."""
    messages: tuple[Message, ...] = request.messages
    at = next((time for key in _TIMES if (time := time_of(line.get(key))) is not None), None)
    model = served_by(name_of(body, "model"), name_of(response, "model"))
    logged = response is not None or "response" in line or body is not line
    greetings = 0
    answer_id = name_of(response, "id")
    if logged:
        end = len(messages) - answered
        if at is None:
            at = time_of(dig(response, "created")) or time_of(dig(response, "created_at"))
        calls = [RecordedCall(end, messages[-1] if answered else None, usage, model, at, answer_id)]
    else:
        spoken = [index for index, message in enumerate(messages) if message.role == "assistant"]
        greetings = spoken[:1] == [0]
        calls = [RecordedCall(index, messages[index], usages[index], model) for index in spoken[greetings:]]
        if not spoken:
            calls = [RecordedCall(len(messages), model=model, at=at)]
    if not calls or calls[0].n_messages == 0:
        raise RequestError("a conversation without a model call")
    return Trace(
        format=fmt,
        request=request,
        calls=tuple(calls),
        whole=not logged,
        id=name_of(line, "id", "custom_id") or answer_id,
        conversation_id=name_of(line, *_CONVERSATIONS) or name_of(body, *_CONVERSATIONS),
        greetings=int(greetings),
        asked=asked_of(body) if logged else None,
        **who(line),
    )


def who(line: Raw) -> dict[str, Any]:
    """Who asks, if the log says so: facts that a live router would be given as StepContext."""
    return {name: line[name] for name in ("agent", "role", "node") if isinstance(line.get(name), str)}


def refuse_error(response: Raw) -> None:
    """Raises CallFailed for a response that is an error."""
    error = response.get("error")
    if error or response.get("type") == "error":
        kind = name_of(error, "type", "code") or (error if isinstance(error, str) and len(error) <= 40 else None)
        raise CallFailed("the recorded call failed and has no answer" + (f": {kind}" if kind else ""))


def first(response: Raw, line: Raw, key: str) -> Any:
    return response[key] if key in response else line.get(key)
