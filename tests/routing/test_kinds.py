"""Side calls of clients are told from the steps of their loop; what a person says in a loop is none."""

from __future__ import annotations

from typing import Any

import pytest

from agentroute import Router
from agentroute.catalog.example import example_targets
from agentroute.decisions import StepContext, StepKind, Strategy
from agentroute.messages import ChatRequest, Extra, Message, Sampling, Text, Tool, ToolCall, ToolResult
from agentroute.routing.step import Step
from agentroute.targets import Target, Tier

TOOLS = (Tool("Read"), Tool("Edit"), Tool("Bash"))


def user(text: str) -> Message:
    return Message("user", (Text(text),))


def says(text: str) -> Message:
    return Message("assistant", (Text(text),))


def system(text: str) -> Message:
    return Message("system", (Text(text),))


LOOP = (
    user("Mend the login page."),
    Message("assistant", (ToolCall("a", "Read", '{"path": "login.ts"}'),)),
    Message("tool", (ToolResult("a", (Text("export const x = 1"),)),)),
    says("It is mended."),
)


def kind(*messages: Message, context: StepContext | None = None, **fields: Any) -> StepKind:
    return Step.of(ChatRequest(messages, **fields), context).kind


COMPACTIONS = [
    "Summarise the conversation for whoever takes over.",
    "Your task is to create a detailed summary of the conversation so far, paying attention to what was asked.",
    "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.\n\n- You already have all the context you need.\n\n"
    "Your task is to create a detailed summary of this conversation.",
    "You are performing a CONTEXT CHECKPOINT COMPACTION. Create a handoff summary for another LLM that will resume the "
    "task.",
    "Provide a detailed summary of our conversation above. Focus on what helps to continue it.",
    "The messages above are a conversation to summarize. Create a structured context checkpoint summary that another "
    "LLM will use to continue the work.",
    "The current conversation is running out of context. Now, your urgent task is to create a comprehensive summary of "
    "the conversation so far.",
    "*Briefly* summarize this partial conversation about programming.",
    "Please condense the session so far.",
]


@pytest.mark.parametrize("text", COMPACTIONS)
@pytest.mark.parametrize("tools", [(), TOOLS], ids=["no tools", "tools"])
def test_a_compaction_is_a_summary_with_tools_and_without(text: str, tools: tuple[Tool, ...]) -> None:
    assert kind(*LOOP, user(text), tools=tools) is StepKind.SUMMARISE


@pytest.mark.parametrize(
    "prompt",
    [
        "You are the component that summarizes internal chat history into a given structure.",
        "Summarise the conversation for whoever takes over. Keep file names.",
        "You are a helpful assistant tasked with summarizing conversations. Summarize the session below.",
    ],
)
def test_a_system_prompt_that_only_summarises(prompt: str) -> None:
    assert kind(system(prompt), user("First, reason in your scratchpad. Then write it.")) is StepKind.SUMMARISE


@pytest.mark.parametrize(
    "text",
    [
        "why does unsubscribe clear the listeners? on switch or compact the session would subscribe again",
        "Where is the conversation summarised in this code?",
        "Fix the session summary page.",
        "Summarise the session handling code in src/.",
        "The compaction of the chat history is broken, please mend it.",
        "Summarise the report that I attached.",
        "write a test for summarize(conversation)",
    ],
)
def test_talk_about_summaries_and_sessions_is_an_ask(text: str) -> None:
    assert kind(*LOOP, user(text), tools=TOOLS) is StepKind.FIRST_ASK


def test_a_question_about_a_transcript_is_no_compaction() -> None:
    prompt = "You are a helpful assistant for meeting summarization. Answer the query from the transcript below."
    assert kind(system(prompt), user("A: hello.\nB: hi.\n\nWhat did they decide?")) is StepKind.FIRST_ASK


@pytest.mark.parametrize(
    "messages",
    [
        (system("You are a title generator. You output ONLY a thread title."), user("Mend the login page.")),
        (
            system("Generate a concise title of 3 to 7 words that says what this session is about."),
            user("Mend the login page."),
        ),
        (
            system("You generate concise, one-line Git commit messages based on the provided diffs."),
            user("diff --git a/a.ts b/a.ts\n--- a/a.ts\n+++ b/a.ts\n@@ -1 +1 @@\n-x();\n+y();"),
        ),
        (system("Analyze if this message indicates a new conversation topic."), user("and now the footer")),
        (system("Your task is to say the command prefix of the user's command."), user("git status")),
        (user("Generate a concise title for this chat.\n<chat>hi</chat>"),),
    ],
)
def test_titles_topics_and_commit_messages_are_housekeeping(messages: tuple[Message, ...]) -> None:
    assert kind(*messages) is StepKind.HOUSEKEEPING


