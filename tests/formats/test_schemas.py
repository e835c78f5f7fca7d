"""Schemas within a provider's rules: what is put together, taken out, closed, and what the model is told."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute.formats.schemas import SchemaRules, fit_schema, is_object, is_recursive, why_not_strict
from agentroute.targets.model_rules import ModelRules

JOINED = ("oneOf", "anyOf", "allOf")
PLAIN_ROOT = SchemaRules(root_object=True, root_refused=frozenset({*JOINED, "enum", "const", "not"}))
CLOSED = SchemaRules(
    closed=True,
    refused=frozenset({"oneOf", "allOf", "minimum", "maximum", "minLength", "pattern", "uniqueItems", "not"}),
    recursion=False,
)
TEXT = {"type": "string"}
BY_ID = {"type": "object", "properties": {"id": TEXT}, "required": ["id"]}
BY_NAME = {"type": "object", "properties": {"name": TEXT, "fuzzy": {"type": "boolean"}}, "required": ["name"]}


@pytest.mark.parametrize("word", ["anyOf", "oneOf"])
def test_a_choice_at_the_root_becomes_one_object(word: str) -> None:
    fitted = fit_schema({word: [BY_ID, BY_NAME]}, PLAIN_ROOT, "the schema of `find`")
    assert fitted.schema == {"type": "object", "properties": {**BY_ID["properties"], **BY_NAME["properties"]}}
    assert fitted.told == "Give one of these: `id`; or `name` (optional: `fuzzy`)."
    assert fitted.changes == (f"the schema of `find` made one object: `{word}` at its root is refused",)


def test_parts_of_all_of_are_all_demanded() -> None:
    fitted = fit_schema({"allOf": [BY_ID, BY_NAME], "description": "both"}, PLAIN_ROOT)
    assert fitted.schema["required"] == ["id", "name"]
    assert fitted.schema["description"] == "both"
    assert fitted.told == ""


@pytest.mark.parametrize(
    ("schema", "fitted"),
    [
        ({}, {"type": "object", "properties": {}}),
        ({"type": "object"}, {"type": "object", "properties": {}}),
        ({"properties": {"a": TEXT}}, {"type": "object", "properties": {"a": TEXT}}),
        ({"type": ["object", "null"], "properties": {"a": TEXT}}, {"type": "object", "properties": {"a": TEXT}}),
        (
            {
                "type": "object",
                "properties": {"a": TEXT, "b": TEXT},
                "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
            },
            {"type": "object", "properties": {"a": TEXT, "b": TEXT}},
        ),
        ({"anyOf": [BY_ID, {"type": "null"}]}, {**BY_ID}),
        (
            {"type": "object", "properties": {"a": TEXT}, "not": {"required": ["b"]}},
            {"type": "object", "properties": {"a": TEXT}},
        ),
        (
            {"$ref": "#/$defs/Q", "$defs": {"Q": BY_ID}},
            {**BY_ID, "$defs": {"Q": BY_ID}},
        ),
        (
            {"anyOf": [{"$ref": "#/$defs/Q"}, {"anyOf": [BY_NAME, BY_ID]}], "$defs": {"Q": BY_ID}},
            {
                "$defs": {"Q": BY_ID},
                "type": "object",
                "properties": {"id": TEXT, "name": TEXT, "fuzzy": {"type": "boolean"}},
            },
        ),
    ],
)
def test_roots(schema: dict[str, Any], fitted: dict[str, Any]) -> None:
    assert fit_schema(schema, PLAIN_ROOT).schema == fitted


def test_a_property_of_several_branches_takes_what_any_takes() -> None:
    first = {"type": "object", "properties": {"kind": {"type": "string", "const": "page"}, "at": {"type": "integer"}}}
    second = {"type": "object", "properties": {"kind": {"type": "string", "enum": ["line"]}, "at": TEXT}}
    both = [{**first, "required": ["kind", "at"]}, {**second, "required": ["kind"]}]
    fitted = fit_schema({"oneOf": both}, PLAIN_ROOT)
    assert fitted.schema["properties"] == {
        "kind": {"type": "string", "enum": ["page", "line"]},
        "at": {"anyOf": [{"type": "integer"}, TEXT]},
    }
    assert fitted.schema["required"] == ["kind"]
    assert fitted.told == "Give one of these: `kind` page and `at`; or `kind` (optional: `at`)."


def test_a_reference_into_a_root_that_was_put_together_gets_what_it_named() -> None:
    schema = {"anyOf": [BY_ID, {"type": "object", "properties": {"again": {"$ref": "#/anyOf/0/properties/id"}}}]}
    assert fit_schema(schema, PLAIN_ROOT).schema["properties"]["again"] == TEXT


@pytest.mark.parametrize("rules", [PLAIN_ROOT, CLOSED, SchemaRules()])
def test_what_needs_nothing_stays_the_same_object(rules: SchemaRules) -> None:
    schema = {"type": "object", "properties": {"a": TEXT}, "additionalProperties": False}
    fitted = fit_schema(schema, rules)
    assert fitted.schema is schema
    assert fitted.changes == ()


def test_every_object_is_closed_and_limits_go_into_the_description() -> None:
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": 1, "maximum": 9, "description": "How many."},
            "o": {"type": "object", "properties": {"x": {"type": "string", "pattern": "^a"}}},
            "rows": {"type": "array", "uniqueItems": True, "items": {"properties": {"y": TEXT}}},
            "pattern": {"oneOf": [TEXT, {"type": "null"}]},
        },
    }
    before = copy.deepcopy(schema)
    fitted = fit_schema(schema, CLOSED)
    assert fitted.schema == {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "description": "How many. (minimum: 1; maximum: 9)"},
            "o": {
                "type": "object",
                "properties": {"x": {"type": "string", "description": "(pattern: ^a)"}},
                "additionalProperties": False,
            },
            "rows": {
                "type": "array",
                "items": {"properties": {"y": TEXT}, "additionalProperties": False},
                "description": "(uniqueItems: true)",
            },
            "pattern": {"anyOf": [TEXT, {"type": "null"}]},
        },
        "additionalProperties": False,
    }
    assert fitted.changes == (
        "`minimum`, `maximum`, `pattern`, `uniqueItems` taken out of the schema: this provider refuses such keywords",
        "the schema closed (`additionalProperties: false`): that is demanded here",
        "the schema says `anyOf` for `oneOf`, which is refused",
    )
    assert schema == before


def test_an_object_of_any_names_is_closed_and_that_is_said() -> None:
    schema = {"type": "object", "properties": {"env": {"type": "object", "additionalProperties": TEXT}}}
    fitted = fit_schema(schema, CLOSED)
    assert fitted.schema["properties"]["env"]["additionalProperties"] is False
    assert "the schema takes no properties of any name: objects must be closed here" in fitted.changes


def test_all_of_that_is_refused_deeper_down_is_put_together() -> None:
    schema = {
        "type": "object",
        "properties": {"c": {"allOf": [{"$ref": "#/$defs/C"}], "default": "red"}, "both": {"allOf": [BY_ID, BY_NAME]}},
        "$defs": {"C": {"enum": ["red", "blue"]}},
    }
    properties = fit_schema(schema, CLOSED).schema["properties"]
    assert properties["c"] == {"enum": ["red", "blue"], "default": "red"}
    assert properties["both"]["required"] == ["id", "name"]
    assert properties["both"]["additionalProperties"] is False


@pytest.mark.parametrize("word", ["$defs", "definitions"])
def test_references_that_are_not_followed_are_replaced(word: str) -> None:
    node = {"type": "object", "properties": {"z": {"$ref": f"#/{word}/T"}}}
    schema = {
        "type": "object",
        "properties": {"r": {"$ref": f"#/{word}/D", "description": "d"}},
        word: {"D": node, "T": TEXT},
    }
    fitted = fit_schema(schema, SchemaRules(references=False)).schema
    assert fitted == {
        "type": "object",
        "properties": {"r": {"type": "object", "properties": {"z": TEXT}, "description": "d"}},
    }


def test_a_schema_that_holds_itself_keeps_the_reference_that_closes_the_circle() -> None:
    node = {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/N"}}}}
    schema = {"$ref": "#/$defs/N", "$defs": {"N": node}}
    assert is_recursive(schema)
    assert json.dumps(fit_schema(schema, SchemaRules(references=False)).schema).count("$ref") == 2
    assert not is_recursive({"$ref": "#/$defs/N", "$defs": {"N": BY_ID}})


@pytest.mark.parametrize(
    ("rules", "schema", "fitted"),
    [
        (SchemaRules(), {"type": "array", "items": [TEXT, BY_ID]}, {"type": "array", "prefixItems": [TEXT, BY_ID]}),
        (
            SchemaRules(refused=frozenset({"prefixItems"})),
            {"type": "array", "prefixItems": [TEXT, {"type": "number"}]},
            {"type": "array", "items": {"anyOf": [TEXT, {"type": "number"}]}},
        ),
        (
            SchemaRules(type_beside_any=False),
            {"type": "string", "anyOf": [{"format": "date"}, {"type": "null"}]},
            {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        ),
        (SchemaRules(), {"minimum": 0, "exclusiveMinimum": True}, {"exclusiveMinimum": 0}),
        (SchemaRules(), {"minimum": 0, "exclusiveMinimum": False}, {"minimum": 0}),
        (
            SchemaRules(formats=frozenset({"date"})),
            {"type": "string", "format": "uri"},
            {"type": "string", "description": "(format: uri)"},
        ),
    ],
)
def test_words_of_other_drafts_and_providers(
    rules: SchemaRules, schema: dict[str, Any], fitted: dict[str, Any]
) -> None:
    assert fit_schema({"properties": {"p": schema}}, rules).schema == {"properties": {"p": fitted}}


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "object", "properties": {"a": TEXT}, "required": ["a"]}, None),
        ({"type": "object", "properties": {"a": TEXT}}, "some of its properties are optional"),
        ({"type": "object", "additionalProperties": TEXT}, "it takes properties of any name"),
        ({"type": "object", "properties": {"a": {"not": TEXT}}, "required": ["a"]}, "`not` stands in its schema"),
        (
            {"$ref": "#/$defs/N", "$defs": {"N": {"properties": {"n": {"$ref": "#/$defs/N"}}}}},
            "its schema holds itself",
        ),
    ],
)
def test_why_a_tool_cannot_be_strict(schema: dict[str, Any], why: str | None) -> None:
    rules = SchemaRules(closed=True, all_required=True, refused=frozenset({"not"}), recursion=False)
    assert why_not_strict(schema, rules) == why


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"type": "object"}, True),
        ({"properties": {}}, True),
        ({"anyOf": [BY_ID, {"type": "null"}]}, True),
        ({"$ref": "#/$defs/N", "$defs": {"N": BY_ID}}, True),
        ({"type": "array"}, False),
        ({"anyOf": [BY_ID, TEXT]}, False),
        ({"enum": ["a"]}, False),
    ],
)
def test_what_an_object_is(schema: dict[str, Any], answer: bool) -> None:
    assert is_object(schema) is answer


def test_rules_of_tools_and_answers_differ() -> None:
    rules = ModelRules(
        root_object=True,
        closed_objects=("strict", "answer"),
        strict_keywords_refused=("not",),
        answer_keywords_refused=("minimum",),
    )
    assert not SchemaRules.of_tool(rules, strict=False).closed
    assert SchemaRules.of_tool(rules, strict=True).refused == {"not"}
    assert SchemaRules.of_answer(rules, strict=False).closed
    assert SchemaRules.of_answer(rules, strict=False).refused == {"minimum"}


_LEAF = st.sampled_from(
    [TEXT, {"type": "integer", "minimum": 1}, {"enum": [1, 2]}, {"$ref": "#"}, {"$ref": "#/$defs/x"}, True, {}]
)
_LISTS = (*JOINED, "prefixItems", "items", "required")


def _around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    single = st.dictionaries(
        st.sampled_from(["items", "additionalProperties", "not", "description"]), inner, max_size=2
    )
    several = st.fixed_dictionaries({}, optional={word: st.lists(inner, max_size=3) for word in _LISTS})
    named = st.fixed_dictionaries(
        {"properties": st.dictionaries(st.sampled_from("ab"), inner), "type": st.just("object")},
        optional={"$defs": st.dictionaries(st.just("x"), inner)},
    )
    return single | several | named


_SCHEMAS = st.recursive(_LEAF, _around, max_leaves=12)


@given(schema=_SCHEMAS.filter(lambda held: isinstance(held, dict)), closed=st.booleans(), references=st.booleans())
def test_any_schema_comes_out_as_one_object_and_is_not_changed(
    schema: dict[str, Any], closed: bool, references: bool
) -> None:
    rules = SchemaRules(
        root_object=True,
        root_refused=PLAIN_ROOT.root_refused,
        closed=closed,
        references=references,
        refused=CLOSED.refused,
    )
    before = copy.deepcopy(schema)
    first = fit_schema(schema, rules).schema
    assert schema == before
    assert first["type"] == "object"
    assert not set(JOINED) & set(first)
    assert fit_schema(schema, rules).schema == first
    is_recursive(schema)
    why_not_strict(schema, rules)


def test_references_that_double_at_each_step_do_not_explode() -> None:
    both = [{"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]} for n in range(60)]
    named = {f"d{n}": held for n, held in enumerate(both)} | {"d60": TEXT}
    schema = {"type": "object", "properties": {"p": {"$ref": "#/$defs/d0"}}, "anyOf": [both[0]], "$defs": named}
    for rules in (PLAIN_ROOT, SchemaRules(references=False)):
        assert fit_schema(schema, rules).schema["type"] == "object"


def test_python_objects_that_hold_themselves_are_passed_over() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    schema["properties"]["self"] = schema
    assert fit_schema(schema, PLAIN_ROOT).schema is schema
    assert is_recursive(schema)
