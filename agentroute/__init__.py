"""Routes each model call of an agent to the cheapest model that will do it right.

Start with `Router`:

>>> from agentroute import Router
>>> router = Router({"small": "openai/gpt-4.1-nano", "strong": "anthropic/claude-opus-4-6"})
>>> router.route("hello").target
'small'

What this package exports is the public interface, with `agentroute.messages`, `.events`, `.testing`, `.replay` and
`.ledger` (docs/api.md).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .decisions import (
    Attempt,
    Candidate,
    Constraints,
    Decision,
    Dropped,
    Prediction,
    StepContext,
    StepKind,
    Task,
)
from .errors import (
    AgentRouteError,
    AllAttemptsFailed,
    AuthenticationFailed,
    BadResponse,
    BudgetExceeded,
    ConfigError,
    ConnectionFailed,
    ContentFiltered,
    ContextTooLong,
    InvalidRequest,
    ModelNotFound,
    NoCandidateError,
    Overloaded,
    ProviderError,
    ProviderTimeout,
    QuotaExhausted,
    RateLimited,
    RequestError,
    StreamInterrupted,
    UnknownTarget,
    Unsupported,
)
from .events import Event, TextDelta, fold
from .messages import ChatRequest, ChatResponse, Message, Text, Tool, ToolCall, ToolResult, Usage
from .providers import Endpoint, Provider, Quirks
from .providers.keys import Secret
from .targets import Capabilities, Pool, Price, Target, Tier

if TYPE_CHECKING:
    from .failover.breaker import Breakers
    from .failover.effects import Timeouts
    from .ledger import SqliteLedger
    from .ledger.budget import Budget, Limit
    from .ledger.notices import Notice
    from .router import Router
    from .routing.strategy import StrategyTable

__all__ = [
    "AgentRouteError",
    "AllAttemptsFailed",
    "Attempt",
    "AuthenticationFailed",
    "BadResponse",
    "Breakers",
    "Budget",
    "BudgetExceeded",
    "Candidate",
    "Capabilities",
    "ChatRequest",
    "ChatResponse",
    "ConfigError",
    "ConnectionFailed",
    "Constraints",
    "ContentFiltered",
    "ContextTooLong",
    "Decision",
    "Dropped",
    "Endpoint",
    "Event",
    "InvalidRequest",
    "Limit",
    "Message",
    "ModelNotFound",
    "NoCandidateError",
    "Notice",
    "Overloaded",
    "Pool",
    "Prediction",
    "Price",
    "Provider",
    "ProviderError",
    "ProviderTimeout",
    "Quirks",
    "QuotaExhausted",
    "RateLimited",
    "RequestError",
    "Router",
    "Secret",
    "SqliteLedger",
    "StepContext",
    "StepKind",
    "StrategyTable",
    "StreamInterrupted",
    "Target",
    "Task",
    "Text",
    "TextDelta",
    "Tier",
    "Timeouts",
    "Tool",
    "ToolCall",
    "ToolResult",
    "UnknownTarget",
    "Unsupported",
    "Usage",
    "fold",
]

__version__ = "0.1.0.dev0"


_LATER = {
    "Breakers": "failover.breaker",
    "Budget": "ledger.budget",
    "Limit": "ledger.budget",
    "Notice": "ledger.notices",
    "Router": "router",
    "SqliteLedger": "ledger",
    "StrategyTable": "routing.strategy",
    "Timeouts": "failover.effects",
}
"""These bring asyncio, sqlite3, the formats and the routing along, so they are loaded when they are first asked for."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        found = globals()[name] = getattr(import_module(f".{_LATER[name]}", __name__), name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
