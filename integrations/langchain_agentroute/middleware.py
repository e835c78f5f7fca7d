"""RoutingMiddleware: routes each model call of an agent, from inside the agent's middleware."""

from __future__ import annotations

from contextlib import aclosing, closing
from dataclasses import replace
from functools import partial
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.runnables.config import get_async_callback_manager_for_config, get_callback_manager_for_config

from agentroute import AgentRouteError, ChatResponse, ConfigError, Router, StreamInterrupted
from agentroute.call import Call
from agentroute.decisions import Decision

from .chat_model import RoutedChatModel
from .context import DECISION_EVENT, constraints_of, context_of
from .handled_attempts import AsyncHandler, AsyncHandlerPerformer, HandledStep, Handler, HandlerPerformer, answer_of
from .messages import read_response
from .model_errors import model_error
from .options import Options
from .tool_sources import KnownTools

__all__ = ["RoutingMiddleware"]


class RoutingMiddleware(AgentMiddleware[Any, Any, Any]):
    """Sends each model call of a `create_agent` agent to the cheapest of its targets that will do it right.

    Give it a RoutedChatModel, to share its router, ledger and circuits, or the settings of one (`targets` or `router`,
    and so on). The agent's own model is not called. Middleware that changes the request for one provider
    comes after it in the list: there it sees the model that was chosen.

        routing = RoutingMiddleware(targets={"budget": ChatOpenAI(model="gpt-4.1-nano"), "premium": Target(...)})
        agent = create_agent(routing.model, tools=[...], middleware=[routing])

    Raises ConfigError for a wrong setting, and, for a call, what a RoutedChatModel raises.
    """

    def __init__(
        self,
        model: RoutedChatModel | None = None,
        **settings: Any,
    ) -> None:
        given = {name: value for name, value in settings.items() if value is not None}
        if model is not None:
            if not isinstance(model, RoutedChatModel):
                raise ConfigError(f"`model` is a {type(model).__name__}; give a RoutedChatModel, or `targets`")
            if given:
                raise ConfigError(f"a RoutedChatModel has its own {', '.join(given)}; give one or the other")
        self.model = RoutedChatModel(**given) if model is None else model
        """The same pool as a chat model: for the agent's `model`, and for a middleware that asks a model of its own."""

    @property
    def router(self) -> Router:
        """Who decides; its `ledger` has every decision."""
        return self.model.router

    def wrap_model_call(self, request: ModelRequest[Any], handler: Handler) -> ModelResponse[Any]:
        config = ensure_config()
        step = HandledStep(self.model, request, self._settings(request))
        payloads: list[Any] = []
        error: BaseException | None = None
        try:
            call = self._prepare(step, config)
        except AgentRouteError as raised:
            error = _raised(raised, payloads)
        if error is not None:
            raise error
        _tell(config, call.decision)
        try:
            with closing(call.run(HandlerPerformer(step, handler))) as answer:
                payloads.extend(answer)
        except AgentRouteError as raised:
            error = _raised(raised, payloads)
        call.answered(partial(_answer, payloads))
        _tell(config, call.decision)
        if error is not None:
            raise error
        return _decided(payloads[-1], call.decision)

    async def awrap_model_call(self, request: ModelRequest[Any], handler: AsyncHandler) -> ModelResponse[Any]:
        config = ensure_config()
        step = HandledStep(self.model, request, self._settings(request))
        payloads: list[Any] = []
        error: BaseException | None = None
        try:
            call = self._prepare(step, config)
        except AgentRouteError as raised:
            error = _raised(raised, payloads)
        if error is not None:
            raise error
        await _atell(config, call.decision)
        try:
            async with aclosing(call.arun(AsyncHandlerPerformer(step, handler))) as answer:
                async for payload in answer:
                    payloads.append(payload)
        except AgentRouteError as raised:
            error = _raised(raised, payloads)
        call.answered(partial(_answer, payloads))
        await _atell(config, call.decision)
        if error is not None:
            raise error
        return _decided(payloads[-1], call.decision)

    def _settings(self, request: ModelRequest[Any]) -> dict[str, Any]:
        """The call's arguments for any target; `model` is a pin, and none of them."""
        routed = self.model
        defaults = {"temperature": routed.temperature, "max_tokens": routed.max_tokens, "stop": routed.stop}
        settings = {name: value for name, value in defaults.items() if value is not None} | request.model_settings
        settings.pop("model", None)
        return settings

    def _prepare(self, step: HandledStep, config: RunnableConfig) -> Call:
        request, system = step.request, step.request.system_message
        messages = [*([] if system is None else [system]), *request.messages]
        arguments = {
            **step.settings,
            **_bound(request, self.model.known_tools),
            "model": request.model_settings.get("model"),
        }
        stop = arguments.pop("stop", None)
        return self.router.prepare(
            Options.of(arguments, stop=stop).request(messages, self.router.pool),
            context=context_of(config, messages),
            constraints=constraints_of(config, self.model.constraints()),
            stream=False,
        )


