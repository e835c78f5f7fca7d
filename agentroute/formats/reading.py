"""What reading and writing all dialects have in common: a wrong field named, numbers, tools, JSON texts, data URLs."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, NoReturn, TypeAlias

from agentroute.errors import BadResponse, RequestError
from agentroute.messages import Image, Usage
from agentroute.providers import CostField

__all__ = [
    "INVALID_JSON",
    "MOST_TOKENS",
    "Raw",
    "count",
    "data_url",
    "function_facts",
    "given_limit",
    "given_number",
    "json_object",
    "json_text",
    "later_usage",
    "load_event",
    "money",
    "most",
    "place",
    "show",
    "sound",
    "split_data_url",
    "table",
    "told_cost",
    "word",
    "wrong",
]

Raw: TypeAlias = Mapping[str, Any]

INVALID_JSON: Final = "INVALID_JSON"
"""What arguments that are no JSON object are wrapped in where a dialect holds only objects, as Anthropic's
documentation of fine-grained tool streaming proposes (`{"INVALID_JSON": "..."}`)."""

_EXACT: Final = 2**53
"""The largest whole number that a double keeps exactly."""


def wrong(where: str, value: Any, wanted: str) -> NoReturn:
    raise RequestError(f"`{where}` is {show(value)}; give {wanted}")


def show(value: Any) -> str:
    """A value for an error message: short, printable, and without walking through a deep one."""
    if isinstance(value, int) and not -(10**18) < value < 10**18:
        return "a number of more than 18 digits"
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, str):
        short = value if len(value) <= 60 else value[:60] + "..."
        return ascii(short) if not short.isprintable() else repr(short)
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, list | tuple | Mapping) else "")


def given_number(body: Raw, name: str) -> float | None:
    """The finite number in this field, or None where there is none. Raises RequestError for anything else."""
    value: Any = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        wrong(name, value, "a number")
    return value


def given_limit(body: Raw, name: str) -> int | None:
    """The whole number above 0 in this field, or None where there is none. Raises RequestError for anything else."""
    value: Any = body.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        wrong(name, value, "a whole number above 0")
    return value


def function_facts(raw: Raw, where: str, schema_field: str) -> tuple[str, str, Raw, bool | None]:
    """Name, description, schema and `strict` of a function. Raises RequestError naming the one that is wrong."""
    name, description, schema, strict = (raw.get(key) for key in ("name", "description", schema_field, "strict"))
    if not isinstance(name, str) or not name:
        wrong(f"{where}.name", name, "a name")
    if description is not None and not isinstance(description, str):
        wrong(f"{where}.description", description, "a text")
    if schema is not None and not isinstance(schema, Mapping):
        wrong(f"{where}.{schema_field}", schema, "a JSON schema (an object)")
    if strict is not None and not isinstance(strict, bool):
        wrong(f"{where}.strict", strict, "true or false")
    return name, description or "", schema or {}, strict


MOST_TOKENS: Final = 10**9
"""More than this is no number of tokens: the largest windows hold ten million (read 2026-11-28)."""

_MOST_USD: Final = 1_000_000
"""More than this is no bill of one answer."""


def count(value: Any) -> int | None:
    """A number of tokens as a provider told it; None for what is no such number (nor could be one)."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= MOST_TOKENS else None


def most(*values: Any) -> int | None:
    """The largest of these counts, each of which says the same where a server gives it at all; None without any."""
    return max((found for value in values if (found := count(value)) is not None), default=None)


def table(value: Any) -> Raw:
    """The object that this is, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def word(value: Any) -> str | None:
    """The short text that this is (a tier, a region), or None."""
    return value if isinstance(value, str) and 0 < len(value) <= 60 else None


def money(value: Any, field: CostField) -> Decimal | None:
    """A provider's bill in USD: a number, its text, or an object with `total_cost`; None for what is no such amount."""
    if isinstance(value, Mapping):
        value = value.get("total_cost")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value)) * field.unit
    except (ArithmeticError, ValueError):
        return None
    return amount if amount.is_finite() and 0 <= amount <= _MOST_USD else None


def told_cost(body: Raw, field: CostField | None) -> Decimal | None:
    """What the answer's own body says it cost, if its provider says so in this field (`usage.cost`)."""
    if field is None or not field.field:
        return None
    value: Any = body
    for name in field.field.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    paid, usage = money(value, field), table(body.get("usage"))
    if usage.get("is_byok") is not True:
        return paid
    # OpenRouter with the caller's own key: the provider behind it sends a bill of its own beside the fee.
    upstream = money(table(usage.get("cost_details")).get("upstream_inference_cost"), field)
    return None if paid is None or upstream is None else paid + upstream


_INPUTS: Final = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "cache_write_12h_tokens",
)
_OUTPUTS: Final = ("output_tokens", "reasoning_tokens")
_WORDS: Final = ("service_tier", "speed", "region", "reported_cost")


