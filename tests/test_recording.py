"""Recordings: whole and readable, closed to others, never in a call's way, without keys, off unless asked for."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import pickle
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentroute import ChatRequest, ConfigError, InvalidRequest, Router, StepContext, Tool
from agentroute.messages import Message, Text, ToolCall, ToolResult
from agentroute.recording import Recorder
from agentroute.replay import replay
from agentroute.replay.records import Problem, Trace
from agentroute.replay.traces import Traces
from agentroute.testing import Fault, ScriptedProvider, ScriptedReply, tool_call

KEY = "sk-canary-0123456789abcdefghijklmnop"
OTHER = "gsk_0123456789abcdefghijklmn"

TOOLS = (Tool("weather", "Tell the weather.", {"type": "object", "properties": {"city": {"type": "string"}}}),)
REQUEST = ChatRequest(
    (
        Message("system", (Text("You tell the weather."),)),
        Message("user", (Text("Coat? \u2028 naïve \U0001f600 \ud83d"),)),
        Message("assistant", (ToolCall("c1", "weather", '{"city": "Porto"}'),)),
        Message("tool", (ToolResult("c1", (Text("no answer"),), is_error=True),)),
    ),
    tools=TOOLS,
)
CONTEXT = StepContext(conversation_id="run-7", agent="forecaster", role="weather", node="n", parent_id="run-1")


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    reply = ScriptedReply(tool_calls=(tool_call("weather", city="Lisbon"),))
    with ScriptedProvider(reply, provider="openai", api_key=KEY) as provider:
        yield provider


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.iterdir()) for line in path.read_bytes().splitlines()]


def traces(folder: Path) -> list[Trace | Problem]:
    return [item for _, _, item in Traces([folder])]


def plain(router: Router) -> None:
    router.complete(REQUEST, context=CONTEXT)


def streamed(router: Router) -> None:
    with router.stream(REQUEST, context=CONTEXT) as stream:
        for _ in stream:
            pass


def plain_async(router: Router) -> None:
    async def call() -> None:
        async with router:
            await router.acomplete(REQUEST, context=CONTEXT)

    asyncio.run(call())


def streamed_async(router: Router) -> None:
    async def call() -> None:
        async with router, router.astream(REQUEST, context=CONTEXT) as stream:
            async for _ in stream:
                pass

    asyncio.run(call())


WAYS: list[Callable[[Router], None]] = [plain, streamed, plain_async, streamed_async]


@pytest.mark.parametrize("way", WAYS)
def test_a_call_is_read_back_as_it_was(
    way: Callable[[Router], None], provider: ScriptedProvider, tmp_path: Path
) -> None:
    folder = tmp_path / "recording"
    with Router([provider.target(model="m", tier="mid")], recording=folder) as router:
        way(router)
    (trace,) = traces(folder)
    assert isinstance(trace, Trace)
    (call,) = trace.calls
    assert trace.request.messages[:4] == REQUEST.messages
    assert (trace.request.tools, call.n_messages) == (TOOLS, 4)
    assert call.answer is not None
    assert [(each.name, each.parsed()) for each in call.answer.tool_calls] == [("weather", {"city": "Lisbon"})]
    assert (trace.conversation_id, trace.agent, trace.role, trace.node, trace.parent) == (
        "run-7",
        "forecaster",
        "weather",
        "n",
        "run-1",
    )
    assert call.usage is not None
    assert not trace.whole


def test_replay_reads_a_folder_of_recordings(provider: ScriptedProvider, tmp_path: Path) -> None:
    with Router([provider.target(model="m", tier="mid")], recording=tmp_path / "r") as router:
        for number in range(3):
            router.complete(REQUEST, context=StepContext(conversation_id=f"c{number % 2}"))
        assert router.recording is not None
        assert router.recording.flush()
        found = replay(tmp_path / "r", Router(router.pool))
    assert (found.steps, found.conversations, found.malformed) == (3, 2, 0)


def test_off_by_default_and_loud_when_on(
    provider: ScriptedProvider, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    target = provider.target(model="m", tier="mid")
    with Router([target]) as router:
        plain(router)
    assert list(tmp_path.iterdir()) == []
    assert "recording" not in caplog.text
    with Router([target], recording="r") as router:
        for _ in range(3):
            plain(router)
    said = [record for record in caplog.records if "recording is on" in record.message]
    assert [record.levelname for record in said] == ["WARNING"]
    assert "prompts and answers" in said[0].message


def test_neither_keys_nor_prompts_stand_where_they_do_not_belong(provider: ScriptedProvider, tmp_path: Path) -> None:
    """The canary: keys of targets, as the prompt of a careless tool quotes them, and other keys beside."""
    asked = f"cat .env: KEY={KEY} OTHER={OTHER} and sk-learn stays"
    with Router([provider.target(model="m", tier="mid")], recording=tmp_path / "r", ledger=tmp_path / "l.db") as router:
        router.complete(asked)
    recorded = b"".join(path.read_bytes() for path in (tmp_path / "r").iterdir())
    assert KEY.encode() not in recorded
    assert OTHER.encode() not in recorded
    assert b"KEY=*** OTHER=*** and sk-learn stays" in recorded
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("l.db*"))
    assert b"sk-learn stays" not in kept


def test_headers_and_tokens_that_stand_in_a_request_are_left_out(provider: ScriptedProvider, tmp_path: Path) -> None:
    body = {
        "messages": [{"role": "user", "content": "hello"}],
        "temperature": 0.5,
        "tools": [
            {
                "type": "function",
                "function": {"name": "f", "parameters": {"properties": {"token": {"type": "string"}}}},
            },
            {"type": "mcp", "server_url": "https://x", "authorization": "canary-1", "headers": {"x-key": "canary-2"}},
        ],
        "extra_headers": {"Authorization": "Bearer canary-3"},
        "mcp_servers": [{"url": "https://x", "authorization_token": "canary-4"}],
    }
    with Router([provider.target(model="m", tier="mid")], recording=tmp_path / "r") as router:
        router.complete(body)
    (line,) = lines(tmp_path / "r")
    assert "canary" not in json.dumps(line)
    assert line["request"]["temperature"] == 0.5
    assert line["request"]["tools"][0] == body["tools"][0]  # type: ignore[index]


def test_a_key_of_no_known_form_is_masked_too(tmp_path: Path) -> None:
    secret = 'house"key\\1'
    with ScriptedProvider("ok", provider="openai", api_key=secret) as provider:
        with Router([provider.target(model="m", tier="mid")], recording=tmp_path / "r") as router:
            router.complete(f"the key is {secret}.")
        (line,) = lines(tmp_path / "r")
    assert line["request"]["messages"][0]["content"] == "the key is ***."


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_nobody_else_reads_it(provider: ScriptedProvider, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Router([provider.target(model="m", tier="mid")], recording=tmp_path / "a" / "r") as router:
            plain(router)
    finally:
        os.umask(before)
    (path,) = (tmp_path / "a" / "r").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["link", "dangling link", "file"])
def test_what_is_no_folder_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "r"
    if kind == "file":
        path.write_text("mine")
    else:
        (tmp_path / "elsewhere").mkdir() if kind == "link" else None
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="recording"):
        Recorder(path)
    assert kind != "file" or path.read_text() == "mine"
    assert not list((tmp_path / "elsewhere").iterdir() if kind == "link" else ())


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"days": 0}, "days is 0"),
        ({"days": True}, "days is True"),
        ({"max_mb": float("inf")}, "max_mb is inf"),
        ({"share": 1.5}, "share is 1.5"),
        ({"share": 0}, "share is 0"),
        ({"redact": "all"}, "redact is a str"),
        ({"queue_size": -1}, "queue_size is -1"),
    ],
)
def test_settings_are_checked_by_name(tmp_path: Path, settings: dict[str, Any], names: str) -> None:
    with pytest.raises(ConfigError, match=names):
        Recorder(tmp_path / "r", **settings)
    assert not (tmp_path / "r").exists()


def recorded(recorder: Recorder, provider: ScriptedProvider, contexts: list[StepContext]) -> list[dict[str, Any]]:
    with Router([provider.target(model="m", tier="mid")], recording=recorder) as router:
        for context in contexts:
            router.complete(REQUEST, context=context)
    return lines(recorder.folder)


def test_a_conversation_is_recorded_whole_or_not_at_all(provider: ScriptedProvider, tmp_path: Path) -> None:
    contexts = [StepContext(conversation_id=f"c{number % 40}") for number in range(80)]
    found = recorded(Recorder(tmp_path / "r", share=0.5), provider, contexts)
    names = [line["conversation_id"] for line in found]
    assert 8 <= len(set(names)) <= 32
    assert all(names.count(name) == 2 for name in set(names))
    again = recorded(Recorder(tmp_path / "again", share=0.5), provider, contexts)
    assert {line["conversation_id"] for line in again} == set(names), "every process takes the same ones"


def test_without_an_id_a_conversation_is_known_by_how_it_begins(tmp_path: Path, provider: ScriptedProvider) -> None:
    from agentroute.decisions import Decision
    from tests.test_decisions import DECISION

    recorder = Recorder(tmp_path / "r", share=0.5)
    nameless: Decision = DECISION.__class__.from_dict({**DECISION.to_dict(), "context": {}})
    for number in range(40):
        begin = ChatRequest.of(f"ask {number}")
        later = ChatRequest((*begin.messages, *REQUEST.messages[2:]))
        assert recorder._sampled(nameless, begin) == recorder._sampled(nameless, later)


def test_what_is_redacted_is_not_written(provider: ScriptedProvider, tmp_path: Path) -> None:
    def redact(line: dict[str, Any]) -> dict[str, Any] | None:
        if line["conversation_id"] == "secret":
            return None
        if line["conversation_id"] == "broken":
            raise ValueError(f"cannot redact {line['request']}")
        line["request"]["messages"][1]["content"] = "[ask]"
        return line

    contexts = [StepContext(conversation_id=name) for name in ("open", "secret", "broken")]
    recorder = Recorder(tmp_path / "r", redact=redact)
    first, *rest = recorded(recorder, provider, contexts)
    assert first["request"]["messages"][1]["content"] == "[ask]"
    assert [line.get("gap", {}).get("calls") for line in rest] == [1], (
        "the broken one is a gap, and nothing of it is told"
    )
    assert recorder.lost == 1
    assert not any("naïve" in path.read_text("utf-8") for path in recorder.folder.iterdir())


def test_old_files_go_and_so_do_the_oldest_where_there_are_too_many(provider: ScriptedProvider, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    now = time.time()

    def put(name: str, size: int, age_days: float) -> None:
        (folder / name).write_bytes(b"x" * size)
        os.utime(folder / name, (now - age_days * 86_400,) * 2)

    put("2026-10-01.0123456789abcdef.jsonl", 10, 31)
    put("2026-11-01.0123456789abcdef.jsonl", 600_000, 20)
    put("2026-11-02.0123456789abcdef.jsonl", 400_000, 10)
    put("notes.jsonl", 10, 400)
    (folder / "2026-10-01.fedcba9876543210.jsonl").symlink_to(folder / "notes.jsonl")
    recorded_ = Recorder(folder, days=30, max_mb=1)
    with Router([provider.target(model="m", tier="mid")], recording=recorded_) as router:
        plain(router)
    left = sorted(path.name for path in folder.iterdir())
    assert "2026-11-02.0123456789abcdef.jsonl" in left
    assert {"notes.jsonl", "2026-10-01.fedcba9876543210.jsonl"} <= set(left), "what is not ours stays"
    assert len(left) == 4


def test_the_folder_never_holds_more_than_its_cap(provider: ScriptedProvider, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", max_mb=0.1)
    with Router([provider.target(model="m", tier="mid")], recording=recorder) as router:
        for number in range(30):
            router.complete(f"{number} " + "long words " * 700)
            if number % 7 == 0:
                assert recorder.flush()
            assert sum(path.stat().st_size for path in recorder.folder.iterdir()) <= 100_000
        router.complete("x" * 200_000)
    said = [line["request"]["messages"][0]["content"] for line in lines(recorder.folder) if "request" in line]
    assert any(text.startswith("29 ") for text in said), "the newest stays"
    assert any(line.get("gap", {}).get("calls") == 1 for line in lines(recorder.folder)), "too long for any file"


def test_a_full_disk_stops_no_call_and_is_told_as_a_gap(
    provider: ScriptedProvider, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    full = True

    def writing(fd: int, data: bytes) -> int:
        if full and b"agentroute_recording" in data:
            raise OSError(28, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(os, "write", writing)
    recorder = Recorder(tmp_path / "r")
    with Router([provider.target(model="m", tier="mid")], recording=recorder) as router:
        for _ in range(3):
            plain(router)
            recorder.flush()
        full = False
        plain(router)
    found = lines(tmp_path / "r")
    assert [line["gap"]["calls"] for line in found if "gap" in line] == [3]
    assert len(list(recorder.folder.iterdir())) == 1, "no empty files are left"
    assert sum("request" in line for line in found) == 1
    assert caplog.text.count("cannot be written") == 1
    assert any(isinstance(item, Problem) and "a gap: 3 calls" in item.reason for item in traces(tmp_path / "r"))


def test_a_slow_disk_makes_no_call_wait(
    provider: ScriptedProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = threading.Event()
    write = os.write

    def writing(fd: int, data: bytes) -> int:
        if b"agentroute_recording" in data:
            free.wait(30)
        return write(fd, data)

    monkeypatch.setattr(os, "write", writing)
    recorder = Recorder(tmp_path / "r", queue_size=5)
    with Router([provider.target(model="m", tier="mid")], recording=recorder) as router:
        for _ in range(120):
            plain(router)
        assert recorder.lost > 0
        free.set()
    found = lines(tmp_path / "r")
    assert (
        sum("request" in line for line in found) + sum(line["gap"]["calls"] for line in found if "gap" in line) == 120
    )


def test_a_file_that_is_moved_away_is_begun_anew(provider: ScriptedProvider, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r")
    with Router([provider.target(model="m", tier="mid")], recording=recorder) as router:
        plain(router)
        recorder.flush()
        (first,) = recorder.folder.iterdir()
        first.unlink()
        plain(router)
    assert len(lines(recorder.folder)) == 1


def test_what_failed_or_was_given_up_is_not_recorded(tmp_path: Path) -> None:
    fault = Fault.error(400)
    with (
        ScriptedProvider("hello there", provider="openai", chunk_characters=2) as good,
        ScriptedProvider("x", provider="openai", fault=fault) as bad,
    ):
        targets = [each.target(name=name, model="m", tier="mid") for name, each in (("good", good), ("bad", bad))]
        with Router(targets, recording=tmp_path / "r") as router:
            with router.stream("hello", constraints={"target": "good"}) as stream:
                next(iter(stream))
            with pytest.raises(InvalidRequest):
                router.complete("hello", constraints={"target": "bad"})
    assert lines(tmp_path / "r") == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_worker_writes_a_file_of_its_own(provider: ScriptedProvider, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r")
    with Router([provider.target(model="m", tier="mid")], recording=recorder) as router:
        plain(router)
        recorder.flush()
        child = os.fork()
        if child == 0:
            try:
                router.complete(REQUEST, context=StepContext(conversation_id="child"))
                recorder.close()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        plain(router)
    files = list((tmp_path / "r").iterdir())
    assert len(files) == 2
    assert sorted(line["conversation_id"] for line in lines(tmp_path / "r")) == ["child", "run-7", "run-7"]


def test_what_is_queued_is_written_at_exit(tmp_path: Path) -> None:
    code = f"""
