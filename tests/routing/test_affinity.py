"""Affinity: who holds the warm prefix, for how long, and what was counted."""

from __future__ import annotations

import threading

from agentroute.messages import Message, Text
from agentroute.routing.affinity import Affinity
from agentroute.routing.prefix import Prefix
from agentroute.targets import Target

SYSTEM = Message("system", (Text("policy " * 600),))
FAST = Target(name="fast", provider="a", model="m", tier="budget", cache_ttl_s=300)
STRONG = Target(name="strong", provider="b", model="m", tier="premium", cache_ttl_s=60)
NEVER = Target(name="never", provider="c", model="m", tier="mid")
POOL = (FAST, STRONG, NEVER)


def conversation(*texts: str) -> Prefix:
    roles = ("user", "assistant")
    return Prefix.of([SYSTEM, *[Message(roles[i % 2], (Text(text),)) for i, text in enumerate(texts)]])  # type: ignore[arg-type]


def test_the_target_that_served_is_warm() -> None:
    affinity = Affinity()
    affinity.record(conversation("hi"), FAST, 2_000, now=0.0)
    recall = affinity.recall(conversation("hi", "hello", "more"), POOL, now=10.0)
    assert recall.warm == {"fast": 2_000}
    assert (recall.last_target, recall.seen_tokens) == ("fast", 2_000)
    assert recall.anchor is not None
    assert recall.anchor.input_tokens == 2_000


def test_it_cools_down_by_its_own_ttl() -> None:
    affinity = Affinity()
    for target in POOL:
        affinity.record(conversation("hi"), target, 2_000, now=0.0)
    assert set(affinity.recall(conversation("hi", "a", "b"), POOL, now=59.0).warm) == {"fast", "strong"}
    assert set(affinity.recall(conversation("hi", "a", "b"), POOL, now=61.0).warm) == {"fast"}
    assert affinity.recall(conversation("hi", "a", "b"), POOL, now=301.0).warm == {}


def test_another_conversation_shares_the_system_prompt_only() -> None:
    affinity = Affinity()
    affinity.record(conversation("a long story " * 400), FAST, 3_000, now=0.0)
    recall = affinity.recall(conversation("something else"), POOL, now=1.0)
    assert 0 < recall.warm["fast"] < 3_000
    assert recall.last_target is None
    assert recall.anchor is None


def test_an_estimate_is_no_anchor() -> None:
    affinity = Affinity()
    affinity.record(conversation("hi"), FAST, 2_000, now=0.0, counted=False)
    assert affinity.recall(conversation("hi", "a", "b"), POOL, now=1.0).anchor is None


def test_recall_writes_nothing() -> None:
    affinity = Affinity()
    affinity.recall(conversation("hi"), POOL, now=0.0)
    assert affinity.recall(conversation("hi", "a", "b"), POOL, now=0.0).warm == {}


def test_it_is_bounded() -> None:
    affinity = Affinity(max_entries=10)
    for index in range(50):
        affinity.record(conversation(f"ask {index}"), FAST, 2_000, now=float(index))
    assert affinity.recall(conversation("ask 0", "a", "b"), POOL, now=50.0).last_target is None
    assert affinity.recall(conversation("ask 49", "a", "b"), POOL, now=50.0).last_target == "fast"


def test_threads() -> None:
    affinity = Affinity(max_entries=64)

    def work(name: str) -> None:
        for index in range(300):
            prefix = conversation(f"{name} {index % 40}")
            affinity.record(prefix, FAST, 2_000, now=0.0)
            affinity.recall(prefix, POOL, now=0.0)

    threads = [threading.Thread(target=work, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(affinity._entries) <= 64
