"""What one model accepts of a request: facts that the encoders fit it to, and that selection asks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Final, Literal, TypeAlias, get_args, get_origin, get_type_hints

from agentroute.errors import ConfigError
from agentroute.messages import EFFORTS
from agentroute.providers import DIALECTS

__all__ = ["REASONING_FIELDS", "SHARED_SETTINGS", "UNKNOWN", "ModelRules", "Prefill"]

Prefill: TypeAlias = Literal["yes", "without_reasoning", "prefix", "partial", "no"]
"""Whether the assistant's last message may be begun by the caller: as it is, only while the model does not think, with
`prefix: true` (Mistral) or `partial: true` (Kimi) on the message, or not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRules:
    """The rules of one model at one provider. What is left out is not known, and nothing is changed for it.

    Settings are named as in `Sampling` and `ChatRequest`; those that have no canonical name as in OpenAI's chat
    completions (`top_k`, `n`, `logprobs`, `logit_bias`). Raises ConfigError naming the field that cannot be.

    **Dialects.** `dialect`: how the model is called unless the target names one. `dialects`: the only ones that have
    it; empty: all of its provider's. `chat_tools`: whether chat completions take function tools: always (`any`), only
    while no effort is set or it is `none` (`unset`), only with the effort `none` (`none`), or never (`no`).

    **Settings.** `refused`: answered with an error, so they are left out. `refused_while_reasoning`: likewise, unless
    reasoning is off. `ignored`: taken and without effect. `temperature`: the smallest and largest that is taken.
    `max_stops`, `max_stop_bytes`: how many stop sequences, and how long each. `tool_choices`: the modes that are taken;
    `tool_choices_while_reasoning` if they are fewer then. `openai_settings`: whether those that both of OpenAI's
    dialects have (`metadata`, `prompt_cache_key`, `store`, ...) may go from one to the other.

    **Reasoning.** `thinking`: whether the model never thinks, on request (`optional`), unless it is switched off
    (`default`), or `always`. `thinking_off`: what switches it off in the Messages dialect and its like, if the effort
    `none` does not. `efforts`: those it knows, lowest first; empty: it has no such setting. `responses_efforts`: those
    it knows besides in the Responses dialect. `default_effort`: the one it takes by itself. `max_effort_off`: the
    highest effort beside `thinking_off`. `adaptive`: whether `thinking: adaptive` is understood. `budget`: the smallest
    and largest number of tokens it may be given to think. `chat_reasoning`: the fields by which chat completions are
    told, of `reasoning_effort`, `reasoning` (an object), `thinking` (with a type), `enable_thinking` and
    `thinking_budget`. `thinking_on`: the type that switches it on.

    **Limits.** `max_input_tokens` may be less than the window. `max_output_tokens`; `max_output_unstreamed` of an
    answer that is not streamed. `max_tools`, `max_strict_tools`, `max_optional_parameters`, `max_union_parameters`: of
    one request, the last three of its strict schemas together.

    **Tools.** `tool_name`: a regular expression that the whole name must match; `tool_name_length`: the longest one.
    `strict`: whether `strict` of a tool is understood. `freeform_tools`: whether a tool may take free text.
    `root_object`: a tool's schema must say `type: object` at its root. `root_keywords_refused`: what may not stand
    there. `keywords_refused`: what may stand nowhere in a schema. `type_beside_any_of`: whether `type` may stand
    beside `anyOf`. `references`: whether `$ref` is understood.

    **Schemas** of strict tools and of answers. `closed_objects`: which of them must say `additionalProperties: false`
    on every object (`strict`: strict tools and strict answers; `answer`: every answer's). `all_required`: each property
    of a strict schema must be required. `strict_keywords_refused`: what may stand nowhere in the schema of a strict
    tool or a strict answer. `answer_keywords_refused`: what may stand nowhere in that of any answer. `strict_formats`:
    the values of `format` that such schemas may have. `recursive_schemas`: whether they may refer to themselves.
    `json_schema`: the dialects in which an answer's schema can be demanded (None: not known; empty: nowhere).
    `json_object`: whether JSON can be demanded without a schema; `json_object_while_reasoning` if not then.
    `json_word`: the messages must hold the word JSON for that. `answer_form_beside_tools`: whether either can be
    demanded in a request that has tools. `answer_name`: like `tool_name`, of an answer's schema.

    **Media.** `image_types`, `document_types`, `audio_types`: what is taken (None: not known; empty: none).
    `image_urls`: whether a picture may be a URL.

    **Cache.** `cache_markers`: the dialects in which a prompt is cached only up to blocks that carry a `cache_control`
    (None: not known; empty: nowhere, it caches by itself). `cache_minimum`: the shortest prefix that it keeps, in
    tokens.

    **Conversation.** `prefill`.
    """

    dialect: str | None = None
    dialects: tuple[str, ...] = ()
    chat_tools: Literal["any", "unset", "none", "no"] = "any"

    refused: tuple[str, ...] = ()
    refused_while_reasoning: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    temperature: tuple[float, float] | None = None
    max_stops: int | None = None
    max_stop_bytes: int | None = None
    tool_choices: tuple[str, ...] = ("auto", "none", "required", "tool")
    tool_choices_while_reasoning: tuple[str, ...] | None = None
    openai_settings: bool = True

    thinking: Literal["never", "optional", "default", "always"] | None = None
    thinking_off: Literal["disabled", "between_tools"] | None = None
    efforts: tuple[str, ...] | None = None
    responses_efforts: tuple[str, ...] = ()
    default_effort: str | None = None
    max_effort_off: str | None = None
    adaptive: bool | None = None
    budget: tuple[int, int] | None = None
    chat_reasoning: tuple[str, ...] = ("reasoning_effort",)
    thinking_on: Literal["enabled", "adaptive"] = "enabled"

    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    max_output_unstreamed: int | None = None
    max_tools: int | None = None
    max_strict_tools: int | None = None
    max_optional_parameters: int | None = None
    max_union_parameters: int | None = None

    tool_name: str | None = None
    tool_name_length: int | None = None
    strict: bool | None = None
    freeform_tools: bool | None = None
    root_object: bool = False
    root_keywords_refused: tuple[str, ...] = ()
    keywords_refused: tuple[str, ...] = ()
    type_beside_any_of: bool = True
    references: bool = True

    closed_objects: tuple[str, ...] = ()
    all_required: bool = False
    strict_keywords_refused: tuple[str, ...] = ()
    answer_keywords_refused: tuple[str, ...] = ()
    strict_formats: tuple[str, ...] | None = None
    recursive_schemas: bool = True
    json_schema: tuple[str, ...] | None = None
    json_object: bool | None = None
    json_object_while_reasoning: bool = True
    json_word: bool = False
    answer_form_beside_tools: bool = True
    answer_name: str | None = None

    image_types: tuple[str, ...] | None = None
    document_types: tuple[str, ...] | None = None
    audio_types: tuple[str, ...] | None = None
    image_urls: bool | None = None

    cache_markers: tuple[str, ...] | None = None
    cache_minimum: int | None = None

    prefill: Prefill | None = None

    def __post_init__(self) -> None:
        for name, kind in _kinds().items():
            value = getattr(self, name)
            if isinstance(value, list):
                value = tuple(value)
                object.__setattr__(self, name, value)
            problem = _problem(value, kind)
            if problem is not None:
                raise ConfigError(f"rule `{name}` is {value!r}; {problem}")
        for name, known in _WORDS.items():
            value = getattr(self, name)
            if value is None:
                continue
            odd = [word for word in ((value,) if isinstance(value, str) else value) if word not in known]
            if odd:
                raise ConfigError(f"rule `{name}` has {odd[0]!r}; give some of {', '.join(known)}")
        for name in ("tool_name", "answer_name"):
            pattern = getattr(self, name)
            if pattern is not None and not _is_pattern(pattern):
                raise ConfigError(f"rule `{name}` is {pattern!r}; give a regular expression")


