"""Canonical requests, written as bodies of the dialect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from agentroute.errors import RequestError
from agentroute.formats.base import PLAIN, Encoded
from agentroute.formats.content import fit_content
from agentroute.formats.fitting import fit, output_limit
from agentroute.formats.foreign import foreign_part, foreign_tool, left_out
from agentroute.formats.media import media_type_of, to_text
from agentroute.formats.reading import INVALID_JSON, json_object
from agentroute.messages import ChatRequest, Document, Image, Message, Part, Reasoning, Text, Tool, ToolCall, ToolResult
from agentroute.providers import Quirks
from agentroute.targets.model_rules import UNKNOWN, ModelRules

from .fields import DEFAULT_VERSION, DIALECT, MAX_TOKENS, known_fields

__all__ = ["encode_parts", "encode_request"]

_NO_SAMPLING_FROM = "2026-10-21"
"""From this version on `temperature`, `top_p` and `top_k` are refused, even at their defaults.

https://platform.claude.com/docs/en/api/versioning"""


def encode_request(
    request: ChatRequest,
    *,
    model: str | None = None,
    stream: bool = False,
    quirks: Quirks = PLAIN,
    rules: ModelRules = UNKNOWN,
) -> Encoded:
    """The Messages body for the API version of `quirks` (default `2023-06-01`).

    Leading system messages become `system`, later ones stand as text of the user where they are. Schemas and unknown
    fields are shared with the request, so the body is to be read or sent, not changed.
    """
    version = quirks.api_version or DEFAULT_VERSION
    dated = version.removeprefix("vertex-")
    content = fit_content(request, DIALECT, rules, quirks)
    request = content.request
    changes: dict[str, None] = dict.fromkeys((*content.changes, *left_out(request, DIALECT)))
    fitted = fit(request, known_fields(request.extra), rules, DIALECT, changes, stream=stream)
    request, own = fitted.request, fitted.own
    sampling = request.sampling
    body: dict[str, Any] = {}
    name = model or request.model
    if name is not None:
        body["model"] = name
    told = fitted.reasoning
    body["max_tokens"] = _limit(request, told, rules, changes, stream=stream)
    system, messages = _messages(request.messages, changes)
    if system:
        body["system"] = system
    body["messages"] = messages
    tools = [_encode_tool(tool) for tool in request.tools if not foreign_tool(tool, DIALECT)]
    if tools:
        body["tools"] = tools
    if sampling.stop:
        body["stop_sequences"] = list(sampling.stop)
    betas = own.pop("betas", None)
    for key, value in {**told, **own}.items():
        body.setdefault(key, value)
    thinks = _thinks(body)
    choice = _tool_choice(request, thinks, rules, body, changes) if tools else None
    if not tools and request.tool_choice is not None and request.tool_choice.mode in ("required", "tool"):
        changes["the tool choice left out: there are no tools"] = None
    if choice is not None:
        body["tool_choice"] = choice
    _schema(request, body)
    _sampling(request, body, dated, thinks, changes)
    if stream:
        body["stream"] = True
    headers = _beta_headers(betas, body)
    if quirks.model_in_path:
        verb = "streamRawPredict" if stream else "rawPredict"
        path = f"/models/{quote(_named(body.pop('model', None)), safe='@')}:{verb}"
        return Encoded({"anthropic_version": version, **body}, path, headers, tuple(changes), content.names)
    return Encoded(body, "/messages", {**headers, "anthropic-version": version}, tuple(changes), content.names)


def _named(model: str | None) -> str:
    if not model:
        raise RequestError("`model` is missing: it is part of the path there")
    return model


def _beta_headers(betas: Any, body: Mapping[str, Any]) -> dict[str, str]:
    """The betas that the caller named, and those without which a field is refused."""
    named = list(map(str, betas)) if isinstance(betas, list | tuple) else []
    for field, beta in _BETAS.items():
        family = beta.rsplit("-", 3)[0]
        if field in body and not any(each.startswith(family) for each in named):
            named.append(beta)
    return {"anthropic-beta": ",".join(named)} if named else {}


_BETAS: Final = {"context_management": "context-management-2025-06-27"}
"""Fields that are `Extra inputs are not permitted` without their beta (ericc-ch/copilot-api#217)."""


