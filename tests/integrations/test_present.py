"""All three frameworks are here, so that the other files of this folder are not left out unseen."""

from __future__ import annotations

import pytest


@pytest.mark.requires("langchain", "crewai", "llama_index")
def test_all_three_are_here() -> None:
    import crewai
    import langchain
    import llama_index.core

    assert all((crewai.__version__, langchain.__version__, llama_index.core.__version__))
