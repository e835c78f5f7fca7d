"""Which targets a RoutedChatModel was given: ours, ready LangChain models, and the names and tiers they go by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, cast

from langchain_core.language_models import BaseChatModel, ModelProfile
from pydantic import SecretStr

from agentroute import ConfigError, Pool, Price, Secret, Target, Tier
from agentroute.native.loops import on_every_loop
from agentroute.native.processes import in_every_process
from agentroute.native.targets import NATIVE, NativeTarget

__all__ = ["native", "pool_profile", "with_key"]

_PROVIDERS = {
    "amazon_bedrock": "aws",
    "anthropic_bedrock": "aws",
    "google_genai": "google",
    "google_vertexai": "google",
    "mistralai": "mistral",
}
"""LangChain's `ls_provider` where the catalog knows the provider by another name."""


def native(
    model: BaseChatModel, *, name: str | None = None, tier: str | Tier | None = None, price: Price | None = None
) -> NativeTarget[BaseChatModel]:
    """A ready LangChain chat model as a target. It is called through its public API, with its own retries off.

    Provider and model are what it tells its traces (`ls_provider`, `ls_model_name`); the catalog fills in price and
    tier from them. `name` defaults to the model's, `price` is USD per million tokens.
    """
    if not isinstance(model, BaseChatModel):
        raise ConfigError(
            f"a target is a {type(model).__name__}; give a chat model itself (bound arguments go into `target_kwargs`)"
        )
    params = model._get_ls_params()
    provider = str(params.get("ls_provider") or type(model).__name__)
    target = Target(
        name=name,
        provider=_PROVIDERS.get(provider, provider),
        model=str(params.get("ls_model_name") or type(model).__name__),
        tier=tier,
        price=price,
        dialect=NATIVE,
    )
    return NativeTarget(_prepared(model), target)


def _prepared(model: BaseChatModel) -> BaseChatModel:
    """A copy that does not retry by itself, if the model can be told so: the failover flow alone retries.

    The copy asks for the usage of a stream if the user left that open (langchain-openai asks only at OpenAI's own
    address). If the model was given no HTTP client or proxy of one's own, it has connections for each event loop and
    process.
    OpenAI's clients are built when the model is, Anthropic's when first used; both remember the number of retries.
    """
    fields = type(model).model_fields
    update: dict[str, Any] = {"max_retries": 0} if "max_retries" in fields else {}
    if "stream_usage" in fields and getattr(model, "stream_usage", False) is None:
        update["stream_usage"] = True
    if not update:
        return model
    copy = model.model_copy(update=update)
    if "max_retries" not in fields:
        return copy
    for name in ("_client", "_async_client"):
        copy.__dict__.pop(name, None)
    for root, resource in (("root_client", "client"), ("root_async_client", "async_client")):
        client = getattr(copy, root, None)
        if client is not None:
            client = client.with_options(max_retries=0)
            if root == "root_async_client" and getattr(copy, "http_async_client", None) is None:
                client = on_every_loop(client)
            if root == "root_client" and getattr(copy, "http_client", None) is None:
                client = in_every_process(client)
            setattr(copy, root, client)
            setattr(copy, resource, client.chat.completions)
    if hasattr(type(copy), "_async_client") and getattr(copy, "anthropic_proxy", None) is None:
        copy.__dict__["_async_client"] = on_every_loop(cast("Any", copy)._async_client)
        copy.__dict__["_client"] = in_every_process(cast("Any", copy)._client)
    return copy


def with_key(targets: Any, api_key: str | SecretStr | None) -> Any:
    """The targets, of which ours without a key have this one. Raises ConfigError if those are of several providers: a
    key must not go to another one."""
    if api_key is None:
        return targets
    key = Secret(api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key)

    def has_none(value: Any) -> bool:
        if not isinstance(value, Target) or value.dialect == NATIVE or value.api_key is not None:
            return False
        return not any(usual.present for usual in value.usual_keys)

    values = list(targets.values() if isinstance(targets, Mapping) else targets or ())
    providers = sorted({value.provider for value in values if has_none(value)})
    if len(providers) > 1:
        raise ConfigError(f"`api_key` would go to {' and '.join(providers)}; give each target its own")
    if isinstance(targets, Mapping):
        return {name: replace(value, api_key=key) if has_none(value) else value for name, value in targets.items()}
    return [replace(value, api_key=key) if has_none(value) else value for value in values] if targets else targets


def pool_profile(pool: Pool, models: Mapping[str, BaseChatModel]) -> ModelProfile:
    """What every target of the pool can do: the least number, and only what all of them say they can.

    `structured_output` decides how `create_agent` asks for a schema, `max_input_tokens` when it summarises: that
    is there for every pool, and 128,000 for a model whose window nobody knows.
    """
    profiles = [_native_profile(t, models[t.name]) if t.name in models else _wire_profile(t) for t in pool]
    shared = set(profiles[0]).intersection(*profiles[1:])
    merged: dict[str, Any] = {}
    for key in sorted(shared):
        values = [profile[key] for profile in profiles]  # type: ignore[literal-required]
        if all(isinstance(value, bool) for value in values):
            merged[key] = all(values)
        elif all(isinstance(value, int) for value in values):
            merged[key] = min(values)
    return cast("ModelProfile", merged)


def _native_profile(target: Target, model: BaseChatModel) -> ModelProfile:
    """What the model says of itself; its limits from the catalog where it, older than the provider's model, does not.

    What it can do is left to itself: the provider may offer what the installed integration cannot ask for.
    """
    limits = {k: v for k, v in _wire_profile(target).items() if k in ("max_input_tokens", "max_output_tokens")}
    return cast("ModelProfile", {**limits, **(model.profile or {})})


_WINDOW: Final = 128_000
"""Tokens, where nobody knows a window: 34 of the 36 that the catalog knows are at least that (2026-11), and CrewAI's
integration reckons with the same."""


def _wire_profile(target: Target) -> ModelProfile:
    known = {
        "max_input_tokens": target.context_window or _WINDOW,
        "max_output_tokens": target.max_output_tokens,
        "tool_calling": target.capabilities.tools,
        "image_inputs": target.capabilities.vision,
        "pdf_inputs": target.capabilities.documents,
        "audio_inputs": target.capabilities.audio,
        "structured_output": target.capabilities.structured_output,
        "reasoning_output": target.capabilities.reasoning,
    }
    return cast("ModelProfile", {key: value for key, value in known.items() if value is not None})
