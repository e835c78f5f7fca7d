"""Settings from a TOML file or the environment, checked at the edge and turned into plain values."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .catalog import default_models, rules_of
from .errors import ConfigError, unknown_key
from .failover.effects import Timeouts
from .ledger.budget import Budget
from .providers import PROVIDERS, Dialect, Provider
from .providers.addresses import missing
from .routing.encoders import encoder_named
from .routing.examples import ExamplesClassifier, read_examples
from .routing.profiles import Profiles
from .routing.strategy import StrategyTable
from .routing.trials import Tried
from .targets import Capabilities, Price, Target
from .targets.model_rules import ModelRules

__all__ = ["load", "load_gateway", "targets_from_environment"]

_Money = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
_Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_KeyName = Annotated[str, Field(pattern=r"^env:.+")]
_Proxy = Annotated[str, Field(pattern=r"^(env:.+|direct|http://[^@/?#]+/?)$")]
_Path = Annotated[str, Field(min_length=1)]
_Cert = _Path | Annotated[list[_Path], Field(min_length=1, max_length=2)]
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


class _Network(_Section):
    proxy: _Proxy | None = None
    verify: _Path | None = None
    cert: _Cert | None = None


class _Target(_Network):
    provider: str
    model: str
    name: str | None = None
    tier: Literal["budget", "mid", "standard", "premium"] | None = None
    base_url: str | None = None
    api_key: _KeyName | Annotated[list[_KeyName], Field(min_length=1)] | None = None
    dialect: Dialect | None = None
    settings: dict[str, Any] = {}
    rules: dict[str, Any] = {}
    price: _Price | None = None
    context_window: _Count | None = None
    max_input_tokens: _Count | None = None
    max_output_tokens: _Count | None = None
    capabilities: _Capabilities = _Capabilities()
    cache_ttl_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class _Timeouts(_Section):
    connect: _Seconds = Timeouts().connect
    first_content: _Seconds = Timeouts().first_content
    between_events: _Seconds = Timeouts().between_events
    whole_answer: _Seconds = Timeouts().whole_answer
    reasoning: _Seconds = Timeouts().reasoning


class _Limit(_Section):
    day: _Money | None = None
    month: _Money | None = None
    conversation: _Money | None = None


class _Examples(_Section):
    file: Annotated[str, Field(min_length=1)]
    encoder: Annotated[str, Field(min_length=1)] = "static"


class _ClientKey(_Section):
    name: Annotated[str, Field(min_length=1)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    strategies: Annotated[list[Literal["cheapest", "balanced", "best"]], Field(min_length=1)] | None = None
    max_tier: Literal["budget", "mid", "standard", "premium"] | None = None
    providers: Annotated[list[str], Field(min_length=1)] | None = None
    rate_per_minute: _Count | None = None
    concurrency: _Count | None = None
    budget: _Limit | None = None
    metrics: Annotated[bool, Field(strict=True)] = False


class _Gateway(_Section):
    host: str | None = None
    port: Annotated[int, Field(ge=0, lt=65536, strict=True)] | None = None
    key: list[_ClientKey] = []
    models: dict[str, str] = {}
    cors_origins: list[str] | None = None
    own_keys: Annotated[bool, Field(strict=True)] | None = None
    max_body: _Count | None = None
    max_headers: _Count | None = None
    max_depth: _Count | None = None
    body_s: _Seconds | None = None
    hold_s: _Seconds | None = None
    keep_alive_s: _Seconds | None = None
    max_connections: _Count | None = None
    drain_s: _Seconds | None = None


class _Recording(_Section):
    folder: _Path
    days: _Above0 = 30.0
    max_mb: _Above0 = 1_000.0
    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 1.0


class _File(_Network):
    target: Annotated[list[_Target], Field(min_length=1)]
    strategy: Literal["cheapest", "balanced", "best"] = "balanced"
    baseline: str | None = None
    table: str | None = None
    policy: str | None = None
    trial: str | None = None
    ledger: Annotated[str, Field(min_length=1)] = "memory"
    deadline_s: _Seconds = 600.0
    timeouts: _Timeouts = _Timeouts()
    provider: dict[str, dict[str, Any]] = {}
    role: dict[str, dict[str, Any]] = {}
    budget: dict[str, Any] | None = None
    examples: _Examples | None = None
    gateway: _Gateway = _Gateway()
    recording: _Recording | None = None
    checks: dict[str, Any] = {}


def load(path: str | Path) -> dict[str, Any]:
    """The constructor arguments of a Router, read from a TOML file. Raises ConfigError naming the file and the key.

    Keys are named, never written: `api_key = "env:OPENAI_API_KEY"`.
    """
    options = _read(Path(path))
    if isinstance(options, str):
        raise ConfigError(options)
    return options


def load_gateway(path: str | Path) -> dict[str, Any]:
    """What the file's `[gateway]` sets, as plain values; its client keys stand in `keys`. Raises ConfigError as `load`
    does."""
    settings = _settings(Path(path))
    if isinstance(settings, str):
        raise ConfigError(settings)
    found = settings.gateway.model_dump(exclude_none=True)
    return {"keys": found.pop("key"), **found}


def _read(path: Path) -> dict[str, Any] | str:
    """What the file says, or all that is wrong with it.

    A file may hold a key where only its name belongs: the error is raised by the caller, whose frames and exception
    context have not seen the content.
    """
    settings = _settings(path)
    if isinstance(settings, str):
        return settings
    problems = []
    providers = {}
    for name, facts in settings.provider.items():
        try:
            providers[name] = Provider.of(name, {**facts, **_network(facts, path.parent)}, PROVIDERS.get(name))
        except ConfigError as error:
            problems.append(f"provider.{name}: {error}")
    targets = []
    for number, entry in enumerate(settings.target, 1):
        if entry.provider in settings.provider and entry.provider not in providers:
            continue  # the problem of its provider is told already
        try:
            targets.append(_target(entry, providers, path.parent))
        except ConfigError as error:
            problems.append(f"target.{number}: {error}")
    budget = None
    try:
        budget = None if settings.budget is None else Budget.of(settings.budget)
    except ConfigError as error:
        problems.append(str(error))
    if problems:
        return f"{path}: {'; '.join(problems)}"
    return {
        "targets": targets,
        "strategy": settings.strategy,
        "baseline": settings.baseline,
        "classifier": None if settings.examples is None else _classifier(settings.examples, path.parent),
        "table": None if settings.table is None else StrategyTable.load(path.parent / settings.table),
        "policy": None if settings.policy is None else Profiles.load(path.parent / settings.policy),
        "trial": None if settings.trial is None else Tried.load(path.parent / settings.trial),
        "ledger": None if settings.ledger == "memory" else path.parent / Path(settings.ledger).expanduser(),
        "deadline_s": settings.deadline_s,
        "timeouts": Timeouts(**settings.timeouts.model_dump()),
        "roles": settings.role,
        "budget": budget,
        "checks": settings.checks or None,
        "recording": None if settings.recording is None else _recording(settings.recording, path.parent),
        **_network(settings.model_dump(include={"proxy", "verify", "cert"}, exclude_none=True), path.parent),
    }


def _recording(given: _Recording, folder: Path) -> dict[str, Any]:
    return {**given.model_dump(), "folder": folder / Path(given.folder).expanduser()}


def _settings(path: Path) -> _File | str:
    try:
        return _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        return f"{path}: {_problems(error.errors(include_url=False, include_input=False))}"
    except (OSError, UnicodeDecodeError) as error:
        return f"the config {str(path)!r} cannot be read: {error}"
    except (ValueError, RecursionError) as error:
        return f"the config {str(path)!r} cannot be read: it is no TOML: {error}"


def _classifier(examples: _Examples, folder: Path) -> ExamplesClassifier:
    found = read_examples(folder / Path(examples.file).expanduser())
    return ExamplesClassifier(found, encoder_named(examples.encoder))


def _target(entry: _Target, providers: Mapping[str, Provider], folder: Path) -> Target:
    facts = entry.model_dump(exclude={"price", "capabilities", "rules"}, exclude_none=True)
    facts.update(_network(facts, folder))
    facts["provider"] = providers.get(entry.provider, entry.provider)
    if entry.rules:
        facts["rules"] = _rules(entry)
    price = None if entry.price is None else Price(**entry.price.model_dump(), source="config")
    return Target(**facts, price=price, capabilities=Capabilities(**entry.capabilities.model_dump()))


def _network(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """`proxy`, `verify` and `cert` of a table, with paths from the file's folder. Raises ConfigError naming the key."""
    given = {key: table[key] for key in _Network.model_fields if key in table}
    problem = ""
    try:
        _Network.model_validate(given)
    except ValidationError as error:
        problem = _problems(error.errors(include_url=False, include_input=False))
    if problem:
        raise ConfigError(problem)
    for key in ("verify", "cert"):
        if key in given:
            paths = [given[key]] if isinstance(given[key], str) else given[key]
            found = [str(folder / Path(each).expanduser()) for each in paths]
            given[key] = found if isinstance(given[key], list) else found[0]
    return given


