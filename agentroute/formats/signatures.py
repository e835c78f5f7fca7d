"""Signatures that pass through a client and come back: where they came from is written before them.

A client returns a signature as it got it. It is valid only at the model that made it, so what the server side hands out
names that model, and what it takes back is told apart again. What a provider is sent is the provider's own bytes.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

__all__ = ["unwrap", "wrap"]

_HEAD = "agentroute."


def wrap(signature: str, origin: str | None) -> str:
    """The signature as a client gets it.

    >>> unwrap(wrap("c2ln", "anthropic/claude"))
    ('c2ln', 'anthropic/claude')
    """
    if origin is None:
        return signature
    return f"{_HEAD}{urlsafe_b64encode(origin.encode()).decode().rstrip('=')}.{signature}"


def unwrap(text: str) -> tuple[str, str | None]:
    """The provider's own signature and its origin; None for one that did not come from us."""
    if not text.startswith(_HEAD):
        return text, None
    name, dot, signature = text.removeprefix(_HEAD).partition(".")
    if not dot:
        return text, None
    try:
        return signature, urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode()
    except ValueError:
        return text, None
