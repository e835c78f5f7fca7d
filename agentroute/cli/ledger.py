"""The ledger that commands use where none is named: in the user's data directory."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

__all__ = ["VARIABLE", "ledger_path"]

VARIABLE = "AGENTROUTE_LEDGER"


def ledger_path(named: Path | None = None) -> Path:
    """The one named on the command line, else in the environment, else `ledger.db` in the user's data directory."""
    if named is not None:
        return named
    from_environment = os.environ.get(VARIABLE)
    if from_environment:
        return Path(from_environment).expanduser()
    return Path(platformdirs.user_data_dir("agentroute", appauthor=False)) / "ledger.db"
