"""Every code block of README and docs runs, each page as one program, offline.

A block that cannot stands behind `<!-- not run: why -->`. TOML blocks are read as configuration; the first lies beside
the program; a `text` block after a Python block is a part of what that one prints; a `bash` block is a script.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from agentroute import Router

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "ACME_API_KEY", "OPENAI_API_KEY_2")

NO_NETWORK = """
import socket
_connect = socket.socket.connect
def _loopback(self, address):
    if self.family != socket.AF_UNIX and address[0] != "127.0.0.1":
        raise OSError(f"a page wants to connect to {address}")
    return _connect(self, address)
socket.socket.connect = _loopback
"""

CALL_TESTS = """
for _name, _test in list(globals().items()):
    if _name.startswith("test_"):
        _test()
"""

NEEDS = {
    "README.md": ("langchain",),  # its last command is the demo
    "crewai.md": ("crewai",),
    "langchain.md": ("langchain", "langchain_openai", "langchain_anthropic"),
    "llamaindex.md": ("llama_index",),
}

_WARNS = frozenset({"crewai.md", "llamaindex.md"})
"""The frameworks' own imports and workflows are warned of by Pydantic."""


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    language: str
    text: str
    line: int
    why_not_run: str | None


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^(?:<!-- not run: ([^\n]+) -->\n)?^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(m[2], m[3], text.count("\n", 0, m.start()) + 1, m[1]) for m in found]


def pages_with(*languages: str) -> list[object]:
    return [
        pytest.param(page, id=page.name, marks=pytest.mark.requires(*NEEDS.get(page.name, ())))
        for page in PAGES
        if any(block.language in languages and block.why_not_run is None for block in blocks_of(page))
    ]


def environment() -> dict[str, str]:
    quiet = {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false", "OTEL_SDK_DISABLED": "true"}
    bin_dir = str(Path(sys.executable).parent)
    known = {**os.environ, **quiet, **dict.fromkeys(KEYS, "sk-of-a-page")}
    path = os.pathsep.join([bin_dir, os.environ.get("PATH", "")])
    known |= {"AGENTROUTE_LEDGER": "ledger.db", "PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)}
    return known


def run(command: list[str], folder: Path) -> str:
    ran = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", timeout=300, cwd=folder, env=environment()
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return ran.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_says_what_it_is(page: Path) -> None:
    for block in blocks_of(page):
        known = block.language in ("python", "toml", "bash", "text", "mermaid", "json") or block.why_not_run
        assert known, f"{page.name}:{block.line} has a block of the language {block.language!r}, which no test runs"
    fences = re.findall(r"^```", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) == 2 * len(blocks_of(page)), f"{page.name} has a fence that is not read as a block"


@pytest.mark.parametrize("page", pages_with("toml"))
def test_the_configuration_of_a_page_is_read(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in KEYS:
        monkeypatch.setenv(key, "sk-of-a-page")
    asks = [{"text": f"Where is my parcel {number}?", "task": "tool_use"} for number in range(10)]
    (tmp_path / "examples.jsonl").write_text("\n".join(map(json.dumps, asks)), encoding="utf-8")
    for block in blocks_of(page):
        if block.language == "toml" and block.why_not_run is None:
            file = tmp_path / "agentroute.toml"
            # A page may show a part of a file.
            whole = block.text if "[[target]]" in block.text else f"{_ONE_TARGET}{block.text}"
            file.write_text(whole, encoding="utf-8")
            Router.from_config(file).close()


@pytest.mark.parametrize("page", pages_with("python", "bash"))
def test_a_page_runs(page: Path, tmp_path: Path) -> None:
    blocks = [block for block in blocks_of(page) if block.why_not_run is None]
    configured = next((block.text for block in blocks if block.language == "toml"), None)
    (tmp_path / "agentroute.toml").write_text(configured or _ONE_TARGET, encoding="utf-8")
    program = [NO_NETWORK, *(block.text for block in blocks if block.language == "python"), CALL_TESTS]
    strict = [] if page.name in _WARNS else ["-W", "error"]
    said = run([sys.executable, *strict, "-c", "\n".join(program)], tmp_path)
    for before, block in pairwise(blocks):
        if (before.language, block.language) == ("python", "text"):
            assert block.text in said
    for block in blocks:
        if block.language == "bash":
            run(["bash", "-euo", "pipefail", "-c", block.text], tmp_path)


_ONE_TARGET = """[[target]]
provider = "openai"
model = "gpt-6-luna"
"""
