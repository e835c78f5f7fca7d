"""The three kinds of pool that every behaviour is tested on, and a handler that notes every run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
from langchain_agentroute import native
from langchain_core.callbacks import BaseCallbackHandler
from langchain_openai import ChatOpenAI

from agentroute.testing import ScriptedProvider

SMALL, STRONG = "gpt-4.1-nano", "gpt-4.1"
POOLS = ("wire", "native", "mixed")

Pool = dict[str, Any]


def chat_openai(base_url: str, model: str, api_key: str) -> ChatOpenAI:
    """ChatOpenAI whose asynchronous connections end with their answers.

    Its own client is kept for the whole process, and its sockets outlive the event loops that opened them
    (langchain-ai/langchain#35783), so that some later test would be warned of them.
    """
    return ChatOpenAI(
        model=model,
        base_url=base_url,
        api_key=api_key,
        stream_usage=True,
        http_async_client=httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=0)),
    )


def ready(provider: ScriptedProvider, model: str) -> ChatOpenAI:
    return chat_openai(provider.base_url, model, provider.api_key)


def pool(kind: str, small: ScriptedProvider, strong: ScriptedProvider | None = None) -> Pool:
    """`small` is tried first, `strong` after it; both on one server unless two are given."""
    strong = strong or small

    def wire(provider: ScriptedProvider, model: str) -> Any:
        return provider.target(model=model)

    make: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
        "wire": (wire, wire),
        "native": (lambda p, m: native(ready(p, m)), lambda p, m: native(ready(p, m))),
        "mixed": (wire, lambda p, m: native(ready(p, m))),
    }
    first, second = make[kind]
    return {"small": first(small, SMALL), "strong": second(strong, STRONG)}


class Runs(BaseCallbackHandler):
    """Every run in order: kind, name, metadata, parent, and how it ended."""

    run_inline = True

    def __init__(self) -> None:
        self.runs: dict[UUID, dict[str, Any]] = {}

    def _start(self, kind: str, run_id: UUID, parent_run_id: UUID | None, **facts: Any) -> None:
        self.runs[run_id] = {"kind": kind, "parent": parent_run_id, "end": None, **facts}

    def on_chat_model_start(self, serialized: Any, messages: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._start("llm", run_id, kwargs["parent_run_id"], metadata=kwargs["metadata"], kwargs=kwargs)

    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._start("chain", run_id, kwargs["parent_run_id"], metadata=kwargs["metadata"], name=kwargs.get("name"))

    def on_llm_end(self, response: Any, *, run_id: UUID, **_: Any) -> None:
        self.runs[run_id]["end"] = "ok"

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **_: Any) -> None:
        self.runs[run_id]["end"] = "ok"

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self.runs[run_id]["end"] = type(error).__name__

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self.runs[run_id]["end"] = type(error).__name__

    @property
    def llm(self) -> list[dict[str, Any]]:
        return [run for run in self.runs.values() if run["kind"] == "llm"]

    def named(self, name: str) -> list[dict[str, Any]]:
        return [run for run in self.runs.values() if run.get("name") == name]

    def parent_of(self, run: dict[str, Any]) -> dict[str, Any]:
        return self.runs[run["parent"]]
