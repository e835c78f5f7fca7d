"""What was handed out is found again by its owner, and by nobody else; the rest is refused with advice."""

from __future__ import annotations

from typing import Any

import pytest

from agentroute.gateway.memory import Memory
from agentroute.gateway.refusals import Refused

ANSWER = {"id": "resp_1", "output": [{"id": "msg_1", "type": "message", "role": "assistant", "content": []}]}
NAMED: dict[str, Any] = {"input": [{"type": "item_reference", "id": "msg_1"}, {"role": "user", "content": "go"}]}


def test_an_item_is_put_in() -> None:
    memory = Memory(10_000)
    memory.keep({"input": "hi"}, ANSWER, None)
    assert memory.resolve(NAMED, None)["input"] == [ANSWER["output"][0], NAMED["input"][1]]
    assert NAMED["input"][0]["type"] == "item_reference"


def test_a_conversation_goes_on_over_several_answers() -> None:
    memory = Memory(10_000)
    memory.keep({"input": "one"}, ANSWER, None)
    second = {"input": [{"role": "user", "content": "two"}], "previous_response_id": "resp_1"}
    memory.keep(second, {"id": "resp_2", "output": [{"id": "msg_2", "type": "message"}]}, None)
    whole = memory.continued({"input": "three", "previous_response_id": "resp_2"}, None)
    said = [item.get("content") or item["id"] for item in whole["input"]]
    assert said == ["one", "msg_1", "two", "msg_2", "three"]
    assert "previous_response_id" not in whole


@pytest.mark.parametrize("owner", [None, "bob"])
def test_another_client_s_item_is_not_found(owner: str | None) -> None:
    memory = Memory(10_000)
    memory.keep({"input": "hi"}, ANSWER, "alice")
    with pytest.raises(Refused, match="store"):
        memory.resolve(NAMED, owner)
    with pytest.raises(Refused, match="store"):
        memory.continued({"previous_response_id": "resp_1"}, owner)


def test_nothing_is_kept_of_a_request_that_says_so() -> None:
    memory = Memory(10_000)
    memory.keep({"input": "hi", "store": False}, ANSWER, None)
    with pytest.raises(Refused):
        memory.resolve(NAMED, None)


def test_it_is_bounded_and_forgets_what_is_longest_unused() -> None:
    memory = Memory(2_000)
    for number in range(50):
        memory.keep({"input": "x" * 100}, {"id": f"resp_{number}", "output": []}, None)
    memory.continued({"previous_response_id": "resp_49"}, None)
    with pytest.raises(Refused):
        memory.continued({"previous_response_id": "resp_0"}, None)


@pytest.mark.parametrize("name", ["resp_gone", 7, ["a"], {"a": 1}, True])
def test_a_name_that_is_none(name: Any) -> None:
    with pytest.raises(Refused):
        Memory(1_000).continued({"previous_response_id": name}, None)
