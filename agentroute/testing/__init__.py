"""Doubles for suites that use agentroute: a scripted provider on loopback, a clock that stands still, `assert_route`.

>>> from agentroute.testing import ScriptedProvider
>>> with ScriptedProvider("hello") as provider:
...     target = provider.target(name="small", model="gpt-4.1-nano", tier="budget")
>>> target.name
'small'
"""

from __future__ import annotations

from .assertions import assert_route
from .clock import FrozenClock
from .faults import Fault, FaultPlan, nth
from .provider import ScriptedProvider, ScriptedRequest
from .replies import ScriptedReply, count_tokens, tool_call

__all__ = [
    "Fault",
    "FaultPlan",
    "FrozenClock",
    "ScriptedProvider",
    "ScriptedReply",
    "ScriptedRequest",
    "assert_route",
    "count_tokens",
    "nth",
    "tool_call",
]