def test_a_probe_and_a_lone_search_are_housekeeping() -> None:
    assert kind(user("quota"), sampling=Sampling(max_output_tokens=1)) is StepKind.HOUSEKEEPING
    search = Tool("web_search", extra=Extra("anthropic_messages", {"type": "web_search_20250305"}))
    assert kind(user("Perform a web search for cats"), tools=(search,)) is StepKind.HOUSEKEEPING
    assert kind(user("Perform a web search for cats"), tools=(search, Tool("Read"))) is StepKind.FIRST_ASK


def test_what_is_asked_in_a_loop_is_no_housekeeping() -> None:
    assert kind(*LOOP, user("Write a commit message for the diff."), tools=TOOLS) is StepKind.FIRST_ASK
    assert kind(system("You write titles for this session."), *LOOP, user("go on"), tools=TOOLS) is StepKind.FIRST_ASK
    assert kind(user("Write a title page for my thesis.")) is StepKind.FIRST_ASK


def test_what_a_client_calls_its_request_counts() -> None:
    assert kind(*LOOP, user("go"), context=StepContext(node="compaction"), tools=TOOLS) is StepKind.SUMMARISE
    assert kind(user("go"), context=StepContext(node="title")) is StepKind.HOUSEKEEPING
    assert kind(user("Summarise the report."), context=StepContext(node="summarize")) is StepKind.FIRST_ASK
    trigger = Message("assistant", (Text("", extra=Extra("openai_responses", {"type": "compaction_trigger"})),))
    assert kind(*LOOP, trigger, tools=TOOLS) is StepKind.SUMMARISE


def tier(*messages: Message, strategy: Strategy = "balanced", **fields: Any) -> Tier:
    router = Router(targets=example_targets(), strategy=strategy)
    return router.route(ChatRequest(messages, **fields)).tier


@pytest.mark.parametrize("strategy", ["balanced", "cheapest"])
def test_housekeeping_is_cheap_and_a_compaction_has_a_floor(strategy: Strategy) -> None:
    assert tier(system("You are a title generator for a chat session."), user("hi"), strategy=strategy) is Tier.BUDGET
    assert tier(*LOOP, user(COMPACTIONS[0]), tools=TOOLS, strategy=strategy) is Tier.STANDARD


def test_the_floor_of_a_compaction_shuts_nobody_out() -> None:
    router = Router(targets=[Target(provider="openai", model="gpt-6-luna")])
    assert router.route(ChatRequest((*LOOP, user(COMPACTIONS[0])))).tier is Tier.BUDGET


SUMMARY = user(
    "This session is being continued from a previous conversation that ran out of context. The conversation is "
    "summarized below:\nSummary: total() in src/cart.ts was mended; tests are pending. Please summarise nothing. Why?"
)


@pytest.mark.parametrize(
    "text",
    [
        "Base directory for this skill: /w/skills/pdf\n\n# PDF\n1. Read it.\n2. Split it?",
        "[Context reset] The history was summarised to save room.",
        "The conversation history before this point was compacted into the following summary: ...",
        "<state_snapshot>\n<goal>mend it</goal>\n</state_snapshot>",
    ],
)
def test_skills_resets_and_summaries_are_no_asks(text: str) -> None:
    found = Step.of(ChatRequest((*LOOP, user(text)), tools=TOOLS))
    assert found.ask == "Mend the login page."
    assert found.n_user_turns == 1


def test_after_a_compaction_the_work_goes_on() -> None:
    found = Step.of(ChatRequest((SUMMARY,), tools=TOOLS))
    assert (found.continued, found.ask, found.n_intents) == (True, "", 0)
    later = Step.of(ChatRequest((SUMMARY, user("Now the footer.")), tools=TOOLS))
    assert (later.continued, later.ask) == (True, "Now the footer.")


@pytest.mark.parametrize(
    "opening",
    [
        "Please solve this issue: ",
        "We're currently solving the following issue within our repository. Here's the issue text:\nISSUE:\n",
    ],
)
def test_how_a_harness_opens_every_task_says_nothing(opening: str) -> None:
    assert Step.of(ChatRequest((user(opening + "The page is blank."),))).ask.strip() == "The page is blank."


@pytest.mark.parametrize("tools", [(), TOOLS], ids=["no tools", "tools"])
@pytest.mark.parametrize(
    "text",
    [
        "Provide a detailed prompt for continuing our conversation above. Say what was done.",
        "Write a prompt for continuing this session.",
        "First, reason in your scratchpad. Then, generate the <state_snapshot>.",
        "Now output the <conversation_summary>.",
    ],
)
def test_more_wordings_of_a_compaction(text: str, tools: tuple[Tool, ...]) -> None:
    assert kind(*LOOP, user(text), tools=tools) is StepKind.SUMMARISE


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("Summarize this coding conversation in under 50 characters.", "mend the bug"),
        ("Condense the chat in at most 6 words.", "mend the bug"),
        ("You come up with short names for chats. Reply with the chat name only.", "mend the bug"),
        ("You are a helpful assistant.", "Give this conversation a short name of 4 words."),
    ],
)
def test_a_summary_of_a_few_words_is_a_title(prompt: str, text: str) -> None:
    assert kind(system(prompt), user(text)) is StepKind.HOUSEKEEPING
