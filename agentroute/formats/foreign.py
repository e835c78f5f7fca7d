"""What of a request only another dialect can say: named, so that the record tells what a target was not told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from agentroute.errors import RequestError
from agentroute.messages import Audio, ChatRequest, Document, Extra, Image, Part, Reasoning, Text, Tool, ToolResult
from agentroute.providers import NATIVE, NO_AUDIO
from agentroute.targets.model_rules import REASONING_FIELDS, SHARED_SETTINGS

__all__ = ["carried", "foreign_part", "foreign_tool", "left_out", "unsupported_part"]

_OPENAI: Final = frozenset({"openai_chat", "openai_responses"})

_SAID_OTHERWISE: Final = frozenset(
    {
        "type",
        "id",
        "status",
        "field",
        "index",
        "call_id",
        "output_index",
        "max_tokens",
        "namespace",
        "name",
        "additional_tools",
    }
)
"""The form of a part or a tool, a number the provider gave it, an older name of a setting that we have: nothing is
lost."""


def foreign_part(part: Part, dialect: str) -> bool:
    """Whether this part is kept whole for another dialect (a file, a video), so that nothing of it can be said here."""
    if not _is_foreign(part.extra, dialect):
        return False
    return (isinstance(part, Text) and not part.text) or (
        isinstance(part, Image | Document | Audio) and part.url is None and part.data is None
    )


def unsupported_part(part: Document | Audio, dialect: str) -> str | None:
    """Why a target of this dialect cannot be given the part, as what it "cannot" do; None where it can.

    A part without data and URL stands for a file that lies with the provider: only its own dialect has a word for it.
    """
    heard = isinstance(part, Audio)
    if dialect == NATIVE:
        return None
    if heard and dialect in NO_AUDIO:
        return "cannot hear audio"
    if part.data is not None:
        return None
    if part.url is not None:
        return f"cannot {'hear audio' if heard else 'read documents'} by URL" if dialect == "openai_chat" else None
    if part.extra is None or not part.extra.fields:
        return f"cannot {'hear audio' if heard else 'read documents'} without data or URL"
    if part.extra.dialect != dialect:
        return f"cannot reach a file that is named as in {part.extra.dialect}"
    return None


def foreign_tool(tool: Tool, dialect: str) -> bool:
    """Whether only another dialect's providers know this tool: they run it themselves."""
    extra = tool.extra
    if extra is None or extra.dialect == dialect:
        return False
    kind = extra.fields.get("type")
    if kind == "custom":
        return False
    return kind not in (None, "function") or (tool.name in extra.fields and not tool.parameters)


def left_out(request: ChatRequest, dialect: str, *, settings: bool = True, shared: bool = True) -> tuple[str, ...]:
    """In words, each once: the settings, tools, parts and marks that this dialect cannot hold.

    Raises RequestError for a document or a recording that cannot be said in it: a file is never left out.

    Reasoning is not named here: what becomes of it and of its signature is the history's business. `settings` False
    passes over the request's own unknown fields; `shared` False means that none of them is carried over.
    """
    found: dict[str, None] = {}
    if settings and request.extra is not None and request.extra.dialect != dialect:
        _name_settings(request, request.extra, dialect, found, shared)
    for tool in request.tools:
        if foreign_tool(tool, dialect):
            found[f"the tool `{tool.name}` left out: only {_dialect(tool.extra)} has it"] = None
        else:
            _name(tool.extra, dialect, found)
    for message in request.messages:
        _name(message.extra, dialect, found)
        _name_parts(message.parts, dialect, found)
    return tuple(found)


def _name_settings(request: ChatRequest, extra: Extra, dialect: str, found: dict[str, None], shared: bool) -> None:
    """Reasoning has a setting of its own, and OpenAI's dialects have some in common: these are not lost."""
    said: set[str] = set()
    if shared and extra.dialect in _OPENAI and dialect in _OPENAI:
        said.update(SHARED_SETTINGS)
        text = extra.fields.get("text")
        if isinstance(text, Mapping) and set(text) <= {"verbosity"}:
            said.add("text")
    if request.reasoning is not None:
        said.update(REASONING_FIELDS.get(extra.dialect, ()))
    _name(Extra(extra.dialect, {key: extra.fields[key] for key in extra.fields if key not in said}), dialect, found)


def _name_parts(parts: Iterable[Part], dialect: str, found: dict[str, None]) -> None:
    for part in parts:
        if isinstance(part, ToolResult):
            _name_parts(part.content, dialect, found)
        elif isinstance(part, Document | Audio):
            _refuse_unsupported(part, dialect)
        extra = part.extra
        if extra is None or extra.dialect == dialect or isinstance(part, Reasoning):
            continue
        if foreign_part(part, dialect):
            kind = extra.fields.get("type") or next(iter(extra.fields))
            found[f"a part `{kind}` left out: only {_dialect(extra)} has it"] = None
        else:
            _name(extra, dialect, found)


def _refuse_unsupported(part: Document | Audio, dialect: str) -> None:
    problem = unsupported_part(part, dialect)
    if problem is None:
        return
    kind = "recording" if isinstance(part, Audio) else "document"
    about = (part.name if isinstance(part, Document) else None) or part.media_type
    shown = kind if about is None else f"{kind} {about!r}"
    raise RequestError(f"the {shown} cannot be sent to a target of the dialect {dialect}, which {problem}")


def _name(extra: Extra | None, dialect: str, found: dict[str, None]) -> None:
    if extra is None or extra.dialect == dialect:
        return
    for name in extra.fields:
        if name not in _SAID_OTHERWISE:
            found[f"`{name}` left out: only {_dialect(extra)} has it"] = None


def _is_foreign(extra: Extra | None, dialect: str) -> bool:
    return extra is not None and extra.dialect != dialect and bool(extra.fields)


def _dialect(extra: Extra | None) -> str:
    return extra.dialect if extra is not None else "another dialect"


def carried(settings: Mapping[str, Any], given: str, dialect: str) -> dict[str, Any]:
    """What of these fields of one of OpenAI's dialects the other one has too, as that spells it."""
    if given == dialect or given not in _OPENAI or dialect not in _OPENAI:
        return {}
    found: dict[str, Any] = {name: settings[name] for name in SHARED_SETTINGS if settings.get(name) is not None}
    text = settings.get("text")
    if dialect == "openai_responses" and "verbosity" in found:
        found["text"] = {"verbosity": found.pop("verbosity")}
    elif dialect == "openai_chat" and isinstance(text, Mapping) and text.get("verbosity") is not None:
        found["verbosity"] = text["verbosity"]
    return found
