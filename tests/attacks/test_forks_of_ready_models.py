"""Ready models of three frameworks in forked workers: each worker gets its own answers, and none waits for a lock."""

from __future__ import annotations

import json
import multiprocessing
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from .test_forks_and_answers import serving

KEY = "sk-test-0123456789"


def langchain(url: str) -> tuple[Any, Callable[[str], str]]:
    pytest.importorskip("langchain_openai")
    from langchain_agentroute import RoutedChatModel, native
    from langchain_openai import ChatOpenAI

    ready = ChatOpenAI(model="m", base_url=url, api_key=KEY)
    model = RoutedChatModel(targets=[native(ready, tier="mid")])
    return model, lambda text: str(model.invoke(text).content)


def langchain_anthropic(url: str) -> tuple[Any, Callable[[str], str]]:
    pytest.importorskip("langchain_anthropic")
    from langchain_agentroute import RoutedChatModel, native
    from langchain_anthropic import ChatAnthropic

    ready = ChatAnthropic(model_name="m", base_url=url, api_key=KEY, timeout=None, stop=None)
    model = RoutedChatModel(targets=[native(ready, tier="mid")])
    return model, lambda text: str(model.invoke(text).content)


def llamaindex(url: str) -> tuple[Any, Callable[[str], str]]:
    pytest.importorskip("llama_index.llms.openai")
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.agentroute import RoutedLLM, native
    from llama_index.llms.openai import OpenAI

    ready = OpenAI(model="gpt-4.1", api_base=url, api_key=KEY)
    llm = RoutedLLM(targets=[native(ready, tier="mid")])
    return llm, lambda text: str(llm.chat([ChatMessage(content=text)]).message.content)


def crewai(url: str) -> tuple[Any, Callable[[str], str]]:
    pytest.importorskip("crewai")
    from crewai import LLM
    from crewai_agentroute import RoutedLLM, native

    ready = LLM(model="openai/gpt-4.1", base_url=url, api_key=KEY)
    llm = RoutedLLM(targets=[native(ready, tier="mid")])
    return llm, lambda text: str(llm.call(text))


MAKERS = [langchain, langchain_anthropic, llamaindex, crewai]


def echo(connection: socket.socket, body: bytes, _: int) -> bool:
    asked = json.loads(body)
    content = asked["messages"][-1]["content"]
    text = content if isinstance(content, str) else content[-1]["text"]
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "input_tokens": 1, "output_tokens": 1}
    whole = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "type": "message",
        "role": "assistant",
        "model": "m",
        "stop_reason": "end_turn",
        "content": [{"type": "text", "text": text}],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": usage,
    }
    raw = json.dumps(whole).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(raw)
    connection.sendall(head + raw)
    return True


def _ask(ask: Callable[[str], str], name: str, wrong: Any) -> None:
    asked = [f"{name}-{number}" for number in range(8)]
    wrong.put([text for text in asked if ask(text) != text])


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_workers_of_a_warm_model_get_their_own_answers(make: Callable[[str], tuple[Any, Callable[[str], str]]]) -> None:
    with serving(echo) as url:
        model, ask = make(url)
        with closing(model.router):
            assert ask("warm") == "warm"
            context = multiprocessing.get_context("fork")
            wrong = context.Queue()
            workers = [context.Process(target=_ask, args=(ask, f"w{n}", wrong), daemon=True) for n in range(3)]
            for worker in workers:
                worker.start()
            assert [ask(f"parent-{n}") for n in range(8)] == [f"parent-{n}" for n in range(8)]
            assert [wrong.get(timeout=40) for _ in workers] == [[], [], []]
            for worker in workers:
                worker.join(30)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_crew_counts_though_its_parent_was_counting() -> None:
    with serving(echo) as url:
        model, ask = crewai(url)
        from crewai_agentroute.llm import _counting

        with closing(model.router):
            context = multiprocessing.get_context("fork")
            wrong = context.Queue()
            with _counting:
                worker = context.Process(target=_in_a_thread, args=(ask, wrong), daemon=True)
                worker.start()
            assert wrong.get(timeout=40) == []
            worker.join(30)


def _in_a_thread(ask: Callable[[str], str], wrong: Any) -> None:
    worker = threading.Thread(target=_ask, args=(ask, "child", wrong), daemon=True)
    worker.start()
    worker.join(30)
