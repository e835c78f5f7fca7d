"""Strict servers of the models of late 2026: what each of them would refuse in a request, in words.

Written by hand from the providers' pages, SDK types and users' reports of November 2026, apart from
`agentroute/catalog/model_rules.toml`: what the one has wrong, the other does not repeat.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_GPT_ALWAYS = re.compile(r"gpt-(6-astra|6\.1-sol|6\.2)")
_GPT_OFF = re.compile(r"gpt-(6-(sol|luna)|6\.1-terra|5\.6)")
_GPT_ANY = re.compile(r"gpt-[56]")
_CLAUDE_NOW = re.compile(r"claude-(fable|mythos|opus|sonnet|haiku)-5|claude-opus-4-[78]")
_CLAUDE_UNFORCED = re.compile(r"claude-((fable|mythos)-5-[12]\b|(opus|sonnet)-5-5)")
_CLAUDE_ALWAYS = re.compile(r"claude-((fable|mythos)-5|opus-5-5)")
_EFFORTS = ("low", "medium", "high", "xhigh", "max")


def refusals(provider: str, model: str, dialect: str, body: Mapping[str, Any]) -> list[str]:
    """What this model at this provider would answer with a 400, if anything."""
    match provider:
        case "openai" | "azure":
            return _openai(model, dialect, body)
        case "anthropic":
            return _anthropic(model, body)
        case "google":
            return _gemini(model, body)
        case "deepseek":
            return _deepseek(body)
        case "moonshot":
            return _kimi(body)
        case "mistral":
            return _mistral(model, body)
        case "xai":
            return _grok(model, body)
        case "zai":
            return _glm(model, body)
    return []


def _given(body: Mapping[str, Any], *names: str) -> list[str]:
    return [f"{name}: not supported with this model" for name in names if body.get(name) is not None]


def _openai(model: str, dialect: str, body: Mapping[str, Any]) -> list[str]:
    responses = dialect == "openai_responses"
    effort = (body.get("reasoning") or {}).get("effort") if responses else body.get("reasoning_effort")
    limit = body.get("max_output_tokens" if responses else "max_completion_tokens") or 0
    found: list[str] = []
    if responses:
        found += _given(body, "stop", "seed", "n", "presence_penalty", "frequency_penalty", "logit_bias")
    if not _GPT_ANY.match(model):
        if effort is not None:
            found.append("Unrecognized request argument supplied: reasoning_effort")
        return found + ([f"max_tokens is too large: {limit}"] if limit > 32_768 else [])
    known = ["low", "medium", "high", "xhigh"]
    if responses and not model.startswith("gpt-6.2"):
        known.append("max")
    if not _GPT_ALWAYS.match(model):
        known.append("none")
    if effort not in (None, *known):
        found.append(f"Unsupported value: '{effort}' is not supported with the '{model}' model")
    unset_is_none = effort is None and re.match(r"gpt-5\.[124]", model)
    off = (effort == "none" and not _GPT_ALWAYS.match(model)) or unset_is_none
    found += _given(body, "stop", "presence_penalty", "frequency_penalty", "logit_bias")
    if not off:
        found += _given(body, "temperature", "top_p", "logprobs")
    if not responses:
        if body.get("tools") and not (off and effort == "none"):
            found.append(f"Function tools with reasoning_effort are not supported for {model} in /v1/chat/completions")
        found += _given(body, "max_tokens")
    return found + ([f"max_tokens is too large: {limit}"] if limit > 128_000 else [])


def _anthropic(model: str, body: Mapping[str, Any]) -> list[str]:
    now = _CLAUDE_NOW.match(model)
    old = re.match(r"claude-(sonnet|haiku)-4-5", model)
    thinking = body.get("thinking") or {}
    kind = thinking.get("type")
    config = body.get("output_config") or {}
    effort = config.get("effort")
    forced = (body.get("tool_choice") or {}).get("type") in ("any", "tool")
    found: list[str] = []
    if now:
        found += _given(body, "temperature", "top_p", "top_k")
        if kind == "enabled":
            found.append("thinking.type: enabled is not supported by this model")
        if body["messages"][-1]["role"] == "assistant":
            found.append("this model does not support assistant message prefill")
    if forced and _CLAUDE_UNFORCED.match(model):
        found.append("tool_choice: forced tool use is not supported for this model")
    if forced and kind == "enabled":
        found.append("Thinking may not be enabled when tool_choice forces tool use.")
    if kind == "disabled" and (_CLAUDE_ALWAYS.match(model) or model.startswith("claude-sonnet-5-5")):
        found.append("thinking.type: disabled is not supported by this model")
    if kind == "between_tools" and not model.startswith("claude-sonnet-5-5"):
        found.append("thinking.type: between_tools is not supported by this model")
    if kind in ("disabled", "between_tools") and now and effort in ("xhigh", "max"):
        found.append("output_config.effort: must be high or lower while thinking is off")
    if kind == "adaptive" and (old or model.startswith("claude-opus-4-5")):
        found.append("adaptive thinking is not supported on this model")
    if effort is not None and (old or effort not in _EFFORTS):
        found.append(f"output_config.effort: {effort} is not supported by this model")
    most = 128_000 if now or "4-6" in model else 64_000
    if not 0 < body.get("max_tokens", 0) <= most:
        found.append(f"max_tokens: {body.get('max_tokens')} > {most}")
    budget = thinking.get("budget_tokens")
    if kind == "enabled" and not 1_024 <= (budget or 0) < body["max_tokens"]:
        found.append("`max_tokens` must be greater than `thinking.budget_tokens`, which is at least 1024")
    if (body.get("temperature") or 0) > 1:
        found.append("temperature: range: 0..1")
    return found


def _gemini(model: str, body: Mapping[str, Any]) -> list[str]:
    config = body.get("generationConfig") or {}
    thinking = config.get("thinkingConfig") or {}
    level, budget = thinking.get("thinkingLevel"), thinking.get("thinkingBudget")
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig")
    found: list[str] = []
    if level is not None and budget is not None:
        found.append("You can only set one of thinking_level and thinking_budget.")
    if model.startswith("gemini-2"):
        if level is not None:
            found.append("Thinking level is not supported for this model.")
        if budget is not None and "pro" in model and 0 <= budget < 128:
            found.append(f"The thinking budget {budget} is invalid. Please choose a value between 128 and 32768.")
        if budget is not None and budget > (32_768 if "pro" in model else 24_576):
            found.append(f"The thinking budget {budget} is invalid.")
    else:
        known = ["low", "medium", "high"]
        known += ["minimal"] if re.match(r"gemini-3\.(6-flash|5-flash|1-flash)|gemini-3-flash", model) else []
        if level is not None and level.lower() not in known:
            found.append(f"Thinking level {level} is not supported for this model.")
        if budget == 0:
            found.append("Thinking cannot be switched off for this model.")
    if calling and not body.get("tools"):
        found.append("Function calling config is set without function_declarations.")
    if (config.get("maxOutputTokens") or 0) > 65_536:
        found.append("max_output_tokens must be at most 65536")
    return found


def _deepseek(body: Mapping[str, Any]) -> list[str]:
    thinks = (body.get("thinking") or {}).get("type") != "disabled"
    choice = body.get("tool_choice")
    found: list[str] = []
    if body.get("reasoning_effort") not in (None, "low", "medium", "high", "xhigh", "max"):
        found.append("reasoning_effort: unknown variant")
    if thinks and choice not in (None, "auto", "none"):
        found.append("deepseek-reasoner does not support this tool_choice")
    if (body.get("max_tokens") or 0) > 393_216:
        found.append("Invalid max_tokens value, the valid range of max_tokens is [1, 393216]")
    return found


def _kimi(body: Mapping[str, Any]) -> list[str]:
    found = _given(body, "top_p", "n", "presence_penalty", "frequency_penalty", "seed", "thinking")
    if body.get("temperature") not in (None, 1):
        found.append("invalid temperature: only 1 is allowed for this model")
    if body.get("reasoning_effort") not in (None, "low", "high", "max"):
        found.append("invalid reasoning_effort")
    if isinstance(body.get("tool_choice"), Mapping):
        found.append("tool_choice 'specified' is incompatible with thinking enabled")
    stop = body.get("stop") or []
    if len(stop) > 5 or any(len(text.encode()) > 32 for text in stop):
        found.append("stop: at most 5 sequences of 32 bytes")
    return found


def _mistral(model: str, body: Mapping[str, Any]) -> list[str]:
    found = _given(body, "seed", "top_k", "store", "max_completion_tokens", "reasoning", "verbosity")
    effort = body.get("reasoning_effort")
    if effort is not None and (effort not in ("none", "high") or "2512" in model):
        found.append("reasoning_effort: Input should be 'none' or 'high'")
    last = body["messages"][-1]
    if last["role"] == "assistant" and not last.get("prefix"):
        found.append("Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant")
    return found


def _grok(model: str, body: Mapping[str, Any]) -> list[str]:
    found = _given(body, "stop", "presence_penalty", "frequency_penalty")
    known = ["low", "medium", "high"]
    known += ["none"] if model.startswith("grok-4.3") else ["xhigh"] if model.startswith("grok-4.7") else []
    effort = body.get("reasoning_effort")
    if effort is not None and (effort not in known or model.startswith("grok-4.20")):
        found.append("This model does not support parameter reasoningEffort.")
    return found


def _glm(model: str, body: Mapping[str, Any]) -> list[str]:
    found = _given(body, "presence_penalty", "frequency_penalty", "n", "seed", "logprobs")
    if body.get("tool_choice") not in (None, "auto", "none"):
        found.append("tool_choice: only auto is supported")
    if "5.3" in model:
        if (body.get("thinking") or {}).get("type") == "disabled":
            found.append("thinking cannot be disabled")
        if body.get("reasoning_effort") not in (None, "low", "high", "max"):
            found.append("reasoning_effort: not supported")
    return found
