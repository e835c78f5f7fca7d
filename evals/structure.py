"""The shape of the package, measured: rooms at the top, arrows and circles between them, rooms one call walks through.

    python evals/structure.py

A room is a file or folder directly in agentroute/. Imports inside functions count, those under TYPE_CHECKING do not.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from agentroute import Router
from agentroute.testing import ScriptedProvider

PACKAGE = Path(__file__).resolve().parent.parent / "agentroute"

VALUES = ("errors", "figures", "providers", "messages", "events", "targets", "decisions")
"""Rooms of the lowest floor: frozen values, whose functions only make and read them."""


def rooms() -> list[str]:
    found = {path.stem if path.is_file() else path.name for path in PACKAGE.iterdir()}
    held = {name for name in found if (PACKAGE / f"{name}.py").is_file() or (PACKAGE / name / "__init__.py").is_file()}
    return sorted(held - {"__init__"})


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """The rooms that a file imports."""
    package = ["agentroute", *path.relative_to(PACKAGE).parts[:-1]]

    def walk(node: ast.AST) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.ImportFrom):
                base = package[: len(package) - child.level + 1] if child.level else []
                full = [*base, *(child.module.split(".") if child.module else [])]
                if full[:1] == ["agentroute"]:
                    yield from ([full[1]] if len(full) > 1 else [alias.name for alias in child.names])
            else:
                yield from walk(child)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")))


def arrows() -> dict[str, set[str]]:
    known = set(rooms())
    found: dict[str, set[str]] = {room: set() for room in known}
    for path in PACKAGE.rglob("*.py"):
        room = room_of(path)
        if room != "__init__":
            found[room] |= {name for name in imported(path) if name in known} - {room}
    return found


def circles(graph: dict[str, set[str]]) -> list[tuple[str, ...]]:
    """Rooms that can be reached from themselves, in groups."""

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            room = waiting.pop()
            if room not in seen:
                seen.add(room)
                waiting += graph[room]
        return seen

    reached = {room: reach(room) for room in graph}
    groups = {tuple(sorted(r for r in graph if r in reached[room] and room in reached[r])) for room in graph}
    return sorted(groups - {()})


def walked(call: Callable[[], object]) -> list[str]:
    """The rooms whose functions are entered, in the order of the first entry."""
    seen: dict[str, None] = {}

    def note(frame: object, event: str, _: object) -> None:
        if event == "call":
            path = Path(frame.f_code.co_filename)  # type: ignore[attr-defined]
            if PACKAGE in path.parents:
                seen.setdefault(room_of(path))

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return [room for room in seen if room != "testing"]


def main() -> None:
    graph = arrows()
    deferred = {("messages", "formats")}
    """ChatRequest.from_openai: the one import that points up, inside a function (docs/architecture.md)."""
    held = {room: {other for other in others if (room, other) not in deferred} for room, others in graph.items()}
    with (
        ScriptedProvider("hello", provider="openai") as provider,
        Router([provider.target(model="x", tier="mid")]) as r,
    ):
        r.complete("warm up")
        touched = walked(lambda: r.complete("hello"))
    words = [room for room in touched if room in VALUES]
    acting = [room for room in touched if room not in VALUES]
    print(f"rooms at the top: {len(graph)} ({' '.join(graph)})")
    print(f"arrows between them: {sum(map(len, held.values()))}")
    print(f"circles: {circles(held) or 'none'}")
    print(f"one complete() acts in {len(acting)} rooms: {' '.join(acting)}")
    print(f"and uses the values of {len(words)}: {' '.join(words)}")


if __name__ == "__main__":
    main()
