"""A pool as people build it: OpenAI's small model and Anthropic's strong one, of our own transport or ready models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from langchain_agentroute import RoutedChatModel
from langchain_anthropic import ChatAnthropic

from agentroute import Target
from agentroute.testing import ScriptedProvider

from .pools import chat_openai

KINDS = ("wire", "native")
SMALL, STRONG = "gpt-4.1-nano", "claude-opus-5"


def pin(target: str, **configurable: Any) -> Any:
    return {"configurable": {"agentroute": {"target": target}, **configurable}}


def families(kind: str, provider: ScriptedProvider) -> Mapping[str, Any]:
    """`small` and `strong`, each asked in its provider's own dialect, on one server that speaks both."""
    if kind == "wire":
        return {
            "small": provider.target(model=SMALL),
            "strong": Target(provider="anthropic", model=STRONG, base_url=provider.base_url, api_key=provider.api_key),
        }
    claude: Any = {"model": STRONG, "base_url": provider.base_url.removesuffix("/v1"), "api_key": provider.api_key}
    return {
        "small": chat_openai(provider.base_url, SMALL, provider.api_key),
        "strong": ChatAnthropic(**claude, max_tokens=1024),
    }


@asynccontextmanager
async def routed(kind: str, provider: ScriptedProvider, **settings: Any) -> AsyncIterator[RoutedChatModel]:
    model = RoutedChatModel(targets=families(kind, provider), **settings)
    yield model
    model.router.close()
    await model.router.aclose()
    for ready in model.models.values():
        # ChatAnthropic keeps its asynchronous client for the whole process.
        client = ready.__dict__.get("_async_client")
        if client is not None:
            await client.close()
