"""What reading and writing this dialect share: its name, its two spellings, JSON texts, the fields we do not know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from agentroute.errors import RequestError
from agentroute.formats.reading import Raw
from agentroute.messages import Extra

__all__ = ["DIALECT", "GENERATION", "camel", "dump", "known_fields", "rest_of"]

DIALECT: Final = "gemini"

GENERATION: Final = frozenset(
    {
        "audioTimestamp",
        "audioTranscriptionConfig",
        "candidateCount",
        "enableAffectiveDialog",
        "enableEnhancedCivicAnswers",
        "imageConfig",
        "logprobs",
        "mediaResolution",
        "modelSelectionConfig",
        "responseFormat",
        "responseJsonSchema",
        "responseLogprobs",
        "responseMimeType",
        "responseModalities",
        "responseSchema",
        "routingConfig",
        "speechConfig",
        "thinkingConfig",
        "topK",
        "translationConfig",
    }
)
"""Settings of `generationConfig` without a canonical name (google-genai 3.6, `types.GenerationConfig`)."""


def camel(raw: Raw) -> Raw:
    """The same object with its own keys in camelCase; what the values hold is left as it is.

    >>> camel({"thought_signature": "c2ln", "text": "a_b"})
    {'thoughtSignature': 'c2ln', 'text': 'a_b'}
    """
    if not any("_" in key for key in raw):
        return raw
    return {_camel(key): value for key, value in raw.items()}


def _camel(key: str) -> str:
    head, *tail = key.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in tail) if head else key


def known_fields(extra: Extra | None) -> Mapping[str, Any]:
    return extra.fields if extra is not None and extra.dialect == DIALECT else {}


def rest_of(raw: Raw, *known: str) -> dict[str, Any]:
    """The fields that are not known and say something."""
    return {key: value for key, value in raw.items() if key not in known and value is not None}


def dump(value: Any, where: str) -> str:
    """Compact JSON text. Raises RequestError for a value that is none."""
    problem = ""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        problem = type(error).__name__
    raise RequestError(f"`{where}` cannot be written as JSON: {problem}")
