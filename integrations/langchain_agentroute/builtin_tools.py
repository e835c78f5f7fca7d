"""Tools that a provider runs itself, told by their form: they have no schema, and no other provider has them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from agentroute.messages import Extra, Tool

__all__ = ["builtin"]

_DATED: Final = re.compile(r"_20\d{6}$")
"""Anthropic's have a date for a version: `web_search_20250305`."""

_ANTHROPIC: Final = frozenset({"mcp_toolset"})
_OPENAI: Final = frozenset(
    {
        "apply_patch",
        "code_interpreter",
        "computer",
        "computer_use_preview",
        "file_search",
        "image_generation",
        "local_shell",
        "mcp",
        "namespace",
        "shell",
        "tool_search",
    }
)
"""OpenAI's Responses API, as langchain-core's `convert_to_openai_tool` and the official SDK name them, 2026-11."""

_GOOGLE: Final = frozenset(
    {
        "code_execution",
        "computer_use",
        "enterprise_web_search",
        "file_search",
        "google_maps",
        "google_search",
        "google_search_retrieval",
        "retrieval",
        "url_context",
    }
)
"""The fields of Gemini's `Tool` beside `function_declarations`, as the official SDK names them, 2026-11."""


def builtin(tool: Any) -> Tool | None:
    """The canonical tool, kept whole for the one dialect that knows it; None for a function with a schema.

    >>> builtin({"type": "web_search_20250305", "name": "web_search"}).extra.dialect
    'anthropic_messages'
    >>> builtin({"google_search": {}}).extra.dialect
    'gemini'
    """
    if not isinstance(tool, Mapping):
        return None
    kind = tool.get("type")
    if kind is None and len(tool) == 1:
        ((key, value),) = tool.items()
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", str(key)).lower()
        if name in _GOOGLE:
            camel = re.sub("_(.)", lambda letter: letter[1].upper(), name)
            return Tool(camel, extra=Extra("gemini", {camel: value}))
    if not isinstance(kind, str):
        return None
    name = str(tool.get("name") or kind)
    if _DATED.search(kind) or kind in _ANTHROPIC:
        return Tool(name, extra=Extra("anthropic_messages", dict(tool)))
    if kind in _OPENAI or kind.startswith("web_search"):
        return Tool(name, extra=Extra("openai_responses", dict(tool)))
    return None
