"""The pool that commands use: a config file's, or a documented example that needs no key to decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentroute.catalog.example import EXAMPLE_POOL, example_targets

__all__ = ["EXAMPLE_POOL", "pool_options"]


def pool_options(config: Path | None, strategy: str | None = None) -> dict[str, Any]:
    """The arguments of a Router: from the config file, else the example pool; `strategy` (None: the file's) goes first.

    Whether it is one is for the Router to say. The file's ledger is left out: a command that makes no call writes none.
    """
    options: dict[str, Any]
    if config is None:
        options = {"targets": example_targets()}
    else:
        from agentroute.config import load

        options = {name: value for name, value in load(config).items() if name != "ledger"}
    return options if strategy is None else {**options, "strategy": strategy}
