"""Canonical requests, written as bodies of the dialect."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Final

from agentroute.errors import RequestError
from agentroute.formats.base import PLAIN, Encoded
from agentroute.formats.content import fit_content
from agentroute.formats.fitting import fit
from agentroute.formats.foreign import carried, foreign_part, foreign_tool, left_out
from agentroute.formats.forms import is_freeform, takes_free_text
from agentroute.formats.media import file_data, file_name
from agentroute.formats.reading import data_url
from agentroute.formats.reasoning import is_known
from agentroute.messages import (
    ChatRequest,
    Document,
    Image,
    Message,
    Part,
    Reasoning,
    ResponseSchema,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from agentroute.providers import Quirks
from agentroute.targets.model_rules import UNKNOWN, ModelRules

from .fields import ADDITIONAL, DIALECT, id_of, known_fields

__all__ = ["encode_items", "encode_request"]

_NO_REASONING: Final = re.compile(r"(?:.*[/:])?(?:chatgpt|gpt-(?:3|4|5(?:\.\d+)?-chat))", re.IGNORECASE)
"""Families that do not reason: asked for encrypted reasoning they answer 400, "Encrypted content is not supported with
this model" (seen in many public reports, e.g. microsoft/agent-framework#7483; read 2026-11-24)."""


def encode_request(
    request: ChatRequest,
    *,
    model: str | None = None,
    stream: bool = False,
    quirks: Quirks = PLAIN,
    rules: ModelRules = UNKNOWN,
) -> Encoded:
    """The Responses body. Schemas and unknown fields are shared with the request: read the body, do not change it.

    Unless the caller's own fields say otherwise nothing is stored and reasoning comes back encrypted, but for a model
    whose name says that it does not reason.
    """
    content = fit_content(request, DIALECT, rules, quirks)
    request = content.request
    left = left_out(request, DIALECT, shared=rules.openai_settings)
    changes: dict[str, None] = dict.fromkeys((*content.changes, *left))
    fitted = fit(request, _own_fields(request, rules), rules, DIALECT, changes, stream=stream)
    request, own = fitted.request, fitted.own
    beside = own.pop("text", {})
    if "verbosity" in rules.refused and "verbosity" in beside:
        beside = {key: value for key, value in beside.items() if key != "verbosity"}
        changes["`verbosity` left out: the model refuses it"] = None
    body: dict[str, Any] = {}
    name = model or request.model
    if name is not None:
        body["model"] = name
    messages = list(request.messages)
    first = messages[0] if messages else None
    if first is not None and first.role == "system" and len(first.parts) <= 1 and all(map(_plain, first.parts)):
        body["instructions"] = messages.pop(0).text
    free = frozenset(call.id for message in messages for call in message.tool_calls if takes_free_text(call))
    said = [item for message in messages for item in _encode_message(message, free, changes)]
    tools, brought = _encode_tools(request.tools)
    body["input"] = [*brought, *said]
    if tools:
        body["tools"] = tools
    if request.tool_choice is not None and (tools or brought or not request.tools):
        body["tool_choice"] = _tool_choice(request.tool_choice, request.tools)
    if request.parallel_tool_calls is not None:
        body["parallel_tool_calls"] = request.parallel_tool_calls
    text = {**beside, **_format(request.response_schema)}
    if text:
        body["text"] = text
    sampling = request.sampling
    for setting in ("temperature", "top_p", "max_output_tokens"):
        value = getattr(sampling, setting)
        if value is not None:
            body[setting] = value
    for setting in ("seed", "presence_penalty", "frequency_penalty"):
        if getattr(sampling, setting) is not None:
            changes[f"`{setting}` left out: the Responses API has no such setting"] = None
    if sampling.stop:
        changes["stop sequences left out: the Responses API has no such setting"] = None
    body.update(fitted.reasoning)
    for key, value in own.items():
        body.setdefault(key, value)
    body.setdefault("store", False)
    reasons = rules.thinking != "never" if is_known(rules) else not _NO_REASONING.match(name or "")
    if not body["store"] and reasons:
        body.setdefault("include", ["reasoning.encrypted_content"])
    if stream:
        body["stream"] = True
    return Encoded(body, "/responses", {}, tuple(changes), content.names)


def _own_fields(request: ChatRequest, rules: ModelRules) -> dict[str, Any]:
    extra = request.extra
    if extra is None or extra.dialect == DIALECT or not rules.openai_settings:
        return dict(known_fields(extra))
    return carried(extra.fields, extra.dialect, DIALECT)


