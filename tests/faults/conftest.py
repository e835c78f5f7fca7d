"""Fixtures of the fault tests."""

from __future__ import annotations

import logging

import pytest


@pytest.fixture
def canaries(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The logs, at DEBUG, those of httpx2 and httpcore2 too."""
    for name in (None, "agentroute", "httpx2", "httpcore2", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog
