"""Who asks, from headers and metadata; and the same role recognised where nobody says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute import Router, Tier, formats
from agentroute.catalog.example import example_targets
from agentroute.decisions import StepContext, StepKind
from agentroute.messages import ChatRequest, Message, Text, Tool
from agentroute.routing.roles import context_of, fingerprint
from agentroute.routing.step import Step


@pytest.mark.parametrize(
    ("headers", "metadata", "expected"),
    [
        ({}, None, StepContext()),
        ({"user-agent": "curl/8"}, {}, StepContext()),
        (
            {"User-Agent": "claude-cli/2.1.197 (external, cli)", "X-Claude-Code-Session-Id": "s1"},
            None,
            StepContext(conversation_id="s1", agent="claude-code"),
        ),
        (
            {"user-agent": "claude-cli/2", "x-claude-code-session-id": "s1", "x-claude-code-agent-id": "a7"},
            None,
            StepContext(conversation_id="s1/a7", agent="claude-code/subagent", parent_id="s1"),
        ),
        (
            {
                "user-agent": "claude-cli/2",
                "x-claude-code-session-id": "s1",
                "x-claude-code-agent-id": "a8",
                "x-claude-code-parent-agent-id": "a7",
            },
            None,
            StepContext(conversation_id="s1/a8", agent="claude-code/subagent", parent_id="a7"),
        ),
        ({}, {"user_id": '{"device_id": "d", "session_id": "s2"}'}, StepContext(conversation_id="s2")),
        (
            {
                "user-agent": "codex_exec/0.171.0",
                "session-id": "s3",
                "x-codex-turn-metadata": '{"request_kind": "turn", "agent_name": "/root"}',
            },
            None,
            StepContext(conversation_id="s3", agent="codex"),
        ),
        (
            {
                "user-agent": "codex_exec/0.171.0",
                "session-id": "s3",
                "x-codex-turn-metadata": '{"request_kind": "compaction", "agent_name": "/root/scout"}',
            },
            None,
            StepContext(conversation_id="s3", agent="codex/scout", node="compaction", parent_id="s3"),
        ),
        (
            {"user-agent": "opencode/1.18.33", "x-session-id": "s4", "x-session-affinity": "s4"},
            None,
            StepContext(conversation_id="s4", agent="opencode"),
        ),
        (
            {"x-agentroute-agent": "writer", "x-agentroute-role": "editor", "x-agentroute-conversation-id": "c"},
            None,
            StepContext(conversation_id="c", agent="writer", role="editor"),
        ),
        ({"x-codex-turn-metadata": "{broken"}, {"user_id": "{broken", "session_id": 7}, StepContext()),
    ],
)
def test_headers_say_who_asks(headers: dict[str, str], metadata: Any, expected: StepContext) -> None:
    assert context_of(headers, metadata) == expected


def test_a_kind_of_request_that_a_client_names_is_the_kind_of_step() -> None:
    body = ChatRequest((Message("user", (Text("Go on."),)),), tools=(Tool("bash"),))
    for kind, expected in (("compaction", StepKind.SUMMARISE), ("title", StepKind.HOUSEKEEPING), ("turn", None)):
        context = context_of({"x-codex-turn-metadata": json.dumps({"request_kind": kind})})
        assert Step.of(body, context).kind is (expected or StepKind.FIRST_ASK)


@given(st.dictionaries(st.text(max_size=30), st.text(max_size=60)), st.dictionaries(st.text(), st.text() | st.none()))
def test_any_headers_are_read(headers: dict[str, str], metadata: dict[str, Any]) -> None:
    assert context_of(headers, metadata) == context_of(headers, metadata)


TOOLS = (Tool("read"), Tool("bash"))


def asked(prompt: str, tools: tuple[Tool, ...] = TOOLS, text: str = "hi") -> ChatRequest:
    return ChatRequest((Message("system", (Text(prompt),)), Message("user", (Text(text),))), tools=tools)


@pytest.mark.parametrize(
    "prompt",
    [
        "You mend code. Today is Friday, March 6 2026, 10:04 AM.",
        "You mend code. Today is Monday, December 28 2026, 9:59 PM.",
        "You   mend code.\nToday is Friday, March 6 2026, 10:04 AM.",
    ],
)
def test_a_clock_in_the_prompt_makes_no_new_role(prompt: str) -> None:
    assert fingerprint(asked(prompt)) == fingerprint(asked("You mend code. Today is Tuesday, June 9 2025, 1:11 PM."))


def test_ids_the_order_of_tools_and_the_conversation_make_no_new_role() -> None:
    first = asked("Session 1b4e28ba-2fa1-11d2-883f-0016d3cca427, run 77.")
    again = asked("Session 6fa459ea-ee8a-3ca4-894e-db77e160355e, run 12.", TOOLS[::-1], "another ask")
    assert fingerprint(first) == fingerprint(again)
    billed = "x-anthropic-billing-header: cc_version=2.1.197.abc; cc_entrypoint=cli;\nYou mend code."
    assert fingerprint(asked(billed)) == fingerprint(asked("You mend code."))


def test_other_prompts_and_tools_are_other_roles() -> None:
    names = {
        fingerprint(asked("You mend code.")),
        fingerprint(asked("You write code.")),
        fingerprint(asked("You mend code.", TOOLS[:1])),
        fingerprint(asked("", TOOLS)),
    }
    assert len(names) == 4
    assert None not in names
    assert fingerprint(ChatRequest((Message("user", (Text("hi"),)),))) is None


LOOP = {"first_ask", "after_result", "after_error", "repeated_call", "forced_final", "delegate"}
MAY_BE = {
    "title": {"housekeeping", "structured"},
    "router": {"housekeeping", "structured"},
    "search": {"housekeeping", "structured"},
    "compaction": {"summarise"},
    "turn": LOOP,
    "subagent": LOOP,
}


@pytest.mark.requires("shared")
def test_requests_of_real_clients_are_of_the_right_kind(shared: Any) -> None:
    seen = 0
    for path in sorted((shared / "clients").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            request = replace(formats.of(row["dialect"]).decode_request(row["body"]), model=None)
            context = context_of(row["headers"], row["body"].get("metadata"))
            assert Step.of(request, context).kind.value in MAY_BE[row["kind"]], (path.name, row["kind"])
            if any("session" in name for name in row["headers"]):
                assert context.conversation_id
            assert bool(context.parent_id) is (row["kind"] == "subagent")
            seen += 1
    assert seen > 40


def test_a_policy_may_name_a_fingerprint_for_callers_who_say_nothing() -> None:
    request = asked("You mend code.")
    own = fingerprint(request)
    assert own is not None
    router = Router(targets=example_targets(), roles={own: {"max_tier": "budget"}})
    assert router.route(request).tier is Tier.BUDGET
    assert f"policy of role {own!r}" in router.route(request).reasons
    assert f"policy of role {own!r}" not in router.route(asked("You write code.")).reasons
    said = router.route(request, context=StepContext(role="writer"))
    assert f"policy of role {own!r}" not in said.reasons


def test_the_session_in_an_older_user_id_and_codex_sub_agents() -> None:
    assert context_of({}, {"user_id": "user_ab12_account__session_1b4e-28ba"}).conversation_id == "1b4e-28ba"
    assert context_of({}, {"user_id": "ann"}).conversation_id is None
    sent = {"User-Agent": "codex_cli_rs/0.99", "conversation_id": "q", "x-openai-subagent": "compact"}
    context = context_of(sent)
    assert (context.conversation_id, context.agent, context.node, context.parent_id) == (
        "q",
        "codex/compact",
        "compact",
        "q",
    )