def _limit(
    request: ChatRequest, told: dict[str, Any], rules: ModelRules, changes: dict[str, None], *, stream: bool
) -> int:
    """What the answer may hold, thinking included, with `told` as this allows: a budget must be less than it."""
    thinking = told.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, Mapping) else None
    budget = budget if isinstance(budget, int) else 0
    limit = request.sampling.max_output_tokens
    if limit is None:
        limit = min(MAX_TOKENS + budget, output_limit(rules, stream=stream) or MAX_TOKENS + budget)
        changes[f"`max_tokens` set to {limit:,}: Anthropic demands a limit"] = None
    if not budget or budget < limit or rules.budget is None:
        return limit
    if limit > rules.budget[0]:
        changes[f"{limit - 1:,} tokens to think instead of {budget:,}: fewer than the answer may hold"] = None
        told["thinking"] = {**told["thinking"], "budget_tokens": limit - 1}
    else:
        changes[f"thinking left out: an answer of {limit:,} tokens has no room for it"] = None
        del told["thinking"]
    return limit


def _thinks(body: Mapping[str, Any]) -> bool:
    thinking = body.get("thinking")
    return isinstance(thinking, Mapping) and thinking.get("type") not in (None, "disabled")


def _messages(
    messages: Iterable[Message], changes: dict[str, None]
) -> tuple[str | list[dict[str, Any]], list[dict[str, Any]]]:
    system: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for message in messages:
        blocks = encode_parts(message.parts, changes)
        if message.name is not None:
            changes["`name` of a message left out: Anthropic has no names of speakers"] = None
        if message.role in ("system", "developer"):
            if not found:
                system += blocks
                continue
            if blocks:
                changes["system messages after the first turn stand as the user's text, in <system> marks"] = None
                text = "\n\n".join(part.text for part in message.parts if isinstance(part, Text) and part.text)
                blocks = [{"type": "text", "text": f"<system>\n{text}\n</system>"}]
        role = "assistant" if message.role == "assistant" else "user"
        if not blocks:
            continue
        if found and found[-1]["role"] == role:
            found[-1]["content"] += blocks
        else:
            found.append({"role": role, "content": blocks})
    for message_ in found:
        if message_["role"] == "user":
            # Results come first in their message, or they are refused.
            message_["content"].sort(key=lambda block: block.get("type") != "tool_result")
        message_["content"] = _plain(message_["content"])
    return _plain(system), found


