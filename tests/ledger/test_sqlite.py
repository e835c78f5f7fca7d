"""The ledger in a file: nothing lost, nothing invented, the call never waits, and what was dropped is seen."""

from __future__ import annotations

import gc
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from agentroute import Budget, ChatRequest, Constraints, Price, Router
from agentroute.cli import app
from agentroute.decisions import Attempt, Decision, StepContext
from agentroute.errors import ConfigError
from agentroute.ledger import MemoryLedger, Spending, SqliteLedger, Totals
from agentroute.ledger.budget import Place
from agentroute.ledger.entries import Entry
from agentroute.ledger.reading import read_entries, read_totals
from agentroute.ledger.schema import MIGRATIONS, prepare
from agentroute.messages import Usage
from agentroute.targets import Tier
from agentroute.testing import Fault, ScriptedProvider
from tests.test_decisions import DECISION

DONE = replace(
    DECISION,
    attempts=(
        Attempt("big", "failed", 0.0, 0.2, error="RateLimited", error_text="slow down", status=429),
        Attempt(
            "small",
            "ok",
            0.25,
            1.0,
            first_content_s=0.5,
            usage=Usage(101, 7),
            cost=Decimal("0.00012"),
            possible_duplicate_cost=True,
            changes=("`seed` left out: Anthropic has no such setting",),
        ),
    ),
    usage=Usage(101, 7),
    cost=Decimal("0.00012"),
    outcome="ok",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ledger.db"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process in the midst of a long transaction: the writer waits."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def made(number: int, **facts: object) -> Decision:
    at = datetime(2026, 11, 24, tzinfo=UTC) + timedelta(hours=number)
    return replace(DONE, id=f"d{number}", created_at=at, **facts)  # type: ignore[arg-type]


def test_what_is_appended_is_read_back_equal(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        ledger.append(DONE)
        assert list(ledger.decisions) == [DONE]
        assert ledger.totals == Totals.of(DONE)
        assert ledger.gaps == ()
    with SqliteLedger(path) as ledger:
        assert list(ledger.decisions) == [DONE]


def test_the_columns_beside_the_json(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        ledger.append(DONE)
    query = "SELECT created_at, day, cost, savings, attempts, fallbacks, duplicates, duration_s, first_content_s"
    (row,) = rows(path, f"{query} FROM decisions")
    assert row == ("2026-11-24T12:00:00.000000+00:00", "2026-11-24", "0.00012", "0.00988", 2, 1, 1, 1.25, 0.75)


def test_reads_by_time_and_key_in_either_order(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        for number in (2, 0, 1, 3):
            ledger.append(made(number, target="even" if number % 2 == 0 else "odd"))
        start = made(0).created_at
        assert [d.id for d in ledger.decisions] == ["d0", "d1", "d2", "d3"]
        assert [d.id for d in ledger.select(newest_first=True, target="odd")] == ["d3", "d1"]
        later = ledger.select(since=start + timedelta(hours=1), until=start + timedelta(hours=3))
        assert [d.id for d in later] == ["d1", "d2"]
        assert [d.id for d in ledger.select(agent="coder", role=None)] == ["d0", "d1", "d2", "d3"]
        with pytest.raises(ConfigError, match="cannot be chosen by 'model'; use day, target"):
            list(ledger.select(model="x"))


def test_reading_is_lazy(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        for number in range(50):
            ledger.append(made(number))
        found = iter(ledger.decisions)
        assert next(found).id == "d0"
        ledger.append(made(50))
        found.close()  # type: ignore[attr-defined]


# -- a full queue --------------------------------------------------------------------------------------------------


def test_a_full_queue_keeps_the_totals_and_leaves_a_gap(path: Path) -> None:
    ledger = SqliteLedger(path, queue_size=20)
    expected = Totals()
    with locked(path):
        for number in range(200):
            decision = made(number, cost=None if number % 10 == 0 else Decimal(number) / 10**12)
            expected += Totals.of(decision)
            ledger.append(decision)
    kept = list(ledger.decisions)
    gaps = ledger.gaps
    ledger.close()
    assert 20 <= len(kept) < 200
    assert len(kept) + sum(gap.totals.steps for gap in gaps) == 200
    assert ledger.totals == expected
    missing = {f"d{number}" for number in range(200)} - {decision.id for decision in kept}
    times = [made(int(name[1:])).created_at for name in missing]
    assert (gaps[0].since, max(gap.until for gap in gaps)) == (min(times), max(times))
    found = sum((gap.totals for gap in gaps), Totals())
    assert found + sum(map(Totals.of, kept), Totals()) == expected


def test_a_decision_that_cannot_be_stored_is_counted_in_a_gap(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with SqliteLedger(path) as ledger:
        ledger.append(replace(DONE, context=StepContext(agent="half \ud83d")))
        ledger.append(replace(DONE, context=StepContext(agent={"a": 1})))  # type: ignore[arg-type]
        ledger.append(DONE)
        assert list(ledger.decisions) == [DONE]
        assert ledger.gaps[0].totals.steps == 2
        assert ledger.totals.steps == 3
        assert ledger.failures == 0
    assert "cannot be stored" in caplog.text


@pytest.mark.parametrize("bad", [{0}, {31, 32}, {5, 40, 69}, set(range(40)), set()])
def test_one_that_cannot_be_stored_keeps_no_other_out(path: Path, bad: set[int]) -> None:
    """Decisions are written many to a statement."""
    all_of_them = [made(number) for number in range(70)]
    with SqliteLedger(path) as ledger:
        for number, decision in enumerate(all_of_them):
            agent = "half \ud83d" if number in bad else None
            ledger.append(replace(decision, context=StepContext(agent=agent)))
        assert [decision.id for decision in ledger.decisions] == [f"d{n}" for n in range(70) if n not in bad]
        assert sum(gap.totals.steps for gap in ledger.gaps) == len(bad)
        assert ledger.totals == sum(map(Totals.of, all_of_them), Totals())
        assert ledger.failures == 0


MONEY = st.none() | (st.integers(0, 10**15) | st.integers(10**30, 10**33)).map(lambda n: Decimal(f"{n}e-15"))
"""Wider than the 28 digits that decimals keep by default."""


@settings(max_examples=25)
@given(steps=st.lists(st.tuples(MONEY, MONEY, st.sampled_from(["ok", "failed"])), max_size=30), size=st.integers(1, 40))
def test_totals_are_exact_sums(
    steps: list[tuple[Decimal | None, Decimal | None, str]], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    memory = MemoryLedger()
    cost = baseline = savings = Fraction(0)
    with SqliteLedger(path, queue_size=size) as ledger:
        for spent, instead, outcome in steps:
            decision = replace(DONE, cost=spent, baseline_cost=instead, outcome=outcome)
            ledger.append(decision)
            memory.append(decision)
            cost += Fraction(spent or 0)
            if outcome == "ok" and spent is not None and instead is not None:
                baseline, savings = baseline + Fraction(instead), savings + Fraction(instead - spent)
        unpriced = sum(spent is None for spent, _, _ in steps)
        totals = ledger.totals
        assert totals == memory.totals
        assert (totals.steps, totals.unpriced) == (len(steps), unpriced)
        assert tuple(map(Fraction, (totals.cost, totals.baseline_cost, totals.savings))) == (cost, baseline, savings)


# -- what can go wrong with the file -------------------------------------------------------------------------------


def test_a_disk_that_is_full_then_not(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ledger = SqliteLedger(path, flush_s=0.01)
    ledger.append(made(0))
    assert ledger.flush()
    aside = path.with_suffix(".away")
    path.rename(aside)
    path.mkdir()
    ledger.close()
    ledger.append(made(1))
    assert not ledger.flush()
    ledger.append(made(2))
    assert not ledger.flush()
    path.rmdir()
    aside.rename(path)
    assert ledger.flush()
    assert [d.id for d in ledger.decisions] == ["d0", "d1", "d2"]
    assert ledger.totals.steps == 3
    assert ledger.failures >= 2
    ledger.close()
    assert caplog.text.count("cannot be written") == 1


def test_closing_over_a_dead_file_says_what_is_lost(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ledger = SqliteLedger(path, flush_s=0.01)
    for beside in path.parent.iterdir():
        beside.unlink()
    path.mkdir()
    ledger.append(DONE)
    ledger.close()
    assert "closed with decisions that could not be written" in caplog.text


def test_another_process_in_a_long_transaction_loses_nothing(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        with locked(path):
            for number in range(5):
                ledger.append(made(number))
        assert len(list(ledger.decisions)) == 5


@pytest.mark.parametrize("content", [b"no database at all, only text " * 40, b"SQLite format 3\0" + bytes(500)])
def test_a_damaged_file_is_refused_by_name(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    for open_it in (SqliteLedger, read_totals):
        with pytest.raises(ConfigError, match=r"ledger\.db.*(move it away|name another file)"):
            open_it(path)
    assert path.read_bytes() == content


def test_a_newer_file_is_refused_with_the_remedy(path: Path) -> None:
    SqliteLedger(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    for open_it in (SqliteLedger, read_totals):
        with pytest.raises(
            ConfigError, match=rf"ledger\.db' has version 99, this agentroute knows {len(MIGRATIONS)}; upgrade"
        ):
            open_it(path)


def test_another_programs_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
    for open_it in (SqliteLedger, read_totals):
        with pytest.raises(ConfigError, match="another program's database"):
            open_it(path)
    assert rows(path, "SELECT name FROM sqlite_master") == [("customers",)]


def test_an_older_file_is_brought_up_to_date(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        ledger.append(DONE)
    newer = (*MIGRATIONS, ("ALTER TABLE decisions ADD COLUMN note TEXT", "CREATE INDEX notes ON decisions (note)"))
    prepare(path, newer)
    prepare(path, newer)
    assert rows(path, "SELECT id, note FROM decisions") == [("d1", None)]
    assert rows(path, "PRAGMA user_version") == [(len(newer),)]
    broken = (*newer, ("ALTER TABLE decisions ADD COLUMN half TEXT", "no SQL"))
    with pytest.raises(ConfigError, match=r"ledger\.db"):
        prepare(path, broken)
    assert rows(path, "PRAGMA user_version") == [(len(newer),)]
    assert "half" not in str(rows(path, "SELECT sql FROM sqlite_master"))


def test_a_file_of_the_first_version_keeps_its_steps_and_learns_who_made_the_figure(path: Path) -> None:
    prepare(path, MIGRATIONS[:1])
    with closing(sqlite3.connect(path)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(decisions)")]
        assert "cost_source" not in columns
        unknown = dict.fromkeys(("baseline_cost", "savings", "duration_s", "first_content_s"))
        facts = {**unknown, "id": "old", "cost": "0.5", "seq": 1, "attempts": 1, "fallbacks": 0, "duplicates": 0}
        connection.execute(
            f"INSERT INTO decisions ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
            [facts.get(name, "") for name in columns],
        )
        connection.commit()
    with SqliteLedger(path) as ledger:
        ledger.append(DONE)
    found = {entry.id: entry for entry in read_entries(path)}
    assert (found["old"].cost, found["old"].cost_source, found["old"].cost_problem) == (Decimal("0.5"), None, None)
    assert found["d1"].cost == DONE.cost


def test_a_file_of_the_second_version_keeps_its_decisions_and_counts_in_budgets(path: Path) -> None:
    old = {**DONE.to_dict(), "schema_version": 1}
    del old["explored"], old["propensity"]
    prepare(path, MIGRATIONS[:2])
    with closing(sqlite3.connect(path)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(decisions)")]
        assert "key" not in columns
        facts = {**asdict(Entry.of(DONE)), "seq": 1, "writer": "w", "decision": json.dumps(old)}
        values = [str(facts[name]) if isinstance(facts[name], Decimal) else facts[name] for name in columns]
        connection.execute(f"INSERT INTO decisions VALUES ({', '.join('?' * len(columns))})", values)
        connection.commit()
    with SqliteLedger(path) as ledger:
        assert list(ledger.decisions) == [replace(DONE, propensity=None)]
        spending = Spending()
        spending.follow(Budget(day=5), ledger, DONE.created_at, 0.0)
        day = Place("all", "", "day", f"{DONE.created_at:%Y-%m-%d}")
        hold = spending.reserve([(day, Decimal(5))], Decimal(0), Decimal(0), DONE.created_at, 0.0)
        assert spending.spent(day) == (DONE.cost, 0, 0)
        del hold


def test_the_missing_file_of_a_reader_is_not_made(path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no ledger"):
        read_totals(path)
    assert not path.parent.exists()


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_only_the_owner_may_read(path: Path) -> None:
    before = os.umask(0)
    try:
        with SqliteLedger(path) as ledger:
            ledger.append(DONE)
            ledger.flush()
            modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}


# -- processes, threads, finalizers --------------------------------------------------------------------------------


def run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_exit_flushes_what_nobody_closed(path: Path) -> None:
    code = """
import sys
import threading
from agentroute.ledger import SqliteLedger
from tests.test_decisions import DECISION
ledger = SqliteLedger(sys.argv[1])
ledger.append(DECISION)
"""
    run(code, str(path))
    assert read_totals(path).steps == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_writes_for_itself_alone(path: Path) -> None:
    code = """
import os, sys, warnings
from dataclasses import asdict, replace
from agentroute.ledger import SqliteLedger
from tests.test_decisions import DECISION
warnings.simplefilter("ignore")
ledger = SqliteLedger(sys.argv[1])
for n in range(3):
    ledger.append(replace(DECISION, id=f"parent-{n}"))
ledger.flush()
ledger.append(replace(DECISION, id="parent-3"))
child = os.fork()
if child == 0:
    for n in range(5):
        ledger.append(replace(DECISION, id=f"child-{n}"))
    ledger.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
ledger.append(replace(DECISION, id="parent-4"))
ledger.close()
"""
    run(code, str(path))
    found = [row[0] for row in rows(path, "SELECT id FROM decisions ORDER BY id")]
    assert found == [f"{who}-{n}" for who in ("child", "parent") for n in range(5)]
    assert read_totals(path).steps == 10
    assert rows(path, "SELECT count(*) FROM totals") == [(2,)]


def test_an_append_out_of_a_finalizer_inside_an_append(path: Path) -> None:
    """A collection may run anywhere, and an abandoned stream appends when it is collected."""

    class Abandoned:
        def __init__(self, ledger: SqliteLedger | MemoryLedger) -> None:
            self.ledger = ledger
            self.itself = self

        def __del__(self) -> None:
            self.ledger.append(DONE)

    memory = MemoryLedger()
    ledger = SqliteLedger(path, queue_size=1)
    before = gc.get_threshold()
    gc.set_threshold(7)
    try:
        for _ in range(100):
            Abandoned(ledger)
            Abandoned(memory)
            ledger.append(DONE)
            memory.append(DONE)
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert ledger.totals.steps == memory.totals.steps == 200
    ledger.close()


def test_closed_and_used_again(path: Path) -> None:
    ledger = SqliteLedger(path)
    ledger.close()
    ledger.append(DONE)
    ledger.close()
    ledger.append(DONE)
    assert ledger.totals.steps == 2
    ledger.close()


@pytest.mark.parametrize(("facts", "words"), [({"queue_size": 0}, "queue_size"), ({"flush_s": 0.5}, "flush_s")])
def test_senseless_settings_are_refused(path: Path, facts: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SqliteLedger(path, **facts)  # type: ignore[arg-type]


# -- what a ledger must not hold -----------------------------------------------------------------------------------


def test_no_prompt_no_answer_and_no_key_lies_in_the_file(path: Path) -> None:
    canaries = {name: f"canary-{name}-7f3a" for name in ("prompt", "system", "answer", "tool", "argument", "key")}
    request = ChatRequest.from_openai(
        {
            "messages": [
                {"role": "system", "content": canaries["system"]},
                {"role": "user", "content": f"Read {canaries['prompt']}"},
                {
                    "role": "assistant",
                    "tool_calls": [
                        {
                            "id": "c1",
                            "type": "function",
                            "function": {"name": "read", "arguments": json.dumps({"path": canaries["argument"]})},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "c1", "content": canaries["tool"]},
            ]
        }
    )
    with (
        ScriptedProvider(canaries["answer"], api_key=canaries["key"]) as provider,
        ScriptedProvider("never", fault=Fault.error(503)) as sick,
        SqliteLedger(path) as ledger,
    ):
        targets = [
            provider.target(model="well", tier="premium", price=Price(Decimal(5), Decimal(15))),
            sick.target(model="sick", tier="budget", price=Price(Decimal(1), Decimal(2))),
        ]
        with Router(targets=targets, ledger=ledger, strategy="cheapest") as router:
            assert router.complete(request).text == canaries["answer"]
            router.complete(request, constraints=Constraints(tier="premium"))
        (first, second) = ledger.decisions
        assert (first.outcome, second.outcome) == ("ok", "ok")
        written = b"".join(file.read_bytes() for file in path.parent.iterdir())
    written += path.read_bytes()
    assert first.request_digest.encode() in written
    for text in canaries.values():
        assert text.encode() not in written


def test_the_json_is_readable_by_others(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        ledger.append(replace(DONE, warnings=("half \ud83d",)))
    (row,) = rows(path, "SELECT json_extract(decision, '$.tier'), decision FROM decisions")
    assert row[0] == Tier.BUDGET.value
    assert json.loads(str(row[1]))["warnings"] == ["half \ud83d"]


# -- given by its path ---------------------------------------------------------------------------------------------


def test_a_router_opens_and_closes_the_ledger_whose_path_it_is_given(path: Path) -> None:
    with ScriptedProvider("Hello.") as provider:
        targets = [provider.target(model="m", tier="mid")]
        with Router(targets=targets, ledger=path) as router:
            router.complete(ChatRequest.from_openai({"messages": [{"role": "user", "content": "hi"}]}))
        assert read_totals(path).steps == 1
        assert not any(thread.name == "agentroute-ledger" for thread in threading.enumerate())


def test_a_config_file_names_it_beside_itself_and_commands_that_decide_do_not_make_it(tmp_path: Path) -> None:
    config = tmp_path / "agentroute.toml"
    text = '[[target]]\nprovider = "ollama"\nmodel = "m"\ntier = "mid"\n'
    config.write_text(f'ledger = "kept/ledger.db"\n{text}')
    runner = CliRunner()
    assert runner.invoke(app, ["route", "hi", "--config", str(config)]).exit_code == 0
    assert not (tmp_path / "kept").exists()
    with Router.from_config(config) as router:
        assert isinstance(router.ledger, SqliteLedger)
        assert router.ledger.path == tmp_path / "kept" / "ledger.db"
    config.write_text(f'ledger = "memory"\n{text}')
    assert isinstance(Router.from_config(config).ledger, MemoryLedger)
    (tmp_path / "text.db").write_text("no database " * 50)
    config.write_text(f'ledger = "text.db"\n{text}')
    with pytest.raises(ConfigError, match=r"agentroute\.toml: the ledger .*text\.db"):
        Router.from_config(config)


def test_decisions_have_one_shape_in_a_file_and_in_memory(tmp_path: Path) -> None:
    memory = MemoryLedger()
    with SqliteLedger(tmp_path / "l.db") as file:
        for ledger in (memory, file):
            for number in range(5):
                ledger.append(replace(DONE, id=f"d{number}"))
        for decisions in (memory.decisions, file.decisions):
            assert [d.id for d in decisions] == ["d0", "d1", "d2", "d3", "d4"]
            assert len(decisions) == 5
            assert (decisions[-1].id, decisions[0].id, decisions[1].id) == ("d4", "d0", "d1")
            assert [d.id for d in decisions[-2:]] == ["d3", "d4"]
            for outside in (5, -6):
                with pytest.raises(IndexError):
                    decisions[outside]
