"""What all dialects need of pictures, documents and recordings: media types, data URLs, names of files and formats."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Final

from agentroute.messages import Audio, Document, Image
from agentroute.targets.model_rules import ModelRules

from .reading import split_data_url

__all__ = [
    "file_data",
    "file_name",
    "from_text",
    "media_type_of",
    "read_file_data",
    "refusal_of",
    "sound_format",
    "to_text",
    "true_media_type",
]

_STARTS: Final = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mp3"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
)
"""How a file of each kind that some dialect takes begins."""

_RIFF: Final = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
"""What stands behind `RIFF` and a length."""

_BOXES: Final = {
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"hevc": "image/heic",
    b"mif1": "image/heif",
    b"msf1": "image/heif",
    b"avif": "image/avif",
    b"avis": "image/avif",
}
"""What stands behind a length and `ftyp`: pictures of phones."""

_ALIASES: Final = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png"}
"""Names that browsers and tools give, and no provider takes."""

_ENDINGS: Final = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".avif": "image/avif",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".bmp": "image/bmp",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
    ".txt": "text/plain",
    ".md": "text/markdown",
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".xml": "text/xml",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".wav": "audio/wav",
    ".mp3": "audio/mp3",
    ".ogg": "audio/ogg",
    ".flac": "audio/flac",
    ".m4a": "audio/m4a",
}
_ENDING_OF: Final = {kind: ending for ending, kind in _ENDINGS.items() if not kind.startswith("image/")}
_PLAIN: Final = frozenset({"application/json", "application/xml", "application/x-ndjson"})
_SOUNDS: Final = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav", "x-flac": "flac", "x-m4a": "m4a"}


def media_type_of(part: Image | Document | Audio) -> str | None:
    """The media type as given, else as the beginning of the data or the end of the name or URL tells it; else None.

    The data of a recording of no known type counts as wav.
    """
    if part.media_type:
        return part.media_type
    told = [
        _by_bytes(part.data),
        _by_ending((part.url or "").partition("?")[0]),
        _by_ending(part.name if isinstance(part, Document) else None),
    ]
    if isinstance(part, Audio) and part.data is not None:
        told.append("audio/wav")
    return next((kind for kind in told if kind is not None and _is_kind(part, kind)), None)


def true_media_type(part: Image | Document | Audio) -> str | None:
    """The media type by which providers know the part: that of its bytes, if they tell one of its kind, else the given
    one by its proper name."""
    told = _by_bytes(part.data)
    if told is not None and _is_kind(part, told) and not isinstance(part, Audio):
        return told
    return None if part.media_type is None else _ALIASES.get(part.media_type.lower(), part.media_type)


def refusal_of(part: Image | Document | Audio, rules: ModelRules) -> str | None:
    """Why a model of these rules does not take the part, in words that go on from its name; None if it does, or if the
    media type is not told. A text is taken as one, if documents are taken at all.

    >>> refusal_of(Image(url="https://example.com/a.heic"), ModelRules(image_types=("image/png",)))
    'cannot read image/heic'
    """
    if isinstance(part, Image) and part.data is None and part.url is not None and rules.image_urls is False:
        return "takes no picture by its URL"
    match part:
        case Image():
            taken = rules.image_types
        case Audio():
            taken = rules.audio_types
        case _:
            taken = rules.document_types
    if taken is None:
        return None
    kind = (true_media_type(part) or media_type_of(part) or "").partition(";")[0].strip().lower()
    if taken and (not kind or kind in taken or _is_text(part, kind)):
        return None
    return f"cannot read {kind}" if kind else "cannot read such files"


def _is_text(part: Image | Document | Audio, kind: str) -> bool:
    return isinstance(part, Document) and (kind.startswith("text/") or kind in _PLAIN)


def _is_kind(part: Image | Document | Audio, media_type: str) -> bool:
    family = media_type.partition("/")[0]
    match part:
        case Image():
            return family == "image"
        case Audio():
            return family == "audio"
        case _:
            return family not in ("image", "audio")


def _by_bytes(data: str | None) -> str | None:
    head = (data or "")[:32]
    try:
        raw = b64decode(head + "=" * (-len(head) % 4))
    except ValueError:
        return None
    if raw[:4] == b"RIFF":
        return _RIFF.get(raw[8:12])
    if raw[4:8] == b"ftyp":
        return _BOXES.get(raw[8:12])
    return next((kind for start, kind in _STARTS if raw.startswith(start)), None)


def _by_ending(name: str | None) -> str | None:
    return None if not name else _ENDINGS.get("." + name.rpartition(".")[2].lower())


def file_data(document: Document) -> str:
    """The data as a URL that holds it, as the dialects of OpenAI want it."""
    return f"data:{media_type_of(document) or 'application/octet-stream'};base64,{document.data or ''}"


def read_file_data(text: str) -> tuple[str | None, str] | None:
    """Media type and base64 data of a data URL, or of bare base64; None for what is neither."""
    if ":" not in text[:256]:
        return None, text
    held = split_data_url(text)
    return None if held is None else (held[0] or None, held[1])


def file_name(document: Document) -> str:
    """The name, or one of the right ending: OpenAI refuses data without a name."""
    return document.name or "document" + _ENDING_OF.get(media_type_of(document) or "", "")


def sound_format(audio: Audio) -> str:
    """The word for its media type that OpenAI has: `audio/mpeg` is mp3."""
    kind = (media_type_of(audio) or "audio/wav").partition(";")[0].rpartition("/")[2].strip().lower()
    return _SOUNDS.get(kind, kind)


def from_text(text: str) -> str:
    """The base64 of a plain text."""
    return b64encode(text.encode("utf-8", "surrogatepass")).decode("ascii")


def to_text(document: Document) -> tuple[str, bool] | None:
    """The text of a document that is nothing but text, and whether all of it could be read; None for any other."""
    kind = (media_type_of(document) or "").partition(";")[0]
    if document.data is None or not _is_text(document, kind):
        return None
    try:
        raw = b64decode(document.data)
    except ValueError:
        return None
    try:
        return raw.decode("utf-8", "surrogatepass"), True
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace"), False
