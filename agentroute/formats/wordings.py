"""What the codes and words of a refusal mean, in the wording of every provider: one class of ours for each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from agentroute.errors import (
    AuthenticationFailed,
    BadResponse,
    ContentFiltered,
    ContextTooLong,
    ModelNotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Unsupported,
)

__all__ = ["CODES", "SETTINGS", "WORDINGS"]

CODES: Final[Mapping[str, type[ProviderError]]] = {
    "insufficient_quota": QuotaExhausted,
    "billing_error": QuotaExhausted,
    "billing_hard_limit_reached": QuotaExhausted,
    "billing_not_active": QuotaExhausted,
    "enforced_spend_limit_reached": QuotaExhausted,
    "insufficient_balance": QuotaExhausted,
    "insufficient_credits": QuotaExhausted,
    "payment_required": QuotaExhausted,
    "arrearage": QuotaExhausted,
    "insufficient_user_quota": QuotaExhausted,
    "servicequotaexceededexception": QuotaExhausted,
    "context_length_exceeded": ContextTooLong,
    "tokens_limit_reached": ContextTooLong,
    "context_window_exceeded": ContextTooLong,
    "exceed_context_size_error": ContextTooLong,
    "model_max_prompt_tokens_exceeded": ContextTooLong,
    "content_filter": ContentFiltered,
    "content_policy_violation": ContentFiltered,
    "responsibleaipolicyviolation": ContentFiltered,
    "data_inspection_failed": ContentFiltered,
    "model_not_found": ModelNotFound,
    "model_decommissioned": ModelNotFound,
    "invalid_model": ModelNotFound,
    "deploymentnotfound": ModelNotFound,
    "invalid_api_key": AuthenticationFailed,
    "api_key_invalid": AuthenticationFailed,
    "authentication_error": AuthenticationFailed,
    "rate_limit_exceeded": RateLimited,
    "rate_limit_error": RateLimited,
    "throttlingexception": RateLimited,
    "tool_use_failed": BadResponse,
    "unsupported_parameter": Unsupported,
    "unsupported_value": Unsupported,
    "unknown_parameter": Unsupported,
    "extra_forbidden": Unsupported,
    "string_above_max_length": Unsupported,
    "array_above_max_length": Unsupported,
    "invalid_function_parameters": Unsupported,
    "invalid_json_schema": Unsupported,
    "unsupported_api_for_model": Unsupported,
    "operationnotsupported": Unsupported,
    "unsupported_country_region_territory": Unsupported,
    "failed_precondition": Unsupported,
    "account_deactivated": Unsupported,
    "organization_restricted": Unsupported,
    "model_permission_blocked_org": Unsupported,
    "model_permission_blocked_project": Unsupported,
    "model_terms_required": Unsupported,
}
"""Codes and types that say more than the status they come with. From the providers' documentation and recorded traffic.

