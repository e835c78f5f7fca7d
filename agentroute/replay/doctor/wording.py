"""What a finding says and what to do about it, in one sentence each: the same on the terminal, the page and in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentroute.figures import count
from agentroute.routing.cache_breaks import REMEDIES

if TYPE_CHECKING:
    from .findings import DoctorReport, Finding, Kind

__all__ = ["LONG_PROMPT", "caveats", "change", "headline", "place_of", "remedy", "short"]

LONG_PROMPT = 75_000
"""Tokens from which on a prompt is called long: compacting there saved 41 to 45 % of two recorded coding sessions, at
100,000 31 to 37 % (the project's study of sessions, 2026-11-27; what a summary loses is not in it)."""


def place_of(kind: Kind, position: int | None) -> str:
    """Where a prompt changed: `tool 3`, `message 1`; nothing for kinds without a place."""
    if position is None:
        return ""
    return f"{'tool' if kind in _IN_TOOLS else 'message'} {position}"


_IN_TOOLS = frozenset({"tools_changed", "tool_schema_changed", "tool_order"})

_CHANGES: dict[Kind, str] = {
    "volatile_text": "text that changes by itself (a time, date or id) in {place}",
    "system_changed": "the system prompt changed ({place})",
    "tools_changed": "tools came or went, from {place} on",
    "tool_schema_changed": "a tool's description or schema changed ({place})",
    "tool_order": "the same tools in another order, from {place} on",
    "message_changed": "an earlier message was changed or put in ({place})",
    "history_cut": "older messages were left out, from {place} on",
    "effort_toggled": "the reasoning setting changed",
    "tool_choice_toggled": "`tool_choice` changed",
    "expired": "the pause was longer than the cache lives",
    "unexplained": "the provider read little of a prompt that it held; nothing in the log changed",
    "no_markers": "no cache marker: nothing was kept",
    "unmarked_end": "cache markers, but none near the end of the conversation",
    "useless_markers": "one-shots that write a cache nobody reads",
    "short_lifetime": "pauses outlive the 5-minute cache{pause}",
    "long_lifetime": "caches are written for an hour, and no pause needs it",
    "model_switch": "another model took over, and read the conversation anew",
    "long_prompts": "prompts above {long:,} tokens were read again and again",
    "dominated_model": "another model of no lower tier ({by}) costs less for the same tokens",
}

_REMEDIES: dict[Kind, str] = {
    **{kind: REMEDIES[kind] for kind in REMEDIES},
    "volatile_text": "put what changes into the last message, or leave it out: a tool can tell the time",
    "tool_schema_changed": "make descriptions and schemas once, and keep state and times out of them",
    "no_markers": (
        "mark tools and system, and the last message, with `cache_control` (agentroute does it by itself), or ask for "
        "automatic caching"
    ),
    "unmarked_end": "set `cache_control` on the last message too, and where the last request ended",
    "useless_markers": "leave the markers off calls that nothing follows: a write costs more than plain input",
    "short_lifetime": 'ask for `ttl: "1h"` (in agentroute: cache_ttl_s = 3600 on the target)',
    "long_lifetime": 'leave out `ttl: "1h"`: five minutes are enough here, and written cheaper',
    "model_switch": "change models where a conversation begins, or stay",
    "long_prompts": "compact earlier, or keep large results out of the history; a summary loses facts, so try it out",
    "dominated_model": "a tier is no outcome: try {by} on some of this agent's work before you move it",
}


def short(kind: Kind) -> str:
    """The kind in words."""
    return kind.replace("_", " ")


def change(found: Finding) -> str:
    """What is wrong."""
    pause = "" if found.seconds is None else f" (median pause {_span(found.seconds)})"
    place = place_of(found.kind, found.position)
    text = _CHANGES[found.kind].format(place=place, pause=pause, long=LONG_PROMPT, by=found.by)
    if found.kind == "unexplained" and found.turns and found.turns >= 0.8 * found.steps:
        text += f"; at {found.turns} of {count(found.steps, 'step')} a person had just spoken"
    return text


def remedy(found: Finding) -> str:
    """What to do."""
    text = _REMEDIES[found.kind].format(by=found.by)
    return f"{text[0].upper()}{text[1:]}."


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def headline(report: DoctorReport) -> list[str]:
    """What was read, in a few lines."""
    lines = [f"{count(report.steps, 'step')} in {count(report.conversations, 'conversation')}"]
    if report.counted < report.steps:
        lines.append(
            f"cache counted by the provider at {count(report.counted, 'step')}, modelled at "
            f"{report.steps - report.counted:,}"
        )
    if report.unpriced:
        names = ", ".join(report.unknown_models[:5]) or "the model is not recorded"
        lines.append(f"{count(report.unpriced, 'step')} without a known price, in no bill ({names})")
    if report.malformed:
        lines.append(f"{count(report.malformed, 'line')} gave no step (listed below)")
    return lines


def caveats(report: DoctorReport) -> list[str]:
    """What the figures mean."""
    lines = [
        "USD at today's list prices. thrown away: what the same tokens would have cost less with an intact cache; to "
        "mend it changes no answer.",
    ]
    if any(each.advice for each in report.findings):
        lines.append(
            "choices (*) change which model answers or what it sees: their price is known, their worth is not. They "
            "are in no sum."
        )
    if report.counted < report.steps:
        lines.append("modelled: each model is taken to hold what it was sent, for as long as its provider says.")
    if report.timed < report.steps:
        lines.append(
            f"{count(report.steps - report.timed, 'step')} without a recorded time: each taken to be {report.gap_s:g} "
            "s after the one before, so no pause is seen there."
        )
    return [*lines, *report.notes]
