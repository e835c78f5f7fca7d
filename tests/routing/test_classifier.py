"""Prediction: monotone, explained, certain only where it is, and not moved by words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute.decisions import Prediction, StepContext, StepKind, Task
from agentroute.errors import ConfigError
from agentroute.messages import ChatRequest
from agentroute.routing.classifier import StandardClassifier
from agentroute.routing.learned import FEATURES, Weights, features
from agentroute.routing.step import Step
from agentroute.routing.task import Work

CLASSIFIER = StandardClassifier()


def predict(*messages: dict[str, Any], context: StepContext | None = None, **body: Any) -> Prediction:
    request = ChatRequest.from_openai({"messages": list(messages), **body})
    return CLASSIFIER.predict(Step.of(request, context), request)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def call(name: str, **arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": function}],
    }


def result(text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "c1", "content": text}


@pytest.mark.parametrize(
    "text",
    ["Hi!", "thank you", "Danke!", "¡Hola!", "谢谢", "ありがとう", "Спасибо!", "شكرا", "धन्यवाद", "Hello, good morning"],
)
def test_greetings_are_certain(text: str) -> None:
    prediction = predict(user(text))
    assert prediction.sufficiency[0] > 0.95
    assert "greeting" in prediction.reasons[0]


@pytest.mark.parametrize("text", ["hi, prove the Riemann hypothesis", "ok do it", "hello world in Rust", "no"])
def test_what_asks_for_something_is_no_greeting(text: str) -> None:
    assert "greeting" not in predict(user(text)).reasons[0]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
    ],
)
def test_a_greeting_with_a_file_is_no_greeting(part: dict[str, Any]) -> None:
    message: dict[str, Any] = {"role": "user", "content": [{"type": "text", "text": "Hi!"}, part]}
    assert "greeting" not in predict(message).reasons[0]


def test_failure_raises_the_bar_and_recovery_lowers_it_again() -> None:
    before = [user("Cancel my order 4711 please"), call("get_order", id=4711)]
    ok = predict(*before, result('{"id": 4711, "status": "pending"}'))
    failed = predict(*before, result('{"error": "order not found", "isError": true}'))
    again = predict(
        *before,
        result('{"error": "order not found", "isError": true}'),
        call("get_order", id="#4711"),
        result('{"id": 4711, "status": "pending"}'),
    )
    assert failed.step_kind is StepKind.AFTER_ERROR
    assert all(f < o for f, o in zip(failed.sufficiency, ok.sufficiency, strict=True))
    assert again.sufficiency[0] > failed.sufficiency[0]
    assert "the last tool result is a failure" in failed.reasons


def test_source_code_loops_are_code_repair() -> None:
    prediction = predict(
        user("The login page breaks"), call("bash", command="cat app/login.py"), result("def login(): ...")
    )
    assert prediction.task is Task.CODE_REPAIR
    assert prediction.complexity == "complex"
    assert "works on source code with tools" in prediction.reasons


def test_given_text_is_easier_than_the_same_question_alone() -> None:
    alone = predict(user("Who signed the contract?"))
    given = predict(user("The contract: " + "the party of the first part agrees. " * 60 + " Who signed the contract?"))
    assert given.sufficiency[0] > alone.sufficiency[0]


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("Summarise the meeting notes", Task.SUMMARISATION),
        ("Fasse zusammen: was wurde beschlossen? Zusammenfassung bitte", Task.SUMMARISATION),
        ("请总结会议内容", Task.SUMMARISATION),
        ("Übersetze das ins Englische", Task.TRANSLATION),
        ("Переведи это письмо", Task.TRANSLATION),
        ("Extract all dates", Task.EXTRACTION),
        ("Plan the migration", Task.PLANNING),
        ("Write a function that sorts", Task.CODE_GENERATION),
        ("Draft a letter", Task.WRITING),
        ("Compare both offers", Task.ANALYSIS),
        ("What is the capital?", Task.QA),
        ("I like trains", Task.CHAT),
    ],
)
def test_tasks_from_words(text: str, task: Task) -> None:
    assert predict(user(text)).task is task


def test_no_stem_is_missed_by_the_gate_before_the_search() -> None:
    words = (
        "summarise tl;dr tldr zusammenfassen resume resumen riassumi samenvatten streszczenie translate traduce "
        "traduzione vertaal extract extrahiere extrai classify categorize klassifiziere clasifica reformat implement "
        "refactor plan roadmap architect strategy entwirf planifier prove derive probability solve beweise demuestra "
        "analyse compare evaluate review assess trade-off vergleiche write draft compose rewrite rephrase schreibe "
        "redacta scrivi"
    ).split()
    phrases = ["list all", "pull out", "label this", "format this", "as markdown", "design a", "step by step"]
    for stem in words + phrases:
        text = f"{stem} 1 2 3"
        assert predict(user(text)).task is not Task.CHAT, stem


def test_words_do_not_move_the_prediction() -> None:
    plain = predict(user("tell me about the harbour of this town"))
    loaded = predict(user("analyse, prove, architect, and plan the harbour"))
    assert loaded.sufficiency == plain.sufficiency


def test_an_unknown_role_is_named() -> None:
    assert "the role is not known" in predict(user("What now?")).reasons[-1]
    assert "'researcher'" in predict(user("What now?"), context=StepContext(role="researcher")).reasons[-1]


@given(st.fixed_dictionaries({name: st.floats(0, 20) for name in FEATURES}))
def test_monotone_whatever_the_features(values: dict[str, float]) -> None:
    sufficiency, _ = Weights.shipped().predict(values)
    assert list(sufficiency) == sorted(sufficiency)
    assert all(0.0 <= p <= 1.0 for p in sufficiency)


def test_features_are_those_that_are_named() -> None:
    request = ChatRequest.from_openai({"messages": [user("hi there, all")]})
    step = Step.of(request)
    assert tuple(features(step, Work.of(request, step))) == FEATURES


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"thresholds": {"budget": 3, "mid": 2, "standard": 4, "premium": 5}}, "rise from budget"),
        ({"thresholds": {"budget": 3}}, "KeyError: 'mid'"),
        ({"terms": [{"feature": "moon", "weight": 1, "because": "x"}]}, "unknown feature 'moon'"),
        ({"caution": float("nan")}, "finite"),
    ],
)
def test_bad_weights_are_named(change: dict[str, Any], names: str) -> None:
    good = {
        "version": "v",
        "caution": 0,
        "ceiling": 4.6,
        "terms": [],
        "thresholds": {"budget": 1, "mid": 2, "standard": 3, "premium": 4},
    }
    assert Weights.from_dict(good, "w.json").version == "v"
    with pytest.raises(ConfigError, match=names) as caught:
        Weights.from_dict({**good, **change}, "w.json")
    assert "w.json" in str(caught.value)
