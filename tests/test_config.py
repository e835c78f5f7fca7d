"""Configuration: what a file or the environment gives, and what is refused by name."""

from __future__ import annotations

import io
import json
import pickle
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.traceback import Traceback

from agentroute import ChatRequest, ConfigError, Constraints, Router, StepContext, Target, Tier
from agentroute.config import load, targets_from_environment
from agentroute.providers import DIALECTS
from agentroute.routing.policies import constraints_for

GOOD = """
strategy = "cheapest"
baseline = "big"
deadline_s = 90
table = "table.toml"

[timeouts]
connect = 2.5

[[target]]
name = "big"
provider = "anthropic"
model = "claude-opus-5-5"
api_key = "env:ANTHROPIC_API_KEY"

[[target]]
name = "house"
provider = "house"
model = "llama"
tier = "budget"
base_url = "http://127.0.0.1:9/v1"
context_window = 8192
price = { input = 0.1, output = "0.2", cache_read = 0.01 }
capabilities = { tools = true, vision = false, documents = true, audio = false }
"""


KEY = f'[[gateway.key]]\nname = "alice"\nsha256 = "{"a" * 64}"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "table.toml").write_text('[[row]]\ntask = "qa"\nstakes = 9\n')
    return tmp_path


def test_a_whole_file(folder: Path) -> None:
    (folder / "agentroute.toml").write_text(GOOD)
    router = Router.from_config(folder / "agentroute.toml")
    house, big = router.pool["house"], router.pool["big"]
    assert (router.strategy, router.baseline.name) == ("cheapest", "big")
    assert house.price is not None
    assert (house.price.input, house.price.output, house.tier) == (Decimal("0.1"), Decimal("0.2"), Tier.BUDGET)
    assert (house.capabilities.vision, house.context_window) == (False, 8192)
    assert (house.capabilities.documents, house.capabilities.audio) == (True, False)
    assert big.tier is Tier.PREMIUM
    assert "ANTHROPIC_API_KEY" in repr(big.api_key)
    assert Router.from_config(folder / "agentroute.toml", strategy="best").strategy == "best"


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (("strategy = ", "stratgy = "), "unknown key 'stratgy'"),
        (('"cheapest"', '"magic"'), "strategy: give one of 'cheapest', 'balanced', 'best'"),
        (("deadline_s = 90", "deadline_s = -1"), "deadline_s"),
        (("deadline_s = 90", "deadline_s = nan"), "deadline_s"),
        (("input = 0.1", "input = -0.1"), "target.2.price.input"),
        (("input = 0.1", "input = nan"), "target.2.price.input"),
        (("input = 0.1", "inptu = 0.1"), "target.2.price.inptu"),
        (("8192", "0"), "target.2.context_window"),
        (("8192", "true"), "target.2.context_window"),
        (('tier = "budget"', 'tier = "tiny"'), "target.2.tier"),
        (('"env:ANTHROPIC_API_KEY"', '"sk-canary-0123"'), "keys do not belong in a file"),
        (('"env:ANTHROPIC_API_KEY"', '["env:A", "sk-canary-0123"]'), "target.1.api_key: keys do not belong in a file"),
        (('"env:ANTHROPIC_API_KEY"', "[]"), "target.1.api_key"),
        (('tier = "budget"', 'tier = "budget"\ndialect = "smoke"'), "target.2.dialect"),
        (('tier = "budget"', 'tier = "budget"\ndialect = "native"'), "target.2.dialect"),
        (('tier = "budget"', 'tier = "budget"\nsettings = 3'), "target.2.settings"),
        (
            ('"http://127.0.0.1:9/v1"', '"http://127.0.0.1:9/v1?key=sk-canary-0123"'),
            "target.2: target 'house': `base_url`",
        ),
        (('baseline = "big"', 'baseline = "huge"'), "no target is named 'huge'"),
        (('name = "house"', 'name = "big"'), "two targets are named 'big'"),
        (('"table.toml"', '"gone.toml"'), "gone.toml"),
        (("[timeouts]", "[timeouts"), "cannot be read"),
        (("[timeouts]", "[gateway]\nport = 70000\n[timeouts]"), "gateway.port: give a whole number from 0 to 65535"),
        (("[timeouts]", "[gateway]\nmax_body = 0\n[timeouts]"), "gateway.max_body: give a whole number of bytes"),
        (("[timeouts]", "[gateway]\nmax_depth = 1.5\n[timeouts]"), "gateway.max_depth: give a whole number, above 0"),
        (("[timeouts]", "[gateway]\nhold_s = nan\n[timeouts]"), "gateway.hold_s: give seconds, above 0"),
        (("[timeouts]", '[gateway]\nown_keys = "yes"\n[timeouts]'), "gateway.own_keys: give true or false"),
        (("[timeouts]", '[gateway]\ncors_origins = "x"\n[timeouts]'), "gateway.cors_origins: give a list of origins"),
        (("[timeouts]", "[gateway.key]\nname = 1\n[timeouts]"), "gateway.key: write [[gateway.key]], in two brackets"),
        (("[timeouts]", "[gateway.models]\nx = 1\n[timeouts]"), "gateway.models: give a table of texts"),
        (("[timeouts]", f"{KEY}rate_per_minute = 0\n[timeouts]"), "gateway.key.1.rate_per_minute: give a whole number"),
        (("[timeouts]", f"{KEY}concurrency = true\n[timeouts]"), "gateway.key.1.concurrency: give a whole number"),
        (("[timeouts]", f'{KEY}strategies = ["x"]\n[timeouts]'), "give one of 'cheapest', 'balanced', 'best'"),
        (("[timeouts]", f'{KEY}strategies = "x"\n[timeouts]'), "gateway.key.1.strategies: give a list of strategies"),
        (("[timeouts]", f'{KEY}strateges = ["best"]\n[timeouts]'), "did you mean 'strategies'"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, change: tuple[str, str], names: str) -> None:
    assert change[0] in GOOD
    (folder / "agentroute.toml").write_text(GOOD.replace(*change))
    with pytest.raises(ConfigError) as caught:
        Router.from_config(folder / "agentroute.toml")
    assert names in str(caught.value)
    assert "agentroute.toml" in str(caught.value) or "gone.toml" in str(caught.value)
    shown = io.StringIO()
    Console(file=shown, width=200).print(
        Traceback.from_exception(
            caught.type, caught.value, caught.tb, show_locals=True, locals_max_string=9999, suppress=[__file__]
        )
    )
    assert "canary" not in str(caught.value)
    assert "canary" not in shown.getvalue().replace(repr(change), "")
    assert "canary" not in repr(caught.value.__context__)


