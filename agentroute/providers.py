"""How each provider is reached: facts as data. Another OpenAI-compatible provider is an entry in the config file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from .errors import ConfigError, unknown_key

__all__ = [
    "DEAF",
    "DIALECTS",
    "NATIVE",
    "PROVIDERS",
    "Auth",
    "Dialect",
    "Endpoint",
    "Provider",
    "Quirks",
    "sends_in_the_clear",
    "url_problem",
]

Dialect: TypeAlias = Literal["openai_chat", "anthropic_messages", "gemini", "openai_responses"]
DIALECTS: Final[tuple[str, ...]] = get_args(Dialect)
"""The dialects that are spoken over HTTP."""

DEAF: Final = frozenset({"anthropic_messages", "openai_responses"})
"""Dialects without a part for sound in a message: neither `anthropic.types.ContentBlockParam` nor
`openai.types.responses.ResponseInputContent` has one (anthropic 2.13.0, openai 2.54.0; read 2026-11-24)."""

NATIVE: Final = "native"
"""The dialect of a model object that an integration calls itself."""

Auth: TypeAlias = Literal["bearer", "x-api-key", "x-goog-api-key", "api-key", "none"]
"""Where the key goes: `Authorization: Bearer ...`, or the header of that name."""

_USUAL_AUTH: Final[Mapping[str, Auth]] = {"anthropic_messages": "x-api-key", "gemini": "x-goog-api-key"}
_SWITCHES: Final = (
    "developer_role",
    "stream_usage",
    "json_schema",
    "message_names",
    "strict_turns",
    "reasoning_required",
)
_METHODS: Final = ("/chat/completions", "/completions", "/responses", "/messages", "/models")
_NOT_PUBLIC: Final = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".test", ".invalid", ".example")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NEVER: Final = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key", "x-goog-api-key", "api-key"})
_OURS: Final = frozenset({"accept-encoding", "connection", "content-length", "host", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Quirks:
    """Where servers of one dialect differ in what they accept. The default changes nothing.

    `developer_role` False sends such messages as `system`. `max_tokens_field` and `reasoning_field` name the field;
    `"as_given"` keeps the caller's, None for reasoning leaves it out (OpenAI itself rejects it). `stream_usage` False
    does not ask for the usage of a stream. `api_version` is the version that is asked for, where the dialect has
    versions (Anthropic). `refused` names fields of the body that the server answers with an error: they are left out
    and recorded. `renamed` pairs a field with the server's own name for it. `json_schema` False asks for JSON where an
    answer of a schema was wanted (DeepSeek has no more). `message_names` False leaves out the `name` of a message.
    `tool_call_ids` `"alnum9"`: ids of calls have 9 letters and digits (Mistral). `strict_turns`: the roles must take
    turns, system messages stand first, and an assistant's message stands between a result and the user. With
    `reasoning_required` each message of the assistant has its reasoning beside it, if only an empty one (DeepSeek).
    Raises ConfigError for any other value.
    """

    developer_role: bool = True
    max_tokens_field: Literal["max_tokens", "max_completion_tokens", "as_given"] = "as_given"
    reasoning_field: Literal["reasoning_content", "reasoning", "as_given"] | None = "as_given"
    stream_usage: bool = True
    api_version: str | None = None
    refused: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    json_schema: bool = True
    message_names: bool = True
    tool_call_ids: Literal["any", "alnum9"] = "any"
    strict_turns: bool = False
    reasoning_required: bool = False

    def __post_init__(self) -> None:
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"quirk `{name}` is {getattr(self, name)!r}; give true or false")
        for name, known in (
            ("max_tokens_field", ("max_tokens", "max_completion_tokens", "as_given")),
            ("reasoning_field", ("reasoning_content", "reasoning", "as_given", None)),
            ("tool_call_ids", ("any", "alnum9")),
        ):
            if getattr(self, name) not in known:
                shown = ", ".join("none" if word is None else word for word in known)
                raise ConfigError(f"quirk `{name}` is {getattr(self, name)!r}; give one of {shown}")
        if self.api_version is not None and not _is_header_value(self.api_version):
            raise ConfigError("quirk `api_version` holds what no header can carry; give a version like '2023-06-01'")
        object.__setattr__(self, "refused", _texts(self.refused, "quirk `refused`"))
        pairs = self.renamed.items() if isinstance(self.renamed, Mapping) else self.renamed
        if isinstance(pairs, str) or not isinstance(pairs, Iterable):
            raise ConfigError("quirk `renamed` is no list of pairs")
        object.__setattr__(self, "renamed", tuple(_texts(pair, "quirk `renamed`", 2) for pair in pairs))


@dataclass(frozen=True, slots=True, init=False)
class Endpoint:
    """One way in: a dialect at an address. `base_url` None wants the target's own.

    What is left out is what most servers of the dialect have: the header of the key, the quirks. `headers` are sent
    with every request and hold no key. Raises ConfigError naming the field that cannot be.
    """

    dialect: str
    base_url: str | None
    auth: Auth
    headers: tuple[tuple[str, str], ...]
    quirks: Quirks

    def __init__(
        self,
        dialect: str = "openai_chat",
        base_url: str | None = None,
        auth: Auth | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        quirks: Quirks | None = None,
    ) -> None:
        if dialect not in (*DIALECTS, NATIVE):
            raise ConfigError(f"`dialect` is {dialect!r}; give one of {', '.join(DIALECTS)}")
        problem = None if base_url is None else url_problem(base_url)
        if problem is not None:
            base_url = None
            raise ConfigError(f"`base_url` {problem}")
        auth = _USUAL_AUTH.get(dialect, "bearer") if auth is None else auth
        if auth not in get_args(Auth):
            raise ConfigError(f"`auth` is none of {', '.join(get_args(Auth))}")
        if quirks is not None and not isinstance(quirks, Quirks):
            raise ConfigError(f"`quirks` is a {type(quirks).__name__}; give Quirks(...)")
        put = object.__setattr__
        put(self, "dialect", dialect)
        put(self, "base_url", base_url)
        put(self, "auth", auth)
        put(self, "headers", _headers(headers))
        put(self, "quirks", usual_quirks(dialect) if quirks is None else quirks)


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider's ways in, the usual one first, and the environment variables that usually hold its key.

    `local` needs no key and costs nothing. `address` shows what a `base_url` looks like where every customer has one of
    their own. `source` (a URL) and `date` say where and when this was read, `note` what no documentation told us.
    Raises ConfigError naming the field that cannot be.

    >>> house = Provider("house", (Endpoint(base_url="https://llm.example.com/v1"),), ("HOUSE_API_KEY",))
    >>> house.endpoint().auth
    'bearer'
    """

    name: str
    endpoints: tuple[Endpoint, ...]
    key_names: tuple[str, ...] = ()
    local: bool = False
    address: str = ""
    source: str = ""
    date: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ConfigError(f"a provider's `name` is {self.name!r}; give a non-empty text")
        ways = (self.endpoints,) if isinstance(self.endpoints, Endpoint) else tuple(self.endpoints)
        if not ways or not all(isinstance(way, Endpoint) for way in ways):
            raise ConfigError(f"provider {self.name!r}: `endpoints` are no Endpoint objects; give at least one")
        if len({way.dialect for way in ways}) < len(ways):
            raise ConfigError(f"provider {self.name!r}: two of the `endpoints` have one dialect; give each once")
        names = _texts(self.key_names, f"provider {self.name!r}: `key_names`")
        if not all(_VARIABLE.fullmatch(name) for name in names):
            raise ConfigError(
                f"provider {self.name!r}: `key_names` holds what is no name of a variable; name the environment "
                f"variables that hold the key, like 'HOUSE_API_KEY', never the key"
            )
        object.__setattr__(self, "endpoints", ways)
        object.__setattr__(self, "key_names", names)

    def endpoint(self, dialect: str | None = None) -> Endpoint:
        """The usual way in, or the one of this dialect (without an address where none is known)."""
        if dialect is None:
            return self.endpoints[0]
        return next((way for way in self.endpoints if way.dialect == dialect), None) or Endpoint(dialect)

    @classmethod
    def of(cls, name: str, facts: Mapping[str, Any], known: Provider | None = None) -> Provider:
        """A provider from a table of `providers.toml` or of a config file; `known` gives what the table leaves out.

        Raises ConfigError naming the key. Values that may be a key by mistake are not shown.
        """
        _no_others(facts, {*_ENDPOINT_KEYS, "key_names", "api_key", "local", "also", *_FACTS})
        dialect = facts.get("dialect") or (known.endpoint().dialect if known else "openai_chat")
        also = facts.get("also", {})
        if not isinstance(also, Mapping) or not all(isinstance(more, Mapping) for more in also.values()):
            raise ConfigError("`also` is no table; write [provider.NAME.also.DIALECT]")
        if dialect in also:
            raise ConfigError(f"`also` has the dialect {dialect!r} again; put its keys beside `dialect`")
        ways = {way.dialect: way for way in known.endpoints} if known else {}
        usual = _endpoint(dialect, facts, ways.pop(dialect, None))
        for other, more in also.items():
            _no_others(more, _ENDPOINT_KEYS - {"dialect"}, f"also.{other}.")
            ways[other] = _endpoint(other, more, ways.get(other))
        told: dict[str, Any] = {key: facts[key] for key in ("local", *_FACTS) if key in facts}
        if "key_names" in facts or "api_key" in facts:
            told["key_names"] = _key_names(facts)
        if not isinstance(told.get("local", False), bool):
            raise ConfigError("`local` is neither true nor false")
        wrong = next((key for key in _FACTS if not isinstance(told.get(key, ""), str)), None)
        if wrong is not None:
            raise ConfigError(f"`{wrong}` is no text")
        kept = {} if known is None else {field.name: getattr(known, field.name) for field in fields(known)[2:]}
        return cls(name, (usual, *ways.values()), **{**kept, **told})


