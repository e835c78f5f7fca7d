"""The pool that commands use: a config file's, or a documented example that needs no key to decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentroute.catalog.example import EXAMPLE_POOL, example_targets

__all__ = ["EXAMPLE_POOL", "pool_options"]


def pool_options(config: Path | None) -> dict[str, Any]:
    """The arguments of a Router: from the config file, else the example pool."""
    if config is None:
        return {"targets": example_targets()}
    from agentroute.config import load

    return load(config)
