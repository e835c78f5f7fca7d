"""What importing costs in CPU, alone and with a router and one decision on top; and what a base install weighs.

    python evals/bench/import.py [--runs N] [--install]

Each run is a fresh interpreter; the interpreter's own start is subtracted. `--install` also makes a fresh environment,
installs the base package from this checkout and weighs site-packages without pip and setuptools (needs an index).
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "evals" / "results" / "bench_import.txt"

IMPORT = "import agentroute"
ROUTE = """
from agentroute import ChatRequest, Router, Target
router = Router(targets=[
    Target(provider="openai", model="gpt-6-luna"),
    Target(provider="openai", model="gpt-6.1-terra"),
    Target(provider="anthropic", model="claude-sonnet-5-5"),
    Target(provider="anthropic", model="claude-opus-5-5"),
])
router.route(ChatRequest.from_openai({"messages": [{"role": "user", "content": "Why is the sky blue?"}]}))
"""
BOUNDS = {"import agentroute (s)": 0.15, "import, router, one decision (s)": 0.6, "base install (MB)": 60.0}


def cpu_seconds(code: str) -> float:
    """User and system time of the statements in a fresh interpreter, without its start."""
    program = f"import time\nstarted = time.process_time()\n{code}\nprint(time.process_time() - started)"
    return float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)


def base_install_mb() -> float:
    """What the base install puts beside the interpreter, compiled files included."""
    folder = Path(tempfile.mkdtemp(prefix="agentroute-base-"))
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        python = folder / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "-q", str(ROOT)], check=True)
        code = "import json, site; print(json.dumps(site.getsitepackages()))"
        places = json.loads(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout)
        own = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")
        files = [
            path
            for place in places
            for top in Path(place).iterdir()
            if not top.name.startswith(own)
            for path in ([top] if top.is_file() else top.rglob("*"))
        ]
        return sum(path.stat().st_size for path in files if path.is_file()) / 1e6
    finally:
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--install", action="store_true", help="also weigh a fresh base install")
    arguments = parser.parse_args()
    figures = {
        "import agentroute (s)": [cpu_seconds(IMPORT) for _ in range(arguments.runs)],
        "import, router, one decision (s)": [cpu_seconds(ROUTE) for _ in range(arguments.runs)],
    }
    if arguments.install:
        figures["base install (MB)"] = [base_install_mb()]
    lines = [f"Import cost, {date.today()}, Python {platform.python_version()}, {platform.machine()}; median (min-max)"]
    for name, values in figures.items():
        kept = "kept" if statistics.median(values) <= BOUNDS[name] else "MISSED"
        spread = f"({min(values):.3f}-{max(values):.3f}), n={len(values)}"
        lines.append(f"  {name:36}{statistics.median(values):8.3f} {spread:22} bound {BOUNDS[name]}: {kept}")
    text = "\n".join(lines) + "\n"
    OUT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
