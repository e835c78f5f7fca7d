"""The Gemini generateContent dialect: bodies, answers, stream chunks and errors, to and from the canonical values.

Google's JSON may be spelled in camelCase or snake_case; both are read, camelCase is written. Numbers, texts and objects
of a tool's own (arguments, responses, schemas) are never respelled. Thought signatures stay on the part they came on:
`Extra("gemini", {"thoughtSignature": ...})` of a Text or ToolCall, the `signature` of a Reasoning.
"""

from __future__ import annotations

from .answers_in import StreamDecoder, decode_response
from .answers_out import StreamEncoder, encode_error, encode_response
from .fields import DIALECT
from .requests_in import decode_request
from .requests_out import encode_request
from .usage import decode_usage

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
