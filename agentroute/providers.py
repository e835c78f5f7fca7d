"""How each provider is reached: facts as data. Another OpenAI-compatible provider is an entry in the config file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["PROVIDERS", "Auth", "Endpoint", "Provider", "Quirks"]

Auth: TypeAlias = Literal["bearer", "x-api-key", "x-goog-api-key", "api-key", "none"]
"""Where the key goes: `Authorization: Bearer ...`, or the header of that name."""


@dataclass(frozen=True, slots=True)
class Quirks:
    """Where servers of one dialect differ in what they accept. The default changes nothing.

    `developer_role` False sends such messages as `system`. `max_tokens_field` and `reasoning_field` name the field;
    `"as_given"` keeps the caller's, None for reasoning leaves it out (OpenAI itself rejects it). `api_version` is the
    version that is asked for, where the dialect has versions (Anthropic).
    """

    developer_role: bool = True
    max_tokens_field: Literal["max_tokens", "max_completion_tokens", "as_given"] = "as_given"
    reasoning_field: Literal["reasoning_content", "reasoning", "as_given"] | None = "as_given"
    stream_usage: bool = True
    api_version: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One way in: a dialect at an address. `base_url` None wants the target's own."""

    dialect: str = "openai_chat"
    base_url: str | None = None
    auth: Auth = "bearer"
    headers: tuple[tuple[str, str], ...] = ()
    quirks: Quirks = Quirks(developer_role=False, max_tokens_field="max_tokens", reasoning_field=None)


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider's ways in, the usual one first, and the environment variables that usually hold its key.

    `local` needs no key and costs nothing.
    """

    name: str
    endpoints: tuple[Endpoint, ...]
    key_names: tuple[str, ...] = ()
    local: bool = False

    def endpoint(self, dialect: str | None = None) -> Endpoint:
        """The usual way in, or the one of this dialect (without an address where none is known)."""
        if dialect is None:
            return self.endpoints[0]
        return next((way for way in self.endpoints if way.dialect == dialect), Endpoint(dialect))


def _chat(
    name: str,
    base_url: str | None,
    *key_names: str,
    quirks: Quirks = Endpoint().quirks,
    auth: Auth = "bearer",
    local: bool = False,
) -> Provider:
    return Provider(name, (Endpoint("openai_chat", base_url, auth, quirks=quirks),), key_names, local)


_OPENAI = Quirks(max_tokens_field="max_completion_tokens", reasoning_field=None)
_CONTENT = Quirks(developer_role=False, max_tokens_field="max_tokens", reasoning_field="reasoning_content")

PROVIDERS: Mapping[str, Provider] = {
    provider.name: provider
    for provider in (
        Provider(
            "anthropic",
            (
                Endpoint(
                    "anthropic_messages",
                    "https://api.anthropic.com/v1",
                    "x-api-key",
                    quirks=Quirks(api_version="2023-06-01"),
                ),
                Endpoint("openai_chat", "https://api.anthropic.com/v1"),
            ),
            ("ANTHROPIC_API_KEY",),
        ),
        _chat("azure", None, "AZURE_OPENAI_API_KEY", quirks=_OPENAI, auth="api-key"),
        _chat(
            "cerebras",
            "https://api.cerebras.ai/v1",
            "CEREBRAS_API_KEY",
            quirks=Quirks(max_tokens_field="max_completion_tokens", reasoning_field="reasoning"),
        ),
        _chat("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", quirks=_CONTENT),
        _chat("fireworks", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
        Provider(
            "google",
            (
                Endpoint(
                    "gemini", "https://generativelanguage.googleapis.com/v1beta", "x-goog-api-key", quirks=Quirks()
                ),
                Endpoint("openai_chat", "https://generativelanguage.googleapis.com/v1beta/openai"),
            ),
            ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        ),
        _chat(
            "groq",
            "https://api.groq.com/openai/v1",
            "GROQ_API_KEY",
            quirks=Quirks(developer_role=False, max_tokens_field="max_completion_tokens", reasoning_field="reasoning"),
        ),
        _chat("llamacpp", "http://127.0.0.1:8080/v1", quirks=_CONTENT, local=True),
        _chat("lmstudio", "http://127.0.0.1:1234/v1", local=True),
        _chat(
            "mistral",
            "https://api.mistral.ai/v1",
            "MISTRAL_API_KEY",
            quirks=Quirks(
                developer_role=False, max_tokens_field="max_tokens", reasoning_field=None, stream_usage=False
            ),
        ),
        _chat(
            "ollama",
            "http://127.0.0.1:11434/v1",
            quirks=Quirks(developer_role=False, max_tokens_field="max_tokens", reasoning_field="reasoning"),
            local=True,
        ),
        Provider(
            "openai",
            (
                Endpoint("openai_chat", "https://api.openai.com/v1", quirks=_OPENAI),
                Endpoint("openai_responses", "https://api.openai.com/v1", quirks=Quirks()),
            ),
            ("OPENAI_API_KEY",),
        ),
        _chat(
            "openrouter",
            "https://openrouter.ai/api/v1",
            "OPENROUTER_API_KEY",
            quirks=Quirks(max_tokens_field="max_tokens", reasoning_field="reasoning"),
        ),
        _chat("together", "https://api.together.xyz/v1", "TOGETHER_API_KEY"),
        _chat("vllm", "http://127.0.0.1:8000/v1", quirks=_CONTENT, local=True),
        _chat("xai", "https://api.x.ai/v1", "XAI_API_KEY"),
    )
}
"""The endpoints as the providers document them, written from general knowledge (2026-11-24); `base_url` overrides."""
