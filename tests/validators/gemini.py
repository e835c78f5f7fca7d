"""A strict server of Gemini 3's generateContent: what it would refuse in a request, in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Any

from google.genai import types
from pydantic import TypeAdapter

from .schemas import GEMINI_NAME, names
from .shapes import misshapen

_CONTENTS: TypeAdapter[Any] = TypeAdapter(list[types.Content])
_SYSTEM: TypeAdapter[Any] = TypeAdapter(types.Content)
_PLACEHOLDER = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="


def violations(body: Mapping[str, Any], signed: Collection[str] = ()) -> list[str]:
    """`signed`: the thought signatures this model has given out, the only ones (but for one placeholder) it takes."""
    contents = body["contents"]
    found = misshapen(_CONTENTS, contents)
    if "systemInstruction" in body:
        found += misshapen(_SYSTEM, body["systemInstruction"])
    if not contents or contents[0]["role"] != "user":
        found.append("the first content must be the user's")
    for before, raw in pairwise(contents):
        if before["role"] == raw["role"]:
            found.append("roles must alternate")
    for raw in contents:
        found += _parts(raw, signed)
    declared = [function for tool in body.get("tools", ()) for function in tool.get("functionDeclarations", ())]
    found += names([function["name"] for function in declared], GEMINI_NAME)
    return found + _pairing(contents) + _signatures(contents)


def _parts(content: Mapping[str, Any], signed: Collection[str]) -> list[str]:
    found = [] if content["parts"] else ["a content must have parts"]
    for part in content["parts"]:
        signature = part.get("thoughtSignature")
        if signature is not None and signature not in signed and signature != _PLACEHOLDER:
            found.append("thought signature is not valid")
        if not part.get("text", "said") and signature is None:
            found.append("a part must have text or data")
        if "functionCall" in part and content["role"] != "model":
            found.append("a function call of the user")
    return found


def _pairing(contents: list[Mapping[str, Any]]) -> list[str]:
    found = []
    for at, content in enumerate([*contents, {"role": "user", "parts": []}]):
        before = contents[at - 1]["parts"] if at and contents[at - 1]["role"] == "model" else []
        asked = [
            (part["functionCall"].get("id"), part["functionCall"]["name"]) for part in before if "functionCall" in part
        ]
        given = [
            (part["functionResponse"].get("id"), part["functionResponse"]["name"])
            for part in content["parts"]
            if "functionResponse" in part
        ]
        if sorted(asked, key=repr) != sorted(given, key=repr):
            found.append("the function response parts must equal the function call parts of the turn before")
        if len(set(asked)) < len(asked):
            found.append("two function calls cannot be told apart")
    return found


def _signatures(contents: list[Mapping[str, Any]]) -> list[str]:
    """The first call of each step since the user spoke must be signed."""
    spoken = [
        at for at, raw in enumerate(contents) if raw["role"] == "user" and any("text" in part for part in raw["parts"])
    ]
    found = []
    for content in contents[max(spoken, default=0) :]:
        calls = [part for part in content["parts"] if "functionCall" in part]
        if calls and not calls[0].get("thoughtSignature"):
            found.append("function call is missing a thought_signature")
    return found
