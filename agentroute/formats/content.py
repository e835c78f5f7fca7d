"""What a request holds, as the rules of a model demand it: tools and their names, schemas, media types, JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

from agentroute.messages import (
    ChatRequest,
    Document,
    Extra,
    Image,
    Message,
    Part,
    ResponseSchema,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from agentroute.providers import Quirks
from agentroute.targets.model_rules import UNKNOWN, ModelRules

from .base import PLAIN
from .foreign import foreign_tool
from .forms import as_function, given_as_json, is_freeform
from .media import true_media_type
from .names import wire_names
from .reasoning import thinks
from .schemas import (
    FittedSchema,
    SchemaRules,
    count_choices,
    fit_schema,
    is_object,
    is_recursive,
    why_not_strict,
)

__all__ = ["FittedContent", "fit_content"]


@dataclass(frozen=True, slots=True)
class FittedContent:
    """The request as the model takes it, and in words what was changed. `names`: the caller's name of each tool that
    goes under another one."""

    request: ChatRequest
    names: Mapping[str, str] = field(default_factory=dict)
    changes: tuple[str, ...] = ()


def fit_content(request: ChatRequest, dialect: str, rules: ModelRules, quirks: Quirks) -> FittedContent:
    """Fits what can be fitted; the request itself if nothing has to be. It is never changed.

    The same request is always fitted in the same way, and no part of it by what follows, so that a provider's cache of
    the prefix stays warm.
    """
    changes: dict[str, None] = {}
    rules = _usual(rules, dialect, plain=rules is UNKNOWN and quirks == PLAIN)
    names = wire_names(_names(request, dialect), rules.tool_name, rules.tool_name_length)
    for old, new in names.items():
        changes[f"the tool `{old}` called `{new}`: this provider refuses such names"] = None
    room = _StrictRoom(rules)
    tools = tuple([_tool(tool, dialect, rules, names, room, changes) for tool in request.tools])
    schema, words = _answer(request, dialect, rules, quirks, changes)
    messages = tuple([_message(message, dialect, rules, names, changes) for message in request.messages])
    if words:
        messages = _told(messages, words)
    choice = request.tool_choice
    if choice is not None and choice.name is not None and choice.name in names:
        choice = replace(choice, name=names[choice.name])
    extra = _choice_renamed(request.extra, names)
    same = (
        _same(tools, request.tools)
        and _same(messages, request.messages)
        and schema is request.response_schema
        and choice is request.tool_choice
        and extra is request.extra
    )
    if not same:
        request = replace(
            request, tools=tools, messages=messages, response_schema=schema, tool_choice=choice, extra=extra
        )
    return FittedContent(request, {new: old for old, new in names.items()}, tuple(changes))


_WORDS: Final = "[A-Za-z0-9_-]{1,64}"
_JOINED: Final = ("oneOf", "anyOf", "allOf", "enum", "const", "not")


@lru_cache(maxsize=512)
def _usual(rules: ModelRules, dialect: str, *, plain: bool) -> ModelRules:
    """The rules, with the safest form where they are silent: that of OpenAI, by which its like are modelled. A plain
    translation, which is meant for no target, changes nothing that the dialect can say."""
    if plain:
        return _PLAIN
    if dialect == "gemini":
        return rules
    safe: dict[str, Any] = {}
    if rules.tool_name is None and rules.tool_name_length is None:
        safe |= {"tool_name": _WORDS, "tool_name_length": 64}
    if not rules.root_object:
        safe["root_object"] = True
    if not rules.root_keywords_refused:
        safe["root_keywords_refused"] = _JOINED
    if not rules.closed_objects:
        safe |= {"closed_objects": ("strict",), "all_required": rules.all_required or not rules.strict}
    return replace(rules, **safe) if safe else rules


_PLAIN: Final = ModelRules(strict=True, freeform_tools=True)


@lru_cache(maxsize=512)
def _tool_rules(rules: ModelRules) -> tuple[SchemaRules, SchemaRules]:
    return SchemaRules.of_tool(rules, strict=False), SchemaRules.of_tool(rules, strict=True)


@lru_cache(maxsize=512)
def _answer_rules(rules: ModelRules) -> tuple[SchemaRules, SchemaRules]:
    return SchemaRules.of_answer(rules, strict=False), SchemaRules.of_answer(rules, strict=True)


def _same(new: tuple[Any, ...], old: tuple[Any, ...]) -> bool:
    return all(one is other for one, other in zip(new, old, strict=False)) and len(new) == len(old)


def _names(request: ChatRequest, dialect: str) -> Iterator[str]:
    """Every name of a function that stands in the request; a provider's own tools have theirs."""
    kept = set()
    for tool in request.tools:
        if foreign_tool(tool, dialect) or _is_whole(tool, dialect):
            kept.add(tool.name)
        else:
            yield tool.name
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, ToolCall) and part.name not in kept:
                yield part.name


