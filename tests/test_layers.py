"""Holds the floors of docs/architecture.md: a file imports only downward, or an earlier file of its own floor."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FLOORS: tuple[tuple[str, ...], ...] = (
    (
        "errors",
        "figures",
        "providers",
        "messages",
        "events",
        "targets",
        "decisions",
    ),
    ("catalog", "failover", "formats", "routing", "history", "native"),
    ("transport", "ledger", "recording"),
    ("config", "accounting", "call", "router"),
    ("replay", "learning", "testing", "gateway", "cli", "__main__"),
)
"""Within a floor the order counts, but for the top one, whose parts are independent."""

INSIDE: dict[str, tuple[str, ...]] = {
    "providers": ("keys", "network", "addresses"),
    "targets": ("model_rules", "prices"),
    "failover": ("forks", "stop", "effects", "drivers", "per_loop", "breaker", "rules", "refusals", "flow"),
    "formats": (
        "sse",
        "reading",
        "forms",
        "base",
        "headers",
        "wordings",
        "failures",
        "signatures",
        "reasoning",
        "foreign",
        "media",
        "names",
        "schemas",
        "content",
        "fitting",
        "openai_chat",
        "anthropic_messages",
        "gemini",
        "openai_responses",
    ),
    "routing": (
        "roles",
        "prefix",
        "tokens",
        "caches",
        "runs",
        "affinity",
        "cache_breaks",
        "reasoning_state",
        "frames",
        "actions",
        "verdicts",
        "statements",
        "evidence",
        "protocols",
        "ask",
        "kinds",
        "textstats",
        "sources",
        "step",
        "task",
        "rules",
        "learned",
        "classifier",
        "encoders",
        "examples",
        "economics",
        "strategy",
        "policies",
        "checks",
        "profiles",
        "trials",
        "selection",
    ),
    "learning": (
        "agreement",
        "bounds",
        "outcomes",
        "outcome_files",
        "trial",
        "calibrate",
        "policy_file",
        "tried",
        "samples",
        "shadow",
        "screening",
    ),
}
"""The order inside a room: a file imports only earlier ones."""

CONFINED = {
    "httpx2": {"transport"},
    "httpcore2": {"transport"},
    "httptools": {"transport"},
    "httpx": set(),
    "httpcore": set(),
    "pydantic": {"config"},
    "starlette": {"gateway"},
    "uvicorn": {"gateway"},
    "typer": {"cli"},
    "rich": {"cli"},
    "platformdirs": {"cli"},
    "genai_prices": {"catalog"},
    "jsonschema": {"routing"},
    "numpy": {"routing"},
    "safetensors": {"routing"},
    "tokenizers": {"routing"},
    "sentence_transformers": {"routing"},
    "langchain": set(),
    "langchain_core": set(),
    "langgraph": set(),
    "crewai": set(),
    "llama_index": set(),
}

DEFERRED_UPWARD = {("messages", "formats"): "ChatRequest.from_openai and .to_openai are a convenience"}
"""Imports inside a function that point up, each with its reason. Anything else fails, inside a function or not."""


def unit_of(module: str) -> str:
    """`routing` for agentroute.routing.step, `router` for agentroute.router: the name that FLOORS knows."""
    name = module.split(".")[0]
    if any(name in floor for floor in FLOORS):
        return name
    raise AssertionError(f"{module!r} stands on no floor: add it to FLOORS and to docs/architecture.md")


def place(unit: str) -> tuple[int, int]:
    for floor, names in enumerate(FLOORS):
        if unit in names:
            return floor, names.index(unit)
    raise AssertionError(unit)


def files() -> Iterator[tuple[str, Path]]:
    package = ROOT / "agentroute"
    for path in sorted(package.rglob("*.py")):
        parts = list(path.relative_to(package).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        if parts:
            yield ".".join(parts), path


def imports(module: str, path: Path) -> Iterator[tuple[str, bool]]:
    """Absolute names of what a file imports (without those under TYPE_CHECKING), and whether inside a function."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]

    def walk(node: ast.AST, inside: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = ["agentroute", *package[: len(package) - child.level + 1]] if child.level else []
                base += child.module.split(".") if child.module else []
                if base[0] == "agentroute":
                    yield from ((_module_named(base, alias.name), inside) for alias in child.names)
                else:
                    yield ".".join(base), inside
            else:
                yield from walk(child, inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), False)


def _module_named(base: list[str], name: str) -> str:
    """The module that `from base import name` loads: base itself, or its submodule of that name."""
    folder = ROOT.joinpath(*base)
    if (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file():
        return ".".join([*base, name])
    return ".".join(base)


@pytest.mark.parametrize(("module", "path"), list(files()), ids=[module for module, _ in files()])
def test_imports_point_down(module: str, path: Path) -> None:
    unit = unit_of(module)
    for name, inside in imports(module, path):
        if not name.startswith("agentroute."):  # `from agentroute import __version__` is the package itself
            continue
        other = unit_of(name.removeprefix("agentroute."))
        if other == unit:
            continue
        if inside and (unit, other) in DEFERRED_UPWARD:
            continue
        mine, theirs = place(unit), place(other)
        both_on_top = mine[0] == theirs[0] == len(FLOORS) - 1
        assert theirs < mine or both_on_top, f"{unit} imports {other}, which is above it"


@pytest.mark.parametrize("room", INSIDE)
def test_the_order_inside_a_room(room: str) -> None:
    order = ["", *INSIDE[room]]  # the room's own front comes first: it may not lead back in
    inside = {module: path for module, path in files() if module.split(".")[0] == room}
    assert {module.split(".")[1] for module in inside if "." in module} == set(INSIDE[room])
    for module, path in inside.items():
        mine = module.split(".")[1] if "." in module else ""
        for name, _ in imports(module, path):
            parts = name.removeprefix("agentroute.").split(".")
            theirs = parts[1] if len(parts) > 1 else ""
            if not name.startswith("agentroute.") or parts[0] != room or theirs == mine or mine == "":
                continue
            assert order.index(theirs) < order.index(mine), f"{module} imports {name}, which comes after it"


def test_the_floors_name_what_is_there() -> None:
    units = {module.split(".")[0] for module, _ in files()}
    assert units == {name for floor in FLOORS for name in floor} | {"__main__"} & units


@pytest.mark.parametrize(("module", "path"), list(files()), ids=[module for module, _ in files()])
def test_confined_libraries(module: str, path: Path) -> None:
    unit = unit_of(module)
    for name, _ in imports(module, path):
        allowed = CONFINED.get(name.split(".")[0])
        assert allowed is None or unit in allowed, f"{unit} imports {name}; only {sorted(allowed or ())} may"


@pytest.mark.parametrize(
    "path",
    [
        p
        for folder in ("agentroute", "integrations", "evals", "examples", "tests")
        for p in sorted((ROOT / folder).rglob("*.py"))
    ],
    ids=str,
)
def test_first_docstring_line_says_what_the_file_is_for(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring, f"{path} has no docstring"
    assert docstring.splitlines()[0].strip(), path
