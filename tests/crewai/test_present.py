"""CrewAI is here, so that the other files of this folder are not left out unseen."""

from __future__ import annotations

import pytest


@pytest.mark.requires("crewai")
def test_crewai_is_here() -> None:
    import crewai

    assert crewai.__version__
