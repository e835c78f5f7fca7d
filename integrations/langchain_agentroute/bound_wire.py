"""A target of our own transport as an agent calls a model: bound to tools, and told what middleware made of a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import PrivateAttr

from agentroute import Pool

from .options import Options
from .tool_sources import KnownTools
from .wire_model import WireChatModel

__all__ = ["BoundWireModel"]


class BoundWireModel(WireChatModel):
    """One attempt at one wire target, which sends what it is called with.

    Middleware nearer to the model than the routing may have changed the step since the decision.
    """

    _own: Mapping[str, Any] = PrivateAttr(default_factory=dict)
    _known: KnownTools = PrivateAttr(default_factory=KnownTools)
    _pool: Pool | None = PrivateAttr(default=None)
    _warnings: tuple[str, ...] = PrivateAttr(default=())

    def configured_for(self, pool: Pool, own: Mapping[str, Any], known: KnownTools) -> Self:
        """Itself, with the targets that may have written parts of the conversation, the arguments that it alone gets,
        and the tools that have been converted already."""
        self._pool = pool
        self._own = own
        self._known = known
        return self

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of the call's arguments this target was not sent."""
        return self._warnings

    @property
    def _identifying_params(self) -> dict[str, Any]:
        known = super()._identifying_params
        return {**known, "own": dict(self._own)} if self._own else known

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: Any = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        bound = {"tool_choice": tool_choice, "strict": strict, **kwargs}
        bound = {name: value for name, value in bound.items() if value is not None}
        return self.bind(tools=self._known.of(tools, strict=strict).formatted, **bound)

    def _read(self, messages: list[BaseMessage], stop: list[str] | None, kwargs: Mapping[str, Any]) -> None:
        options = Options.of(kwargs, stop=stop)
        request, warnings = options.for_wire(options.request(messages, self._pool), self._attempt.target, self._own)
        self._warnings = tuple(warnings)
        self._attempt = replace(self._attempt, request=request)