def _rules(entry: _Target) -> ModelRules:
    """The catalog's rules of this model with those of the file in their place."""
    known = [field.name for field in fields(ModelRules)]
    for key in entry.rules:
        if key not in known:
            raise ConfigError(unknown_key(key, known, "rules."))
    return replace(rules_of(entry.provider, entry.model), **entry.rules)


def _problems(details: Iterable[Any]) -> str:
    """All that is wrong, each said once: a key of two forms is found wrong in both."""
    found = dict.fromkeys(_problem(detail) for detail in details)
    if any("write [[target]]" in problem for problem in found):
        found.pop(_NO_TARGET, None)
    if any("the list is empty" in problem for problem in found):
        found = {problem: None for problem in found if "keys do not belong" not in problem}
    return "; ".join(found)


def _problem(detail: Any) -> str:
    """One line for one wrong key. A value is never shown: it may be a key written where its name should stand."""
    parts = [part for part in detail["loc"] if not (isinstance(part, str) and part not in _KEYS)]
    unknown = detail["type"] == "extra_forbidden"
    if unknown:
        parts = list(detail["loc"][:-1])
    where = ".".join(f"{part + 1}" if isinstance(part, int) else str(part) for part in parts)
    if unknown:
        return _unknown(str(detail["loc"][-1]), parts, where)
    last = next((part for part in reversed(parts) if isinstance(part, str)), "")
    if last == "api_key":
        where = where[: where.index("api_key") + len("api_key")]
        if detail["type"] == "too_short":
            return f"{where}: the list is empty; name a variable, or leave `api_key` out"
        return f"{where}: keys do not belong in a file; name the variable that holds it, like 'env:OPENAI_API_KEY'"
    if parts == ["target"]:
        if detail["type"] in ("missing", "too_short"):
            return _NO_TARGET
        return "target: write [[target]], in two brackets, above the keys of each target"
    if detail["type"] == "missing":
        return f"{where}: is missing; give it"
    if detail["type"] == "literal_error":
        return f"{where}: give one of {detail['ctx']['expected'].replace(' or ', ', ')}"
    return f"{where}: {_WANTED.get(last) or _TYPES.get(detail['type'], 'cannot be read')}"


