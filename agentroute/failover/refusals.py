"""What one target is asked: the request within the limit that holds for it, without the settings that it refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from agentroute.errors import ProviderError, Unsupported
from agentroute.messages import ChatRequest, Extra, Sampling
from agentroute.providers import NATIVE
from agentroute.targets import Target

__all__ = ["Fitted", "bounded", "without_refused"]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A request as a target is asked; `changes` says in words what was changed for it."""

    target: Target
    request: ChatRequest
    changes: tuple[str, ...] = ()


def bounded(target: Target, request: ChatRequest, most_output: Mapping[str, int]) -> Fitted:
    """The request with no more output tokens than are allowed of this target."""
    most = most_output.get(target.name)
    asked = request.sampling.max_output_tokens
    if most is None or (asked is not None and asked <= most):
        return Fitted(target, request)
    sampling = replace(request.sampling, max_output_tokens=most)
    said = f"`max_tokens` {most:,}: max_cost pays for no more"
    return Fitted(target, replace(request, sampling=sampling), (said,))


_DRAWN: Final = tuple(each for each in fields(Sampling) if each.name != "max_output_tokens")
_WIRE_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "stop": ("stop", "stop_sequences"),
    "seed": ("seed", "random_seed"),
}
_KEPT: Final = frozenset({"messages", "input", "contents", "system", "tools", "tool_choice", "response_format", "text"})
_BAD_REQUEST: Final = frozenset({None, 400, 422})


def without_refused(failed: Fitted, error: ProviderError) -> Fitted | None:
    """The same without the settings that this refusal names, or None if it names none that may be left out.

    May be left out: what was only passed through (`Target.settings`, fields of the request that we do not know), how
    tokens are drawn, and the switch for parallel calls. Messages, tools, a forced call, a schema and a limit stay.
    """
    target, request = failed.target, failed.request
    if not isinstance(error, Unsupported) or error.status not in _BAD_REQUEST or target.dialect == NATIVE:
        return None
    names = _Named(error)
    gone: list[str] = []
    settings = names.without(target.settings, gone)
    extra = request.extra
    if extra is not None and extra.dialect == target.dialect:
        extra = Extra(extra.dialect, names.without(extra.fields, gone), extra.origin)
    drawn: dict[str, Any] = {
        each.name: each.default
        for each in _DRAWN
        if getattr(request.sampling, each.name) != each.default
        and any(names.has(name) for name in _WIRE_NAMES.get(each.name, (each.name,)))
    }
    parallel = request.parallel_tool_calls
    if parallel is not None and (names.has("parallel_tool_calls") or names.has("disable_parallel_tool_use")):
        gone.append("parallel_tool_calls")
        parallel = None
    gone += drawn
    if not gone:
        return None
    return Fitted(
        replace(target, settings=settings),
        replace(request, extra=extra, sampling=replace(request.sampling, **drawn), parallel_tool_calls=parallel),
        (*failed.changes, *(f"`{name}` left out: the target refused it" for name in dict.fromkeys(gone))),
    )


class _Named:
    """The fields that a refusal names: in `param`, between quotes, at the end of a path, or as a word like `top_p`."""

    def __init__(self, error: ProviderError) -> None:
        self._text = f"{_plain(str(error))} '{_plain(error.param or '')}'"

    def has(self, name: str) -> bool:
        plain = re.escape(_plain(name))
        telling = "_" in name or not name.islower() or name == "temperature"
        before = r"(?<![a-z0-9])" if telling else r"(?:['\"`.]|: ?)"
        return re.search(rf"{before}{plain}(?![a-z0-9])", self._text) is not None

    def without(self, fields: Mapping[str, Any], gone: list[str]) -> dict[str, Any]:
        left: dict[str, Any] = {}
        for name, value in fields.items():
            if name in _KEPT:
                left[name] = value
                continue
            inner = (
                [key for key in value if isinstance(key, str) and self.has(key)] if isinstance(value, Mapping) else []
            )
            if inner and len(inner) < len(value):
                gone += [f"{name}.{key}" for key in inner]
                left[name] = {key: value[key] for key in value if key not in inner}
            elif inner or self.has(name):
                gone.append(name)
            else:
                left[name] = value
        return left


def _plain(text: str) -> str:
    """`top_p`, `topP` and `TopP` are one name."""
    return text.replace("_", "").lower()
