"""The three kinds of pool that every behaviour is tested on, and the eight ways to call an LLM."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import httpx
from llama_index.core import VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import TextNode
from llama_index.llms.agentroute import RoutedLLM, native
from llama_index.llms.openai import OpenAI

from agentroute.testing import ScriptedProvider

SMALL, STRONG = "gpt-4.1-nano", "gpt-4.1"
POOLS = ("wire", "native", "mixed")

Pool = dict[str, Any]

_NONE_KEPT = httpx.Limits(max_keepalive_connections=0)
_TLS = ssl.create_default_context()


def openai(base_url: str, api_key: str, model: str = SMALL, **settings: Any) -> OpenAI:
    """LlamaIndex's OpenAI model, whose connections end with their answers.

    Its clients outlive the event loops that opened their sockets, and are never closed, so that some later test would
    be warned of them.
    """
    return OpenAI(
        model=model,
        api_base=base_url,
        api_key=api_key,
        http_client=httpx.Client(limits=_NONE_KEPT, verify=_TLS),
        async_http_client=httpx.AsyncClient(limits=_NONE_KEPT, verify=_TLS),
        **settings,
    )


def serving(reply: Any, **settings: Any) -> ScriptedProvider:
    """A provider on loopback whose models go by OpenAI's names and prices."""
    return ScriptedProvider(reply, provider="openai", **settings)


def ready(provider: ScriptedProvider, model: str = SMALL, **settings: Any) -> OpenAI:
    return openai(provider.base_url, provider.api_key, model, **settings)


def pool(kind: str, small: ScriptedProvider, strong: ScriptedProvider | None = None) -> Pool:
    """`small` is tried first, `strong` after it; both on one server unless two are given."""
    strong = strong or small

    def wire(provider: ScriptedProvider, model: str) -> Any:
        return provider.target(model=model)

    def own(provider: ScriptedProvider, model: str) -> Any:
        return native(ready(provider, model))

    make: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
        "wire": (wire, wire),
        "native": (own, own),
        "mixed": (wire, own),
    }
    first, second = make[kind]
    return {"small": first(small, SMALL), "strong": second(strong, STRONG)}


MADE: list[RoutedLLM] = []
"""What this test made; its connections are closed when the test has ended."""


def routed(kind: str, small: ScriptedProvider, strong: ScriptedProvider | None = None, **settings: Any) -> RoutedLLM:
    return made(RoutedLLM(targets=pool(kind, small, strong), **settings))


def made(llm: RoutedLLM) -> RoutedLLM:
    MADE.append(llm)
    return llm


CALLS = tuple(f"{a}{stream}{what}" for what in ("chat", "complete") for stream in ("", "stream_") for a in ("", "a"))
"""chat, achat, stream_chat, astream_chat, complete, acomplete, stream_complete, astream_complete."""


async def call(llm: Any, method: str, asked: Any = "hello", **kwargs: Any) -> Any:
    """The answer of one of the eight, or the last chunk of a stream: both hold all of it."""
    return (await chunks(llm, method, asked, **kwargs))[-1]


async def chunks(llm: Any, method: str, asked: Any = "hello", **kwargs: Any) -> list[Any]:
    """All chunks of a stream; of a plain call its one answer."""
    if "chat" in method and isinstance(asked, str):
        asked = [ChatMessage(content=asked)]
    given = getattr(llm, method)(asked, **kwargs)
    if method.startswith("a"):
        given = await given
    if "stream" not in method:
        return [given]
    return [chunk async for chunk in given] if method.startswith("a") else list(given)


def said(answer: Any) -> str:
    return str(answer.text if hasattr(answer, "text") else answer.message.content or "")


TEXTS = (
    "Lisbon lies at the mouth of the Tagus.",
    "Porto lies at the mouth of the Douro.",
    "Faro lies at the Ria Formosa.",
)


def index(texts: tuple[str, ...] = TEXTS) -> VectorStoreIndex:
    """An index that finds its texts in the same order each time: all are equally near, so their ids decide."""
    nodes = [TextNode(id_=f"n{number}", text=text) for number, text in enumerate(texts)]
    return VectorStoreIndex(nodes, embed_model=MockEmbedding(8))
