"""Scripted models for `agentroute serve --demo`: a first `curl` works without a key or a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from agentroute.catalog.example import EXAMPLE_POOL
from agentroute.messages import ChatRequest
from agentroute.router import Router
from agentroute.targets import Target
from agentroute.testing import ScriptedProvider

__all__ = ["demo_router"]


@contextmanager
def demo_router() -> Iterator[Router]:
    """A router over the example pool, with its real prices and tiers, whose models answer by script on loopback."""
    with ScriptedProvider(_reply, chunk_characters=12) as provider:
        pool = [
            Target(
                provider=name, model=model, base_url=provider.base_url, api_key=provider.api_key, dialect="openai_chat"
            )
            for name, model in EXAMPLE_POOL
        ]
        yield Router(pool)


def _reply(request: ChatRequest) -> str:
    asked = next((message.text for message in reversed(request.messages) if message.role == "user"), "")
    return f"This is {request.model}, scripted by `agentroute serve --demo`. You asked: {asked[:200]}"
