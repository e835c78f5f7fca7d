"""What an answer's headers tell: ids of every provider, and when to come back, in each of their shapes."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute.formats.failures import decode_error
from agentroute.formats.headers import request_id_of, retry_after

NOW = datetime(2026, 11, 27, 12, 0, 0, tzinfo=UTC)


class TestTheId:
    @pytest.mark.parametrize(
        "name",
        [
            "x-request-id",
            "request-id",
            "x-amzn-requestid",
            "mistral-correlation-id",
            "x-litellm-call-id",
            "apim-request-id",
            "helicone-id",
            "x-portkey-trace-id",
            "cf-ray",
        ],
    )
    def test_of_every_provider(self, name: str) -> None:
        assert decode_error(429, {name: "id-1"}, b"{}").request_id == "id-1"

    def test_what_the_gateway_calls_its_own_comes_first(self) -> None:
        assert request_id_of({"x-request-id": "upstream", "x-litellm-call-id": "mine", "cf-ray": "net"}) == "mine"
        assert request_id_of({"cf-ray": "net", "x-request-id": "upstream"}) == "upstream"
        assert request_id_of({"x-request-id": "", "cf-ray": "net"}) == "net"
        assert request_id_of({}) is None

    def test_the_body_has_one_where_no_header_does(self) -> None:
        body = json.dumps({"type": "error", "request_id": "req_1", "error": {"message": "x"}}).encode()
        assert decode_error(400, {}, body).request_id == "req_1"


def limited(**headers: str) -> float | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return retry_after(named, now=NOW, limited=True)


class TestResets:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("6m0s", 360.0),
            ("12ms", 0.012),
            ("1h2m3.5s", 3723.5),
            ("1d", 86400.0),
            ("17", 17.0),
            ("2.5", 2.5),
            ("2026-11-27T12:00:30Z", 30.0),
            ("2026-11-27T12:00:30.5+00:00", 30.5),
            ("2026-11-27T13:00:30+01:00", 30.0),
            ("2026-11-27T11:59:00Z", 0.0),
            (str(int(NOW.timestamp()) + 45), 45.0),
            (str((int(NOW.timestamp()) + 45) * 1000), 45.0),
            ("soon", None),
            ("", None),
            ("-5", None),
            ("6m0x", None),
            ("nan", None),
        ],
    )
    def test_are_read_by_their_shape(self, text: str, seconds: float | None) -> None:
        found = limited(x_ratelimit_reset_requests=text)
        assert found == (seconds if seconds is None else pytest.approx(seconds))

    def test_only_where_a_limit_was_reached(self) -> None:
        headers = {"x-ratelimit-reset-requests": "6m0s"}
        assert decode_error(429, headers, b"{}", now=NOW).retry_after == 360.0
        for status in (400, 401, 500, 503):
            assert decode_error(status, headers, b"{}", now=NOW).retry_after is None

    def test_what_the_provider_says_outright_comes_first(self) -> None:
        assert limited(x_ratelimit_reset_requests="6m0s", retry_after="2") == 2.0
        assert limited(x_ratelimit_reset_requests="6m0s", retry_after_ms="1500") == 1.5

    def test_the_limit_that_is_used_up_counts(self) -> None:
        assert (
            limited(
                x_ratelimit_remaining_requests="99",
                x_ratelimit_reset_requests="12ms",
                x_ratelimit_remaining_tokens="0",
                x_ratelimit_reset_tokens="20s",
            )
            == 20.0
        )
        assert (
            limited(
                anthropic_ratelimit_requests_remaining="0",
                anthropic_ratelimit_requests_reset="2026-11-27T12:00:09Z",
                anthropic_ratelimit_tokens_remaining="800",
                anthropic_ratelimit_tokens_reset="2026-11-27T12:01:00Z",
            )
            == 9.0
        )

    def test_of_several_that_say_nothing_the_first_to_begin_anew(self) -> None:
        assert limited(x_ratelimit_reset_requests="6m0s", x_ratelimit_reset_tokens="3s") == 3.0
        assert limited(ratelimit_reset="8") == 8.0

    def test_a_date_is_read_against_the_answers_own_clock(self) -> None:
        headers = {
            "date": "Fri, 27 Nov 2026 11:00:00 GMT",
            "anthropic-ratelimit-tokens-reset": "2026-11-27T11:00:07Z",
        }
        assert retry_after(headers, now=NOW, limited=True) == 7.0

    @given(st.text(max_size=40))
    def test_never_raises(self, text: str) -> None:
        found = limited(x_ratelimit_reset=text, retry_after=text, retry_after_ms=text)
        assert found is None or found >= 0
