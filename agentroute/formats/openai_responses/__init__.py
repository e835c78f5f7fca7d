"""The OpenAI Responses dialect: bodies, answers, stream events and errors, to and from the canonical values.

Always stateless: nothing is stored at the provider, and reasoning travels as its encrypted content. Items we do not
know (built-in tools and what they did) are kept whole in an `Extra` of this dialect.
"""

from __future__ import annotations

from agentroute.formats.openai_chat.answers_out import encode_error

from .answers_in import StreamDecoder, decode_response, decode_usage
from .answers_out import StreamEncoder, encode_response
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
