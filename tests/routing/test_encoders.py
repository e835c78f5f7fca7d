"""Encoders: vectors of length 1 by meaning; a missing extra is named."""

from __future__ import annotations

import pickle
import sys
from types import ModuleType
from typing import Any

import numpy
import pytest

from agentroute.errors import ConfigError
from agentroute.routing import encoders
from agentroute.routing.encoders import Index, SentenceTransformerEncoder, StaticEncoder, encoder_named


@pytest.fixture(scope="module")
def static() -> StaticEncoder:
    return StaticEncoder()


def test_like_texts_lie_nearer(static: StaticEncoder) -> None:
    one, like, other = static.encode(["Summarise this report.", "Give me a summary of the report.", "Fix the build."])
    assert one @ like > one @ other + 0.2


@pytest.mark.parametrize("text", ["", " ", "a", "ü" * 5000, "\ud800", "<s> </s>", "word " * 50_000])
def test_any_text_has_a_vector(static: StaticEncoder, text: str) -> None:
    (row,) = static.encode([text])
    assert row.shape == (256,)
    assert numpy.isfinite(row).all()
    assert numpy.linalg.norm(row) == pytest.approx(1.0, abs=1e-4) or not row.any()


def test_only_the_ends_are_read(static: StaticEncoder) -> None:
    first, second = static.encode(["a" * 1000 + middle + "b" * 1000 for middle in ("x" * 500, "y" * 90_000)])
    assert (first == second).all()


def test_a_text_does_not_depend_on_its_batch(static: StaticEncoder) -> None:
    texts = ["short", "a text of some more words than the others", ""]
    alone = numpy.concatenate([static.encode([text]) for text in texts])
    assert numpy.allclose(static.encode(texts), alone)


def test_nearest_others_skips_the_text_itself(static: StaticEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "_ROWS", 2)
    texts = ["sort a list", "book a flight", "sort the list", "book me a flight", "sort lists"]
    places = [place for place, _ in Index(static, texts).nearest_others()]
    assert places[1] == 3
    assert places[3] == 1
    assert all(place != own for own, place in enumerate(places))


def test_it_is_pickled_by_name(static: StaticEncoder) -> None:
    data = pickle.dumps(static)
    assert len(data) < 500
    assert (pickle.loads(data).encode(["one"]) == static.encode(["one"])).all()


@pytest.mark.parametrize(("name", "says"), [("", "none"), ("bert", "none"), ("sentence-transformers:", "none")])
def test_unknown_names(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        encoder_named(name)


def test_a_missing_wordllama_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "agentroute-llm\[examples\]"'):
        encoder_named("static")


def test_missing_sentence_transformers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ConfigError, match=r'pip install "agentroute-llm\[sentence-transformers\]"'):
        encoder_named("sentence-transformers:some/model")


class _Model:
    def __init__(self, source: str, device: str) -> None:
        if source == "gone":
            raise OSError("gone does not exist")

    def encode(self, texts: list[str], **options: Any) -> Any:
        assert options["normalize_embeddings"]
        return numpy.ones((len(texts), 4)) / 2


def test_a_sentence_transformer(monkeypatch: pytest.MonkeyPatch) -> None:
    library = ModuleType("sentence_transformers")
    library.SentenceTransformer = _Model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    encoder = encoder_named("sentence-transformers:models/MiniLM")
    assert isinstance(encoder, SentenceTransformerEncoder)
    assert encoder.name == "MiniLM"
    assert encoder.encode(["x", "y" * 9000]).shape == (2, 4)
    with pytest.raises(ConfigError, match="'gone' cannot be read: gone does not exist"):
        encoder_named("sentence-transformers:gone")
