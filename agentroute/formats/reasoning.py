"""How much a model shall think, in each dialect's spelling: read into one setting, fitted to a model, written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from agentroute.messages import EFFORTS, Effort, ReasoningSetting
from agentroute.targets.model_rules import ModelRules

__all__ = ["Thinking", "budget_of", "can_be_off", "fit", "is_known", "read", "spare", "thinks", "write"]

_OFF: Final = ReasoningSetting("none")

_BUDGETS: Final[dict[Effort, int]] = {
    "minimal": 1_024,
    "low": 1_024,
    "medium": 8_192,
    "high": 24_576,
    "xhigh": 32_768,
    "max": 65_536,
}
"""Tokens to think for each effort. Up to `high` they are Google's own, https://ai.google.dev/gemini-api/docs/openai
(read 2026-11-27); the last two are 4/3 of that, and the double."""

_LEVELS: Final[Mapping[str, tuple[Effort, ...]]] = {
    "anthropic_messages": ("low", "medium", "high", "xhigh", "max"),
    "gemini": ("minimal", "low", "medium", "high"),
}
"""The efforts that a dialect has words for, if not all, and nothing is known of the model."""


def read(dialect: str, fields: Mapping[str, Any]) -> ReasoningSetting | None:
    """What these fields of a body ask for; None if they ask for nothing, or for what has no canonical word.

    >>> read("anthropic_messages", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}})
    ReasoningSetting(effort='high', budget_tokens=None, summary=None)
    """
    match dialect:
        case "openai_chat":
            return _read_chat(fields)
        case "openai_responses":
            inner = _table(fields, "reasoning")
            effort = _effort(inner.get("effort"))
            told = inner.get("summary", inner.get("generate_summary"))
            summary = None if told is None else bool(told)
            return None if effort is None and summary is None else ReasoningSetting(effort, summary=summary)
        case "anthropic_messages":
            return _read_anthropic(fields)
        case "gemini":
            return _read_gemini(fields)
    return None


def _read_chat(fields: Mapping[str, Any]) -> ReasoningSetting | None:
    inner, thinking = _table(fields, "reasoning"), _table(fields, "thinking")
    effort = _effort(fields.get("reasoning_effort")) or _effort(inner.get("effort"))
    budget = _budget(inner.get("max_tokens")) or _budget(thinking.get("budget_tokens"))
    budget = budget or _budget(fields.get("thinking_budget"))
    switches = (inner.get("enabled"), fields.get("enable_thinking"), _switch(thinking.get("type")))
    summary = not inner["exclude"] if isinstance(inner.get("exclude"), bool) else None
    if False in switches:
        return replace(_OFF, summary=summary)
    if effort is None and budget is None and summary is None and True not in switches:
        return None
    return ReasoningSetting(effort, budget, summary)


def _read_anthropic(fields: Mapping[str, Any]) -> ReasoningSetting | None:
    thinking = _table(fields, "thinking")
    switch = _switch(thinking.get("type"))
    effort = _effort(_table(fields, "output_config").get("effort"))
    shown = {"summarized": True, "omitted": False}.get(str(thinking.get("display")))
    if switch is False:
        return _OFF
    if switch is None and effort is None:
        return None
    return ReasoningSetting(effort, _budget(thinking.get("budget_tokens")), shown)


def _read_gemini(fields: Mapping[str, Any]) -> ReasoningSetting | None:
    config = {key.replace("_", "").lower(): value for key, value in _table(fields, "thinkingConfig").items()}
    level, budget, shown = (config.get(key) for key in ("thinkinglevel", "thinkingbudget", "includethoughts"))
    summary = shown if isinstance(shown, bool) else None
    if budget == 0 and not isinstance(budget, bool):
        return replace(_OFF, summary=summary)
    effort = _effort(level.lower()) if isinstance(level, str) else None
    if effort is None and _budget(budget) is None and budget != -1 and summary is None:
        return None
    return ReasoningSetting(effort, _budget(budget), summary)


def _table(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = fields.get(name)
    return value if isinstance(value, Mapping) else {}


def _effort(value: Any) -> Effort | None:
    return next((effort for effort in EFFORTS if effort == value), None)


def _budget(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _switch(kind: Any) -> bool | None:
    if kind in ("disabled", "between_tools"):
        return False
    return True if kind in ("enabled", "adaptive", "auto") else None


def is_known(rules: ModelRules) -> bool:
    """Whether anything is known of how the model thinks."""
    return rules.thinking is not None or rules.efforts is not None or rules.budget is not None


def can_be_off(rules: ModelRules) -> bool:
    """Whether the model can be told not to think, as far as is known."""
    if not is_known(rules) or rules.thinking in ("never", "optional") or rules.thinking_off is not None:
        return True
    return (
        "none" in (rules.efforts or ()) or (rules.budget or (1, 1))[0] == 0 or "enable_thinking" in rules.chat_reasoning
    )


def thinks(setting: ReasoningSetting | None, rules: ModelRules) -> bool:
    """Whether the model will think, given the fitted setting; what is not known is taken for no."""
    if setting is not None:
        return setting.effort != "none" and rules.thinking != "never"
    return rules.thinking in ("default", "always") and rules.default_effort != "none"


def budget_of(effort: Effort | None) -> int:
    """The tokens to think that stand for an effort; None is `medium`."""
    return _BUDGETS.get(effort or "medium", _BUDGETS["medium"])


def _effort_of(budget: int) -> Effort:
    """The effort whose budget is nearest, by ratio (`low` of two that have the same)."""
    efforts: list[Effort] = [effort for effort in _BUDGETS if effort != "minimal"]
    return min(efforts, key=lambda effort: max(budget / _BUDGETS[effort], _BUDGETS[effort] / budget))


def fit(
    setting: ReasoningSetting | None, rules: ModelRules, dialect: str, changes: dict[str, None]
) -> ReasoningSetting | None:
    """The setting as this model can be told it in this dialect: the nearest that it knows, with the change named.

    A tie goes to the one nearer to `high`, as DeepSeek documents it of its own. None says nothing to the model.
    """
    if setting is None:
        return None
    known = _efforts(rules, dialect)
    if setting.effort == "none" and rules.thinking == "never":
        return None
    if setting.effort == "none":
        return setting if can_be_off(rules) else _least(setting, rules, known, changes)
    known = None if known is None else tuple(effort for effort in known if effort != "none")
    if rules.thinking == "never" or (known == () and rules.budget is None and rules.thinking == "always"):
        if setting.effort is not None or setting.budget_tokens is not None:
            changes["the reasoning setting left out: the model has none"] = None
        return None
    effort: Effort | None = setting.effort
    budget = setting.budget_tokens
    if budget is not None and rules.budget is not None:
        clipped = min(max(budget, rules.budget[0]), rules.budget[1])
        if clipped != budget:
            changes[f"{clipped:,} tokens to think instead of {budget:,}: the model takes no other number"] = None
        budget = clipped
    elif budget is not None and not _takes_number(rules, dialect):
        if effort is None and known != ():
            effort = _nearest(_effort_of(budget), known)
            changes[f"effort `{effort}` instead of {budget:,} tokens to think: the model takes no number"] = None
        budget = None
    if effort is None or (known is None and rules.budget is None):
        return ReasoningSetting(effort, budget, setting.summary)
    if known:
        nearest = _nearest(effort, known)
        if nearest != effort:
            changes[f"effort `{nearest}` instead of `{effort}`, which the model does not know"] = None
        return ReasoningSetting(nearest, budget, setting.summary)
    if rules.budget is None:
        changes[f"effort `{effort}` left out: the model has no such setting"] = None
    elif budget is None:
        budget = min(max(budget_of(effort), rules.budget[0]), rules.budget[1])
    return ReasoningSetting(None, budget, setting.summary)


def _takes_number(rules: ModelRules, dialect: str) -> bool:
    """Whether the model can be told how many tokens it may think, though no limits of it are known."""
    if dialect == "openai_chat":
        return "thinking_budget" in rules.chat_reasoning or "reasoning" in rules.chat_reasoning
    return dialect != "openai_responses" and not is_known(rules)


def _efforts(rules: ModelRules, dialect: str) -> tuple[Effort, ...] | None:
    if rules.efforts is None:
        return None if rules.budget is not None else _LEVELS.get(dialect)
    more = rules.responses_efforts if dialect == "openai_responses" else ()
    return tuple(effort for effort in EFFORTS if effort in rules.efforts or effort in more)


def _levels(rules: ModelRules) -> tuple[Effort, ...]:
    """The efforts that it is known to take besides none."""
    return tuple(effort for effort in EFFORTS if effort in (rules.efforts or ()) and effort != "none")


def _nearest(wanted: Effort, known: tuple[Effort, ...] | None) -> Effort:
    rank = EFFORTS.index
    options = [effort for effort in known or EFFORTS if effort != "none"]
    return min(options, key=lambda e: (abs(rank(e) - rank(wanted)), abs(rank(e) - rank("high"))))


def _least(
    setting: ReasoningSetting, rules: ModelRules, known: tuple[Effort, ...] | None, changes: dict[str, None]
) -> ReasoningSetting | None:
    """As little as the model can be told to think, if it cannot be told to stop."""
    if known:
        changes[f"effort `{known[0]}` instead of none: the model always thinks"] = None
        return replace(setting, effort=known[0])
    if rules.budget is not None:
        changes[f"{rules.budget[0]:,} tokens to think instead of none: the model always thinks"] = None
        return ReasoningSetting(budget_tokens=rules.budget[0], summary=setting.summary)
    changes["reasoning is not switched off: the model always thinks"] = None
    return None


def spare(raw: Any, *known: str) -> dict[str, Any]:
    """What else stands in a reasoning field, and is not ours to write."""
    return {key: value for key, value in raw.items() if key not in known} if isinstance(raw, Mapping) else {}


@dataclass(frozen=True, slots=True)
class Thinking:
    """A setting fitted to a model, and the caller's own fields of the dialect that is written (which may be none).

    `same`: these fields said what was asked for. `verbatim`: and they may stay, for all that is known of the model.
    """

    setting: ReasoningSetting | None
    raw: Mapping[str, Any]
    same: bool
    verbatim: bool


def write(dialect: str, told: Thinking, rules: ModelRules) -> dict[str, Any]:
    """The fields that say it; those it came in if they say the same and nothing better is known."""
    if told.verbatim:
        return dict(told.raw)
    match dialect:
        case "openai_chat":
            return _write_chat(told, rules)
        case "openai_responses":
            return _write_responses(told)
        case "gemini":
            return _write_gemini(told, rules)
        case _:
            return _write_anthropic(told, rules)


def _write_chat(told: Thinking, rules: ModelRules) -> dict[str, Any]:
    setting, fields = told.setting, rules.chat_reasoning
    if setting is None:
        return {}
    off = setting.effort == "none"
    found: dict[str, Any] = {}
    if "reasoning" in fields:
        inner = spare(told.raw.get("reasoning"), "effort", "max_tokens", "enabled", "exclude")
        if setting.budget_tokens is not None and not off:
            inner["max_tokens"] = setting.budget_tokens
        elif setting.effort is not None:
            inner["effort"] = setting.effort
        else:
            inner["enabled"] = True
        if setting.summary is not None:
            inner["exclude"] = not setting.summary
        return {"reasoning": inner}
    if "thinking" in fields:
        kept = spare(told.raw.get("thinking"), "type", "budget_tokens")
        found["thinking"] = {"type": "disabled" if off else rules.thinking_on, **kept}
    if "enable_thinking" in fields:
        found["enable_thinking"] = not off
        if "thinking_budget" in fields and setting.budget_tokens is not None and not off:
            found["thinking_budget"] = setting.budget_tokens
    if "reasoning_effort" in fields and setting.effort is not None and not (off and found):
        found["reasoning_effort"] = setting.effort
    elif "reasoning_effort" in fields and rules.thinking == "optional" and not found and _levels(rules):
        found["reasoning_effort"] = _nearest("medium", _levels(rules))
    return found


def _write_responses(told: Thinking) -> dict[str, Any]:
    raw, setting = told.raw.get("reasoning"), told.setting
    inner = spare(raw, "effort", "summary", "generate_summary")
    if setting is not None and setting.effort is not None:
        inner["effort"] = setting.effort
    if setting is not None and setting.summary:
        word = raw.get("summary") if isinstance(raw, Mapping) else None
        inner["summary"] = word or "auto"
    return {"reasoning": inner} if inner else {}


def _write_gemini(told: Thinking, rules: ModelRules) -> dict[str, Any]:
    setting = told.setting
    inner = spare(
        told.raw.get("thinkingConfig"), "thinkingLevel", "thinking_level", "thinkingBudget", "thinking_budget"
    )
    if setting is None:
        return {}
    if setting.effort == "none" and "none" not in (rules.efforts or ()):
        inner["thinkingBudget"] = 0
    elif setting.budget_tokens is not None and not (setting.effort and rules.efforts):
        inner["thinkingBudget"] = setting.budget_tokens
    elif setting.effort is not None:
        inner["thinkingLevel"] = setting.effort
    elif rules.budget is not None:
        inner["thinkingBudget"] = -1
    if setting.summary is not None:
        inner.pop("include_thoughts", None)
        inner["includeThoughts"] = setting.summary
    return {"thinkingConfig": inner} if inner else {}


def _write_anthropic(told: Thinking, rules: ModelRules) -> dict[str, Any]:
    setting, raw = told.setting, told.raw
    config = spare(raw.get("output_config"), "effort")
    given = raw.get("thinking")
    thinking = spare(given, "type", "budget_tokens", "display")
    kind: str | None
    if setting is None:
        kind = None
    elif setting.effort == "none":
        kind = None if rules.thinking in ("optional", "never") else rules.thinking_off or "disabled"
        wanted = _effort(_table(raw, "output_config").get("effort"))
        if kind is not None and wanted is not None and rules.max_effort_off is not None:
            config["effort"] = min(wanted, rules.max_effort_off, key=lambda e: EFFORTS.index(e))
    else:
        budgets = rules.budget is not None or not is_known(rules)
        kind = "enabled" if setting.budget_tokens is not None and budgets else "adaptive"
        if setting.effort is not None and (setting.budget_tokens is None or rules.efforts):
            config["effort"] = setting.effort
            if kind == "adaptive" and told.same and not isinstance(given, Mapping):
                kind = None
        if kind == "adaptive" and rules.adaptive is False:
            kind = "enabled"
        if kind == "enabled":
            thinking["budget_tokens"] = setting.budget_tokens or budget_of(setting.effort)
        if setting.summary is not None and kind is not None:
            thinking["display"] = "summarized" if setting.summary else "omitted"
    found: dict[str, Any] = {} if kind is None else {"thinking": {"type": kind, **thinking}}
    return {**found, "output_config": config} if config else found
