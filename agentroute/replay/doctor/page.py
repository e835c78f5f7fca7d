"""The doctor's report as one HTML file: a timeline inline, nothing fetched, every text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from agentroute.figures import count, percent, usd
from agentroute.replay.html import document, figure, table
from agentroute.replay.wording import problem_lines

from .findings import DoctorReport, Finding, Moment, Timeline
from .wording import caveats, change, headline, place_of, remedy, short

__all__ = ["page"]

_WIDTH, _HEIGHT = 900, 240
_MOST_ROWS = 20
_MOST_BARS = 600
"""Steps of a timeline that are drawn: from a longer conversation, the part in which most was paid again."""


def page(report: DoctorReport) -> str:
    """A whole HTML document. It opens from disk and sends nothing anywhere."""
    names = ", ".join(path.replace("\\", "/").rsplit("/", 1)[-1] for path in report.files)
    sections = [f"<h1>Doctor: {escape(names)}</h1>"]
    sections += [f'<p class="soft">{escape(line)}</p>' for line in headline(report)]
    sections.append(_cards(report))
    sections.append(f"<h2>Findings</h2>{_findings(report)}")
    if report.timeline is not None:
        sections.append(f"<h2>The conversation that lost most</h2>{_timeline(report.timeline)}")
    sections.append(f"<h2>Agents</h2>{_agents(report)}")
    if report.malformed:
        lines = problem_lines(report.problems, report.malformed, report.alike, shown=100)
        sections.append(_list(f"{count(report.malformed, 'line')} without a step", lines))
    sections.append(_list("What the figures mean", caveats(report)))
    return document("agentroute doctor", sections)


def _cards(report: DoctorReport) -> str:
    of_bill = "" if report.share is None else f", {percent(report.share)} of the bill"
    cards = [
        (usd(report.usd), f"{count(report.steps, 'step')} in {count(report.conversations, 'conversation')}"),
        (usd(report.thrown_away), f"thrown away{of_bill}"),
        (
            f"{sum(not each.advice for each in report.findings):,}",
            "found that changes no answer to mend",
        ),
        (f"{sum(each.advice for each in report.findings):,}", "found that is a choice, with its price"),
    ]
    shown = "".join(f'<div class="card"><b>{escape(value)}</b>{escape(text)}</div>' for value, text in cards)
    return f'<div class="cards">{shown}</div>'


def _timeline(line: Timeline) -> str:
    """A bar a step: what was read from the cache, what was new, what was paid again; and why."""
    moments, left_out = _window(line.moments)
    top = max((each.input_tokens for each in moments), default=0) or 1
    left, bottom = 60, 34
    wide, high = _WIDTH - left - 10, _HEIGHT - bottom - 26
    bar = wide / max(len(moments), 1)
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = 26 + high * (1 - share)
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{_WIDTH - 10}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="soft" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{_thousands(top * share)}</text>'
        )
    for index, each in enumerate(moments):
        x = left + index * bar
        base: float = 26 + high
        title = escape(_said(each))
        pieces = [
            ("var(--single)", min(each.read_tokens, each.input_tokens), "0.55"),
            ("var(--strategy)", max(each.input_tokens - each.read_tokens - each.again_tokens, 0), "1"),
            ("var(--warn)", each.again_tokens, "1"),
        ]
        drawn = ""
        for colour, tokens, opacity in pieces:
            size = high * tokens / top
            base -= size
            if size > 0:
                drawn += (
                    f'<rect x="{x:.2f}" y="{base:.2f}" width="{max(bar - (bar > 3), 0.6):.2f}" height="{size:.2f}" '
                    f'fill="{colour}" fill-opacity="{opacity}"/>'
                )
        mark = ""
        if each.kind is not None:
            mark = f'<circle cx="{x + bar / 2:.2f}" cy="14" r="4" fill="var(--warn)"/>'
        parts.append(f"<g><title>{title}</title>{drawn}{mark}</g>")
    first, last = (moments[0].step, moments[-1].step) if moments else (0, 0)
    parts.append(f'<text class="soft" x="{left}" y="{_HEIGHT - 10}">step {first:,}</text>')
    parts.append(f'<text class="soft" x="{_WIDTH - 10}" y="{_HEIGHT - 10}" text-anchor="end">step {last:,}</text>')
    caption = (
        f"{line.agent}, from {line.place}. Input tokens of each step: pale read from the cache, green new, orange paid "
        f"again; a dot where the cache broke (point at a bar for why).{left_out}"
    )
    broken = [each for each in moments if each.kind is not None]
    return figure("Tokens by step", _WIDTH, _HEIGHT, parts, caption) + _breaks(broken)


def _window(moments: tuple[Moment, ...]) -> tuple[tuple[Moment, ...], str]:
    if len(moments) <= _MOST_BARS:
        return moments, ""
    lost = [each.again_tokens for each in moments]
    best = run = sum(lost[:_MOST_BARS])
    start = 0
    for index in range(1, len(moments) - _MOST_BARS + 1):
        run += lost[index + _MOST_BARS - 1] - lost[index - 1]
        if run > best:
            best, start = run, index
    return moments[start : start + _MOST_BARS], f" {len(moments) - _MOST_BARS:,} other steps are not drawn."


def _said(each: Moment) -> str:
    why = "" if each.kind is None else f"; {_why(each)}"
    return (
        f"step {each.step:,} at {each.seconds:,.0f} s on {each.model}: {each.input_tokens:,} tokens, "
        f"{each.read_tokens:,} read, {each.again_tokens:,} paid again{why}"
    )


def _why(each: Moment) -> str:
    assert each.kind is not None
    place = place_of(each.kind, each.position)
    return f"{short(each.kind)}{f' ({place})' if place else ''}"


def _breaks(broken: Sequence[Moment]) -> str:
    """The steps at which most was paid again."""
    dearest = sorted(sorted(broken, key=lambda each: -each.again_tokens)[:_MOST_ROWS], key=lambda each: each.step)
    rows = [
        f"<tr><td>{each.step:,}</td><td>{each.seconds:,.0f} s</td><td class='text'>{escape(_why(each))}</td>"
        f"<td>{each.again_tokens:,}</td><td>{usd(each.usd)}</td></tr>"
        for each in dearest
    ]
    heads = ["step", "after", "why", "tokens paid again", "the step's bill"]
    more = len(broken) - len(rows)
    note = f'<p class="soft">and {count(more, "step")} at which less was paid again</p>' if more else ""
    return table(heads, rows, text=["why"]) + note if rows else ""


def _findings(report: DoctorReport) -> str:
    if not report.findings:
        return "<p>Nothing found: every prompt was read as far as it could be.</p>"
    return table(
        ["USD", "agent", "what", "what to do", "steps", "tokens", "dearest at"],
        [_row(each) for each in report.findings],
        text=["agent", "what", "what to do", "dearest at"],
    )


def _row(found: Finding) -> str:
    money = usd(found.usd) + ("*" if found.advice else "")
    texts = (f"{found.agent} on {found.model}", change(found), remedy(found))
    cells = "".join(f'<td class="text long">{escape(text)}</td>' for text in texts)
    return (
        f"<tr><td>{escape(money)}</td>{cells}<td>{found.steps:,}</td><td>{found.tokens:,}</td>"
        f'<td class="text long">{escape(found.place)}</td></tr>'
    )


def _agents(report: DoctorReport) -> str:
    rows = []
    for each in report.agents:
        share = percent(each.thrown_away / each.usd) if each.usd else ""
        cells = (f"{each.conversations:,}", f"{each.steps:,}", usd(each.usd), usd(each.thrown_away), share)
        rows.append(f"<tr><td>{escape(each.agent)}</td>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return table(["agent", "conversations", "steps", "bill", "thrown away", "share"], rows)


def _thousands(tokens: float) -> str:
    return f"{tokens / 1000:.0f}k" if tokens >= 1000 else f"{tokens:.0f}"


def _list(heading: str, lines: Iterable[str]) -> str:
    return f"<h2>{escape(heading)}</h2><ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"
