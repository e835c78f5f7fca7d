"""How each provider is reached: facts as data. Another OpenAI-compatible provider is an entry in the config file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import cache
from os import PathLike
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, get_args

from agentroute.errors import ConfigError, unknown_key

from .addresses import Part, parts_of, url_problem
from .keys import Secret
from .network import Cert, Network, Proxy

__all__ = [
    "DIALECTS",
    "NATIVE",
    "NO_AUDIO",
    "PROVIDERS",
    "Auth",
    "CostField",
    "Dialect",
    "Endpoint",
    "Provider",
    "Quirks",
]

Dialect: TypeAlias = Literal["openai_chat", "anthropic_messages", "gemini", "openai_responses"]
DIALECTS: Final[tuple[str, ...]] = get_args(Dialect)
"""The dialects that are spoken over HTTP."""

NO_AUDIO: Final = frozenset({"anthropic_messages", "openai_responses"})
"""Dialects without a part for sound in a message: neither `anthropic.types.ContentBlockParam` nor
`openai.types.responses.ResponseInputContent` has one (anthropic 2.13.0, openai 2.54.0; read 2026-11-24)."""

NATIVE: Final = "native"
"""The dialect of a model object that an integration calls itself."""

Auth: TypeAlias = Literal["bearer", "x-api-key", "x-goog-api-key", "api-key", "x-portkey-api-key", "none"]
"""Where the key goes: `Authorization: Bearer ...`, or the header of that name."""

_USUAL_AUTH: Final[Mapping[str, Auth]] = {"anthropic_messages": "x-api-key", "gemini": "x-goog-api-key"}
_SWITCHES: Final = (
    "developer_role",
    "stream_usage",
    "json_schema",
    "message_names",
    "strict_turns",
    "reasoning_required",
    "forced_tools",
    "stream_only",
    "model_in_path",
)
_ABILITIES: Final = ("tools", "vision", "structured_output", "reasoning", "documents", "audio")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NEVER: Final = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key", "x-goog-api-key", "api-key"})
_TELLING: Final = re.compile(
    r"(?:^|-)(?:auth|authorization|token|secret|password|credentials?|cookie"
    r"|(?:api|access|secret|subscription|virtual)-?key)$"
)
"""Names of headers whose value is a secret, whatever it looks like."""
_NAMED: Final = re.compile(r"(?:([A-Za-z]+) )?env:(.*)")
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
    `reasoning_required` each message of the assistant has its reasoning beside it, if only an empty one (DeepSeek);
    `reasoning_placeholder` is the text of such a one (Moonshot refuses an empty one). `text_content`: contents that
    hold only texts go as one text, those of `"tools"` (results) or of `"all"` messages. `forced_tools` False: a forced
    tool choice is sent as `auto`. `stream_only`: a stream is asked for in any case. `model_in_path`: the model and the
    verb are part of the path, the version of the API is a field of the body (Claude on Vertex AI). `added` pairs fields
    with what they are unless the request says otherwise. Raises ConfigError for any other value.
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
    reasoning_placeholder: str = ""
    text_content: Literal["as_given", "tools", "all"] = "as_given"
    forced_tools: bool = True
    stream_only: bool = False
    model_in_path: bool = False
    added: tuple[tuple[str, bool | int | float | str], ...] = ()

    def __post_init__(self) -> None:
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"quirk `{name}` is {getattr(self, name)!r}; give true or false")
        for name, known in (
            ("max_tokens_field", ("max_tokens", "max_completion_tokens", "as_given")),
            ("reasoning_field", ("reasoning_content", "reasoning", "as_given", None)),
            ("tool_call_ids", ("any", "alnum9")),
            ("text_content", ("as_given", "tools", "all")),
        ):
            if getattr(self, name) not in known:
                shown = ", ".join("none" if word is None else word for word in known)
                raise ConfigError(f"quirk `{name}` is {getattr(self, name)!r}; give one of {shown}")
        if self.api_version is not None and not _is_header_value(self.api_version):
            raise ConfigError("quirk `api_version` holds what no header can carry; give a version like '2023-06-01'")
        if not isinstance(self.reasoning_placeholder, str):
            raise ConfigError(f"quirk `reasoning_placeholder` is {self.reasoning_placeholder!r}; give a text")
        object.__setattr__(self, "refused", _texts(self.refused, "quirk `refused`"))
        renamed = _pairs(self.renamed, "quirk `renamed`")
        object.__setattr__(self, "renamed", tuple(_texts(pair, "quirk `renamed`", 2) for pair in renamed))
        object.__setattr__(self, "added", _pairs(self.added, "quirk `added`"))
        if not all(_is_plain(pair) for pair in self.added):
            raise ConfigError("quirk `added` holds what is no pair of a field and a text, a number, true or false")


@dataclass(frozen=True, slots=True)
class CostField:
    """Where a provider's answer says what it cost: `field` is the way through its body (`usage.cost`), or `header` the
    name of one; `unit` is USD for 1 of it.

    What stands there is a number or an object with `total_cost`. Raises ConfigError for a unit that is no amount, and
    without either place.

    >>> CostField("usage.cost_in_usd_ticks", unit=1e-10).unit
    Decimal('1E-10')
    """

    field: str = ""
    header: str = ""
    unit: Decimal = Decimal(1)

    def __post_init__(self) -> None:
        for name in ("field", "header"):
            if not isinstance(getattr(self, name), str):
                raise ConfigError(f"cost `{name}` is {getattr(self, name)!r}; give a text like 'usage.cost'")
        if bool(self.field) == bool(self.header):
            raise ConfigError("cost names no place; give it `field` (as in 'usage.cost') or `header`, one of them")
        try:
            unit = Decimal(str(self.unit))
        except ArithmeticError:
            unit = Decimal("nan")
        if not unit.is_finite() or unit <= 0:
            raise ConfigError(f"cost `unit` is {self.unit!r}; give the USD for 1 of it, above 0")
        object.__setattr__(self, "unit", unit)
        object.__setattr__(self, "header", self.header.lower())


@dataclass(frozen=True, slots=True, init=False)
class Endpoint:
    """One way in: a dialect at an address. `base_url` None wants the target's own.

    What is left out is what most servers of the dialect have: the header of the key, the quirks. `headers` are sent
    with every request; a value is a text, or a secret: a `Secret`, `"env:NAME"`, `"Bearer env:NAME"`. `secret_headers`
    are headers whose value is a secret in any case, such as the second key of a gateway. `{name}` in `base_url` is one
    of the `parts`, which come from the environment when a request is sent (`{"region": ["AWS_REGION"]}`). `token_auth`
    says where a key goes that a function gives, if not where a literal one does. `lacks` names abilities (as
    `agentroute.Capabilities` does) that no model has there. `cost` is where
    its answers tell their price, None if they do not. Raises ConfigError naming the field that cannot be.
    """

    dialect: str
    base_url: str | None
    auth: Auth
    headers: tuple[tuple[str, str | Secret], ...]
    quirks: Quirks
    parts: tuple[Part, ...]
    token_auth: Auth | None
    lacks: tuple[str, ...]
    cost: CostField | None

    def __init__(
        self,
        dialect: str = "openai_chat",
        base_url: str | None = None,
        auth: Auth | None = None,
        headers: _Headers = (),
        quirks: Quirks | None = None,
        parts: Mapping[str, Any] | tuple[Part, ...] = (),
        token_auth: Auth | None = None,
        lacks: Iterable[str] = (),
        secret_headers: _Headers = (),
        cost: CostField | None = None,
    ) -> None:
        # First of all, so that no traceback of what follows can show a secret among its locals.
        headers, wrong = _headers(headers, secret_headers)
        secret_headers = ()
        if wrong is not None:
            raise ConfigError(wrong)
        if dialect not in (*DIALECTS, NATIVE):
            raise ConfigError(f"`dialect` is {dialect!r}; give one of {', '.join(DIALECTS)}")
        parts = parts_of(parts)
        problem = None if base_url is None else url_problem(base_url, parts)
        if problem is not None:
            base_url = None
            raise ConfigError(f"`base_url` {problem}")
        auth = _USUAL_AUTH.get(dialect, "bearer") if auth is None else auth
        if auth not in get_args(Auth):
            raise ConfigError(f"`auth` is none of {', '.join(get_args(Auth))}")
        if token_auth not in (None, *get_args(Auth)):
            raise ConfigError(f"`token_auth` is none of {', '.join(get_args(Auth))}")
        taken = {"authorization" if way == "bearer" else way for way in (auth, token_auth)}
        for name, _ in headers:
            if name in taken:
                raise ConfigError(f"`headers`: {name} is where the key goes; give it as `api_key`, or another `auth`")
        if quirks is not None and not isinstance(quirks, Quirks):
            raise ConfigError(f"`quirks` is a {type(quirks).__name__}; give Quirks(...)")
        if cost is not None and not isinstance(cost, CostField):
            raise ConfigError(f"`cost` is a {type(cost).__name__}; give CostField('usage.cost')")
        lacks = _texts(lacks, "`lacks`")
        for ability in lacks:
            if ability not in _ABILITIES:
                raise ConfigError(f"`lacks` names {ability!r}, which is none of {', '.join(_ABILITIES)}")
        put = object.__setattr__
        put(self, "dialect", dialect)
        put(self, "base_url", base_url)
        put(self, "auth", auth)
        put(self, "headers", headers)
        put(self, "quirks", usual_quirks(dialect) if quirks is None else quirks)
        put(self, "parts", parts)
        put(self, "token_auth", token_auth)
        put(self, "lacks", lacks)
        put(self, "cost", cost)


@dataclass(frozen=True, slots=True, init=False)
class Provider:
    """A provider's ways in, the usual one first, and the environment variables that usually hold its key.

    `local` needs no key and costs nothing. `address` shows what a `base_url` looks like where every customer has one of
    their own. `source` (a URL) and `date` say where and when this was read, `note` what no documentation told us.
    `proxy`, `verify` and `cert` are what `Target` has, for all of its targets. Raises ConfigError naming
    the field that cannot be.

    >>> house = Provider("house", (Endpoint(base_url="https://llm.example.com/v1"),), ("HOUSE_API_KEY",))
    >>> house.endpoint().auth
    'bearer'
    """

    name: str
    endpoints: tuple[Endpoint, ...]
    key_names: tuple[str, ...]
    local: bool
    address: str
    source: str
    date: str
    note: str
    proxy: Proxy | None
    verify: str | None
    cert: Cert | None

    def __init__(
        self,
        name: str,
        endpoints: Endpoint | Iterable[Endpoint],
        key_names: Iterable[str] = (),
        local: bool = False,
        address: str = "",
        source: str = "",
        date: str = "",
        note: str = "",
        proxy: str | Secret | None = None,
        verify: str | PathLike[str] | None = None,
        cert: str | PathLike[str] | Sequence[str | PathLike[str]] | None = None,
    ) -> None:
        # First of all, so that no traceback of what follows can show a password among its locals.
        network, unfit = Network.read(proxy, verify, cert)
        proxy = None
        if not isinstance(name, str) or not name:
            raise ConfigError(f"a provider's `name` is {name!r}; give a non-empty text")
        if unfit is not None:
            raise ConfigError(f"provider {name!r}: {unfit}")
        ways = (endpoints,) if isinstance(endpoints, Endpoint) else tuple(endpoints)
        if not ways or not all(isinstance(way, Endpoint) for way in ways):
            raise ConfigError(f"provider {name!r}: `endpoints` are no Endpoint objects; give at least one")
        if len({way.dialect for way in ways}) < len(ways):
            raise ConfigError(f"provider {name!r}: two of the `endpoints` have one dialect; give each once")
        names = _texts(key_names, f"provider {name!r}: `key_names`")
        if not all(_VARIABLE.fullmatch(each) for each in names):
            raise ConfigError(
                f"provider {name!r}: `key_names` holds what is no name of a variable; name the environment "
                f"variables that hold the key, like 'HOUSE_API_KEY', never the key"
            )
        put = object.__setattr__
        put(self, "name", name)
        put(self, "endpoints", ways)
        put(self, "key_names", names)
        put(self, "local", local)
        put(self, "address", address)
        put(self, "source", source)
        put(self, "date", date)
        put(self, "note", note)
        put(self, "proxy", network.proxy)
        put(self, "verify", network.verify)
        put(self, "cert", network.cert)

    @property
    def network(self) -> Network:
        """Its `proxy`, `verify` and `cert`."""
        return Network(self.proxy, self.verify, self.cert)

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
        _no_others(facts, {*_ENDPOINT_KEYS, "key_names", "api_key", "local", "also", *_FACTS, *_NETWORK})
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
            ways[other] = _endpoint(other, {"parts": facts.get("parts", {}), **more}, ways.get(other))
        told: dict[str, Any] = {key: facts[key] for key in ("local", *_FACTS, *_NETWORK) if key in facts}
        if "key_names" in facts or "api_key" in facts:
            told["key_names"] = _key_names(facts)
        if not isinstance(told.get("local", False), bool):
            raise ConfigError("`local` is neither true nor false")
        wrong = next((key for key in _FACTS if not isinstance(told.get(key, ""), str)), None)
        if wrong is not None:
            raise ConfigError(f"`{wrong}` is no text")
        kept = {} if known is None else {field.name: getattr(known, field.name) for field in fields(known)[2:]}
        return cls(name, (usual, *ways.values()), **{**kept, **told})


_NETWORK: Final = ("proxy", "verify", "cert")
_FACTS: Final = ("address", "source", "date", "note")
_ENDPOINT_KEYS: Final = frozenset(
    {"dialect", "base_url", "auth", "headers", "quirks", "parts", "token_auth", "lacks", "secret_headers", "cost"}
)


def usual_quirks(dialect: str) -> Quirks:
    """What servers of the dialect have in common: an unknown OpenAI-compatible one is asked for no more than is old."""
    if dialect == "openai_chat":
        return Quirks(developer_role=False, max_tokens_field="max_tokens", reasoning_field=None)
    return Quirks(api_version="2023-06-01") if dialect == "anthropic_messages" else Quirks()


def _endpoint(dialect: Any, facts: Mapping[str, Any], known: Endpoint | None) -> Endpoint:
    told: dict[str, Any] = {key: facts[key] for key in _PLAIN_KEYS if key in facts}
    tables = {key: facts.get(key, {}) for key in ("headers", "secret_headers", "quirks", "parts")}
    for key, table in tables.items():
        if not isinstance(table, Mapping):
            raise ConfigError(f"`{key}` is no table; write {key} = {{ ... }}")
    quirks = tables["quirks"]
    _no_others(quirks, {field.name for field in fields(Quirks)}, "quirks.")
    cost = _cost_field(facts)
    if known is None:
        known = Endpoint(dialect)
    own = {key: None if key == "reasoning_field" and value == "none" else value for key, value in quirks.items()}
    before = {field.name: getattr(known.quirks, field.name) for field in fields(Quirks)}
    headers, wrong = _headers(tables["headers"], tables["secret_headers"], written=True)
    if wrong is not None:
        raise ConfigError(wrong)
    parts = {part.name: part for part in (*known.parts, *parts_of(tables["parts"]))}
    return Endpoint(
        dialect,
        **{**{key: getattr(known, key) for key in _PLAIN_KEYS}, **told},
        headers={**dict(known.headers), **dict(headers)},
        quirks=Quirks(**{**before, **own}),
        parts=tuple(parts.values()),
        cost=known.cost if cost is None else cost,
    )


def _cost_field(facts: Mapping[str, Any]) -> CostField | None:
    told = facts.get("cost")
    if told is None:
        return None
    if not isinstance(told, Mapping):
        raise ConfigError("`cost` is no table; write cost = { field = 'usage.cost' }")
    _no_others(told, {field.name for field in fields(CostField)}, "cost.")
    return CostField(**told)


_PLAIN_KEYS: Final = ("base_url", "auth", "token_auth", "lacks")
_Headers: TypeAlias = Mapping[str, str | Secret] | Iterable[tuple[str, str | Secret]]


def _headers(
    plain: _Headers, secret: _Headers = (), *, written: bool = False
) -> tuple[tuple[tuple[str, str | Secret], ...], str | None]:
    """The headers, with names in lower case, or what is wrong with them. `written`: they stand in a file.

    Nothing is raised here, and a value never shown: it may be a key.
    """
    found: dict[str, str | Secret] = {}
    for hidden, table in ((False, plain), (True, secret)):
        for name, value in table.items() if isinstance(table, Mapping) else table:
            if not isinstance(name, str) or not _TOKEN.fullmatch(name):
                return (), "`headers`: a name holds what no header's name can; use letters, digits and '-'"
            name = name.lower()
            kept, wrong = _header(name, value, hidden=hidden, written=written)
            if wrong is not None:
                return (), f"`headers`: {wrong}"
            found[name] = kept
    return tuple(found.items()), None


def _header(name: str, value: object, *, hidden: bool, written: bool) -> tuple[str | Secret, str | None]:
    """The value as it is kept, or what is wrong with it."""
    if name in _OURS:
        return "", f"{name} is set by the transport; leave it out"
    if isinstance(value, Secret):
        if value.function is not None:
            return "", f"the value of {name} comes from a function; only `api_key` can"
        return value, None
    named = _NAMED.fullmatch(value) if isinstance(value, str) else None
    if named is not None:
        if not _VARIABLE.fullmatch(named[2]):
            return "", f"the value of {name} is 'env:' without the name of a variable"
        return Secret.env(named[2], named[1]), None
    if not isinstance(value, str) or not _is_header_value(value):
        return "", f"the value of {name} is no text that a header can carry (one line of ASCII)"
    if name in _NEVER and not hidden:
        return "", f"{name} holds a key, which belongs into `api_key`; `auth` names the header"
    if not value or not (hidden or _TELLING.search(name)):
        return value, None
    if written:
        return "", (
            f"keys do not belong in a file; name the variable that holds the value of {name}, like 'env:HOUSE_TOKEN' "
            f"or 'Bearer env:HOUSE_TOKEN'"
        )
    return Secret(value), None


def _is_header_value(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable()


def _is_plain(pair: Any) -> bool:
    return len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], bool | int | float | str)


def _pairs(value: object, where: str) -> tuple[Any, ...]:
    pairs = value.items() if isinstance(value, Mapping) else value
    if isinstance(pairs, str) or not isinstance(pairs, Iterable):
        raise ConfigError(f"{where} is no list of pairs")
    return tuple(tuple(pair) if isinstance(pair, list | tuple) else (pair,) for pair in pairs)


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
