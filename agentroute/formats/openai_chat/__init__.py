"""The OpenAI chat-completions dialect: bodies, answers, stream chunks and errors, to and from the canonical values.

Pure functions over parsed JSON; nothing here knows a client, a clock or a provider's address. What the canonical values
have no field for is kept in an `Extra` of this dialect and put back on the way out.
"""

from __future__ import annotations

from agentroute.formats.failures import decode_error

from .answers_in import StreamDecoder, decode_response, decode_usage
from .answers_out import StreamEncoder, encode_error, encode_response
from .fields import DIALECT
from .requests_in import decode_request
from .requests_out import encode_request

__all__ = [
    "DIALECT",
    "StreamDecoder",
    "StreamEncoder",
    "decode_error",
    "decode_request",
    "decode_response",
    "decode_usage",
    "encode_error",
    "encode_request",
    "encode_response",
]