def _bound(request: ModelRequest[Any], known: KnownTools) -> dict[str, Any]:
    """Tools and schema as the router sees them, before anybody knows how the chosen target will be asked for them."""
    tools: list[Any] = list(request.tools)
    choice = request.tool_choice
    wanted = request.response_format
    bound: dict[str, Any] = {}
    if isinstance(wanted, ProviderStrategy):
        bound |= wanted.to_model_kwargs()
    elif wanted is not None:
        # Without a strategy the agent picks one for each target; any that calls tools can be asked by a tool.
        by_tool = (
            wanted
            if isinstance(wanted, ToolStrategy)
            else ToolStrategy(wanted.schema if isinstance(wanted, AutoStrategy) else wanted)
        )
        tools += [
            {"name": spec.name, "description": spec.description, "parameters": spec.json_schema}
            for spec in by_tool.schema_specs
        ]
        choice = "any"
    if tools:
        given = known.of(tools)
        bound |= {"tools": given.formatted, "agentroute_tools": given}
    if choice is not None:
        bound["tool_choice"] = choice
    return bound


def _decided(response: ModelResponse[Any], decision: Decision) -> ModelResponse[Any]:
    """The response with the decision in its answer, all else as it was."""
    message = answer_of(response)
    if message is None:
        return response
    metadata = {**message.response_metadata, "agentroute": decision.to_dict()}
    told = message.model_copy(update={"response_metadata": metadata})
    return replace(response, result=[told if each is message else each for each in response.result])


def _answer(payloads: list[Any]) -> ChatResponse | None:
    message = answer_of(payloads[-1]) if payloads else None
    return None if message is None else read_response([message])


def _raised(error: AgentRouteError, payloads: list[Any]) -> BaseException:
    if isinstance(error, StreamInterrupted) and error.partial is None:
        error.partial = read_response([payload for payload in payloads if isinstance(payload, AIMessage)])
    return model_error(error)


def _tell(config: RunnableConfig, decision: Decision) -> None:
    """Tells interfaces of the decision, when it is taken and again when it is complete, as a RoutedChatModel does."""
    manager = get_callback_manager_for_config(config)
    if manager.parent_run_id is not None and any(not handler.ignore_custom_event for handler in manager.handlers):
        manager.on_custom_event(DECISION_EVENT, decision.to_dict(), run_id=manager.parent_run_id)


async def _atell(config: RunnableConfig, decision: Decision) -> None:
    """`_tell` on an event loop."""
    manager = get_async_callback_manager_for_config(config)
    if manager.parent_run_id is not None and any(not handler.ignore_custom_event for handler in manager.handlers):
        await manager.on_custom_event(DECISION_EVENT, decision.to_dict(), run_id=manager.parent_run_id)
