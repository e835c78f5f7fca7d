"""What was changed in a conversation, in words: each kind once, with how often it happened."""

from __future__ import annotations

__all__ = ["Changes"]


class Changes:
    """Collects what the stages of the repair did.

    >>> changes = Changes()
    >>> changes.add("{} left out: nothing stood in it", "message")
    >>> changes.add("{} left out: nothing stood in it", "message")
    >>> changes.words()
    ('2 messages left out: nothing stood in it',)
    """

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}

    def add(self, words: str, noun: str) -> None:
        """Once more. `words` has a `{}` where the number and the noun go."""
        key = (words, noun)
        self._counts[key] = self._counts.get(key, 0) + 1

    def words(self) -> tuple[str, ...]:
        return tuple(
            words.replace("{}", f"{count} {noun}" + ("s" if count > 1 else ""), 1)
            for (words, noun), count in self._counts.items()
        )
