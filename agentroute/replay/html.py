"""The report of a replay as one HTML file: pictures inline, nothing fetched, every text escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from html import escape
from typing import TypeAlias

from agentroute.figures import count, percent, usd
from agentroute.targets import Tier

from .report import Bill, ReplayReport
from .wording import caveats, headline, problem_lines, saved

__all__ = ["document", "figure", "page", "table"]

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #667085; --line: #e3e7ee; --paper: #fff; --card: #f7f8fb;
  --strategy: #0f8a6c; --single: #8b97ab; --list: 0.28; --warn: #a15c00;
  --budget: #9fd8c6; --mid: #4db899; --standard: #4a7fc9; --premium: #6a4fb3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #98a2b3; --line: #2c3442; --paper: #12161d;
  --card: #1a202a; --strategy: #35c29d; --single: #7b879b; --warn: #f0b35b;
  --budget: #2d6b59; --mid: #35a585; --standard: #5b93e0; --premium: #9a7fe0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.5;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 36px 0 10px; }
p { margin: 2px 0; } .soft { color: var(--soft); } .warn { color: var(--warn); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 22px 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 16px; }
.card b { display: block; font-size: 24px; font-variant-numeric: tabular-nums; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); gap: 20px; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px; }
figure h3 { font-size: 15px; margin: 0 0 8px; }
figcaption { color: var(--soft); font-size: 13px; margin-top: 6px; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg .soft { fill: var(--soft); } svg .grid { stroke: var(--line); }
.scroll { overflow-x: auto; }
table { border-collapse: separate; border-spacing: 0; width: 100%; font-size: 14px;
  font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 6px 9px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; } th:first-child, td:first-child, td.text, th.text { text-align: left; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--paper); }
td.long { white-space: normal; min-width: 220px; overflow-wrap: anywhere; }
tr.shown td { font-weight: 600; } tr.first td { border-top: 2px solid var(--soft); }
.tag { font-size: 12px; border-radius: 6px; padding: 1px 7px; margin-left: 8px; border: 1px solid var(--line); }
.mix { display: flex; height: 12px; min-width: 160px; border-radius: 4px; overflow: hidden; background: var(--line); }
.mix i { display: block; }
.key i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin: 0 5px 0 14px; }
.budget { background: var(--budget); } .mid { background: var(--mid); }
.standard { background: var(--standard); } .premium { background: var(--premium); }
@media (max-width: 600px) { .tag { display: block; width: max-content; margin: 2px 0 0; } }
ul { padding-left: 20px; margin: 6px 0; } li { margin: 4px 0; }
code { font-family: ui-monospace, "SF Mono", Menlo, monospace; font-size: 13px; }
"""


def page(report: ReplayReport) -> str:
    """A whole HTML document. It opens from disk and sends nothing anywhere."""
    sections = [f"<h1>Replay: {escape(', '.join(_short(file) for file in report.files))}</h1>"]
    sections += [f'<p class="soft">{escape(line)}</p>' for line in headline(report)]
    if report.steps:
        sections += [
            _cards(report),
            f'<div class="pictures">{_bars(report)}{_scatter(report)}</div>',
            f"<h2>The bill</h2>{_bills(report)}",
            f"<h2>Where the steps go ({escape(report.strategy)})</h2>{_key()}{_mixes(report)}",
            f"<h2>Least sure</h2>{_unsure(report)}",
        ]
    sections += _problems(report)
    if report.steps:
        sections.append(
            _list("What the figures mean", (line for line in caveats(report) if not line.startswith("best single")))
        )
        sections.append(f"<h2>The pool</h2>{_pool(report)}")
    return document("agentroute replay", sections)


