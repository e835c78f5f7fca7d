"""Routes each model call of an agent to the cheapest model that will do it right.

Start with `Router`:

>>> from agentroute import ChatRequest, Router, Target
>>> router = Router(
...     targets=[
...         Target(name="small", provider="openai", model="gpt-4.1-nano"),
...         Target(name="strong", provider="anthropic", model="claude-opus-4-6"),
...     ]
... )
>>> router.route(ChatRequest.from_openai({"messages": [{"role": "user", "content": "hello"}]})).target
'small'
"""

from __future__ import annotations

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
)
from .events import Event, fold
from .keys import Secret
from .messages import ChatRequest, ChatResponse, Message, Tool, ToolCall, ToolResult, Usage
from .providers import Endpoint, Provider, Quirks
from .targets import Capabilities, Pool, Price, Target, Tier

if TYPE_CHECKING:
    from .router import Router

__all__ = [
    "AgentRouteError",
    "AllAttemptsFailed",
    "Attempt",
    "AuthenticationFailed",
    "BadResponse",
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
    "Message",
    "ModelNotFound",
    "NoCandidateError",
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
    "StepContext",
    "StepKind",
    "StreamInterrupted",
    "Target",
    "Task",
    "Tier",
    "Tool",
    "ToolCall",
    "ToolResult",
    "Usage",
    "fold",
]

__version__ = "0.1.0.dev0"


def __getattr__(name: str) -> Any:
    """`Router` brings asyncio, the formats and the routing along, so it is loaded when it is first asked for."""
    if name == "Router":
        from .router import Router

        globals()[name] = Router
        return Router
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
