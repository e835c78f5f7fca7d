"""Reads MessagePack without running or importing anything it names: an extension becomes its code and its bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

__all__ = ["Extension", "unpack"]

_DEPTH = 100
_SIZES = {0: ">B", 1: ">H", 2: ">I", 3: ">Q"}
_SIGNED = {0: ">b", 1: ">h", 2: ">i", 3: ">q"}


@dataclass(frozen=True, slots=True)
class Extension:
    """A value of a kind that MessagePack does not know."""

    code: int
    data: bytes


def unpack(data: bytes) -> Any:
    """The value of these bytes. Raises ValueError for anything else than one whole value."""
    reader = _Reader(data)
    try:
        return reader.value(0)
    except (struct.error, IndexError, UnicodeDecodeError, TypeError) as error:
        raise ValueError(f"not MessagePack: {type(error).__name__}") from None


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def value(self, depth: int) -> Any:
        if depth > _DEPTH:
            raise ValueError("nested too deeply")
        head = self._take(1)[0]
        if head < 0x80:
            return head
        if head >= 0xE0:
            return head - 0x100
        if head < 0x90:
            return self._map(head & 0x0F, depth)
        if head < 0xA0:
            return self._list(head & 0x0F, depth)
        if head < 0xC0:
            return self._take(head & 0x1F).decode()
        match head:
            case 0xC0:
                return None
            case 0xC2 | 0xC3:
                return head == 0xC3
            case 0xC4 | 0xC5 | 0xC6:
                return self._take(self._number(_SIZES[head - 0xC4]))
            case 0xC7 | 0xC8 | 0xC9:
                return self._extension(self._number(_SIZES[head - 0xC7]))
            case 0xCA:
                return self._number(">f")
            case 0xCB:
                return self._number(">d")
            case 0xCC | 0xCD | 0xCE | 0xCF:
                return self._number(_SIZES[head - 0xCC])
            case 0xD0 | 0xD1 | 0xD2 | 0xD3:
                return self._number(_SIGNED[head - 0xD0])
            case 0xD4 | 0xD5 | 0xD6 | 0xD7 | 0xD8:
                return self._extension(1 << (head - 0xD4))
            case 0xD9 | 0xDA | 0xDB:
                return self._take(self._number(_SIZES[head - 0xD9])).decode()
            case 0xDC | 0xDD:
                return self._list(self._number(_SIZES[head - 0xDC + 1]), depth)
            case 0xDE | 0xDF:
                return self._map(self._number(_SIZES[head - 0xDE + 1]), depth)
        raise ValueError("not MessagePack: a byte that begins no value")

    def _take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise ValueError("not MessagePack: it is cut off")
        taken, self._at = self._data[self._at : end], end
        return taken

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _extension(self, size: int) -> Extension:
        code = self._number(">b")
        return Extension(code, self._take(size))

    def _list(self, size: int, depth: int) -> list[Any]:
        return [self.value(depth + 1) for _ in range(size)]

    def _map(self, size: int, depth: int) -> dict[Any, Any]:
        return {self.value(depth + 1): self.value(depth + 1) for _ in range(size)}
