"""How an address is reached: through which proxy, trusting whose certificates, showing which of one's own."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

from .keys import Secret

__all__ = ["Cert", "Network", "Proxy", "ProxyAddress", "is_excepted"]

Proxy: TypeAlias = Secret | Literal["direct"]
"""Its address, which may hold a password, or none where the provider or the router has one."""

Cert: TypeAlias = tuple[str, ...]

_WANTED: Final = "give 'http://HOST:PORT', 'http://USER:PASSWORD@HOST:PORT', 'env:NAME' or 'direct'"


@dataclass(frozen=True, slots=True)
class ProxyAddress:
    """A proxy's address in parts. Never keep it: `authorization` holds the password."""

    host: str
    port: int
    authorization: str | None

    @classmethod
    def of(cls, url: str) -> ProxyAddress | None:
        """None for what is no address of a proxy that we can speak to: plain HTTP, with no path behind."""
        try:
            parts = urlsplit(url.strip())
            host, port = parts.hostname, parts.port
        except ValueError:
            return None
        if parts.scheme != "http" or not host or not host.isascii() or parts.path not in ("", "/"):
            return None
        if parts.query or parts.fragment or not url.isprintable():
            return None
        if parts.username is None:
            return cls(host, port or 80, None)
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return cls(host, port or 80, f"Basic {b64encode(pair.encode()).decode()}")


@dataclass(frozen=True, slots=True)
class Network:
    """The settings `proxy`, `verify` and `cert`, checked; None is not said."""

    proxy: Proxy | None = None
    verify: str | None = None
    cert: Cert | None = None

    @classmethod
    def read(cls, proxy: object, verify: object, cert: object) -> tuple[Network, str | None]:
        """The settings, or what is wrong with them: nothing is raised where a password stands in a frame."""
        kept, wrong = _proxy(proxy)
        if wrong is not None:
            return cls(), f"`proxy` {wrong}"
        if isinstance(verify, os.PathLike):
            verify = os.fspath(verify)
        if verify is not None and (not isinstance(verify, str) or not verify):
            return cls(), (
                f"`verify` is {verify!r}; give the path of the CA certificates to trust (a file, or a folder as "
                f"`openssl rehash` makes it); TLS is always verified"
            )
        if cert is None:
            return cls(kept, verify, None), None
        files = [cert] if isinstance(cert, str | os.PathLike) else cert
        paths = tuple(str(file) for file in files) if isinstance(files, Sequence) else ()
        if not 1 <= len(paths) <= 2 or not all(paths):
            return cls(), "`cert` is no client certificate; give the path of its PEM file, or (certificate, key)"
        return cls(kept, verify, paths), None

    def under(self, wider: Network) -> Network:
        """These settings, and what they leave out as the wider ones say. `verify` and `cert` are each on their own."""
        return Network(
            wider.proxy if self.proxy is None else self.proxy,
            wider.verify if self.verify is None else self.verify,
            wider.cert if self.cert is None else self.cert,
        )


_WITH_PORT: Final = re.compile(r"(\[[^\]]*\]|[^:]*):(\d{1,5})")


def is_excepted(host: str, port: int, no_proxy: str) -> bool:
    """Whether `NO_PROXY` says that this host is reached without a proxy.

    It holds hosts, domains (with all that is below them, a dot before them or not), addresses and networks
    (`10.0.0.0/8`) with commas or spaces between them, each with a port or without one; `*` is every host.
    """
    name = host.lower().strip("[]").rstrip(".")
    address = _address(name)
    for entry in re.split(r"[,\s]+", no_proxy.lower()):
        found = _WITH_PORT.fullmatch(entry)
        if found is not None and int(found[2]) != port:
            continue
        wanted = (entry if found is None else found[1]).strip("[]").removeprefix("*.").strip(".")
        if wanted == "*":
            return True
        if address is not None and _holds(wanted, address):
            return True
        if address is None and wanted and (name == wanted or name.endswith(f".{wanted}")):
            return True
    return False


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(name)
    except ValueError:
        return None


def _holds(network: str, address: IPv4Address | IPv6Address) -> bool:
    try:
        return address in ip_network(network, strict=False)
    except ValueError:
        return False


def _proxy(value: object) -> tuple[Proxy | None, str | None]:
    if value is None:
        return None, None
    if value == "direct":
        return "direct", None
    if isinstance(value, Secret):
        return value, None if value.function is None else "is a function; only `api_key` can be one"
    if not isinstance(value, str):
        return None, f"is a {type(value).__name__}; {_WANTED}"
    if value.startswith("env:"):
        name = value[4:]
        named = name.isascii() and name.isidentifier()
        return (Secret.env(name), None) if named else (None, f"is 'env:' without the name of a variable; {_WANTED}")
    if ProxyAddress.of(value) is None:
        return None, f"is no address of an HTTP proxy; {_WANTED} (https and socks proxies are not spoken to)"
    return Secret(value), None
