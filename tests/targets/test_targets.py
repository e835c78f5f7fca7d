"""Tiers, secrets, prices, targets and the pool: what they accept, and what they never show."""

from __future__ import annotations

import copy
import io
import itertools
import logging
import pickle
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.traceback import Traceback

from agentroute import Capabilities, ConfigError, Pool, Price, Secret, Target, Tier, Usage
from agentroute.targets import ABILITIES, Dominated, PriceStep

CANARY = "sk-canary-do-not-show"
ALL = Capabilities(*[True] * len(ABILITIES))


def target(name: str = "one", **facts: Any) -> Target:
    """A target of which everything is known, but for what a test changes."""
    known: dict[str, Any] = {
        "provider": "openai",
        "model": name,
        "tier": "mid",
        "price": Price(1, 4),  # type: ignore[arg-type]
        "capabilities": ALL,
        "context_window": 100_000,
        "max_output_tokens": 10_000,
    }
    return Target(name=name, **{**known, **facts})


class TestTier:
    def test_compares_by_rank_not_by_name(self) -> None:
        order = [Tier.BUDGET, Tier.MID, Tier.STANDARD, Tier.PREMIUM]
        assert sorted([order[2], order[0], order[3], order[1]]) == order
        assert [tier.rank for tier in order] == [0, 1, 2, 3]
        for (i, one), (j, other) in itertools.product(enumerate(order), repeat=2):
            assert (one < other, one <= other, one > other, one >= other) == (i < j, i <= j, i > j, i >= j)

    def test_is_no_text(self) -> None:
        assert Tier.BUDGET != "budget"
        with pytest.raises(TypeError, match="not supported between instances of 'Tier' and 'str'"):
            _ = Tier.BUDGET < "mid"  # type: ignore[operator]

    @pytest.mark.parametrize("tier", Tier)
    def test_parses_its_name_and_itself(self, tier: Tier) -> None:
        assert Tier.parse(tier.value) is tier
        assert Tier.parse(tier) is tier

    @pytest.mark.parametrize("name", ["Budget", "", "high", None, 3])
    def test_another_name_is_refused_with_the_four(self, name: Any) -> None:
        with pytest.raises(ConfigError, match="use one of budget, mid, standard, premium"):
            Tier.parse(name)


class TestSecret:
    def test_reveals_a_literal(self) -> None:
        assert Secret.parse(CANARY).reveal() == CANARY
        assert Secret(CANARY).present

    def test_reads_the_environment_each_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        secret = Secret.parse("env:AGENTROUTE_TEST_KEY")
        monkeypatch.setenv("AGENTROUTE_TEST_KEY", "first")
        assert (secret.reveal(), secret.present) == ("first", True)
        monkeypatch.setenv("AGENTROUTE_TEST_KEY", "second")
        assert secret.reveal() == "second"
        monkeypatch.delenv("AGENTROUTE_TEST_KEY")
        assert not secret.present
        with pytest.raises(ConfigError, match="AGENTROUTE_TEST_KEY is not set"):
            secret.reveal()

    @pytest.mark.parametrize(
        ("value", "says"),
        [("", "the key is empty"), ("env:", "names no variable"), (7, "of type int"), (b"x", "bytes")],
    )
    def test_what_is_no_key_is_refused(self, value: Any, says: str) -> None:
        with pytest.raises(ConfigError, match=says):
            Secret.parse(value)

    @pytest.mark.parametrize(
        "show", [repr, str, "{}".format, "{!r}".format, lambda secret: f"{target(api_key=secret)}"]
    )
    def test_never_shown(self, show: Callable[[Secret], str]) -> None:
        assert CANARY not in show(Secret(CANARY))

    def test_never_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        logging.getLogger("test").warning("%s %r", Secret(CANARY), target(api_key=CANARY))
        assert "***" in caplog.text
        assert CANARY not in caplog.text

    def test_equal_by_variable_never_by_literal(self) -> None:
        assert Secret.env("A") == Secret.env("A")
        assert len({Secret.env("A"), Secret.env("A"), Secret.env("B")}) == 2
        literal = Secret(CANARY)
        assert literal == literal
        assert literal != Secret(CANARY)
        assert literal != CANARY

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_a_pickle_keeps_only_the_variable(self, protocol: int) -> None:
        kept = target(api_key="env:AGENTROUTE_TEST_KEY")
        assert pickle.loads(pickle.dumps(kept, protocol)) == kept
        data = pickle.dumps(target(api_key=CANARY), protocol)
        assert CANARY.encode() not in data
        lost = pickle.loads(data).api_key
        assert not lost.present
        with pytest.raises(ConfigError, match="was not kept in the pickle"):
            lost.reveal()

    @pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda original: replace(original, tier="mid")])
    def test_a_copy_in_the_process_keeps_the_key(self, duplicate: Callable[[Target], Target]) -> None:
        twin = duplicate(target(api_key=CANARY))
        assert twin.api_key is not None
        assert twin.api_key.reveal() == CANARY

    @pytest.mark.parametrize(
        "wrong",
        [
            {"tier": "best"},
            {"provider": ""},
            {"context_window": -1},
            {"cache_ttl_s": float("nan")},
            {"base_url": "ftp://x"},
            {"price": 3},
        ],
    )
    def test_a_traceback_with_locals_shows_no_key(self, wrong: dict[str, Any]) -> None:
        """The frame of Target.__init__ holds the key under `api_key`; rich prints that frame."""
        arguments = {"provider": "openai", "model": "gpt-4.1", **wrong}
        with pytest.raises(ConfigError) as caught:
            Target(api_key=CANARY, **arguments)
        assert caught.tb is not None
        out = io.StringIO()
        shown = Traceback.from_exception(
            ConfigError, caught.value, caught.tb.tb_next, show_locals=True, locals_max_string=500, locals_max_length=99
        )
        Console(file=out, width=200).print(shown)
        assert "api_key = Secret('***')" in out.getvalue()
        # The test's own source line is not part of it: tb_next begins in Target.__init__.
        assert CANARY not in out.getvalue()


