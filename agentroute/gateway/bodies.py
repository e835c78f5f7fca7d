"""Reads a request within its limits of size, time and depth; its body is a JSON object."""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any, Final

from agentroute.errors import RequestError

from .answers import Receive, Scope
from .refusals import Refused
from .settings import GatewaySettings

__all__ = ["bound_size", "parse", "read_body"]


def bound_size(scope: Scope, settings: GatewaySettings) -> None:
    """Raises Refused with 431 for headers and a query that are too large; most are stopped earlier (`connections`)."""
    size = sum(len(name) + len(value) for name, value in scope["headers"]) + len(scope["query_string"])
    if size > settings.max_headers:
        raise Refused(431, "headers_too_large", f"the headers are larger than {settings.max_headers:,} bytes")


async def read_body(receive: Receive, headers: Mapping[str, str], settings: GatewaySettings) -> bytes:
    """The whole body. Raises Refused with 413 for one that is too large, 408 for one that comes too slowly, 400 for a
    client that leaves in the middle, 415 for an encoding that is not known."""
    largest = settings.max_body
    told = headers.get("content-length", "")
    if told.isdecimal() and int(told) > largest:
        raise _too_large(largest)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(settings.body_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused(400, "client_left", "the client left in the middle of its request")
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > largest:
                    raise _too_large(largest)
                chunks.append(chunk)
                if not message.get("more_body"):
                    break
    except TimeoutError:
        raise Refused(408, "body_too_slow", f"the body did not arrive within {settings.body_s:g} s") from None
    raw = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    return _decoded(raw, headers.get("content-encoding", "identity").strip().lower(), largest)


def _too_large(largest: int) -> Refused:
    return Refused(413, "request_too_large", f"the body is larger than {largest:,} bytes; send less in one request")


def _decoded(raw: bytes, encoding: str, largest: int) -> bytes:
    if encoding in ("", "identity"):
        return raw
    if encoding not in ("gzip", "deflate"):
        raise Refused(415, "unsupported_encoding", f"the content-encoding {encoding[:40]!r} is not known; use gzip")
    reader = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        found = reader.decompress(raw, largest + 1)
    except zlib.error:
        raise RequestError(f"the body is no {encoding}") from None
    if len(found) > largest:
        raise _too_large(largest)
    return found


_ALIKE: Final = bytes.maketrans(b"{}", b"[]")
_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


def parse(raw: bytes, max_depth: int) -> dict[str, Any]:
    """The JSON object of a body. Raises RequestError saying what is wrong with it."""
    if _may_be_deep(raw, max_depth) and _depth(raw) > max_depth:
        raise RequestError(f"the body is nested more than {max_depth} deep; flatten it")
    try:
        body = _DECODE(raw.decode(json.detect_encoding(raw), "surrogatepass"))
    except RecursionError:
        raise RequestError(f"the body is nested more than {max_depth} deep; flatten it") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise RequestError(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise RequestError(f"the body is a {type(body).__name__}; give a JSON object")
    return body


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON number")


_DECODE: Final = json.JSONDecoder(parse_constant=_no_constant).decode


def _may_be_deep(raw: bytes, max_depth: int) -> bool:
    """Peels pairs of brackets level by level, at the speed of C; brackets in texts make it say yes too often."""
    left = raw.translate(_ALIKE, _BRACKETS)
    for level in range(max_depth):
        if len(left) <= max_depth - level:
            return False
        left = left.replace(b"[]", b"")
    return bool(left)


_TEXTS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


def _depth(raw: bytes) -> int:
    deepest = depth = 0
    for sign in _TEXTS.sub(b"", raw).translate(None, _BRACKETS):
        depth += 1 if sign in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest
