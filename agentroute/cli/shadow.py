"""`agentroute shadow`: what cheaper targets would have done at recorded steps; its price is said before any call."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import MofNCompleteColumn
from rich.table import Table
from rich.text import Text

from agentroute.errors import ConfigError, printable
from agentroute.figures import count, usd
from agentroute.learning.samples import Sampled, sampled
from agentroute.learning.screening import disagreements, screened
from agentroute.learning.shadow import Offer, Shadow, State, offer
from agentroute.messages import ChatRequest, ChatResponse
from agentroute.router import Router
from agentroute.targets import Target

from .options import ConfigOption, stdout
from .reading import progress

__all__ = ["command"]


def command(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="TRACES... | review STATE", help="Recorded runs; or `review` and the state of a shadow."
        ),
    ],
    config: ConfigOption = None,
    against: Annotated[
        str | None,
        typer.Option(help="The targets to ask, comma-separated.", show_default="all below the baseline's tier"),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(help="Only steps that this model served: ask the strongest about a cheap one's own path."),
    ] = None,
    sample: Annotated[int, typer.Option(help="Recorded steps of each role and kind.")] = 40,
    max_spend: Annotated[str | None, typer.Option(help="USD that are never exceeded, earlier runs included.")] = None,
    allow_providers: Annotated[
        str | None, typer.Option(help="Providers that may see the prompts, comma-separated; no other is asked.")
    ] = None,
    same: Annotated[
        list[str] | None, typer.Option(help="Two tools that do the same: view_file=read_file. Can be given again.")
    ] = None,
    state: Annotated[Path, typer.Option(help="Where answers are kept; a shadow goes on from there.")] = Path(
        "shadow.jsonl"
    ),
    parallel: Annotated[int, typer.Option(help="Calls at the same time.")] = 4,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask, now that the price is known.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Ask cheaper targets about recorded steps, and compare their actions with what was done. No tool is called.

    Without --yes it only says what that would cost, and which companies would see prompts that have not yet.

    agentroute shadow traces.jsonl --config agentroute.toml --against small --max-spend 2 --yes

    agentroute shadow review shadow.jsonl
    """
    if files[0] == "review" and len(files) == 2 and not Path("review").exists():
        review(State(_existing(Path(files[1]))))
        return
    if config is None:
        raise ConfigError("a shadow asks your own targets; name the config that has them with --config")
    if sample < 1 or parallel < 1:
        raise ConfigError(f"--sample is {sample} and --parallel {parallel}; give whole numbers, 1 or more")
    limit, pairs = _limit(max_spend), _pairs(same or ())
    # In no ledger: these steps are no traffic, and would count as savings.
    with Router.from_config(config, ledger=None) as router:
        names = _against(router, against)
        found = sampled(files, sample, of=of)
        if not found.samples:
            reason = f" ({found.problems[0].reason})" if found.problems else ""
            raise ConfigError(f"no recorded step with an answer in {', '.join(files)}{reason}")
        kept = State(state)
        allowed = None if allow_providers is None else _list(allow_providers)
        told = offer(found.samples, router.pool, names, models=found.models, allowed=allowed, state=kept)
        asked = list(told.steps)
        if not as_json or not yes:
            _say(found, told, kept, limit)
        if asked and yes:
            with progress("asking", MofNCompleteColumn) as on_progress:
                run = Shadow(router.pool, _asker(router), kept, limit, pairs, parallel, on_progress)
                counts = run.run(found.samples, asked)
            if not as_json:
                typer.echo(", ".join(f"{number:,} {word}" for word, number in counts.items() if number), err=True)
        elif not yes:
            typer.echo("nothing was asked; --yes asks")
    if kept.answered:
        _report(kept, as_json=as_json)


def review(state: State) -> None:
    """Shows each disagreement; one key says what it is. The state keeps every word at once."""
    waiting = disagreements(state.answered.values())
    console = stdout()
    if not waiting:
        console.print("no disagreement waits for a review")
        return
    for number, each in enumerate(waiting, 1):
        console.print(Text(f"\n{number} of {len(waiting)}: role {each.role}, {each.kind}, {each.target}", style="bold"))
        console.print(Text(f"... {printable(each.tail)}", style="dim"))
        console.print(Text(f"recorded: {printable(each.recorded)}"))
        console.print(Text(f"{each.target}: {printable(each.shown)}", style="cyan"))
        key = _key("right too [y], wrong [n], later [s], quit [q] ")
        if key == "q":
            break
        if key in "yn":
            state.review(each.key, key == "y", getpass.getuser())
    left = len(disagreements(state.answered.values()))
    console.print(f"\n{count(len(waiting) - left, 'answer')} reviewed, {left} left")