def later_usage(before: Usage | None, now: Usage | None) -> Usage | None:
    """The count after another chunk of the stream told `now`.

    The later one holds, but zeros (or nothing) after a count are no count: input and output are each judged as a whole.
    A bill of 0 after another one is none, either (Perplexity's interim chunks).
    """
    if before is None or now is None:
        return before if now is None else now
    kept: dict[str, Any] = {}
    for names in (_INPUTS, _OUTPUTS):
        if not any(getattr(now, name) for name in names) and any(getattr(before, name) for name in names):
            kept |= {name: getattr(before, name) for name in names}
    kept |= {name: getattr(before, name) for name in _WORDS if not getattr(now, name) and getattr(before, name)}
    if before.server_tools and not now.server_tools:
        kept["server_tools"] = before.server_tools
    if before.iterations and not now.iterations:
        kept |= {"iterations": before.iterations, "last_input_tokens": before.last_input_tokens}
        kept |= {name: getattr(before, name) for name in (*_INPUTS, *_OUTPUTS)}
    return replace(now, **kept) if kept else now


_ALIVE: Final = re.compile(r":.*|\[?(?:ping|keep[-_ ]?alive|heartbeat)\]?", re.IGNORECASE)
"""What some proxies send as data to keep a connection open, where a comment is meant for that."""


def load_event(data: str, target: str | None) -> Any:
    """The JSON of one event of a stream, sound; None for one that only keeps the connection open. Raises BadResponse
    for what is neither."""
    try:
        # Most have no space around them, for which `decode` looks twice.
        value, end = _EVENT.raw_decode(data) if data[:1] == "{" else (None, -1)
        if end != len(data):
            value = _EVENT.decode(data)
    except (ValueError, RecursionError) as error:
        problem = f"{type(error).__name__}: {error}"
    else:
        return sound(value, target) if data.count("[") + data.count("{") > _DEEPEST else value
    if _ALIVE.fullmatch(data.strip()):
        return None
    raise BadResponse("an event of the stream is not JSON", target=target, cause=problem)


_DEEPEST: Final = 128
"""Levels of an answer's JSON, as many as serde_json reads. What is deeper could not be sent back."""


def sound(value: Any, target: str | None) -> Any:
    """Parsed JSON of a provider that can be written again: NaN and infinities, which are no JSON, become their names
    ("NaN", "Infinity", "-Infinity", as protobuf writes them). Raises BadResponse for what is nested too deep.

    The value itself where nothing is wrong with it; it is never changed.
    """
    finite = True
    layer: list[Any] = [[value]]
    for _ in range(_DEEPEST + 1):
        below: list[Any] = []
        for holder in layer:
            for each in holder.values() if isinstance(holder, Mapping) else holder:
                if isinstance(each, Mapping | list):
                    below.append(each)
                elif isinstance(each, float) and not math.isfinite(each):
                    finite = False
        if not below:
            return value if finite else _finite_copy(value)
        layer = below
    raise BadResponse(f"the answer is nested deeper than {_DEEPEST} levels", target=target)


def _finite_copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite_copy(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite_copy(each) for each in value]
    return _named(repr(value)) if isinstance(value, float) and not math.isfinite(value) else value


def _named(constant: str) -> str:
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(constant, constant)


def _finite_or_named(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else _named(repr(value))


_EVENT: Final = json.JSONDecoder(parse_constant=_named, parse_float=_finite_or_named)
_LAST_PLACE: Final = 100_000
"""More parts than this has no answer."""


def place(raw: Raw, name: str, target: str | None) -> int | None:
    """The index in this field: which part, item or choice an event belongs to. None where there is none.

    Raises BadResponse for what is no index.
    """
    value = raw.get(name)
    if type(value) is int and 0 <= value <= _LAST_PLACE:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 9:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or (isinstance(value, int) and abs(value) <= _LAST_PLACE):
        return value
    raise BadResponse(f"the answer cannot be read: `{name}` is {show(value)}, not an index", target=target)


def json_text(value: Any, where: str) -> str:
    """The value as JSON. Raises RequestError for one that cannot be written."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, TypeError, RecursionError) as error:
        problem = f"{type(error).__name__}: {error}"
    raise RequestError(f"`{where}` cannot be written as JSON: {problem}")


def json_object(text: str, *, exact: bool = False) -> dict[str, Any] | None:
    """The object that this text is, or None. NaN is no JSON; `exact` wants whole numbers that a double holds."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_exact_int if exact else int)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _refuse(text: str) -> NoReturn:
    raise ValueError(text)


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _exact_int(text: str) -> int:
    value = int(text)
    return value if abs(value) <= _EXACT else _refuse(text)


def data_url(image: Image) -> str:
    """The picture's URL, which holds its data where it has no other."""
    if image.url is not None:
        return image.url
    return f"data:{image.media_type or 'application/octet-stream'};base64,{image.data or ''}"


def split_data_url(url: str) -> tuple[str, str] | None:
    """Media type ('' where it names none) and base64 data of a URL that holds them; None for any other."""
    if not url.startswith("data:"):
        return None
    head, comma, data = url[5:].partition(",")
    media_type, _, encoding = head.partition(";")
    return (media_type, data) if comma and encoding == "base64" else None
