"""`agentroute doctor`, as a user sees it: what is wrong and what to do, at any width, as JSON, as a page."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agentroute import ChatRequest, Price, Router
from agentroute.cli import app, main
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call
from tests.replay import planted
from tests.replay.planted import Agent, Provider

SECRET = "hunter2"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two agents with a fault each, whose every text holds a secret, and whose names are markup."""
    clock, order = Agent("<b>clock</b>", Provider()), Agent("order", Provider())
    for agent in (clock, order):
        agent.messages[0]["content"][0]["text"] += SECRET
        agent.system = f"{SECRET}, it is 10:05. " + planted.words(SECRET, 2_000)
        agent.tools[0]["description"] += SECRET
        agent.run(4)
    clock.system = clock.system.replace("10:05", "10:06")
    order.tools.reverse()
    for agent in (clock, order):
        agent.run(4)
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in planted.log(clock, order)), encoding="utf-8")
    return path


def shown(*arguments: str | Path, width: int = 100) -> str:
    result = CliRunner().invoke(app, ["doctor", *map(str, arguments)], env={"COLUMNS": str(width)})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_what_is_wrong_and_what_to_do(log: Path, width: int) -> None:
    text = shown(log, width=width)
    assert max(map(len, text.splitlines())) <= width
    plain = " ".join(text.split())
    for words in (
        "text that changes by itself (a time, date or id) in message 1",
        "a tool can tell the time.",
        "the same tools in another order, from tool 1 on",
        "Sort the tools by name before each call.",
        "thrown away",
        "<b>clock</b> on claude-opus-5-5: 1 step in 1 conversation",
    ):
        assert words in plain


def test_no_text_of_a_trace_is_shown(log: Path, tmp_path: Path) -> None:
    page = tmp_path / "doctor.html"
    for text in (shown(log), shown(log, "--json", "--html", page), page.read_text(encoding="utf-8")):
        assert SECRET not in text
        assert "10:0" not in text


def test_json_says_the_same(log: Path) -> None:
    report = json.loads(shown(log, "--json").partition("wrote ")[0])
    assert [(each["agent"], each["kind"], each["position"]) for each in report["findings"]] == [
        ("<b>clock</b>", "volatile_text", 1),
        ("order", "tool_order", 1),
    ]
    assert all(each["what"] and each["do"] and not each["advice"] for each in report["findings"])
    assert report["steps"] == report["counted"] == report["timed"] == 16
    assert float(report["thrown_away"]) == pytest.approx(sum(float(each["usd"]) for each in report["findings"]))
    assert report["timeline"]["moments"][4]["kind"] in ("tool_order", "volatile_text")


class Tags(HTMLParser):
    """Checks that the tags close in order, and collects them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name in ("src", "href") or name.startswith("on") for name, _ in attrs)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_has_a_timeline_and_no_markup_of_a_trace(log: Path, tmp_path: Path) -> None:
    page = tmp_path / "doctor.html"
    shown(log, "--html", page)
    found = Tags(page.read_text(encoding="utf-8"))
    assert found.open == []
    assert {"svg", "rect", "circle", "title"} <= set(found.tags)
    assert found.tags.count("b") == 4, "the cards, and none of the names"
    assert "script" not in found.tags


def test_a_clean_log(tmp_path: Path) -> None:
    agent = Agent("coder", Provider())
    agent.run(6)
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in agent.lines), encoding="utf-8")
    page = tmp_path / "doctor.html"
    assert "Nothing found: every prompt was read as far as it could be." in shown(path, "--html", page)
    assert "Nothing found" in page.read_text(encoding="utf-8")


# -- ledgers -----------------------------------------------------------------------------------------------------------


def request(steps: int, system: str = "careful " * 2_000) -> ChatRequest:
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}, {"role": "user", "content": "go"}]
    for at in range(steps):
        call = {"id": f"c{at}", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        messages += [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"c{at}", "content": f"row {at} " * 50},
        ]
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    return ChatRequest.from_openai({"messages": messages, "tools": [tool]})


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Six steps of one conversation; before the fifth its system prompt changed."""
    from agentroute import StepContext

    path = tmp_path / "ledger.db"
    price = Price(1, 4, "0.1")  # type: ignore[arg-type]
    with ScriptedProvider(ScriptedReply(tool_calls=(tool_call("look"),))) as provider:
        target = provider.target(model="m", name="house", tier="mid", price=price, cache_ttl_s=300)
        with Router([target], ledger=path) as router:
            for steps in range(6):
                system = ("careful " if steps < 4 else "hasty   ") * 2_000
                router.complete(request(steps, system), context=StepContext(conversation_id="one", agent="clerk"))
    return path


def as_lines(ledger: Path, tmp_path: Path) -> Path:
    from agentroute.ledger.reading import read_decisions

    path = tmp_path / "ledger.jsonl"
    path.write_text("".join(json.dumps(each.to_dict()) + "\n" for each in read_decisions(ledger)), encoding="utf-8")
    return path


@pytest.mark.parametrize("form", ["database", "lines"])
def test_a_ledger_knows_what_its_router_saw(form: str, ledger: Path, tmp_path: Path) -> None:
    path = ledger if form == "database" else as_lines(ledger, tmp_path)
    report = json.loads(shown(path, "--json"))
    [found] = report["findings"]
    assert (found["kind"], found["agent"], found["model"], found["position"]) == ("system_changed", "clerk", "house", 1)
    assert float(found["usd"]) == pytest.approx(found["tokens"] * 0.9 / 1e6)
    assert report["thrown_away"] == found["usd"]
    assert report["steps"] == 6


def test_a_ledger_beside_traces(ledger: Path, log: Path) -> None:
    report = json.loads(shown(ledger, log, "--json"))
    assert report["steps"] == 6 + 16
    assert {each["kind"] for each in report["findings"]} == {"system_changed", "tool_order", "volatile_text"}


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> str:
    monkeypatch.setattr("sys.argv", ["agentroute", "doctor", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1, error
    return error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (lambda log: ["missing.jsonl"], "'missing.jsonl' is not a file; give files, folders or patterns"),
        (lambda log: [log, "--format", "word"], "--format is 'word'; use one of"),
        (lambda log: [log, "--gap", "-1"], "the gap is -1.0; give seconds from 0"),
        (lambda log: [log, "--html", log], "--html is"),
        (lambda log: [log.with_name("empty.jsonl")], "no step in"),
    ],
)
def test_one_line_says_what_is_wrong(
    arguments: Callable[[Path], list[str | Path]],
    words: str,
    log: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log.with_name("empty.jsonl").write_text("{}\n", encoding="utf-8")
    assert words in refused(capsys, monkeypatch, *arguments(log))


def test_a_model_that_nobody_knows_is_in_no_bill(tmp_path: Path) -> None:
    agent = Agent("coder", Provider(), model="house-model")
    agent.run(3)
    agent.tools.reverse()
    agent.run(3)
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in agent.lines), encoding="utf-8")
    text = shown(path)
    assert "6 steps without a known price, in no bill (house-model)" in text
    config = tmp_path / "agentroute.toml"
    config.write_text(
        '[[target]]\nname = "mine"\nprovider = "anthropic"\nmodel = "house-model"\ntier = "mid"\n'
        'api_key = "env:NO_SUCH_KEY"\n'
        'cache_ttl_s = 300\nprice = { input = "4", output = "20", cache_read = "0.2", cache_write = "5" }\n',
        encoding="utf-8",
    )
    [found] = json.loads(shown(path, "--config", config, "--json"))["findings"]
    assert (found["kind"], found["model"]) == ("tool_order", "mine")