def _unknown(key: str, parts: list[Any], where: str) -> str:
    if not parts and (key.rstrip("s") == "target" or key in ("models", "model", "pool")):
        return f"unknown key {key!r}; write [[target]] above the keys of each target"
    if not parts and key.rstrip("s") in ("provider", "role"):
        return f"unknown key {key!r}; write [{key.rstrip('s')}.NAME]"
    name = next((part for part in reversed(parts) if isinstance(part, str)), None)
    table: type[_Section] = _File if name is None else _TABLES[name]
    return unknown_key(key, table.model_fields, f"{where}." if where else "")


_TABLES: Final[Mapping[str, type[_Section]]] = {
    "target": _Target,
    "price": _Price,
    "capabilities": _Capabilities,
    "timeouts": _Timeouts,
    "examples": _Examples,
    "gateway": _Gateway,
    "recording": _Recording,
    "key": _ClientKey,
    "budget": _Limit,
}
_KEYS: Final = frozenset(_File.model_fields).union(*(table.model_fields for table in _TABLES.values()))
"""Every key of the file but names of its user's choice. What else stands in the place of an error is pydantic's own."""

_NO_TARGET: Final = "target: there is none; give at least one: [[target]], with its `provider` and `model`"
_RATE: Final = "give USD per million tokens, 0 or more"
_TOKENS: Final = "give a whole number of tokens, above 0"
_SECONDS: Final = "give seconds, above 0"
_WANTED: Final[Mapping[str, str]] = {
    "price": "give a table, like price = { input = 0.4, output = 1.6 }, in USD per million tokens",
    "capabilities": "give a table, like capabilities = { tools = true }",
    "timeouts": "give a table: [timeouts]",
    "examples": 'give a table: [examples], with file = "examples.jsonl"',
    "settings": "give a table, like settings = { temperature = 0 }",
    "rules": 'give a table, like rules = { refused = ["temperature"] }',
    "provider": "give a text; a provider of your own is a table [provider.NAME]",
    "role": "give tables: [role.NAME]",
    "budget": "give a table, like { day = 5, month = 100 }, in USD",
    **dict.fromkeys(("day", "month", "conversation"), "give USD, 0 or more"),
    **dict.fromkeys(("input", "output", "cache_read", "cache_write"), _RATE),
    **dict.fromkeys(("context_window", "max_input_tokens", "max_output_tokens"), _TOKENS),
    **dict.fromkeys(("deadline_s", *_Timeouts.model_fields, "body_s", "hold_s", "keep_alive_s", "drain_s"), _SECONDS),
    **dict.fromkeys(_Capabilities.model_fields, "give true or false, or leave it out where it is not known"),
    "cache_ttl_s": "give seconds, 0 or more",
    "proxy": "give 'http://HOST:PORT', 'direct', or, as a password belongs in no file, 'env:NAME' of its address",
    "verify": "give the path of the CA certificates to trust; TLS is always verified",
    "cert": "give the path of a client certificate, or [certificate, key]",
    "recording": "give a table: [recording], with a `folder`",
    "folder": "give the path of a folder",
    "checks": "give a table, like [checks] with 'tool:pytest' = 0",
    **dict.fromkeys(("days", "max_mb"), "give a number above 0"),
    "share": "give the share of conversations, above 0 and up to 1",
    "ledger": 'give the path of a file, or "memory"',
    "key": "write [[gateway.key]], in two brackets, above the keys of each client key",
    "gateway": "give a table: [gateway]",
    "models": 'give a table of texts: [gateway.models], "gpt-4o" = "auto"',
    "host": "give a text, an address or a host name of this machine",
    "port": "give a whole number from 0 to 65535; 0 takes a free one",
    "cors_origins": 'give a list of origins, like ["https://app.example.com"]',
    "strategies": 'give a list of strategies, like ["cheapest", "balanced"], the default first',
    "providers": 'give a list of providers, like ["openai", "anthropic"]',
    **dict.fromkeys(("own_keys", "metrics"), "give true or false"),
    **dict.fromkeys(("max_body", "max_headers"), "give a whole number of bytes, above 0"),
    **dict.fromkeys(("max_depth", "max_connections", "rate_per_minute", "concurrency"), "give a whole number, above 0"),
    "sha256": "give the hash that `agentroute serve --new-key NAME` prints, never the key itself",
}
_TYPES: Final[Mapping[str, str]] = {"string_type": "give a text", "string_too_short": "give a text that is not empty"}


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
