"""Which targets a RoutedLLM was given: ours, ready LlamaIndex models, and what is known of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llama_index.core.base.llms.types import LLMMetadata
from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW
from llama_index.core.llms import LLM
from llama_index.core.llms.function_calling import FunctionCallingLLM

from agentroute import Capabilities, ConfigError, Price, Target, Tier
from agentroute.native.loops import close_on_this_loop, on_every_loop
from agentroute.native.processes import in_every_process
from agentroute.native.targets import NATIVE, NativeTarget

__all__ = ["close_connections", "native", "pool_metadata"]

_HOME = "llama_index.llms."

_PROVIDERS = {
    "azure_openai": "azure",
    "bedrock_converse": "aws",
    "gemini": "google",
    "google_genai": "google",
    "mistralai": "mistral",
    "vertex": "google",
}
"""The packages of LlamaIndex's integrations where the catalog knows the provider by another name."""

_OWN_CLIENTS = ("SyncHttpxClientWrapper", "AsyncHttpxClientWrapper")
"""What the SDKs of OpenAI and Anthropic call the one they make where they are given none."""

_CLIENTS = ("_client", "_aclient", "_async_client")
_GIVEN = {"_client": "_get_client", "_aclient": "_get_aclient"}


def native(
    model: LLM, *, name: str | None = None, tier: str | Tier | None = None, price: Price | None = None
) -> NativeTarget[LLM]:
    """A ready LlamaIndex model as a target. It is called through its public methods, with its own retries off.

    The provider is its integration's package (`llama_index.llms.<provider>`), the model and the context window are what
    its `metadata` says; the catalog fills in price and tier. `name` defaults to the model's, `price` is USD per million
    tokens. Raises ConfigError for what is no LLM.
    """
    if not isinstance(model, LLM):
        raise ConfigError(f"a target is a {type(model).__name__}; give an agentroute Target or a LlamaIndex LLM")
    said = model.metadata
    target = Target(
        name=name,
        provider=_provider(type(model)),
        model=said.model_name,
        tier=tier,
        price=price,
        context_window=said.context_window if said.context_window not in (-1, DEFAULT_CONTEXT_WINDOW) else None,
        capabilities=Capabilities(tools=isinstance(model, FunctionCallingLLM) and said.is_function_calling_model),
        dialect=NATIVE,
    )
    return NativeTarget(_prepared(model), target)


def _provider(kind: type[LLM]) -> str:
    module = next((cls.__module__ for cls in kind.__mro__ if cls.__module__.startswith(_HOME)), None)
    if module is None:
        return kind.__name__
    package = module.removeprefix(_HOME).split(".")[0]
    return _PROVIDERS.get(package, package)


def _prepared(model: LLM) -> LLM:
    """A copy that does not retry by itself, where the model can be told so: retries belong to the chain alone.

    Some clients are built when the model is, others when first used; both remember the number of retries. An SDK's own
    client also gets connections for each event loop (without its retries each second loop would fail) or, if it is
    synchronous, for each process.
    """
    if "max_retries" not in type(model).model_fields:
        return model
    copy: Any = model.model_copy(update={"max_retries": 0})
    for name in _CLIENTS:
        client: Any = getattr(copy, name, None)
        if client is None and name in _GIVEN and getattr(copy, "reuse_client", False):
            client = getattr(copy, _GIVEN[name])()
        if client is None or not hasattr(client, "with_options"):
            continue
        client = client.with_options(max_retries=0)
        if _is_its_own(client):
            client = in_every_process(client) if name == "_client" else on_every_loop(client)
        setattr(copy, name, client)
    return copy  # type: ignore[no-any-return]


def _is_its_own(client: Any) -> bool:
    """Whether this SDK client sends with the HTTP client that it made for itself, and with none of the user's."""
    return type(getattr(client, "_client", None)).__name__ in _OWN_CLIENTS


async def close_connections(model: LLM) -> None:
    """Closes what a native model's clients keep open on this event loop, where they have connections for each."""
    for name in _CLIENTS:
        await close_on_this_loop(getattr(model, name, None))


def pool_metadata(pool: Iterable[Target], models: Mapping[str, LLM], max_tokens: int | None) -> LLMMetadata:
    """What LlamaIndex is told of the pool as a whole: the largest window known, for prompts that fit no other target go
    to that one. A minimum would make `compact` split texts to nothing.
    """
    targets = tuple(pool)
    windows = [target.context_window for target in targets if target.context_window is not None]
    unknown = [target.name for target in targets if target.context_window is None]
    windows += [models[name].metadata.context_window for name in unknown if name in models]
    return LLMMetadata(
        context_window=max(windows, default=DEFAULT_CONTEXT_WINDOW),
        num_output=-1 if max_tokens is None else max_tokens,
        is_chat_model=True,
        is_function_calling_model=any(target.capabilities.tools is not False for target in targets),
        model_name="agentroute",
    )
