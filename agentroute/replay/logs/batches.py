"""Batch files of OpenAI and Anthropic: requests, and their results in any order and in other files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from agentroute.errors import RequestError
from agentroute.replay.records import Problem, Trace

from . import anthropic, openai
from .base import Place
from .fields import ODD, CallFailed, Raw, mapping, name_of, plain
from .responses import Responses
from .shelf import Shelf

__all__ = ["Batches", "is_batch"]


def is_batch(raw: Raw) -> bool:
    if "custom_id" not in raw:
        return False
    if "body" in raw and isinstance(raw.get("response"), dict):
        return False  # joined already: a logged call
    return any(key in raw for key in ("body", "params", "response", "result", "error"))


class Batches:
    """Every row is a conversation. A request that was not answered gives no step; nor does a lost request's result."""

    def __init__(self) -> None:
        self._shelf = Shelf()
        self._file = ""
        self._number = 0

    def read(self, raw: Raw, place: Place) -> Iterator[Trace | Problem]:
        self._file = self._file or place.file
        asked = "params" in raw or "body" in raw
        self._number += 1
        # The order of the requests is the order of the conversations.
        self._shelf.put(plain(raw["custom_id"]), self._number if asked else 1e18, place.line, raw)
        yield from ()

    def close(self) -> Iterator[Trace | Problem]:
        for name in self._shelf.groups():
            requests: list[tuple[int, Raw]] = []
            results: list[tuple[int, Raw]] = []
            for _, line, raw in self._shelf.rows(name):
                (requests if "params" in raw or "body" in raw else results).append((line, raw))
            answered = [(line, raw) for line, raw in results if _answer(raw)] or results
            if not answered:
                yield Problem(self._file, requests[0][0], "batch: a request without a result")
                continue
            line, result = answered[0]
            if not requests:
                yield Problem(self._file, line, "batch: a result without its request; name the request file too")
                continue
            try:
                yield _row(requests[0][1], result)
            except RequestError as error:
                yield Problem(self._file, line, f"batch: {error}", isinstance(error, CallFailed))
            except ODD as error:
                yield Problem(self._file, line, f"batch: a row of an odd shape ({type(error).__name__})")
        self._shelf.close()


def _answer(raw: Raw) -> Raw:
    """The answer of a result; empty if the call failed."""
    if "result" in raw:
        held = mapping(raw["result"])
        return mapping(held.get("message")) if held.get("type") == "succeeded" else {}
    body = mapping(mapping(raw.get("response")).get("body"))
    return {} if raw.get("error") or body.get("error") else body


def _row(request: Raw, result: Raw) -> Trace:
    answer = _answer(result)
    if not answer:
        kind = name_of(mapping(result.get("result")), "type") or mapping(result.get("response")).get("status_code")
        raise CallFailed("the recorded call failed and has no answer" + (f": {kind}" if kind else ""))
    line = {
        "request": request.get("params", request.get("body")),
        "response": answer,
        "custom_id": request["custom_id"],
    }
    if "params" in request:
        return replace(anthropic.read(line), whole=True, format="anthropic_batch")
    if answer.get("object") == "response" or "input" in mapping(line["request"]):
        return Responses().call(line, fmt="openai_batch", whole=True)
    return replace(openai.read(line), whole=True, format="openai_batch")
