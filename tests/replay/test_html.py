"""The page holds the report, fetches nothing and lets no text of a trace become markup."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from agentroute import Router, Target
from agentroute.replay import ReplayReport, replay
from agentroute.replay.html import page

Write = Callable[..., Path]

EVIL = "<script>alert(1)</script>\"'&"


class Reader(HTMLParser):
    """Collects tags and attributes, and checks that the tags close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def report(write: Write, make_target: Callable[..., Target]) -> ReplayReport:
    """A replay in which everything that comes from outside carries markup."""
    pool = [make_target(f"small{EVIL}", "budget", "1", "2"), make_target("large", "premium", "10", "20")]
    ask = {"role": "user", "content": EVIL}
    answer = {"role": "assistant", "content": "x", "usage": {"prompt_tokens": 9, "completion_tokens": 1}}
    lines: list[dict[str, Any]] = [
        {"id": EVIL, "messages": [ask, {"role": EVIL}]},
        {"id": EVIL, "messages": [ask], "target_tier": "high"},
        {"domain": EVIL, "task_id": "1", "agent_llm": EVIL, "reward": 1, "messages": [ask, answer]},
    ]
    return replay(write(*lines, name="a<b>&.jsonl"), Router(targets=pool))


def test_nothing_from_a_trace_becomes_markup(report: ReplayReport) -> None:
    text = page(report)
    assert report.malformed == 1
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4, "the texts are there, escaped"
    reader = Reader(text)
    assert reader.open == []
    assert "script" not in reader.tags
    assert not [name for name, _ in reader.attributes if name.startswith("on")]


def test_the_page_fetches_nothing(report: ReplayReport) -> None:
    text = page(report)
    reader = Reader(text)
    assert not {"link", "img", "iframe", "object", "embed", "image", "use", "base", "form"} & set(reader.tags)
    assert not [name for name, _ in reader.attributes if name in ("src", "href", "srcset", "xlink:href", "action")]
    assert not re.search(r"url\s*\(|@import", text)
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in reader.attributes


def test_the_pictures_show_every_way_to_run_the_steps(report: ReplayReport) -> None:
    pictures = re.findall(r"<svg.*?</svg>", page(report), re.DOTALL)
    assert len(pictures) == 2
    for picture in pictures:
        for name in ("cheapest", "balanced", "best", "large"):
            assert f">{name}</text>" in picture
        assert "nan" not in picture.lower()
    bars, points = pictures
    assert bars.count("<rect") == 2 * 5
    assert points.count("<circle") == 5


def test_charts_fit_a_phone_and_say_what_they_show(report: ReplayReport) -> None:
    text = page(report)
    assert "minmax(min(440px, 100%), 1fr)" in text
    assert text.count("<figure><h3>") == 2
    assert "USD, modelled</text>" in text
    assert re.search(r"rotate\(-90[^>]*>(mean P|share of steps)", text)


def test_a_column_without_a_value_is_not_there(report: ReplayReport) -> None:
    labelled = any(each.needed is not None for each in report.least_sure)
    assert (">needed</th>" in page(report)) is labelled
    unlabelled = replace(report, least_sure=tuple(replace(each, needed=None) for each in report.least_sure))
    assert ">needed</th>" not in page(unlabelled)


def test_the_table_has_the_figures_of_the_report(report: ReplayReport) -> None:
    text = page(report)
    bill = report.singles["large"]
    assert bill.list_usd is not None
    assert f"${bill.list_usd:,.4f}" in text
    assert "does not know whether a cheaper model would have succeeded" in text


def test_a_free_pool_and_an_empty_replay_have_a_page_too(write: Write) -> None:
    free = Router(targets=[Target(provider="ollama", model="qwen3:8b", tier="budget")])
    asked = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}
    assert "<svg" in page(replay(write(asked), free))
    assert "1 line without a step" in page(replay(write("oops"), free))
