"""Says aloud where LangChain is missing and the other tests of this folder were not collected."""

import importlib.util

import pytest


@pytest.mark.requires("langchain", "langchain_openai", "langchain_anthropic")
def test_the_tests_of_this_folder_were_collected() -> None:
    assert importlib.util.find_spec("langchain_agentroute") is not None
