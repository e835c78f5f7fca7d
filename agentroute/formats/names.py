"""Names of tools as each provider takes them, and the way back: the caller hears its own names again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Final

__all__ = ["wire_names"]

_DIGEST: Final = 6
"""Signs that tell two names apart that become one: 16 million values for the few hundred tools of a request."""

_ODD: Final = re.compile(r"[^A-Za-z0-9_-]")
"""What stands in some provider's names and not in every one's."""


def wire_names(names: Iterable[str], pattern: str | None, max_length: int | None) -> Mapping[str, str]:
    """What each name that the pattern does not match as a whole, or that is too long, is called instead.

    The new name depends on the old one alone, so that it stays the same whatever tools come and go (a provider's cache
    of the prompt stays warm), and ends in a digest, so that no two become one.

    >>> wire_names(["admin.tools.list", "grep"], "[a-zA-Z0-9_-]{1,64}", 64)
    {'admin.tools.list': 'admin_tools_list_24ef8c'}
    """
    given = dict.fromkeys(names)
    taken = {name for name in given if _takes(name, pattern, max_length)}
    found: dict[str, str] = {}
    for name in given:
        if name in taken:
            continue
        size = _DIGEST
        while (new := _renamed(name, pattern, max_length, size)) in taken:
            size += 1
        taken.add(new)
        found[name] = new
    return found


@lru_cache(maxsize=4096)
def _takes(name: str, pattern: str | None, max_length: int | None) -> bool:
    if max_length is not None and len(name) > max_length:
        return False
    return pattern is None or re.fullmatch(pattern, name) is not None


def _renamed(name: str, pattern: str | None, max_length: int | None, size: int) -> str:
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()[:size]
    room = None if max_length is None else max(max_length - size - 1, 0)
    plain = _ODD.sub("_", name)
    new = f"{plain[:room]}_{digest}"
    # A few providers want a letter first; `_` passes for one.
    return new if _takes(new, pattern, max_length) else f"_{plain[: None if room is None else room - 1]}_{digest}"
