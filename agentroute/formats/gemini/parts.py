"""Parts of a content, both ways: text, thoughts, pictures, function calls; every other kind is kept whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agentroute.formats.foreign import foreign_part
from agentroute.formats.media import media_type_of
from agentroute.formats.reading import INVALID_JSON, Raw, json_object, wrong
from agentroute.messages import Audio, Document, Extra, Image, Part, Reasoning, Text, ToolCall

from .fields import DIALECT, camel, dump, known_fields, rest_of

__all__ = ["call_fields", "decode_media", "encode_arguments", "encode_part", "kept_whole"]

_BESIDE: Final = frozenset(
    {
        "thought",
        "thoughtSignature",
        "partMetadata",
        "videoMetadata",
        "mediaResolution",
        "mediaProcessing",
        "speechMetadata",
        "documentMetadata",
        "spreadsheetMetadata",
        "audioMetadata",
    }
)
"""Fields that stand beside the one field of a part that holds its content (google-genai 3.6, `types.Part`)."""

_STANDARD: Final = str.maketrans("-_", "+/")


def kept_whole(raw: Raw, origin: str | None = None) -> Text:
    """A part of a kind that the canonical values do not know."""
    return Text("", Extra(DIALECT, dict(raw), origin))


def call_fields(part: Raw, where: str) -> tuple[str | None, str, str, dict[str, Any]]:
    """Id (None where there is none), name and arguments of a part with a `functionCall`, and what else it holds.

    Raises RequestError where it has no name or arguments that are no object.
    """
    call = part["functionCall"]
    if not isinstance(call, Mapping):
        wrong(f"{where}.functionCall", call, "an object with `name` and `args`")
    call = camel(call)
    call_id, name, args = call.get("id"), call.get("name"), call.get("args")
    if not isinstance(name, str) or not name:
        wrong(f"{where}.functionCall.name", name, "the name of a function")
    if args is not None and not isinstance(args, Mapping):
        wrong(f"{where}.functionCall.args", args, "an object")
    rest = rest_of(part, "functionCall")
    inner = rest_of(call, "id", "name", "args")
    if inner:
        rest["functionCall"] = inner
    return (
        call_id if isinstance(call_id, str) and call_id else None,
        name,
        dump(args or {}, f"{where}.functionCall.args"),
        rest,
    )


def decode_media(part: Raw) -> Image | Document | Audio | None:
    """The picture, document or recording that this part is; None for a video, and for a picture that lies with Google.

    A document or a recording that lies there (a file of the Files API, `gs://`) is kept whole, as one.
    """
    for key, place in (("inlineData", "data"), ("fileData", "fileUri")):
        raw = part.get(key)
        if not isinstance(raw, Mapping):
            continue
        held = camel(raw)
        value, media_type = held.get(place), held.get("mimeType")
        kind = _KINDS.get(media_type.partition("/")[0]) if isinstance(media_type, str) else None
        if not isinstance(value, str) or kind is None:
            return None
        spare = rest_of(part, key)
        inner = rest_of(held, place, "mimeType")
        if inner:
            spare[key] = inner
        extra = Extra(DIALECT, spare) if spare else None
        if key == "inlineData":
            return kind(data=_base64(value), media_type=media_type, extra=extra)
        if value.startswith(("https://", "http://")) and "//generativelanguage.googleapis.com/" not in value:
            return kind(url=value, media_type=media_type, extra=extra)
        if kind is not Image:
            return kind(media_type=media_type, extra=Extra(DIALECT, dict(part)))
    return None


_KINDS: Final[Mapping[str, type[Image | Document | Audio]]] = {
    "image": Image,
    "application": Document,
    "text": Document,
    "audio": Audio,
}


def _base64(text: str) -> str:
    """Standard base64: Google's clients write the form for URLs, which other providers refuse."""
    text = text.translate(_STANDARD)
    return text + "=" * (-len(text) % 4)


def encode_part(part: Part) -> dict[str, Any] | None:
    """The part as it goes on the wire; None for one that this dialect cannot hold.

    Thoughts are sent back only where they came in this dialect: a Gemini model cannot use another's.
    """
    spare = known_fields(part.extra)
    if foreign_part(part, DIALECT):
        return None
    match part:
        case Text() if not part.text and not spare.keys() <= _BESIDE:
            return dict(spare)
        case Text():
            return {"text": part.text, **spare}
        case Reasoning():
            if part.extra is None or part.extra.dialect != DIALECT:
                return None
            raw = {"text": part.text, "thought": True, **spare}
            if part.signature is not None:
                raw["thoughtSignature"] = part.signature
            return raw
        case Image() | Document() | Audio():
            return _encode_file(part, media_type_of(part), spare)
        case ToolCall():
            call: dict[str, Any] = {"name": part.name, "args": encode_arguments(part)[0]}
            if part.id:
                call["id"] = part.id
            return {**spare, "functionCall": {**call, **spare.get("functionCall", {})}}
        case _:
            return None


def _encode_file(
    part: Image | Document | Audio, media_type: str | None, spare: Mapping[str, Any]
) -> dict[str, Any] | None:
    if part.data is not None:
        held = {"mimeType": media_type or "application/octet-stream", "data": part.data}
        return {**spare, "inlineData": {**held, **spare.get("inlineData", {})}}
    if part.url is None:
        return dict(spare) or None
    held = {"fileUri": part.url}
    if media_type is not None:
        held["mimeType"] = media_type
    return {**spare, "fileData": {**held, **spare.get("fileData", {})}}


def encode_arguments(call: ToolCall) -> tuple[dict[str, Any], bool]:
    """The arguments as an object, and whether they were one: any other text is given under `INVALID_JSON`."""
    if not call.arguments.strip():
        return {}, True
    found = json_object(call.arguments)
    return ({INVALID_JSON: call.arguments}, False) if found is None else (found, True)