class TestPrice:
    @pytest.mark.parametrize("field", ["input", "output", "cache_read", "cache_write"])
    @pytest.mark.parametrize("wrong", [-1, "-0.01", "NaN", float("nan"), float("inf"), "free", "", True, [1]])
    def test_a_rate_is_a_number_from_0_on(self, field: str, wrong: Any) -> None:
        with pytest.raises(ConfigError, match=f"price `{field}` is"):
            Price(**{"input": 1, "output": 1, field: wrong})
        with pytest.raises(ConfigError, match=f"price `{field}` is"):
            PriceStep(**{"above_input_tokens": 9, "input": 1, "output": 1, field: wrong})

    @pytest.mark.parametrize("field", ["input", "output"])
    def test_input_and_output_are_needed(self, field: str) -> None:
        with pytest.raises(ConfigError, match=f"price `{field}` is None"):
            Price(**{"input": 1, "output": 1, field: None})

    def test_floats_mean_what_they_show(self) -> None:
        price = Price(input=0.1, output="0.4", steps=[PriceStep(10, 0.2, 1)])  # type: ignore[arg-type]
        assert (price.input, price.output) == (Decimal("0.1"), Decimal("0.4"))
        assert price.steps == (PriceStep(10, Decimal("0.2"), Decimal(1)),)
        assert hash(price) == hash(price)

    @pytest.mark.parametrize("starts", [(200, 100), (100, 100)])
    def test_steps_rise(self, starts: tuple[int, ...]) -> None:
        with pytest.raises(ConfigError, match="the lowest first"):
            Price(Decimal(1), Decimal(1), steps=tuple(PriceStep(n, Decimal(1), Decimal(1)) for n in starts))

    @pytest.mark.parametrize("start", [-1, 1.5, True, "9"])
    def test_a_step_begins_at_a_count(self, start: Any) -> None:
        with pytest.raises(ConfigError, match="above_input_tokens"):
            PriceStep(start, Decimal(1), Decimal(1))

    def test_cost_by_hand(self) -> None:
        """1,000 in, of them 300 read and 200 written; 50 out: (500 x 2 + 300 x 0.5 + 200 x 3 + 50 x 8) / 10^6."""
        price = Price(Decimal(2), Decimal(8), Decimal("0.5"), Decimal(3))
        assert price.cost(Usage(1000, 50, 300, 200)) == Decimal("0.00215")

    def test_missing_cache_rates_are_the_input_rate(self) -> None:
        price = Price(Decimal(2), Decimal(8))
        assert price.cost(Usage(1000, 50, 300, 200)) == price.cost(Usage(1000, 50)) == Decimal("0.0024")

    @pytest.mark.parametrize("usage", [Usage(), Usage(input_tokens=1), Usage(output_tokens=1)])
    def test_unknown_usage_costs_an_unknown_amount(self, usage: Usage) -> None:
        assert Price(Decimal(1), Decimal(1)).cost(usage) is None

    def test_a_step_holds_above_its_threshold_for_the_whole_request(self) -> None:
        price = Price(
            Decimal(1),
            Decimal(10),
            steps=(PriceStep(100, Decimal(2), Decimal(20)), PriceStep(200, Decimal(3), Decimal(30))),
        )
        assert price.cost(Usage(100, 1)) == Decimal("0.00011")
        assert price.cost(Usage(101, 1)) == Decimal("0.000222")
        assert price.cost(Usage(201, 1)) == Decimal("0.000633")

    @given(
        st.integers(0, 10**7), st.integers(0, 10**6), st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 99)
    )
    def test_cost_is_never_negative(self, given_in: int, out: int, read: int, written: int, rate: int) -> None:
        """Even where a provider's counts contradict each other (more tokens cached than sent)."""
        cost = Price(Decimal(rate), Decimal(rate)).cost(Usage(given_in, out, read, written))
        assert cost is not None
        assert cost >= 0


