"""The words that the terminal and the HTML page share: one wording for what is exact and what is not."""

from __future__ import annotations

from collections.abc import Sequence

from agentroute.figures import count

from .records import Problem
from .report import Bill, Recorded, ReplayReport

__all__ = ["caveats", "headline", "problem_lines", "saved"]


def saved(bill: Bill, report: ReplayReport) -> float | None:
    """The share (modelled) saved against every step on the baseline; negative where this way costs more."""
    baseline = report.singles[report.baseline].modelled_usd
    if not baseline or bill.modelled_usd is None:
        return None
    return float(1 - bill.modelled_usd / baseline)


def headline(report: ReplayReport) -> list[str]:
    """What was read, in a few lines."""
    bill = report.strategies[report.strategy]
    tokens = f"{bill.input_tokens:,} input and {bill.output_tokens:,} output tokens"
    if report.estimated == 0:
        source = "all recorded"
    elif report.measured == 0:
        source = "all estimated: the traces record no usage"
    else:
        source = f"recorded for {count(report.measured, 'step')}, estimated for {report.estimated:,}"
    read = f"{count(report.steps, 'step')} in {count(report.conversations, 'conversation')}"
    lines = [f"{read}; {tokens} ({source})" if report.steps else read]
    if report.greetings:
        lines.append(f"{count(report.greetings, 'canned greeting')} left out: no model wrote them")
    if report.malformed:
        lines.append(f"{count(report.malformed, 'line')} gave no step (listed below)")
    if report.unroutable:
        lines.append(f"{count(report.unroutable, 'step')} that no target could serve, in no bill (listed below)")
    if report.recorded:
        lines.append("recorded with " + ", ".join(_recorded(each) for each in report.recorded))
    return lines


def _recorded(each: Recorded) -> str:
    reward = "" if each.mean_reward is None else f", mean reward {each.mean_reward:.2f}"
    return f"{each.model} ({count(each.steps, 'step')}{reward})"


def caveats(report: ReplayReport) -> list[str]:
    """What the figures mean and what they cannot say."""
    whose = "recorded tokens" if report.estimated == 0 else "recorded tokens (estimated where there are none)"
    lines = [
        f"list: {whose} x list price, no cache. Every target is billed for the tokens of the recorded answer: another "
        "model, with its own tokenizer, would have written more or fewer.",
        "modelled (~): the same tokens with a prompt cache for each target and conversation, its TTL and its prices; "
        "single models get it too. An estimate.",
    ]
    lines.append(
        f"saved: modelled, against every step on {report.baseline}. cached: the share of input read from a cache. "
        "switches: steps on another target than the step before, and what their cold prefixes cost (part of modelled)."
    )
    if report.formats.get("steps"):
        lines.append(
            "A step row is one step on its own: its prompt is cold, and what it writes to a cache is never read."
        )
    untimed = report.steps - report.timed - report.formats.get("steps", 0)
    if untimed > 0:
        lines.append(
            f"{count(untimed, 'step')} without a recorded time: each taken to be {report.gap_s:g} s after the one "
            "before in the conversation."
        )
    lines.append("P suffices: the router's own mean prediction for the chosen tiers, not an outcome.")
    labelled = report.strategies[report.strategy].fit
    if labelled is not None:
        lines.append(
            f"enough: of the {count(labelled.steps, 'step')} with a known cheapest sufficient tier, the share that got "
            "this tier or a higher one; exact: that got this very tier."
        )
    if any(each.mean_reward is not None for each in report.recorded):
        lines.append(
            "Rewards are known only for the models that were recorded. Replay does not know whether a cheaper model "
            "would have succeeded, nor where a different answer would have taken the conversation."
        )
    if report.best_single is not None:
        good = "is enough" if labelled else "is predicted to suffice"
        lines.append(
            f"best single model: the cheapest that, serving every step, {good} at least as often as {report.strategy}."
        )
    lines += report.notes
    return lines


def problem_lines(problems: Sequence[Problem], total: int, alike: str | None, *, shown: int) -> list[str]:
    """The first problems and how many more there are; one sentence if nearly all are alike."""
    if alike is not None:
        return [alike]
    lines = [f"{problem.file}:{problem.line}: {problem.reason}" for problem in problems[:shown]]
    return [*lines, f"and {total - len(lines):,} more"] if total > len(lines) else lines
