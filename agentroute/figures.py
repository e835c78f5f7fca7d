"""How figures are written for people: money, shares and counts, one look in every table, page and message."""

from __future__ import annotations

from decimal import Decimal

__all__ = ["count", "percent", "usd"]


def usd(value: Decimal | None, *, estimated: bool = False, places: int = 4) -> str:
    """Dollars: cents from $10 on, else `places` digits behind the point; `~` marks an estimate.

    An amount too small for its digits is `<$0.0001`, since `$0.0000` would say that it was free.

    >>> usd(Decimal("1234.5")), usd(Decimal("0.00001")), usd(None), usd(Decimal("0.25"), estimated=True)
    ('$1,234.50', '<$0.0001', 'unknown', '~$0.2500')
    """
    if value is None:
        return "unknown"
    mark = "~" if estimated else ""
    sign = "-" if value < 0 else ""
    size, least = abs(value), Decimal(1).scaleb(-places)
    if 0 < size < least:
        return f"{mark}{sign}<${least:f}"
    return f"{mark}{sign}${size:,.{2 if size >= 10 else places}f}"


def percent(part: float | Decimal | None) -> str:
    """A share of 1 as `12.3 %`; nothing for None."""
    return "" if part is None else f"{100 * part:.1f} %"


def count(number: int, noun: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