from agentroute import Router
from agentroute.testing import ScriptedProvider
with ScriptedProvider("hi", provider="openai") as provider:
    router = Router([provider.target(model="m", tier="mid")], recording={str(tmp_path / "r")!r})
    router.complete("hello")
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert len(lines(tmp_path / "r")) == 1


def test_a_copy_through_a_pickle_records_too(tmp_path: Path) -> None:
    router = Router(["openai/gpt-4.1-nano"], recording=Recorder(tmp_path / "r", share=0.25, days=3))
    again = pickle.loads(pickle.dumps(router)).recording
    assert (again.folder, again.share, again.days) == (tmp_path / "r", 0.25, 3)


def test_the_config_file_sets_it(tmp_path: Path) -> None:
    config = tmp_path / "agentroute.toml"
    target = '[[target]]\nprovider = "openai"\nmodel = "gpt-4.1-nano"\n'
    config.write_text(f'{target}[recording]\nfolder = "kept"\nshare = 0.1\n')
    router = Router.from_config(config)
    assert router.recording is not None
    assert (router.recording.folder, router.recording.share) == (tmp_path / "kept", 0.1)
    for wrong, names in (
        ("share = 2", "recording.share: give the share of conversations"),
        ("day = 2", "did you mean 'days'"),
        ("max_mb = 0", "recording.max_mb: give a number above 0"),
    ):
        config.write_text(f'{target}[recording]\nfolder = "kept"\n{wrong}\n')
        with pytest.raises(ConfigError, match=names):
            Router.from_config(config)
    config.write_text(f"{target}[recording]\nshare = 0.1\n")
    with pytest.raises(ConfigError, match=r"recording\.folder: is missing"):
        Router.from_config(config)


