"""Tables for any width: columns that a narrow terminal has no room for are left out and named; names stay whole."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from rich.console import Console
from rich.table import Table

__all__ = ["fitted"]

_ANY_WIDTH = Console(width=1_000, height=25)
"""With a height too: rich takes a dumb terminal for 80 columns wide otherwise."""


def fitted(
    build: Callable[[Collection[str]], Table], spare: Sequence[str], width: int
) -> tuple[Table, tuple[str, ...]]:
    """The table that `build` makes without some columns, as few as the width allows, and which those are.

    The columns in `spare` go first, in that order. A table that is still too wide folds its texts.
    """
    for number in range(len(spare) + 1):
        left_out = tuple(spare[:number])
        table = build(left_out)
        if _ANY_WIDTH.measure(table).maximum <= width:
            break
    return table, left_out
