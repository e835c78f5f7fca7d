"""LangChain's own unit suite for chat models."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_agentroute import RoutedChatModel
from langchain_core.language_models import BaseChatModel
from langchain_tests.unit_tests import ChatModelUnitTests

from agentroute import Target

pytestmark = pytest.mark.requires("langchain", "langchain_openai")


class TestRoutedChatModel(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return RoutedChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"targets": [Target(provider="openai", model="gpt-4.1-nano", api_key="sk-test")]}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        """Keys, time limits and retries belong to the targets and the router, so there is nowhere to give them."""
        return {"temperature": 0, "max_tokens": 100, "stop": []}
