"""What keeps a target from being called, told before the first call: its address, its key, names that nobody knows."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from agentroute.errors import nearest
from agentroute.providers import NATIVE, PROVIDERS
from agentroute.providers.addresses import missing
from agentroute.providers.keys import Secret
from agentroute.targets import Target

from . import facts, prices

__all__ = [
    "address_doubt",
    "address_problem",
    "doubts",
    "key_problem",
    "misspelt_provider",
    "model_doubt",
    "part_problem",
]


def address_problem(target: Target) -> str | None:
    """Why there is no address to call, and the remedy; None where there is one (a native target needs none)."""
    if target.dialect == NATIVE or target.base_url is not None or target.endpoint.base_url is not None:
        return None
    provider = target.provider
    known = PROVIDERS.get(provider)
    if known is not None:
        like = f", like {known.address!r}" if known.address else ""
        return f"no address is known for provider {provider!r} in the dialect {target.dialect!r}; give `base_url`{like}"
    remedy = "give the `base_url` of an endpoint that speaks one of our dialects, or [provider.NAME] in the config file"
    if any(price_id == prices.price_id(provider) for price_id in _priced()):
        return f"the catalog knows models of {provider!r}, but no address of it; {remedy}"
    near = nearest(provider, PROVIDERS)
    return f"no provider is named {provider!r}{near + ' Else' if near else ';'} {remedy}"


def address_doubt(target: Target) -> str | None:
    """What is unusual about its `base_url`: no path, although the provider's own address has one."""
    usual = target.endpoint.base_url or ""
    if target.base_url is None or target.dialect == NATIVE:
        return None
    known = PROVIDERS.get(target.provider)
    path = urlsplit((known.address if known is not None else "") or usual).path.rstrip("/")
    if not path or "{" in path or urlsplit(target.base_url).path.strip("/"):
        return None
    return f"its `base_url` has no path, while that of {target.provider} ends in {path!r}; is {path!r} missing?"


def part_problem(target: Target) -> str | None:
    """Which part of its address no variable gives, and the remedy; None where the address is whole."""
    url = target.base_url or target.endpoint.base_url
    if url is None or target.dialect == NATIVE:
        return None
    names = [" or ".join(part.variables) for part in missing(url, target.endpoint.parts)]
    return f"its address needs {' and '.join(names)}, not set; set it, or give `base_url`" if names else None


def key_problem(target: Target) -> str | None:
    """Why no key of it can be read, and the remedy; None where one is there, or none is needed."""
    if target.dialect == NATIVE or target.endpoint.auth == "none":
        return None
    keys = target.usual_keys if target.api_key is None else (target.api_key, *target.spare_keys)
    if not keys or any(key.present for key in keys):
        return None
    return f"{_named(keys)}, so calls go to the next target; set it, or name another in `api_key`"


def _named(keys: tuple[Secret, ...]) -> str:
    names = [key.env_name for key in keys if key.env_name is not None]
    if not names:
        return "its literal key was not kept"
    if len(names) == 1:
        return f"the environment variable {names[0]} is not set"
    return f"none of the environment variables {', '.join(names)} is set"


def doubts(target: Target) -> Iterator[str]:
    """What may keep it from being called, so far as its user has asked for it to be called.

    Nothing is said of an address or a usual key that is not there: a pool without either still decides.
    """
    key = None if target.api_key is None else key_problem(target)
    yield from (doubt for doubt in (address_doubt(target), part_problem(target), key) if doubt is not None)


def misspelt_provider(target: Target) -> str | None:
    """The problem of a provider without an address whose name is nearly a known one."""
    if target.provider in PROVIDERS or not nearest(target.provider, PROVIDERS):
        return None
    return address_problem(target)


def model_doubt(target: Target) -> str | None:
    """The model that this one may be misspelt for: nobody knows this one, and the provider has one of nearly that name.

    Nothing is said about a price of the user's own, nor about providers whose models nobody lists.
    """
    if target.price is not None or target.dialect == NATIVE:
        return None
    near = nearest(target.model, _models(target.provider))
    return f"the catalog has no {target.model!r} of {target.provider}{near}" if near else None


def _models(provider: str) -> set[str]:
    wanted = prices.price_id(provider)
    listed = {row.model for row in facts() if prices.price_id(row.provider) == wanted}
    return listed | {
        listing.model
        for name, listing in prices.every()
        if listing.model is not None and prices.price_id(name) == wanted
    }


def _priced() -> Iterator[str]:
    yield from (prices.price_id(row.provider) for row in facts())
    yield from (prices.price_id(name) for name, _ in prices.every())
