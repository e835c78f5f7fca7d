"""How far off are token estimates? Compares them with what providers counted on recorded conversations.

    python evals/tokens.py --data DIR        (default: AGENTROUTE_EVAL_DATA, else ../shared/data)

Data: `tau2/traces.jsonl.gz` (tau2-bench, MIT): input tokens as six models' providers reported them. `cold` estimates
the whole request by characters (the policy and the tools lie beside the traces; what the recording harness wrapped
around them does not). `anchored` starts from the count of the step before, as the router does from the second step of a
conversation on. Errors are |estimate - counted| / counted. Also prints the mean output of each kind of step, which
`routing/economics.py` uses.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections import defaultdict
from dataclasses import replace
from datetime import date
from pathlib import Path

from agentroute.replay.records import Trace
from agentroute.replay.traces import Traces
from agentroute.routing.prefix import Prefix
from agentroute.routing.step import Step
from agentroute.routing.tokens import Anchor, estimate

ROOT = Path(__file__).resolve().parent.parent


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def line(name: str, errors: list[float]) -> str:
    median, p95 = statistics.median(errors), percentile(errors, 0.95)
    return f"  {name:34}{len(errors):6}{100 * median:10.1f}{100 * p95:10.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("AGENTROUTE_EVAL_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--out", type=Path, default=ROOT / "evals" / "results" / "tokens.txt")
    arguments = parser.parse_args()

    cold: dict[str, list[float]] = defaultdict(list)
    anchored: dict[str, list[float]] = defaultdict(list)
    outputs: dict[str, list[int]] = defaultdict(list)
    for _, _, trace in Traces([arguments.data / "tau2" / "traces.jsonl.gz"]):
        if not isinstance(trace, Trace):
            raise SystemExit(f"the data cannot be read: {trace}")
        anchor: Anchor | None = None
        for call in trace.calls:
            usage = call.usage
            if usage is None or usage.input_tokens is None:
                continue
            request = replace(trace.request, messages=trace.request.messages[: call.n_messages])
            prefix = Prefix.of(request.messages, request.tools)
            model = call.model or "unknown"
            error = abs(estimate(prefix).input_tokens - usage.input_tokens) / usage.input_tokens
            cold[model].append(error)
            if anchor is not None:
                guess = estimate(prefix, anchor).input_tokens
                anchored[model].append(abs(guess - usage.input_tokens) / usage.input_tokens)
            anchor = Anchor(usage.input_tokens, prefix.whole.bulk)
            if usage.output_tokens is not None:
                outputs[Step.of(request).kind.value].append(usage.output_tokens)

    lines = [
        f"Token estimates on tau2-bench, {date.today()}; error in percent",
        f"  {'':34}{'n':>6}{'median':>10}{'p95':>10}",
    ]
    for name, errors in (("cold", cold), ("anchored", anchored)):
        lines.append(line(f"{name}, all models", [error for each in errors.values() for error in each]))
        lines += [line(f"{name}, {model}", errors[model]) for model in sorted(errors)]
    lines.append(f"\nOutput tokens by kind of step\n  {'':34}{'n':>6}{'mean':>10}{'median':>10}")
    lines += [
        f"  {kind:34}{len(values):6}{statistics.mean(values):10.0f}{statistics.median(values):10.0f}"
        for kind, values in sorted(outputs.items())
    ]
    text = "\n".join(lines) + "\n"
    arguments.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
