"""Token estimates: anchored on real counts, sane without them."""

from __future__ import annotations

from agentroute.messages import Message, Text, Tool
from agentroute.prefix import Prefix
from agentroute.tokens import Anchor, estimate

USER = Message("user", (Text("word " * 840),))


def test_by_characters() -> None:
    cold = estimate(Prefix.of([USER]))
    assert 950 <= cold.input_tokens <= 1050
    assert not cold.anchored


def test_tools_count_when_nothing_was_counted_yet() -> None:
    tools = [Tool("search", "Looks things up.", {"type": "object", "properties": {"q": {"type": "string"}}})]
    with_tools = estimate(Prefix.of([USER], tools))
    assert with_tools.tools_tokens > 10
    assert with_tools.input_tokens == estimate(Prefix.of([USER])).input_tokens + with_tools.tools_tokens


def test_an_anchor_carries_what_cannot_be_seen() -> None:
    before = Prefix.of([USER])
    after = Prefix.of([USER, Message("assistant", (Text("a" * 420),)), Message("user", (Text("b" * 420),))])
    anchored = estimate(after, Anchor(5_000, before.whole.bulk))
    assert anchored.anchored
    assert anchored.input_tokens == 5_000 + 208


def test_a_compacted_conversation_shrinks_with_its_anchor() -> None:
    before = Prefix.of([USER, USER])
    assert 2_300 <= estimate(Prefix.of([USER]), Anchor(5_000, before.whole.bulk)).input_tokens <= 2_700
