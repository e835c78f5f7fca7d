"""Says who asks, from what a client sends beside the request: session, agent, parent and kind of call.

A gateway hands the headers and the body's metadata over; libraries fill a StepContext themselves. Where nobody says who
asks, `fingerprint` recognises the same role by its system prompt and tools.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from agentroute.decisions import StepContext
from agentroute.messages import ChatRequest

__all__ = ["context_of", "fingerprint", "sketch"]

_SESSIONS = (
    "x-agentroute-conversation-id",
    "x-claude-code-session-id",
    "x-session-id",
    "x-session-affinity",
    "session-id",
    "session_id",
    "thread-id",
    "conversation_id",
    "conversation-id",
    "x-litellm-session-id",
    "helicone-session-id",
    "x-openwebui-chat-id",
)
_AGENTS = ("x-agentroute-agent", "x-claude-code-agent-name", "x-agent-name", "x-openai-subagent")
_AGENT_IDS = ("x-claude-code-agent-id", "x-agent-id")
_PARENTS = ("x-agentroute-parent-id", "x-claude-code-parent-agent-id", "x-parent-session-id", "x-parent-agent-id")
_TELLING = frozenset(
    (*_SESSIONS, *_AGENTS, *_AGENT_IDS, *_PARENTS, "x-agentroute-node", "x-agentroute-role", "x-codex-turn-metadata")
)
"""The headers that say more than which client asks: most requests have none of them."""

_CLIENTS = (
    ("claude-cli/", "claude-code"),
    ("codex", "codex"),
    ("opencode/", "opencode"),
    ("geminicli/", "gemini-cli"),
    ("qwencode/", "qwen-code"),
    ("cline/", "cline"),
    ("aider", "aider"),
)
"""What user agents begin with (small letters), and the name of the client."""

_ROOTS = frozenset(("", "/", "/root", "root", "main"))
"""What a client calls the agent that a person talks to."""

_LONGEST = 128
"""Characters of a value that are kept: these are names and ids."""


def context_of(headers: Mapping[str, str], metadata: Mapping[str, Any] | None = None) -> StepContext:
    """The facts about the caller that stand in HTTP headers and in a body's `metadata` (or `client_metadata`).

    Known are Claude Code (session, sub-agent and its parent), Codex (`x-codex-turn-metadata`: session, agent, request
    kind), opencode and others' session ids, and our own `x-agentroute-*`. `node` is the kind of call, if the client
    says one (`compaction`, `title`, ...); `agent` is the client's name, with its sub-agent's behind a slash. What is
    missing or malformed stays None; nothing raises.

    >>> context_of({"User-Agent": "opencode/1.18", "X-Session-Id": "s1"}).conversation_id
    's1'
    """
    sent = {name.lower(): value for name, value in headers.items() if isinstance(value, str) and value.strip()}
    client = _client(sent.get("user-agent", ""), sent.get("originator", ""))
    if not metadata and _TELLING.isdisjoint(sent):
        return StepContext(agent=client)
    told = _known(sent.get("x-codex-turn-metadata")) | _known(metadata)
    session = _first(sent, _SESSIONS) or _word(told, "session_id", "conversation_id", "thread_id")
    name = _first(sent, _AGENTS) or _word(told, "agent_name", "agent")
    sub_id = _first(sent, _AGENT_IDS)
    parent = _first(sent, _PARENTS) or _word(told, "parent_id", "parent_thread_id", "parent_agent_id")
    below = name is not None and name.lower() not in _ROOTS
    if parent is None and (sub_id is not None or (below and client == "codex")):
        parent = session
    agent = name if below else None
    if client is not None:
        inner = (agent or ("subagent" if sub_id is not None else "")).removeprefix("/").removeprefix("root/")
        agent = f"{client}/{inner}" if inner else client
    conversation = session if sub_id is None or session is None else f"{session}/{sub_id}"
    kind = _word(told, "request_kind") or _first(sent, ("x-agentroute-node", "x-openai-subagent"))
    return StepContext(
        conversation_id=conversation,
        agent=agent,
        role=_first(sent, ("x-agentroute-role",)) or _word(told, "role"),
        node=None if kind == "turn" else kind,
        parent_id=parent,
    )


def _known(value: Any) -> dict[str, Any]:
    """The facts of a JSON object, given as one or as text; Claude Code's `user_id` is such a text within."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value[:1] == "{" and len(value) < 10_000 else None
        except (ValueError, RecursionError):
            return {}
    if not isinstance(value, Mapping):
        return {}
    found = {str(name).lower(): each for name, each in value.items()}
    for inner in ("user_id", "x-codex-turn-metadata"):
        if isinstance(found.get(inner), str) and found[inner][:1] == "{":
            found = _known(found.pop(inner)) | found
    user = found.get("user_id")
    if isinstance(user, str) and "_session_" in user:
        found.setdefault("session_id", user.rpartition("_session_")[2])
    return found


def _first(sent: Mapping[str, str], names: Iterable[str]) -> str | None:
    return next((sent[name].strip()[:_LONGEST] for name in names if name in sent), None)


def _word(told: Mapping[str, Any], *names: str) -> str | None:
    return next((told[name][:_LONGEST] for name in names if isinstance(told.get(name), str) and told[name]), None)


def _client(agent: str, originator: str) -> str | None:
    for said in (agent.lower(), originator.lower()):
        for start, name in _CLIENTS:
            if said.startswith(start):
                return name
    return None


_PROMPT = 4_000
"""Characters of a system prompt that tell a role; what follows is often the day's material."""

_VOLATILE = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{16,}\b|\d+|\s+", re.IGNORECASE)
_TIMES = re.compile(
    r"\b(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\b"
    r"|\b(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t(?:ember)?)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\b(?=[\s,.]*#)|\b[ap]m\b",
    re.IGNORECASE,
)
_BILLING = re.compile(r"x-anthropic-billing-header:[^\n]*\n?")


def sketch(text: str) -> str:
    """The text without what changes by itself: dates, times, numbers, ids, spaces.

    >>> sketch("Today is Friday, 27 November 2026, 10:15.") == sketch("Today is Sunday,  1 May 2027, 9:05.")
    True
    """
    found = _TIMES.sub("", _VOLATILE.sub(lambda found: " " if found[0].isspace() else "#", text))
    return " ".join(found.split())


def fingerprint(request: ChatRequest) -> str | None:
    """A short name of the role that asks: equal for equal system prompts and tools, whatever the date, time, numbers
    and ids in the prompt and the order of the tools. None without both: then nothing tells one role from another.
    """
    prompts = []
    for message in request.messages:
        if message.role not in ("system", "developer"):
            break
        prompts.append(message.text)
    prompt = _BILLING.sub("", "\n".join(prompts))[:_PROMPT]
    names = sorted({tool.name for tool in request.tools})
    if not prompt.strip() and not names:
        return None
    text = json.dumps([sketch(prompt), names], ensure_ascii=True)
    return "role-" + hashlib.sha256(text.encode()).hexdigest()[:12]
