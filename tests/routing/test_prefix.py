"""The prefix: sizes add up, keys recognise a conversation again, and only the same conversation."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute.messages import Audio, Document, Image, Message, Text, Tool, ToolCall, ToolResult
from agentroute.routing.prefix import Prefix

SYSTEM = Message("system", (Text("be brief"),))
ASK = Message("user", (Text("fix the bug"),))
CALL = Message("assistant", (Text("looking"), ToolCall("c1", "read", '{"path": "a.py"}')))
RESULT = Message("tool", (ToolResult("c1", (Text("x = 1"),)),))


def test_the_next_request_knows_the_one_before() -> None:
    before = Prefix.of([SYSTEM, ASK])
    after = Prefix.of([SYSTEM, ASK, CALL, RESULT])
    assert [mark.key for mark in after.earlier] == [before.whole.key]
    assert after.earlier[0].bulk == before.whole.bulk
    assert after.system == before.system


def test_a_changed_message_breaks_the_prefix_from_there_on() -> None:
    before = Prefix.of([SYSTEM, ASK])
    other = Prefix.of([SYSTEM, Message("user", (Text("fix the bux"),)), CALL, RESULT])
    assert before.whole.key not in {mark.key for mark in (*other.earlier, other.whole)}
    assert other.system is not None
    assert other.system.key == before.system.key if before.system else False


def test_other_tools_are_another_prefix() -> None:
    assert Prefix.of([ASK], [Tool("read")]).whole.key != Prefix.of([ASK]).whole.key


def test_schemas_and_pictures_in_results_count() -> None:
    small = Tool("read", "reads", {"properties": {"a": {}}})
    large = Tool("read", "reads", {"properties": {f"p{i}": {} for i in range(60)}})
    assert Prefix.of([ASK], [small]).whole.key != Prefix.of([ASK], [large]).whole.key
    assert Prefix.of([ASK], [large]).tools_chars > Prefix.of([ASK], [small]).tools_chars > 0
    seen = [Message("tool", (ToolResult("c1", (Image(data=data),)),)) for data in ("AAAA", "BBBB")]
    assert Prefix.of([ASK, CALL, seen[0]]).whole.key != Prefix.of([ASK, CALL, seen[1]]).whole.key


@pytest.mark.parametrize("kind", [Image, Document, Audio])
def test_files_are_known_again_without_being_read_whole(kind: Any) -> None:
    long = "A" * 5_000_000

    def key(**file: str) -> int:
        return Prefix.of([Message("user", (Text("see"), kind(**file)))]).whole.key

    assert key(data=long) == key(data="A" * 5_000_000)
    others = [{"data": long[1:]}, {"data": "B" + long[1:]}, {"data": long[:-1] + "B"}, {"url": "https://x"}]
    halves = {"data": long[:2_500_000] + "B" * 2_500_000}
    assert len({key(data=long), *(key(**other) for other in [*others, halves])}) == 6
    assert key(data="A" * 4000 + "BA") != key(data="A" * 4000 + "AA")


def test_sizes_of_files() -> None:
    pdf = Document(data="A" * 400_000, media_type="application/pdf")
    note = Document(data="A" * 4_000, media_type="text/plain")
    wav, song = Audio(data="A" * 128_000, media_type="audio/wav"), Audio(data="A" * 128_000)
    bulk = Prefix.of([Message("user", (pdf, note, wav, song))]).whole.bulk
    assert (bulk.documents, bulk.recordings, bulk.images, bulk.chars) == (2, 2, 0, 0)
    assert (bulk.pages, bulk.document_chars, bulk.seconds) == (3.0, 3_000, 9.0)
    small, huge, unseen = Document(data="A"), Document(data="A" * 99_999_999), Document(url="https://x")
    assert [Prefix.of([Message("user", (part,))]).whole.bulk.pages for part in (small, huge, unseen)] == [1, 50, 5]
    held = Prefix.of([Message("tool", (ToolResult("c", (Text("see"), pdf)),))]).whole.bulk
    assert (held.documents, held.pages, held.chars) == (1, 3.0, 3)
    assert Prefix.of([Message("user", (Audio(url="https://x"),))]).whole.bulk.seconds == 60


def test_sizes() -> None:
    bulk = Prefix.of([SYSTEM, ASK, CALL, RESULT, Message("user", (Image(url="http://127.0.0.1/x.png"),))]).whole.bulk
    assert bulk.prose == len("be brief" + "fix the bug" + "looking" + "x = 1")
    assert bulk.json == len('{"path": "a.py"}')
    assert (bulk.messages, bulk.calls, bulk.images) == (5, 1, 1)
    assert Prefix.of([Message("user", (Text("日本語の文章です"),))]).whole.bulk.wide_tokens > 4


def test_only_the_latest_requests_are_marked() -> None:
    messages = [ASK, *[CALL, RESULT] * 10]
    prefix = Prefix.of(messages)
    assert [mark.n_messages for mark in prefix.earlier] == [19, 17, 15, 13]
    assert prefix.system is None


def test_odd_histories() -> None:
    assert Prefix.of([SYSTEM]).system == Prefix.of([SYSTEM]).whole
    assert Prefix.of([CALL]).earlier == ()
    assert Prefix.of([Message("user", ())]).whole.bulk.chars == 0
    assert Prefix.of([Message("user", (Text("\ud800 lone"),))]).whole.bulk.chars == 6


@given(st.lists(st.text(max_size=30), min_size=1, max_size=8), st.integers(0, 7))
def test_a_prefix_is_a_prefix(texts: list[str], cut: int) -> None:
    messages = [Message("assistant" if i % 2 else "user", (Text(text),)) for i, text in enumerate(texts)]
    cut = min(cut, len(messages) - 1) | 1
    if cut < len(messages):
        whole = Prefix.of(messages)
        assert Prefix.of(messages[:cut]).whole in whole.earlier or cut < len(messages) - 8
