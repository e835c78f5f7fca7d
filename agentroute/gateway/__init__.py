"""The gateway: one base URL for every OpenAI, Anthropic and Gemini client, over one Router.

`agentroute serve` starts it; `create_app(router)` gives the ASGI application to a server of your own (docs/gateway.md).
Needs the extra `gateway`.
"""

from __future__ import annotations

from .app import create_app
from .settings import ClientKey, GatewaySettings

__all__ = ["ClientKey", "GatewaySettings", "create_app"]
