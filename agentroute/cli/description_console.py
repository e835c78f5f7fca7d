"""What is in recorded traces, for a terminal: one fact a line."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agentroute.errors import printable
from agentroute.figures import count
from agentroute.replay.describe import Description
from agentroute.replay.wording import problem_lines

__all__ = ["render_description"]

_SHOWN_PROBLEMS = 10
_SHOWN_NAMES = 12


def render_description(found: Description) -> RenderableType:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, words in _facts(found):
        table.add_row(printable(name), Text(printable(words)))
    parts: list[RenderableType] = [table]
    if found.malformed:
        lines = problem_lines(found.problems, found.malformed, found.alike, shown=_SHOWN_PROBLEMS)
        parts.append(Text("\n".join(["", f"{count(found.malformed, 'value')} without a step", *lines]), style="yellow"))
    if found.notes:
        parts.append(Text("\n".join(["", *(f"* {note}" for note in found.notes)]), style="dim"))
    return Group(*parts)


def _facts(found: Description) -> list[tuple[str, str]]:
    below = f", {found.sub_conversations:,} of them of sub-agents" if found.sub_conversations else ""
    facts = [
        ("format", _listed(found.formats, "step") or "none that is known"),
        ("conversations", f"{found.conversations:,}{below}"),
        ("steps", f"{found.steps:,}"),
        ("models", _listed(found.models, "step") or "not recorded"),
        ("tokens", _tokens(found)),
        ("tools, step 1", _tools(found)),
        ("failed results", f"{found.failed_results:,}"),
        ("failed calls", f"{found.failed_calls:,}"),
    ]
    if found.agents:
        facts.append(("agents", _short(list(found.agents))))
    if found.duplicates:
        facts.append(("duplicates", f"{count(found.duplicates, 'answer')} left out: they stood in the logs before"))
    for name, values in found.outcomes.items():
        facts.append((f"outcome {name}"[:40], _listed(values, "conversation")))
    return facts


def _tokens(found: Description) -> str:
    if found.input_tokens is None and found.output_tokens is None:
        return "not recorded"
    entry = "unknown" if found.input_tokens is None else f"{found.input_tokens:,}"
    output = "unknown" if found.output_tokens is None else f"{found.output_tokens:,}"
    cached = f" ({found.cache_read_tokens:,} from a cache)" if found.cache_read_tokens else ""
    partly = "" if found.measured == found.steps else f"; recorded for {count(found.measured, 'step')}"
    return f"{entry} input{cached}, {output} output{partly}"


def _tools(found: Description) -> str:
    if found.tools_in_step_1 is not None:
        return _short(list(found.tools_in_step_1))
    called = f"; called were {_short(list(found.tools_inferred))}" if found.tools_inferred else ""
    return f"not recorded{called}"


def _listed(counts: Mapping[str, float], noun: str) -> str:
    return _short([f"{name} ({count(int(number), noun)})" for name, number in counts.items()])


def _short(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN_NAMES:,} more" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(names[:_SHOWN_NAMES]) + more
