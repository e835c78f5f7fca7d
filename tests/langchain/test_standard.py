"""LangChain's own suite for chat models, on our own transport and on its models, OpenAI or Anthropic first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar, Literal

import pytest
import pytest_asyncio
from langchain_agentroute import RoutedChatModel
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from .standard_server import COUNTED, MODELS, Kind, Provider, Running, running

# LangChain's own models keep their asynchronous clients for the whole process, so one loop has to serve them all. Two
# warnings are theirs too: of a schema they parse, and of one that is old.
pytestmark = [
    pytest.mark.requires("langchain", "langchain_openai", "langchain_anthropic"),
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.filterwarnings("ignore:The test .* is marked with '@pytest.mark.asyncio' but it is not an async"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),
    pytest.mark.filterwarnings("ignore:Received a Pydantic BaseModel V1 schema:UserWarning"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pools() -> AsyncIterator[Mapping[tuple[Kind, Provider], Running]]:
    async with running() as found:
        yield found


class Combination:
    kind: ClassVar[Kind]
    first: ClassVar[Provider]
    pool: ClassVar[Running]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _pool(cls, pools: Mapping[tuple[Kind, Provider], Running]) -> None:
        cls.pool = pools[cls.kind, cls.first]

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return RoutedChatModel

    @property
    def model_override_value(self) -> str:
        """The model that is not tried first: a model's name pins its target."""
        return MODELS["anthropic" if self.first == "openai" else "openai"]["premium"]

    @property
    def supports_json_mode(self) -> bool:
        """ChatAnthropic has no such mode, and warns of it."""
        return self.kind == "wire" or self.first == "openai"

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True


class Units(Combination):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"targets": self.pool.targets}


class Calls(Combination):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        """One router for all models that a test makes, whose connections are closed in the end."""
        return {"router": self.pool.router}

    @property
    def supported_usage_metadata_details(self) -> dict[Literal["invoke", "stream"], list[Any]]:
        """Anthropic does not count reasoning; ChatOpenAI does not say what was written into a cache."""
        other = "reasoning_output" if self.first == "openai" else "cache_creation_input"
        return {"invoke": ["cache_read_input", other], "stream": ["cache_read_input", other]}

    def _counted(self, *, stream: bool) -> AIMessage:
        model = self.chat_model_class(**self.chat_model_params)
        said = add_ai_message_chunks(*model.stream(COUNTED)) if stream else model.invoke(COUNTED)
        assert said.usage_metadata is not None
        assert (said.usage_metadata["input_tokens"], said.usage_metadata["output_tokens"]) == (20, 12)
        return said

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        return self._counted(stream=stream)

    def invoke_with_cache_creation_input(self, *, stream: bool = False) -> AIMessage:
        return self._counted(stream=stream)

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        return self._counted(stream=stream)


class TestUnitsWireOpenAI(Units, ChatModelUnitTests):
    kind = "wire"
    first = "openai"


class TestUnitsWireAnthropic(Units, ChatModelUnitTests):
    kind = "wire"
    first = "anthropic"


class TestUnitsNativeOpenAI(Units, ChatModelUnitTests):
    kind = "native"
    first = "openai"


class TestUnitsNativeAnthropic(Units, ChatModelUnitTests):
    kind = "native"
    first = "anthropic"


class TestCallsWireOpenAI(Calls, ChatModelIntegrationTests):
    kind = "wire"
    first = "openai"


class TestCallsWireAnthropic(Calls, ChatModelIntegrationTests):
    kind = "wire"
    first = "anthropic"


class TestCallsNativeOpenAI(Calls, ChatModelIntegrationTests):
    kind = "native"
    first = "openai"


class TestCallsNativeAnthropic(Calls, ChatModelIntegrationTests):
    kind = "native"
    first = "anthropic"
