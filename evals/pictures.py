"""Draws the pictures of the README: the demo as it ran, and the replay of tau2-bench.

    python evals/pictures.py --data DIR        (default: AGENTROUTE_EVAL_DATA, else ../shared/data)

`docs/img/demo.svg` is what `agentroute demo` prints, recorded by rich. `docs/img/replay.png` is the head of the report
page, as headless Chromium shows it (skipped, and said so, where there is no `chromium` on PATH).
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from langchain_agentroute import demo
from rich.console import Console

from agentroute import Router
from agentroute.catalog.example import example_targets
from agentroute.replay import replay
from agentroute.replay.html import page

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "img"
_WIDTH = 126


def draw_demo() -> None:
    console = Console(file=io.StringIO(), record=True, width=_WIDTH, force_terminal=True)
    demo.run(console=console)
    console.save_svg(str(IMAGES / "demo.svg"), title="agentroute demo")


def draw_replay(traces: Path) -> bool:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.html"
        report.write_text(page(replay([traces], Router(targets=example_targets()))), encoding="utf-8")
        quiet = (
            "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
            "--disable-component-update --disable-sync --hide-scrollbars --window-size=1100,830"
        ).split()
        subprocess.run(
            [
                chromium,
                *quiet,
                f"--user-data-dir={folder}/profile",
                f"--screenshot={IMAGES / 'replay.png'}",
                report.as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("AGENTROUTE_EVAL_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    data: Path = parser.parse_args().data
    IMAGES.mkdir(exist_ok=True)
    draw_demo()
    print(f"drew {IMAGES / 'demo.svg'}")
    if draw_replay(data / "tau2" / "traces.jsonl.gz"):
        print(f"drew {IMAGES / 'replay.png'}")
    else:
        print("no chromium on PATH: docs/img/replay.png was left as it is")


if __name__ == "__main__":
    main()
