"""Token estimates: anchored on real counts, sane without them."""

from __future__ import annotations

import pytest

from agentroute.messages import Audio, Document, Message, Part, Text, Tool
from agentroute.routing.prefix import Prefix
from agentroute.routing.tokens import Anchor, estimate

USER = Message("user", (Text("word " * 840),))


def test_by_characters() -> None:
    cold = estimate(Prefix.of([USER]))
    assert 950 <= cold.input_tokens <= 1050
    assert not cold.anchored


@pytest.mark.parametrize(
    ("part", "low", "high"),
    [
        (Document(data="A" * 1_000_000, media_type="application/pdf"), 10_000, 20_000),
        (Document(data="A" * 100_000_000, media_type="application/pdf"), 90_000, 110_000),
        (Document(data="A" * 56_000, media_type="text/plain"), 9_900, 10_100),
        (Document(url="https://example.org/a.pdf"), 9_000, 11_000),
        (Audio(data="A" * 1_280_000, media_type="audio/wav"), 950, 970),
        (Audio(url="https://example.org/a.mp3"), 1_900, 1_950),
    ],
)
def test_files_count_by_their_size(part: Part, low: int, high: int) -> None:
    more = estimate(Prefix.of([USER, Message("user", (part,))])).input_tokens - estimate(Prefix.of([USER])).input_tokens
    assert low <= more <= high


def test_a_file_that_a_provider_has_counted_is_not_guessed_again() -> None:
    seen = Message("user", (*USER.parts, Document(data="A" * 4_000_000)))
    after = Prefix.of([seen, Message("assistant", (Text("a" * 420),))])
    assert estimate(after, Anchor(5_000, Prefix.of([seen]).whole.bulk)).input_tokens == 5_104


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
