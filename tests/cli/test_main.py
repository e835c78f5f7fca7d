"""The ways into the command line: `python -m agentroute`, any encoding, shell completion."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from agentroute.cli import app


def run(*arguments: str, **variables: str) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "agentroute", *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        check=False,
        timeout=120,
    )


def test_python_m_agentroute_is_the_command() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, b"agentroute")
    failed = run("check", "/nowhere.toml")
    assert failed.returncode == 1
    assert failed.stderr.startswith(b"agentroute: the config '/nowhere.toml' cannot be read")
    assert b"Traceback" not in failed.stderr


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("demo",), marks=pytest.mark.requires("langchain")),
        ("models",),
        ("models", "--table"),
        ("route", "Wie geht es dir? \u4f60\u597d \u2588"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_every_encoding_of_the_output_will_do(arguments: tuple[str, ...], encoding: str) -> None:
    done = run(*arguments, PYTHONIOENCODING=encoding, COLUMNS="80")
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode(encoding)


@pytest.mark.requires("langchain")
def test_the_demo_has_other_signs_where_there_are_no_blocks() -> None:
    shown = run("demo", PYTHONIOENCODING="ascii").stdout.decode("ascii")
    assert "##" in shown
    assert "?" not in shown.split("spent")[1]


def test_completion_can_be_installed() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100"}).stdout
    assert "--install-completion" in shown
    done = run(_AGENTROUTE_COMPLETE="complete_bash", COMP_WORDS="agentroute che", COMP_CWORD="1")
    assert b"check" in done.stdout or done.returncode == 0