def test_a_newer_recording_is_refused_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"agentroute_recording": 9, "request": {"messages": []}}\n'))
    (problem,) = traces(path)
    assert isinstance(problem, Problem)
    assert "version 9" in problem.reason


def test_threads_write_whole_lines(provider: ScriptedProvider, tmp_path: Path) -> None:
    with Router([provider.target(model="m", tier="mid")], recording=tmp_path / "r") as router:
        threads = [threading.Thread(target=lambda: [plain(router) for _ in range(10)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({line["id"] for line in lines(tmp_path / "r")}) == 80


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_killed_process_loses_half_a_second_at_most_and_spoils_no_other_line(tmp_path: Path) -> None:
    code = f"""
import os, signal, time
from agentroute import Router
from agentroute.testing import ScriptedProvider
with ScriptedProvider("hi", provider="openai") as provider:
    router = Router([provider.target(model="m", tier="mid")], recording={str(tmp_path / "r")!r})
    for number in range(50):
        router.complete(f"hello {{number}}")
    assert router.recording.flush()
    for number in range(50):
        router.complete(f"late {{number}}")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert ended.returncode == -9
    found = traces(tmp_path / "r")
    texts = {item.request.messages[0].text for item in found if isinstance(item, Trace)}
    assert {f"hello {number}" for number in range(50)} <= texts
    assert sum(isinstance(item, Problem) for item in found) <= 1