_FACTS: Final = ("address", "source", "date", "note")
_ENDPOINT_KEYS: Final = frozenset({"dialect", "base_url", "auth", "headers", "quirks"})


def usual_quirks(dialect: str) -> Quirks:
    """What servers of the dialect have in common: an unknown OpenAI-compatible one is asked for no more than is old."""
    if dialect == "openai_chat":
        return Quirks(developer_role=False, max_tokens_field="max_tokens", reasoning_field=None)
    return Quirks(api_version="2023-06-01") if dialect == "anthropic_messages" else Quirks()


def url_problem(url: object) -> str | None:
    """What is wrong with a base URL, without showing it: it may hold a key."""
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        return "is no http:// or https:// URL"
    try:
        _ = urlsplit(url).port
    except ValueError:
        return "is no URL: its host or port cannot be read"
    if "@" in url.split("/")[2]:
        return "has a user or password before the host; put the key into `api_key`"
    if "?" in url or "#" in url:
        return "has a query or fragment, where the path of the API would be put behind; put a key into `api_key`"
    method = next((path for path in _METHODS if url.rstrip("/").endswith(path)), None)
    if method is not None:
        return f"ends in {method!r}, which is put behind it for each call; leave that part out"
    return None


def sends_in_the_clear(url: str | None) -> bool:
    """Whether a key sent there could be read on its way: plain http to a host that is on no network of one's own.

    One's own are this machine, private and link-local addresses, names without a dot (of a container or a service) and
    names that no public DNS has (RFC 2606, 6761, 8375; `.internal` is reserved by ICANN, 2024).
    """
    if url is None or not url.startswith("http://"):
        return False
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith(_NOT_PUBLIC)


