"""What a conversation weighs and how it is recognised again: one pass over the messages of a request.

Providers cache prompts by prefix, so the prefix is also our key: a running hash over the messages, taken where earlier
requests of the same conversation ended (just before each of the latest assistant messages) and at the end of this one.
The hash is Python's own (64 bits, keyed per process, kept by each string object), so a history whose strings are
reused is not read again. It never leaves the process.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from agentroute.messages import (
    Audio,
    ChatRequest,
    Document,
    Image,
    Message,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)

__all__ = ["Bulk", "Mark", "Prefix", "opening_key"]

_MARKS = 4
"""How many earlier requests are looked for: the last one, and some more for a caller that dropped or retried steps."""

_SAMPLE = 256
"""Characters of a text that are looked at to tell its script."""

_WHOLE_DATA, _DATA_SAMPLES, _DATA_SAMPLE = 4096, 32, 64
"""Base64 data up to this many characters is hashed whole; of longer data, its length and so many samples of that many
characters, evenly spread: a file that comes newly parsed with every request costs microseconds, whatever its size."""

_PAGE_BYTES = 100_000
"""Bytes a page of a PDF. What Gemini takes at most (50 MB, 1,000 pages) and Anthropic (32 MB, 100 or 600 pages) is 50
to 320 kB a page; pages of text alone are smaller, scanned ones larger."""

_MOST_PAGES = 50.0
"""Pages a PDF is counted as at most: more bytes than that are more often pictures than pages, and a guess of this kind
must not keep a target out whose window may well do."""

_UNSEEN_PAGES, _UNSEEN_SECONDS = 5.0, 60.0
"""What a document and a recording count as whose size is not seen, only a URL or a name: an assumption."""

_WAV_RATE, _PACKED_RATE = 32_000, 16_000
"""Bytes a second of sound: 16 kHz in 16 bits on one channel, as speech is recorded; 128 kbit/s for what is packed."""

_JSON_STARTS = frozenset("{[")

_WIDE = ((1.12, 4.2), (1.6, 3.4), (2.3, 2.6), (9.9, 1.4))
"""(mean UTF-8 bytes a character up to, characters a token): accented Latin, mixed, Cyrillic/Arabic/Hebrew, CJK/Indic.
Rounded from what current tokenizers do with such text; see `docs/routing.md` for the error measured on real usage."""


@dataclass(frozen=True, slots=True)
class Bulk:
    """Sizes that token estimates are made of: characters of ASCII prose, of ASCII JSON, tokens of other scripts, ...

    `chars` is all text. What stands in files is not text here: `pages` of documents, `document_chars` of those that are
    plain text, and `seconds` of recordings, all told from the size of their data alone.
    """

    prose: int
    json: int
    wide_tokens: float
    messages: int
    calls: int
    images: int
    chars: int
    documents: int = 0
    recordings: int = 0
    pages: float = 0.0
    document_chars: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Mark:
    """The conversation up to some message: its key and its size.

    `tail` is the hash of its last stretch alone: of what follows the system messages or begins with the latest
    assistant message. It is the same if anything before it has changed.
    """

    key: int
    n_messages: int
    bulk: Bulk
    tail: int = 0


@dataclass(frozen=True, slots=True)
class Prefix:
    """`whole` is all of this request; `earlier` where recent requests of the same conversation ended, newest first;
    `system` the leading system messages, which other conversations share.

    `reasoning` and `tool_choice` are the settings of the request that providers put into the prompt: what was kept
    under others is not read (`Affinity` says which count where). Hashes, 0 for none.

    `tools` has a hash for each tool, `stretches` the key of the conversation before each assistant message and at its
    end: two of them tell where two prompts begin to differ (`cache_breaks`)."""

    whole: Mark
    earlier: tuple[Mark, ...]
    system: Mark | None
    tools_chars: int = 0
    reasoning: int = 0
    tool_choice: int = 0
    tools: tuple[int, ...] = ()
    stretches: array[int] = field(default_factory=lambda: array("q"))

    @property
    def marks(self) -> tuple[Mark, ...]:
        """All places where this conversation may be known from, longest first."""
        head = (self.whole, *self.earlier)
        return head if self.system is None else (*head, self.system)

    @classmethod
    def of_request(cls, request: ChatRequest) -> Prefix:
        """The prefix of a request with its settings."""
        found = cls.of(request.messages, request.tools)
        if request.reasoning is None and request.tool_choice is None:
            return found
        reasoning = 0 if request.reasoning is None else hash(request.reasoning)
        choice = 0 if request.tool_choice is None else hash(request.tool_choice)
        return replace(found, reasoning=reasoning, tool_choice=choice)

    @classmethod
    def of(cls, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> Prefix:
        """Reads every message once; about a microsecond each."""
        end = len(messages)
        n_system = _leading_system(messages)
        schemas = tuple((tool.name, tool.description, _text(tool)) for tool in tools)
        hashes = tuple(map(hash, schemas))
        walk = _Walk(hash(hashes))
        found: list[Mark] = []
        system: Mark | None = None
        start = 0
        for stop in sorted({*_cuts(messages), n_system, end} - {0}):
            walk.read(messages[start:stop])
            mark = walk.mark(stop)
            start = stop
            if stop == n_system:
                system = mark
                if stop < end:
                    walk.begin(mark.key)
            if stop < end and messages[stop].role == "assistant":
                found.append(mark)
        whole = walk.mark(end)
        walk.stretches.append(whole.key)
        chars = sum(len(text) for each in schemas for text in each)
        return cls(whole, tuple(reversed(found)), system, chars, tools=hashes, stretches=walk.stretches)


def opening_key(messages: Sequence[Message]) -> int:
    """Tells conversations apart that have no id: all messages up to the first of the user's, hashed as above."""
    end = next((at for at, message in enumerate(messages, 1) if message.role == "user"), len(messages))
    walk = _Walk(0)
    walk.read(messages[:end])
    return walk.mark(end).key


