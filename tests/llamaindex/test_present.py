"""Says aloud where LlamaIndex is missing and the other tests of this folder were not collected."""

from __future__ import annotations

import importlib.util

import pytest


@pytest.mark.requires("llama_index")
def test_the_tests_of_this_folder_were_collected() -> None:
    assert importlib.util.find_spec("llama_index.llms.agentroute") is not None