def _key(prompt: str) -> str:
    while True:
        typer.echo(prompt, nl=False)
        # Piped keys are keys too.
        key = (typer.getchar() if sys.stdin.isatty() else sys.stdin.read(1)).lower()
        typer.echo(key)
        if key in ("y", "n", "s", "q"):
            return key
        if key in ("", "\x03", "\x04"):
            return "q"


def _asker(router: Router) -> Callable[[ChatRequest, Target], ChatResponse]:
    def ask(request: ChatRequest, target: Target) -> ChatResponse:
        return router.complete(request, constraints={"target": target.name, "max_attempts": 1})

    return ask


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ConfigError(f"{str(path)!r} is no file; name the state of a shadow, like shadow.jsonl")
    return path


def _limit(told: str | None) -> Decimal | None:
    if told is None:
        return None
    try:
        limit = Decimal(told.removeprefix("$"))
    except InvalidOperation:
        limit = Decimal(-1)
    if not limit.is_finite() or limit <= 0:
        raise ConfigError(f"--max-spend is {told!r}; give USD above 0, like 2.50")
    return limit


def _list(told: str) -> list[str]:
    return [each.strip() for each in told.split(",") if each.strip()]


def _pairs(told: Iterable[str]) -> dict[str, str]:
    found = {}
    for each in told:
        one, sign, other = each.partition("=")
        if not (one and sign and other):
            raise ConfigError(f"--same is {each!r}; give two names of tools, like view_file=read_file")
        found[one] = other
    return found


def _against(router: Router, told: str | None) -> list[str]:
    if told is None:
        top = router.baseline.tier
        cheaper = [each.name for each in router.pool if top is not None and each.tier is not None and each.tier < top]
        if not cheaper:
            raise ConfigError("no target is below the baseline's tier; name the ones to ask with --against")
        return cheaper
    for name in _list(told):
        router.pool.check_named(name, "--against names")
    return _list(told)


def _say(found: Sampled, told: Offer, state: State, limit: Decimal | None) -> None:
    console = stdout(soft_wrap=True)
    steps, conversations = count(found.steps, "recorded step"), count(found.conversations, "conversation")
    console.print(f"{steps} of {conversations}; {len(found.samples):,} are sampled")
    for name, expected in told.expected.items():
        console.print(f"  {name}: {count(told.steps[name], 'call')}, about {usd(expected)}")
    for name, why in told.refused.items():
        console.print(Text(f"  {name} is not asked: {why}"))
    cap = "" if limit is None else f"; never more than {usd(limit)} in all"
    before = f" ({usd(state.spent)} spent before)" if state.spent else ""
    console.print(Text(f"about {usd(told.usd)}{before}{cap}", style="bold"))
    if told.fresh:
        console.print(
            Text(f"companies that would see these prompts for the first time: {', '.join(told.fresh)}", "bold red")
        )
    else:
        console.print("no company would see these prompts that has not served them")
    if state.cut_off:
        cut = count(state.cut_off, "call")
        console.print(f"{cut} cut off earlier: counted as paid at the most that they could cost, and not asked again")


def _report(state: State, *, as_json: bool) -> None:
    rows = screened(state.answered.values())
    if as_json:
        data = [{name: getattr(row, name) for name in row.__slots__} for row in rows]
        typer.echo(json.dumps({"spent_usd": str(state.spent), "screened": data}, indent=2))
        return
    console = stdout()
    shown = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("role", "steps are", "target"):
        shown.add_column(heading, overflow="fold")
    for heading in ("n", "agree", "95 % low", "normal", "to review"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("so")
    for row in rows:
        shown.add_row(
            Text(printable(row.role)),
            row.form,
            Text(printable(row.target)),
            f"{row.conversations}",
            f"{row.agreed:.0%}",
            f"{row.low:.0%}",
            f"{row.normal:.0%}",
            f"{row.open}",
            row.word,
        )
    console.print(shown)
    console.print(
        Text(
            f"n is conversations. spent {usd(state.spent)}. A loop is never lowered by agreement: `trial` means that "
            "`agentroute trial` may try it. Disagreements count as wrong until `agentroute shadow review "
            f"{state.path}` says otherwise.",
            style="dim",
        )
    )
