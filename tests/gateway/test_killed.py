"""A gateway that is killed under load: its ledger opens, is consistent, and lacks nothing older than a second."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from pathlib import Path

import httpx
import pytest

from agentroute.gateway.settings import hash_key
from agentroute.testing import ScriptedProvider

from .doors import Client
from .test_server import CONFIG, command, patiently

KILLS = int(os.environ.get("AGENTROUTE_KILLS", "2"))


@pytest.mark.parametrize("time_of_death", range(KILLS))
def test_a_ledger_survives_a_kill_under_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, time_of_death: int
) -> None:
    monkeypatch.setenv("SCRIPTED_TEST_KEY", "scripted-key")
    path = tmp_path / "agentroute.toml"
    answered: list[tuple[float, str]] = []
    over = threading.Event()
    with ScriptedProvider("hello") as provider:
        path.write_text(CONFIG.format(name="m", url=provider.base_url, key=hash_key("one")))
        with command(path) as (process, url):

            def ask() -> None:
                body = Client("openai_chat").body()
                with httpx.Client(headers={"x-api-key": "one"}) as client:
                    while not over.is_set():
                        try:
                            answer = client.post(url + "/v1/chat/completions", json=body)
                        except httpx.HTTPError:
                            return
                        answered.append((time.monotonic(), answer.headers["x-request-id"]))

            threads = [threading.Thread(target=ask) for _ in range(4)]
            for thread in threads:
                thread.start()
            assert patiently(lambda: len(answered) >= 20, 30)
            time.sleep(1.1 + time_of_death * 0.13)
            process.kill()
            died = time.monotonic()
            over.set()
            for thread in threads:
                thread.join(10)
    with sqlite3.connect(tmp_path / "ledger.db") as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        column = next(name for name in tables if name.startswith(("decision", "step")))
        dump = "\n".join(map(str, database.execute(f"select * from {column}")))
    old = [name for at, name in answered if at < died - 1.0]
    assert old, "the load was too small to tell"
    missing = [name for name in old if name not in dump]
    assert not missing, f"{len(missing)} of {len(old)} are missing"