def _plain(part: Part) -> bool:
    return isinstance(part, Text) and not known_fields(part.extra)


def _encode_message(message: Message, free: frozenset[str], changes: dict[str, None]) -> Iterator[dict[str, Any]]:
    """The items of a message; `free` are the ids of the calls that were given free text."""
    if message.name is not None:
        changes["`name` of a message left out: the Responses API has no names of speakers"] = None
    if message.role == "assistant":
        yield from encode_items(message, changes)
        return
    spoken = [part for part in message.parts if not isinstance(part, ToolResult)]
    for part in message.parts:
        if isinstance(part, ToolResult):
            yield _encode_result(part, part.tool_call_id in free, changes)
    content = _content(spoken, changes)
    if content:
        yield {"role": "user" if message.role == "tool" else message.role, "content": content}


def encode_items(message: Message, changes: dict[str, None], *, alone: bool = False) -> Iterator[dict[str, Any]]:
    """The items of one message of the assistant, each with its id where it had one.

    Unless it may stand `alone`, a reasoning item is left out that is not followed by the item which it led to: the
    provider knows both by their ids, and refuses the one without the other.
    """
    ids = iter(known_fields(message.extra).get("message_ids", ()))
    waiting: dict[str, Any] | None = None
    for texts, run in groupby(message.parts, lambda part: isinstance(part, Text) and not _is_item(part)):
        held = list(run)
        items = (
            [_encode_words(held, next(ids, None), alone, changes)]
            if texts
            else [_encode_item(part, changes) for part in held]
        )
        for item in items:
            if item is None:
                continue
            if waiting is not None:
                if "id" in waiting and "id" not in item and item.get("type", "message") == "message":
                    changes[_LED_NOWHERE] = None
                else:
                    yield waiting
                waiting = None
            if item.get("type") == "reasoning" and not alone:
                waiting = item
            else:
                yield item
    if waiting is not None:
        changes[_LED_NOWHERE] = None


_LED_NOWHERE: Final = "reasoning left out: what it led to is not there as it was"


def _is_item(part: Part) -> bool:
    return bool(known_fields(part.extra).get("type", "refusal") != "refusal")


def _encode_words(parts: list[Part], given: Any, answer: bool, changes: dict[str, None]) -> dict[str, Any] | None:
    """Words with the id they had, or those of an answer, in full; others in the short form, which needs no id."""
    if given is None and not answer:
        texts = [part.text for part in parts if isinstance(part, Text) and part.text]
        if len(texts) > 1:
            changes["texts of an answer joined: the Responses API keeps them apart only in answers of its own"] = None
        text = "".join(texts)
        return {"role": "assistant", "content": text} if text else None
    content: list[dict[str, Any]] = []
    for part in parts:
        if not isinstance(part, Text) or not part.text:
            continue
        if known_fields(part.extra).get("type") == "refusal":
            content.append({"type": "refusal", "refusal": part.text})
        else:
            content.append({"type": "output_text", "text": part.text, "annotations": [], **known_fields(part.extra)})
    if not content:
        return None
    item: dict[str, Any] = {"type": "message", "role": "assistant", "content": content, "status": "completed"}
    return {"id": given, **item} if isinstance(given, str) else item


def _encode_item(part: Part, changes: dict[str, None]) -> dict[str, Any] | None:
    spare = known_fields(part.extra)
    match part:
        case ToolCall():
            return _encode_call(part)
        case Reasoning():
            return _encode_reasoning(part, changes)
        case Text() if spare.get("type") == "item_reference" and id_of(spare) is None:
            changes["a reference to an item of ours left out: this provider never saw it"] = None
            return None
        case Text() if _is_item(part):
            return dict(spare)
        case Document():
            raise RequestError("a document cannot stand in what the assistant said")
        case _:
            return None


def _encode_call(call: ToolCall) -> dict[str, Any]:
    spare = known_fields(call.extra)
    if takes_free_text(call):
        given = {"type": "custom_tool_call", "call_id": call.id, "name": call.name, "input": call.arguments}
    else:
        given = {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments or "{}"}
    return {**given, **spare}


def _encode_reasoning(part: Reasoning, changes: dict[str, None]) -> dict[str, Any] | None:
    if part.signature is None:
        if part.text:
            changes["unsigned reasoning left out: the Responses API takes back only what it encrypted"] = None
        return None
    spare = known_fields(part.extra)
    summary = spare.get("summary") or ([{"type": "summary_text", "text": part.text}] if part.text else [])
    item = {"type": "reasoning", "summary": summary, "encrypted_content": part.signature}
    return {**item, **{key: spare[key] for key in ("id", "content") if key in spare}}


