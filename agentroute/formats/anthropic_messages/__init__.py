"""The Anthropic Messages dialect: bodies, answers, stream events and errors, to and from the canonical values.

Pure functions over parsed JSON. What the canonical values have no field for (server tools, documents, citations, cache
markers, ...) is kept in an `Extra` of this dialect and put back on the way out.
"""

from __future__ import annotations

from .answers_in import StreamDecoder, decode_response, decode_usage
from .answers_out import StreamEncoder, encode_error, encode_response
from .fields import DIALECT
from .requests_in import decode_request
from .requests_out import encode_request

__all__ = [
    "DIALECT",
    "StreamDecoder",
    "StreamEncoder",
    "decode_request",
    "decode_response",
    "decode_usage",
    "encode_error",
    "encode_request",
    "encode_response",
]
