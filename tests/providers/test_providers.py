"""Providers as data: the shipped table, what a file or a program adds to it, and what is refused by name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest

from agentroute import (
    ChatRequest,
    ConfigError,
    ConnectionFailed,
    Endpoint,
    Provider,
    Quirks,
    Router,
    Secret,
    Target,
    formats,
)
from agentroute.catalog import resolve
from agentroute.config import load
from agentroute.failover.effects import Timeouts, Try
from agentroute.providers import DIALECTS, PROVIDERS, Auth
from agentroute.transport.exchange import Outgoing
from tests.loopback import ANSWER, Loopback

REQUEST = ChatRequest.from_openai({"messages": [{"role": "user", "content": "hi"}]})


def outgoing(target: Target, **body: Any) -> Outgoing:
    request = ChatRequest.from_openai({"messages": [{"role": "user", "content": "hello"}], **body})
    return Outgoing(Try(target, request, False, Timeouts()))


class TestTheTable:
    def test_every_provider_says_where_it_was_read(self) -> None:
        assert list(PROVIDERS) == sorted(PROVIDERS)
        for name, provider in PROVIDERS.items():
            assert provider.name == name
            assert provider.source.startswith("https://"), name
            assert len(provider.date) == 10, name

    def test_every_address_is_encrypted_or_at_home(self) -> None:
        for provider in PROVIDERS.values():
            for way in provider.endpoints:
                url = way.base_url
                at_home = url is not None and url.startswith("http://127.0.0.1:")
                assert url is None or url.startswith(("https://", "{")) or (provider.local and at_home)
                assert way.auth in get_args(Auth)
                assert url is None or not url.endswith("/")

    def test_a_key_or_none_is_needed(self) -> None:
        for provider in PROVIDERS.values():
            assert bool(provider.key_names) is not provider.local

    def test_who_has_no_address_for_all_shows_one(self) -> None:
        own = {name for name, known in PROVIDERS.items() if (known.endpoint().base_url or "{").startswith("{")}
        assert own == {name for name, provider in PROVIDERS.items() if provider.address}
        assert own == {"azure", "databricks", "litellm", "watsonx"}

    @pytest.mark.requires("shared")
    def test_the_addresses_are_those_of_recorded_traffic(self, shared: Path) -> None:
        found = set()
        for name, dialect, path in (
            ("anthropic", None, "/messages"),
            ("cerebras", None, "/chat/completions"),
            ("deepseek", None, "/chat/completions"),
            ("google", None, "/models/"),
            ("groq", None, "/chat/completions"),
            ("mistral", None, "/chat/completions"),
            ("openai", None, "/chat/completions"),
            ("openai", "openai_responses", "/responses"),
            ("openrouter", None, "/chat/completions"),
            ("zai", None, "/chat/completions"),
        ):
            folder = shared / "wire" / {"google": "gemini"}.get(name, name)
            uris = [json.loads(file.read_text())["uri"] for file in folder.glob("*.request.json")]
            expected = f"{PROVIDERS[name].endpoint(dialect).base_url}{path}"
            assert any(uri.startswith(expected) for uri in uris), (name, expected, uris)
            found.add(name)
        assert len(found) == 9

    @pytest.mark.parametrize(
        ("name", "model", "dialect", "url", "field"),
        [
            (
                "deepseek",
                "deepseek-flash",
                "anthropic_messages",
                "https://api.deepseek.com/anthropic/v1/messages",
                None,
            ),
            ("deepseek", "deepseek-flash", "openai_responses", "https://api.deepseek.com/responses", None),
            ("moonshot", "kimi-k3", None, "https://api.moonshot.ai/v1/chat/completions", "max_completion_tokens"),
            ("zai", "GLM-5.3", None, "https://api.z.ai/api/paas/v4/chat/completions", "tool_stream"),
            ("zhipu", "glm-5.3", None, "https://open.bigmodel.cn/api/paas/v4/chat/completions", "tool_stream"),
        ],
    )
    def test_where_a_request_goes_and_what_it_has(
        self, name: str, model: str, dialect: str | None, url: str, field: str | None
    ) -> None:
        target = resolve(Target(provider=name, model=model, dialect=dialect, tier="standard", api_key="k"))
        out = outgoing(target, max_tokens=9)
        assert out.url == url
        assert field is None or json.loads(out.content)[field] in (9, True)

    def test_the_dialects_are_the_formats(self) -> None:
        assert formats.DIALECTS is DIALECTS


class TestWhereTheKeyGoes:
    @pytest.mark.parametrize(
        ("provider", "dialect", "header"),
        [
            ("openai", None, ("authorization", "Bearer the-key")),
            ("anthropic", "anthropic_messages", ("x-api-key", "the-key")),
            ("google", "gemini", ("x-goog-api-key", "the-key")),
            ("azure", "openai_chat", ("api-key", "the-key")),
            ("house", "anthropic_messages", ("x-api-key", "the-key")),
            ("house", "gemini", ("x-goog-api-key", "the-key")),
            ("house", "openai_responses", ("authorization", "Bearer the-key")),
        ],
    )
    def test_in_a_header_never_in_the_address(
        self, provider: str, dialect: str | None, header: tuple[str, str]
    ) -> None:
        try:
            formats.of(dialect or "openai_chat")
        except ModuleNotFoundError:
            pytest.skip("this dialect is not written yet")
        target = Target(
            provider=provider, model="m", dialect=dialect, base_url="http://127.0.0.1:9/v1", api_key="the-key"
        )
        sent = outgoing(target)
        assert sent.key_header() == header
        assert "the-key" not in sent.url
        assert "the-key" not in repr(sent.headers)

    def test_the_variable_of_the_provider_counts_at_its_own_address_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "usual")
        assert outgoing(Target(provider="openai", model="m")).key_header() == ("authorization", "Bearer usual")
        elsewhere = Target(provider="openai", model="m", base_url="http://127.0.0.1:9")
        assert outgoing(elsewhere).key_header() is None

    def test_a_provider_whose_address_is_yours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", "usual")
        monkeypatch.delenv("AZURE_OPENAI_ENDPOINT", raising=False)
        with pytest.raises(
            ConnectionFailed, match=r"give base_url=, like 'https://RESOURCE\.openai\.azure\.com/openai/v1'"
        ):
            outgoing(Target(provider="azure", model="m"))
        mine = Target(provider="azure", model="m", base_url="https://mine.openai.azure.com/openai/v1/")
        sent = outgoing(mine, max_tokens=5)
        assert sent.url == "https://mine.openai.azure.com/openai/v1/chat/completions"
        assert sent.key_header() == ("api-key", "usual")
        assert json.loads(sent.content)["max_completion_tokens"] == 5

    def test_the_first_variable_that_is_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("GEMINI_API_KEY", raising=False)
        monkeypatch.setenv("GOOGLE_API_KEY", "second")
        target = Target(provider="google", model="m", dialect="openai_chat")
        assert outgoing(target).key_header() == ("authorization", "Bearer second")


class TestYourOwn:
    def test_in_python(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ACME_KEY", "acme-secret")
        with Loopback([ANSWER]) as server:
            way = Endpoint(base_url=server.base_url, auth="api-key", headers={"X-Team": "blue"})
            acme = Provider("acme", (way,), ("ACME_KEY",))
            with Router(targets=[Target(provider=acme, model="m", tier="mid")]) as router:
                assert router.complete(REQUEST).text == "hello world"
        sent = server.requests[0].lower()
        assert b"api-key: acme-secret" in sent
        assert b"x-team: blue" in sent

    def test_one_at_home_costs_nothing(self) -> None:
        target = Target(provider=Provider("rack", (Endpoint(base_url="http://127.0.0.1:9"),), local=True), model="m")
        assert target.price is not None
        assert (target.price.input, target.price.output) == (0, 0)

    def test_in_a_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ACME_KEY", "acme-secret")
        with Loopback([ANSWER]) as server:
            (tmp_path / "a.toml").write_text(
                f"""
                [provider.acme]
                base_url = "{server.base_url}"
                auth = "x-api-key"
                api_key = ["env:ACME_KEY", "env:ACME_OLD_KEY"]
                headers = {{ x-team = "blue" }}
                quirks = {{ max_tokens_field = "max_completion_tokens", reasoning_field = "none" }}

                [[target]]
                provider = "acme"
                model = "m"
                tier = "mid"
                settings = {{ top_k = 3 }}
                """
            )
            with Router.from_config(tmp_path / "a.toml") as router:
                body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 7}
                assert router.complete(ChatRequest.from_openai(body)).text == "hello world"
        head, _, sent = server.requests[0].partition(b"\r\n\r\n")
        assert b"x-api-key: acme-secret" in head.lower()
        assert b"x-team: blue" in head.lower()
        assert json.loads(sent)["max_completion_tokens"] == 7
        assert json.loads(sent)["top_k"] == 3

    def test_single_fields_of_a_known_one(self, tmp_path: Path) -> None:
        (tmp_path / "a.toml").write_text(
            """
            provider.groq.quirks.developer_role = true
            provider.openai.base_url = "https://proxy.example.com/openai/v1"
            provider.openai.headers = { x-team = "blue" }
            provider.openai.also.openai_responses.base_url = "https://proxy.example.com/r"
            provider.xai.dialect = "openai_responses"
            target = [
                { provider = "groq", model = "a", tier = "mid" },
                { provider = "openai", model = "b", tier = "mid", api_key = ["env:ONE", "env:TWO"] },
                { provider = "openai", model = "c", tier = "mid", dialect = "openai_responses" },
                { provider = "xai", model = "d", tier = "mid" },
            ]
            """
        )
        groq, openai, responses, xai = load(tmp_path / "a.toml")["targets"]
        shipped = PROVIDERS["groq"].endpoint()
        assert groq.endpoint.base_url == shipped.base_url
        assert groq.endpoint.quirks.developer_role is True
        assert groq.endpoint.quirks.refused == shipped.quirks.refused
        assert [key.env_name for key in groq.usual_keys] == ["GROQ_API_KEY"]
        assert openai.endpoint.base_url == "https://proxy.example.com/openai/v1"
        assert openai.endpoint.headers == (("x-team", "blue"),)
        assert openai.endpoint.quirks == PROVIDERS["openai"].endpoint().quirks
        assert (openai.api_key.env_name, openai.spare_keys[0].env_name) == ("ONE", "TWO")
        assert responses.endpoint.base_url == "https://proxy.example.com/r"
        assert (xai.dialect, xai.endpoint.base_url) == ("openai_responses", "https://api.x.ai/v1")
        assert PROVIDERS["openai"].endpoint().base_url == "https://api.openai.com/v1", "the table itself is as it was"


CANARY = "sk-canary-0123456789"


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("make", "says"),
        [
            (lambda: Endpoint("smoke"), "`dialect` is 'smoke'; give one of openai_chat"),
            (lambda: Endpoint(auth=CANARY), "`auth` is none of bearer"),
            (lambda: Endpoint(base_url="ftp://x"), "`base_url` is no http"),
            (lambda: Endpoint(base_url=f"https://x/?key={CANARY}"), "has a query"),
            (lambda: Endpoint(headers={"x-a": f"{CANARY}\r\nx-b: 1"}), "the value of x-a"),
            (lambda: Endpoint(headers={"x a": CANARY}), "`headers`: a name"),
            (lambda: Endpoint(headers={"Authorization": CANARY}), "belongs into `api_key`"),
            (lambda: Endpoint(headers={"Host": "x"}), "is set by the transport"),
            (lambda: Endpoint(secret_headers={"Host": CANARY}), "is set by the transport"),
            (lambda: Endpoint(secret_headers={"x-a": f"{CANARY}\n"}), "the value of x-a"),
            (lambda: Endpoint(secret_headers={"Authorization": CANARY}), "authorization is where the key goes"),
            (lambda: Endpoint(secret_headers={"x-a": lambda: CANARY}), "the value of x-a is no text"),
            (lambda: Endpoint(headers={"x-a": Secret.call(lambda: CANARY)}), "comes from a function"),
            (lambda: Endpoint(headers={"x-a": "env:"}), "without the name of a variable"),
            (lambda: Endpoint(headers={"x-a": f"env:{CANARY}"}), "without the name of a variable"),
            (lambda: Endpoint(token_auth=CANARY), "`token_auth` is none of bearer"),
            (lambda: Endpoint(lacks=["smell"]), "`lacks` names 'smell', which is none of tools"),
            (lambda: Endpoint(lacks="tools"), "`lacks` is no list"),
            (lambda: Quirks(text_content="some"), "`text_content` is 'some'; give one of as_given, tools, all"),
            (lambda: Quirks(reasoning_placeholder=None), "`reasoning_placeholder` is None; give a text"),
            (lambda: Quirks(added={"a": [1]}), "`added` holds what is no pair"),
            (lambda: Quirks(added=["a"]), "`added` holds what is no pair"),
            (lambda: Quirks(stream_only="yes"), "`stream_only` is 'yes'; give true or false"),
            (lambda: Endpoint(quirks={"stream_usage": False}), "`quirks` is a dict"),
            (lambda: Quirks(max_tokens_field="tokens"), "`max_tokens_field` is 'tokens'; give one of max_tokens"),
            (lambda: Quirks(reasoning_field="thoughts"), "`reasoning_field` is 'thoughts'"),
            (lambda: Quirks(developer_role="no"), "`developer_role` is 'no'; give true or false"),
            (lambda: Quirks(refused="seed"), "`refused` is no list"),
            (lambda: Quirks(renamed=[("seed",)]), "`renamed` is no list of texts, each with 2"),
            (lambda: Quirks(api_version="1\n2"), "`api_version`"),
            (lambda: Provider("", (Endpoint(),)), "`name` is ''"),
            (lambda: Provider("a", ()), "`endpoints` are no Endpoint"),
            (lambda: Provider("a", ("https://x",)), "`endpoints` are no Endpoint"),
            (lambda: Provider("a", (Endpoint(), Endpoint())), "one dialect"),
            (lambda: Provider("a", (Endpoint(),), (CANARY,)), "no name of a variable"),
            (lambda: Target(provider="a", model="m", dialect="smoke"), "target 'm': `dialect` is 'smoke'"),
        ],
    )
    def test_in_python(self, make: Callable[[], object], says: str) -> None:
        with pytest.raises(ConfigError) as caught:
            make()
        assert says in str(caught.value)
        assert CANARY not in str(caught.value)

    @pytest.mark.parametrize(
        ("entry", "says"),
        [
            ('basurl = "https://x"', "provider.acme: unknown key 'basurl'; did you mean 'base_url'? known are address"),
            ('base_url = "x"', "provider.acme: `base_url` is no http"),
            (f'auth = "{CANARY}"', "provider.acme: `auth` is none of"),
            (f'api_key = "{CANARY}"', "provider.acme: `api_key`: keys do not belong in a file"),
            (f'key_names = ["{CANARY}"]', "no name of a variable"),
            (f'key_names = "{CANARY}"', "`key_names` is no list"),
            ('key_names = ["A"]\napi_key = "env:A"', "say the same"),
            (f'headers = {{ x-api-key = "{CANARY}" }}', "belongs into `api_key`"),
            (f'headers = "{CANARY}"', "`headers` is no table"),
            (f'headers = {{ cf-aig-authorization = "Bearer {CANARY}" }}', "keys do not belong in a file"),
            (f'headers = {{ x-goog-token = "{CANARY}" }}', "keys do not belong in a file"),
            (f'secret_headers = {{ x-a = "{CANARY}" }}', "name the variable that holds the value of x-a"),
            (f'secret_headers = "{CANARY}"', "`secret_headers` is no table"),
            ('parts = "x"', "`parts` is no table"),
            ('base_url = "https://x.{region}.y"', "`{region}`, for which `parts` says nothing"),
            ('parts = { region = ["a-b"] }', "no name of an environment variable"),
            ('lacks = "tools"', "`lacks` is no list"),
            ('quirks = { max_token_field = "max_tokens" }', "unknown key 'quirks.max_token_field'"),
            ("quirks = { stream_usage = 1 }", "quirk `stream_usage` is 1"),
            ("quirks = { renamed = 3 }", "quirk `renamed` is no list of pairs"),
            ('dialect = "smoke"', "`dialect` is 'smoke'"),
            ("dialect = 3", "`dialect` is 3"),
            ('also = "smoke"', "`also` is no table"),
            ('also = { smoke = { base_url = "https://x" } }', "`dialect` is 'smoke'"),
            ("also = { openai_chat = {} }", "`also` has the dialect 'openai_chat' again"),
            ("also = { gemini = { dialect = 1 } }", "unknown key 'also.gemini.dialect'"),
            ('local = "yes"', "`local` is neither true nor false"),
            ("source = 3", "`source` is no text"),
        ],
    )
    def test_in_a_file(self, tmp_path: Path, entry: str, says: str) -> None:
        file = tmp_path / "a.toml"
        file.write_text(f'[[target]]\nprovider = "acme"\nmodel = "m"\n[provider.acme]\n{entry}\n')
        with pytest.raises(ConfigError) as caught:
            load(file)
        assert says in str(caught.value)
        assert str(file) in str(caught.value)
        assert CANARY not in str(caught.value)
        assert caught.value.__context__ is None


def test_the_page_shows_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "providers.md").read_text(encoding="utf-8")
    for provider in PROVIDERS.values():
        dialects = ", ".join(f"`{way.dialect}`" for way in provider.endpoints)
        keys = ", ".join(f"`{name}`" for name in provider.key_names) or "none: local"
        note = f"; {provider.note}" if provider.note else ""
        row = f"| `{provider.name}` | {dialects} | {keys} | [read {provider.date}]({provider.source}){note} |"
        assert row in page, row


def test_the_page_documents_every_quirk() -> None:
    page = (Path(__file__).parents[2] / "docs" / "providers.md").read_text(encoding="utf-8")
    table = page.partition("## Quirks")[2].partition("\n## ")[0]
    assert {quirk.name for quirk in fields(Quirks)} == set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
