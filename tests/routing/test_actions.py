"""What a tool call does, read from its name and command."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute.routing.actions import action


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("find . -name x | grep foo | head -3", "search"),
        ("ls -la 2>/dev/null", "search"),
        ("cd /testbed && sed -n '1,20p' a.py && git diff", "read"),
        ("cat patch.txt", "read"),
        ("git status --short", "read"),
        ("cd /t && python - <<'PY'\nfrom pathlib import Path\nPath('a').write_text('x')\nPY\nsed -n '1,3p' a", "edit"),
        ("sed -i 's/a/b/' x.py", "edit"),
        ("cat > a.py <<'EOF'\nimport x\nEOF", "edit"),
        ("apply_patch <<'EOF'\n*** Begin Patch\nEOF", "edit"),
        ("git diff -- a.py > patch.txt", "write"),
        ("git add -A && git commit -m x", "write"),
        ("pip install -q numpy", "write"),
        ("rm -rf build", "write"),
        ("cd /testbed && python - <<'PY'\nif a > b: print(1)\nPY", "run"),
        ("python /testbed/reproduce.py", "run"),
        ("python manage.py migrate", "run"),
        ("./build.sh", "run"),
        ("cd /t && python -m pytest -q 2>&1 | head", "test"),
        ("npm test", "test"),
        ("PYTHONPATH=. ./runtests.py foo", "test"),
        ("go test ./...", "test"),
        ("cargo test", "test"),
        ("make check", "test"),
    ],
)
@pytest.mark.parametrize("tool", ["bash", "execute_command", "mcp__box__run_shell"])
def test_commands(tool: str, command: str, expected: str) -> None:
    assert action(tool, json.dumps({"command": command})) == expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [("cd a\npytest -q", "test"), ("sed -i 's/a:b/c/' x.py", "edit"), ("cat > a.py <<'EOF'\nrm -rf x\nEOF", "edit")],
)
def test_a_bare_command_is_read_like_one_in_json(command: str, expected: str) -> None:
    assert action("bash", command) == action("bash", json.dumps({"command": command})) == expected


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("read_file", "{}", "read"),
        ("getUserDetails", "{}", "read"),
        ("search_direct_flight", "{}", "search"),
        ("Grep", "{}", "search"),
        ("str_replace_editor", '{"command": "view", "path": "a"}', "read"),
        ("str_replace_editor", '{"command": "str_replace", "path": "a"}', "edit"),
        ("apply_patch", "{}", "edit"),
        ("MultiEdit", "{}", "edit"),
        ("cancel_reservation", "{}", "write"),
        ("mcp__github__create_issue", "{}", "write"),
        ("run_tests", "{}", "run"),
        ("calculate", "{}", "run"),
        ("send_email", "{}", "message"),
        ("transfer_to_human_agents", "{}", "delegate"),
        ("handoff_to_billing", "{}", "delegate"),
        ("Task", "{}", "delegate"),
        ("frobnicate", "{}", "other"),
        ("", "", "other"),
    ],
)
def test_names(name: str, arguments: str, expected: str) -> None:
    assert action(name, arguments) == expected


@given(st.text(max_size=40), st.text(max_size=900))
def test_any_call_has_an_action(name: str, arguments: str) -> None:
    assert action(name, arguments) == action(name, arguments)
    assert action("bash", arguments) in ("read", "search", "edit", "write", "test", "run")
