"""Step rows: the messages before one call, and the cheapest tier known to suffice for it."""

from __future__ import annotations

from agentroute.replay.records import RecordedCall, Trace
from agentroute.targets import Tier

from .calls import who
from .fields import Raw, name_of, wrong
from .openai import request_of

__all__ = ["read"]

_STEP_TIERS = {"low": Tier.BUDGET, "mid": Tier.MID, "mid_high": Tier.STANDARD, "high": Tier.PREMIUM}
"""Names of the tiers in step rows; our own names are understood too."""


def read(line: Raw) -> Trace:
    request = request_of(line, line.get("messages"))
    label = line.get("target_tier")
    needed = _STEP_TIERS.get(label) if isinstance(label, str) else None
    if needed is None and label is not None:
        names = {tier.value: tier for tier in Tier}
        needed = names.get(label) if isinstance(label, str) else None
        if needed is None:
            wrong("target_tier", label, "one of " + ", ".join([*_STEP_TIERS, *names]))
    return Trace(
        format="steps",
        request=request,
        calls=(RecordedCall(len(request.messages)),),
        whole=False,
        id=name_of(line, "id"),
        **who(line),
        needed=needed,
    )
