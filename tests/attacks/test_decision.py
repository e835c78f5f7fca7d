"""Texts that others write, of any size: the decision takes CPU and memory in proportion to them, and no more."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentroute import ChatRequest, NoCandidateError, Router
from agentroute.catalog.example import example_targets

PIECES = (
    *("<task>", "</task>", "<task ", "<issue id='1' />", "<", "<!--", "<![CDATA[", "]]>", "<a><b>", "</"),
    *("<think>", "<tool_call>", '<tool_call>{"name":"f"}', "<function_calls>", '<invoke name="f">', "<|im_start|>"),
    *("<system-reminder>", "<environment_details>", "```", "~~~", "`", "``` \n", "{", "[", '{"a":', '[{"name":', '"'),
    *("'", "\\", "Error: ", "Traceback (most recent call last):\n", "FAILED ", "E   assert", "exit code: 1\n"),
    *(
        "Action: x\nAction Input: ",
        "Thought: ",
        "Observation: ",
        "could not be ",
        "not ",
        "\n",
        "\r\n",
        " ",
        "\t",
        "\u2028",
    ),
    *(
        "a.py ",
        "x.y.z(",
        "a/",
        "/a.py",
        "..",
        "...",
        "(",
        ")",
        "0",
        "1. ",
        "- ",
        "# ",
        "|",
        "=",
        "==== ",
        "---\n",
        "+++ ",
    ),
    *(
        "@@ -1 +1 @@\n",
        "diff --git a/x b/x\n",
        "http://",
        "data:image/png;base64,",
        "aaaa",
        "a ",
        "A",
        ": ",
        "//",
        "/*",
    ),
    *("#!", "%", "\x00", "\x1b[31m", "\u202e", "日本", "e\u0301", "😀", "&lt;"),
)

FILLERS = ("a", "</tas", "<", "\n", " x", "{}", "`")


def spoken(role: str, text: str) -> list[dict[str, Any]]:
    user = {"role": "user", "content": "do it"}
    arguments = {"args": json.dumps({"a": text}), "raw args": text}.get(role, "{}")
    call = {"id": "c", "type": "function", "function": {"name": "bash", "arguments": arguments}}
    match role:
        case "user":
            return [{"role": "user", "content": text}]
        case "system":
            return [{"role": "system", "content": text}, user]
        case "assistant":
            return [user, {"role": "assistant", "content": text}, user]
    result = text if role == "tool" else "ok"
    calling = {"role": "assistant", "content": None, "tool_calls": [call]}
    return [user, calling, {"role": "tool", "tool_call_id": "c", "content": result}]


ROLES = ("user", "tool", "assistant", "system", "args", "raw args")


def hostile(size: int, seed: int) -> Iterator[dict[str, Any]]:
    chance = random.Random(seed)
    for piece in PIECES:
        yield {"messages": spoken("user", piece * 4_000 + chance.choice(FILLERS) * size + piece * 4_000)}
    for role in ROLES:
        for piece in PIECES:
            yield {"messages": spoken(role, piece * (size // len(piece)))}
            filler = chance.choice(FILLERS)
            yield {"messages": spoken(role, piece * (size // 3 // len(piece)) + filler * (size // len(filler)))}
        for _ in range(60):
            a, b = chance.choice(PIECES), chance.choice(PIECES)
            third = size // 3
            yield {"messages": spoken(role, (a + b) * (size // len(a + b)))}
            yield {"messages": spoken(role, a * (third // len(a)) + b * (third // len(b)) + a * (third // len(a)))}
            yield {"messages": spoken(role, ("x " + a * 50 + b + "\n") * (size // (50 * len(a) + len(b) + 3)))}


def many() -> Iterator[dict[str, Any]]:
    """Much of everything else: messages, calls, parts, tools, levels of a schema."""
    talk = [{"role": "assistant" if number % 2 else "user", "content": "hello there"} for number in range(50_000)]
    yield {"messages": [*talk, {"role": "user", "content": "x"}]}
    loop = [{"role": "user", "content": "x"}]
    for _ in range(5_000):
        loop += spoken("tool", "exit code: 1")[1:]
    yield {"messages": loop}
    yield {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}] * 50_000}]}
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(60):
        schema = {"type": "object", "properties": {"a": schema}}
    function = {"description": "d" * 100, "parameters": schema}
    tools = [{"type": "function", "function": {"name": f"t{number}", **function}} for number in range(5_000)]
    yield {"messages": [{"role": "user", "content": "x"}], "tools": tools}


def routed(router: Router, body: dict[str, Any]) -> None:
    with contextlib.suppress(NoCandidateError):
        router.route(ChatRequest.from_openai(body))


TEXT_S = 2.0
"""CPU time for one text of about 1 MB, which takes some 5 ms. A scan to the end for each opening tag took 4 s."""

SWEEP = """
import signal, sys
from tests.attacks.test_decision import TEXT_S, Router, example_targets, hostile, many, routed
router = Router(targets=example_targets())
for body in (many() if sys.argv[1] == "many" else hostile(300_000, int(sys.argv[1]))):
    signal.setitimer(signal.ITIMER_VIRTUAL, TEXT_S)
    routed(router, body)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a timer of CPU time")
@pytest.mark.parametrize("what", ["1", "2", "many"])
def test_every_text_is_read_in_linear_time(what: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SWEEP, what],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr or "a text used up its CPU time"


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("piece", ["word ", "<task>", "{", "слово ", "a.py\n"])
def test_memory_is_a_small_multiple_of_the_text(role: str, piece: str) -> None:
    router = Router(targets=example_targets())
    text = piece * (1_000_000 // len(piece))
    request = ChatRequest.from_openai({"messages": spoken(role, text)})
    tracemalloc.start()
    try:
        with contextlib.suppress(NoCandidateError):
            router.route(request)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


def test_nesting_is_no_crash() -> None:
    router = Router(targets=example_targets())
    for deep in ("[" * 100_000, '{"a":' * 100_000, "[" * 500 + "]" * 500, "<a>" * 50_000, "(" * 100_000):
        for role in ROLES:
            routed(router, {"messages": spoken(role, deep)})
