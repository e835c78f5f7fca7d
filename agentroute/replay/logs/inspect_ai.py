"""Inspect logs: the model events of each sample, in JSON or the parts of an .eval file; scorers' calls are not read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agentroute.messages import ChatRequest, Usage
from agentroute.replay.records import Outcome, Problem, RecordedCall, Trace

from .base import Place
from .fields import Raw, count_of, dig, mapping, name_of, number, openai_usage, plain, printable, time_of, usage_of
from .messages import Pairing, answer_of, messages_of, tools_of
from .thread import reward_of

__all__ = ["Inspect", "is_inspect"]

_ATTACHED = "attachment://"
_REWARDS = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
"""What Inspect's own words for a score are worth: correct, incorrect, partial, no answer."""


def is_inspect(raw: Raw) -> bool:
    if "eval" in raw and ("samples" in raw or "plan" in raw) and ("version" in raw or "status" in raw):
        return True
    return "epoch" in raw and "id" in raw and ("events" in raw or "scores" in raw)


class Inspect:
    """Reads a log, or one sample of it."""

    def read(self, raw: Raw, place: Place) -> Iterator[Trace | Problem]:
        for sample in raw["samples"] or () if isinstance(raw.get("samples"), list) else [raw] if "epoch" in raw else ():
            yield from _sample(mapping(sample), place)

    def close(self) -> tuple[Trace, ...]:
        return ()


def _sample(sample: Raw, place: Place) -> Iterator[Trace | Problem]:
    own = printable(f"{plain(sample.get('id'))}/{plain(sample.get('epoch'))}")
    outcomes: dict[str, Outcome] = {}
    for key, score in mapping(sample.get("scores")).items():
        value = dig(score, "value")
        if isinstance(value, int | float | str):
            outcomes[printable(key)] = value
    reward = reward_of(outcomes)
    if reward is None and len(outcomes) == 1:
        reward = _REWARDS.get(str(next(iter(outcomes.values()))))
    attachments = mapping(sample.get("attachments"))
    pool = dig(sample, "events_data", "messages")
    pool = pool if isinstance(pool, list) else []
    scorers = _scorers(sample)
    for event in map(mapping, sample.get("events") or ()):
        if event.get("event") != "model" or event.get("span_id") in scorers:
            continue
        output = mapping(event.get("output"))
        choices = output.get("choices")
        if event.get("error") or output.get("error") or not choices:
            yield Problem(place.file, place.line, "inspect: a call that failed and has no answer", True)
            continue
        asked: Sequence[Any] = event.get("input") or ()
        if event.get("input_refs"):
            asked = [item for start, stop in _ranges(event["input_refs"]) for item in pool[start:stop]]
        pairing = Pairing()
        messages = messages_of([_filled(item, attachments) for item in asked], "input", pairing)
        answer = answer_of(_filled(dig(choices[0], "message"), attachments), "output", pairing)
        at = time_of(event.get("timestamp"))
        model = name_of(event, "model") or name_of(output, "model")
        call = RecordedCall(len(messages), answer, _usage(output.get("usage")), model, at, name_of(event, "uuid"))
        yield Trace(
            format="inspect",
            request=ChatRequest((*messages, answer), tools=tools_of(event.get("tools"))),
            calls=(call,),
            whole=False,
            id=name_of(event, "uuid"),
            conversation_id=f"{place.path.stem}/{own}",
            outcomes=outcomes,
            reward=number(reward),
        )


def _scorers(sample: Raw) -> set[Any]:
    """Spans in which an answer was judged, and those inside them."""
    found: set[Any] = set()
    for event in map(mapping, sample.get("events") or ()):
        if event.get("event") == "span_begin":
            kind = event.get("type")
            if kind in ("scorer", "scorers") or event.get("parent_id") in found:
                found.add(event.get("id", event.get("span_id")))
    return found


def _ranges(refs: Any) -> Iterator[tuple[int, int]]:
    for pair in refs if isinstance(refs, list) else ():
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(each, int) and each >= 0 for each in pair):
            yield pair[0], pair[1]


def _filled(value: Any, attachments: Mapping[str, Any], depth: int = 0) -> Any:
    """The value with the texts that stand apart as attachments in their places."""
    if isinstance(value, str) and value.startswith(_ATTACHED):
        return attachments.get(value[len(_ATTACHED) :], value)
    if depth > 20 or not attachments:
        return value
    if isinstance(value, Mapping):
        return {key: _filled(held, attachments, depth + 1) for key, held in value.items()}
    if isinstance(value, list):
        return [_filled(held, attachments, depth + 1) for held in value]
    return value


def _usage(raw: Any) -> Usage | None:
    """What was cached stands beside the input, unless only OpenAI's own names are there."""
    if count_of(raw, "input_tokens") is None:
        return openai_usage(raw)
    return usage_of(
        count_of(raw, "input_tokens"),
        count_of(raw, "output_tokens"),
        read=count_of(raw, "input_tokens_cache_read"),
        written=count_of(raw, "input_tokens_cache_write"),
        reasoning=count_of(raw, "reasoning_tokens"),
        beside=True,
    )