def _is_whole(tool: Tool, dialect: str) -> bool:
    """Whether the tool goes out in the words in which it came: it is no function, or lies in a namespace."""
    if tool.extra is None or tool.extra.dialect != dialect:
        return False
    return "namespace" in tool.extra.fields or (not tool.parameters and len(tool.extra.fields) > 0)


# ---- tools ----------------------------------------------------------------------------------------------------------


class _StrictRoom:
    """What strict tools one request may still hold: the first ones have it, so that the prompt's beginning stays."""

    def __init__(self, rules: ModelRules) -> None:
        limits = (rules.max_strict_tools, rules.max_optional_parameters, rules.max_union_parameters)
        self._left = [limit if limit is not None else _UNLIMITED for limit in limits]

    def takes(self, tool: Tool) -> bool:
        left = [room - needed for room, needed in zip(self._left, (1, *count_choices(tool.parameters)), strict=True)]
        if min(left) < 0:
            return False
        self._left = left
        return True


_UNLIMITED: Final = 1_000_000


def _tool(
    tool: Tool,
    dialect: str,
    rules: ModelRules,
    names: Mapping[str, str],
    room: _StrictRoom,
    changes: dict[str, None],
) -> Tool:
    if is_freeform(tool):
        if _takes_form(tool.extra, dialect, rules):
            return tool
        changes[f"the tool `{tool.name}`, which takes free text, given as a function of one text"] = None
        tool = as_function(tool)
    if tool.name in names:
        tool = replace(tool, name=names[tool.name])
    if rules is _PLAIN or foreign_tool(tool, dialect) or _is_whole(tool, dialect):
        return tool
    if not tool.parameters:
        if not tool.strict:
            return tool
        tool = replace(tool, parameters={"type": "object", "properties": {}})
    strict = _strict(tool, rules, changes)
    if strict and not room.takes(tool):
        changes[f"`strict` of the tool `{tool.name}` left out: it is beyond what the model takes in all"] = None
        strict = False
    fitted, problem = _fitted(tool.parameters, f"the schema of `{tool.name}`", *_tool_rules(rules), strict=bool(strict))
    changes.update(dict.fromkeys(fitted.changes))
    if problem is not None:
        changes[f"`strict` of the tool `{tool.name}` left out: {problem}"] = None
        strict = False
    if fitted.schema is tool.parameters and strict is tool.strict:
        return tool
    description = "\n\n".join(text for text in (tool.description, fitted.told) if text)
    return replace(tool, parameters=fitted.schema, strict=strict, description=description)


def _fitted(
    schema: Mapping[str, Any], what: str, lenient: SchemaRules, full: SchemaRules, *, strict: bool
) -> tuple[FittedSchema, str | None]:
    """The schema within the rules, and why it cannot be strict if it should be."""
    first = fit_schema(schema, lenient, what)
    if not strict:
        return first, None
    problem = why_not_strict(first.schema, full)
    if problem is not None:
        return first, problem
    second = fit_schema(first.schema, full, what)
    return FittedSchema(second.schema, (*first.changes, *second.changes), first.told), None


def _takes_form(extra: Extra | None, dialect: str, rules: ModelRules) -> bool:
    """Whether a tool of free text, or a call to it, can go as it came."""
    return extra is None or (extra.dialect == dialect and rules.freeform_tools is True)


def _strict(tool: Tool, rules: ModelRules, changes: dict[str, None]) -> bool | None:
    if not tool.strict:
        return tool.strict if rules.strict else None
    if not rules.strict:
        changes["`strict` of tools left out: this model is not known to have it"] = None
        return None
    return True


def _choice_renamed(extra: Extra | None, names: Mapping[str, str]) -> Extra | None:
    """The caller's own way to choose between tools (`allowed_tools`), under the new names."""
    if extra is None or not names:
        return extra
    found = {key: _renamed(extra.fields[key], names) for key in _CHOICES if key in extra.fields}
    return replace(extra, fields={**extra.fields, **found}) if found else extra


_CHOICES: Final = ("tool_choice", "toolConfig")


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, Mapping):
        return {key: _renamed(held, names) for key, held in value.items()}
    return [_renamed(held, names) for held in value] if isinstance(value, list) else value


# ---- the conversation -----------------------------------------------------------------------------------------------


def _message(
    message: Message, dialect: str, rules: ModelRules, names: Mapping[str, str], changes: dict[str, None]
) -> Message:
    parts = message.parts
    if not any(isinstance(part, ToolCall | ToolResult | Image | Document) for part in parts):
        return message
    new = tuple([_part(part, dialect, rules, names, changes) for part in parts])
    return message if _same(new, parts) else replace(message, parts=new)


