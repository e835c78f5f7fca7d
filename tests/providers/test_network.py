"""The settings `proxy`, `verify` and `cert`, before anything is connected."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentroute import ConfigError, Router, Target
from agentroute.providers import Endpoint, Provider
from agentroute.providers.network import ProxyAddress, is_excepted


def of_target(**settings: Any) -> Any:
    return Target(provider="x", model="m", tier="mid", base_url="http://127.0.0.1:9", **settings)


def of_provider(**settings: Any) -> Any:
    return Provider("house", Endpoint(base_url="http://127.0.0.1:9"), **settings)


def of_router(**settings: Any) -> Any:
    return Router([of_target()], **settings).pool.targets[0]


every_place = pytest.mark.parametrize("made", [of_target, of_provider, of_router])


@every_place
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"proxy": "https://user:canary@proxy.example.com:3128"},
            "`proxy` is no address of an HTTP proxy; give 'http:",
        ),
        ({"proxy": "socks5://user:canary@proxy.example.com"}, "`proxy` is no address"),
        ({"proxy": "http://user:can/ary@proxy.example.com"}, "`proxy` is no address"),
        ({"proxy": "http://proxy.example.com:99999"}, "`proxy` is no address"),
        ({"proxy": "http://proxy.example.com/path"}, "`proxy` is no address"),
        ({"proxy": "HTTPS_PROXY"}, "'env:NAME'"),
        ({"proxy": "env:"}, "without the name of a variable"),
        ({"proxy": "env:http://user:canary@proxy.example.com"}, "without the name of a variable"),
        ({"proxy": ""}, "`proxy` is no address"),
        ({"proxy": True}, "`proxy` is a bool"),
        ({"verify": False}, "`verify` is False; give the path of the CA certificates"),
        ({"verify": ""}, "`verify` is ''"),
        ({"cert": ()}, "`cert` is no client certificate"),
        ({"cert": ("a", "b", "c")}, "`cert` is no client certificate"),
        ({"cert": 5}, "`cert` is no client certificate"),
    ],
)
def test_what_cannot_be_is_refused_at_once(made: Callable[..., Any], settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        made(**settings)
    assert says in str(caught.value)
    # A half-made object has no repr; the frames that made it show the rest.
    walked = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    frames = [frame for frame in walked if "/tests/" not in frame.f_code.co_filename]
    ours = [{name: value for name, value in frame.f_locals.items() if name != "self"} for frame in frames]
    assert "can/ary" not in repr(ours) + str(caught.value)
    assert "canary" not in repr(ours) + str(caught.value)


@every_place
def test_what_is_kept(made: Callable[..., Any]) -> None:
    kept = made(proxy="http://user:canary@127.0.0.1:9", verify=Path("ca.pem"), cert=["client.pem", "client.key"])
    assert repr(kept.proxy) == "Secret('***')"
    assert (kept.verify, kept.cert) == ("ca.pem", ("client.pem", "client.key"))
    assert made(cert="client.pem").cert == ("client.pem",)
    assert made(proxy="direct").proxy == "direct"
    plain = made()
    assert (plain.proxy, plain.verify, plain.cert) == (None, None, None)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://proxy.example.com", "proxy.example.com", 80),
        ("http://proxy.example.com:3128/", "proxy.example.com", 3128),
        ("http://[::1]:3128", "::1", 3128),
    ],
)
def test_addresses(url: str, host: str, port: int) -> None:
    assert ProxyAddress.of(url) == ProxyAddress(host, port, None)


@pytest.mark.parametrize(
    ("host", "excepted"),
    [
        ("api.openai.com", ""),
        ("api.openai.com", "openai.org, ai.com,notapi.openai.com"),
        ("api.openai.com:443", "api.openai.com:8080 *:8080"),
        ("10.1.2.3", "10.2.0.0/16,10.1.2.30,.1.2.3,10.1.2.3.4"),
        ("::1", "127.0.0.1,::2,fe80::/10,0.0.0.0/0"),
        ("127.0.0.1", "1:2:3:4,[::1],[],:,::/0,/8"),
    ],
)
def test_what_no_proxy_does_not_name(host: str, excepted: str) -> None:
    assert not is_excepted(host.partition(":443")[0], 443, excepted)


@pytest.mark.parametrize(
    ("host", "excepted"),
    [
        ("api.openai.com", "*"),
        ("api.openai.com", "localhost, OpenAI.com"),
        ("api.openai.com.", ".openai.com"),
        ("API.openai.com", "a.example *.openai.com."),
        ("api.openai.com", "api.openai.com:443"),
        ("10.1.2.3", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.3:443"),
        ("::1", "127.0.0.1,::1"),
        ("[::1]", "[::1]:443"),
        ("localhost", "127.0.0.1,localhost"),
    ],
)
def test_what_no_proxy_names(host: str, excepted: str) -> None:
    assert is_excepted(host, 443, excepted)


def test_a_password_is_read_as_urls_write_it() -> None:
    found = ProxyAddress.of("http://us%3Aer:p%40ss@h:1")
    assert found is not None
    assert found.authorization == "Basic dXM6ZXI6cEBzcw=="