Groq's `tool_use_failed` is a 400 for what its own model wrote, so it is a bad answer, not a bad request. Google answers
FAILED_PRECONDITION for a place or a plan that it does not serve (https://ai.google.dev/gemini-api/docs/troubleshooting).
"""

_TOKENS: Final = r"(?<!max[_ ])(?<!output[_ ])(?<!completion[_ ])tokens?\b"
"""Tokens that are read: a limit on those to write is a setting."""

_MORE: Final = r"(?:exceed|larger|longer|greater than|too (?:long|large|many)|more than|above|over the|> ?(?:max|\d))"

WORDINGS: Final[tuple[tuple[re.Pattern[str], type[ProviderError]], ...]] = tuple(
    (re.compile("|".join(patterns), re.IGNORECASE), kind)
    for kind, patterns in (
        (RateLimited, (r"rate[- _]?limit|too many requests|(?:tokens|requests) per (?:second|min|hour|day)",)),
        (
            Unsupported,
            (
                r"^\W*(?:invalid )?\W*max_?(?:completion_|output_)?tokens\b"
                r"(?!.*\b(?:input|prompt|messages|request has)\b)",
                r"maximum allowed number of output tokens|maxOutputTokens",
            ),
        ),
        (
            ContextTooLong,
            (
                r"maximum context length|context[ _](?:length|window|size|limit|overflow)",
                r"(?:prompt|input|messages?|conversation|request|body)(?: token)?(?: length| size| count)?"
                r"(?: is| are)? too (?:long|large)|too many (?:input |prompt )?tokens",
                rf"(?:input|prompt|messages?|request|submit|token count|total)\b.{{0,60}}{_TOKENS}.{{0,80}}{_MORE}",
                rf"{_TOKENS}.{{0,60}}\bexceed|exceed.{{0,60}}{_TOKENS}|{_MORE}.{{0,20}}{_TOKENS}",
                r"(?:input|prompt)[_ ]tokens.{0,40}(?:exceed|>|supports up to)|token count is.{0,60}supports up to",
                r"max(?:imum)?[ _](?:prompt|input|model)[ _](?:length|tokens?|size)|range of input length",
                r"(?:prompt|input)(?: length)?\b.{0,40}exceeds? (?:the )?max|request exceeds the max",
                r"reduce the (?:length|size) of (?:the|your) (?:messages|prompt|input)",
                r"`?inputs`?.{0,40}must (?:have less than|be <=)|(?:longer|greater) than the .{0,20}context",
                r"(?:输入|提示|上下文|prompt).{0,12}(?:过长|超长|超过|超出)",
            ),
        ),
        (
            Unsupported,
            (
                r"\b(?:organi[sz]ation|account|project|workspace|team)\b.{0,80}"
                r"\b(?:disabled|deactivated|suspended|restricted|terminated|banned|blocked|on hold)\b",
                r"account\b.{0,20}(?:not |in)active|no endpoints (?:found|available)",
                r"unverified|must be verified|(?:is|has) not (?:been )?verified",
                r"verify your (?:organi[sz]ation|identity|account)",
                r"\b(?:location|country|region|territory)\b.{0,40}\b(?:blocked|restricted|denied|not)\b"
                r"|not .{0,30}\b(?:location|country|region|territory)\b",
                r"good standing|data retention|(?:accept|agree to) the terms|terms of (?:use|service)|marketplace",
                r"use case details|\bbeta\b.{0,60}\bnot\b|subscription|\bpaid\b|batch only|operation not allowed",
            ),
        ),
        (
            ModelNotFound,
            (
                r"\bmodels?\b.{0,120}(?:does not exist|not found|decommissioned|retired|shut ?down|discontinued)",
                r"\bmodels? (?:is )?(?:gone|not (?:active|available))|model identifier is invalid",
                r"\bmodels?\b.{0,80}no longer (?:available|served|offered)",
                r"not a valid model|unknown model|no such model|invalid model|end[- ]of[- ]life",
            ),
        ),
        (
            AuthenticationFailed,
            (
                r"api[- _]?key (?:is |was |has )?(?:been )?(?:not valid|invalid|expired|disabled|revoked|reported)",
                r"(?:invalid|incorrect|missing|no|malformed) (?:x-)?api[- _]?key",
            ),
        ),
        (
            QuotaExhausted,
            (
                r"credit balance|(?:insufficient|not enough|out of|no more) (?:account )?(?:balance|credits?|funds)",
                r"credits?\b.{0,20}\b(?:depleted|exhausted|used up)|more credits|can only afford|余额不足|欠费",
                r"(?:spend(?:ing)?|usage|billing|monthly|weekly|credit|key|budget) (?:hard )?(?:limit|cap)",
                r"exceeded your (?:monthly )?budget|budget (?:is |has been )?exceeded|overdue|extra usage",
            ),
        ),
        (ContentFiltered, (r"content management policy|content policy|flagged|requires moderation",)),
        (
            Unsupported,
            (
                r"(?:not|n['’]?t|only|no longer)(?: an?| yet)? support|unsupported|not compatible|incompatible with",
                r"(?:not|n['’]t) (?:available|enabled|allowed|permitted) (?:in|for|with|on|to|from)\b|have access to",
                r"(?:for|with|by|in|on) (?:this|the (?:requested|specified)) (?:model|endpoint|deployment|account)",
                r"deprecated|\bplan\b.{0,60}(?:not|upgrade)|upgrade .{0,40}\b(?:plan|tier)\b|billing|quota",
                r"(?:unknown|unrecogni[sz]ed|unexpected|invalid) (?:request )?(?:parameter|argument|field|name|key)\b",
                r"(?:inputs|fields|properties) (?:are|is|were)? ?not (?:permitted|allowed)|cannot find field",
                r"supports at most|only \S+ is (?:allowed|accepted)|supported values|one of the supported",
                r"schema|additionalProperties|grammar|\bname\b.{0,60}(?:pattern|too long|at most)",
                r"should match pattern|media[_ ]type|mime type|must contain the word|must end with a user|prefill",
                r"thinking\b.{0,60}(?:enabled|mode|required)|reasoning_content|thought_?signature|--enable-",
                r"roles must alternate|responses api|unmarshal|array too long|last role",
            ),
        ),
    )
)
"""For providers that give one code to everything: the first that is found in what the refusal says. Read only with a
status that leaves the question open.

Full contexts: the wordings of OpenAI, Anthropic, Google, xAI, Groq and Cerebras, Kimi, GLM, DashScope, MiniMax,
Bedrock, Copilot, Together, Mistral, OpenRouter, llama.cpp, LM Studio, Ollama, vLLM, SGLang and TGI.
"""

SETTINGS: Final = re.compile(
    r"temperature|top_?[pk]\b|\bseed\b|penalty|logit_?bias|log_?probs|['`\"](?:n|stop|store|user)['`\"]|^n\b|\bstop\b"
    r"|parallel_tool|tool_?choice|\btools\b.{0,20}(?:\d|too many|most|max)|too many tools|function_?declarations"
    r"|(?:tool|function) names?|response_?format|generation_?config|reasoning|effort|thinking|budget|verbosity"
    r"|service_tier|stream|cache_control|output_config|max_?\w*tokens|metadata|signature|encrypted|\bimages?\b|\bpdf\b"
    r"|\b(?:audio|video)\b|['`\"\s](?:system|developer)['`\"]|(?:system|developer) (?:role|message)|prefix\b"
    r"|access (?:is )?denied|not authorized|permission",
    re.IGNORECASE,
)
"""What only names a setting, a kind of file, or a right: a bad request that does is one that *this* target refuses."""
