"""The pool that commands and evaluations use where none is given: one current model a tier, no key needed to decide."""

from __future__ import annotations

from agentroute.targets import Target

__all__ = ["EXAMPLE_POOL", "example_targets"]

EXAMPLE_POOL = (
    ("openai", "gpt-6-luna"),
    ("openai", "gpt-6.1-terra"),
    ("anthropic", "claude-sonnet-5-5"),
    ("anthropic", "claude-opus-5-5"),
)
"""Budget, mid, standard, premium; two providers, both with a published cache lifetime; list prices 40x apart."""


def example_targets() -> list[Target]:
    """The example pool as targets without keys."""
    return [Target(provider=provider, model=model) for provider, model in EXAMPLE_POOL]