def document(title: str, sections: Iterable[str]) -> str:
    """A page of these sections (HTML) that opens from disk, looks the same for every command, and fetches nothing."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><main>{''.join(sections)}</main></body></html>\n"
    )


def _short(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1]


def _cards(report: ReplayReport) -> str:
    bill = report.strategies[report.strategy]
    share = saved(bill, report)
    cards = [
        (f"{report.steps:,}", f"steps in {count(report.conversations, 'conversation')}"),
        (usd(bill.modelled_usd, estimated=True), f"{report.strategy}, modelled (list {usd(bill.list_usd)})"),
        ("unknown" if share is None else percent(share), f"saved against all on {report.baseline}"),
        (f"{bill.switches:,}", f"switches of target{_costing(bill)}"),
    ]
    if bill.fit is not None:
        cards.append((percent(bill.fit.sufficient / bill.fit.steps), "of labelled steps got a sufficient tier"))
    shown = "".join(f'<div class="card"><b>{escape(value)}</b>{escape(text)}</div>' for value, text in cards)
    return f'<div class="cards">{shown}</div>'


def _costing(bill: Bill) -> str:
    return f", costing {usd(bill.switch_usd, estimated=True)}" if bill.switches else ""


# --- pictures --------------------------------------------------------------------------------------------------------


_WIDTH = 440
"""Of a picture, in its own units: on a phone they are three quarters of a pixel, so that text of 12 can be read."""


def _bars(report: ReplayReport) -> str:
    """A pale bar for the list bill and a full one for the modelled bill, for each way to run the steps."""
    bills = [*report.strategies.values(), *report.singles.values()]
    top = max(
        (float(usd_) for bill in bills for usd_ in (bill.list_usd, bill.modelled_usd) if usd_ is not None), default=0
    )
    width, left, row = _WIDTH, 150, 40
    height = row * len(bills) + 24
    parts = []
    for step in _ticks(top):
        x = left + (width - left - 70) * step / top
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{height - 20}"/>')
        parts.append(f'<text class="soft" x="{x:.1f}" y="{height - 4}" text-anchor="middle">{_tick(step)}</text>')
    for index, bill in enumerate(bills):
        y = index * row + 6
        colour = "strategy" if bill.name in report.strategies else "single"
        weight = ' font-weight="700"' if bill.name == report.strategy else ""
        parts.append(f'<text x="{left - 10}" y="{y + 18}" text-anchor="end"{weight}>{escape(_clip(bill.name))}</text>')
        for offset, value, opacity in ((0, bill.list_usd, "var(--list)"), (13, bill.modelled_usd, "1")):
            if value is None:
                parts.append(f'<text class="soft" x="{left}" y="{y + offset + 10}">unknown price</text>')
                continue
            length = (width - left - 70) * float(value) / top if top else 0.0
            parts.append(
                f'<rect x="{left}" y="{y + offset}" width="{max(length, 1):.1f}" height="11" rx="2" '
                f'fill="var(--{colour})" fill-opacity="{opacity}"/>'
                f'<text class="soft" x="{left + length + 6:.1f}" y="{y + offset + 10}">{escape(usd(value))}</text>'
            )
    caption = "USD for all steps: pale at list price, full with a modelled prompt cache (~)."
    return figure("What each way of running the steps costs", width, height, parts, caption)


def _scatter(report: ReplayReport) -> str:
    """Modelled cost against how often the chosen tier suffices (recorded where it is known, else predicted)."""
    bills = [bill for bill in [*report.strategies.values(), *report.singles.values()] if bill.modelled_usd is not None]
    points = [(float(bill.modelled_usd or 0), _goodness(bill), bill) for bill in bills]
    top = max((x for x, _, _ in points), default=0.0)
    floor = math.floor(10 * min((y for _, y, _ in points), default=0.0)) / 10
    width, height, left, bottom = _WIDTH, 330, 58, 56
    wide, high = width - left - 115, height - bottom - 16

    def at(x: float, y: float) -> tuple[float, float]:
        return left + (wide * x / top if top else 0.0), 16 + high * (1 - (y - floor) / ((1 - floor) or 1))

    parts = []
    for tick in _ticks(top):
        x, y = at(tick, floor)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="16" x2="{x:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="soft" x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{_tick(tick)}</text>')
    for tenth in range(round(floor * 10), 11):
        x, y = at(0, tenth / 10)
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{left + wide}" y2="{y:.1f}"/>')
        parts.append(f'<text class="soft" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{tenth / 10:.1f}</text>')
    places = [(*at(x_value, y_value), bill) for x_value, y_value, bill in sorted(points, key=lambda point: point[:2])]
    taken = [(x - 8, y - 8, x + 8, y + 8) for x, y, _ in places]
    for x, y, bill in places:
        colour = "strategy" if bill.name in report.strategies else "single"
        radius = 7 if bill.name == report.strategy else 5
        left_end, baseline, box = _label(x, y, _clip(bill.name), taken, width)
        taken.append(box)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="var(--{colour})"/>')
        parts.append(f'<text x="{left_end:.1f}" y="{baseline:.1f}">{escape(_clip(bill.name))}</text>')
    known = report.strategies[report.strategy].fit is not None
    what = (
        "Share of steps whose tier is enough, as recorded" if known else "Mean P that the tier suffices, as predicted"
    )
    axis = "share of steps with a sufficient tier" if known else "mean P (tier suffices)"
    middle = 16 + high / 2
    parts.append(
        f'<text class="soft" x="{left + wide / 2:.1f}" y="{height - 4}" text-anchor="middle">USD, modelled</text>'
    )
    parts.append(
        f'<text class="soft" x="12" y="{middle:.1f}" text-anchor="middle" transform="rotate(-90 12 {middle:.1f})">'
        f"{axis}</text>"
    )
    caption = f"{what}, against modelled cost (~): up and to the left is better."
    return figure("Cost and sufficiency", width, height, parts, caption)


_Box: TypeAlias = tuple[float, float, float, float]


def _label(x: float, y: float, text: str, taken: Sequence[_Box], width: int) -> tuple[float, float, _Box]:
    """Where a point's name stands (left end, baseline) and its box: beside the point, or the nearest free place."""
    long = 6.8 * len(text)
    offsets = [(side, shift) for shift in (0, -14, 14, -28, 28, -42, 42) for side in (x + 11, x - 11 - long)]
    boxes = [(left, y + 4 + shift, (left, y - 7 + shift, left + long, y + 7 + shift)) for left, shift in offsets]
    fitting = [place for place in boxes if place[2][0] >= 0 and place[2][2] <= width and place[2][1] >= 0]
    free = (place for place in fitting if not any(_overlap(place[2], other) for other in taken))
    return next(free, boxes[0])


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def figure(title: str, width: int, height: int, parts: Iterable[str], caption: str) -> str:
    label = escape(caption, quote=True)
    drawing = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
    return f"<figure><h3>{escape(title)}</h3>{drawing}<figcaption>{escape(caption)}</figcaption></figure>"