def _endpoint(dialect: Any, facts: Mapping[str, Any], known: Endpoint | None) -> Endpoint:
    told: dict[str, Any] = {key: facts[key] for key in ("base_url", "auth") if key in facts}
    headers = facts.get("headers", {})
    quirks = facts.get("quirks", {})
    for key, table in (("headers", headers), ("quirks", quirks)):
        if not isinstance(table, Mapping):
            raise ConfigError(f"`{key}` is no table; write {key} = {{ ... }}")
    _no_others(quirks, {field.name for field in fields(Quirks)}, "quirks.")
    if known is None:
        known = Endpoint(dialect)
    own = {key: None if key == "reasoning_field" and value == "none" else value for key, value in quirks.items()}
    before = {field.name: getattr(known.quirks, field.name) for field in fields(Quirks)}
    return Endpoint(
        dialect,
        **{"base_url": known.base_url, "auth": known.auth, **told},
        headers={**dict(known.headers), **_headers_table(headers)},
        quirks=Quirks(**{**before, **own}),
    )


def _headers_table(headers: Mapping[str, Any]) -> dict[str, str]:
    return dict(_headers(headers))


def _headers(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The headers, with names in lower case. A value is never shown: it may be a key."""
    found: dict[str, str] = {}
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise ConfigError("`headers`: a name holds what no header's name can; use letters, digits and '-'")
        if name.lower() in _NEVER:
            raise ConfigError(f"`headers`: {name} holds a key, which belongs into `api_key`; `auth` names the header")
        if name.lower() in _OURS:
            raise ConfigError(f"`headers`: {name} is set by the transport; leave it out")
        if not _is_header_value(value):
            raise ConfigError(f"`headers`: the value of {name} is no text that a header can carry (one line of ASCII)")
        found[name.lower()] = value
    return tuple(found.items())


def _is_header_value(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable()


def _texts(value: object, where: str, length: int | None = None) -> Any:
    """The tuple of texts that this should be."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigError(f"{where} is no list of texts")
    held = tuple(value)
    if not all(isinstance(text, str) and text for text in held) or (length is not None and len(held) != length):
        raise ConfigError(f"{where} is no list of texts" + ("" if length is None else f", each with {length}"))
    return held


def _key_names(facts: Mapping[str, Any]) -> tuple[str, ...]:
    if "key_names" in facts and "api_key" in facts:
        raise ConfigError("`key_names` and `api_key` say the same; give one of them")
    if "key_names" in facts:
        return tuple(_texts(facts["key_names"], "`key_names`"))
    keys = facts["api_key"]
    keys = [keys] if isinstance(keys, str) else keys
    if not isinstance(keys, list) or not all(isinstance(key, str) and key.startswith("env:") for key in keys):
        raise ConfigError(
            "`api_key`: keys do not belong in a file; name the variable that holds it, like 'env:HOUSE_API_KEY'"
        )
    return tuple(key[4:] for key in keys)


def _no_others(facts: Mapping[str, Any], known: Iterable[str], where: str = "") -> None:
    unknown = set(facts) - set(known)
    if unknown:
        raise ConfigError(unknown_key(sorted(unknown)[0], known, where))


@cache
def _shipped() -> Mapping[str, Provider]:
    import tomllib
    from pathlib import Path

    data = tomllib.loads(Path(__file__).with_name("providers.toml").read_text(encoding="utf-8"))
    return MappingProxyType({name: Provider.of(name, facts) for name, facts in data["provider"].items()})


class _Shipped(Mapping[str, Provider]):
    """`providers.toml`, read when it is first asked for."""

    def __getitem__(self, name: str) -> Provider:
        return _shipped()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_shipped())

    def __len__(self) -> int:
        return len(_shipped())

    def __repr__(self) -> str:
        return f"PROVIDERS({', '.join(self)})"


PROVIDERS: Final[Mapping[str, Provider]] = _Shipped()
"""The providers that agentroute knows, from `providers.toml`."""
