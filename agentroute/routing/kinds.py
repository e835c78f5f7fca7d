"""Tells a client's side calls (a summary to go on from, a title, a probe) from the steps of its loop."""

from __future__ import annotations

import re

from agentroute.decisions import StepContext, StepKind
from agentroute.messages import ChatRequest, Message, Tool

from .ask import Ask

__all__ = ["side_call"]

_READ = 900
"""Characters of a system prompt or an ask that are read for what it wants."""

_SUMMARY = r"(?:summar(?:y|i[sz]ation)|handoff|hand-off|recap|compaction|checkpoint|prompt for continuing)"
_SUMMARISE = r"(?:summari[sz](?:e|es|ing)|compact(?:s|ing)?|condens(?:e|es|ing)|recap)"
_MAKE = (
    r"(?:create|write|provide|generate|produce|prepare|give|make|draft|build|maintain(?:ing)?|output|perform(?:ing)?)"
)
_CONVERSATION = (
    r"\b(?:conversation|chat|session|history|context|messages above|dialogue|discussion|thread|so far|take[s]? over"
    r"|resum(?:e|ing)|interactive agent|another (?:llm|language model|model|agent|assistant))\b"
    r"(?![ -](?:handl|code|class|modul|featur|servic|stor|manag|api|table|schema|logic|file|component|object|state"
    r"|middleware|log|layer|manager|token|cookie|id\b))"
)
_WANTS_SUMMARY = re.compile(
    r"(?:^|[.!:;\n])[\s*_#>-]*(?:(?:\w+ly|please|now|then|first|can you|could you|you (?:are|must|should|need to|will)"
    r"|your (?:\w+ )?(?:task|job|goal)(?: now)? is(?: now)?(?: to)?|i (?:want|need) you to)[*_,]* )*"
    rf"(?:{_SUMMARISE}\b|{_MAKE}\b[^.!?\n]{{0,100}}?\b{_SUMMARY}\b)[^.!?\n]{{0,160}}?{_CONVERSATION}"
    rf"|\b{_MAKE}\b[^.!?\n]{{0,40}}?<(?:state_snapshot|(?:conversation|context)_summary)>",
    re.IGNORECASE,
)
"""A sentence that tells the model to summarise the conversation. (One that asks about sessions or compaction does
not begin like that.)"""

_SUMMARISER = re.compile(rf"\b{_SUMMARISE}\b[^.!?\n]{{0,80}}?{_CONVERSATION}", re.IGNORECASE)
"""A system prompt whose whole purpose that is."""

_NAMING = re.compile(
    r"\b(?:generat\w*|writ\w*|creat\w*|produc\w*|com(?:e|ing) up with|suggest\w*|output\w*|provid\w*"
    r"|you are an? (?:\w+ ){0,2})"
    r"[^.!?\n]{0,80}?\b(?:titles?|topics?|headline|branch names?|commit messages?|(?:session|thread|chat) names?"
    r"|names? for (?:\w+ )?(?:chats?|conversations?|sessions?|threads?))\b"
    r"|\bnew (?:conversation )?topic\b|\bcommand prefix\b",
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"\b(?:conversation|chat|session|thread|diffs?|commit|branch|user'?s? (?:message|request|query|input|prompt)|topic"
    r"|messages?|commands?)\b",
    re.IGNORECASE,
)
_TITLE_OF = re.compile(
    r"\b(?:title|name|headline)\b[^.!?\n]{0,60}?\b(?:this|the|our) (?:\w+ )?(?:conversation|chat|session|thread)\b"
    r"|\b(?:give|name|call) (?:this|the|our) (?:\w+ )?(?:conversation|chat|session|thread)\b"
    r"[^.!?\n]{0,40}?\b(?:title|name)\b",
    re.IGNORECASE,
)
_BRIEF = re.compile(
    r"\b(?:under|below|at most|within|in|(?:fewer|less) than) \d{1,2} (?:characters|words)\b", re.IGNORECASE
)
"""A summary of that size is a title."""

_COMPACTIONS = frozenset(("compaction", "compact"))
_ERRANDS = frozenset(("title", "prewarm", "quota"))
"""What clients call such requests themselves. A node of somebody's graph may be called `summarize` and mean its own
work."""

_PROBE = 2
"""Output tokens up to which an answer can only be a sign of life."""


def side_call(request: ChatRequest, context: StepContext, ask: Ask, *, used_tools: bool) -> StepKind | None:
    """`summarise` or `housekeeping` if the request is such a side call of its client, else None.

    A summary is wanted by the last ask, tools or not, or by a system prompt that serves nothing else. Housekeeping has
    its own prompt and no tools of ours: what the user writes in a loop never makes a step one.
    """
    node = (context.node or "").lower()
    if node in _COMPACTIONS:
        return StepKind.SUMMARISE
    if node in _ERRANDS:
        return StepKind.HOUSEKEEPING
    messages = request.messages
    if messages and _triggers(messages[-1]):
        return StepKind.SUMMARISE
    if not ask.last:
        return None
    if len(messages) > 3 and _WANTS_SUMMARY.search(ask.text, 0, _READ):
        return StepKind.SUMMARISE
    tools = request.tools
    if tools:
        alone = len(tools) == 1 and not used_tools and len(messages) <= 2
        return StepKind.HOUSEKEEPING if alone and _runs_elsewhere(tools[0]) else None
    if used_tools:
        return None
    limit = request.sampling.max_output_tokens
    if limit is not None and 0 < limit <= _PROBE:
        return StepKind.HOUSEKEEPING
    system = messages[0].text[:_READ] if messages[0].role in ("system", "developer") else ""
    if system:
        if _SUMMARISER.search(system) and ("ummar" in system or "ompact" in system or "onden" in system):
            return StepKind.HOUSEKEEPING if _BRIEF.search(system) else StepKind.SUMMARISE
        if request.response_schema is None and _NAMING.search(system) and _NAMED.search(system):
            return StepKind.HOUSEKEEPING
    if len(messages) <= 3 and request.response_schema is None and _TITLE_OF.search(ask.text, 0, _READ):
        return StepKind.HOUSEKEEPING
    return None


def _runs_elsewhere(tool: Tool) -> bool:
    """Whether the provider runs the tool itself: a client that sends it alone wants what it brings, say a search."""
    kind = None if tool.extra is None else tool.extra.fields.get("type")
    return isinstance(kind, str) and kind not in ("function", "custom")


def _triggers(message: Message) -> bool:
    """Whether the message is Codex's own sign for a compaction."""
    for carrier in (message, *message.parts[-1:]):
        if carrier.extra is not None and carrier.extra.fields.get("type") == "compaction_trigger":
            return True
    return False
