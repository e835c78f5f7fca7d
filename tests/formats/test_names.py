"""Names of tools that a provider refuses: another one, always the same, never that of another tool."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute.formats.names import wire_names

ANTHROPIC = ("[a-zA-Z0-9_-]{1,128}", 128)
OPENAI = ("[A-Za-z0-9_-]{1,64}", 64)
GEMINI = ("[A-Za-z_][A-Za-z0-9_.:-]{0,127}", 128)
LONG = "mcp__devtools_mcp_chrome_devtools_performance_analyze_insight_one_xy"


@pytest.mark.parametrize(
    ("name", "rule", "new"),
    [
        ("admin.tools.list", ANTHROPIC, r"admin_tools_list_[0-9a-f]{6}"),
        ("github/create issue", OPENAI, r"github_create_issue_[0-9a-f]{6}"),
        (LONG, OPENAI, LONG[:57] + r"_[0-9a-f]{6}"),
        ("7zip", GEMINI, r"_7zip_[0-9a-f]{6}"),
        ("werkzeug/größe", GEMINI, r"werkzeug_gr__e_[0-9a-f]{6}"),
        ("", OPENAI, r"_[0-9a-f]{6}"),
    ],
)
def test_a_refused_name_gets_one_that_is_taken(name: str, rule: tuple[str, int], new: str) -> None:
    found = wire_names([name, "grep"], *rule)
    assert list(found) == [name]
    assert re.fullmatch(new, found[name])
    assert re.fullmatch(rule[0], found[name])


@pytest.mark.parametrize("name", ["grep", "admin.tools:list", "a" * 128])
def test_names_that_are_taken_stay(name: str) -> None:
    assert wire_names([name], *GEMINI) == {}


def test_the_new_name_does_not_depend_on_the_other_tools() -> None:
    alone = wire_names(["a.b"], *OPENAI)["a.b"]
    assert wire_names(["x/y", "a_b", "a.b", "a/b"], *OPENAI)["a.b"] == alone


def test_a_tool_that_has_the_new_name_already_is_not_hit() -> None:
    new = wire_names(["a.b"], *OPENAI)["a.b"]
    found = wire_names([new, "a.b"], *OPENAI)
    assert list(found) == ["a.b"]
    assert found["a.b"] != new


@given(st.lists(st.text(max_size=80), unique=True), st.sampled_from([ANTHROPIC, OPENAI, GEMINI]))
def test_no_two_names_become_one_and_all_are_taken(names: list[str], rule: tuple[str, int]) -> None:
    found = wire_names(names, *rule)
    sent = [found.get(name, name) for name in names]
    assert len(set(sent)) == len(sent)
    assert all(re.fullmatch(rule[0], name) for name in sent)


def test_without_a_rule_nothing_is_renamed() -> None:
    assert wire_names(["a.b", "x" * 500], None, None) == {}