def _ticks(top: float) -> list[float]:
    """Three to six round figures from 0 up to the largest."""
    if top <= 0:
        return []
    raw = top / 4
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw)
    return [step * index for index in range(int(top / step) + 1)]


def _tick(value: float) -> str:
    return f"${value:g}"


def _clip(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:23]}…"


def _goodness(bill: Bill) -> float:
    return bill.fit.sufficient / bill.fit.steps if bill.fit else bill.sufficiency or 0.0


# --- tables ----------------------------------------------------------------------------------------------------------


def _bills(report: ReplayReport) -> str:
    with_fit = report.strategies[report.strategy].fit is not None
    heads = ["", "list", "modelled", "saved", "cached", "switches", "their cost", "P suffices"]
    rows = []
    for bill in [*report.strategies.values(), *report.singles.values()]:
        single = bill.name not in report.strategies
        tags = '<span class="tag">best single</span>' if single and bill.name == report.best_single else ""
        if bill.unserved:
            tags += f'<span class="tag warn">cannot serve {bill.unserved:,}</span>'
        cells = [
            f"{'all on ' if single else ''}{escape(bill.name)}{tags}",
            usd(bill.list_usd, estimated=report.estimated > 0),
            usd(bill.modelled_usd, estimated=True),
            percent(saved(bill, report)),
            percent(bill.cached_tokens / bill.input_tokens if bill.input_tokens else None),
            f"{bill.switches:,}",
            usd(bill.switch_usd, estimated=True) if bill.switches else "",
            "" if bill.sufficiency is None else f"{bill.sufficiency:.3f}",
        ]
        if with_fit and bill.fit is not None:
            cells += [percent(bill.fit.sufficient / bill.fit.steps), percent(bill.fit.exact / bill.fit.steps)]
        first = single and bill is next(iter(report.singles.values()))
        style = "shown" if bill.name == report.strategy and not single else "first" if first else ""
        rows.append(f'<tr class="{style}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    lines = [f"saved: against all on {report.baseline}."]
    lines += [line for line in caveats(report) if line.startswith("best single")]
    notes = "".join(f'<p class="soft">{escape(line)}</p>' for line in lines)
    return table([*heads, "enough", "exact"] if with_fit else heads, rows) + notes


def _mixes(report: ReplayReport) -> str:
    """Both breakdowns in one table, so that their columns stand below each other."""
    tiers = "".join(f"<th>{tier.value}</th>" for tier in Tier)
    parts = [
        f"<tbody><tr><th>{heading}</th><th>steps</th><th>share</th><th></th>{tiers}</tr>{_mix(table)}</tbody>"
        for heading, table in (("kind of step", report.by_kind), ("task", report.by_task))
    ]
    return f'<div class="scroll"><table>{"".join(parts)}</table></div>'


def _mix(table: Mapping[str, Mapping[str, int]]) -> str:
    total = sum(sum(tiers.values()) for tiers in table.values())
    rows = []
    for name, tiers in table.items():
        steps = sum(tiers.values())
        bar = "".join(
            f'<i class="{tier.value}" style="width:{100 * tiers[tier.value] / steps:.2f}%" '
            f'title="{tier.value}: {tiers[tier.value]:,}"></i>'
            for tier in Tier
            if tiers.get(tier.value)
        )
        counts = "".join(f"<td>{tiers.get(tier.value, 0):,}</td>" for tier in Tier)
        rows.append(
            f"<tr><td>{escape(name)}</td><td>{steps:,}</td><td>{percent(steps / total)}</td>"
            f'<td><div class="mix">{bar}</div></td>{counts}</tr>'
        )
    return "".join(rows)


def _key() -> str:
    return '<p class="key soft">' + "".join(f'<i class="{tier.value}"></i>{tier.value}' for tier in Tier) + "</p>"


def _unsure(report: ReplayReport) -> str:
    labelled = any(each.needed is not None for each in report.least_sure)
    heads = ["step", "confidence", "kind", "task", "sent to", *(["needed"] if labelled else []), "where"]
    rows = []
    for each in report.least_sure:
        cells = [each.step_kind, each.task, each.target, *([each.needed or ""] if labelled else [])]
        texts = "".join(f'<td class="text">{escape(cell)}</td>' for cell in cells)
        where = f'<td class="text long">{escape(each.place)}</td>'
        rows.append(f"<tr><td>{each.step:,}</td><td>{each.confidence:.2f}</td>{texts}{where}</tr>")
    return table(heads, rows, text=heads[2:])


def _pool(report: ReplayReport) -> str:
    rows = []
    for target in report.pool:
        price = target.price
        rates = ["unknown"] * 4 if price is None else [_rate(getattr(price, name)) for name in _RATES]
        ttl = "none" if target.cache_ttl_s is None else f"{target.cache_ttl_s:g} s"
        tier = target.tier.value if target.tier else ""
        texts = [target.provider, f"{tier} (inferred)" if target.tier_inferred else tier]
        rows.append(
            f"<tr><td>{escape(target.name)}</td>"
            + "".join(f'<td class="text">{escape(text)}</td>' for text in texts)
            + "".join(f"<td>{rate}</td>" for rate in (*rates, ttl))
            + "</tr>"
        )
    heads = ["target", "provider", "tier", "input", "output", "cache read", "cache write", "cache life"]
    sources = sorted({target.price.source for target in report.pool if target.price and target.price.source})
    note = f'<p class="soft">USD per million tokens. Prices: {escape("; ".join(sources))}</p>' if sources else ""
    return table(heads, rows, text=heads[1:3]) + note


_RATES = ("input", "output", "cache_read", "cache_write")


def _rate(value: Decimal | None) -> str:
    return "as input" if value is None else f"{value:f}"


def table(heads: Sequence[str], rows: Iterable[str], *, text: Sequence[str] = ()) -> str:
    """Figures stand on the right; the first column and those named in `text` on the left."""
    head = "".join(f'<th class="text">{name}</th>' if name in text else f"<th>{name}</th>" for name in heads)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _problems(report: ReplayReport) -> list[str]:
    sections = []
    if report.malformed:
        lines = problem_lines(report.problems, report.malformed, report.alike, shown=100)
        sections.append(_list(f"{count(report.malformed, 'line')} without a step", lines))
    if report.unroutable:
        sections.append(
            _list(f"{count(report.unroutable, 'step')} that no target could serve", report.unroutable_reasons)
        )
    return sections


def _list(heading: str, lines: Iterable[str]) -> str:
    return f"<h2>{escape(heading)}</h2><ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"
