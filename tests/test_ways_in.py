"""How the shipped providers are called: address, key and headers of each, and every quirk that shapes a request."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest

from agentroute import (
    AuthenticationFailed,
    Capabilities,
    ChatRequest,
    ConfigError,
    ConnectionFailed,
    Endpoint,
    Provider,
    Quirks,
    Router,
    Secret,
    Target,
)
from agentroute.config import load, targets_from_environment
from agentroute.failover.effects import Timeouts, Try
from agentroute.providers import PROVIDERS
from agentroute.transport.exchange import Outgoing
from tests.faults.calls import KEY, Way, assert_no_canary, call, everything, target, ways
from tests.faults.calls import well_answer as answer
from tests.loopback import ANSWER, Loopback, plain

PARTS = {
    "AWS_REGION": "eu-central-1",
    "AZURE_OPENAI_ENDPOINT": "https://mine.openai.azure.com/",
    "ANTHROPIC_AWS_WORKSPACE_ID": "wrkspc_1",
    "ANTHROPIC_FOUNDRY_RESOURCE": "mine",
    "ANTHROPIC_GOOGLE_CLOUD_WORKSPACE_ID": "wrkspc_2",
    "CLOUDFLARE_ACCOUNT_ID": "0a1b",
    "DATABRICKS_HOST": "dbc-1.cloud.databricks.com",
    "GOOGLE_CLOUD_PROJECT": "my-project",
    "GOOGLE_CLOUD_LOCATION": "europe-west4",
    "LITELLM_PROXY_API_BASE": "http://127.0.0.1:4000",
    "SNOWFLAKE_ACCOUNT": "org-account",
    "WATSONX_URL": "https://us-south.ml.cloud.ibm.com",
}
VERTEX = "https://europe-west4-aiplatform.googleapis.com/v1/projects/my-project/locations/europe-west4"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for provider in PROVIDERS.values():
        for way in provider.endpoints:
            for part in way.parts:
                for name in part.variables:
                    monkeypatch.delenv(name, raising=False)
    for name, value in PARTS.items():
        monkeypatch.setenv(name, value)


def outgoing(one: Target, *, stream: bool = False, **body: Any) -> Outgoing:
    request = ChatRequest.from_openai({"messages": [{"role": "user", "content": "hello"}], **body})
    return Outgoing(Try(one, request, stream, Timeouts()))


def every_way() -> Iterator[Any]:
    for name, provider in PROVIDERS.items():
        for way in provider.endpoints:
            yield pytest.param(name, way.dialect, id=f"{name}-{way.dialect}")


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(("name", "dialect"), list(every_way()))
def test_every_way_in_is_encoded_for_a_whole_address(name: str, dialect: str, stream: bool) -> None:
    one = Target(provider=name, model="some-model", dialect=dialect, api_key=KEY)
    sent = outgoing(one, stream=stream)
    assert "{" not in sent.url
    assert sent.url.startswith(("https://", "http://127.0.0.1:"))
    assert KEY not in sent.url + repr(sent.headers) + sent.content.decode()
    assert any(KEY in value for value in sent.secret_headers().values())


@pytest.mark.parametrize(
    ("provider", "dialect", "url", "header"),
    [
        (
            "bedrock",
            None,
            "https://bedrock-runtime.eu-central-1.amazonaws.com/anthropic/v1/messages",
            "authorization",
        ),
        (
            "bedrock",
            "openai_responses",
            "https://bedrock-runtime.eu-central-1.amazonaws.com/openai/v1/responses",
            "authorization",
        ),
        ("bedrock-mantle", None, "https://bedrock-mantle.eu-central-1.api.aws/v1/chat/completions", "authorization"),
        (
            "anthropic-google",
            None,
            "https://claude.googleapis.com/v1/projects/my-project/locations/global/workspaces/wrkspc_2/invoke/v1/messages",
            "authorization",
        ),
        (
            "bedrock-mantle",
            "anthropic_messages",
            "https://bedrock-mantle.eu-central-1.api.aws/anthropic/v1/messages",
            "authorization",
        ),
        ("azure", None, "https://mine.openai.azure.com/openai/v1/chat/completions", "api-key"),
        ("foundry", None, "https://mine.services.ai.azure.com/anthropic/v1/messages", "x-api-key"),
        ("vertex", None, f"{VERTEX}/publishers/google/models/m:generateContent", "authorization"),
        ("vertex", "anthropic_messages", f"{VERTEX}/publishers/anthropic/models/m:rawPredict", "authorization"),
        ("vertex", "openai_chat", f"{VERTEX}/endpoints/openapi/chat/completions", "authorization"),
        ("minimax", None, "https://api.minimax.io/anthropic/v1/messages", "authorization"),
        (
            "cloudflare",
            None,
            "https://api.cloudflare.com/client/v4/accounts/0a1b/ai/v1/chat/completions",
            "authorization",
        ),
        ("portkey", None, "https://api.portkey.ai/v1/chat/completions", "x-portkey-api-key"),
        (
            "databricks",
            "anthropic_messages",
            "https://dbc-1.cloud.databricks.com/ai-gateway/anthropic/v1/messages",
            "authorization",
        ),
        ("watsonx", None, "https://us-south.ml.cloud.ibm.com/ml/gateway/v1/chat/completions", "authorization"),
        ("litellm", None, "http://127.0.0.1:4000/v1/chat/completions", "authorization"),
        ("litellm", "anthropic_messages", "http://127.0.0.1:4000/v1/messages", "x-api-key"),
    ],
)
def test_where_it_goes(provider: str, dialect: str | None, url: str, header: str) -> None:
    sent = outgoing(Target(provider=provider, model="m", dialect=dialect, api_key="the-key"))
    assert sent.url == url
    assert sent.secret_headers() == {header: "Bearer the-key" if header == "authorization" else "the-key"}


def test_a_missing_part_is_said_with_its_variables_and_an_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(ConnectionFailed, match=r"target 'm': its address .*set AWS_REGION or AWS_DEFAULT_REGION"):
        outgoing(Target(provider="bedrock", model="m", api_key=KEY))
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT")
    with pytest.raises(ConnectionFailed, match=r"set AZURE_OPENAI_ENDPOINT, or give base_url=, like 'https://RESOURCE"):
        outgoing(Target(provider="azure", model="m", api_key=KEY))


def test_a_pool_from_the_environment_has_nobody_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"GOOGLE_OAUTH_ACCESS_TOKEN": "t", "GROQ_API_KEY": "g"}
    assert {one.provider for one in targets_from_environment(environ)} == {"groq"}


@ways
def test_a_part_is_read_for_each_request(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    with Loopback(answer(way)) as server:
        house = Provider(
            "house", (Endpoint(base_url=f"{server.base_url}/{{team}}", parts={"team": ["HOUSE_TEAM"]}),), ("HOUSE_KEY",)
        )
        monkeypatch.setenv("HOUSE_KEY", KEY)
        one = Target(provider=house, model="m", tier="mid")
        assert isinstance(call(way, one).error, ConnectionFailed)
        monkeypatch.setenv("HOUSE_TEAM", "blue")
        assert call(way, pickle.loads(pickle.dumps(one))).error is None
    assert [request.split()[1] for request in server.requests] == [b"/v1/blue/chat/completions"]


# -- secret headers ----------------------------------------------------------------------------------------------------

GATE = "cfut-canary-8d21b7c4e90a"
"""The second secret: a gateway's."""