REASONING_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "openai_chat": ("reasoning_effort", "reasoning", "thinking", "enable_thinking", "thinking_budget"),
    "openai_responses": ("reasoning",),
    "anthropic_messages": ("thinking", "output_config"),
    "gemini": ("thinkingConfig",),
}
"""The fields of each dialect's body that hold the reasoning setting; of Gemini's `generationConfig`."""

_CHOICES: Final = ("auto", "none", "required", "tool")
_WORDS: Final = {
    "dialect": DIALECTS,
    "dialects": DIALECTS,
    "json_schema": DIALECTS,
    "cache_markers": DIALECTS,
    "tool_choices": _CHOICES,
    "tool_choices_while_reasoning": _CHOICES,
    "efforts": EFFORTS,
    "responses_efforts": EFFORTS,
    "default_effort": EFFORTS,
    "max_effort_off": EFFORTS,
    "chat_reasoning": REASONING_FIELDS["openai_chat"],
    "closed_objects": ("strict", "answer"),
}
"""The fields that hold words of a known list."""


@cache
def _kinds() -> dict[str, object]:
    """The declared type of each field."""
    hints = get_type_hints(ModelRules)
    return {field.name: hints[field.name] for field in fields(ModelRules)}


def _problem(value: object, kind: object) -> str | None:
    """What the value should have been, or None."""
    options = get_args(kind) if get_origin(kind) not in (tuple, Literal) else (kind,)
    options = options or (kind,)
    if any(_fits(value, option) for option in options):
        return None
    shown = " or ".join(_shown(option) for option in options if option is not type(None))
    return f"give {shown}"


def _fits(value: object, kind: object) -> bool:
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if get_origin(kind) is tuple:
        if not isinstance(value, tuple):
            return False
        inner = [each for each in get_args(kind) if each is not Ellipsis]
        if Ellipsis not in get_args(kind) and (len(value) != len(inner) or value[0] > value[1]):
            return False
        return all(_fits(each, inner[0]) for each in value)
    if kind is bool:
        return isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
    return isinstance(value, kind) if isinstance(kind, type) else False


def _shown(kind: object) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(repr(word) for word in get_args(kind))
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        return "texts" if Ellipsis in inner else "two numbers, the smaller first"
    return {bool: "true or false", int: "a whole number, 0 or more", str: "a text"}.get(kind, "a number")  # type: ignore[call-overload, no-any-return]


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


SHARED_SETTINGS: Final = (
    "metadata",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
    "verbosity",
)
"""Settings without a canonical name that both of OpenAI's dialects have (openai 3.57, `CompletionCreateParams` and
`ResponseCreateParams`); the Responses dialect has `verbosity` inside `text`."""

UNKNOWN: Final = ModelRules()
"""The rules of a model that nobody told us anything of: nothing is changed for it."""
