"""Logs of gateways (LiteLLM, Helicone, Portkey): rows around a request body and its answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agentroute.errors import RequestError
from agentroute.replay.records import Outcome, Trace

from . import anthropic, openai
from .fields import CallFailed, Raw, count_of, dig, json_of, mapping, name_of, plain, printable, usage_of
from .responses import Responses, is_responses
from .thread import reward_of

__all__ = ["exchange", "helicone", "is_helicone", "is_litellm", "is_portkey", "litellm", "portkey"]


def exchange(fmt: str, line: Raw) -> Trace:
    """A call of `{request, response, ...}`, in whatever dialect its bodies are."""
    body, response = mapping(line.get("request")), mapping(line.get("response"))
    if not isinstance(body.get("messages"), list):
        if not is_responses(line):
            raise RequestError("the request has no `messages` and no `input`: its body was not kept")
        return Responses().call(line, fmt=fmt)
    read = anthropic.read if anthropic.is_anthropic(body, response or None) else openai.read
    return replace(read(line), format=fmt)


def is_litellm(raw: Raw) -> bool:
    return ("request_id" in raw and "proxy_server_request" in raw) or (
        "model_parameters" in raw and "hidden_params" in raw
    )


def litellm(raw: Raw) -> Trace:
    """A row of the spend logs, or a payload of a bucket's logs."""
    metadata = mapping(raw.get("metadata"))
    if raw.get("status") == "failure" or metadata.get("status") == "failure" or raw.get("error_str"):
        code = dig(metadata, "error_information", "error_code") or dig(raw, "error_information", "error_code")
        why = f": {printable(plain(code))}" if code and len(plain(code)) < 40 else ""
        raise CallFailed(f"the recorded call failed and has no answer{why}")
    body = mapping(raw.get("proxy_server_request"))
    body = mapping(body.get("body")) or body
    if not body.get("messages") and not body.get("input"):
        asked = json_of(raw.get("messages"))
        asked = asked.get("messages", asked) if isinstance(asked, dict) else asked
        body = {**mapping(raw.get("model_parameters")), **body, "messages": asked}
    line = {
        "request": {**body, "model": name_of(raw, "model_group") or body.get("model")},
        "response": json_of(raw.get("response")),
        "timestamp": raw.get("startTime"),
        "session_id": name_of(raw, "session_id") or name_of(metadata, "session_id") or name_of(raw, "trace_id"),
        "id": name_of(raw, "request_id", "id"),
    }
    trace = exchange("litellm", line)
    call = trace.calls[0]
    usage = call.usage or usage_of(count_of(raw, "prompt_tokens"), count_of(raw, "completion_tokens"))
    return replace(trace, calls=(replace(call, usage=usage, model=name_of(raw, "model") or call.model),))


def is_helicone(raw: Raw) -> bool:
    return "request_body" in raw and "response_body" in raw


def helicone(raw: Raw) -> Trace:
    """A request of Helicone's export, with its scores."""
    status = raw.get("response_status")
    if isinstance(status, int) and status >= 400:
        raise CallFailed(f"the recorded call failed and has no answer: status {status}")
    properties = mapping(raw.get("request_properties"))
    line = {
        "request": json_of(raw["request_body"]),
        "response": json_of(raw["response_body"]),
        "timestamp": raw.get("request_created_at"),
        "session_id": name_of(properties, "Helicone-Session-Id", "helicone-session-id"),
        "id": name_of(raw, "request_id"),
    }
    outcomes: dict[str, Outcome] = {}
    for key, score in mapping(raw.get("scores")).items():
        value: Any = dig(score, "value") if isinstance(score, dict) else score
        if isinstance(value, int | float | str):
            outcomes[printable(key)] = value
    trace = replace(exchange("helicone", line), outcomes=outcomes, reward=reward_of(outcomes))
    call = trace.calls[0]
    usage = call.usage or usage_of(
        count_of(raw, "prompt_tokens"),
        count_of(raw, "completion_tokens"),
        read=count_of(raw, "prompt_cache_read_tokens"),
        written=count_of(raw, "prompt_cache_write_tokens"),
    )
    return replace(trace, calls=(replace(call, usage=usage),))


def is_portkey(raw: Raw) -> bool:
    return "ai_org" in raw and ("req_units" in raw or "request" in raw)


def portkey(raw: Raw) -> Trace:
    """A row of Portkey's log export."""
    status = raw.get("response_status_code")
    if raw.get("is_success") is False or (isinstance(status, int) and status >= 400):
        raise CallFailed(f"the recorded call failed and has no answer: status {status}")
    request, response = mapping(raw.get("request")), mapping(raw.get("response"))
    line = {
        "request": mapping(request.get("body")) or request,
        "response": mapping(response.get("body")) or response,
        "timestamp": raw.get("created_at"),
        "trace_id": name_of(raw, "trace_id"),
        "id": name_of(raw, "id"),
    }
    trace = exchange("portkey", line)
    call = trace.calls[0]
    usage = call.usage or usage_of(count_of(raw, "req_units"), count_of(raw, "res_units"))
    return replace(trace, calls=(replace(call, usage=usage),))
