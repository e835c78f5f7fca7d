"""The SSE decoder: any split of the bytes gives the same events, and nothing odd gets through."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute import BadResponse
from agentroute.formats.sse import ServerSentEvent, SseDecoder, encode_event


def decode(*chunks: bytes, **options: int) -> list[tuple[str, str]]:
    decoder = SseDecoder(**options)
    return [tuple(event) for chunk in chunks for event in decoder.feed(chunk)]


@pytest.mark.parametrize(
    ("raw", "events"),
    [
        (b"data: a\n\n", [("message", "a")]),
        (b"data:a\n\n", [("message", "a")]),
        (b"data:  a\n\n", [("message", " a")]),
        (b"data: a\r\n\r\ndata: b\r\r", [("message", "a"), ("message", "b")]),
        (b"data: a\ndata: b\n\n", [("message", "a\nb")]),
        (b"data: a\ndata\n\n", [("message", "a\n")]),
        (b"event: error\ndata: {}\n\ndata: x\n\n", [("error", "{}"), ("message", "x")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("message", "a")]),
        (b": hello\n\n:\n\n", []),
        (b"event: ping\n\ndata: x\n\n", [("message", "x")]),
        (b"id: 1\nretry: 5\nunknown: z\ndata: x\n\n", [("message", "x")]),
        (b"data: a\n\ndata: half", [("message", "a")]),
        (b"data: a\n\ndata: half\n", [("message", "a")]),
        ("data: é😀\n\n".encode(), [("message", "é😀")]),
        ("data: a\u2028b\x0bc\x85d\n\n".encode(), [("message", "a\u2028b\x0bc\x85d")]),
        (b"\n\n\n", []),
    ],
)
def test_events(raw: bytes, events: list[tuple[str, str]]) -> None:
    assert decode(raw) == events
    assert decode(*(raw[i : i + 1] for i in range(len(raw)))) == events


lines = st.lists(
    st.sampled_from(
        [
            "data: a",
            "data:b",
            "data: é😀",
            "data",
            "event: error",
            ": note",
            "",
            "",
            "id: 7",
            "data: " + "x" * 40,
            "junk",
        ]
    ),
    max_size=12,
)


@given(lines, st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(), st.data())
def test_any_split_gives_the_same_events(texts: list[str], newline: str, bom: bool, data: st.DataObject) -> None:
    raw = (b"\xef\xbb\xbf" if bom else b"") + newline.join(texts).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    chunks = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert decode(*chunks) == decode(raw)


def test_what_is_no_utf_8_is_our_error() -> None:
    with pytest.raises(BadResponse, match="not UTF-8") as caught:
        decode(b"data: \xff\xfe\n\n")
    assert caught.value.__context__ is None


@pytest.mark.parametrize("chunks", [[b"data: " + b"a" * 200], [b"data: a\n"] * 200, [b"a"] * 200])
def test_an_event_has_a_largest_size(chunks: list[bytes]) -> None:
    with pytest.raises(BadResponse, match="larger than 100 bytes"):
        decode(*chunks, max_event_bytes=100)


def test_the_size_is_of_one_event() -> None:
    assert len(decode(*[b"data: " + b"a" * 60 + b"\n\n"] * 10, max_event_bytes=100)) == 10


def test_an_event_is_a_pair() -> None:
    assert SseDecoder().feed(b"data: a\n\n") == [ServerSentEvent("message", "a")]


def test_an_event_is_written_whatever_its_text_holds() -> None:
    """Half a surrogate pair, which a model may well send, has no UTF-8; its escape has."""
    raw = encode_event({"type": "x", "text": "\ud83d é\n"}, "x")
    ((event, data),) = SseDecoder().feed(raw)
    assert (event, json.loads(data)) == ("x", {"type": "x", "text": "\ud83d é\n"})


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    "bad", [b"data: \xff\n\n", b"data: " + b"x" * 200 + b"\n\n", b"data: " + b"x" * 200, b"event: \xff\ndata: b\n\n"]
)
def test_the_events_before_a_bad_one_are_given_however_the_bytes_were_cut(size: int, bad: bytes) -> None:
    decoder = SseDecoder(max_event_bytes=100)
    raw = b"data: first\n\n: aside\n\ndata: second\n\n" + bad
    got: list[str] = []

    def read() -> None:
        for start in range(0, len(raw), size):
            got.extend(event.data for event in decoder.read(raw[start : start + size]))

    with pytest.raises(BadResponse):
        read()
    assert got == ["first", "second"]