def no_gate(text: str) -> None:
    for canary in (GATE, GATE[-12:]):
        assert canary not in text


class TestSecretHeaders:
    @ways
    @pytest.mark.parametrize(
        ("headers", "value"),
        [
            ({"headers": {"cf-aig-authorization": f"Bearer {GATE}"}}, f"Bearer {GATE}"),
            ({"headers": {"x-anything": Secret(GATE)}}, GATE),
            ({"headers": {"x-anything": "env:GATE_TOKEN"}}, GATE),
            ({"headers": {"x-anything": "Bearer env:GATE_TOKEN"}}, f"Bearer {GATE}"),
            ({"secret_headers": {"x-anything": GATE}}, GATE),
            ({"secret_headers": {"Helicone-Auth": "Bearer env:GATE_TOKEN"}}, f"Bearer {GATE}"),
            ({"auth": "x-api-key", "secret_headers": {"Authorization": f"Basic {GATE}"}}, f"Basic {GATE}"),
        ],
    )
    def test_go_beside_the_key_and_are_shown_nowhere(
        self,
        way: Way,
        headers: dict[str, Any],
        value: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.INFO)
        monkeypatch.setenv("GATE_TOKEN", GATE)
        said = {"error": {"message": f"who is {value} ({GATE[:14]}...)?", "code": GATE}}
        for script in (answer(way), [plain(said, 403, x_request_id=GATE)]):
            with Loopback(script) as server:
                house = Provider("house", (Endpoint(base_url=server.base_url, **headers),))
                one = Target(provider=house, model="m", tier="mid", api_key=KEY)
                ran = call(way, one)
            (request,) = server.requests
            assert f": {value}\r\n".encode() in request
            assert KEY.encode() in request
            assert (ran.error is None) is (script == answer(way))
            assert_no_canary(ran, [one], caplog)
            no_gate(everything(ran, [one], caplog))
            no_gate(repr(asdict(one)) + repr(house) + repr(asdict(house)) + repr(pickle.dumps(house)))
            no_gate(repr(Router([one])) + repr(pickle.dumps(Router([one]))))

    @ways
    def test_one_that_is_not_set_takes_the_call_to_the_next_target(self, way: Way) -> None:
        with Loopback(answer(way)) as never, Loopback(answer(way)) as well:
            house = Provider("house", (Endpoint(base_url=never.base_url, headers={"x-gate": "env:NOT_SET_HERE"}),))
            first = Target(provider=house, model="m", tier="budget", api_key=KEY)
            ran = call(way, first, target(well, "well", rank=2))
            alone = call(way, first)
        assert ran.error is None
        assert never.requests == []
        assert isinstance(alone.error, AuthenticationFailed)
        assert "NOT_SET_HERE is not set; it should hold the value of the header `x-gate`" in str(alone.error)

    def test_in_a_file_they_are_named(self, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GATE_TOKEN", GATE)
        with Loopback([ANSWER]) as server:
            (tmp_path / "a.toml").write_text(
                f"""
                [provider.openai]
                base_url = "{server.base_url}"
                headers = {{ x-team = "blue", x-gate = "env:GATE_TOKEN" }}
                secret_headers = {{ cf-aig-authorization = "Bearer env:GATE_TOKEN" }}
                [[target]]
                provider = "openai"
                model = "gpt-4.1-nano"
                """
            )
            monkeypatch.setenv("OPENAI_API_KEY", KEY)
            (one,) = load(tmp_path / "a.toml")["targets"]
            no_gate(repr(one))
            with Router([pickle.loads(pickle.dumps(one))]) as router:
                router.complete(ChatRequest.from_openai({"messages": [{"role": "user", "content": "hi"}]}))
        head = server.requests[0].decode()
        assert "x-team: blue\r\n" in head
        assert f"x-gate: {GATE}\r\n" in head
        assert f"cf-aig-authorization: Bearer {GATE}\r\n" in head
        assert f"authorization: Bearer {KEY}\r\n" in head

    def test_a_literal_one_does_not_survive_a_pickle(self) -> None:
        house = Provider("house", (Endpoint(base_url="https://x", secret_headers={"x-gate": GATE}),))
        one = pickle.loads(pickle.dumps(Target(provider=house, model="m", api_key="env:GATE_TOKEN")))
        with pytest.raises(ConfigError, match="header `x-gate`: its literal key was not kept in the pickle"):
            outgoing(one).secret_headers()

    def test_a_scheme_is_not_doubled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GATE_TOKEN", f"Bearer {GATE}")
        house = Provider("house", (Endpoint(base_url="https://x", headers={"x-gate": "Bearer env:GATE_TOKEN"}),))
        sent = outgoing(Target(provider=house, model="m"))
        assert sent.secret_headers() == {"x-gate": f"Bearer {GATE}"}


# -- quirks ------------------------------------------------------------------------------------------------------------

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
CALLED = {
    "role": "assistant",
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}
TEXTS = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
LOOP = {
    "messages": [
        {"role": "user", "content": TEXTS},
        CALLED,
        {"role": "tool", "tool_call_id": "c1", "content": TEXTS},
    ],
    "tools": [TOOL],
}


def body(provider: str, *, dialect: str | None = None, **more: Any) -> dict[str, Any]:
    sent = outgoing(Target(provider=provider, model="m", dialect=dialect, api_key=KEY), **more)
    found: dict[str, Any] = json.loads(sent.content)
    return found


class TestQuirks:
    def test_moonshot_gets_a_space_where_reasoning_is_missing(self) -> None:
        assert body("moonshot", **LOOP)["messages"][1]["reasoning_content"] == " "
        assert body("deepseek", **LOOP)["messages"][1]["reasoning_content"] == ""
        thought = {**CALLED, "reasoning_content": "because"}
        messages = [LOOP["messages"][0], thought, LOOP["messages"][2]]
        assert body("moonshot", messages=messages)["messages"][1]["reasoning_content"] == "because"
        empty = [LOOP["messages"][0], {**CALLED, "reasoning_content": ""}, LOOP["messages"][2]]
        assert body("moonshot", messages=empty)["messages"][1]["reasoning_content"] == " "

    def test_minimax_is_asked_to_split_its_thoughts_off(self) -> None:
        assert body("minimax", dialect="openai_chat")["reasoning_split"] is True
        assert body("minimax", dialect="openai_chat", reasoning_split=False)["reasoning_split"] is False
        assert "reasoning_split" not in body("minimax")
        own = Target(provider="minimax", model="m", dialect="openai_chat", settings={"reasoning_split": False})
        assert json.loads(outgoing(own).content)["reasoning_split"] is False

    @ways
    def test_alibaba_is_asked_for_a_stream_in_any_case(self, way: Way) -> None:
        with Loopback(lambda n: [ANSWER]) as server:
            ran = call(way, target(server, provider="alibaba"))
        assert ran.error is None
        assert ran.response is not None
        assert ran.response.text == "hello world"
        assert json.loads(server.requests[0].partition(b"\r\n\r\n")[2])["stream"] is True

    def test_texts_are_one_text_where_lists_are_not_taken(self) -> None:
        messages = body("sambanova", **LOOP)["messages"]
        assert (messages[0]["content"], messages[2]["content"]) == ("one\n\ntwo", "one\n\ntwo")
        messages = body("deepinfra", **LOOP)["messages"]
        assert (messages[0]["content"], messages[2]["content"]) == (TEXTS, "one\n\ntwo")
        picture = [*TEXTS, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]
        assert body("sambanova", messages=[{"role": "user", "content": picture}])["messages"][0]["content"] == picture

    def test_fields_beside_a_text_are_lost_and_said(self) -> None:
        marked = [{**TEXTS[0], "cache_control": {"type": "ephemeral"}}, TEXTS[1]]
        sent = outgoing(Target(provider="sambanova", model="m"), messages=[{"role": "user", "content": marked}])
        assert "fields beside a text left out: this server takes a content as one text" in sent.changes

    @pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "f"}}])
    def test_deepinfra_takes_no_forced_tool(self, choice: Any) -> None:
        one = Target(provider="deepinfra", model="m")
        sent = outgoing(one, **LOOP, tool_choice=choice)
        assert json.loads(sent.content)["tool_choice"] == "auto"
        assert "the forced tool choice sent as `auto`: this server takes no other" in sent.changes
        assert json.loads(outgoing(one, **LOOP, tool_choice="none").content)["tool_choice"] == "none"

    @pytest.mark.parametrize(("stream", "verb"), [(False, "rawPredict"), (True, "streamRawPredict")])
    def test_claude_on_vertex_has_its_model_in_the_path(self, stream: bool, verb: str) -> None:
        one = Target(provider="vertex", model="claude-sonnet-4-5@20250929", dialect="anthropic_messages")
        sent = outgoing(one, stream=stream, temperature=0.5)
        assert sent.url == f"{VERTEX}/publishers/anthropic/models/claude-sonnet-4-5@20250929:{verb}"
        said = json.loads(sent.content)
        assert "model" not in said
        assert said["anthropic_version"] == "vertex-2023-10-16"
        assert said["temperature"] == 0.5, "the version is of 2023, whatever its name begins with"
        assert said.get("stream") == (True if stream else None)
        assert "anthropic-version" not in sent.headers

    def test_its_newer_version_refuses_sampling_there_too(self) -> None:
        quirks = Quirks(model_in_path=True, api_version="2026-10-21")
        house = Provider("house", (Endpoint("anthropic_messages", "https://x", quirks=quirks),))
        said = json.loads(outgoing(Target(provider=house, model="a/b"), temperature=0.5).content)
        assert said["anthropic_version"] == "2026-10-21"
        assert "temperature" not in said
        assert outgoing(Target(provider=house, model="a/b")).url == "https://x/models/a%2Fb:rawPredict"

    @pytest.mark.parametrize(
        ("provider", "lacks"), [("perplexity", "tools"), ("alibaba", "documents"), ("azure", "documents")]
    )
    def test_what_a_provider_lacks_no_target_has(self, provider: str, lacks: str) -> None:
        assert getattr(Target(provider=provider, model="m").capabilities, lacks) is False
        mine = Target(provider=provider, model="m", capabilities=Capabilities(tools=True, documents=True))
        assert getattr(mine.capabilities, lacks) is True, "what you say counts"

    def test_snowflake_says_what_kind_of_key_it_is(self) -> None:
        sent = outgoing(Target(provider="snowflake", model="m", api_key=KEY), max_tokens=5)
        assert sent.headers["x-snowflake-authorization-token-type"] == "PROGRAMMATIC_ACCESS_TOKEN"
        assert json.loads(sent.content)["max_completion_tokens"] == 5


@ways
def test_claude_on_vertex_answers(way: Way) -> None:
    said = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "hi"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 5, "output_tokens": 2},
    }
    with Loopback([plain(said)]) as server:
        one = target(
            server, provider="vertex", dialect="anthropic_messages", model="claude-opus-4-8", api_key=lambda: KEY
        )
        ran = call(way, one)
    assert ran.error is None
    assert ran.response is not None
    assert ran.response.text == "hi"
    verb = "streamRawPredict" if way.stream else "rawPredict"
    assert server.requests[0].startswith(f"POST /v1/models/claude-opus-4-8:{verb} ".encode())
    assert f"authorization: bearer {KEY}".encode() in server.requests[0].lower()
