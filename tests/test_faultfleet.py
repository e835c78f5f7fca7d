"""The shared fleet of faulty providers, each fault before a healthy one: who answers, and what the record says."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentroute import StreamInterrupted, Target
from agentroute.failover.effects import Timeouts

from .test_transport import call_async, call_sync

pytestmark = pytest.mark.requires("shared")

QUICK = Timeouts(connect=1.0, first_content=0.4, between_events=0.4, whole_answer=0.4)
PATIENT = Timeouts(connect=2.0, first_content=15.0, between_events=15.0, whole_answer=15.0)

SILENT = "slow_headers slow_first_token drip_keepalive_comments"
FALLS_OVER = {
    "ProviderTimeout": f"{SILENT} s408 s504",
    "ConnectionFailed": "reset_before_headers close_before_headers truncated_json bad_status_line dup_content_length",
    "BadResponse": "truncated_json_valid_length invalid_utf8_json html_200 empty_choices null_choices gzip_corrupt "
    "deep_json redirect_other_host_307 redirect_get_302 content_length_too_short gzip_bomb_100MB huge_response "
    "huge_sse_line",
    "RateLimited": "s429 s429_retry_after_1 s429_retry_after_ms s429_retry_after_date s429_retry_after_3600 "
    "s429_retry_after_garbage",
    "QuotaExhausted": "s429_insufficient_quota",
    "Overloaded": "s500 s502 s503 s529 s409 s500_x_should_retry_false html_502 error_200_json s503_once_then_ok "
    "instream_error_first",
    "AuthenticationFailed": "s401 s403",
    "ModelNotFound": "s404",
}
"""The class of the first attempt's error; the healthy target answers then."""

IS_ANSWERED = {
    "hello world": "ok sse_crlf_and_cr sse_bom_and_comments sse_no_space_after_colon json_when_stream_asked "
    "missing_usage sse_when_json_asked keepalive_drop gzip_ok finish_reason_missing",
    "helloé😀 world": "sse_utf8_split_across_tcp",
    "hello": "sse_no_finish_reason_but_done",
    "x": "unknown_finish_reason",
    "": "null_content tool_args_in_pieces tool_interleaved tool_two_calls_same_index tool_args_invalid_json "
    "tool_call_missing_id",
}
BREAKS_OFF = (
    "stall_mid_stream reset_mid_stream fin_mid_stream_no_terminator truncated_sse_clean_eof_no_done sse_half_event_eof "
    "invalid_utf8_sse instream_error_mid instream_event_error_mid"
)
UNCHANGED = {
    "InvalidRequest": "s400",
    "ContentFiltered": "s400_content_filter",
    "ContextTooLong": "s400_context_length s413",
}

ONLY_STREAMED = (
    f"{BREAKS_OFF} sse_ instream_ slow_first_token drip_ huge_sse tool_args_in tool_inter tool_two stream_asked"
)
WARNINGS = {
    "missing_usage": "provider_missing_usage",
    "sse_no_finish_reason_but_done": "provider_missing_finish_reason",
    "finish_reason_missing": "provider_missing_finish_reason",
    "null_content": "empty_response",
    "tool_args_invalid_json": "invalid_tool_arguments",
}


def rows(table: dict[str, str]) -> list[tuple[str, str]]:
    return [(fault, expected) for expected, faults in table.items() for fault in faults.split()]


@pytest.fixture(scope="module")
def fleet() -> Iterator[str]:
    script = Path(__file__).resolve().parents[2] / "shared" / "tools" / "faultfleet.py"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen([sys.executable, str(script), str(port)]) as process:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def ask(fleet: str, path: str) -> Any:
    with urllib.request.urlopen(f"{fleet}/{path}", timeout=5) as answer:
        return json.load(answer)


def target(fleet: str, fault: str) -> Target:
    return Target(name=fault, provider=fault, model="m", base_url=f"{fleet}/f/{fault}/v1", api_key="sk-fleet-key-123")


def streamed(fault: str) -> bool:
    """Whether the fault is one of a stream; those that are neither are asked for as a plain answer."""
    return any(word in fault for word in ONLY_STREAMED.split()) and fault != "sse_when_json_asked"


def run(call: Any, fleet: str, fault: str) -> Any:
    ask(fleet, "reset")
    patient = "huge" in fault or "bomb" in fault
    timeouts = PATIENT if patient else QUICK
    return call(target(fleet, fault), target(fleet, "ok"), timeouts=timeouts, stream=streamed(fault))


both = pytest.mark.parametrize("call", [call_sync, call_async], ids=["sync", "async"])


@both
@pytest.mark.parametrize(("fault", "error"), rows(FALLS_OVER))
def test_another_target_answers(call: Any, fleet: str, fault: str, error: str) -> None:
    ran = run(call, fleet, fault)
    assert (ran.text, ran.error) == ("hello world", None)
    tries = 2 if fault == "s409" else 1
    assert [(a.target, a.error) for a in ran.log.attempts] == [(fault, error)] * tries + [("ok", None)]
    assert "sk-fleet" not in repr(ran.log)
    seen = ask(fleet, "log")
    assert {entry["local"] for entry in seen} == {"127.0.0.1"}, "nothing follows a redirect to another host"
    assert len(seen) == tries + 1


@both
@pytest.mark.parametrize(("fault", "text"), rows(IS_ANSWERED))
def test_it_is_an_answer_all_the_same(call: Any, fleet: str, fault: str, text: str) -> None:
    ran = run(call, fleet, fault)
    assert (ran.text, ran.error) == (text, None)
    assert [a.target for a in ran.log.attempts] == [fault]
    if fault in WARNINGS:
        assert WARNINGS[fault] in ran.log.warnings
    if fault.startswith("tool_"):
        assert ran.response.tool_calls
        assert len({call.id for call in ran.response.tool_calls}) == len(ran.response.tool_calls)
    if fault == "unknown_finish_reason":
        assert (ran.response.finish_reason, ran.response.native_finish_reason) == ("stop", "eos_token")


@both
@pytest.mark.parametrize("fault", BREAKS_OFF.split())
def test_it_breaks_off(call: Any, fleet: str, fault: str) -> None:
    ran = run(call, fleet, fault)
    assert ran.text == "hello"
    assert isinstance(ran.error, StreamInterrupted)
    assert len(ask(fleet, "log")) == 1


@both
@pytest.mark.parametrize(("fault", "error"), rows(UNCHANGED))
def test_it_goes_to_the_caller_unchanged(call: Any, fleet: str, fault: str, error: str) -> None:
    ran = run(call, fleet, fault)
    assert type(ran.error).__name__ == error
    assert len(ask(fleet, "log")) == 1


def test_a_header_with_a_bare_return_gives_no_header_of_ours(fleet: str) -> None:
    ran = run(call_sync, fleet, "header_injection_in_value")
    assert ran.text == "hello world"


def test_every_fault_of_the_fleet_is_here() -> None:
    script = Path(__file__).resolve().parents[2] / "shared" / "tools" / "faultfleet.py"
    tested = {fault for table in (FALLS_OVER, IS_ANSWERED, UNCHANGED) for fault, _ in rows(table)}
    tested |= {*BREAKS_OFF.split(), "header_injection_in_value"}
    code = f"import sys; sys.argv=['x','1']; exec(open({str(script)!r}).read().split('LOG=[]')[0]); print(*F)"
    known = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert known - tested == set()