TARGET = '[[target]]\nprovider = "openai"\nmodel = "gpt-6-luna"\n'
ADDRESSED = TARGET + 'base_url = "https://llm.example.com/v1"\n'
PLAIN = TARGET + 'base_url = "http://llm.shop.com/v1"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "target: there is none; give at least one: [[target]]"),
        ("target = []", "target: there is none"),
        ('[target]\nprovider = "openai"\nmodel = "m"', "target: write [[target]], in two brackets"),
        ('target = "gpt-6-luna"', "target: write [[target]], in two brackets"),
        ('[[targets]]\nprovider = "openai"', "unknown key 'targets'; write [[target]] above the keys of each target"),
        ('models = ["a"]\n' + TARGET, "unknown key 'models'; write [[target]]"),
        ("[providers.acme]\n" + TARGET, "unknown key 'providers'; write [provider.NAME]"),
        ('[[target]]\nmodel = "m"', "target.1.provider: is missing"),
        (
            "stratgy = 1\n" + TARGET,
            "unknown key 'stratgy'; did you mean 'strategy'? known are baseline, budget, cert, checks,",
        ),
        (TARGET + 'nmae = "x"', "unknown key 'target.1.nmae'; did you mean 'name'? known are api_key,"),
        (
            TARGET + "capabilities = { tool = true }",
            "'target.1.capabilities.tool'; did you mean 'tools'? known are",
        ),
        (
            TARGET + "price = { input = 1, output = 1, cached = 1 }",
            "unknown key 'target.1.price.cached'; did you mean 'cache_read'?",
        ),
        ("[timeouts]\nconect = 3\n" + TARGET, "'timeouts.conect'; did you mean 'connect'? known are between_events,"),
        ("[provider.acme]\nbaseurl = 3\n" + TARGET, "unknown key 'baseurl'; did you mean 'base_url'? known are"),
        (
            "[role.writer]\nmax_teir = 3\n" + TARGET,
            "role 'writer': 'max_teir' is no constraint; did you mean",
        ),
        (TARGET + 'price = "cheap"', "target.1.price: give a table, like price = { input = 0.4, output = 1.6 }"),
        (TARGET + "price = 3", "target.1.price: give a table"),
        (TARGET + "price = { input = 1 }", "target.1.price.output: is missing"),
        (
            TARGET + 'price = { input = "abc", output = 1 }',
            "target.1.price.input: give USD per million tokens",
        ),
        (TARGET + "capabilities = 3", "target.1.capabilities: give a table"),
        (TARGET + 'capabilities = { tools = "perhaps" }', "target.1.capabilities.tools: give true or false"),
        (TARGET + 'context_window = "big"', "target.1.context_window: give a whole number of tokens, above 0"),
        (TARGET + "settings = 3", "target.1.settings: give a table"),
        (TARGET + "name = 3", "target.1.name: give a text"),
        (TARGET + "tier = 3", "target.1.tier: give one of 'budget', 'mid', 'standard', 'premium'"),
        (TARGET + "api_key = []", "target.1.api_key: the list is empty"),
        ("timeouts = 3\n" + TARGET, "timeouts: give a table: [timeouts]"),
        ("deadline_s = true\n" + TARGET, "deadline_s: give seconds, above 0"),
        ('ledger = ""\n' + TARGET, "ledger: give the path of a file"),
        ("provider = 3\n" + TARGET, "[provider.NAME]"),
        ("role = 3\n" + TARGET, "[role.NAME]"),
        (TARGET.replace("openai", "opneai"), "no provider is named 'opneai'; did you mean 'openai'?"),
        (TARGET.replace("openai", "opneai") + 'tier = "mid"', "no provider is named 'opneai'; did you mean 'openai'?"),
        (TARGET.replace("openai", "house") + 'tier = "mid"', "no provider is named 'house'; give the `base_url`"),
        (TARGET.replace("luna", "lunna"), "the catalog has no 'gpt-6-lunna' of openai; did you mean 'gpt-6-luna'?"),
        (ADDRESSED.replace("/v1", "/v1/chat/completions"), "ends in '/chat/completions', which is put behind it"),
        (ADDRESSED.replace("/v1", "/v1/responses/"), "ends in '/responses'"),
        (ADDRESSED.replace("/v1", "/v1/messages"), "ends in '/messages'"),
        (
            ADDRESSED.replace("https", "http").replace("example", "shop") + 'api_key = "env:K"',
            "plain http to a public host",
        ),
        (
            ADDRESSED.replace("https://llm.example.com", "http://8.8.8.8") + 'api_key = "env:K"',
            "plain http to a public",
        ),
        (
            '[provider.acme]\nbase_url = "http://api.acme.com/v1"\napi_key = "env:K"\n'
            '[[target]]\nprovider = "acme"\nmodel = "m"\ntier = "mid"',
            "plain http to a public host",
        ),
    ],
)
def test_every_message_names_the_key_and_the_remedy(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "a.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Router.from_config(file)
    message = str(caught.value)
    assert says in message
    assert message.startswith(f"{file}: ")
    assert not re.search(r"Input should|Field required|valid |instance of|_Price|pydantic|List should|\bstr\b", message)
    parts = message.removeprefix(f"{file}: ").split("; ")
    assert len(parts) == len(set(parts)), "each problem is said once"


def test_all_problems_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    other = TARGET.replace("openai", "house") + 'name = "other"\ntier = "mid"\n'
    file.write_text(TARGET.replace("openai", "shed") + 'tier = "mid"\n' + other)
    with pytest.raises(ConfigError) as caught:
        Router.from_config(file)
    assert "target 'gpt-6-luna': no provider is named 'shed'" in str(caught.value)
    assert "target 'other': no provider is named 'house'" in str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8000",
        "127.0.0.1:1",
        "10.0.0.5",
        "192.168.1.7:11434",
        "[::1]:80",
        "vllm:8000",
        "gpu.internal",
        "nas.local",
    ],
)
def test_a_key_may_go_over_plain_http_within_ones_own_network(tmp_path: Path, host: str) -> None:
    (tmp_path / "a.toml").write_text(TARGET + f'base_url = "http://{host}/v1"\napi_key = "env:K"\n')
    (target,) = load(tmp_path / "a.toml")["targets"]
    assert target.base_url == f"http://{host}/v1"


