"""Base URLs: what is wrong with one, and how its parts are filled in from the environment when a request is sent."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from agentroute.errors import ConfigError

from .keys import looks_like_key

__all__ = ["Part", "fill", "is_own", "missing", "parts_of", "sends_in_the_clear", "url_problem"]

_PLACE: Final = re.compile(r"\{([^{}]*)\}")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VALUE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.))*")
_OTHER: Final = "other"
_NOT_PUBLIC: Final = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".test", ".invalid", ".example")
_METHODS: Final = ("/chat/completions", "/completions", "/responses", "/messages", "/models")


@dataclass(frozen=True, slots=True)
class Part:
    """What stands for `{name}` in a base URL: the first of `variables` that is set, else `value` if there is one.

    `by` names another part that chooses among `cases` (its value, what stands here; `other` for any other value).
    """

    name: str
    variables: tuple[str, ...] = ()
    value: str = ""
    by: str = ""
    cases: tuple[tuple[str, str], ...] = ()


def parts_of(table: object) -> tuple[Part, ...]:
    """The parts that a table says: `{region = ["AWS_REGION", "AWS_DEFAULT_REGION"]}`.

    A list names variables, a text is the value itself (`"env:NAME"` names a variable), a table chooses by another part
    (`host = { by = "location", global = "...", other = "..." }`). Raises ConfigError naming the part.
    """
    if isinstance(table, tuple) and all(isinstance(part, Part) for part in table):
        return table
    if not isinstance(table, Mapping):
        raise ConfigError("`parts` is no table; write parts = { region = ['AWS_REGION'] }")
    return tuple(_part(name, said) for name, said in table.items())


def _part(name: Any, said: Any) -> Part:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(f"`parts`: {name!r} is no name of a part; use lower-case letters, digits and '_'")
    if isinstance(said, Mapping):
        cases = tuple((key, text) for key, text in said.items() if key != "by")
        if not isinstance(said.get("by"), str) or not cases or not all(isinstance(text, str) for _, text in cases):
            raise ConfigError(f"`parts`: {name} is a table without `by` or with values that are no texts")
        return Part(name, by=said["by"], cases=cases)
    if isinstance(said, str) and not said.startswith("env:"):
        if not _VALUE.fullmatch(said):
            raise ConfigError(
                f"`parts`: the value of {name} cannot stand in a URL; give letters, digits, '-', '_', '.'"
            )
        return Part(name, value=said)
    names = [said[4:]] if isinstance(said, str) else said
    if not isinstance(names, list | tuple) or not names:
        raise ConfigError(f"`parts`: {name} is no list of variables; write {name} = ['AWS_REGION']")
    if not all(isinstance(variable, str) and _VARIABLE.fullmatch(variable) for variable in names):
        raise ConfigError(f"`parts`: {name} holds what is no name of an environment variable")
    return Part(name, tuple(names))


def url_problem(url: object, parts: Iterable[Part] = ()) -> str | None:
    """What is wrong with a base URL, without showing it: it may hold a key. `{name}` must be one of the parts."""
    if not isinstance(url, str):
        return "is no http:// or https:// URL"
    if not url.isprintable():
        return "holds a sign that no URL can"
    known = {part.name for part in parts}
    for name in _PLACE.findall(url):
        if name not in known:
            said = f"`{{{name}}}`" if _NAME.fullmatch(name) else "a place in braces"
            return f"has {said}, for which `parts` says nothing; name the variables that hold it"
    plain = _PLACE.sub("x", url)
    if "{" in plain or "}" in plain:
        return "has a brace that is not closed"
    if url.startswith("{"):
        plain = f"https://{plain}"
    if not plain.startswith(("http://", "https://")):
        return "is no http:// or https:// URL"
    try:
        _ = urlsplit(plain).port
    except ValueError:
        return "is no URL: its host or port cannot be read"
    if "@" in plain.split("/")[2]:
        return "has a user or password before the host; put the key into `api_key`"
    if "?" in plain or "#" in plain:
        return "has a query or fragment, where the path of the API would be put behind; put a key into `api_key`"
    if any(map(looks_like_key, re.split(r"[/.:=]", plain.partition("://")[2]))):
        return (
            "holds what looks like a key, which would be shown wherever the address is; put it into `api_key`, or into "
            "a variable that `parts` names"
        )
    method = next((path for path in _METHODS if plain.rstrip("/").endswith(path)), None)
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


def missing(url: str, parts: Iterable[Part], environ: Mapping[str, str] | None = None) -> tuple[Part, ...]:
    """The parts of this URL that no variable gives."""
    environ = os.environ if environ is None else environ
    known = {part.name: part for part in parts}
    needed, found = _PLACE.findall(url), []
    while needed:
        part = known[needed.pop()]
        if part.by:
            needed.append(part.by)
        elif not part.value and not any(environ.get(name) for name in part.variables):
            found.append(part)
    return tuple(dict.fromkeys(reversed(found)))


def fill(url: str, parts: Iterable[Part], environ: Mapping[str, str] | None = None) -> str:
    """The URL with each `{name}` filled in. A part that stands first is the whole origin, `https://` if it says none.

    Raises ConfigError naming the variables of a part that is not set, or that holds what cannot stand in a URL. The
    value is not shown: it may be a key.
    """
    if "{" not in url:
        return url
    environ = os.environ if environ is None else environ
    parts = tuple(parts)
    for part in missing(url, parts, environ):
        raise ConfigError(
            f"its address {url!r} needs the part `{part.name}`: set {' or '.join(part.variables)}, or give base_url="
        )
    known = {part.name: part for part in parts}

    def value(name: str, *, first: bool = False) -> str:
        part = known[name]
        if part.by:
            chosen = value(part.by)
            cases = dict(part.cases)
            if chosen not in cases and _OTHER not in cases:
                raise ConfigError(f"its part `{part.by}` is none of {', '.join(cases)}")
            return _PLACE.sub(lambda place: value(place[1]), cases.get(chosen, cases.get(_OTHER, "")))
        variable = next((each for each in part.variables if environ.get(each)), "")
        text = environ[variable].strip() if variable else part.value
        if first:
            text = (text if "://" in text else f"https://{text}").rstrip("/")
            problem = url_problem(text)
            if problem is not None:
                raise ConfigError(f"its part `{name}`, from {variable}, {problem}")
            return text
        if not _VALUE.fullmatch(text):
            raise ConfigError(
                f"its part `{name}`, from {variable}, holds what cannot stand there in a URL; use letters, digits, "
                f"'-', '_' and '.'"
            )
        return text

    return _PLACE.sub(lambda place: value(place[1], first=place.start() == 0), url)


def is_own(url: str, known: str, parts: Iterable[Part] = ()) -> bool:
    """Whether this URL is the known one, with whatever values for its parts.

    A known one that begins with a part has no host of its own: there, any URL is the user's.
    """
    if known.startswith("{"):
        return True
    cases = {part.name: [text for _, text in part.cases] for part in parts if part.by}

    def pattern(text: str) -> str:
        pieces = _PLACE.split(text)
        return "".join(place(piece) if at % 2 else re.escape(piece) for at, piece in enumerate(pieces))

    def place(name: str) -> str:
        return f"(?:{'|'.join(map(pattern, cases[name]))})" if name in cases else "[A-Za-z0-9_-]+"

    return re.fullmatch(pattern(known.rstrip("/")), url.rstrip("/")) is not None
