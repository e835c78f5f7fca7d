"""How a key is held so that nothing shows it: a literal, the name of a variable, or a function that gives it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any, Final, TypeAlias

from agentroute.errors import ConfigError

__all__ = ["GivenKey", "KeyFunction", "Secret", "hide_keys", "looks_like_key"]

GivenKey: TypeAlias = str | tuple[str, float | datetime | None]
"""A key, alone or with the moment at which it expires: seconds since 1970, or a datetime (UTC if it has no zone)."""

KeyFunction: TypeAlias = Callable[[], GivenKey | Awaitable[GivenKey]]

_VARIABLE_LIKE: Final = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*_(KEY|TOKEN|SECRET|PAT)(_?\d+)?")
"""`OPENAI_API_KEY` where a key should stand: no provider's keys look like this."""

_KEY_LIKE: Final = re.compile(
    r"(?:sk[-_]|rk[-_]|pk[-_]|gsk_|csk-|hf_|r8_|fw_|nvapi-|pplx-|tgp_v1_|AIza|xai-(?=\w{20}))[A-Za-z0-9_-]{6,}"
)
"""How providers' keys begin, as their own documentation shows them; no model's name does."""


def looks_like_key(text: str) -> bool:
    """Whether this is a key in place of a name, so that no message may show it."""
    return _KEY_LIKE.match(text) is not None


_KEY_WITHIN: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:sk-|rk_live_|sk_live_|gsk_|csk-|hf_|r8_|fw_|nvapi-|pplx-|tgp_v1_|AIza|xai-)[A-Za-z0-9_-]{16,}"
)
"""The same within a text: longer, since a text may well hold `sk-learn`."""


def hide_keys(text: str, known: Iterable[Secret] = ()) -> str:
    """A text of JSON with `***` for each of these keys and for what looks like a provider's key.

    >>> hide_keys('{"content": "use sk-proj-0123456789abcdef0123"}')
    '{"content": "use ***"}'
    """
    for secret in known:
        if secret.present and secret.function is None:
            key = secret.bare()
            text = text.replace(key, "***").replace(json.dumps(key, ensure_ascii=False)[1:-1], "***")
    return _KEY_WITHIN.sub("***", text)


class Secret:
    """A key that shows itself only to `reveal()`: not in a repr, a log, a traceback or a pickle.

    `Secret("sk-...")` holds a literal; `Secret.env("NAME")` reads the environment each time it is revealed, and is the
    only kind that survives a pickle; `Secret.call(function)` is asked when a request is sent. Copies in the same
    process keep any. Two secrets are equal if they name the same variable; any other equals only itself, so that no
    comparison can guess it. `scheme` stands before what the variable holds, as in `Bearer ...`.
    """

    __slots__ = ("__weakref__", "_literal", "_lost", "env_name", "function", "scheme")

    _literal: str | None
    _lost: str
    env_name: str | None
    function: KeyFunction | None
    scheme: str | None

    def __init__(self, literal: str) -> None:
        if not isinstance(literal, str) or not literal:
            what = "empty" if literal == "" else f"of type {type(literal).__name__}"
            raise ConfigError(
                f"the key is {what}; give its text, 'env:NAME' or a function without arguments, or leave `api_key` out "
                f"if none is needed"
            )
        if _VARIABLE_LIKE.fullmatch(literal):
            raise ConfigError("the key looks like the name of a variable; write it as 'env:NAME' to read that variable")
        self._literal = literal
        self._lost = ""
        self.env_name = self.function = self.scheme = None

    @classmethod
    def env(cls, name: str, scheme: str | None = None) -> Secret:
        if not name:
            raise ConfigError("'env:' names no variable; write it as in 'env:OPENAI_API_KEY'")
        return cls._of(None, name, scheme)

    @classmethod
    def call(cls, function: KeyFunction) -> Secret:
        """The key that this function returns (it takes no arguments), asked for whenever one is needed.

        It may be asynchronous. It runs in a thread of its own (what it awaits, on the event loop of the call), never
        twice at once, and may take as long as a connection may. What it raises is never shown: only its class is.
        """
        secret = cls._of(None, None)
        secret.function = function
        return secret

    @classmethod
    def _of(cls, literal: str | None, env_name: str | None, scheme: str | None = None, lost: str = "") -> Secret:
        secret = cls.__new__(cls)
        secret._literal = literal
        secret._lost = lost
        secret.env_name = env_name
        secret.function = None
        secret.scheme = scheme
        return secret

    @classmethod
    def parse(cls, value: str | Secret | KeyFunction) -> Secret:
        """`"env:NAME"` is a name, any other text a literal key, a function gives one."""
        if isinstance(value, Secret):
            return value
        if callable(value):
            return cls.call(value)
        return cls.env(value[4:]) if isinstance(value, str) and value.startswith("env:") else cls(value)

    def reveal(self) -> str:
        """The key itself. Raises ConfigError naming the variable that is not set."""
        if self.env_name is not None:
            value = os.environ.get(self.env_name)
            if not value:
                raise ConfigError(f"the environment variable {self.env_name} is not set; it should hold the key")
            if self.scheme is None or value.lower().startswith(f"{self.scheme.lower()} "):
                return value
            return f"{self.scheme} {value}"
        if self.function is not None:
            raise ConfigError("the key comes from a function, which is asked when a request is sent")
        if self._literal is None:
            kind = self._lost or "literal key"
            raise ConfigError(f"its {kind} was not kept in the pickle; give api_key='env:NAME'")
        return self._literal

    def bare(self) -> str:
        """The key without its scheme: what must be found wherever somebody quotes it."""
        scheme, space, rest = self.reveal().partition(" ")
        return rest if space and scheme.isalpha() and rest else self.reveal()

    @property
    def present(self) -> bool:
        """Whether there is a key: `reveal()` gives it, or the function is to be asked."""
        if self.env_name is not None:
            return bool(os.environ.get(self.env_name))
        return self._literal is not None or self.function is not None

    def __repr__(self) -> str:
        if self.function is not None:
            return "Secret.call(***)"
        if self.env_name is None:
            return "Secret('***')"
        return f"Secret.env({self.env_name!r}{'' if self.scheme is None else f', {self.scheme!r}'})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        named = self.env_name is not None and (self.env_name, self.scheme) == (other.env_name, other.scheme)
        return self is other or named

    def __hash__(self) -> int:
        return hash(self.env_name) if self.env_name is not None else id(self)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce__(self) -> tuple[Any, tuple[None, str | None, str | None, str]]:
        lost = "`api_key` function" if self.function is not None else self._lost
        return Secret._of, (None, self.env_name, self.scheme, lost)
