"""Which format a value is of, told by its keys, and the reader of each format.

>>> format_of({"resourceSpans": []}).name
'otlp'
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from agentroute.errors import RequestError
from agentroute.replay.records import Problem, Trace

from . import anthropic, cline, langchain, langgraph, openai, openhands, recording, sharegpt, steps, swe_agent, tau2
from .base import Found, Lines, Place, Reader
from .batches import Batches, is_batch
from .calls import split
from .claude_code import ClaudeCode, is_claude_code
from .codex import Codex, is_codex
from .events import CrewAI, LlamaIndex, is_crewai, is_llamaindex
from .fields import ODD, Raw, printable
from .gateways import helicone, is_helicone, is_litellm, is_portkey, litellm, portkey
from .gemini_cli import GeminiCli, is_gemini_cli
from .inspect_ai import Inspect, is_inspect
from .langfuse import Langfuse, is_langfuse
from .langsmith import LangSmith, is_langsmith
from .openai_evals import OpenAIEvals, is_openai_evals
from .opencode import OpenCode, is_opencode
from .openhands import OpenHands, is_openhands
from .openinference import OpenInference, is_openinference
from .otlp import Otlp, is_otlp
from .pi import Pi, is_pi
from .qwen_code import QwenCode, is_qwen_code
from .responses import Responses, is_responses
from .tau2 import Beside

__all__ = [
    "FORMATS",
    "NAMES",
    "Beside",
    "Format",
    "Found",
    "Place",
    "Reader",
    "format_of",
    "held_in",
    "is_message",
    "message_list",
    "printable",
]


@dataclass(frozen=True, slots=True)
class Format:
    """A format: how its values are told, and what reads them.

    `scope`: one reader for each `file`, or one for `all` of them, if what belongs together stands in several.
    `follows`: values of a file that nothing tells belong to the format of those before.
    """

    name: str
    tells: Callable[[Raw], bool]
    reader: Callable[[Beside], Reader]
    scope: Literal["file", "all"] = "file"
    follows: bool = False


def _is_steps(raw: Raw) -> bool:
    return "target_tier" in raw and "messages" in raw


def _is_tau2(raw: Raw) -> bool:
    return "messages" in raw and ("agent_llm" in raw or ("domain" in raw and "task_id" in raw))


def _is_langchain(raw: Raw) -> bool:
    messages = raw.get("messages")
    return isinstance(messages, list) and bool(messages) and all(langchain.is_message(item) for item in messages[:3])


def _is_anthropic(raw: Raw) -> bool:
    body, response = split(raw)
    return isinstance(body.get("messages"), list) and anthropic.is_anthropic(body, response)


def _is_openai(raw: Raw) -> bool:
    body, _ = split(raw)
    return isinstance(body.get("messages"), list)


def _tau2(beside: Beside) -> Reader:
    return Lines(lambda raw: tau2.read(raw, beside))


def _lines(read: Callable[[Raw], Any]) -> Callable[[Beside], Reader]:
    return lambda beside: Lines(read)


def _made(reader: Callable[[], Reader]) -> Callable[[Beside], Reader]:
    return lambda beside: reader()


class _Ignored:
    """What is read with something else, beside which it stands."""

    def read(self, raw: Raw, place: Place) -> Found:
        return ()

    def close(self) -> Found:
        return ()


FORMATS: tuple[Format, ...] = (
    Format("recording", recording.is_recording, _lines(recording.read)),
    Format("steps", _is_steps, _lines(steps.read)),
    Format("tau2", _is_tau2, _tau2),
    Format("otlp", is_otlp, _made(Otlp), "all"),
    Format("openinference", is_openinference, _made(OpenInference), "all"),
    Format("langsmith", is_langsmith, _made(LangSmith), "all"),
    Format("langfuse", is_langfuse, _made(Langfuse), "all"),
    Format("codex", is_codex, _made(Codex), follows=True),
    Format("qwen_code", is_qwen_code, _made(QwenCode), follows=True),
    Format("claude_code", is_claude_code, _made(ClaudeCode), follows=True),
    Format("gemini_cli", is_gemini_cli, _made(GeminiCli), follows=True),
    Format("pi", is_pi, _made(Pi), follows=True),
    Format("atif", swe_agent.is_atif, _lines(swe_agent.atif)),
    Format("mini_swe_agent", swe_agent.is_mini, _lines(swe_agent.mini)),
    Format("swe_agent", swe_agent.is_swe_agent, _lines(swe_agent.swe_agent)),
    Format("inspect", is_inspect, _made(Inspect)),
    Format("openhands", is_openhands, _made(OpenHands), "all"),
    Format("openhands_history", openhands.is_history, _lines(openhands.history)),
    Format("opencode", is_opencode, _made(OpenCode), "all"),
    Format("cline", cline.is_session, _lines(cline.session)),
    Format("cline_ui", cline.is_ui_message, _made(_Ignored)),
    Format("batch", is_batch, _made(Batches), "all"),
    Format("litellm", is_litellm, _lines(litellm)),
    Format("helicone", is_helicone, _lines(helicone)),
    Format("portkey", is_portkey, _lines(portkey)),
    Format("crewai", is_crewai, _made(CrewAI), follows=True),
    Format("llamaindex", is_llamaindex, _made(LlamaIndex), follows=True),
    Format("openai_evals", is_openai_evals, _made(OpenAIEvals), follows=True),
    Format("openai_responses", is_responses, _made(Responses), "all"),
    Format("langgraph", langgraph.is_langgraph, _lines(langgraph.read)),
    Format("sharegpt", sharegpt.is_sharegpt, _lines(sharegpt.read)),
    Format("langchain", _is_langchain, _lines(langchain.read)),
    Format("anthropic", _is_anthropic, _lines(anthropic.read)),
    Format("openai", _is_openai, _lines(openai.read)),
)
"""In the order in which they are tried: what merely has `messages` comes last."""

_HOLDERS = ("runs", "data", "observations", "spans", "traces", "logs", "requests", "rows", "items")

NAMES: Mapping[str, Format] = {each.name: each for each in FORMATS}


def format_of(raw: Raw) -> Format:
    """The format of a value. Raises RequestError for one that is of none."""
    if "policy_version" in raw and "request_digest" in raw:
        raise RequestError("a decision of a ledger among traces: it holds no prompt; replay ledgers on their own")
    found = next((each for each in FORMATS if _tells(each, raw)), None)
    if found is None:
        keys = ", ".join(printable(str(key))[:30] for key in list(raw)[:4]) or "none"
        raise RequestError(f"no list of `messages` here or under `request`, and no known log (keys: {keys})")
    return found


def held_in(raw: Raw) -> list[Any] | None:
    """The rows that an API's answer or an export holds under a name of its own (`{"runs": [...]}`)."""
    for name in _HOLDERS:
        rows = raw.get(name)
        if isinstance(rows, list) and rows and isinstance(rows[0], Mapping):
            return rows if not any(_tells(each, raw) for each in FORMATS) else None
    return None


def _tells(each: Format, raw: Raw) -> bool:
    try:
        return each.tells(raw)
    except ODD:
        return False  # keys that it knows, with values that it does not


def is_message(raw: Any) -> bool:
    """Whether a value is one message, which stands in a list or on lines of its own."""
    if not isinstance(raw, Mapping):
        return False
    if langchain.is_message(raw):
        return True
    if not isinstance(raw.get("role"), str) or "messages" in raw:
        return False
    return any(key in raw for key in ("content", "parts", "tool_calls"))


def message_list(messages: Sequence[Any], place: Place) -> Iterator[Trace | Problem]:
    """The conversation that a list of messages is: of Cline, of LangChain, or of plain ones."""
    if any(cline.is_cline_message(item) for item in messages if isinstance(item, Mapping)):
        yield from cline.conversation(messages, place)
    elif langchain.is_message(messages[0]):
        yield from langchain.read({"messages": list(messages)})
    else:
        body = {"messages": list(messages)}
        yield (anthropic if anthropic.is_anthropic(body, None) else openai).read(body)