def _part(part: Any, dialect: str, rules: ModelRules, names: Mapping[str, str], changes: dict[str, None]) -> Any:
    match part:
        case ToolCall():
            if not _takes_form(part.extra, dialect, rules):
                part = given_as_json(part)
            return replace(part, name=names[part.name]) if part.name in names else part
        case ToolResult():
            content = tuple([_part(held, dialect, rules, names, changes) for held in part.content])
            if part.name is not None and part.name in names:
                part = replace(part, name=names[part.name])
            return part if _same(content, part.content) else replace(part, content=content)
        case Image() | Document():
            return _typed(part, changes)
        case _:
            return part


def _typed(part: Image | Document, changes: dict[str, None]) -> Image | Document:
    kind = true_media_type(part)
    if kind == part.media_type:
        return part
    if part.media_type is not None:
        noun = "picture" if isinstance(part, Image) else "document"
        changes[f"the media type of a {noun} put right: {kind}, not {part.media_type}"] = None
    return replace(part, media_type=kind)


# ---- the answer -----------------------------------------------------------------------------------------------------

_JSON_ONLY: Final = "Answer with one JSON value and nothing else: no explanation, no code fence."


def _answer(
    request: ChatRequest, dialect: str, rules: ModelRules, quirks: Quirks, changes: dict[str, None]
) -> tuple[ResponseSchema | None, str]:
    """The form of the answer as it can be demanded, and what has to be asked for in words."""
    asked = request.response_schema
    if asked is None:
        return None, ""
    json_mode = rules.json_object is not False and dialect != "anthropic_messages"
    if not rules.json_object_while_reasoning and thinks(request.reasoning, rules):
        json_mode = False
    if request.tools and not rules.answer_form_beside_tools:
        json_mode = False
    if asked.schema is None or (not asked.schema and rules is not _PLAIN):
        asked = ResponseSchema()
        if not json_mode:
            changes["JSON asked for in the prompt: this model has no such setting, or not now"] = None
            return None, _JSON_ONLY
        if rules.json_word and not _says_json(request):
            changes["JSON asked for in the prompt too: the setting is refused without the word"] = None
            return asked, _JSON_ONLY
        return asked, ""
    problem = _why_in_words(request, asked, dialect, rules, quirks)
    if problem is None:
        return _fitted_answer(asked, asked.schema, rules, changes), ""
    changes[f"the schema of the answer told in the prompt: {problem}"] = None
    words = f"{_JSON_ONLY} It must fit this JSON schema:\n{json.dumps(asked.schema, ensure_ascii=False, default=dict)}"
    return (ResponseSchema() if json_mode and is_object(asked.schema) else None), words


def _why_in_words(
    request: ChatRequest, asked: ResponseSchema, dialect: str, rules: ModelRules, quirks: Quirks
) -> str | None:
    """Why the schema cannot be demanded."""
    if not quirks.json_schema or (rules.json_schema is not None and dialect not in rules.json_schema):
        return "this model takes none"
    if request.tools and not rules.answer_form_beside_tools:
        return "this model takes none beside tools"
    if not asked.schema:
        return None
    if rules.root_object and not is_object(asked.schema):
        return "its root is no object"
    if not _answer_rules(rules)[bool(asked.strict)].recursion and is_recursive(asked.schema):
        return "it holds itself"
    return None


def _fitted_answer(
    asked: ResponseSchema, schema: Mapping[str, Any], rules: ModelRules, changes: dict[str, None]
) -> ResponseSchema:
    if rules is _PLAIN:
        return asked
    strict = asked.strict
    fitted, problem = _fitted(schema, "the schema of the answer", *_answer_rules(rules), strict=bool(strict))
    changes.update(dict.fromkeys(fitted.changes))
    if problem is not None:
        changes[f"`strict` of the answer's schema left out: {problem}"] = None
        strict = False
    name = asked.name
    if name is not None:
        name = wire_names([name], rules.answer_name, None).get(name, name)
    held = fitted.schema
    if fitted.told:
        held = {**held, "description": " ".join(text for text in (held.get("description"), fitted.told) if text)}
    if held is asked.schema and strict is asked.strict and name == asked.name:
        return asked
    return ResponseSchema(held, name, strict)


def _says_json(request: ChatRequest) -> bool:
    """Whether the conversation asks for JSON up to the user's first words: what comes later would change the prompt."""
    for message in request.messages:
        if "json" in message.text.lower():
            return True
        if message.role == "user":
            break
    return False


def _told(messages: tuple[Message, ...], words: str) -> tuple[Message, ...]:
    """The words at the end of the leading system message, which begins the conversation if there is none."""
    if not messages or messages[0].role not in ("system", "developer"):
        return (Message("system", (Text(words),)), *messages)
    first = messages[0]
    parts: tuple[Part, ...] = (*first.parts, Text(f"\n\n{words}"))
    match first.parts:
        case (Text(text=text, extra=None),):
            parts = (Text(f"{text}\n\n{words}"),)
    return (replace(first, parts=parts), *messages[1:])
