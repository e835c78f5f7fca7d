"""Canonical requests, written as bodies of the dialect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from agentroute.errors import RequestError
from agentroute.formats.base import PLAIN, Encoded
from agentroute.formats.content import fit_content
from agentroute.formats.fitting import Fitted, fit
from agentroute.formats.foreign import foreign_tool, left_out
from agentroute.formats.reading import json_object
from agentroute.messages import ChatRequest, Document, Image, Message, Part, Reasoning, Text, Tool, ToolCall, ToolResult
from agentroute.providers import Quirks
from agentroute.targets.model_rules import UNKNOWN, ModelRules

from .fields import DIALECT, GENERATION, camel, known_fields
from .parts import encode_arguments, encode_part

__all__ = ["encode_request"]

_COLLECTIONS: Final = ("models/", "tunedModels/")


def encode_request(
    request: ChatRequest,
    *,
    model: str | None = None,
    stream: bool = False,
    quirks: Quirks = PLAIN,
    rules: ModelRules = UNKNOWN,
) -> Encoded:
    """The generateContent body and the path with the model. Raises RequestError where no model is named.

    A tool result whose text is a JSON object is given as that object (unless a double could not hold its numbers), any
    other as `{"result": text}`, a failed one as `{"error": text}`. Pictures of a result stand beside it, because only
    some models take them inside. Arguments that are no JSON object stand under `INVALID_JSON`. All system messages
    become the one system instruction. Of `request.extra` what belongs into `generationConfig` is put there.
    """
    content = fit_content(request, DIALECT, rules, quirks)
    request = content.request
    changes = dict.fromkeys((*content.changes, *left_out(request, DIALECT)))
    extra = dict(camel(known_fields(request.extra)))
    fitted = fit(request, _generation_fields(extra), rules, DIALECT, changes, stream=stream)
    request = fitted.request
    body: dict[str, Any] = {}
    system = [message for message in request.messages if message.role in ("system", "developer")]
    instruction = [raw for message in system for raw in _encode_parts(message.parts, changes)]
    if instruction:
        body["systemInstruction"] = {"parts": instruction}
    if any(message.role not in ("system", "developer") for message in request.messages[: len(system)]):
        changes["system messages moved to the beginning: Gemini has one system instruction"] = None
    body["contents"] = _encode_contents(request.messages, changes)
    tools = _encode_tools(request.tools, changes)
    if tools:
        body["tools"] = tools
    config = _encode_tool_config(request, extra.pop("toolConfig", None), changes)
    if config:
        body["toolConfig"] = config
    generation = _encode_generation(fitted)
    if generation:
        body["generationConfig"] = generation
    for key, value in extra.items():
        body.setdefault(key, value)
    return Encoded(body, _path(model or request.model, stream), {}, tuple(changes), content.names)


def _path(model: str | None, stream: bool) -> str:
    if not model:
        raise RequestError("no model is named; Gemini needs one, in the path")
    collection = next((head for head in _COLLECTIONS if model.startswith(head)), "models/")
    name = quote(model.removeprefix(collection), safe="")
    return f"/{collection}{name}:" + ("streamGenerateContent?alt=sse" if stream else "generateContent")


def _encode_contents(messages: Iterable[Message], changes: dict[str, None]) -> list[dict[str, Any]]:
    contents: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    beside: list[dict[str, Any]] = []

    def add(role: str, parts: list[dict[str, Any]], spare: Mapping[str, Any] | None = None) -> None:
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"].extend(parts)
        elif parts:
            contents.append({"role": role, "parts": parts})
        if spare and contents and contents[-1]["role"] == role:
            contents[-1].update({key: value for key, value in spare.items() if key != "candidate"})

    for message in messages:
        if message.role in ("system", "developer"):
            continue
        if message.name is not None:
            changes["`name` of a message left out: Gemini has no names of speakers"] = None
        spare = known_fields(message.extra)
        if message.role == "tool":
            results = [part for part in message.parts if isinstance(part, ToolResult)]
            add("user", [_encode_result(part, names, beside, changes) for part in results], spare)
            beside += _encode_parts((part for part in message.parts if not isinstance(part, ToolResult)), changes)
            continue
        add("user", beside)
        beside = []
        names.update((call.id, call.name) for call in message.tool_calls)
        parts = _encode_parts(message.parts, changes)
        add("model" if message.role == "assistant" else "user", _without_empty(parts), spare)
    add("user", beside)
    if not contents:
        contents.append({"role": "user", "parts": [{"text": ""}]})
        changes["an empty user message added: Gemini demands one"] = None
    return contents


def _without_empty(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without empty texts, which some models refuse; one alone stays, since a content must have a part."""
    return [part for part in parts if part != {"text": ""}] or parts[:1]


def _encode_parts(parts: Iterable[Part], changes: dict[str, None]) -> list[dict[str, Any]]:
    found = []
    for part in parts:
        raw = encode_part(part)
        if raw is None:
            if isinstance(part, Reasoning):
                changes["reasoning left out: Gemini takes back its own alone"] = None
            continue
        if isinstance(part, ToolCall) and not encode_arguments(part)[1]:
            changes[f"arguments of a call to `{part.name}` put under `INVALID_JSON`: they are no JSON object"] = None
        if isinstance(part, Image) and part.detail is not None:
            changes["`detail` of an image left out: Gemini has no such setting"] = None
        if isinstance(part, Document) and part.name is not None:
            changes["names of documents left out: Gemini has no such field"] = None
        found.append(raw)
    return found


