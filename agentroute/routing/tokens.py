"""How many tokens a request will cost: anchored on what the provider last counted, the rest by characters.

No tokenizer is loaded: each target has its own, and the figure only has to be right to a few percent. Every number
from here is an estimate and is shown as one (`estimated_usage`).
"""

from __future__ import annotations

from dataclasses import dataclass

from .prefix import Bulk, Prefix

__all__ = ["Anchor", "TokenEstimate", "estimate"]

PROSE_CHARS = 4.2
JSON_CHARS = 2.85
MESSAGE_TOKENS = 4.0
CALL_TOKENS = 20.0
IMAGE_TOKENS = 1000.0
PAGE_TOKENS = 2000.0
SECOND_TOKENS = 32.0
TOOLS_CHARS = 5.2
"""Characters a token (prose, JSON, tool schemas) and tokens a message, a call (name and framing), an image, a page of a
PDF and a second of sound.

The first four are fitted by `evals/tokens.py` on the recorded usage of tau2-bench (OpenAI and Anthropic models); the
image figure is what a picture of about a megapixel costs at Anthropic and at OpenAI's high detail. A page costs 1,500
to 3,000 tokens at Anthropic (https://platform.claude.com/docs/en/build-with-claude/pdf-support) and 258 at Gemini
(https://ai.google.dev/gemini-api/docs/document-processing): the dear reading is taken. Sound costs 32 tokens a second
at Gemini (https://ai.google.dev/gemini-api/docs/audio). How many pages or seconds a file has is guessed from its size
(prefix.py), so of a request with files only the order of magnitude is known until its provider has counted it.
"""


@dataclass(frozen=True, slots=True)
class Anchor:
    """What a provider counted (`input_tokens`) for an earlier request of this conversation of size `bulk`."""

    input_tokens: int
    bulk: Bulk


@dataclass(frozen=True, slots=True)
class TokenEstimate:
    """Input tokens expected for the whole request; `anchored` where a real count of this conversation helped."""

    input_tokens: int
    tools_tokens: int
    anchored: bool


def estimate(prefix: Prefix, anchor: Anchor | None = None) -> TokenEstimate:
    """The input tokens of a request. With an anchor only what came after it is estimated."""
    size = _by_characters(prefix.whole.bulk)
    if anchor is not None and anchor.bulk.chars:
        before = _by_characters(anchor.bulk)
        if size >= before:
            return TokenEstimate(round(anchor.input_tokens + size - before), 0, True)
        return TokenEstimate(max(round(anchor.input_tokens * size / before), 1), 0, True)
    tools_tokens = round(prefix.tools_chars / TOOLS_CHARS)
    return TokenEstimate(max(round(size), 1) + tools_tokens, tools_tokens, False)


def _by_characters(bulk: Bulk) -> float:
    return (
        bulk.prose / PROSE_CHARS
        + bulk.json / JSON_CHARS
        + bulk.wide_tokens
        + bulk.messages * MESSAGE_TOKENS
        + bulk.calls * CALL_TOKENS
        + bulk.images * IMAGE_TOKENS
        + bulk.pages * PAGE_TOKENS
        + bulk.document_chars / PROSE_CHARS
        + bulk.seconds * SECOND_TOKENS
    )