def _content(parts: Iterable[Part], changes: dict[str, None]) -> str | list[dict[str, Any]]:
    """A plain text where one will do, a list of parts where not."""
    held = [part for part in parts if not foreign_part(part, DIALECT)]
    if not held:
        return ""
    if len(held) == 1 and isinstance(held[0], Text) and not known_fields(held[0].extra):
        return held[0].text
    found: list[dict[str, Any]] = []
    for part in held:
        spare = known_fields(part.extra)
        if isinstance(part, Text):
            found.append(dict(spare) if "type" in spare else {"type": "input_text", "text": part.text, **spare})
        elif isinstance(part, Image):
            shown = {"type": "input_image", "image_url": data_url(part), "detail": part.detail or "auto"}
            found.append({**shown, **spare})
        elif isinstance(part, Document):
            found.append(_encode_file(part, changes))
    return found


def _encode_file(document: Document, changes: dict[str, None]) -> dict[str, Any]:
    spare = known_fields(document.extra)
    if document.data is not None:
        return {"type": "input_file", "filename": file_name(document), "file_data": file_data(document), **spare}
    if document.url is None:
        return dict(spare)
    if document.name is not None and "filename" not in spare:
        changes["the names of documents by URL left out: the Responses API takes a name with data only"] = None
    return {"type": "input_file", "file_url": document.url, **spare}


def _encode_result(result: ToolResult, free: bool, changes: dict[str, None]) -> dict[str, Any]:
    if result.is_error:
        changes["the error mark of tool results left out: the Responses API has none; their text says it"] = None
    output = _content(result.content, changes)
    kind = "custom_tool_call_output" if free else "function_call_output"
    item = {"type": kind, "call_id": result.tool_call_id, "output": output}
    return {**item, **known_fields(result.extra)}


def _encode_tools(tools: Iterable[Tool]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The tools as they were offered: in their namespaces, and in items of their own those that came in such."""
    found: list[dict[str, Any]] = []
    items: dict[int, dict[str, Any]] = {}
    spaces: dict[tuple[int | None, str], dict[str, Any]] = {}
    for tool in tools:
        if foreign_tool(tool, DIALECT):
            continue
        spare = known_fields(tool.extra)
        about, space = spare.get(ADDITIONAL), spare.get("namespace")
        at = None if about is None else about["at"]
        place = found
        if about is not None:
            beside = {key: about[key] for key in about if key != "at"}
            place = items.setdefault(about["at"], {"type": ADDITIONAL, **beside, "tools": []})["tools"]
        if space is not None:
            key = (at, space["name"])
            if key not in spaces:
                spaces[key] = {"type": "namespace", **space, "tools": []}
                place.append(spaces[key])
            place = spaces[key]["tools"]
        place.append(_encode_tool(tool))
    return found, list(items.values())


def _encode_tool(tool: Tool) -> dict[str, Any]:
    spare = {key: value for key, value in known_fields(tool.extra).items() if key not in ("namespace", ADDITIONAL)}
    if "type" in spare:
        return spare
    raw: dict[str, Any] = {"type": "function", "name": tool.name}
    if tool.description:
        raw["description"] = tool.description
    raw["parameters"] = tool.parameters or {"type": "object", "properties": {}}
    # Without a word the dialect is strict, and refuses schemas that are not made for it.
    raw["strict"] = bool(tool.strict)
    return {**raw, **spare}


def _tool_choice(choice: ToolChoice, tools: Iterable[Tool]) -> str | dict[str, Any]:
    if choice.mode != "tool":
        return choice.mode
    tool = next((tool for tool in tools if tool.name == choice.name), None)
    spare = known_fields(tool.extra) if tool is not None else {}
    space = spare.get("namespace")
    where = {} if space is None else {"namespace": space["name"]}
    kind = "custom" if tool is not None and is_freeform(tool) else "function"
    return {"type": kind, **where, "name": spare.get("name", choice.name) if where else choice.name}


def _format(schema: ResponseSchema | None) -> Mapping[str, Any]:
    if schema is None:
        return {}
    if schema.schema is None:
        return {"format": {"type": "json_object"}}
    asked: dict[str, Any] = {"type": "json_schema", "name": schema.name or "answer", "schema": schema.schema}
    if schema.strict is not None:
        asked["strict"] = schema.strict
    return {"format": asked}
