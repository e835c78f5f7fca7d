"""`agentroute replay`, as a user sees it when something is wrong: one line, before the work, that names the remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentroute.cli import app, main

TURN = {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi."}]}


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    path = tmp_path / "traces.jsonl"
    path.write_text(json.dumps(TURN) + "\n", encoding="utf-8")
    return path


def refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path
) -> tuple[str, str]:
    """What a command that fails prints: standard output, and its one line of standard error."""
    monkeypatch.setattr("sys.argv", ["agentroute", "replay", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    shown = capsys.readouterr()
    assert len(shown.err.splitlines()) == 1, shown.err
    return shown.out, shown.err


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("missing/x.html", "does not exist; create it or name another file"),
        ("traces.jsonl/x.html", "is not a folder; name another file"),
        ("", "is a folder; name a file in it, like"),
        ("traces.jsonl", "one of the traces: it would be overwritten"),
    ],
)
def test_a_page_that_cannot_be_written_is_refused_before_anything_is_read(
    out: str,
    words: str,
    tmp_path: Path,
    traces: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read_nothing(*_: object, **__: object) -> None:
        raise AssertionError("the traces were read")

    monkeypatch.setattr("agentroute.cli.replay.replay", read_nothing)
    path = tmp_path / out
    shown, error = refused(capsys, monkeypatch, traces, "--out", path)
    assert shown == ""
    assert f"--out is {str(path)!r}" in error
    assert words in error


@pytest.mark.parametrize("content", ["", "oops\n[]\n"])
@pytest.mark.parametrize("more", [[], ["--json"], ["--explain", "1"]])
def test_traces_without_a_step_end_in_one_line_with_the_file_and_the_formats(
    content: str, more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sad.jsonl"
    path.write_text(content, encoding="utf-8")
    shown, error = refused(capsys, monkeypatch, path, *more)
    assert f"no step in {str(path)!r}" in error
    for name in ("OpenAI", "Anthropic", "tau2-bench", "step rows", "docs/replay.md"):
        assert name in error
    assert "recorded)" not in shown


def test_steps_that_no_target_can_serve_are_not_blamed_on_the_format(
    tmp_path: Path, traces: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = '[[target]]\nprovider = "house"\nmodel = "tiny"\ntier = "budget"\ncontext_window = 1\n'
    pool += 'base_url = "https://llm.example.com/v1"\n'
    config = tmp_path / "agentroute.toml"
    config.write_text(pool, encoding="utf-8")
    _, error = refused(capsys, monkeypatch, traces, "--config", config)
    assert "no target of the pool could serve" in error
    assert "tau2-bench" not in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--gap", "-1"], "the gap is -1.0; give seconds from 0 to 31,536,000"),
        (["--gap", "nan"], "the gap is nan; give seconds"),
        (["--gap", "inf"], "the gap is inf; give seconds"),
        (["--gap", "1e300"], "the gap is 1e+300; give seconds"),
        (["--explain", "0"], "explain is 0; steps count from 1"),
        (["--explain", "0", "--json"], "explain is 0; steps count from 1"),
        (["--limit", "0"], "limit is 0; steps count from 1"),
    ],
)
def test_a_senseless_number_names_its_option(
    arguments: list[str], words: str, traces: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, error = refused(capsys, monkeypatch, traces, *arguments)
    assert shown == ""
    assert words in error


def test_help_shows_the_default_strategy() -> None:
    shown = CliRunner().invoke(app, ["replay", "--help"], terminal_width=200).stdout
    assert "else balanced)" in shown.split("--strategy")[1].split("--format")[0]
