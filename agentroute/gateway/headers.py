"""What headers say in both directions: hints of the client's, and the facts of a decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, TypeAlias

from agentroute.decisions import Constraints, Decision, StepContext
from agentroute.errors import ConfigError, RequestError
from agentroute.ledger.notices import Notice
from agentroute.routing.roles import context_of
from agentroute.targets import Target, Tier

from .settings import ClientKey

__all__ = [
    "RawHeaders",
    "client_key",
    "constraints_of",
    "context_from",
    "decision_headers",
    "notice_headers",
    "read_headers",
]

RawHeaders: TypeAlias = Sequence[tuple[bytes, bytes]]


def read_headers(raw: RawHeaders) -> dict[str, str]:
    """Names are lower-case already (ASGI). A name that comes twice is one list (RFC 9110, 5.3), so that a second `host`
    or key makes both unknown."""
    found = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
    if len(found) < len(raw):
        lists: dict[str, list[str]] = {}
        for name, value in raw:
            lists.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        return {name: ", ".join(values) for name, values in lists.items()}
    return found


def client_key(headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """The key by which a client of any dialect says who it is."""
    bearer = headers.get("authorization", "")
    if bearer[:7].lower() == "bearer " and bearer[7:].strip():
        return bearer[7:].strip()
    return headers.get("x-api-key") or headers.get("x-goog-api-key") or headers.get("api-key") or query.get("key")


def context_from(headers: Mapping[str, str], metadata: Mapping[str, Any] | None) -> StepContext:
    """Who asks: headers of known clients and our own (`x-agentroute-conversation`, `-role`, `-agent`), or the same
    names in the body's metadata (`agentroute_conversation`)."""
    context = context_of(headers, metadata)
    conversation, role = _hint("conversation", headers, metadata), _hint("role", headers, metadata)
    if conversation is not None:
        context = replace(context, conversation_id=conversation)
    return context if role is None else replace(context, role=role)


def constraints_of(
    headers: Mapping[str, str], metadata: Mapping[str, Any] | None, asked: Mapping[str, Any], key: ClientKey | None
) -> Constraints:
    """What this step is bound to: the model's word (`asked`), the client's hints, and above them what its key allows.

    Raises RequestError for a hint that is no strategy or tier, or one that the key does not allow.
    """
    found = dict(asked)
    strategy, tier = _hint("strategy", headers, metadata), _hint("max-tier", headers, metadata)
    if strategy is not None:
        found["strategy"] = strategy
    if tier is not None:
        found["max_tier"] = tier
    try:
        constraints = Constraints(**found)
    except ConfigError as error:
        raise RequestError(str(error)) from None
    return constraints if key is None else _allowed(constraints, key)


def _allowed(constraints: Constraints, key: ClientKey) -> Constraints:
    if key.strategies is not None:
        if constraints.strategy is None:
            constraints = replace(constraints, strategy=key.strategies[0])
        elif constraints.strategy not in key.strategies:
            raise RequestError(
                f"the key {key.name!r} may not use the strategy {constraints.strategy!r}; "
                f"it may use {', '.join(key.strategies)}"
            )
    if key.max_tier is not None:
        asked = constraints.max_tier
        least = key.max_tier if asked is None else min(Tier.parse(asked), key.max_tier)
        constraints = replace(constraints, max_tier=least)
    if key.providers is not None:
        constraints = replace(constraints, allow_providers=key.providers)
    return constraints


def _hint(name: str, headers: Mapping[str, str], metadata: Mapping[str, Any] | None) -> str | None:
    given = headers.get(f"x-agentroute-{name}")
    if given is None and metadata:
        word = name.replace("-", "_")
        given = metadata.get(f"agentroute_{word}") or metadata.get(f"agentroute-{name}")
    return given.strip()[:_LONGEST] if isinstance(given, str) and given.strip() else None


_LONGEST: Final = 128


def decision_headers(decision: Decision, served: Target | None, attempts: int) -> list[tuple[bytes, bytes]]:
    """The facts of a decision as an answer's headers carry them. Before the end of a stream the costs are the expected
    ones; what is unknown is left out."""
    target = decision.target if served is None else served.name
    tier = decision.tier if served is None or served.tier is None else served.tier
    first = decision.candidates[0].target if decision.candidates else decision.target
    facts: dict[str, str | None] = {
        "x-request-id": decision.id,
        "request-id": decision.id,
        "x-agentroute-decision-id": decision.id,
        "x-agentroute-target": target,
        "x-agentroute-tier": tier.value,
        "x-agentroute-task": decision.task.value,
        "x-agentroute-strategy": decision.strategy,
        "x-agentroute-attempts": str(attempts),
        "x-agentroute-fallback": "true" if target != first else "false",
        "x-agentroute-estimated-cost-usd": _usd(decision.expected_cost),
        "x-agentroute-baseline-cost-usd": _usd(decision.baseline_cost),
        "x-agentroute-savings-usd": _usd(decision.savings),
    }
    if decision.outcome != "planned":
        facts["x-agentroute-cost-usd"] = _usd(decision.cost)
    return [(name.encode(), _ascii(value)) for name, value in facts.items() if value is not None]


def notice_headers(notices: Sequence[Notice]) -> list[tuple[bytes, bytes]]:
    """Of what somebody should be told of the call, which kinds it is."""
    kinds = ", ".join(dict.fromkeys(notice.kind for notice in notices))
    return [(b"x-agentroute-notices", kinds.encode())] if kinds else []


def _usd(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:.8f}"


def _ascii(value: str) -> bytes:
    """A name of the operator's choice as a header may carry it."""
    if value.isascii() and value.isprintable():
        return value.encode()
    return "".join(sign if " " <= sign <= "~" else "?" for sign in value).encode()
