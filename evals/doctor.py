"""What does the doctor find on recorded coding sessions, and is it what the simulator calls thrown away?

    python evals/doctor.py --data DIR        (default: AGENTROUTE_ECONOMICS, else ../shared/economics)

Data: `coding.json.gz`: 12 sessions as numbers, two of them with what the provider read (`cold`). The simulator bills a
session as it was recorded and with a prefix that nothing broke: the difference was thrown away.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from simulator import TARGETS, Caches, always, bill
from workloads import load

from agentroute import Target
from agentroute.messages import Usage
from agentroute.replay.doctor.examine import Examination
from agentroute.replay.doctor.findings import DoctorReport
from agentroute.replay.doctor.seen import Call

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "evals" / "results" / "doctor.txt"


def examined(session: Mapping[str, Any], on: Target) -> DoctorReport:
    """The doctor's report of one session, as if this target had served it and counted what it read."""
    examination, caches = Examination(), Caches()
    state = examination.begin()
    for number, step in enumerate(session["steps"], 1):
        if step["reset"] or step["cold"]:
            caches.clear()
        if step["reset"]:
            state = replace(state, held={}, last_model=None, last_tokens=0)
        read = caches.serve(on, step["p"], step["t0"])
        usage = Usage(step["p"], step["o"], read, step["p"] - read)
        call = Call(
            place=f"{session['id']} step {number}",
            agent=session["id"],
            model=on.name,
            target=on,
            input_tokens=step["p"],
            output_tokens=step["o"],
            at=step["t0"],
            usage=usage,
            turn=step["turn"],
        )
        state = examination.step(state, call)
    return examination.report((session["id"],))


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--data", type=Path, default=os.environ.get("AGENTROUTE_ECONOMICS"))
    data = options.parse_args().data or ROOT.parent / "shared" / "economics"
    on = TARGETS["opus-5.5"]
    lines = [f"{'session on ' + on.name:28}{'bill':>9}{'thrown away: simulator':>26}{'doctor':>18}"]
    for session in load(data / "coding.json.gz"):
        recorded = bill(session, always(on), as_recorded=True).usd
        lost = recorded - bill(session, always(on)).usd
        report = examined(session, on)
        found = {each.kind: float(each.usd or 0) for each in report.findings}
        thrown = found.get("unexplained", 0.0)
        lines.append(
            f"{session['id']:28}{recorded:9.2f}{lost:16.2f} ({lost / recorded:5.1%}){thrown:11.2f} "
            f"({thrown / float(report.usd):5.1%})  "
            + ", ".join(f"{kind} {usd:.2f}" for kind, usd in found.items() if kind != "unexplained")
        )
    text = "\n".join(line.rstrip() for line in lines) + "\n"
    OUT.write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
