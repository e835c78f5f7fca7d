"""ModelRules holds what can be, and says of anything else which rule it is."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from agentroute import ConfigError
from agentroute.targets.model_rules import UNKNOWN, ModelRules


def test_what_is_left_out_is_not_known() -> None:
    assert ModelRules() == UNKNOWN
    assert (UNKNOWN.refused, UNKNOWN.efforts, UNKNOWN.json_schema, UNKNOWN.image_types) == ((), None, None, None)


def test_lists_become_tuples_so_that_rules_can_be_hashed() -> None:
    facts: dict[str, Any] = {"refused": ["stop"], "temperature": [0, 1], "efforts": ["low"]}
    rules = ModelRules(**facts)
    assert rules.refused == ("stop",)
    assert hash(rules) == hash(ModelRules(refused=("stop",), temperature=(0, 1), efforts=("low",)))
    assert copy.deepcopy(rules) == pickle.loads(pickle.dumps(rules)) == rules


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"dialect": "openai"}, "rule `dialect` has 'openai'; give some of openai_chat"),
        ({"dialects": ("grpc",)}, "rule `dialects` has 'grpc'"),
        ({"efforts": ("low", "huge")}, "rule `efforts` has 'huge'; give some of none, minimal"),
        ({"tool_choices": ("any",)}, "rule `tool_choices` has 'any'"),
        ({"chat_reasoning": ("effort",)}, "rule `chat_reasoning` has 'effort'"),
        ({"closed_objects": ("tools",)}, "rule `closed_objects` has 'tools'; give some of strict, answer"),
        ({"refused": "stop"}, "rule `refused` is 'stop'; give texts"),
        ({"refused": (1,)}, "rule `refused` is (1,); give texts"),
        ({"temperature": (1.0, 0.0)}, "two numbers, the smaller first"),
        ({"budget": (1024,)}, "two numbers, the smaller first"),
        ({"max_tools": -1}, "give a whole number, 0 or more"),
        ({"max_tools": True}, "give a whole number, 0 or more"),
        ({"root_object": None}, "give true or false"),
        ({"thinking": "sometimes"}, "give 'never', 'optional', 'default', 'always'"),
        ({"prefill": True}, "rule `prefill` is True"),
        ({"tool_name": "["}, "rule `tool_name` is '['; give a regular expression"),
    ],
)
def test_what_cannot_be(facts: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ModelRules(**facts)
    assert said in str(caught.value)