def _encode_result(
    result: ToolResult, names: Mapping[str, str], beside: list[dict[str, Any]], changes: dict[str, None]
) -> dict[str, Any]:
    spare = known_fields(result.extra)
    name = result.name or names.get(result.tool_call_id)
    if name is None:
        name = "unknown"
        changes["a tool result named `unknown`: no call before it has its id"] = None
    held: dict[str, Any] = {"name": name, "response": _encode_response(result, changes)}
    if result.tool_call_id:
        held["id"] = result.tool_call_id
    inside, outside = [], []
    for part in result.content:
        whole = not isinstance(part, Text) or not part.text
        if whole and part.extra is not None and part.extra.dialect == DIALECT:
            inside.append(part)
        elif not isinstance(part, Text):
            outside.append(part)
    attached = _encode_parts(inside, changes)
    if attached:
        held["parts"] = attached
    pictures = _encode_parts(outside, changes)
    if pictures:
        beside.extend(pictures)
        for kind, words in ((Image, "images"), (Document, "documents")):
            if any(isinstance(part, kind) for part in outside):
                changes[f"{words} of tool results put beside them, into the user's content"] = None
    return {**spare, "functionResponse": {**held, **spare.get("functionResponse", {})}}


def _encode_response(result: ToolResult, changes: dict[str, None]) -> dict[str, Any]:
    texts = [part.text for part in result.content if isinstance(part, Text) and part.text]
    if len(texts) > 1:
        changes["texts of a tool result joined by an empty line: Gemini's hold one"] = None
    text = "\n\n".join(texts)
    if result.is_error:
        return {"error": text}
    found = json_object(text, exact=True)
    if found is None or (len(found) == 1 and isinstance(found.get("result", found.get("error")), str)):
        # An object of the form that a plain text or an error takes would be read as that.
        return {"result": text}
    return found


def _encode_tools(tools: tuple[Tool, ...], changes: dict[str, None]) -> list[dict[str, Any]]:
    functions: list[dict[str, Any]] = []
    own: list[dict[str, Any]] = []
    for tool in tools:
        spare = known_fields(tool.extra)
        if foreign_tool(tool, DIALECT):
            continue
        if tool.name in spare:
            own.append(dict(spare))
            continue
        function: dict[str, Any] = {"name": tool.name, "description": tool.description}
        if tool.parameters:
            function["parametersJsonSchema"] = tool.parameters
        functions.append({**function, **spare})
        if tool.strict:
            changes["`strict` of a tool left out: Gemini has no such setting"] = None
    return [{"functionDeclarations": functions}, *own] if functions else own


def _encode_tool_config(request: ChatRequest, given: Any, changes: dict[str, None]) -> dict[str, Any]:
    config = dict(camel(given)) if isinstance(given, Mapping) else {}
    calling = config.pop("functionCallingConfig", None)
    calling = dict(camel(calling)) if isinstance(calling, Mapping) else {}
    if calling.pop("streamFunctionCallArguments", None):
        changes["`streamFunctionCallArguments` left out: calls are read whole"] = None
    choice = request.tool_choice
    if choice is not None and (request.tools or choice.mode in ("required", "tool")):
        if choice.mode == "tool":
            calling = {**calling, "mode": "ANY", "allowedFunctionNames": [choice.name]}
        else:
            calling = {**calling, "mode": {"auto": "AUTO", "none": "NONE", "required": "ANY"}[choice.mode]}
    if request.parallel_tool_calls is False:
        changes["`parallel_tool_calls` left out: Gemini may always call several tools at once"] = None
    if calling:
        config["functionCallingConfig"] = calling
    return config


def _generation_fields(extra: dict[str, Any]) -> dict[str, Any]:
    """The unknown fields that stand in the generation config, taken out of the others."""
    given = extra.pop("generationConfig", None)
    found: dict[str, Any] = dict(camel(given)) if isinstance(given, Mapping) else {}
    found.update({key: extra.pop(key) for key in list(extra) if key in GENERATION})
    return found


def _encode_generation(fitted: Fitted) -> dict[str, Any]:
    """The generation config. What the request says itself goes first."""
    request, found = fitted.request, {**fitted.own, **fitted.reasoning}
    sampling = request.sampling
    said = {
        "temperature": sampling.temperature,
        "topP": sampling.top_p,
        "maxOutputTokens": sampling.max_output_tokens,
        "stopSequences": list(sampling.stop) or None,
        "seed": sampling.seed,
        "presencePenalty": sampling.presence_penalty,
        "frequencyPenalty": sampling.frequency_penalty,
    }
    found.update({key: value for key, value in said.items() if value is not None})
    if request.response_schema is not None:
        found["responseMimeType"] = "application/json"
        if request.response_schema.schema is not None:
            found.pop("responseSchema", None)
            found["responseJsonSchema"] = request.response_schema.schema
    return found
