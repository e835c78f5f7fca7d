"""Documents and recordings in every dialect: read, written, refused where they cannot be said, never lost."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute import ChatRequest, Message, RequestError, ToolCall, ToolResult, formats
from agentroute.formats.foreign import unsupported_part
from agentroute.messages import Audio, Document, Extra, Image, Part, Text
from agentroute.providers import DIALECTS, NATIVE

PDF = "JVBERi0xLjQK"
WAV = "UklGRg=="
NOTE = b64encode(b"a note").decode()
NAMED = "https://example.org/a.pdf"


def wire(dialect: str, *parts: dict[str, Any]) -> dict[str, Any]:
    """A request of the dialect in which the user says these parts."""
    content = list(parts)
    match dialect:
        case "gemini":
            return {"contents": [{"role": "user", "parts": content}]}
        case "openai_responses":
            return {"input": [{"role": "user", "content": content}]}
        case _:
            return {"messages": [{"role": "user", "content": content}]}


def told(dialect: str, body: dict[str, Any]) -> Any:
    match dialect:
        case "gemini":
            return body["contents"][0]["parts"]
        case "openai_responses":
            return body["input"][0]["content"]
        case _:
            return body["messages"][0]["content"]


def decode(dialect: str, *parts: dict[str, Any]) -> tuple[Part, ...]:
    (message,) = formats.of(dialect).decode_request(wire(dialect, *parts)).messages
    return message.parts


def encode(dialect: str, *parts: Part) -> formats.Encoded:
    return formats.of(dialect).encode_request(ChatRequest((Message("user", parts),)), model="m")


CHAT, CLAUDE, GEMINI, RESPONSES = "openai_chat", "anthropic_messages", "gemini", "openai_responses"
SAID: list[tuple[str, dict[str, Any], Part]] = [
    (
        CHAT,
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
        Document(data=PDF, media_type="application/pdf", name="a.pdf"),
    ),
    (
        CHAT,
        {
            "type": "file",
            "file": {"filename": "a", "file_data": "data:a/b;base64,QUJD", "x": 1},
            "cache_control": {"type": "ephemeral"},
        },
        Document(
            data="QUJD",
            media_type="a/b",
            name="a",
            extra=Extra(CHAT, {"cache_control": {"type": "ephemeral"}, "file": {"x": 1}}),
        ),
    ),
    (CHAT, {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}, Audio(None, WAV, "audio/wav")),
    (CHAT, {"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}}, Audio(None, "SUQz", "audio/mp3")),
    (
        CLAUDE,
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}, "title": "a"},
        Document(data=PDF, media_type="application/pdf", name="a"),
    ),
    (
        CLAUDE,
        {
            "type": "document",
            "source": {"type": "url", "url": NAMED},
            "citations": {"enabled": True},
            "cache_control": {"type": "ephemeral"},
        },
        Document(
            url=NAMED,
            media_type="application/pdf",
            extra=Extra(CLAUDE, {"citations": {"enabled": True}, "cache_control": {"type": "ephemeral"}}),
        ),
    ),
    (
        CLAUDE,
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a note"}},
        Document(data=NOTE, media_type="text/plain"),
    ),
    (
        GEMINI,
        {"inlineData": {"mimeType": "application/pdf", "data": PDF}, "partMetadata": {"a": 1}},
        Document(data=PDF, media_type="application/pdf", extra=Extra(GEMINI, {"partMetadata": {"a": 1}})),
    ),
    (
        GEMINI,
        {"fileData": {"fileUri": NAMED, "mimeType": "application/pdf"}},
        Document(NAMED, None, "application/pdf"),
    ),
    (GEMINI, {"inlineData": {"mimeType": "text/plain", "data": NOTE}}, Document(data=NOTE, media_type="text/plain")),
    (GEMINI, {"inlineData": {"mimeType": "audio/mp3", "data": "SUQz"}}, Audio(None, "SUQz", "audio/mp3")),
    (
        GEMINI,
        {"fileData": {"fileUri": "https://example.org/a.wav", "mimeType": "audio/wav"}},
        Audio("https://example.org/a.wav", None, "audio/wav"),
    ),
    (
        RESPONSES,
        {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}", "detail": "low"},
        Document(data=PDF, media_type="application/pdf", name="a.pdf", extra=Extra(RESPONSES, {"detail": "low"})),
    ),
    (RESPONSES, {"type": "input_file", "file_url": NAMED}, Document(url=NAMED)),
]
KEPT: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"type": "file", "file": {"file_id": "file-1"}}),
    (CHAT, {"type": "file", "file": {"filename": "a.pdf", "file_data": "https://example.org/a.pdf"}}),
    (CHAT, {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain,hello"}}),
    (CLAUDE, {"type": "document", "source": {"type": "file", "file_id": "file_1"}, "title": "a"}),
    (CLAUDE, {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "a"}]}}),
    (CLAUDE, {"type": "document", "source": {"type": "base64", "media_type": "a/b", "data": PDF, "new": 1}}),
    (GEMINI, {"fileData": {"fileUri": "gs://bucket/a.pdf", "mimeType": "application/pdf"}}),
    (
        GEMINI,
        {
            "fileData": {
                "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/a",
                "mimeType": "audio/wav",
            }
        },
    ),
    (RESPONSES, {"type": "input_file", "file_id": "file-1"}),
]
STRANGE: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"type": "file", "file": "a"}),
    (CHAT, {"type": "input_audio", "input_audio": {"data": WAV}}),
    (CHAT, {"type": "input_audio", "input_audio": None}),
    (RESPONSES, {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}),
    (GEMINI, {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}}),
]


@pytest.mark.parametrize(("dialect", "raw", "part"), SAID)
def test_a_file_is_read_and_written_again_as_it_was(dialect: str, raw: dict[str, Any], part: Part) -> None:
    before = json.dumps(raw)
    assert decode(dialect, raw, _text(dialect)) == (part, Text("read"))
    encoded = encode(dialect, part, Text("read"))
    assert told(dialect, encoded.body) == [raw, _text(dialect)]
    assert encoded.changes in ((), ("`max_tokens` set to 16,384: Anthropic demands a limit",))
    assert json.dumps(raw) == before


@pytest.mark.parametrize(("dialect", "raw"), KEPT)
def test_a_file_that_lies_elsewhere_goes_back_as_it_was_and_nowhere_else(dialect: str, raw: dict[str, Any]) -> None:
    part, _ = decode(dialect, raw, _text(dialect))
    assert isinstance(part, Document | Audio)
    assert (part.url, part.data) == (None, None)
    assert told(dialect, encode(dialect, part, Text("read")).body) == [raw, _text(dialect)]
    for other in set(DIALECTS) - {dialect}:
        with pytest.raises(RequestError, match=f"cannot be sent to a target of the dialect {other}, which cannot"):
            encode(other, part)


@pytest.mark.parametrize(("dialect", "raw"), STRANGE)
def test_what_is_no_file_that_we_know_is_kept_as_before(dialect: str, raw: dict[str, Any]) -> None:
    part, _ = decode(dialect, raw, _text(dialect))
    assert part == Text("", Extra(dialect, raw))
    assert told(dialect, encode(dialect, part, Text("read")).body) == [raw, _text(dialect)]


def _text(dialect: str) -> dict[str, Any]:
    if dialect == GEMINI:
        return {"text": "read"}
    return {"type": "input_text" if dialect == RESPONSES else "text", "text": "read"}


REFUSED: list[tuple[str, Part, str]] = [
    (CLAUDE, Audio(data=WAV, media_type="audio/wav"), "recording 'audio/wav' .* cannot hear audio"),
    (RESPONSES, Audio(url="https://example.org/a.wav"), "the recording cannot .* cannot hear audio"),
    (CHAT, Audio(url="https://example.org/a.wav"), "cannot hear audio by URL"),
    (CHAT, Document(url=NAMED, name="a.pdf"), "document 'a.pdf' .* cannot read documents by URL"),
    (CHAT, Document(name="a.pdf"), "cannot read documents without data or URL"),
    (GEMINI, Audio(), "cannot hear audio without data or URL"),
    (CLAUDE, Document(extra=Extra(CLAUDE, {})), "without data or URL"),
]


@pytest.mark.parametrize(("dialect", "part", "words"), REFUSED)
def test_what_cannot_be_said_is_refused_by_name_wherever_it_stands(dialect: str, part: Part, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        encode(dialect, Text("a"), part)
    if isinstance(part, Document):
        call = Message("assistant", (ToolCall("c", "look", "{}"),))
        result = Message("tool", (ToolResult("c", (Text("a"), part)),))
        with pytest.raises(RequestError, match=words):
            formats.of(dialect).encode_request(ChatRequest((call, result)), model="m")


def test_a_ready_model_is_not_judged_by_what_a_dialect_can_say() -> None:
    assert all(unsupported_part(part, NATIVE) is None for _, part, _ in REFUSED if isinstance(part, Document | Audio))


class TestResults:
    """A result may hold a document; a recording in one stays a part of its own dialect."""

    def test_anthropic(self) -> None:
        block = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}
        shown = {"type": "text", "text": "see"}
        raw = [
            {"role": "user", "content": "look"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "look", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [shown, block]}]},
        ]
        request = formats.of(CLAUDE).decode_request({"messages": raw, "max_tokens": 9})
        assert request.messages[-1].tool_results[0].content == (
            Text("see"),
            Document(data=PDF, media_type="application/pdf"),
        )
        assert formats.of(CLAUDE).encode_request(request).body["messages"] == raw

    def test_responses(self) -> None:
        held = {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}
        raw = [
            {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": [held]},
        ]
        request = formats.of(RESPONSES).decode_request({"input": raw})
        assert request.messages[-1].tool_results[0].content == (Document(None, PDF, "application/pdf", "a.pdf"),)
        assert formats.of(RESPONSES).encode_request(request).body["input"] == raw

    def test_gemini_inside_and_beside(self) -> None:
        inside = {"inlineData": {"mimeType": "application/pdf", "data": PDF}}
        sound = {"inlineData": {"mimeType": "audio/wav", "data": WAV}}
        given = {"name": "look", "id": "c", "response": {"result": "see"}, "parts": [inside, sound]}
        raw = [
            {"role": "user", "parts": [{"text": "look"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {}, "id": "c"}}]},
            {"role": "user", "parts": [{"functionResponse": given}]},
        ]
        request = formats.of(GEMINI).decode_request({"contents": raw})
        result = request.messages[-1].tool_results[0]
        assert result.content[1:] == (
            Document(None, PDF, "application/pdf", extra=Extra(GEMINI, {})),
            Text("", Extra(GEMINI, sound)),
        )
        assert formats.of(GEMINI).encode_request(request, model="m").body["contents"] == raw
        plain = replace(result, content=(Text("see"), Document(data=PDF, name="a.pdf")))
        moved = formats.of(GEMINI).encode_request(
            ChatRequest((*request.messages[:-1], Message("tool", (plain,)))), model="m"
        )
        assert moved.body["contents"][-1]["parts"][1] == inside
        assert moved.changes == (
            "names of documents left out: Gemini has no such field",
            "documents of tool results put beside them, into the user's content",
        )

    def test_chat_reads_one_and_keeps_a_recording_whole(self) -> None:
        file = {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}
        sound = {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}
        raw = [{"role": "tool", "tool_call_id": "c", "content": [file, sound]}]
        (message,) = formats.of(CHAT).decode_request({"messages": raw}).messages
        assert message.tool_results[0].content == (
            Document(None, PDF, "application/pdf", "a.pdf"),
            Text("", Extra(CHAT, sound)),
        )
        assert formats.of(CHAT).encode_request(ChatRequest((message,))).body["messages"] == raw


class TestSpelling:
    def test_openai_is_given_a_name_of_the_right_ending(self) -> None:
        unnamed = Document(data=PDF)
        (file,) = told(CHAT, encode(CHAT, unnamed).body)
        assert file["file"] == {"filename": "document.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}
        (held,) = told(RESPONSES, encode(RESPONSES, unnamed).body)
        assert held["filename"] == "document.pdf"

    def test_bare_base64_is_read_too(self) -> None:
        assert decode(CHAT, {"type": "file", "file": {"file_data": PDF}}) == (Document(data=PDF),)

    @pytest.mark.parametrize(
        ("part", "kind"),
        [
            (Document(data=PDF), "application/pdf"),
            (Document(data="AAAA", name="A.CSV"), "text/csv"),
            (Document(url="https://example.org/a.PDF?x=1"), "application/pdf"),
            (Audio(data=WAV), "audio/wav"),
            (Audio(data="SUQzBAA="), "audio/mp3"),
            (Audio(url="https://example.org/a.flac"), "audio/flac"),
            (Document(data="AAAA"), "application/octet-stream"),
            (Document(url="https://example.org/a"), None),
        ],
    )
    def test_gemini_is_told_a_media_type(self, part: Part, kind: str | None) -> None:
        (raw,) = told(GEMINI, encode(GEMINI, part).body)
        (held,) = raw.values()
        assert held.get("mimeType") == kind

    @pytest.mark.parametrize(
        ("media_type", "kind"),
        [("audio/mpeg", "mp3"), ("audio/x-wav", "wav"), ("audio/ogg;codecs=opus", "ogg"), (None, "wav")],
    )
    def test_openai_is_told_the_format_of_a_recording(self, media_type: str | None, kind: str) -> None:
        (raw,) = told(CHAT, encode(CHAT, Audio(data="AAAA", media_type=media_type)).body)
        assert raw["input_audio"]["format"] == kind

    def test_anthropic_reads_texts_as_texts(self) -> None:
        table = Document(data=b64encode(b"a,b").decode(), media_type="text/csv", name="a.csv")
        (block,) = told(CLAUDE, encode(CLAUDE, table).body)
        assert block == {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "a,b"},
            "title": "a.csv",
        }
        latin = encode(CLAUDE, Document(data=b64encode(b"caf\xe9").decode(), media_type="text/plain"))
        assert told(CLAUDE, latin.body)[0]["source"]["data"] == "caf\ufffd"
        assert any("no UTF-8" in change for change in latin.changes)

    def test_the_name_of_a_document_by_url(self) -> None:
        assert any("names of documents" in change for change in encode(RESPONSES, Document(NAMED, name="a")).changes)

    def test_a_file_in_the_mouth_of_the_assistant(self) -> None:
        request = ChatRequest((Message("user", (Text("a"),)), Message("assistant", (Document(data=PDF),))))
        with pytest.raises(RequestError, match="a document cannot stand in what the assistant said"):
            formats.of(RESPONSES).encode_request(request)


@pytest.mark.parametrize("dialect", [CHAT, CLAUDE, RESPONSES])
def test_an_answer_of_a_model_never_holds_a_file(dialect: str) -> None:
    """Its stream could not say one: what looks like it is kept whole."""
    file: dict[str, Any]
    match dialect:
        case "openai_chat":
            file = {"type": "file", "file": {"filename": "a", "file_data": f"data:a/b;base64,{PDF}"}}
            body: dict[str, Any] = {"choices": [{"message": {"role": "assistant", "content": [file]}}]}
        case "anthropic_messages":
            file = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}
            body = {"type": "message", "role": "assistant", "content": [file], "stop_reason": "end_turn"}
        case _:
            file = {"type": "input_file", "filename": "a", "file_data": f"data:a/b;base64,{PDF}"}
            said = {"type": "message", "role": "assistant", "content": [file]}
            body = {"status": "completed", "output": [said]}
    (part,) = formats.of(dialect).decode_response(body).message.parts
    assert part == Text("", Extra(dialect, file))


_TYPES = st.sampled_from([None, "application/pdf", "text/plain", "text/csv", "a/b"])
_DATA = st.binary(min_size=1, max_size=12).map(lambda raw: b64encode(raw).decode()) | st.just(PDF)
_FIELDS = st.fixed_dictionaries({"x": st.integers()})
_EXTRA = st.none() | st.builds(Extra, st.sampled_from(DIALECTS), _FIELDS)
_NAMES = st.none() | st.sampled_from(["a.pdf", "note", "ü.txt"])
files = st.one_of(
    st.builds(Document, data=_DATA, media_type=_TYPES, name=_NAMES, extra=_EXTRA),
    st.builds(Document, url=st.sampled_from([NAMED, "http://x/y"]), media_type=_TYPES, name=_NAMES, extra=_EXTRA),
    st.builds(Document, name=_NAMES),
    st.builds(Audio, data=_DATA, media_type=st.sampled_from([None, "audio/wav", "audio/mpeg"]), extra=_EXTRA),
    st.builds(Audio, url=st.just("https://example.org/a.wav"), extra=_EXTRA),
    st.just(Audio()),
)


@pytest.mark.parametrize("dialect", DIALECTS)
@given(parts=st.lists(files | st.just(Image(data="iVBO", media_type="image/png")), min_size=1, max_size=3))
def test_a_file_arrives_or_is_refused(dialect: str, parts: list[Any]) -> None:
    lost = [
        part for part in parts if isinstance(part, Document | Audio) and unsupported_part(part, dialect) is not None
    ]
    if lost:
        with pytest.raises(RequestError, match="cannot be sent"):
            encode(dialect, *parts)
        return
    body = encode(dialect, *parts).body
    json.dumps(body)
    (message,) = formats.of(dialect).decode_request(body).messages
    assert len(message.parts) == len(parts)
    for sent, back in zip(parts, message.parts, strict=True):
        if isinstance(back, Text):
            assert dialect == GEMINI
            assert sent.media_type == "a/b" or (sent.media_type is None and sent.url is not None)
            continue
        if isinstance(sent, Document | Audio):
            assert type(back) is type(sent)
            assert back.url == sent.url
            if dialect != CLAUDE and sent.data is not None:
                assert back.data == sent.data
