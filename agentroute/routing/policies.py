"""Policy by role: the constraints that hold for every step of one agent or role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agentroute.decisions import Constraints, StepContext
from agentroute.errors import ConfigError, nearest
from agentroute.messages import ChatRequest
from agentroute.providers import PROVIDERS
from agentroute.targets import Pool

from .roles import fingerprint

__all__ = ["constraints_for", "read_constraints", "read_policies", "role_of"]


def read_policies(roles: object, pool: Pool) -> dict[str, Constraints]:
    """The constraints of each role, checked against the pool. Raises ConfigError naming the role and the field.

    A table of the config file has the same fields: `[role.writer]`, `max_tier = "mid"`.
    """
    if roles is None:
        return {}
    if not isinstance(roles, Mapping):
        raise ConfigError(f"`roles` is a {type(roles).__name__}; give a mapping of role to constraints")
    found = {}
    for name, told in roles.items():
        try:
            found[name] = read_constraints(told, pool)
        except ConfigError as error:
            raise ConfigError(f"role {name!r}: {error}") from None
    return found


def read_constraints(value: Mapping[str, Any] | Constraints, pool: Pool) -> Constraints:
    """Constraints that are kept for many steps, checked against the pool. Raises ConfigError naming the field.

    Otherwise a misspelt pin or provider would be found at the first call only, or never.
    """
    constraints = Constraints.of(value)
    names = [target.name for target in pool]
    for field, told in (
        ("target", () if constraints.target is None else (constraints.target,)),
        ("content_filter_fallback", constraints.content_filter_fallback),
    ):
        for name in told:
            if name not in pool and all(target.model != name for target in pool):
                near = nearest(name, names) or ";"
                raise ConfigError(f"{field}: no target is named {name!r}{near} the pool has {', '.join(names)}")
    providers = {*PROVIDERS, *(target.provider for target in pool)}
    for field, told in (
        ("allow_providers", constraints.allow_providers or ()),
        ("deny_providers", constraints.deny_providers),
    ):
        for name in told:
            if name not in providers:
                near = nearest(name, providers) or f"; known are {', '.join(sorted(providers))}"
                raise ConfigError(f"{field}: no provider is named {name!r}{near}")
    return constraints


def role_of(roles: Mapping[str, Constraints], context: StepContext, request: ChatRequest) -> str | None:
    """The role whose policy holds for this step: its role's, else its agent's; None if neither has one.

    If nobody says who asks, it is the role with the request's own fingerprint (`fingerprint`, "role-..."), if there is
    a policy for one.
    """
    if context.role is None and context.agent is None and any(name.startswith("role-") for name in roles):
        own = fingerprint(request)
        return own if own in roles else None
    return next((name for name in (context.role, context.agent) if name in roles), None)


def constraints_for(policy: Constraints, told: Constraints) -> Constraints:
    """The policy with what the step itself says put over it, field by field.

    Denied providers add up, since a step that denies one more has not allowed the others.
    """
    denied = tuple(dict.fromkeys((*policy.deny_providers, *told.deny_providers)))
    return replace(Constraints.of(told, policy), deny_providers=denied)
