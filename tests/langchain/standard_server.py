"""A model clever enough for LangChain's standard suite, and the four pools it is run on, over real wire formats."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from langchain_agentroute import native
from langchain_anthropic import ChatAnthropic

from agentroute import Router
from agentroute.messages import ChatRequest, Tool, Usage
from agentroute.native.targets import wrapped
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

from .pools import chat_openai

__all__ = ["COMBINATIONS", "COUNTED", "MODELS", "Kind", "Provider", "Running", "reply", "running"]

Kind = Literal["wire", "native"]
Provider = Literal["openai", "anthropic"]

MODELS: dict[Provider, dict[str, str]] = {
    "openai": {"budget": "gpt-4.1-mini", "premium": "gpt-4.1"},
    "anthropic": {"budget": "claude-haiku-4-5", "premium": "claude-opus-5"},
}
COMBINATIONS: tuple[tuple[Kind, Provider], ...] = (
    ("wire", "openai"),
    ("wire", "anthropic"),
    ("native", "openai"),
    ("native", "anthropic"),
)
_DIALECTS: dict[Provider, str] = {"openai": "openai_chat", "anthropic": "anthropic_messages"}
COUNTED = "Count every token."
_GREETING = "Hello there, how are you?"


def reply(request: ChatRequest) -> ScriptedReply:
    """What a sensible model says: JSON where a schema asks for it, a call where tools are there for a question or one
    is demanded, else a greeting up to the first stop sequence."""
    asked = next((message.text for message in reversed(request.messages) if message.role == "user"), "")
    choice = request.tool_choice
    if request.response_schema is not None and (choice is None or choice.mode in ("auto", "none")):
        schema = request.response_schema.schema
        return ScriptedReply(json.dumps(_json_mode(asked) if schema is None else _Facts(asked).value(schema, schema)))
    mode = "auto" if choice is None else choice.mode
    forced = mode in ("required", "tool")
    if request.tools and mode != "none" and (forced or request.messages[-1].role != "tool"):
        wanted = choice.name if choice is not None and choice.name else request.tools[0].name
        tool = next(tool for tool in request.tools if tool.name == wanted)
        return ScriptedReply(tool_calls=(tool_call(tool.name, **_arguments(tool, asked)),))
    if asked == COUNTED:
        return ScriptedReply("One.", usage=Usage(20, 12, cache_read_tokens=8, cache_write_tokens=4, reasoning_tokens=5))
    if "JSON" in asked:
        return ScriptedReply(json.dumps(_json_mode(asked)))
    text = _GREETING
    for stop in request.sampling.stop:
        text = text.partition(stop)[0]
    return ScriptedReply(text, finish_reason="stop")


def _arguments(tool: Tool, asked: str) -> dict[str, Any]:
    made = _Facts(asked).value(tool.parameters or {"type": "object"}, tool.parameters)
    assert isinstance(made, dict)
    return made


def _json_mode(asked: str) -> dict[str, str]:
    """Without a schema the names of the fields stand in the question, in quotes."""
    return dict.fromkeys(re.findall(r"'(\w+)'", asked), "a cat")


@dataclass(slots=True)
class _Facts:
    """What a question offers to fill a schema with: its numbers in order, what it quotes, or itself."""

    asked: str
    numbers: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.numbers = [int(number) for number in re.findall(r"\d+", self.asked)]

    def value(self, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
        """A value of this JSON schema."""
        if "$ref" in schema:
            found: Any = root
            for name in schema["$ref"].removeprefix("#/").split("/"):
                found = found[name]
            return self.value(found, root)
        for key in ("anyOf", "oneOf", "allOf"):
            if key in schema:
                return self.value(next(one for one in schema[key] if one.get("type") != "null"), root)
        if "const" in schema or "enum" in schema:
            return schema["const"] if "const" in schema else schema["enum"][0]
        kind = schema.get("type")
        kind = kind[0] if isinstance(kind, list) else kind
        if kind == "object" or "properties" in schema:
            return {name: self.value(one, root) for name, one in schema.get("properties", {}).items()}
        if kind == "array":
            return [self.value(schema.get("items", {}), root)]
        if kind in ("integer", "number"):
            return self.numbers.pop(0) if self.numbers else 7
        if kind == "boolean":
            return True
        if kind == "null":
            return None
        quoted = re.search(r"'(\w+)'", self.asked)
        return quoted[1] if quoted else self.asked


@dataclass(frozen=True, slots=True)
class Running:
    """One of the combinations: what a RoutedChatModel is made of, and the server of the model that is tried first."""

    targets: dict[str, Any]
    router: Router
    first: ScriptedProvider


@asynccontextmanager
async def running() -> AsyncIterator[Mapping[tuple[Kind, Provider], Running]]:
    """All combinations. In each the first provider's cheap model is tried before the other's strong one."""
    with ScriptedProvider(reply, provider="openai") as openai, ScriptedProvider(reply, provider="anthropic") as claude:
        servers: dict[Provider, ScriptedProvider] = {"openai": openai, "anthropic": claude}
        found = {}
        for kind, first in COMBINATIONS:
            second: Provider = "anthropic" if first == "openai" else "openai"
            tried = {"budget": first, "premium": second}
            targets = {tier: _target(kind, provider, tier, servers[provider]) for tier, provider in tried.items()}
            found[kind, first] = Running(targets, Router(wrapped(targets, native)), servers[first])
        yield found
        for pool in found.values():
            await pool.router.aclose()
            for model in pool.router.models.values():
                # ChatAnthropic keeps its asynchronous client for the whole process.
                client = getattr(model, "_async_client", None)
                if client is not None:
                    await client.close()


def _target(kind: Kind, provider: Provider, tier: str, server: ScriptedProvider) -> Any:
    model = MODELS[provider][tier]
    if kind == "wire":
        return server.target(model=model, dialect=_DIALECTS[provider])
    if provider == "openai":
        return chat_openai(server.base_url, model, server.api_key)
    claude: Any = {"model": model, "base_url": server.base_url.removesuffix("/v1"), "api_key": server.api_key}
    return ChatAnthropic(**claude, max_tokens=1024)
