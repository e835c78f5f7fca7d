"""How each provider is reached: facts as data. Another OpenAI-compatible provider is a `base_url` on the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["PROVIDERS", "Provider"]


@dataclass(frozen=True, slots=True)
class Provider:
    """Where a provider answers OpenAI chat completions, and the environment variables that usually hold its key.

    `local` needs no key and costs nothing.
    """

    base_url: str
    key_names: tuple[str, ...] = ()
    local: bool = False


PROVIDERS: Mapping[str, Provider] = {
    "anthropic": Provider("https://api.anthropic.com/v1", ("ANTHROPIC_API_KEY",)),
    "cerebras": Provider("https://api.cerebras.ai/v1", ("CEREBRAS_API_KEY",)),
    "deepseek": Provider("https://api.deepseek.com/v1", ("DEEPSEEK_API_KEY",)),
    "fireworks": Provider("https://api.fireworks.ai/inference/v1", ("FIREWORKS_API_KEY",)),
    "google": Provider("https://generativelanguage.googleapis.com/v1beta/openai", ("GEMINI_API_KEY", "GOOGLE_API_KEY")),
    "groq": Provider("https://api.groq.com/openai/v1", ("GROQ_API_KEY",)),
    "llamacpp": Provider("http://127.0.0.1:8080/v1", local=True),
    "lmstudio": Provider("http://127.0.0.1:1234/v1", local=True),
    "mistral": Provider("https://api.mistral.ai/v1", ("MISTRAL_API_KEY",)),
    "ollama": Provider("http://127.0.0.1:11434/v1", local=True),
    "openai": Provider("https://api.openai.com/v1", ("OPENAI_API_KEY",)),
    "openrouter": Provider("https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",)),
    "together": Provider("https://api.together.xyz/v1", ("TOGETHER_API_KEY",)),
    "vllm": Provider("http://127.0.0.1:8000/v1", local=True),
    "xai": Provider("https://api.x.ai/v1", ("XAI_API_KEY",)),
}
"""The endpoints as the providers document them, written from general knowledge (2026-11-24); `base_url` overrides."""