def _plain(blocks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """A text where one will do."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return str(blocks[0]["text"])
    return blocks


def encode_parts(parts: Iterable[Part], changes: dict[str, None] | None = None) -> list[dict[str, Any]]:
    """The blocks of these parts. Empty texts, which the dialect refuses, are left out."""
    changes = {} if changes is None else changes
    blocks: list[dict[str, Any]] = []
    for part in parts:
        spare = known_fields(part.extra)
        match part:
            case _ if foreign_part(part, DIALECT):
                pass
            case Text() if "type" in spare:
                blocks.append(dict(spare))
            case Text() if "citations" in spare and not part.text:
                if blocks and blocks[-1].get("type") == "text":
                    blocks[-1]["citations"] = spare["citations"]
            case Text():
                if part.text:
                    blocks.append({"type": "text", "text": part.text, **spare})
            case Image():
                blocks.append({"type": "image", "source": _source(part), **spare})
                if part.detail is not None:
                    changes["`detail` of pictures left out: Anthropic has no such setting"] = None
            case Document():
                blocks.append(_encode_document(part, changes))
            case ToolCall():
                blocks.append(_encode_call(part, changes))
            case ToolResult():
                blocks.append(_encode_result(part, changes))
            case Reasoning() if part.extra is not None and part.extra.dialect != DIALECT:
                changes["reasoning signed in another dialect left out"] = None
            case Reasoning():
                if part.redacted and part.signature:
                    blocks.append({"type": "redacted_thinking", "data": part.signature})
                elif part.signature:
                    blocks.append({"type": "thinking", "thinking": part.text, "signature": part.signature})
                elif part.text:
                    changes["unsigned reasoning left out: Anthropic takes back only what it signed"] = None
    return blocks


def _source(image: Image) -> dict[str, Any]:
    if image.data is not None:
        return {"type": "base64", "media_type": image.media_type or "image/png", "data": image.data}
    return {"type": "url", "url": image.url}


def _encode_document(document: Document, changes: dict[str, None]) -> dict[str, Any]:
    spare = known_fields(document.extra)
    if document.data is None and document.url is None:
        return dict(spare)
    written = to_text(document)
    if written is not None:
        # Of all files only PDFs are taken as base64.
        source = {"type": "text", "media_type": "text/plain", "data": written[0]}
        if not written[1]:
            changes["a document of text that is no UTF-8: signs that cannot be read were replaced"] = None
    elif document.data is not None:
        media_type = media_type_of(document) or "application/pdf"
        source = {"type": "base64", "media_type": media_type, "data": document.data}
    else:
        source = {"type": "url", "url": document.url or ""}
    named = {} if document.name is None else {"title": document.name}
    return {"type": "document", "source": source, **named, **spare}


def _encode_call(call: ToolCall, changes: dict[str, None]) -> dict[str, Any]:
    return {
        "type": "tool_use",
        "id": call.id,
        "name": call.name,
        "input": _input(call.arguments, changes),
        **known_fields(call.extra),
    }


def _input(arguments: str, changes: dict[str, None]) -> Mapping[str, Any]:
    value = json_object(arguments or "{}")
    if value is not None:
        return value
    changes[f"arguments that are no JSON object stand under `{INVALID_JSON}`"] = None
    return {INVALID_JSON: arguments}


def _encode_result(result: ToolResult, changes: dict[str, None]) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": result.tool_call_id}
    content = encode_parts(result.content, changes)
    if content:
        block["content"] = _plain(content)
    if result.is_error is not None:
        block["is_error"] = result.is_error
    return {**block, **known_fields(result.extra)}


def _encode_tool(tool: Tool) -> dict[str, Any]:
    spare = known_fields(tool.extra)
    if "type" in spare and spare["type"] != "custom":
        return dict(spare)
    raw: dict[str, Any] = {"name": tool.name}
    if tool.description:
        raw["description"] = tool.description
    raw["input_schema"] = tool.parameters or {"type": "object", "properties": {}}
    if tool.strict is not None:
        raw["strict"] = tool.strict
    return {**raw, **spare}


def _tool_choice(
    request: ChatRequest, thinks: bool, rules: ModelRules, body: Mapping[str, Any], changes: dict[str, None]
) -> dict[str, Any] | None:
    choice, parallel = request.tool_choice, request.parallel_tool_calls
    mode = None if choice is None else choice.mode
    if thinks and mode in ("required", "tool") and not (rules.adaptive and body["thinking"]["type"] == "adaptive"):
        changes["the forced tool choice left out: Anthropic refuses one while the model thinks"] = None
        mode = "auto"
    if mode is None and parallel is None:
        return None
    match mode:
        case "none":
            return {"type": "none"}
        case "required":
            raw: dict[str, Any] = {"type": "any"}
        case "tool":
            raw = {"type": "tool", "name": choice.name if choice is not None else None}
        case _:
            raw = {"type": "auto"}
    if parallel is not None:
        raw["disable_parallel_tool_use"] = not parallel
    return raw


def _schema(request: ChatRequest, body: dict[str, Any]) -> None:
    schema = request.response_schema
    if schema is None or schema.schema is None:
        return
    config = body.get("output_config")
    beside = config if isinstance(config, Mapping) else {}
    body["output_config"] = {**beside, "format": {"type": "json_schema", "schema": schema.schema}}


def _sampling(request: ChatRequest, body: dict[str, Any], version: str, thinks: bool, changes: dict[str, None]) -> None:
    sampling = request.sampling
    for name in ("seed", "presence_penalty", "frequency_penalty"):
        if getattr(sampling, name) is not None:
            changes[f"`{name}` left out: Anthropic has no such setting"] = None
    given = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": body.pop("top_k", None)}
    for name, value in given.items():
        if value is None:
            continue
        if version >= _NO_SAMPLING_FROM:
            changes[f"`{name}` left out: version {version} of the API refuses it"] = None
        elif thinks and _refused_thinking(name, value):
            changes[f"`{name}` left out: Anthropic refuses it while the model thinks"] = None
        else:
            body[name] = value


def _refused_thinking(name: str, value: Any) -> bool:
    """https://platform.claude.com/docs/en/build-with-claude/extended-thinking: temperature and top_k are not compatible
    with thinking; top_p may be 0.95 to 1."""
    if name == "temperature":
        return bool(value != 1)
    return name == "top_k" or not 0.95 <= value <= 1
