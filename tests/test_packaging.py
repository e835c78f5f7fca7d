"""What is shipped: the folders at the top, the names exported, a light import, and no file that would break others."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import agentroute

ROOT = Path(__file__).resolve().parent.parent
TOP = {
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "Makefile",
    "agentroute",
    "integrations",
    "examples",
    "tests",
    "evals",
    "docs",
}
PROMISED = (
    "Router Target Tier Pool ChatRequest ChatResponse StepContext Constraints Decision Candidate Dropped Attempt Usage "
    "AgentRouteError ConfigError NoCandidateError ProviderError RateLimited QuotaExhausted Overloaded ProviderTimeout "
    "ConnectionFailed BadResponse AuthenticationFailed ModelNotFound InvalidRequest ContentFiltered ContextTooLong "
    "Unsupported StreamInterrupted AllAttemptsFailed Timeouts"
).split()


def test_the_top_level_is_what_it_should_be() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    tops = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert {top for top in tops if not top.startswith(".")} == TOP


def test_no_package_file_stands_in_a_namespace_of_others() -> None:
    assert not (ROOT / "integrations" / "__init__.py").exists()
    for name in ("langchain", "langgraph", "crewai", "llama_index"):
        assert not (ROOT / "integrations" / name / "__init__.py").exists()
    assert not (ROOT / "integrations" / "llama_index" / "llms" / "__init__.py").exists()


def test_every_shipped_package_is_there_and_typed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for package in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        # LlamaIndex's own folders are not ours to make packages of: what we ship stands two below.
        inner = f"{package}/llms/agentroute" if package == "integrations/llama_index" else package
        assert (ROOT / inner / "__init__.py").exists()
        assert (ROOT / inner / "py.typed").exists()


def test_the_promised_names_are_exported() -> None:
    assert set(PROMISED) <= set(agentroute.__all__)
    for name in agentroute.__all__:
        assert getattr(agentroute, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Rooter'"):
        agentroute.Rooter  # noqa: B018


def test_importing_is_light_and_quiet() -> None:
    heavy = (
        "asyncio",
        "httpx2",
        "httpcore2",
        "pydantic",
        "genai_prices",
        "rich",
        "typer",
        "numpy",
        "langchain_core",
        "ssl",
        "socket",
    )
    code = f"import sys, agentroute; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_deciding_loads_no_client() -> None:
    code = (
        "import sys\nfrom agentroute import ChatRequest, Router, Target\n"
        "router = Router(targets=[Target(provider='ollama', model='m', tier='mid')])\n"
        "router.route(ChatRequest.from_openai({'messages': [{'role': 'user', 'content': 'hi'}]}))\n"
        "print([name for name in ('httpx2', 'httpcore2', 'rich', 'typer', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_examples_in_docstrings_run() -> None:
    attempted = 0
    for module in pkgutil.walk_packages(agentroute.__path__, "agentroute."):
        if module.name.startswith("agentroute.testing"):
            continue
        result = doctest.testmod(importlib.import_module(module.name))
        assert result.failed == 0, module.name
        attempted += result.attempted
    attempted += doctest.testmod(agentroute).attempted
    assert attempted >= 8


def test_what_the_package_imports_is_what_it_declares() -> None:
    """A package that another one happens to bring along today may be gone tomorrow, and then no command starts."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    base, gateway = (
        {re.split(r"[\[<>=; ]", each, maxsplit=1)[0].replace("-", "_") for each in requirements}
        for requirements in (project["dependencies"], extras["gateway"])
    )
    undeclared = {
        (str(path.relative_to(ROOT)), name)
        for path in sorted((ROOT / "agentroute").rglob("*.py"))
        for name in _imported(ast.parse(path.read_text(encoding="utf-8")))
        if name not in sys.stdlib_module_names
        and name not in {"agentroute", *base, *(gateway if _needs_gateway(path) else ())}
    }
    assert not undeclared


def _needs_gateway(path: Path) -> bool:
    return "gateway" in path.parts or path.name == "llhttp.py"


def _imported(tree: ast.Module) -> set[str]:
    """The roots of what is imported as soon as the file is."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module is not None:
            found.add(node.module.split(".")[0])
    return found
