"""Single fields of any log: numbers, times, names, texts, JSON in texts; what is wrong is named."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeAlias

from agentroute.errors import RequestError, printable
from agentroute.messages import Usage

__all__ = [
    "ODD",
    "CallFailed",
    "Raw",
    "anthropic_usage",
    "count",
    "count_of",
    "dig",
    "failed_exit",
    "json_of",
    "mapping",
    "name_of",
    "number",
    "numbered",
    "openai_usage",
    "plain",
    "printable",
    "served_by",
    "show",
    "text_of",
    "time_of",
    "usage_of",
    "whole_json",
    "wrong",
]

Raw: TypeAlias = Mapping[str, Any]

_YEAR_9999 = 253_370_764_800.0
_MAX_TOKENS = 10**9
"""No call holds more tokens: a larger figure is not a count."""


ODD = (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError)
"""What reading a value raises that is not of the shape its kind of log has."""


class CallFailed(RequestError):
    """What was read tells of a call that failed: it has no answer, and gives no step."""


def mapping(raw: Any) -> Raw:
    """The object, also one that stands as JSON in a text; an empty one for anything else."""
    raw = json_of(raw)
    return raw if isinstance(raw, Mapping) else {}


def dig(raw: Any, *keys: str) -> Any:
    """What stands under these keys, one inside the other; None if one of them is missing."""
    for key in keys:
        if not isinstance(raw, Mapping):
            return None
        raw = raw.get(key)
    return raw


def json_of(raw: Any) -> Any:
    """The value of a text that holds a JSON object or array; anything else as it is."""
    if isinstance(raw, str) and raw[:1] in ("{", "[", '"', " ", "\n"):
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            return raw
    return raw


def count(value: Any) -> int | None:
    """A number of tokens, also one that stands in a text or as a float; None for what is no such number."""
    if isinstance(value, str):
        if not value.isdecimal() or len(value) > 12:
            return None
        value = int(value)
    if isinstance(value, float):
        if not math.isfinite(value) or value != int(value):
            return None
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_TOKENS else None


def count_of(raw: Any, *keys: str) -> int | None:
    """The first of these fields that is a number of tokens."""
    if not isinstance(raw, Mapping):
        return None
    return next((value for key in keys if (value := count(raw.get(key))) is not None), None)


def usage_of(
    entry: int | None,
    output: int | None,
    *,
    read: int | None = None,
    written: int | None = None,
    reasoning: int | None = None,
    written_1h: int | None = None,
    beside: bool = False,
) -> Usage | None:
    """Tokens as our words have them. `beside`: what the cache read and wrote is not part of `entry`. None if neither
    input nor output was counted."""
    if entry is None and output is None:
        return None
    if beside and entry is not None:
        entry += (read or 0) + (written or 0)
    return Usage(entry, output, read, written, reasoning, written_1h)


def openai_usage(raw: Any) -> Usage | None:
    """Usage as Chat Completions and Responses write it: what was cached is part of the input."""
    cached = dig(raw, "prompt_tokens_details") or dig(raw, "input_tokens_details")
    thought = dig(raw, "completion_tokens_details") or dig(raw, "output_tokens_details")
    return usage_of(
        count_of(raw, "prompt_tokens", "input_tokens"),
        count_of(raw, "completion_tokens", "output_tokens"),
        read=count_of(cached, "cached_tokens"),
        written=count_of(cached, "cache_write_tokens", "cache_creation_tokens"),
        reasoning=count_of(thought, "reasoning_tokens"),
    )


def anthropic_usage(raw: Any) -> Usage | None:
    """Usage as Anthropic writes it: what was cached stands beside `input_tokens`."""
    return usage_of(
        count_of(raw, "input_tokens"),
        count_of(raw, "output_tokens"),
        read=count_of(raw, "cache_read_input_tokens"),
        written=count_of(raw, "cache_creation_input_tokens"),
        written_1h=count_of(dig(raw, "cache_creation"), "ephemeral_1h_input_tokens"),
        beside=True,
    )


def failed_exit(code: Any, words: str) -> bool | None:
    """Whether an exit code says that a command failed; None for none, and for a 1 without a word: nothing was found."""
    if not isinstance(code, int) or isinstance(code, bool) or (code == 1 and not words.strip()):
        return None
    return code != 0


def number(raw: Any) -> float | None:
    """A finite number as a float; None for anything else."""
    try:
        value = float(raw) if isinstance(raw, int | float) else None
    except OverflowError:
        return None
    return value if value is not None and math.isfinite(value) else None


def time_of(raw: Any) -> float | None:
    """Seconds since the epoch, from a number (milliseconds, microseconds or nanoseconds if it is too large for
    seconds), a text of digits or an ISO date (of no zone: UTC)."""
    if isinstance(raw, datetime):
        raw = raw.isoformat()
    if isinstance(raw, str):
        if raw.isdecimal() and len(raw) < 22:
            return time_of(int(raw))
        try:
            when = datetime.fromisoformat(raw)
            seconds = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError, OSError):
            return None
    else:
        value = None if isinstance(raw, bool) else number(raw)
        if value is None:
            return None
        seconds = value
        for limit, unit in ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3)):
            if value > limit:
                seconds = value / unit
                break
    return seconds if 0 < seconds < _YEAR_9999 else None


def name_of(raw: Any, *keys: str) -> str | None:
    """The first of these that is a text. Names are shown, so they hold nothing that a terminal or a file cannot."""
    if not isinstance(raw, Mapping):
        return None
    return next((printable(value) for key in keys if isinstance(value := raw.get(key), str) and value), None)


def served_by(requested: str | None, answered: str | None) -> str | None:
    """The model of a call: the one that answered, but by the requested name if it only adds a version to it."""
    if requested is not None and answered is not None and answered.startswith(requested):
        return requested
    return answered or requested


def plain(raw: Any) -> str:
    """A text as it is, None as nothing, anything else as JSON."""
    if isinstance(raw, str):
        return raw
    return "" if raw is None else json.dumps(raw, ensure_ascii=False, default=str)


def text_of(raw: Any, where: str) -> str:
    if not isinstance(raw, str):
        wrong(where, raw, "a text")
    return raw


def wrong(where: str, value: Any, expected: str) -> NoReturn:
    raise RequestError(f"`{where}` is {show(value)}; give {expected}")


def show(value: Any) -> str:
    """A value for an error message, without what it holds: a log is private."""
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if abs(value) < 10**12 else "a very large number"
    if isinstance(value, str):
        return repr(printable(value)) if len(value) <= 20 else f"a text of {len(value):,} characters"
    size = f" of {len(value):,}" if isinstance(value, list | tuple | Mapping) else ""
    return f"a {type(value).__name__}{size}"


_MAX_DOTS = 12
"""No tracer nests deeper in a dotted name; a name with more parts is passed over."""


def numbered(raw: Raw, head: str) -> list[Any]:
    """What stands under dotted names (`head.0.role`, `head.0.calls.1.name`), as a list in the order of its numbers."""
    tree: dict[str, Any] = {}
    for key, value in raw.items():
        if not key.startswith(head + "."):
            continue
        parts = key[len(head) + 1 :].split(".")
        if len(parts) > _MAX_DOTS:
            continue
        node = tree
        for part in parts[:-1]:
            held = node.setdefault(part, {})
            if not isinstance(held, dict):
                held = node[part] = {}
            node = held
        node[parts[-1]] = value
    found = _listed(tree)
    return found if isinstance(found, list) else []


def _listed(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if node and all(key.isdecimal() and len(key) < 8 for key in node):
        return [_listed(node[key]) for key in sorted(node, key=int)]
    return {key: _listed(value) for key, value in node.items()}


def whole_json(raw: Any, where: str) -> Any:
    """The value of a JSON text. Raises RequestError for one that was cut off: tracers cut long values."""
    found = json_of(raw)
    if isinstance(found, str) and found[:1] in ("[", "{"):
        raise RequestError(f"`{where}` is cut off: it is no whole JSON")
    return found
