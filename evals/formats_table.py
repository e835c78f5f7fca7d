"""Draws the table of docs/formats.md: what a request keeps, changes and loses in each dialect.

Nothing in it is written by hand: every cell is a request, repaired and encoded for a target of that dialect and read
back. `python evals/formats_table.py` prints it; `--write` puts it into the page.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agentroute import ChatRequest, Message, RequestError, Target, Tool, ToolCall, ToolResult, formats
from agentroute.catalog import resolve
from agentroute.history import repair
from agentroute.messages import (
    Audio,
    Document,
    Extra,
    Image,
    Reasoning,
    ResponseSchema,
    Sampling,
    Text,
    ToolChoice,
)

PAGE = Path(__file__).resolve().parent.parent / "docs" / "formats.md"
BEGIN, END = "<!-- table: python evals/formats_table.py --write -->", "<!-- end of table -->"


def _target(provider: str, model: str, dialect: str | None = None) -> Target:
    return resolve(Target(provider=provider, model=model, dialect=dialect, tier="mid"))


TARGETS = {
    "OpenAI chat": _target("openai", "gpt-6-luna", "openai_chat"),
    "DeepSeek": _target("deepseek", "deepseek-v4-pro"),
    "Mistral": _target("mistral", "mistral-large-2512"),
    "OpenAI Responses": _target("openai", "gpt-6-luna", "openai_responses"),
    "Anthropic": _target("anthropic", "claude-sonnet-5-5"),
    "Gemini": _target("google", "gemini-3.8-flash"),
}

_USER = Message("user", (Text("hello"),))
_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_TOOL = Tool("look", "Looks something up.", _SCHEMA)
_PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def _asked(*messages: Message, **fields: object) -> ChatRequest:
    fields.setdefault("sampling", Sampling(max_output_tokens=100))
    return replace(ChatRequest(messages or (_USER,)), **fields)  # type: ignore[arg-type]


def _loop(call: ToolCall, *results: ToolResult, before: tuple[Text | Reasoning, ...] = ()) -> ChatRequest:
    return _asked(
        _USER,
        Message("assistant", (*before, call)),
        *(Message("tool", (result,)) for result in results),
        tools=(_TOOL,),
    )


_CALL = ToolCall("call_1", "look", '{"city": "Oslo"}')
_RESULT = ToolResult("call_1", (Text("rain"),))
_DOCUMENT = Document(data="JVBERi0xLjQK", media_type="application/pdf", name="a.pdf")

FEATURES: dict[str, Callable[[Target], ChatRequest]] = {
    "system message, first": lambda _: _asked(Message("system", (Text("Be brief."),)), _USER),
    "system message, later": lambda _: _asked(_USER, Message("system", (Text("Be brief."),)), _USER),
    "developer message": lambda _: _asked(Message("developer", (Text("Be brief."),)), _USER),
    "two user messages in a row": lambda _: _asked(_USER, _USER),
    "name of a participant": lambda _: _asked(Message("user", (Text("hello"),), name="ada")),
    "empty user message": lambda _: _asked(_USER, Message("user", (Text(""),)), _USER),
    "picture, base64": lambda _: _asked(Message("user", (Image(data=_PICTURE, media_type="image/png"),))),
    "picture, URL": lambda _: _asked(Message("user", (Image(url="https://example.org/a.png"),))),
    "picture, detail": lambda _: _asked(Message("user", (Image(url="https://example.org/a.png", detail="low"),))),
    "document, base64": lambda _: _asked(Message("user", (_DOCUMENT,))),
    "document, URL": lambda _: _asked(Message("user", (Document(url="https://example.org/a.pdf"),))),
    "document named by a file id": lambda target: _asked(Message("user", (_named(target.dialect),))),
    "recording, base64": lambda _: _asked(Message("user", (Audio(data="UklGRg==", media_type="audio/wav"),))),
    "recording, URL": lambda _: _asked(Message("user", (Audio(url="https://example.org/a.wav"),))),
    "tools": lambda _: _asked(tools=(_TOOL,)),
    "strict tool": lambda _: _asked(tools=(replace(_TOOL, strict=True),)),
    "tool choice: auto": lambda _: _asked(tools=(_TOOL,), tool_choice=ToolChoice("auto")),
    "tool choice: none": lambda _: _asked(tools=(_TOOL,), tool_choice=ToolChoice("none")),
    "tool choice: required": lambda _: _asked(tools=(_TOOL,), tool_choice=ToolChoice("required")),
    "tool choice: one tool": lambda _: _asked(tools=(_TOOL,), tool_choice=ToolChoice("tool", "look")),
    "no parallel calls": lambda _: _asked(tools=(_TOOL,), parallel_tool_calls=False),
    "call and result": lambda _: _loop(_CALL, _RESULT),
    "two calls in parallel": lambda _: _asked(
        _USER,
        Message("assistant", (_CALL, replace(_CALL, id="call_2"))),
        Message("tool", (_RESULT,)),
        Message("tool", (replace(_RESULT, tool_call_id="call_2"),)),
        tools=(_TOOL,),
    ),
    "result that is an error": lambda _: _loop(_CALL, replace(_RESULT, is_error=True)),
    "result with a picture": lambda _: _loop(
        _CALL, replace(_RESULT, content=(Text("see"), Image(data=_PICTURE, media_type="image/png")))
    ),
    "result with a document": lambda _: _loop(_CALL, replace(_RESULT, content=(Text("see"), _DOCUMENT))),
    "arguments that are no JSON": lambda _: _loop(replace(_CALL, arguments='{"city": '), _RESULT),
    "id of 60 odd characters": lambda _: _loop(
        replace(_CALL, id="call|" + "x" * 55), replace(_RESULT, tool_call_id="call|" + "x" * 55)
    ),
    "call without a result": lambda _: _asked(_USER, Message("assistant", (_CALL,)), _USER, tools=(_TOOL,)),
    "result without a call": lambda _: _asked(_USER, Message("tool", (_RESULT,)), _USER),
    "reasoning, own, signed": lambda target: _loop(
        _CALL, _RESULT, before=(Reasoning("hm", "c2ln", target.origin, extra=_own(target)),)
    ),
    "reasoning, another model's, signed": lambda _: _loop(
        _CALL, _RESULT, before=(Reasoning("hm", "c2ln", "acme/other"),)
    ),
    "reasoning, redacted, another model's": lambda _: _loop(
        _CALL, _RESULT, before=(Reasoning("", "c2ln", "acme/other", redacted=True),)
    ),
    "reasoning, text only": lambda _: _loop(_CALL, _RESULT, before=(Reasoning("hm"),)),
    "JSON of a schema": lambda _: _asked(response_schema=ResponseSchema(_SCHEMA, "answer", True)),
    "JSON of any shape": lambda _: _asked(response_schema=ResponseSchema()),
    "temperature": lambda _: _asked(sampling=Sampling(temperature=0.5, max_output_tokens=100)),
    "top_p": lambda _: _asked(sampling=Sampling(top_p=0.5, max_output_tokens=100)),
    "limit of output": lambda _: _asked(),
    "no limit of output": lambda _: _asked(sampling=Sampling()),
    "stop sequences": lambda _: _asked(sampling=Sampling(stop=("END",), max_output_tokens=100)),
    "seed": lambda _: _asked(sampling=Sampling(seed=7, max_output_tokens=100)),
    "penalties": lambda _: _asked(
        sampling=Sampling(presence_penalty=0.5, frequency_penalty=0.5, max_output_tokens=100)
    ),
    "unknown field, same dialect": lambda target: _asked(extra=Extra(target.dialect, {"service_tier": "flex"})),
    "unknown field, another dialect": lambda _: _asked(extra=Extra("another", {"service_tier": "flex"})),
}


def _named(dialect: str) -> Document:
    """A file that lies with the provider, as each dialect names it."""
    named: dict[str, dict[str, object]] = {
        "openai_chat": {"type": "file", "file": {"file_id": "file-1"}},
        "openai_responses": {"type": "input_file", "file_id": "file-1"},
        "anthropic_messages": {"type": "document", "source": {"type": "file", "file_id": "file-1"}},
        "gemini": {"fileData": {"fileUri": "gs://bucket/a.pdf", "mimeType": "application/pdf"}},
    }
    media_type = "application/pdf" if dialect == "gemini" else None
    return Document(media_type=media_type, extra=Extra(dialect, named[dialect]))


def _own(target: Target) -> Extra | None:
    if target.dialect == "gemini":
        return Extra("gemini", {}, target.origin)
    if target.dialect != "openai_responses":
        return None
    fields = {"id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]}
    return Extra("openai_responses", fields, target.origin)


def cell(feature: str, target: Target) -> tuple[str, tuple[str, ...]]:
    """What becomes of it, in a word, and what the record says of it.

    `other form` is a change of spelling that needs no record: the target is told the same. What a dialect cannot say
    at all is `refused`; selection leaves its targets out before that.
    """
    request = FEATURES[feature](target)
    format_ = formats.of(target.dialect)
    repaired = repair(request, target)
    try:
        encoded = format_.encode_request(
            repaired.request, model=target.model, quirks=target.endpoint.quirks, rules=target.rules
        )
    except RequestError as error:
        return "refused", (f"not sent there: {str(error).partition(', which ')[2]}",)
    back = replace(format_.decode_request(encoded.body), model=None)
    changes = (*repaired.changes, *encoded.changes)
    if changes:
        return "changed", changes
    return ("kept" if _says(back) == _says(request) else "other form"), ()


def _says(request: ChatRequest) -> object:
    """The request without the spelling: how texts are cut into messages and parts, and what a dialect adds to it."""
    messages = tuple(
        (
            "system" if message.role == "developer" else message.role,
            tuple(
                replace(part, extra=None)
                if not isinstance(part, Reasoning)
                else (part.text, part.signature, part.redacted)
                for part in message.parts
            ),
            message.name,
        )
        for message in request.messages
    )
    return messages, request.tools, request.tool_choice, request.parallel_tool_calls, request.response_schema


def table() -> str:
    notes: dict[str, int] = {}
    lines = ["| | " + " | ".join(TARGETS) + " |", "|---|" + "---|" * len(TARGETS)]
    for feature in FEATURES:
        cells = []
        for target in TARGETS.values():
            word, changes = cell(feature, target)
            marks = [str(notes.setdefault(change, len(notes) + 1)) for change in changes]
            cells.append(f"see {', '.join(marks)}" if marks else word)
        lines.append(f"| {feature} | " + " | ".join(cells) + " |")
    lines += ["", *(f"{number}. {note}" for note, number in notes.items())]
    return "\n".join(lines)


def main() -> None:
    drawn = table()
    if "--write" not in sys.argv:
        print(drawn)
        return
    page = PAGE.read_text(encoding="utf-8")
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}\n\n{drawn}\n\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
