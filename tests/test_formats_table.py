"""The table of docs/formats.md is what the formats do now."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_table_is_not_stale() -> None:
    script = runpy.run_path(str(ROOT / "evals" / "formats_table.py"))
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    assert script["table"]() in page, "python evals/formats_table.py --write"


def test_nothing_that_matters_is_lost_without_a_word() -> None:
    """`other form` is only for what this list names; everything else is kept, or recorded."""
    script = runpy.run_path(str(ROOT / "evals" / "formats_table.py"))
    silent = {
        (feature, name)
        for feature in script["FEATURES"]
        for name, target in script["TARGETS"].items()
        if script["cell"](feature, target)[0] == "other form"
    }
    assert silent == {
        ("two user messages in a row", "Anthropic"),  # one message of two parts
        ("two user messages in a row", "Gemini"),
        ("two calls in parallel", "Anthropic"),  # the results stand in one message
        ("picture, URL", "Gemini"),  # with a media type, guessed from the name
        ("document, URL", "Gemini"),
        ("document, URL", "Anthropic"),  # takes URLs of PDFs only
        ("recording, URL", "Gemini"),
        ("no parallel calls", "Anthropic"),  # goes with the tool choice, which is then written
        ("JSON of a schema", "Gemini"),
        ("reasoning, own, signed", "DeepSeek"),  # its reasoning has no signatures
    }
