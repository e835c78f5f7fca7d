"""Asks cheaper targets what they would have done at recorded steps. Nothing is executed, nothing is paid twice."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from agentroute.decisions import StepKind, Task
from agentroute.errors import AgentRouteError, ConfigError, ProviderError
from agentroute.messages import ChatRequest, ChatResponse
from agentroute.routing.economics import expected_output, step_cost
from agentroute.routing.prefix import Prefix
from agentroute.routing.tokens import estimate
from agentroute.targets import Pool, Target

from .agreement import Act, agrees, compare
from .samples import Sample

__all__ = ["Answered", "Ask", "Offer", "Shadow", "State", "offer"]

Ask = Callable[[ChatRequest, Target], ChatResponse]
"""Sends one request to one target, once, and returns its answer. `decision.cost` tells what it cost."""

MOST_OUTPUT = 4_096
"""Tokens that an answer may have at most, if the recorded request does not say: what a call can cost has a bound."""

_TAIL = 400
"""Characters of the last message that a reviewer is shown."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What asking costs, said before anybody is asked. `expected` in USD by target, `steps` of them each; `fresh` are
    the providers that have not served the recorded steps, `refused` targets and why they will not be asked."""

    expected: Mapping[str, Decimal]
    steps: Mapping[str, int]
    fresh: tuple[str, ...]
    refused: Mapping[str, str]

    @property
    def usd(self) -> Decimal:
        return sum(self.expected.values(), Decimal(0))


def offer(
    samples: Sequence[Sample],
    pool: Pool,
    against: Iterable[str],
    *,
    models: Iterable[str],
    allowed: Iterable[str] | None = None,
    state: State | None = None,
) -> Offer:
    """What it costs to ask `against` about the samples, without those that `state` has already.

    A provider is fresh if none of the `models` that served the recorded steps is one of its targets in the pool. A
    target whose provider is not among the `allowed` (None: all), or whose price is unknown, is not asked.
    """
    served = {target.provider for target in pool if target.model in set(models)}
    permitted = None if allowed is None else set(allowed)
    expected: dict[str, Decimal] = {}
    steps: dict[str, int] = {}
    refused: dict[str, str] = {}
    for name in against:
        target = pool[name]
        if permitted is not None and target.provider not in permitted:
            refused[name] = f"provider {target.provider!r} is not among those allowed"
        elif target.price is None:
            refused[name] = "its price is unknown; give it one in the config"
        else:
            left = [each for each in samples if _asks(each, target, state)]
            steps[name] = len(left)
            expected[name] = sum((_usual(each.request, target, each.kind) for each in left), Decimal(0))
    fresh = {pool[name].provider for name in steps} - served
    return Offer(expected, steps, tuple(sorted(fresh)), refused)


def _asks(sample: Sample, target: Target, state: State | None) -> bool:
    if sample.model == target.model:
        return False
    return state is None or not state.knows(key_of(sample, target))


def key_of(sample: Sample, target: Target) -> str:
    """The name of one question: the request and the target, whatever file the step was read from."""
    text = json.dumps([sample.request.to_openai(), target.name, target.model], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _usual(request: ChatRequest, target: Target, kind: str) -> Decimal:
    tokens = estimate(Prefix.of(request.messages, request.tools)).input_tokens
    output = expected_output(StepKind(kind), Task.TOOL_USE, request)
    cost = step_cost(target, tokens, output).cost
    assert cost is not None
    return cost


def _at_most(request: ChatRequest, target: Target) -> Decimal:
    """What the call can cost at worst: half as many tokens again as estimated, at the dearest rate, and the longest
    answer."""
    assert target.price is not None
    tokens = 3 * estimate(Prefix.of(request.messages, request.tools)).input_tokens // 2 + 50
    rates = target.price.at(tokens)
    dearest = max(rates.input, rates.cache_write or Decimal(0), rates.cache_write_1h or Decimal(0))
    output = request.sampling.max_output_tokens or MOST_OUTPUT
    return (tokens * dearest + output * rates.output) / 1_000_000


@dataclass(frozen=True, slots=True)
class Answered:
    """What a target answered at a recorded step. `recorded` and `shown` are both actions in words, `tail` the end of
    the prompt: what a reviewer sees. `ok` is the reviewer's word on a disagreement, None before it."""

    key: str
    target: str
    conversation: str
    role: str
    kind: str
    form: str
    level: int
    agrees: bool
    usd: str
    recorded: str
    shown: str
    tail: str
    ok: bool | None = None