class TestTarget:
    def test_is_named_after_its_model(self) -> None:
        one = Target(provider="openai", model="gpt-4.1", tier=Tier.STANDARD)
        assert (one.name, one.tier, one.tier_inferred) == ("gpt-4.1", Tier.STANDARD, False)

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"provider": ""}, "target `provider` is ''"),
            ({"model": None}, "target `model` is None"),
            ({"name": 3}, "target `name` is 3"),
            ({"tier": "best"}, "'best' is no tier"),
            ({"context_window": 0}, "`context_window` is 0"),
            ({"max_output_tokens": True}, "`max_output_tokens` is True"),
            ({"context_window": 1e5}, "`context_window` is 100000.0"),
            ({"cache_ttl_s": -1}, "`cache_ttl_s` is -1"),
            ({"cache_ttl_s": float("inf")}, "`cache_ttl_s` is inf"),
            ({"cache_ttl_s": "300"}, "`cache_ttl_s` is '300'"),
            ({"price": (1, 2)}, "give a Price"),
            ({"capabilities": {"tools": True}}, "give a Capabilities"),
            ({"base_url": "localhost:8000"}, "is no http:// or https:// URL"),
            ({"base_url": 8000}, "is no http:// or https:// URL"),
        ],
    )
    def test_a_wrong_fact_is_named(self, wrong: dict[str, Any], says: str) -> None:
        with pytest.raises(ConfigError) as caught:
            Target(**{"provider": "openai", "model": "gpt-4.1", **wrong})
        assert says in str(caught.value)

    def test_a_key_in_the_url_is_refused_unseen(self) -> None:
        with pytest.raises(ConfigError, match="put the key into `api_key`") as caught:
            target(base_url=f"https://user:{CANARY}@example.org/v1")
        assert CANARY not in str(caught.value)

    def test_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError):
            target().tier = Tier.PREMIUM  # type: ignore[misc]


class TestPool:
    def test_finds_by_name_in_the_order_given(self) -> None:
        pool = Pool([target("b"), target("a")])
        assert [one.name for one in pool] == ["b", "a"]
        assert (len(pool), "a" in pool, "c" in pool, pool["a"].name, pool.get("c")) == (2, True, False, "a", None)
        assert repr(pool) == "Pool(b, a)"

    @pytest.mark.parametrize(
        ("targets", "says"),
        [
            ([], "the pool is empty"),
            ([target("a"), target("b"), target("a")], "two targets are named 'a'"),
            ([target("a", tier=None)], "target 'a': neither the catalog nor the price of openai/a tells its tier"),
        ],
    )
    def test_a_wrong_pool_is_refused(self, targets: list[Target], says: str) -> None:
        with pytest.raises(ConfigError) as caught:
            Pool(targets)
        assert says in str(caught.value)

    def test_an_unknown_name_lists_the_known(self) -> None:
        with pytest.raises(ConfigError, match="no target is named 'c'; the pool has a, b"):
            Pool([target("a"), target("b")])["c"]

    def test_strongest_is_the_dearest_of_the_top_tier(self) -> None:
        pool = Pool(
            [
                target("dear but standard", tier="standard", price=Price(Decimal(90), Decimal(90))),
                target("unpriced", tier="premium", price=None),
                target("top", tier="premium", price=Price(Decimal(4), Decimal(20))),
                target("top, dearer input", tier="premium", price=Price(Decimal(5), Decimal(20))),
                target("top, cheaper", tier="premium", price=Price(Decimal(9), Decimal(19))),
            ]
        )
        assert pool.strongest.name == "top, dearer input"

    def test_strongest_of_unpriced_targets_is_of_the_top_tier(self) -> None:
        assert Pool([target("a", price=None), target("b", tier="premium", price=None)]).strongest.name == "b"


