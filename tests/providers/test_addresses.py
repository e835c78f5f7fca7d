"""Base URLs with parts: how they are filled in, and what is refused before any goes to a literal `{region}`."""

from __future__ import annotations

import pytest

from agentroute import ConfigError, ConnectionFailed, Endpoint, Router, Target
from agentroute.providers.addresses import Part, fill, is_own, missing, parts_of, url_problem
from agentroute.testing import ScriptedProvider

REGION = parts_of({"region": ["AWS_REGION", "AWS_DEFAULT_REGION"]})
BEDROCK = "https://bedrock-runtime.{region}.amazonaws.com/anthropic/v1"
HOST = {
    "by": "location",
    "global": "aiplatform.googleapis.com",
    "us": "aiplatform.us.rep.googleapis.com",
    "other": "{location}-aiplatform.googleapis.com",
}
VERTEX = parts_of({"location": ["LOCATION"], "host": HOST})


class TestFilling:
    @pytest.mark.parametrize(
        ("environ", "region"),
        [
            ({"AWS_REGION": "eu-central-1"}, "eu-central-1"),
            ({"AWS_DEFAULT_REGION": "us-east-1"}, "us-east-1"),
            ({"AWS_REGION": "eu-central-1", "AWS_DEFAULT_REGION": "us-east-1"}, "eu-central-1"),
            ({"AWS_REGION": "", "AWS_DEFAULT_REGION": " us-east-1\n"}, "us-east-1"),
        ],
    )
    def test_the_first_variable_that_is_set(self, environ: dict[str, str], region: str) -> None:
        assert fill(BEDROCK, REGION, environ) == f"https://bedrock-runtime.{region}.amazonaws.com/anthropic/v1"

    def test_a_missing_part_names_its_variables(self) -> None:
        with pytest.raises(ConfigError, match=r"`region`: set AWS_REGION or AWS_DEFAULT_REGION, or give base_url="):
            fill(BEDROCK, REGION, {})
        assert [part.name for part in missing(BEDROCK, REGION, {"AWS_REGION": ""})] == ["region"]

    @pytest.mark.parametrize(
        ("location", "host"),
        [
            ("global", "aiplatform.googleapis.com"),
            ("us", "aiplatform.us.rep.googleapis.com"),
            ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
        ],
    )
    def test_one_part_chooses_by_another(self, location: str, host: str) -> None:
        found = fill("https://{host}/v1/locations/{location}", VERTEX, {"LOCATION": location})
        assert found == f"https://{host}/v1/locations/{location}"

    def test_what_a_chosen_part_stands_on_is_missed_too(self) -> None:
        with pytest.raises(ConfigError, match="set LOCATION"):
            fill("https://{host}/v1", VERTEX, {})

    @pytest.mark.parametrize(
        ("value", "found"),
        [
            ("https://dbc-1.cloud.databricks.com", "https://dbc-1.cloud.databricks.com/serving"),
            ("https://dbc-1.cloud.databricks.com/", "https://dbc-1.cloud.databricks.com/serving"),
            ("dbc-1.cloud.databricks.com", "https://dbc-1.cloud.databricks.com/serving"),
            ("http://localhost:4000", "http://localhost:4000/serving"),
        ],
    )
    def test_a_part_that_stands_first_is_the_origin(self, value: str, found: str) -> None:
        assert fill("{host}/serving", parts_of({"host": "env:HOST"}), {"HOST": value}) == found

    @pytest.mark.parametrize("value", ["a/b", "a@b", "evil.com/x?", "..", "a..b", "-a", "a b", "a:1", "#"])
    def test_a_value_that_leads_elsewhere(self, value: str) -> None:
        with pytest.raises(ConfigError, match="cannot stand there in a URL") as caught:
            fill(BEDROCK, REGION, {"AWS_REGION": value})
        assert value not in str(caught.value).replace("a URL", "").replace("'_' and '.'", "") or len(value) < 3

    @pytest.mark.parametrize("value", ["https://key@host", "https://host/?key=1", "ftp://host"])
    def test_an_origin_that_is_none(self, value: str) -> None:
        with pytest.raises(ConfigError, match="its part `host`, from HOST") as caught:
            fill("{host}/v1", parts_of({"host": ["HOST"]}), {"HOST": value})
        assert value not in str(caught.value)

    def test_a_fixed_value(self) -> None:
        assert fill(BEDROCK, parts_of({"region": "eu-central-1"}), {}) == BEDROCK.replace("{region}", "eu-central-1")


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("table", "says"),
        [
            ("x", "`parts` is no table"),
            ({"Region": ["A"]}, "'Region' is no name of a part"),
            ({"region": []}, "region is no list of variables"),
            ({"region": ["sk-canary-0123"]}, "no name of an environment variable"),
            ({"region": 3}, "region is no list of variables"),
            ({"region": "a/b"}, "cannot stand in a URL"),
            ({"host": {"global": "x"}}, "host is a table without `by`"),
            ({"host": {"by": "a", "global": 3}}, "host is a table without `by`"),
        ],
    )
    def test_parts(self, table: object, says: str) -> None:
        with pytest.raises(ConfigError) as caught:
            parts_of(table)
        assert says in str(caught.value)
        assert "sk-canary" not in str(caught.value)

    @pytest.mark.parametrize(
        ("url", "says"),
        [
            ("https://x.{regoin}.y", "`{regoin}`, for which `parts` says nothing"),
            ("https://x.{}.y", "a place in braces"),
            ("https://x.{region.y", "a brace that is not closed"),
            ("https://x.region}.y", "a brace that is not closed"),
            ("x.{region}.y", "is no http"),
            ("https://u@x.{region}.y", "a user or password"),
            ("https://x.{region}.y/?a=1", "a query"),
            ("https://x.{region}.y:port/v1", "its host or port cannot be read"),
            ("https://x.{region}.y/v1/chat/completions/", "ends in '/chat/completions'"),
        ],
    )
    def test_urls(self, url: str, says: str) -> None:
        problem = url_problem(url, REGION)
        assert problem is not None
        assert says in problem

    def test_no_target_has_a_literal_brace_for_a_host(self) -> None:
        with pytest.raises(ConfigError, match="for which `parts` says nothing"):
            Target(provider="x", model="m", base_url="https://x.{region}.y")
        with pytest.raises(ConfigError, match="for which `parts` says nothing"):
            Endpoint(base_url="https://x.{region}.y")

    def test_a_part_that_chooses_among_too_few(self) -> None:
        parts = parts_of({"location": "asia", "host": {"by": "location", "global": "x"}})
        with pytest.raises(ConfigError, match="`location` is none of global"):
            fill("https://{host}", parts, {})