class State:
    """A file of JSON lines that is only ever added to: what is being asked, what was answered, what a review said.

    A question that was begun and has no end was cut off; it counts as paid at the most that it could cost, and is not
    asked again.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.answered: dict[str, Answered] = {}
        self._open: dict[str, Decimal] = {}
        self._spent = Decimal(0)
        self._lock = threading.Lock()
        self._read()

    def _read(self) -> None:
        if not self.path.exists():
            return
        ended = b"\n"
        with self.path.open("rb") as held:
            for number, line in enumerate(held, 1):
                ended = line[-1:]
                try:
                    self._take(json.loads(line))
                except ValueError:
                    if ended == b"\n" and number == 1:
                        raise ConfigError(f"{str(self.path)!r} is no state of a shadow; name another file") from None
                except (KeyError, TypeError, ArithmeticError) as error:
                    raise ConfigError(
                        f"{str(self.path)!r}, line {number}: no line of a shadow ({error}); name another file"
                    ) from None
        if ended != b"\n":
            self._append("")  # what a kill cut off stays a line of its own

    def _take(self, line: dict[str, Any]) -> None:
        if "asking" in line:
            self._open[line["asking"]] = Decimal(line["at_most"])
        elif "answered" in line:
            one = Answered(**line["answered"])
            self._open.pop(one.key, None)
            self.answered[one.key] = one
            self._spent += Decimal(one.usd)
        elif "failed" in line:
            self._open.pop(line["failed"], None)
        elif "reviewed" in line:
            key = line["reviewed"]
            if key in self.answered:
                self.answered[key] = replace(self.answered[key], ok=line["ok"])
        else:
            raise KeyError("neither asking, answered, failed nor reviewed")

    @property
    def spent(self) -> Decimal:
        """USD, what was cut off at the most that it could cost."""
        return self._spent + sum(self._open.values(), Decimal(0))

    @property
    def cut_off(self) -> int:
        return len(self._open)

    def knows(self, key: str) -> bool:
        return key in self.answered or key in self._open

    def begin(self, key: str, at_most: Decimal, limit: Decimal | None) -> bool:
        """Whether the question may be asked: it was not before, and fits in the limit whatever it costs."""
        with self._lock:
            if self.knows(key) or (limit is not None and self.spent + at_most > limit):
                return False
            self._add({"asking": key, "at_most": str(at_most)})
            return True

    def end(self, one: Answered) -> None:
        with self._lock:
            self._add({"answered": {name: getattr(one, name) for name in Answered.__slots__}})

    def fail(self, key: str, error: str) -> None:
        """Nothing was paid, so the question may be asked again."""
        with self._lock:
            self._add({"failed": key, "error": error})

    def review(self, key: str, ok: bool, by: str) -> None:
        """What a check or a person says of an answer that differs from the recorded one."""
        with self._lock:
            self._add({"reviewed": key, "ok": ok, "by": by})

    def _add(self, line: dict[str, Any]) -> None:
        # Written before it counts: a kill between the two leaves the line, not a payment that nobody knows of.
        self._append(json.dumps(line, ensure_ascii=False))
        self._take(line)

    def _append(self, text: str) -> None:
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, (text + "\n").encode("utf-8", "surrogatepass"))
        finally:
            os.close(handle)


@dataclass
class Shadow:
    """Asks and compares. `limit` (USD) is never exceeded, whatever the calls cost; `same` maps names of tools that do
    the same. No tool is called: an answer is read, compared and kept."""

    pool: Pool
    ask: Ask
    state: State
    limit: Decimal | None = None
    same: Mapping[str, str] = field(default_factory=dict)
    parallel: int = 4
    on_progress: Callable[[int, int], None] | None = None

    def run(self, samples: Sequence[Sample], against: Iterable[str]) -> dict[str, int]:
        """How many questions were answered, failed, and left because the limit would not bear them."""
        jobs = [
            (sample, self.pool[name]) for name in against for sample in samples if _asks(sample, self.pool[name], None)
        ]
        counts = {"answered": 0, "failed": 0, "over the limit": 0, "known": 0}
        left = []
        with ThreadPoolExecutor(max(self.parallel, 1)) as workers:
            try:
                for done, word in enumerate(workers.map(lambda job: self._one(*job), jobs), 1):
                    if word in ("over the limit", "failed"):
                        left.append(jobs[done - 1])
                    else:
                        counts[word] += 1
                    if self.on_progress is not None:
                        self.on_progress(done, len(jobs))
            except BaseException:
                workers.shutdown(wait=False, cancel_futures=True)
                raise
        # What calls under way had reserved is free again, and a server that was busy may answer now.
        for job in left:
            counts[self._one(*job)] += 1
        return counts

    def _one(self, sample: Sample, target: Target) -> str:
        request, key = _bounded(sample.request), key_of(sample, target)
        if self.state.knows(key):
            return "known"
        at_most = _at_most(request, target)
        if not self.state.begin(key, at_most, self.limit):
            return "known" if self.state.knows(key) else "over the limit"
        try:
            answer = self.ask(request, target)
        except AgentRouteError as error:
            if not _may_be_paid(error):
                self.state.fail(key, f"{type(error).__name__}: {error}"[:300])
            return "failed"
        recorded = Act.of(sample.answer, sample.request, same=self.same)
        shown = Act.of(answer, sample.request, same=self.same)
        self.state.end(
            Answered(
                key=key,
                target=target.name,
                conversation=sample.conversation,
                role=sample.role,
                kind=sample.kind,
                form=sample.form,
                level=int(compare(recorded, shown)),
                agrees=agrees(recorded, shown),
                usd=str(_paid(answer, target, at_most)),
                recorded=_in_words(sample.answer),
                shown=_in_words(answer),
                tail=_tail(sample.request),
            )
        )
        return "answered"


def _bounded(request: ChatRequest) -> ChatRequest:
    """The request for any target, with a limit to its answer."""
    most = request.sampling.max_output_tokens
    sampling = replace(request.sampling, max_output_tokens=MOST_OUTPUT if most is None else most)
    return replace(request, model=None, sampling=sampling)


def _may_be_paid(error: AgentRouteError) -> bool:
    attempts = error.attempts if isinstance(error, ProviderError) else ()
    return any(attempt.possible_duplicate_cost or attempt.usage is not None for attempt in attempts)


def _paid(answer: ChatResponse, target: Target, at_most: Decimal) -> Decimal:
    """What the call cost; at most, as far as the provider does not tell. Some bill what they write to a cache, and do
    not count it in their answer."""
    cost = None if answer.decision is None else answer.decision.cost
    usage, price = answer.usage, target.price
    if cost is None or usage is None or price is None:
        return at_most
    read, write = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
    rates = price.at(usage.input_tokens or 0)
    if not write and rates.cache_write is not None and rates.cache_write > rates.input:
        cost += max((usage.input_tokens or 0) - read, 0) * (rates.cache_write - rates.input) / 1_000_000
    return cost


def _in_words(answer: Any) -> str:
    calls = [f"{call.name}({call.arguments})" for call in answer.tool_calls]
    return "\n".join(calls) or answer.text


def _tail(request: ChatRequest) -> str:
    last = request.messages[-1]
    text = last.text or "\n".join(result.text for result in last.tool_results)
    return text[-_TAIL:]
