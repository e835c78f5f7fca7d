"""OpenAI evals logs: sampling events, with the verdicts on them as outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agentroute.messages import ChatRequest
from agentroute.replay.records import Outcome, Problem, RecordedCall, Trace

from .base import Place
from .fields import Raw, dig, mapping, name_of, openai_usage, time_of
from .messages import Pairing, answer_of, messages_of
from .shelf import Shelf
from .thread import reward_of

__all__ = ["OpenAIEvals", "is_openai_evals"]


def is_openai_evals(raw: Raw) -> bool:
    if isinstance(raw.get("spec"), Mapping) and ("eval_name" in raw["spec"] or "completion_fns" in raw["spec"]):
        return True
    return ("event_id" in raw and "sample_id" in raw) or set(raw) == {"final_report"}


class OpenAIEvals:
    """Gathers one file: a verdict stands after the samplings of its sample."""

    def __init__(self) -> None:
        self._shelf = Shelf()
        self._model: str | None = None

    def read(self, raw: Raw, place: Place) -> Iterator[Trace | Problem]:
        functions = dig(raw, "spec", "completion_fns")
        if isinstance(functions, list) and len(functions) == 1 and isinstance(functions[0], str):
            self._model = functions[0]
        if "sample_id" in raw:
            event = {**raw, "file": place.file}
            self._shelf.put(
                f"{raw.get('run_id')} {raw['sample_id']}", time_of(raw.get("created_at")), place.line, event
            )
        yield from ()

    def close(self) -> Iterator[Trace | Problem]:
        for name in self._shelf.groups():
            rows = [(line, event) for _, line, event in self._shelf.rows(name)]
            outcomes: dict[str, Outcome] = {}
            for _, event in rows:
                data = mapping(event.get("data"))
                for key in ("correct", "score", "choice"):
                    if isinstance(data.get(key), int | float | str):
                        outcomes[key] = data[key]
            for _, event in rows:
                data = mapping(event.get("data"))
                if event.get("type") == "sampling" and data.get("sampled") is not None:
                    yield self._call(event, data, outcomes)
        self._shelf.close()

    def _call(self, event: Raw, data: Raw, outcomes: Mapping[str, Outcome]) -> Trace:
        pairing = Pairing()
        messages = messages_of(data.get("prompt"), "data.prompt", pairing)
        sampled = data["sampled"]
        answer = answer_of(sampled[0] if isinstance(sampled, list) and sampled else sampled, "data.sampled", pairing)
        model = name_of(data, "model") or self._model
        at = time_of(event.get("created_at"))
        call = RecordedCall(len(messages), answer, openai_usage(data.get("usage")), model, at)
        return Trace(
            format="openai_evals",
            request=ChatRequest((*messages, answer)),
            calls=(call,),
            whole=False,
            id=name_of(event, "sample_id"),
            conversation_id=f"{name_of(event, 'run_id') or event['file']}/{name_of(event, 'sample_id')}",
            outcomes=outcomes,
            reward=reward_of(outcomes),
        )