class TestWhoseAddress:
    @pytest.mark.parametrize(
        ("url", "own"),
        [
            ("https://bedrock-runtime.eu-central-1.amazonaws.com/anthropic/v1", True),
            ("https://bedrock-runtime.eu-central-1.amazonaws.com/anthropic/v1/", True),
            ("https://bedrock-runtime.eu-central-1.amazonaws.com.evil.com/anthropic/v1", False),
            ("https://bedrock-runtime.evil.com/x.amazonaws.com/anthropic/v1", False),
            ("http://bedrock-runtime.eu-central-1.amazonaws.com/anthropic/v1", False),
        ],
    )
    def test_a_key_from_the_environment_goes_to_its_provider_only(self, url: str, own: bool) -> None:
        assert is_own(url, BEDROCK, REGION) is own
        target = Target(provider="bedrock", model="m", base_url=url)
        assert [key.env_name for key in target.usual_keys] == (["AWS_BEARER_TOKEN_BEDROCK"] if own else [])

    def test_a_host_that_is_chosen(self) -> None:
        known = "https://{host}/v1/locations/{location}"
        assert is_own("https://asia-east1-aiplatform.googleapis.com/v1/locations/asia-east1", known, VERTEX)
        assert is_own("https://aiplatform.googleapis.com/v1/locations/global", known, VERTEX)
        assert not is_own("https://evil.com/v1/locations/global", known, VERTEX)

    def test_parts_are_values(self) -> None:
        assert (Part("region", ("AWS_REGION", "AWS_DEFAULT_REGION")),) == REGION
        assert parts_of(REGION) is REGION


@pytest.mark.parametrize(
    ("provider", "variable", "value"),
    [
        ("azure", "AZURE_OPENAI_ENDPOINT", None),
        ("azure", "AZURE_OPENAI_ENDPOINT", "https://host/?key=x"),
        ("foundry", "ANTHROPIC_FOUNDRY_RESOURCE", None),
        ("foundry", "ANTHROPIC_FOUNDRY_RESOURCE", "not/a/name"),
        ("house", "NOTHING", None),
    ],
)
class TestNoAddress:
    """A target without a whole address at the time of the call is one that failed: the others are tried."""

    def test_the_next_target_answers(
        self, provider: str, variable: str, value: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._set(monkeypatch, variable, value)
        first = Target(name="first", provider=provider, model="m", tier="budget", api_key="k")
        with ScriptedProvider("hello", provider="openai") as double:
            second = double.target(name="second", model="gpt-6-sol", tier="premium")
            with Router([first, second], strategy="cheapest") as router:
                answer = router.complete("hi")
        assert answer.text == "hello"
        assert answer.decision is not None
        assert answer.decision.target == "second"

    def test_alone_the_error_names_the_remedy(
        self, provider: str, variable: str, value: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._set(monkeypatch, variable, value)
        with (
            Router([Target(name="first", provider=provider, model="m", tier="budget", api_key="k")]) as router,
            pytest.raises(ConnectionFailed, match=rf"target 'first': .*({variable}|base_url)"),
        ):
            router.complete("hi")

    @staticmethod
    def _set(monkeypatch: pytest.MonkeyPatch, variable: str, value: str | None) -> None:
        monkeypatch.delenv(variable, raising=False)
        if value is not None:
            monkeypatch.setenv(variable, value)
