"""Measures the text of an ask so that the figures mean the same in every language and script."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from agentroute.messages import Tool

__all__ = ["Script", "TextStats", "measure", "overlap"]

Script: TypeAlias = Literal[
    "latin", "greek", "cyrillic", "hebrew", "arabic", "indic", "thai", "hangul", "kana", "han", "other", "none"
]


@dataclass(frozen=True, slots=True)
class TextStats:
    """What `measure` found. `code` and `maths` run from 0 to 1."""

    plain: bytes
    """The text in ASCII, a question mark for each other character."""
    tokens: int
    script: Script
    code: float
    maths: float
    numbers: int
    sentences: int
    questions: int
    intents: int


_BLOCKS: tuple[tuple[Script, tuple[tuple[int, int], ...], float], ...] = (
    ("latin", ((0x00, 0x02), (0x1E, 0x1E)), 0.25),
    ("greek", ((0x03, 0x03), (0x1F, 0x1F)), 0.25),
    ("cyrillic", ((0x04, 0x04),), 0.25),
    ("hebrew", ((0x05, 0x05),), 0.3),
    ("arabic", ((0x06, 0x08), (0xFB, 0xFD)), 0.3),
    ("indic", ((0x09, 0x0D),), 0.25),
    ("thai", ((0x0E, 0x0E),), 0.25),
    ("hangul", ((0x11, 0x11), (0xAC, 0xD7)), 0.5),
    ("kana", ((0x30, 0x31),), 0.5),
    ("han", ((0x34, 0x9F), (0xF9, 0xFA)), 0.75),
    ("other", ((0x0F, 0x10), (0x12, 0x1D), (0x20, 0x2F), (0x32, 0x33), (0xA0, 0xAB), (0xD8, 0xF8), (0xFE, 0xFF)), 0.25),
)
"""Blocks of Unicode by the high byte of UTF-16, and how many tokens of English one character is worth: chosen so
that the same asks in a dozen languages come out near each other (tests/routing/test_textstats.py)."""

_SCRIPTS: tuple[Script, ...] = tuple(block[0] for block in _BLOCKS)
_WEIGHTS = tuple(block[2] for block in _BLOCKS)
_BLOCK_OF = bytes(
    next(place for place, (_, ranges, _) in enumerate(_BLOCKS) if any(low <= high <= top for low, top in ranges))
    for high in range(256)
)
_NO_LETTERS = bytes(byte for byte in range(256) if not (65 <= byte <= 90 or 97 <= byte <= 122))
_CODE_SIGNS = b"{}[]();_\\|&#@`~"
_DIGITS = bytes(byte if 48 <= byte <= 57 else 32 for byte in range(256))
_SUMS = bytes(48 if 48 <= byte <= 57 else 43 if byte in b"+-*/=^" else byte for byte in range(256))
_JOINTS = bytes(
    117 if byte == 95 else 115 if byte in _CODE_SIGNS else 97 if chr(byte).isalnum() and byte < 128 else 32
    for byte in range(256)
)
_POWERS = bytes(
    94 if byte == 94 else 97 if byte < 128 and (chr(byte).isalnum() or byte == 41) else 32 for byte in range(256)
)
_LETTERS = bytes(byte if 97 <= byte <= 122 else byte + 32 if 65 <= byte <= 90 else 32 for byte in range(256))
_CODE_STARTS = (
    "def ", "class ", "import ", "from ", "func ", "fn ", "public ", "private ", "const ", "let ", "var ", "return ",
    "for (", "if (", "if __", "async ", "package ", "using ", "#include", "SELECT ", "CREATE ", "diff --git", "@@ ",
    "+++ ", "--- ", ">>> ", "$ ", "Traceback (most", "<?", "<div", "<html", "//", "/*", "@",
)  # fmt: skip
_CODE_ENDS = (";", "{", "}", "):", "];", ",)", "=>", "\\")
_BULLETS = ("- ", "* ", "• ", "· ", "– ", "‣ ", "-\t", "*\t", "•")
_SHORTEST = 100.0
"""Characters of English below which an ask is too short for a density to mean much."""

_LINES = 64
"""Lines of the ask that are looked at one by one."""


def measure(text: str) -> TextStats:
    """Statistics of the ask that mean the same in every language, of at most 2,000 characters."""
    if not text:
        return TextStats(b"", 0, "none", 0.0, 0.0, 0, 0, 0, 0)
    ascii_only = text.isascii()
    plain = text.encode("ascii", "replace")
    letters = len(plain.translate(None, _NO_LETTERS))
    questions = text.count("? ") + text.count("?\n") + text.count('?"') + (text[-1] == "?")
    stops = text.count(". ") + text.count(".\n") + text.count("! ") + text.count("!\n") + questions
    signs_of_maths = 0
    script: Script = "latin" if letters else "none"
    if ascii_only:
        worth = len(text) * 0.25
    else:
        wide = text.encode("utf-16-be", "surrogatepass")[::2]
        blocks = wide.translate(_BLOCK_OF)
        marks = sum(text.count(mark) for mark in "。、「」《》【】〈〉・　")
        counts = [blocks.count(place) for place in range(len(_BLOCKS))]
        counts[_KANA] -= min(marks, counts[_KANA])
        parts = [count * weight for count, weight in zip(counts, _WEIGHTS, strict=True)]
        worth = sum(parts) + marks * 0.25
        script = _dominant(parts, letters, len(text) - plain.count(b"?") - letters)
        wider = text.count("？") + text.count("؟")
        if script == "greek":
            wider += text.count(";")
        questions += wider
        stops += wider + text.count("。") + text.count("！") + text.count("।") + text.count("؟ ")
        signs_of_maths = wide.count(0x22) + text.count("×") + text.count("÷")
    items = codes = ended = 0
    if "\n" in text:
        for line in text.splitlines()[:_LINES]:
            bare = line.strip()
            if not bare:
                continue
            ended += bare[-1] not in ".!?。！？।؟,;:"
            if bare.startswith(_BULLETS) or (bare[0].isdigit() and bare[:4].lstrip("0123456789")[:1] in _NUMBERING):
                items += 1
            elif bare.startswith(_CODE_STARTS) or (bare.endswith(_CODE_ENDS) and _NOTED_END.search(bare) is None):
                codes += 1
    size = max(worth * 4, _SHORTEST)
    unnoted = _NOTED.sub(b" ", plain) if b"{" in plain or b"[" in plain else plain
    signs = _densest(_joints, unnoted.translate(_JOINTS), size)
    fences = text.count("```") if codes or signs > 0.02 else 0
    if codes < 2:
        codes = 0
    code = max(0.0, signs - 0.02) * 6 + (codes * 25 + fences * 40) / size
    maths = _densest(_operations, plain, size) + signs_of_maths / size
    if "\\" in text and ("$" in text or "\\(" in text or "\\[" in text or "\\frac" in text):
        maths += text.count("\\") / size
        code *= 0.25
    return TextStats(
        plain=plain,
        tokens=max(1, round(worth)),
        script=script,
        code=round(min(1.0, code), 4),
        maths=round(min(1.0, max(0.0, maths) * 20), 4),
        numbers=len(plain.translate(_DIGITS, b".,").split()),
        sentences=max(1, stops + ended + (text[-1] in ".!")),
        questions=questions,
        intents=max(1, questions, items),
    )


_KANA, _HAN, _OTHER = _SCRIPTS.index("kana"), _SCRIPTS.index("han"), _SCRIPTS.index("other")
_NUMBERING = (".", ")", "、", "．", "）")


_NOTED = re.compile(rb"(?<![\w)\]}])[{\[]\w{1,30}[}\]](?![\w(\[{;:=])")
_NOTED_END = re.compile(r"(?:^|\s)[{\[]\w{1,30}[}\]]$")
"""A word in braces that stands alone: `{laughter}`, `[1]`. Transcripts and papers have them, code rarely."""

_WINDOW = 300
"""Bytes over which a density is taken: what is written around a formula or a piece of code does not thin it out."""


def _densest(count: Callable[[bytes], int], text: bytes, size: float) -> float:
    """The highest share of what `count` finds in a window, in characters of English."""
    whole = count(text)
    if len(text) <= _WINDOW or not whole:
        return whole / size
    scale = max(size / len(text), 0.01) * _WINDOW
    return max(count(text[start : start + _WINDOW]) for start in range(0, len(text), _WINDOW // 2)) / scale


def _joints(classes: bytes) -> int:
    """Signs of code that touch a name or a number: a row of them counts for one on either side, `_` in a name once."""
    return classes.count(b"as") + classes.count(b"sa") + classes.count(b"au")


def _operations(plain: bytes) -> int:
    """Operators between numbers, and powers of something."""
    sums = plain.translate(_SUMS)
    spaced = sums.count(b"0 + 0") + sums.count(b"0+ 0")
    return spaced + sums.count(b"0+0") - _dates(plain) + plain.translate(_POWERS).count(b"a^")


def _dates(plain: bytes) -> int:
    """How many of the unspaced sums are dates, ranges, paths or versions: those with a dash or slash."""
    dashed = plain.translate(_DASHED)
    return dashed.count(b"0-0")


_DASHED = bytes(48 if 48 <= byte <= 57 else 45 if byte in b"-/" else byte for byte in range(256))


def _dominant(parts: list[float], letters: int, other_ascii: int) -> Script:
    """The script that carries the most of the text; ASCII signs and blanks count for none."""
    parts = list(parts)
    parts[0] = max(0.0, parts[0] - other_ascii * _WEIGHTS[0])
    parts[_OTHER] = 0.0
    if parts[_KANA] * 10 > parts[_HAN]:
        # Japanese mixes both; Chinese has no kana.
        parts[_KANA] += parts[_HAN]
    best = max(parts)
    return _SCRIPTS[parts.index(best)] if best > 0 else "latin" if letters else "none"


_COMMON = frozenset(
    b"the and for you your with that this from are was can could would should have has will not but all any what which"
    b" who how when where why please its our their them then than into about there some get use".split()
)
"""Common English words: they overlap with every tool, and an ask of some length without any of them is not English."""


_WORDS = 8
"""Words of its own that an ask has at least: "commit this" says nothing about whether it fits the tools."""


def overlap(plain: bytes, tools: Sequence[Tool]) -> float | None:
    """Share of the words of an ask that name or describe a tool; None where it says nothing: no tools, not English, or
    a few words that name none."""
    if not tools:
        return None
    found = set(plain.translate(_LETTERS).split())
    words = {word for word in found if len(word) > 2} - _COMMON
    if not words or (len(words) >= _WORDS and found.isdisjoint(_COMMON)):
        return None
    known: set[bytes] = set()
    for tool in tools[:64]:
        known |= _tool_words(tool.name, tool.description[:200])
    share = len(words & known) / len(words)
    return round(share, 4) if share >= 0.5 or len(words) >= _WORDS else None


_NAME_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


@lru_cache(maxsize=4096)
def _tool_words(name: str, description: str) -> frozenset[bytes]:
    text = " ".join(_NAME_WORD.findall(name)) + " " + description
    words = text.encode("ascii", "replace").translate(_LETTERS).split()
    return frozenset(word for word in words if len(word) > 2) - _COMMON
