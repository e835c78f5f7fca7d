"""Where a prompt ceased to be what its provider keeps in its cache, and what paying for it again costs."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from agentroute.messages import Usage
from agentroute.targets import Price

__all__ = ["paid_again", "with_read"]


def paid_again(price: Price, usage: Usage, tokens: int) -> Decimal | None:
    """USD that a call cost more because so many `tokens` of its prompt were not read from the cache, but written again
    or sent plainly. None if the price of this usage cannot be told."""
    usd, better = price.cost(usage), price.cost(with_read(usage, tokens))
    return None if usd is None or better is None else usd - better


def with_read(usage: Usage, tokens: int) -> Usage:
    """The usage if so many tokens more had been read from the cache: first of those that were written to it."""
    written = usage.cache_write_tokens
    left = None if written is None else max(written - tokens, 0)
    return replace(
        usage,
        cache_read_tokens=(usage.cache_read_tokens or 0) + tokens,
        cache_write_tokens=left,
        cache_write_1h_tokens=_at_most(usage.cache_write_1h_tokens, left),
        cache_write_12h_tokens=_at_most(usage.cache_write_12h_tokens, left),
    )


def _at_most(count: int | None, limit: int | None) -> int | None:
    return None if count is None else min(count, limit or 0)
