"""What commands that read traces share: their format, a bar, the page they write, and what to say of nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from agentroute.errors import ConfigError
from agentroute.replay import Problem
from agentroute.replay.logs import NAMES

__all__ = ["check_page", "known_format", "nothing_in", "progress"]


def check_page(out: Path, files: Sequence[Path], option: str) -> None:
    """Before the reading, which may take minutes: can the page be written at all, and over nothing that is read?

    Raises ConfigError naming the option.
    """
    folder = out.parent
    if out.exists() and any(file.exists() and file.samefile(out) for file in files):
        raise ConfigError(f"{option} is {str(out)!r}, one of the traces: it would be overwritten; name another file")
    if out.is_dir():
        raise ConfigError(
            f"{option} is {str(out)!r}: that is a folder; name a file in it, like {str(out / 'report.html')!r}"
        )
    if not folder.exists():
        raise ConfigError(
            f"{option} is {str(out)!r}: the folder {str(folder)!r} does not exist; create it or name another file"
        )
    if not folder.is_dir():
        raise ConfigError(f"{option} is {str(out)!r}: {str(folder)!r} is not a folder; name another file")


def nothing_in(files: Sequence[str], alike: str | None, problems: Sequence[Problem]) -> str:
    """The one line that says why there is nothing to show."""
    named = ", ".join(repr(file) for file in files)
    if alike is not None:
        return f"no step in {named}: {alike}"
    if problems:
        named += f" (line {problems[0].line}: {problems[0].reason})"
    return (
        f"no step in {named}; read are the logs of coding agents, tracers, gateways and batch jobs, OpenAI and "
        "Anthropic conversations, tau2-bench and step rows (docs/replay.md)"
    )


def known_format(name: str | None) -> str | None:
    """The name of a format, or None. Raises ConfigError for another name."""
    if name is not None and name not in NAMES:
        raise ConfigError(f"--format is {name!r}; use one of {', '.join(NAMES)}")
    return name


@contextmanager
def progress(
    word: str = "reading", counts: Callable[[], ProgressColumn] = DownloadColumn
) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on standard error, where somebody watches. `counts` shows how much is done: bytes, unless told."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (TextColumn(word), BarColumn(), counts(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(word)
        yield lambda done, total: bar.update(task, completed=done, total=total)