class _Walk:
    """The running hash and the sizes so far.

    Strings are gathered and hashed together, a stretch at a time. A new stretch begins after the system messages and
    with every assistant message, wherever the request ends, so that the same messages always give the same key.
    """

    __slots__ = ("calls", "files", "images", "json", "key", "prose", "stretch", "stretches", "wide", "wide_tokens")

    def __init__(self, key: int) -> None:
        self.key = key
        self.stretch: list[str | int | None] = []
        self.stretches: array[int] = array("q")
        self.files: _Files | None = None
        self.prose = self.json = self.wide = self.calls = self.images = 0
        self.wide_tokens = 0.0

    def mark(self, n_messages: int) -> Mark:
        chars = self.prose + self.json + self.wide
        files = () if self.files is None else self.files.sizes
        bulk = Bulk(self.prose, self.json, self.wide_tokens, n_messages, self.calls, self.images, chars, *files)
        return Mark(hash((self.key, *self.stretch)), n_messages, bulk, hash(tuple(self.stretch)))

    def begin(self, key: int) -> None:
        """Begins a stretch where a mark was made."""
        self.key = key
        self.stretch.clear()

    def read(self, messages: Sequence[Message]) -> None:
        key, stretch, prose, json = self.key, self.stretch, self.prose, self.json
        gather, note = stretch.append, self.stretches.append
        for message in messages:
            role = message.role
            if role == "assistant":
                key = hash((key, *stretch))
                note(key)
                stretch.clear()
            gather(role)
            for part in message.parts:
                if type(part) is ToolResult:
                    content = part.content
                    if len(content) == 1 and type(first := content[0]) is Text:
                        text = first.text
                    else:
                        text = part.text
                        for piece in content:
                            if type(piece) is not Text:
                                self.file(piece)
                elif type(part) is ToolCall:
                    text = part.arguments
                    gather(part.name)
                    self.calls += 1
                elif type(part) is Text or type(part) is Reasoning:
                    text = part.text
                else:
                    self.file(part)
                    continue
                gather(text)
                if not text.isascii():
                    self.wide += len(text)
                    self.wide_tokens += _wide_tokens(text)
                elif text[:1] in _JSON_STARTS:
                    json += len(text)
                else:
                    prose += len(text)
        self.key, self.prose, self.json = key, prose, json

    def file(self, part: object) -> None:
        """A picture, document or recording: counted by its size, known again by samples of its data."""
        if not isinstance(part, Image | Document | Audio):
            raise TypeError(f"a message cannot hold a {type(part).__name__}")
        if isinstance(part, Image):
            self.images += 1
        else:
            self.files = self.files or _Files()
            self.files.add(part)
        self.stretch.append(part.url)
        data = part.data
        if data is None or len(data) <= _WHOLE_DATA:
            self.stretch.append(data)
            return
        self.stretch.append(len(data))
        last = len(data) - _DATA_SAMPLE
        for place in range(_DATA_SAMPLES):
            start = last * place // (_DATA_SAMPLES - 1)
            self.stretch.append(data[start : start + _DATA_SAMPLE])


class _Files:
    """The sizes of documents and recordings so far."""

    __slots__ = ("chars", "documents", "pages", "recordings", "seconds")

    def __init__(self) -> None:
        self.documents = self.recordings = 0
        self.pages = self.chars = self.seconds = 0.0

    @property
    def sizes(self) -> tuple[int, int, float, float, float]:
        """The last five of a Bulk."""
        return self.documents, self.recordings, self.pages, self.chars, self.seconds

    def add(self, part: Document | Audio) -> None:
        size = 0.0 if part.data is None else len(part.data) * 0.75
        kind = part.media_type or ""
        if isinstance(part, Audio):
            self.recordings += 1
            rate = _WAV_RATE if "wav" in kind else _PACKED_RATE
            self.seconds += size / rate if part.data is not None else _UNSEEN_SECONDS
            return
        self.documents += 1
        if part.data is None:
            self.pages += _UNSEEN_PAGES
        elif kind.startswith("text/"):
            self.chars += size
        else:
            self.pages += min(max(size / _PAGE_BYTES, 1.0), _MOST_PAGES)


def _text(tool: Tool) -> str:
    """The schema as text (Python's, which is as long as spaced JSON and quicker to make)."""
    try:
        return str(tool.parameters)
    except RecursionError:
        return ""


def _cuts(messages: Sequence[Message]) -> frozenset[int]:
    """Indexes of the latest assistant messages: the requests that produced them ended there."""
    found: list[int] = []
    for index in range(len(messages) - 1, 0, -1):
        if messages[index].role == "assistant":
            found.append(index)
            if len(found) == _MARKS:
                break
    return frozenset(found)


def _leading_system(messages: Sequence[Message]) -> int:
    for index, message in enumerate(messages):
        if message.role not in ("system", "developer"):
            return index
    return len(messages)


def _wide_tokens(text: str) -> float:
    sample = text[:_SAMPLE] if len(text) <= 2 * _SAMPLE else text[:_SAMPLE] + text[-_SAMPLE:]
    width = len(sample.encode("utf-8", "surrogatepass")) / len(sample)
    for up_to, rate in _WIDE:
        if width <= up_to:
            return len(text) / rate
    return len(text) / _WIDE[-1][1]