def test_plain_http_without_a_key_is_the_users_choice(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(PLAIN)
    assert load(tmp_path / "a.toml")["targets"][0].api_key is None


def test_what_may_keep_a_target_from_being_called_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_SET_ANYWHERE", raising=False)
    text = TARGET + 'base_url = "https://proxy.example.com"\napi_key = "env:NOT_SET_ANYWHERE"\n'
    (tmp_path / "a.toml").write_text(text)
    Router.from_config(tmp_path / "a.toml")
    assert "target 'gpt-6-luna': its `base_url` has no path, while that of openai ends in '/v1'" in caplog.text
    assert "target 'gpt-6-luna': the environment variable NOT_SET_ANYWHERE is not set" in caplog.text
    caplog.clear()
    monkeypatch.setenv("NOT_SET_ANYWHERE", "sk-canary")
    (tmp_path / "a.toml").write_text(text.replace(".com", ".com/openai"))
    Router.from_config(tmp_path / "a.toml")
    assert caplog.text == ""


@pytest.mark.parametrize("key", ["OPENAI_API_KEY", "HF_TOKEN", "OPENAI_API_KEY_2", ["env:A", "MY_SECRET"]])
def test_the_name_of_a_variable_is_no_key(key: str | list[str]) -> None:
    with pytest.raises(ConfigError, match=r"looks like the name of a variable; write it as 'env:NAME'"):
        Target(provider="openai", model="m", api_key=key)


class TestNetwork:
    """`proxy`, `verify` and `cert` at each of their three places."""

    FILE = """
proxy = "env:HTTPS_PROXY"
verify = "ca.pem"

[provider.house]
base_url = "https://llm.example.com/v1"
api_key = "env:HOUSE_KEY"
cert = ["client.pem", "/etc/client.key"]

[[target]]
provider = "house"
model = "a"
tier = "mid"

[[target]]
provider = "house"
model = "b"
tier = "mid"
proxy = "http://127.0.0.1:3128"
verify = "/etc/ssl/own.pem"
cert = "own.pem"

[[target]]
provider = "openai"
model = "gpt-6-luna"
proxy = "direct"
"""

    def test_the_nearest_place_says(self, tmp_path: Path) -> None:
        (tmp_path / "a.toml").write_text(self.FILE)
        with Router.from_config(tmp_path / "a.toml") as router:
            a, b, luna = router.pool
        assert repr(a.proxy) == "Secret.env('HTTPS_PROXY')"
        assert (a.verify, a.cert) == (str(tmp_path / "ca.pem"), (str(tmp_path / "client.pem"), "/etc/client.key"))
        assert repr(b.proxy) == "Secret('***')"
        assert (b.verify, b.cert) == ("/etc/ssl/own.pem", (str(tmp_path / "own.pem"),))
        assert (luna.proxy, luna.verify, luna.cert) == ("direct", str(tmp_path / "ca.pem"), None)

    def test_a_pickle_holds_the_variables_name(self, tmp_path: Path) -> None:
        (tmp_path / "a.toml").write_text(self.FILE)
        with Router.from_config(tmp_path / "a.toml") as router, pickle.loads(pickle.dumps(router)) as copy:
            assert repr(copy.pool["a"].proxy) == "Secret.env('HTTPS_PROXY')"
            assert copy.pool["a"].cert == router.pool["a"].cert

    @pytest.mark.parametrize("table", ["", "target.1", "provider.openai"])
    @pytest.mark.parametrize(
        ("line", "says"),
        [
            ('proxy = "http://user:canary@127.0.0.1:9"', "proxy: give 'http://HOST:PORT', 'direct', or, as a password"),
            ('proxy = "https://canary"', "proxy: give 'http://HOST:PORT'"),
            ('proxy = "http://canary:99999"', "`proxy` is no address of an HTTP proxy"),
            ("proxy = true", "proxy: give 'http://HOST:PORT'"),
            ("verify = false", "verify: give the path of the CA certificates to trust; TLS is always verified"),
            ("cert = []", "cert: give the path of a client certificate, or [certificate, key]"),
            ('cert = ["a", "b", "c"]', "cert: give the path of a client certificate"),
        ],
    )
    def test_what_cannot_be(self, tmp_path: Path, table: str, line: str, says: str) -> None:
        target = '[[target]]\nprovider = "openai"\nmodel = "gpt-6-luna"\n'
        texts = {"": f"{line}\n{target}", "target.1": target + line, "provider.openai": f"{target}[{table}]\n{line}"}
        (tmp_path / "a.toml").write_text(texts[table])
        with pytest.raises(ConfigError) as caught:
            Router.from_config(tmp_path / "a.toml")
        assert says in str(caught.value)
        assert str(caught.value).count("give the path") <= 1
        assert str(tmp_path / "a.toml") in str(caught.value)
        assert "canary" not in str(caught.value)


class TestRoles:
    """Policy by role, in the file and in code."""

    FILE = """
[[target]]
name = "small"
provider = "openai"
model = "gpt-6-luna"

[[target]]
name = "strong"
provider = "anthropic"
model = "claude-opus-5-5"

[role.writer]
max_tier = "budget"

[role.lead]
target = "strong"
deny_providers = ["openai"]
"""

    @pytest.fixture
    def router(self, tmp_path: Path) -> Router:
        (tmp_path / "a.toml").write_text(self.FILE)
        return Router.from_config(tmp_path / "a.toml", strategy="best")

    @pytest.mark.parametrize("who", ["role", "agent"])
    def test_a_step_of_the_role_keeps_to_it(self, router: Router, who: str) -> None:
        request = ChatRequest.from_openai({"messages": [{"role": "user", "content": "Prove that it halts."}]})
        assert router.route(request).target == "strong"
        assert router.route(request, context=StepContext(**{who: "writer"})).target == "small"
        assert router.route(request, context=StepContext(**{who: "lead"})).target == "strong"
        assert router.route(request, context=StepContext(**{who: "somebody"})).target == "strong"

    def test_the_role_counts_before_the_agent(self, router: Router) -> None:
        request = ChatRequest.from_openai({"messages": [{"role": "user", "content": "hi"}]})
        decision = router.route(request, context=StepContext(role="writer", agent="lead"))
        assert decision.target == "small"
        assert "policy of role 'writer'" in decision.reasons

    def test_what_the_step_says_goes_over_it_and_denied_providers_add_up(self) -> None:
        policy = Constraints(max_tier="budget", deny_providers=("xai",), deadline_s=9)
        assert constraints_for(policy, Constraints()) == policy
        told = constraints_for(policy, Constraints(max_tier="mid", deny_providers=("groq",)))
        assert told == Constraints(max_tier="mid", deny_providers=("xai", "groq"), deadline_s=9)

    def test_roles_in_code_and_in_a_pickle(self) -> None:
        small = Target(name="small", provider="openai", model="gpt-6-luna")
        router = Router(targets=[small], roles={"writer": {"target": "small"}, "lead": Constraints(tier="budget")})
        assert (
            pickle.loads(pickle.dumps(router)).roles
            == router.roles
            == {
                "writer": Constraints(target="small"),
                "lead": Constraints(tier="budget"),
            }
        )

    @pytest.mark.parametrize(
        ("roles", "says"),
        [
            ({"w": {"target": "smal"}}, "role 'w': target: no target is named 'smal'; did you mean 'small'?"),
            ({"w": Constraints(target="big")}, "role 'w': target: no target is named 'big'; the pool has small"),
            ({"w": {"content_filter_fallback": ["smal"]}}, "role 'w': content_filter_fallback: no target is named"),
            ({"w": {"deny_providers": ["opneai"]}}, "no provider is named 'opneai'; did you mean 'openai'?"),
            ({"w": {"allow_providers": ["opneai"]}}, "role 'w': allow_providers: no provider is named"),
            ({"w": {"tier": "tiny"}}, "role 'w': 'tiny' is no tier"),
            ({"w": {"pin": "small"}}, "role 'w': 'pin' is no constraint; known are target,"),
            ({"w": "small"}, "role 'w': constraints are 'small'; give a dict"),
            ([("w", {})], "`roles` is a list; give a mapping"),
        ],
    )
    def test_a_wrong_policy_is_found_before_the_first_call(self, roles: Any, says: str) -> None:
        with pytest.raises(ConfigError) as caught:
            Router(targets=[Target(name="small", provider="openai", model="gpt-6-luna")], roles=roles)
        assert says in str(caught.value)


def test_an_empty_pool_and_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").write_text("target = []")
    with pytest.raises(ConfigError, match=r"empty\.toml: target"):
        load(tmp_path / "empty.toml")
    with pytest.raises(ConfigError, match=r"none\.toml.*cannot be read"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="the pool is empty"):
        Router(targets=[])


def test_the_dialects_of_a_target_are_those_of_the_formats(tmp_path: Path) -> None:
    for dialect in DIALECTS:
        entry = f'{ADDRESSED}dialect = "{dialect}"\nsettings = {{ a = 1 }}\n'
        (tmp_path / "a.toml").write_text(entry)
        (target,) = load(tmp_path / "a.toml")["targets"]
        assert (target.dialect, target.settings) == (dialect, {"a": 1})


def test_the_environment() -> None:
    targets = targets_from_environment({"OPENAI_API_KEY": "sk-canary", "GOOGLE_API_KEY": "g"})
    assert {target.provider for target in targets} == {"openai", "google"}
    assert len({target.model for target in targets if target.provider == "openai"}) >= 3
    assert "canary" not in repr(targets)
    tiers = {target.tier for target in Router(targets=targets).pool}
    assert tiers == set(Tier)


def test_no_key_at_all_names_what_to_set() -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY") as caught:
        targets_from_environment({})
    assert "ANTHROPIC_API_KEY" in str(caught.value)
    assert "HF_TOKEN" not in str(caught.value), "no default model is known there, so its key alone gives no pool"


def test_rules_in_the_file_change_single_ones_of_the_catalog(tmp_path: Path) -> None:
    path = tmp_path / "agentroute.toml"
    head = '[[target]]\nprovider = "openai"\nmodel = "gpt-6-sol"\n'
    path.write_text(f'{head}rules = {{ refused = ["seed"], efforts = ["low"], max_output_tokens = 9 }}\n')
    (target,) = load(path)["targets"]
    assert (target.rules.refused, target.rules.efforts, target.rules.max_output_tokens) == (("seed",), ("low",), 9)
    assert target.rules.root_object
    for rules, said in {
        '{ refuse = ["seed"] }': r"target.1: unknown key 'rules.refuse'",
        '{ refused = "seed" }': "target.1: rule `refused`",
        "7": "target.1.rules: give a table",
    }.items():
        path.write_text(f"{head}rules = {rules}\n")
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert said in str(caught.value)


class TestExamples:
    def write(self, tmp_path: Path, table: str) -> Path:
        rows = [{"text": f"Where is parcel {n}?", "task": "tool_use"} for n in range(10)]
        (tmp_path / "asks.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        path = tmp_path / "agentroute.toml"
        path.write_text(table + "\n" + TARGET, encoding="utf-8")
        return path

    def test_they_are_read_beside_the_file(self, tmp_path: Path) -> None:
        router = Router.from_config(self.write(tmp_path, '[examples]\nfile = "asks.jsonl"'))
        assert router.route("Where is parcel 7?").reasons[0].startswith("most like the example line ")

    @pytest.mark.parametrize(
        ("table", "says"),
        [
            ("examples = 3", 'examples: give a table: [examples], with file = "examples.jsonl"'),
            ("[examples]", "examples.file: is missing"),
            ('[examples]\nfile = "gone.jsonl"', "gone.jsonl"),
            ('[examples]\nfile = "asks.jsonl"\nencoder = "word2vec"', "encoder: 'word2vec' is none"),
            ('[examples]\nfiles = "asks.jsonl"', "file"),
        ],
    )
    def test_what_cannot_be(self, tmp_path: Path, table: str, says: str) -> None:
        with pytest.raises(ConfigError) as caught:
            Router.from_config(self.write(tmp_path, table))
        assert says in str(caught.value)
