"""The pool that commands use: a config file's, or a documented example that needs no key to decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..targets import Target

__all__ = ["EXAMPLE_POOL", "example_targets", "pool_options"]

EXAMPLE_POOL = (
    ("openai", "gpt-6-luna"),
    ("google", "gemini-3.8-flash"),
    ("anthropic", "claude-sonnet-5-5"),
    ("anthropic", "claude-opus-5-5"),
)
"""One current model for each tier, of three providers: what `route` and `replay` use where no config is given."""


def example_targets() -> list[Target]:
    return [Target(provider=provider, model=model) for provider, model in EXAMPLE_POOL]


def pool_options(config: Path | None) -> dict[str, Any]:
    """The arguments of a Router: from the config file, else the example pool."""
    if config is None:
        return {"targets": example_targets()}
    from ..config import load

    return load(config)
