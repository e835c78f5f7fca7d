"""Fifty runs in a process of its own, with every warning an error: on temporary loops, in threads, given up halfway.

`python -X dev -W error runs.py` prints what is left at the end: sockets, threads and, on stderr, warnings.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from llama_index.core import VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.async_utils import asyncio_run
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.evaluation import FaithfulnessEvaluator
from llama_index.core.schema import TextNode
from llama_index.llms.agentroute import RoutedLLM
from llama_index.llms.openai import OpenAI

from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

# LlamaIndex's workflows touch attributes that Pydantic has deprecated, whatever LLM they have.
warnings.filterwarnings("ignore", message=r".*`__fields(_set)?__` attribute is deprecated")
warnings.filterwarnings("ignore", message=r"Accessing the 'model_(computed_)?fields' attribute on the instance")

# How long a step of a loop takes is no property of the code.
logging.getLogger("asyncio").addFilter(lambda record: not record.getMessage().startswith("Executing <"))

HELLO = [ChatMessage(content="hello")]


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"{city}: 21 degrees"


def script(request: Any) -> ScriptedReply:
    if request.tools and not request.messages[-1].tool_results:
        return ScriptedReply(tool_calls=(tool_call("weather", city="Lisbon"),))
    return ScriptedReply("YES, at the mouth of the Tagus, as it has been for a very long time.")


async def agent(llm: RoutedLLM) -> None:
    assert "Tagus" in str(await FunctionAgent(tools=[weather], llm=llm).run("Where?"))


async def gathered(llm: RoutedLLM) -> None:
    await asyncio.gather(*(llm.achat(HELLO) for _ in range(3)))


async def given_up(llm: RoutedLLM) -> None:
    stream = await llm.astream_chat(HELLO)
    await anext(stream)
    await stream.aclose()


async def cancelled(llm: RoutedLLM) -> None:
    task = asyncio.create_task(llm.achat(HELLO))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


async def plain_calls_on_a_loop(llm: RoutedLLM) -> None:
    """What LlamaIndex runs in a thread, on a loop that it closes without ado."""
    asyncio_run(gathered(llm))
    if not llm.models:  # OpenAI's SDK leaves a stream that is given up to the collector, which comes too late here.
        asyncio_run(given_up(llm))
    FaithfulnessEvaluator(llm=llm).evaluate(query="?", response="Yes.", contexts=["Yes."])


def in_a_thread(llm: RoutedLLM) -> None:
    asyncio_run(llm.achat(HELLO))
    index = VectorStoreIndex([TextNode(text="Lisbon lies at the Tagus.")], embed_model=MockEmbedding(8))
    assert "Tagus" in str(index.as_query_engine(llm=llm).query("Where?"))
    for chunk in llm.stream_chat(HELLO):
        if chunk.delta:
            break


def fifty(server: ScriptedProvider, llm: RoutedLLM) -> None:
    with ThreadPoolExecutor(max_workers=4) as threads:
        for number in range(10):
            for run in (agent, gathered, given_up, cancelled, plain_calls_on_a_loop):
                asyncio.run(run(llm.for_agent(f"agent {number}")))
            threads.submit(in_a_thread, llm).result()
    assert len(server.requests) >= 100


def main() -> None:
    before = threading.active_count()
    with ScriptedProvider(script, provider="openai") as server:
        if sys.argv[1:] == ["native"]:
            client = httpx.Client()
            own = OpenAI("gpt-4.1-nano", api_base=server.base_url, api_key=server.api_key, http_client=client)
            fifty(server, RoutedLLM(targets=[own]))
            client.close()
        else:
            llm = RoutedLLM(targets=[server.target(name="small", model="gpt-4.1-nano"), server.target(model="gpt-4.1")])
            fifty(server, llm)
            llm.router.close()
    gc.collect()
    sockets = [item for item in gc.get_objects() if isinstance(item, socket.socket) and item.fileno() != -1]
    sys.stdout.write(f"{len(sockets)} sockets, {threading.active_count() - before} threads left\n")


if __name__ == "__main__":
    main()
