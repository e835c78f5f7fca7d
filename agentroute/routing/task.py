"""What sort of work a step is: from the tools and the conversation where they tell, from a few words where not.

The task chooses the row of the strategy table (how much a failure costs). It does not touch the prediction of which
tier suffices: words are too easy to game for that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agentroute.decisions import StepKind, Task
from agentroute.messages import ChatRequest, Message

from .actions import named
from .ask import without_harness
from .protocols import declares
from .step import Step

__all__ = ["Work"]

_ON_SOURCE = 0.3
"""Share of the latest calls on source code from which a loop counts as work on code."""

_GIVEN_CHARS = 1500
"""A user message this long brings the material along (passages, a transcript, a document)."""

_STEMS: dict[Task, str] = {
    Task.SUMMARISATION: r"\b(?:summar|tl;?dr|zusammenfass|resum[ei]|résum|riassum|samenvat|streszcz)"
    r"|кратк\w+ (?:содерж|излож)|总结|摘要|概括|要約|まとめ|요약|ملخص|सारांश",
    Task.TRANSLATION: r"\b(?:translat|übersetz|tradu[cizs]|vertaal)|перевед|переклад|翻译|翻訳|訳して|번역|ترجم|अनुवाद",
    Task.EXTRACTION: r"\b(?:extract|list all|pull out|extrahier|extrai)|извлек|提取|抽出|추출|استخرج",
    Task.CLASSIFICATION: r"\b(?:classif|categori[sz]|label (?:each|the|this)|klassifizier|clasifi)|分类|分類|분류|صنف",
    Task.FORMATTING: r"\b(?:reformat|format (?:as|this|the)|as (?:a )?(?:markdown|json|csv|yaml|table)\b)|整形",
    Task.CODE_GENERATION: r"\b(?:implement|refactor"
    r"|write (?:a |an |the |some )?(?:\w+ ){0,2}(?:function|script|class|program|test|query|regex|endpoint))",
    Task.PLANNING: r"\b(?:plan|roadmap|architect|design (?:a|an|the)|strategy|entwirf|planifi)|规划|設計|计划|계획|خطة",
    Task.REASONING: r"\b(?:prove|derive|step by step|how many|probability|solve|beweis|demuestr)|证明|証明|증명|सिद्ध",
    Task.ANALYSIS: r"\b(?:analy[sz]|compar[ei]|evaluat|review|assess|trade-?off|vergleich)|分析|比较|比較|분석|تحليل",
    Task.WRITING: r"\b(?:write|draft|compose|rewrit|rephras|schreib|redacta|rédige|scrivi)|напиш|写|書いて|작성|اكتب",
}
"""Stems in a dozen languages; the task whose stem stands first in the ask is taken."""

_WORDS = re.compile("|".join(f"(?P<{task.value}>{stems})" for task, stems in _STEMS.items()))
_LETTERS = re.compile("[a-z]+")
_BEGINNINGS = frozenset(
    "sum tl tld zus res ria sam str tra tru ver ueb ext lis pul cla cat lab kla ref for as imp wri pla roa arc des ent "
    "pro der ste how sol bew dem ana com eva rev ass ver dra rew rep sch red scr".split()
)
"""The first letters of the Latin stems: an ASCII ask without any of them is not searched (the search takes 30 us)."""

_WORDS_READ = 240
"""Characters of the ask that are read for a stem."""


@dataclass(frozen=True, slots=True)
class Work:
    """The task, and two facts about the material: whether it is source code, and whether the text was given along."""

    task: Task
    on_source: bool
    text_given: bool

    @classmethod
    def of(cls, request: ChatRequest, step: Step) -> Work:
        in_loop = step.steps_in_turn > 0 and step.last_action != "none"
        on_source = in_loop and (step.code >= 0.3 or step.on_source >= _ON_SOURCE)
        text_given = not in_loop and not request.tools and _text_given(request.messages)
        return cls(_task(request, step, in_loop, on_source, text_given), on_source, text_given)


def _task(request: ChatRequest, step: Step, in_loop: bool, on_source: bool, text_given: bool) -> Task:
    if step.kind is StepKind.SUMMARISE:
        return Task.SUMMARISATION
    if in_loop:
        return Task.CODE_REPAIR if on_source else Task.TOOL_USE
    if step.continued and step.n_user_turns <= 1 and request.tools:
        return Task.CODE_REPAIR if _codes(request) else Task.TOOL_USE
    if step.code >= 0.2:
        return Task.CODE_REPAIR if step.ask_chars >= 400 else Task.CODE_GENERATION
    head = step.ask[:_WORDS_READ].lower()
    if not head.isascii() or not _BEGINNINGS.isdisjoint([word[:3] for word in _LETTERS.findall(head)]):
        found = _WORDS.search(head)
        if found is not None and found.lastgroup is not None:
            return Task(found.lastgroup)
    if request.tools:
        return Task.TOOL_USE
    if request.response_schema is not None:
        return Task.EXTRACTION
    return Task.QA if text_given or step.n_questions else Task.CHAT


def _codes(request: ChatRequest) -> bool:
    """Whether the tools are those of a coding agent: one that edits files and one that runs commands."""
    names = [named(tool.name) for tool in request.tools[:64]]
    return any(shell for _, shell in names) and any(act == "edit" for act, _ in names)


def _text_given(messages: Sequence[Message]) -> bool:
    """Whether a user brought the material along, before any model spoke (what comes later may be a tool's)."""
    for message in messages[:8]:
        if message.role == "assistant":
            return False
        if message.role == "user" and len(message.text) >= _GIVEN_CHARS:
            return len(without_harness(message.text)) >= _GIVEN_CHARS and not declares(messages)
    return False
