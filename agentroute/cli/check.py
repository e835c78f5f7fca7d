"""`agentroute check`: the pool that a config file or the environment gives, and what is wrong with it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from agentroute.catalog import why_no_price
from agentroute.catalog.checking import address_doubt, address_problem, key_problem, model_doubt, part_problem
from agentroute.config import load, load_gateway
from agentroute.decisions import Constraints
from agentroute.errors import ConfigError
from agentroute.figures import count, percent
from agentroute.providers import NATIVE
from agentroute.router import Router
from agentroute.targets import Target, Tier

from .models import rates, size
from .options import stdout

__all__ = ["command"]


def command(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="[CONFIG]", help="A config file; without it, what the keys in the environment give."),
    ] = None,
) -> None:
    """Show the pool as it is resolved: address, key, tier, price and window of each target; then warnings and errors.

    Makes no call. Ends with 1 if the file is wrong or no target can be called, else with 0: a warning is no error.
    """
    with _silence():
        router = Router() if config is None else Router.from_config(config, ledger=None, recording=None)
    served = [] if config is None else list(_gateway(config, router))
    console = stdout(soft_wrap=True)
    for target in router.pool:
        console.print(Text("\n").join(_shown(target)), end="\n\n")
    recording = None if config is None else load(config)["recording"]
    settings = [*_settings(router, recording), *(Text(line) for line, doubted in served if not doubted)]
    console.print(Text("\n").join(settings), end="\n\n")
    warnings = [(target.name, text) for target in router.pool for text in _warnings(target)]
    if router.budget is not None:
        unpriced = (target.name for target in router.pool if target.price is None)
        warnings += [
            (name, "it does not serve a step that has a budget, as nobody could count it") for name in unpriced
        ]
    warnings += [
        (pair.target, f"never the first choice beside {pair.by!r} (dearer, no higher tier)")
        for pair in router.pool.dominated
    ]
    for name, text in warnings:
        console.print(Text(f"warning: target {name!r}: {text}", style="yellow"))
    for line, doubted in served:
        if doubted:
            console.print(Text(f"warning: {line}", style="yellow"))
    targets = count(len(router.pool), "target")
    callable_ = [t for t in router.pool if not any(problem(t) for problem in _BLOCKING)]
    if not callable_:
        raise ConfigError(f"{targets} in the pool, and none can be called; the warnings say what to set")
    console.print(f"{len(callable_)} of {targets} can be called")


_BLOCKING = (address_problem, part_problem, key_problem)


@contextmanager
def _silence() -> Iterator[None]:
    """Without the router's log, which would say the same."""
    log = logging.getLogger("agentroute")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _shown(target: Target) -> Iterator[Text]:
    yield Text.assemble((target.name, "bold"), f"  {target.provider}/{target.model}")
    yield _line("address", f"{_address(target)} ({target.dialect})")
    yield _line("key", _key(target))
    tier = "unknown" if target.tier is None else target.tier.value
    yield _line("tier", f"{tier}, inferred from the output price" if target.tier_inferred else tier)
    yield _line("price", _price(target))
    yield _line("window", "unknown" if target.context_window is None else f"{size(target.context_window)} tokens")


def _line(what: str, text: str) -> Text:
    return Text.assemble((f"  {what:<9}", "dim"), text)


def _address(target: Target) -> str:
    return target.base_url or target.endpoint.base_url or ("its own" if target.dialect == NATIVE else "unknown")


def _key(target: Target) -> str:
    """Which variable holds it, never the key."""
    keys = target.usual_keys if target.api_key is None else (target.api_key, *target.spare_keys)
    if target.endpoint.auth == "none" or not keys:
        return "none is sent"
    found = [f"{key.env_name or 'given in code'}, {'found' if key.present else 'not set'}" for key in keys]
    return "; ".join(found) if target.api_key is not None else " or ".join(found)


def _price(target: Target) -> str:
    if target.price is None:
        return f"unknown: {why_no_price(target.provider, target.model)}"
    amounts = rates(target.price)
    cached = f", cached input {amounts[2]}" if amounts[2] else ""
    source = target.price.source or "given in code"
    return f"{amounts[0]} in, {amounts[1]} out{cached}, USD per million tokens ({source})"


def _warnings(target: Target) -> Iterator[str]:
    problems = [look(target) for look in (*_BLOCKING, address_doubt, model_doubt)]
    yield from (problem for problem in problems if problem is not None)
    if target.price is None:
        yield "its price is unknown, so its costs and savings are too; give price = { input = ..., output = ... }"


def _settings(router: Router, recording: Mapping[str, Any] | None) -> Iterator[Text]:
    yield Text(f"strategy {router.strategy}; savings are counted against {router.baseline.name}")
    for name, policy in router.roles.items():
        yield Text(f"role {name}: {_policy(policy)}")
    if router.budget is not None:
        yield Text(f"budget: {router.budget}")
    if router.checks is not None:
        yield Text(f"checks: {', '.join(map(str, router.checks.given))}")
    if recording is not None:
        share, folder = percent(recording["share"]), recording["folder"]
        yield Text(f"recording: prompts and answers of {share} of conversations, in {folder}", style="yellow")


def _gateway(config: Path, router: Router) -> Iterator[tuple[str, bool]]:
    """What `agentroute serve` would do with the file, and what is doubtful in it. Raises ConfigError as that would."""
    facts = load_gateway(config)
    if not any(facts.values()):
        return
    try:
        from agentroute.gateway.checking import check, doubts
        from agentroute.gateway.settings import GatewaySettings
    except ModuleNotFoundError as error:
        yield f"gateway: not checked, since {error.name} is not installed: pip install 'agentroute-llm[gateway]'", True
        return
    try:
        settings = GatewaySettings.of(facts)
        check(settings, router)
    except ConfigError as error:
        raise ConfigError(f"{config}: {error}") from None
    keys = ", ".join(key.name for key in settings.keys) or "none, for programs of this machine only"
    yield f"gateway http://{settings.host}:{settings.port}; keys: {keys}", False
    for doubt in doubts(settings, router):
        yield doubt, True


def _policy(policy: Constraints) -> str:
    unset = Constraints()
    told = [(name, getattr(policy, name)) for name in Constraints.__slots__]
    return ", ".join(f"{name} {_word(value)}" for name, value in told if value != getattr(unset, name))


def _word(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return value.value if isinstance(value, Tier) else str(value)