class TestDominated:
    """`cheap` (1 in, 4 out, mid) beside another target; is the other one named?"""

    @pytest.mark.parametrize(
        "facts",
        [
            {"price": Price(Decimal(2), Decimal(4))},
            {"price": Price(Decimal(1), Decimal(5))},
            {"tier": "budget"},
            {"tier": "budget", "price": Price(Decimal(9), Decimal(9))},
            {"price": Price(Decimal(2), Decimal(4), cache_read=Decimal(1))},
            {"price": Price(Decimal(2), Decimal(5)), "capabilities": Capabilities(False, False, False, False)},
            {"price": Price(Decimal(2), Decimal(5)), "context_window": 99_999, "max_output_tokens": 9_999},
            {"price": Price(Decimal(1), Decimal(4), steps=(PriceStep(50_000, Decimal(2), Decimal(4)),))},
        ],
    )
    def test_dearer_or_lower_and_no_better(self, facts: dict[str, Any]) -> None:
        assert Pool([target("cheap"), target("other", **facts)]).dominated == (Dominated("other", by="cheap"),)

    @pytest.mark.parametrize(
        "facts",
        [
            {},
            {"tier": "standard", "price": Price(Decimal(2), Decimal(5))},
            {"price": Price(Decimal("0.9"), Decimal(5))},
            {"price": Price(Decimal(2), Decimal(5), cache_read=Decimal("0.1"))},
            {"price": None},
            {"price": Price(Decimal(2), Decimal(5)), "context_window": 100_001},
            {"price": Price(Decimal(2), Decimal(5)), "context_window": None},
            {"price": Price(Decimal(2), Decimal(5)), "max_output_tokens": None},
        ],
    )
    def test_a_twin_or_something_better_or_unknown(self, facts: dict[str, Any]) -> None:
        assert Pool([target("cheap"), target("other", **facts)]).dominated == ()

    @pytest.mark.parametrize("ability", ABILITIES)
    @pytest.mark.parametrize(
        ("cheap", "other", "named"),
        [
            (True, True, True),
            (True, None, True),
            (True, False, True),
            (False, False, True),
            (None, False, True),
            (None, True, False),
            (False, True, False),
            (None, None, False),
            (False, None, False),
        ],
    )
    def test_abilities_count_only_where_known(
        self, ability: str, cheap: bool | None, other: bool | None, named: bool
    ) -> None:
        pool = Pool(
            [
                target("cheap", capabilities=replace(ALL, **{ability: cheap})),
                target("other", capabilities=replace(ALL, **{ability: other}), price=Price(Decimal(2), Decimal(5))),
            ]
        )
        assert bool(pool.dominated) is named

    @pytest.mark.parametrize("tiers", [("mid", "mid"), ("mid", "premium"), ("premium", "mid")])
    def test_one_model_at_two_efforts_is_two_targets(self, tiers: tuple[str, str]) -> None:
        low, high = (
            target(effort, provider="p", model="m", tier=tier, settings={"reasoning_effort": effort})
            for effort, tier in zip(("low", "high"), tiers, strict=True)
        )
        assert Pool([low, high]).dominated == ()

    def test_no_model_hears_what_its_dialect_cannot_say(self) -> None:
        heard = replace(ALL, audio=None)
        dear = {"capabilities": heard, "price": Price(Decimal(2), Decimal(5))}
        assert Pool([target("a", capabilities=heard), target("b", **dear)]).dominated == ()
        deaf = target("b", **dear, dialect="openai_responses")
        assert Pool([target("a", capabilities=heard), deaf]).dominated == (Dominated("b", by="a"),)

    def test_a_step_that_makes_long_requests_dearer_counts(self) -> None:
        """Cheaper for short requests, five times dearer for long ones: neither always comes first."""
        stepped = Price(Decimal("0.5"), Decimal(2), steps=(PriceStep(50_000, Decimal(5), Decimal(20)),))
        assert Pool([target("stepped", price=stepped), target("flat")]).dominated == ()

    def test_each_is_named_once(self) -> None:
        dear = target("dear", price=Price(Decimal(9), Decimal(9)))
        pool = Pool([dear, target("a"), target("b")])
        assert pool.dominated == (Dominated("dear", by="a"),)


@pytest.mark.parametrize("field", ["provider", "model", "name"])
@pytest.mark.parametrize(
    "key", ["sk-proj-CANARY123", "gsk_CANARY123", "AIzaCANARY123", "hf_CANARY123", "xai-" + "CANARY12" * 4]
)
def test_a_key_in_the_place_of_a_name_is_never_shown(field: str, key: str) -> None:
    with pytest.raises(ConfigError, match=f"target `{field}` looks like a key") as caught:
        Target(**{"provider": "openai", "model": "gpt-6-luna", "tier": "mid", field: key})  # type: ignore[arg-type]
    ours = dict(caught.traceback[-1].frame.f_locals)
    ours.pop("self")
    assert "CANARY" not in f"{caught.value} {ours}"


@pytest.mark.parametrize("name", ["sky-t1-32b-preview", "xai-grok-5", "pkm-7b", "hfm-large", "o3"])
def test_names_that_begin_nearly_like_a_key_are_names(name: str) -> None:
    assert Target(provider="house", model=name, tier="mid").model == name
