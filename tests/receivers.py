"""Targets with a strict server behind each: what it would refuse of a request as it goes on the wire."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from agentroute import formats
from agentroute.catalog import resolve
from agentroute.messages import ChatRequest
from agentroute.targets import Target

from .validators import anthropic, deepseek, gemini, mistral, openai_chat, responses


@dataclass(frozen=True)
class Receiver:
    target: Target
    violations: Callable[[Any, Collection[str]], list[str]]

    @property
    def origin(self) -> str:
        return self.target.origin

    def body(self, request: ChatRequest) -> dict[str, Any]:
        return self.encoded(request).body

    def encoded(self, request: ChatRequest) -> formats.Encoded:
        quirks = self.target.endpoint.quirks
        rules = self.target.rules
        return formats.of(self.target.dialect).encode_request(
            request, model=self.target.model, quirks=quirks, rules=rules
        )

    def refuses(self, request: ChatRequest, signed: Collection[str] = ()) -> list[str]:
        return self.violations(self.body(request), signed)


def _target(provider: str, model: str, dialect: str | None = None) -> Target:
    return resolve(Target(provider=provider, model=model, tier="mid", api_key="k", dialect=dialect))


RECEIVERS = {
    "openai": Receiver(_target("openai", "gpt-5.1"), lambda body, _: openai_chat.violations(body)),
    "responses": Receiver(_target("openai", "gpt-5.1", "openai_responses"), responses.violations),
    "anthropic": Receiver(_target("anthropic", "claude-sonnet-4-5"), anthropic.violations),
    "gemini": Receiver(_target("google", "gemini-3-pro"), gemini.violations),
    "deepseek": Receiver(_target("deepseek", "deepseek-reasoner"), lambda body, _: deepseek.violations(body)),
    "mistral": Receiver(_target("mistral", "mistral-large"), lambda body, _: mistral.violations(body)),
}
