"""Settings from a TOML file or the environment, checked at the edge and turned into plain values."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .addresses import missing
from .catalog import default_models
from .errors import ConfigError
from .failover.effects import Timeouts
from .providers import PROVIDERS, Dialect, Provider
from .routing.strategy import StrategyTable
from .targets import Capabilities, Price, Target

__all__ = ["load", "targets_from_environment"]

_Money = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_KeyName = Annotated[str, Field(pattern=r"^env:.+")]
_Count = Annotated[int, Field(gt=0, strict=True)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Price(_Section):
    input: _Money
    output: _Money
    cache_read: _Money | None = None
    cache_write: _Money | None = None


class _Capabilities(_Section):
    tools: bool | None = None
    vision: bool | None = None
    structured_output: bool | None = None
    reasoning: bool | None = None
    documents: bool | None = None
    audio: bool | None = None


class _Target(_Section):
    provider: str
    model: str
    name: str | None = None
    tier: Literal["budget", "mid", "standard", "premium"] | None = None
    base_url: str | None = None
    api_key: _KeyName | Annotated[list[_KeyName], Field(min_length=1)] | None = None
    dialect: Dialect | None = None
    settings: dict[str, Any] = {}
    price: _Price | None = None
    context_window: _Count | None = None
    max_output_tokens: _Count | None = None
    capabilities: _Capabilities = _Capabilities()
    cache_ttl_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class _Timeouts(_Section):
    connect: _Seconds = Timeouts().connect
    first_content: _Seconds = Timeouts().first_content
    between_events: _Seconds = Timeouts().between_events
    whole_answer: _Seconds = Timeouts().whole_answer
    reasoning: _Seconds = Timeouts().reasoning


class _File(_Section):
    target: Annotated[list[_Target], Field(min_length=1)]
    strategy: Literal["cheapest", "balanced", "best"] = "balanced"
    baseline: str | None = None
    table: str | None = None
    ledger: Annotated[str, Field(min_length=1)] = "memory"
    deadline_s: _Seconds = 600.0
    timeouts: _Timeouts = _Timeouts()
    provider: dict[str, dict[str, Any]] = {}


def load(path: str | Path) -> dict[str, Any]:
    """The constructor arguments of a Router, read from a TOML file. Raises ConfigError naming the file and the key.

    Keys are named, never written: `api_key = "env:OPENAI_API_KEY"`.
    """
    options = _read(Path(path))
    if isinstance(options, str):
        raise ConfigError(options)
    return options


def _read(path: Path) -> dict[str, Any] | str:
    """What the file says, or what is wrong with it.

    A file may hold a key where only its name belongs: the error is raised by the caller, whose frames and exception
    context have not seen the content.
    """
    where = str(path)
    try:
        settings = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        providers = {}
        for name, facts in settings.provider.items():
            where = f"{path}: provider.{name}"
            providers[name] = Provider.of(name, facts, PROVIDERS.get(name))
        targets = []
        for number, entry in enumerate(settings.target, 1):
            where = f"{path}: target.{number}"
            targets.append(_target(entry, providers))
    except ValidationError as error:
        problems = "; ".join(_problem(detail) for detail in error.errors(include_url=False, include_input=False))
        return f"{path}: {problems}"
    except ConfigError as error:
        return f"{where}: {error}"
    except (OSError, UnicodeDecodeError) as error:
        return f"the config {str(path)!r} cannot be read: {error}"
    except tomllib.TOMLDecodeError as error:
        return f"the config {str(path)!r} cannot be read: it is no TOML: {error}"
    return {
        "targets": targets,
        "strategy": settings.strategy,
        "baseline": settings.baseline,
        "table": None if settings.table is None else StrategyTable.load(path.parent / settings.table),
        "ledger": None if settings.ledger == "memory" else path.parent / Path(settings.ledger).expanduser(),
        "deadline_s": settings.deadline_s,
        "timeouts": Timeouts(**settings.timeouts.model_dump()),
    }


def _target(entry: _Target, providers: Mapping[str, Provider]) -> Target:
    facts = entry.model_dump(exclude={"price", "capabilities"}, exclude_none=True)
    facts["provider"] = providers.get(entry.provider, entry.provider)
    price = None if entry.price is None else Price(**entry.price.model_dump(), source="config")
    return Target(**facts, price=price, capabilities=Capabilities(**entry.capabilities.model_dump()))


def _problem(detail: Any) -> str:
    """One line for one wrong key. A value is never shown: it may be a key written where its name should stand."""
    where = ".".join(f"{part + 1}" if isinstance(part, int) else str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"unknown key {where!r}"
    if "api_key" in detail["loc"] and detail["type"] in ("string_pattern_mismatch", "string_type", "list_type"):
        where = where[: where.index("api_key") + len("api_key")]
        return f"{where}: keys do not belong in a file; name the variable that holds it, like 'env:OPENAI_API_KEY'"
    return f"{where}: {detail['msg']}"


def targets_from_environment(environ: Mapping[str, str] | None = None) -> list[Target]:
    """A target for each tier of every provider whose key is in the environment.

    Raises ConfigError that names the variables looked for, where none is set.
    """
    environ = os.environ if environ is None else environ
    targets = []
    for name, provider in PROVIDERS.items():
        key_name = next((key for key in provider.key_names if environ.get(key)), None)
        way = provider.endpoint()
        if key_name is not None and not missing(way.base_url or "", way.parts, environ):
            targets += [
                Target(name=f"{name}/{model}", provider=name, model=model, api_key=f"env:{key_name}")
                for model in default_models(name)
            ]
    if not targets:
        looked_for = ", ".join(
            key for name in PROVIDERS if default_models(name) for key in PROVIDERS[name].key_names[:1]
        )
        raise ConfigError(
            f"no provider key is set, so there is nothing to route to. Set one of {looked_for}, "
            f"or give targets: Router(targets=[Target(provider=..., model=..., base_url=...)])"
        )
    return targets
