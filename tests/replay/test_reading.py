"""Files of all shapes give their values one by one; what is hostile or cut off ends in a named problem."""

from __future__ import annotations

import gzip
import json
import sqlite3
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from agentroute import ConfigError
from agentroute.replay import describe, replay
from agentroute.replay.describe import Description
from agentroute.replay.logs.msgpack import Extension, unpack
from agentroute.replay.records import Problem, Trace
from agentroute.replay.traces import Traces
from agentroute.router import Router

TALK: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}
CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def put(folder: Path, text: str | bytes, name: str = "t.json") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def logged(answer_id: str, said: str = "ho", **more: Any) -> dict[str, Any]:
    response = {"id": answer_id, "choices": [{"message": {"role": "assistant", "content": said}}]}
    usage = {"prompt_tokens": 10, "completion_tokens": 2}
    return {"request": {"messages": TALK["messages"][:1]}, "response": response | {"usage": usage}, **more}


LINE = json.dumps(TALK)
SHAPES = {
    "lines": f"{LINE}\n{LINE}\n",
    "an array on one line": f"[{LINE}, {LINE}]",
    "an array on many lines": json.dumps([TALK, TALK], indent=2),
    "documents one after the other": "\n".join([json.dumps(TALK, indent=2)] * 2),
    "an array with an element on each line": f"[\n{LINE},\n{LINE}\n]\n",
    "blank lines between": f"\n\n \n{LINE}\n\n\n{LINE}",
    "a byte order mark": f"\ufeff{LINE}\n{LINE}",
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("packed", [False, True])
def test_values_are_read_in_every_shape(shape: str, packed: bool, tmp_path: Path) -> None:
    text = SHAPES[shape].encode()
    found = describe(put(tmp_path, gzip.compress(text) if packed else text))
    assert (found.conversations, found.steps, found.malformed) == (2, 2, 0)


def test_an_array_larger_than_a_block_is_read_element_by_element(tmp_path: Path) -> None:
    long = {"messages": [{"role": "user", "content": "wörd " * 60_000}, TALK["messages"][1]]}
    found = describe(put(tmp_path, json.dumps([long] * 8, ensure_ascii=False)))
    assert (found.steps, found.malformed) == (8, 0)


HOSTILE = {
    "[" * 300_000: "nested too deeply",
    '{"a":\n' * 100_000: "nested too deeply",
    "[" + LINE + ", {": "not JSON",
    "[" + LINE + "\n": "the array is cut off",
    json.dumps(TALK, indent=2)[:-30]: "cut off",
    '{"messages": [' + "{}," * 5_000_000 + "{}]}": "more than 4,000,000 items",
    '{"n": ' + "1" * 5_000 + "}": "not JSON",
    "PAR1" + "x" * 100: "cannot be read as parquet",
    "SQLite format 3\0" + "x" * 200: "the database cannot be read",
    "PK\x03\x04" + "x" * 100: "cannot be read as zip",
}


@pytest.mark.parametrize("text", HOSTILE, ids=list(HOSTILE.values()))
def test_hostile_files_end_in_a_problem(text: str, tmp_path: Path) -> None:
    if text.startswith("PAR1"):
        pytest.importorskip("pyarrow")
    found = describe(put(tmp_path, text))
    assert any(HOSTILE[text] in problem.reason for problem in found.problems), found.problems


def test_a_count_of_400_digits_is_no_count(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 10**400, "completion_tokens": 3}
    talk = {"messages": [TALK["messages"][0], TALK["messages"][1] | {"usage": usage}]}
    path = put(tmp_path, json.dumps(talk))
    assert (describe(path).input_tokens, describe(path).output_tokens) == (None, 3)
    assert replay(path, Router(["openai/gpt-4.1"])).measured == 0


def test_a_file_of_nothing_but_failures_is_left_and_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentroute.replay.traces._FRUITLESS", 50)
    found = describe(put(tmp_path, '{"a": 1}\n' * 500))
    assert found.malformed == 51
    assert found.alike is not None
    assert "the first at t.json:1: no list of `messages`" in found.alike


def test_a_folder_and_a_pattern_name_the_logs_inside(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    put(tmp_path / "deep", LINE, "a.jsonl")
    put(tmp_path / "deep" / "er", LINE, "b.json")
    put(tmp_path / "deep", "no log", "notes.txt")
    assert describe(tmp_path).steps == 2
    assert describe(tmp_path / "deep" / "*.jsonl").steps == 1
    with pytest.raises(ConfigError, match="no file is called like"):
        describe(tmp_path / "*.nothing")
    with pytest.raises(ConfigError, match="without a log in it"):
        describe(empty)


def test_an_answer_that_stands_in_two_files_is_billed_once(tmp_path: Path) -> None:
    put(tmp_path, json.dumps(logged("a")), "1.json")
    put(tmp_path, json.dumps(logged("a")) + "\n" + json.dumps(logged("b", "hm")), "2.jsonl")
    found = describe(tmp_path)
    assert (found.steps, found.duplicates, found.input_tokens) == (2, 1, 20)


def test_one_id_for_two_different_answers_is_no_duplicate(tmp_path: Path) -> None:
    put(tmp_path, json.dumps(logged("a")) + "\n" + json.dumps(logged("a", "something else")), "1.jsonl")
    assert (describe(tmp_path).steps, describe(tmp_path).duplicates) == (2, 0)


def test_tools_that_were_called_stand_for_tools_that_were_not_recorded(tmp_path: Path) -> None:
    called = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    path = put(tmp_path, json.dumps({"messages": [TALK["messages"][0], called]}))
    ((_, _, trace),) = list(Traces([path]))
    assert isinstance(trace, Trace)
    assert ([tool.name for tool in trace.request.tools], trace.tools_inferred) == (["look"], True)
    found = describe(path)
    assert (found.tools_in_step_1, found.tools_inferred) == (None, ("look",))


def test_a_known_kind_that_fails_says_what_was_not_understood(tmp_path: Path) -> None:
    line = {"conversations": [{"from": "human", "value": 5}]}
    (item,) = [item for _, _, item in Traces([put(tmp_path, json.dumps(line))])]
    assert isinstance(item, Problem)
    assert item.reason == "sharegpt: `conversations[0].value` is 5; give a text"


def test_reasons_hold_nothing_of_the_content(tmp_path: Path) -> None:
    secret = "the password is swordfish"
    lines = [
        {"messages": secret},
        {"conversations": [{"from": secret, "value": secret}]},
        {"request": {"messages": TALK["messages"]}, "response": {"error": {"message": secret}}},
    ]
    found = describe(put(tmp_path, "\n".join(json.dumps(line) for line in lines)))
    assert found.malformed == 3
    assert "swordfish" not in " ".join(problem.reason for problem in found.problems)


def test_a_sub_agent_is_a_conversation_with_a_parent(tmp_path: Path) -> None:
    def line(uuid: str, kind: str, content: str, **more: Any) -> dict[str, Any]:
        message = {"role": kind, "content": content, "id": f"m{uuid}", "model": "x"}
        return {"uuid": uuid, "parentUuid": None, "sessionId": "s", "type": kind, "message": message, **more}

    below = tmp_path / "s" / "subagents"
    below.mkdir(parents=True)
    put(
        tmp_path,
        "\n".join(json.dumps(line(*each)) for each in [("1", "user", "hi"), ("2", "assistant", "ho")]),
        "s.jsonl",
    )
    lines = [line(*each, agentId="a") for each in [("3", "user", "go"), ("4", "assistant", "gone")]]
    put(below, "\n".join(map(json.dumps, lines)), "agent-a.jsonl")
    put(below, json.dumps({"agentType": "Explore", "toolUseId": "t"}), "agent-a.meta.json")
    traces = [item for _, _, item in Traces([tmp_path]) if isinstance(item, Trace)]
    assert {(trace.conversation_id, trace.parent, trace.agent) for trace in traces} == {
        ("s", None, None),
        ("s/a", "s", "Explore"),
    }
    assert describe(tmp_path).sub_conversations == 1


def test_outcomes_are_kept(tmp_path: Path) -> None:
    rows = [
        {
            "id": "o",
            "trace_id": "t",
            "type": "GENERATION",
            "start_time": "2026-01-01",
            "input": '"hi"',
            "output": '"ho"',
        },
        {"id": "s", "trace_id": "t", "name": "right", "value": 1, "data_type": "BOOLEAN", "string_value": None},
    ]
    ((_, _, trace),) = list(Traces([put(tmp_path, "\n".join(map(json.dumps, rows)))]))
    assert isinstance(trace, Trace)
    assert (dict(trace.outcomes), trace.reward) == ({"right": 1}, 1.0)


def test_a_compaction_is_a_part_of_the_same_conversation(tmp_path: Path) -> None:
    lines = [
        {"type": "session", "id": "s", "cwd": "/"},
        {"type": "message", "id": "1", "parentId": None, "message": TALK["messages"][0]},
        {"type": "message", "id": "2", "parentId": "1", "message": TALK["messages"][1] | {"stopReason": "stop"}},
        {"type": "compaction", "id": "3", "parentId": "2", "summary": "said hi", "firstKeptEntryId": "2"},
        {"type": "message", "id": "4", "parentId": "3", "message": {"role": "assistant", "content": "so"}},
    ]
    path = put(tmp_path, "\n".join(map(json.dumps, lines)))
    traces = [item for _, _, item in Traces([path]) if isinstance(item, Trace)]
    assert [trace.part for trace in traces] == [0, 1]
    assert [message.text for message in traces[1].request.messages] == ["said hi", "ho", "so"]
    assert replay(path, Router(["openai/gpt-4.1"])).conversations == 1


def counted(found: Description) -> tuple[int, int, int | None, int | None]:
    return found.conversations, found.steps, found.input_tokens, found.output_tokens


def test_parquet_rows_are_read_like_lines(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    usage = arrow.array([[("input", 20), ("output", 3), ("total", 23)]], arrow.map_(arrow.string(), arrow.uint64()))
    texts = {"id": "o", "trace_id": "t", "type": "GENERATION", "input": '"hi"', "output": '"ho"'}
    columns = {name: arrow.array([value]) for name, value in texts.items()} | {"usage_details": usage}
    parquet.write_table(arrow.table(columns), tmp_path / "o.parquet")
    assert counted(describe(tmp_path)) == (1, 1, 20, 3)


def test_csv_rows_are_read_like_lines(tmp_path: Path) -> None:
    text = (
        'id,trace_id,type,input,output,usage_details\no,t,GENERATION,"""hi""","ho","{""input"": 20, ""output"": 3}"\n'
    )
    put(tmp_path, gzip.compress(text.encode()), "o.csv.gz")
    assert counted(describe(tmp_path)) == (1, 1, 20, 3)


def test_the_database_of_opencode_is_read(tmp_path: Path) -> None:
    rows = sqlite3.connect(tmp_path / "opencode.db")
    rows.executescript(
        "create table session (id text, parent_id text, time_created integer);"
        "create table message (id text, session_id text, time_created integer, data text);"
        "create table part (id text, message_id text, data text);"
    )
    rows.execute("insert into session values ('ses_1', null, 1)")
    said = {"role": "assistant", "modelID": "x", "tokens": {"input": 5, "output": 2, "cache": {"read": 3, "write": 0}}}
    for number, data in enumerate([{"role": "user"}, said]):
        rows.execute("insert into message values (?, 'ses_1', ?, ?)", (f"m{number}", number, json.dumps(data)))
        rows.execute(
            "insert into part values (?, ?, ?)", (f"p{number}", f"m{number}", '{"type": "text", "text": "hi"}')
        )
    rows.commit()
    rows.close()
    assert counted(describe(tmp_path)) == (1, 1, 8, 2)


def pack(value: Any) -> bytes:
    """MessagePack of small values."""
    match value:
        case bytes():
            return b"\xc9" + struct.pack(">Ib", len(value), 5) + value
        case str():
            return b"\xdb" + struct.pack(">I", len(value.encode())) + value.encode()
        case int():
            return b"\xd3" + struct.pack(">q", value)
        case list():
            return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(pack, value))
        case _:
            return b"\xdf" + struct.pack(">I", len(value)) + b"".join(pack(k) + pack(v) for k, v in value.items())


def test_checkpoints_of_langgraph_are_read_without_importing_anything(tmp_path: Path) -> None:
    rows = sqlite3.connect(tmp_path / "checkpoints.sqlite")
    rows.execute("create table checkpoints (thread_id, checkpoint_ns, checkpoint_id, type, checkpoint)")
    usage = {"input_tokens": 20, "output_tokens": 3}
    fields = [{"type": "human", "content": "hi"}, {"type": "ai", "content": "ho", "usage_metadata": usage}]
    held = [pack(["no.such.module", "X", each, "model_validate_json"]) for each in fields]
    for number in (1, 2):
        document = pack({"v": 4, "channel_values": {"messages": held[:number]}})
        rows.execute("insert into checkpoints values ('t', '', ?, 'msgpack', ?)", (f"{number}", document))
    rows.execute("insert into checkpoints values ('u', '', '1', 'pickle', ?)", (b"cos\nsystem\n",))
    rows.commit()
    rows.close()
    found = describe(tmp_path)
    assert counted(found) == (1, 1, 20, 3)
    assert [problem.reason for problem in found.problems] == [
        "langgraph: thread u: a checkpoint of the type 'pickle' is not read"
    ]


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\xdf\xff\xff\xff\xff", b"\x91" * 5000, b"\xd9\x05ab", b"\x81\x90\x01", b"\xc9\x00\x00"]
)
def test_broken_messagepack_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"MessagePack|deeply"):
        unpack(data)


def test_messagepack_keeps_extensions_as_bytes() -> None:
    assert unpack(pack({"a": [1, "x", b"raw"]})) == {"a": [1, "x", Extension(5, b"raw")]}


def test_samples_in_an_eval_file_are_read(tmp_path: Path) -> None:
    output = {
        "choices": [{"message": {"role": "assistant", "content": "ho"}}],
        "usage": {"input_tokens": 9, "output_tokens": 2},
    }
    event = {"event": "model", "model": "x", "input": [{"role": "user", "content": "hi"}], "output": output}
    with zipfile.ZipFile(tmp_path / "log.eval", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", "{}")
        archive.writestr("samples/1_epoch_1.json", json.dumps({"id": 1, "epoch": 1, "events": [event], "scores": {}}))
    assert counted(describe(tmp_path)) == (1, 1, 9, 2)
