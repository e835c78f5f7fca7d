"""Turns text into vectors so that texts of like meaning lie near each other. The only file that uses numpy.

Both encoders are options: `pip install "agentroute-llm[examples]"` brings the static one (16 MB, about .1 ms for 32
tokens of text), `"agentroute-llm[sentence-transformers]"` any model of that library (5 to 50 ms on a CPU).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from agentroute.errors import ConfigError

__all__ = ["Encoder", "Index", "SentenceTransformerEncoder", "StaticEncoder", "encoder_named"]

_ENDS = 1000
"""Characters of the beginning and of the end that are read: what lies between says little about the task."""

_ROWS = 512
"""Texts that are compared with all others at once, so that 10,000 examples need 20 MB and not 400."""


class Encoder(Protocol):
    """Gives each text a vector of length 1 (an array of shape `(len(texts), dimensions)`). No network in `encode`."""

    @property
    def name(self) -> str: ...

    def encode(self, texts: Sequence[str]) -> Any: ...


class StaticEncoder:
    """The mean of one fixed vector a token, from the two files that the wordllama wheel carries (MIT, 256 dimensions).

    Raises ConfigError naming the extra if they are not installed.
    """

    name = "wordllama-l2-256"

    def __init__(self) -> None:
        spec = find_spec("wordllama")
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError('the static encoder needs wordllama: pip install "agentroute-llm[examples]"')
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        root = Path(spec.submodule_search_locations[0])
        (self._vectors,) = load_file(root / "weights" / "l2_supercat_256.safetensors").values()
        self._tokenizer = Tokenizer.from_file(str(root / "tokenizers" / "l2_supercat_tokenizer_config.json"))
        self._tokenizer.no_padding()

    def encode(self, texts: Sequence[str]) -> Any:
        import numpy

        rows = numpy.zeros((len(texts), self._vectors.shape[1]), dtype=numpy.float32)
        read = self._tokenizer.encode_batch([_ends(text) for text in texts], add_special_tokens=False)
        for row, tokens in zip(rows, read, strict=True):
            if tokens.ids:
                numpy.mean(self._vectors[tokens.ids], axis=0, dtype=numpy.float32, out=row)
        return rows / numpy.maximum(numpy.linalg.norm(rows, axis=1, keepdims=True), 1e-9)

    def __reduce__(self) -> tuple[type[StaticEncoder], tuple[()]]:
        return StaticEncoder, ()


class SentenceTransformerEncoder:
    """A model of sentence-transformers, by folder or by name (the library fetches a name that it does not hold yet).

    Raises ConfigError naming the extra if the library is not installed, or saying why the model cannot be read.
    """

    def __init__(self, model: str) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise ConfigError(
                f"the encoder {model!r} needs sentence-transformers: "
                'pip install "agentroute-llm[sentence-transformers]"'
            ) from None
        try:
            self._model = SentenceTransformer(model, device="cpu")
        except (OSError, ValueError) as error:
            raise ConfigError(f"the encoder {model!r} cannot be read: {error}") from None
        self._source = model
        self.name = Path(model).name

    def encode(self, texts: Sequence[str]) -> Any:
        return self._model.encode(
            [_ends(text) for text in texts], normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        )

    def __reduce__(self) -> tuple[type[SentenceTransformerEncoder], tuple[str]]:
        return SentenceTransformerEncoder, (self._source,)


class Index:
    """Texts by their vectors. `nearest` answers with a text's position and its cosine similarity (-1 to 1)."""

    def __init__(self, encoder: Encoder, texts: Sequence[str]) -> None:
        self._vectors = encoder.encode(texts)

    def nearest(self, vectors: Any) -> list[tuple[int, float]]:
        """For each vector, which text lies nearest and how near."""
        return _best(vectors @ self._vectors.T)

    def nearest_others(self) -> list[tuple[int, float]]:
        """For each text of the index, which *other* text lies nearest and how near."""
        found: list[tuple[int, float]] = []
        for start in range(0, len(self._vectors), _ROWS):
            near = self._vectors[start : start + _ROWS] @ self._vectors.T
            for row in range(len(near)):
                near[row, start + row] = -2.0
            found += _best(near)
        return found


def encoder_named(name: str) -> Encoder:
    """The encoder that a configuration names: `static`, or `sentence-transformers:MODEL`. Raises ConfigError."""
    kind, _, model = name.partition(":")
    if name == "static":
        return StaticEncoder()
    if kind == "sentence-transformers" and model:
        return SentenceTransformerEncoder(model)
    raise ConfigError(f'encoder: {name!r} is none; write "static" or "sentence-transformers:MODEL" (folder or name)')


def _best(near: Any) -> list[tuple[int, float]]:
    places = near.argmax(axis=1)
    return [(int(place), float(row[place])) for row, place in zip(near, places, strict=True)]


def _ends(text: str) -> str:
    """What is read of a text, without the halves of characters that tokenizers refuse."""
    read = text if len(text) <= 2 * _ENDS else text[:_ENDS] + "\n" + text[-_ENDS:]
    return read.encode("utf-8", "replace").decode("utf-8")
