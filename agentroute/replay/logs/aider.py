"""aider's two histories: the chat (rounded tokens, no system prompt) and the log of whole prompts (no tokens)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from agentroute.messages import Message, Role, Text, Usage
from agentroute.replay.records import Trace

from .fields import time_of
from .thread import Thread

__all__ = ["chat_history", "is_aider", "llm_history"]

_TOKENS = re.compile(
    r"> Tokens: ([\d.,]+[kM]?) sent(?:, ([\d.,]+[kM]?) cache write)?(?:, ([\d.,]+[kM]?) cache hit)?"
    r", ([\d.,]+[kM]?) received"
)
_MODEL = re.compile(r"> (?:Main model|Model): (\S+)")
_FAILED = re.compile(r"> (?:The LLM did not conform|# \d+ SEARCH/REPLACE block|.*failed to match|.*[Ee]rror:)")
_HEAD = "# aider chat started at "
_ROLE = re.compile(r"(SYSTEM|USER|ASSISTANT|TOOL) ?(.*)")
_UNITS = {"k": 1_000, "M": 1_000_000}


def is_aider(head: str) -> str | None:
    """Which of the two histories begins like this: `chat`, `llm` or none."""
    text = head.lstrip("\ufeff \r\n")
    return "chat" if text.startswith(_HEAD) else "llm" if text.startswith("TO LLM ") else None


def chat_history(lines: Iterable[tuple[int, str]], name: str) -> Iterator[Trace]:
    """Sessions of the chat history. What a reflection said runs together with the answer before it."""
    thread, model, number = Thread("aider", name), None, 0
    asked: list[str] = []
    said: list[str] = []
    failed = False
    at: float | None = None
    for _, line in lines:
        if line.startswith(_HEAD):
            yield from thread.trace()
            number += 1
            at = time_of(line.removeprefix(_HEAD).strip())
            thread, asked, said, failed, model = Thread("aider", f"{name}/{number}"), [], [], False, None
        elif line.startswith("#### "):
            asked.append(line[5:].strip())
        elif found := _MODEL.match(line):
            model = model or found[1]
        elif found := _TOKENS.match(line):
            if asked:
                thread.add([Message("user", (Text("\n".join(asked)),))])
            sent, written, read, received = (_tokens(each) for each in found.groups())
            usage = Usage(sent, received, cache_read_tokens=read, cache_write_tokens=written)
            thread.answer(Message("assistant", (Text("\n".join(said).strip()),)), usage, model, at)
            asked, said, failed = [], [], False
        elif line.startswith(">"):
            if _FAILED.match(line) and not failed:
                failed = True
                thread.failed_results += 1
        else:
            said.append(line)
    yield from thread.trace()


def _tokens(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return round(float(text.rstrip("kM").replace(",", "")) * _UNITS.get(text[-1], 1))
    except (ValueError, OverflowError):
        return None


def llm_history(lines: Iterable[tuple[int, str]], name: str) -> Iterator[Trace]:
    """Each `TO LLM` is a whole prompt; one that does not go on from the last is a conversation, or a part of it."""
    thread, answered = Thread("aider", name), False
    prompt: list[tuple[Role, list[str]]] = []
    said: list[str] = []
    where, at = "", None
    for _, line in lines:
        if line.startswith("TO LLM "):
            if answered:
                yield from _call(thread, prompt, said, at)
            prompt, said, where, answered = [], [], "prompt", False
        elif line.startswith("LLM RESPONSE"):
            where, answered, at = "answer", True, time_of(line.removeprefix("LLM RESPONSE").strip())
        elif line.strip("-") == "" and line:
            continue
        elif where == "prompt":
            found = _ROLE.match(line)
            if found is not None:
                role: Role = found[1].lower()  # type: ignore[assignment]
                if not prompt or prompt[-1][0] != role:
                    prompt.append((role, []))
                prompt[-1][1].append(found[2])
        elif where == "answer":
            said.append(line.removeprefix("ASSISTANT "))
    if answered:
        yield from _call(thread, prompt, said, at)
    yield from thread.trace()


def _call(thread: Thread, prompt: list[tuple[Role, list[str]]], said: list[str], at: float | None) -> Iterator[Trace]:
    messages = [Message(role, (Text("\n".join(words)),)) for role, words in prompt]
    known = [(message.role, message.text) for message in thread.messages]
    if known and [(message.role, message.text) for message in messages[: len(known)]] == known:
        thread.add(messages[len(known) :])
    elif messages:
        yield from thread.restart(messages)
    thread.answer(Message("assistant", (Text("\n".join(said)),)), at=at)
