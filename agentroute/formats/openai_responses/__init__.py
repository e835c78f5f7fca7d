"""The OpenAI Responses dialect: bodies, answers, stream events and errors, to and from the canonical values.

Always stateless: nothing is stored at the provider, and reasoning travels as its encrypted content. Items we do not
know (built-in tools and what they did) are kept whole in an `Extra` of this dialect.
"""

from __future__ import annotations

from agentroute.formats.openai_chat.errors import encode_error

from .answers import decode_response, decode_usage
from .decoding import decode_request
from .encoding import encode_request
from .fields import DIALECT
from .streams import StreamDecoder
from .writing import StreamEncoder, encode_response

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
