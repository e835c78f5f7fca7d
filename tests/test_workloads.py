"""The simulator against recorded bills and an independent one, and the rule on recorded sessions in four pools."""

from __future__ import annotations

import gzip
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from agentroute import Router, Target
from agentroute.routing import selection
from agentroute.routing.economics import growth, spend, step_cost

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
SESSION: dict[str, Any] = {
    "steps": [
        {"t0": t, "t1": t + 5, "p": p, "o": 100, "turn": turn, "reset": t == 0, "fail": False, "cold": False}
        for t, p, turn in ((0, 20_000, True), (10, 21_000, False), (20, 22_000, False), (400, 23_000, True))
    ]
}


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def simulator() -> Iterator[ModuleType]:
    yield _module(ROOT / "evals" / "simulator.py")
    sys.modules.pop("simulator", None)


@pytest.fixture(scope="module")
def workloads(simulator: ModuleType) -> Iterator[ModuleType]:
    yield _module(ROOT / "evals" / "workloads.py")
    sys.modules.pop("workloads", None)


@pytest.fixture(scope="module")
def economics() -> Path:
    folder = SHARED / "economics"
    if not folder.is_dir():
        pytest.skip("the recorded sessions are not here")
    return folder


@pytest.fixture(scope="module")
def coding(economics: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(gzip.decompress((economics / "coding.json.gz").read_bytes()))
    return found


class TestSimulator:
    def test_a_pause_beyond_the_ttl_pays_the_prompt_again(self, simulator: ModuleType) -> None:
        found = simulator.bill(SESSION, simulator.always(simulator.TARGETS["opus-5.5"]))
        assert found.read == pytest.approx(41_000 * 0.2 / 1e6)
        assert found.again == pytest.approx(22_000 * 5 / 1e6)
        assert found.new + found.again == pytest.approx(45_000 * 5 / 1e6)
        assert found.usd == pytest.approx(found.read + found.new + found.again + found.output)

    def test_another_model_catches_up_only(self, simulator: ModuleType) -> None:
        caches, haiku, opus = simulator.Caches(), simulator.TARGETS["haiku-5.5"], simulator.TARGETS["opus-5.5"]
        assert caches.serve(haiku, 20_000, 0) == 0
        assert caches.serve(opus, 20_500, 1) == 0
        assert caches.serve(haiku, 21_000, 2) == 20_000
        assert caches.read(haiku, 22_000, 303) == 0

    @pytest.mark.parametrize(
        ("session", "model", "usd", "thrown_away"),
        [("pi_large", "sonnet-4.5", 30.33, 58), ("pi_before_compaction", "opus-4.5", 42.59, 21)],
    )
    def test_two_recorded_bills(
        self,
        simulator: ModuleType,
        coding: list[dict[str, Any]],
        session: str,
        model: str,
        usd: float,
        thrown_away: int,
    ) -> None:
        steps = next(each for each in coding if each["id"] == session)
        as_it_was = simulator.bill(steps, simulator.always(simulator.TARGETS[model]), as_recorded=True)
        assert round(as_it_was.usd, 2) == usd
        today = simulator.always(simulator.TARGETS["opus-5.5"])
        broken, whole = (simulator.bill(steps, today, as_recorded=way).usd for way in (True, False))
        assert round(100 * (1 - whole / broken)) == thrown_away

    def test_it_agrees_with_an_independent_one(
        self, simulator: ModuleType, economics: Path, coding: list[dict[str, Any]]
    ) -> None:
        other = _module(economics / "cachesim.py")
        for session in coding:
            for name, target in simulator.TARGETS.items():
                for way in (False, True):
                    found = simulator.bill(session, simulator.always(target), as_recorded=way)
                    usd, parts, _ = other.bill(session, other.always(name), as_recorded=way)
                    assert (found.usd, found.again) == pytest.approx((usd, parts["again"]), abs=1e-9)


class TestSpend:
    def target(self, simulator: ModuleType, name: str) -> Target:
        found: Target = simulator.TARGETS[name]
        return found

    @pytest.mark.parametrize("name", ["opus-5.5", "haiku-5.5", "gpt-6-astra", "minimax-m3", "deepseek-flash"])
    @pytest.mark.parametrize("prompt", [300, 5_000, 95_000, 270_000])
    @pytest.mark.parametrize("held", [0, 1])
    def test_it_is_the_sum_of_the_steps(self, simulator: ModuleType, name: str, prompt: int, held: int) -> None:
        """Each later step reads what the one before has sent: across a price step and a cache's minimum, too."""
        target, grown, output, n = self.target(simulator, name), 700, 200, 20
        first = step_cost(target, prompt, output, held * (prompt - 200))
        usd, size = float(first.cost or 0), prompt
        for _ in range(n - 1):
            size += grown
            rates = target.price.at(size)  # type: ignore[union-attr]
            caches = size >= (target.rules.cache_minimum or 1024)
            read = rates.cache_read if caches and rates.cache_read is not None else rates.input
            write = rates.cache_write if caches and rates.cache_write is not None else rates.input
            usd += float((size - grown) * read + grown * write + output * rates.output) / 1e6
        assert spend(target, first, grown, n) == pytest.approx(usd / n)

    def test_one_step_is_itself(self, simulator: ModuleType) -> None:
        cost = step_cost(self.target(simulator, "opus-5.5"), 5_000, 100)
        assert spend(self.target(simulator, "opus-5.5"), cost, 600, 1) == float(cost.cost or 0)

    def test_an_unknown_price_stays_unknown(self) -> None:
        target = Target(provider="p", model="m", tier="mid")
        assert spend(target, step_cost(target, 5_000, 100), 600, 20) is None

    def test_growth_is_bounded(self) -> None:
        assert [growth(9_000, seen) for seen in (0, 8_990, 8_000, 1)] == [600, 200, 1_000, 4_000]

    @pytest.mark.parametrize(
        ("here", "there", "pays_by"),
        [("opus-5.5", "sonnet-5.5", 11), ("opus-5.5", "gpt-6.1-terra", 4), ("opus-5.5", "haiku-5.5", 1)],
    )
    def test_when_a_lasting_move_has_paid(self, simulator: ModuleType, here: str, there: str, pays_by: int) -> None:
        """Steps until a warm model is worth leaving at 30,000 tokens (break-even figures of the recorded study)."""
        home, other = self.target(simulator, here), self.target(simulator, there)
        warm, cold = step_cost(home, 30_000, 200, 29_300), step_cost(other, 30_000, 200)
        pays = [n for n in range(1, 60) if (spend(other, cold, 700, n) or 0) < (spend(home, warm, 700, n) or 0)]
        assert pays[0] == pytest.approx(pays_by, abs=1)


@pytest.fixture(scope="module")
def sessions(economics: Path, workloads: ModuleType) -> list[dict[str, Any]]:
    """All but support, of which every fourth is taken."""
    found: list[dict[str, Any]] = workloads.load(economics / "with_p.json.gz")
    support = [each for each in found if each["group"] == "support"]
    return [each for each in found if each["group"] != "support"] + support[::4]


class TestRule:
    """P as the hazard of a step (harm 1), stakes of $.25 and $1: figures of `evals/results/workloads.txt`."""

    POOLS = ("example", "anthropic", "openai", "open")

    @pytest.mark.parametrize("name", POOLS)
    def test_cost_and_loss_together_are_no_more_than_greedys_or_the_best_single_targets(
        self, workloads: ModuleType, sessions: list[dict[str, Any]], name: str
    ) -> None:
        among = workloads.pool(name)
        for group in ("office", "support"):
            some = [each for each in sessions if each["group"] == group]
            routed = sum(workloads.routed(each, among).whole for each in some)
            greedy = sum(workloads.outcome(each, workloads.greedy(each, among)).whole for each in some)
            alone = workloads.singles(some, among)
            best = sum(each.whole for each in alone[workloads.best_single(alone)])
            assert routed <= greedy * 1.01
            assert routed <= best * 1.01

    @pytest.mark.parametrize(
        ("name", "office", "support"),
        [("example", (95, 100), (100, 100)), ("anthropic", (91, 100), (100, 100)), ("openai", (93, 95), (91, 91))],
    )
    def test_so_they_are_in_nearly_every_session(
        self,
        workloads: ModuleType,
        sessions: list[dict[str, Any]],
        name: str,
        office: tuple[int, int],
        support: tuple[int, int],
    ) -> None:
        """Percent against greedy and the best single target. In the open pool they are not: see the next test."""
        among = workloads.pool(name)
        for group, (than_greedy, than_best) in (("office", office), ("support", support)):
            some = [each for each in sessions if each["group"] == group]
            alone = workloads.singles(some, among)
            found = [workloads.routed(each, among) for each in some]
            before = [workloads.outcome(each, workloads.greedy(each, among)) for each in some]
            assert workloads.share(found, before) >= than_greedy
            assert workloads.share(found, alone[workloads.best_single(alone)]) >= than_best

    def test_in_the_open_pool_no_rule_could(self, workloads: ModuleType, sessions: list[dict[str, Any]]) -> None:
        """Two targets come to nearly the same there: even whoever moves up at the best step, and knows the best
        threshold for the start, holds both bounds in 71 % of the sessions."""
        some = [each for each in sessions if each["group"] == "office"]
        below, above, chosen = workloads.bound(some)
        assert max(below, above) <= chosen < 0.75 * len(some)

    @pytest.mark.parametrize("name", POOLS)
    def test_no_session_costs_much_more_than_always_premium(
        self, workloads: ModuleType, simulator: ModuleType, sessions: list[dict[str, Any]], name: str
    ) -> None:
        among = workloads.pool(name)
        for each in sessions:
            top = workloads.outcome(each, simulator.always(among.strongest)).bill.usd
            found = workloads.routed(each, among).bill
            failed = any(step["fail"] for step in each["steps"])
            assert found.usd <= (1.1 if failed else 1.05) * top

    @pytest.mark.parametrize("name", POOLS)
    def test_the_choice_is_flat_in_the_horizon(
        self, workloads: ModuleType, sessions: list[dict[str, Any]], name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        among, some = workloads.pool(name), [each for each in sessions if each["group"] == "office"]
        spent, whole = [], []
        for n in (10, 20, 40):
            monkeypatch.setattr(selection, "HORIZON", n)
            found = [workloads.routed(each, among) for each in some]
            spent.append(sum(each.bill.usd for each in found))
            whole.append(sum(each.whole for each in found))
        top = sum(workloads.singles(some, among)[among.strongest.name][i].bill.usd for i in range(len(some)))
        # In the open pool dollars move, since two targets come to nearly the same sum, and the sum does not.
        assert max(spent) - min(spent) < (0.16 if name == "open" else 0.02) * top
        assert max(whole) <= 1.015 * min(whole)

    @pytest.mark.parametrize(("name", "saved"), list(zip(POOLS, (22.4, 35.7, 29.0, 34.3), strict=True)))
    def test_with_k_in_place_of_the_hazard_it_saves_what_the_reference_does(
        self, workloads: ModuleType, simulator: ModuleType, sessions: list[dict[str, Any]], name: str, saved: float
    ) -> None:
        """The reference: k warm steps of the strongest a failure, moves down at the start of turns only (a study of
        2026-11-28 on the same sessions). It knows each step's output before, and nothing of acting and the weakest."""
        among, some = workloads.pool(name), [each for each in sessions if each["group"] == "office"]
        usd = top = 0.0
        for each in some:

            def redo(i: int, step: dict[str, Any], each: dict[str, Any] = each) -> float:
                before = each["steps"][i - 1]["p"] if i and not step["reset"] else 0
                grown = growth(step["p"], before)
                warm = step_cost(among.strongest, step["p"], step["o"], max(step["p"] - grown, 0))
                return float(each["k"][i] * float(warm.cost or 0))

            rule = simulator.Routed(among, workloads.likely(each), redo, back=False, acts=False, foresees=True)
            usd += simulator.bill(each, rule).usd
            top += simulator.bill(each, simulator.always(among.strongest)).usd
        assert 100 * (1 - usd / top) == pytest.approx(saved, abs=1)

    @pytest.mark.parametrize("name", POOLS)
    def test_by_default_office_and_support_start_one_tier_down_and_code_at_the_top(
        self, workloads: ModuleType, sessions: list[dict[str, Any]], name: str
    ) -> None:
        among = workloads.pool(name)
        for group, tier in (("office", "standard"), ("support", "standard"), ("pi_large", "premium")):
            some = [each for each in sessions if each["group"] == group]
            found = [workloads.routed(each, among, workloads.HARM.get(group, 1.0)).bill for each in some]
            first = [bill.chosen[0].tier.value for bill in found]
            assert first.count(tier) >= 0.9 * len(first)
            weakest = min(target.tier for target in among)
            assert not any(target.tier is weakest for bill in found for target in bill.chosen)


def test_the_table_prints_modelled_workloads_as_modelled(workloads: ModuleType) -> None:
    assert workloads.modelled().count("**modelled**") == 2


def test_a_router_stays_and_says_so() -> None:
    prices = {"input": 4, "output": 20, "cache_read": 0.2, "cache_write": 5}
    router = Router(
        [
            Target(name="big", provider="a", model="big", tier="premium", price=prices, cache_ttl_s=300),
            Target(name="small", provider="b", model="small", tier="standard", price={"input": 2, "output": 10}),
        ]
    )
    decision = router.route("hello")
    assert "risk $" in decision.candidates[0].reason
    assert decision.candidates[0].risk is not None
