"""The human ask, freed from what harnesses put around it."""

from __future__ import annotations

import pytest

from agentroute.messages import Audio, Document, Image, Message, Text, ToolCall, ToolResult
from agentroute.routing.ask import Ask, find_ask, without_harness

ASK = "Fix the login page."


def user(text: str) -> Message:
    return Message("user", (Text(text),))


def says(text: str) -> Message:
    return Message("assistant", (Text(text),))


CALL = Message("assistant", (ToolCall("c", "read", "{}"),))
RESULT = Message("tool", (ToolResult("c", (Text("done"),)),))


def ask_of(*messages: Message) -> Ask:
    return find_ask(messages, [place for place, message in enumerate(messages) if message.role == "user"])


@pytest.mark.parametrize(
    "text",
    [
        ASK,
        f"{ASK}\n<system-reminder>\nYour todo list is empty.\n</system-reminder>",
        f"<system-reminder>As you answer, mind CLAUDE.md</system-reminder>\n{ASK}<system-reminder>x</system-reminder>",
        f"<task>\n{ASK}\n</task>\n<environment_details>\n# VSCode Visible Files\nerror.py\n</environment_details>",
        f"<user_info>\nOS: linux\n</user_info>\n<project_layout>a/</project_layout><user_query>\n{ASK}\n</user_query>",
        f"<environment_context>\n<cwd>/w</cwd>\n</environment_context>\n\n{ASK}",
        f"<pr_description>\n{ASK}\n</pr_description>\n<instructions>\nSubmit with `echo DONE`. "
        + "Rules. " * 400
        + "</instructions>",
        f"<uploaded_files>\n/w\n</uploaded_files>\n<issue_description>\n{ASK}\n</issue_description>",
        f'<context source="kb">\nPassage one. Passage two?\n</context>\n{ASK}',
        f"<attachments><attachment id='1'>a.py</attachment></attachments><userRequest>{ASK}</userRequest>",
        f"<issue>{ASK}</issue>",
        f"\nCurrent Task: {ASK}",
        f"\nCurrent Task: {ASK}\n\nProvide your complete response:",
        f"\nCurrent Task: {ASK}\n\nThis is the context you're working with:\nSummarise <b>nothing</b>. Prove it?",
        f"\nCurrent Task: {ASK}\n\n# Memories from past conversations:\n- 2024: a bug",
        f"\nCurrent Task: {ASK}\n\nBegin! This is VERY important to you, use the tools available and give your best "
        f"Final Answer, your job depends on it!\n\nThought:",
        f"\nCurrent Task: {ASK}\nFormat your final answer according to the following OpenAPI schema: "
        + '{"type": "object"}' * 900
        + "\n\nIMPORTANT: Preserve the original content exactly as-is.\n\nEnsure the final output does not include any "
        "code block markers like ```json or ```python.",
    ],
)
def test_harness_text_is_no_ask(text: str) -> None:
    found = ask_of(user(text))
    assert found.text == ASK
    assert found.chars == len(ASK)
    assert found.last


@pytest.mark.parametrize(
    "text",
    [
        "if a < b and c > d: pass",
        "Explain <div class='x'>this</div> please",
        "<question>Why?</question><instructions>Answer in French.</instructions>",
        "Unclosed <system-reminder> is text",
        "<Context>other case of the closing tag</context>",
    ],
)
def test_a_users_own_marks_stay(text: str) -> None:
    found = without_harness(text)
    assert all(word in found for word in ("French",) if word in text)
    assert len(found) >= len(text) - len("<question></question>")


def test_what_crewai_writes_around_a_task_is_no_ask() -> None:
    found = ask_of(
        user(
            f"\nCurrent Task: {ASK}\n\nThis is the expected criteria for your final answer: One line\n"
            f"you MUST return the actual complete content as the final answer, not a summary."
        )
    )
    assert found.text == f"{ASK}\n\nOne line"


def test_such_words_of_a_user_stay() -> None:
    text = "Why does it say 'you MUST return the actual complete content as the final answer, not a summary.'?"
    assert without_harness(text) == text


def test_a_message_of_harness_text_alone_is_no_turn() -> None:
    reminder = user("<system-reminder>The file changed.</system-reminder>")
    found = ask_of(user(ASK), CALL, RESULT, reminder)
    assert (found.text, found.turns, found.turn, found.last) == (ASK, 1, 0, False)


def test_the_only_message_is_the_ask_even_in_a_harness_block() -> None:
    assert ask_of(user("<context>Where is it?</context>")).text == "<context>Where is it?</context>"


@pytest.mark.parametrize(
    "text",
    [
        "<returncode>0</returncode>\n<output>\nhello\n</output>",
        "EXECUTION RESULT of [execute_bash]:\nhello",
        "[read_file for 'a.py'] Result:\nhello",
        "Observation: hello",
        "<tool_response>\nhello\n</tool_response>",
    ],
)
def test_a_result_sent_as_user_text_is_no_ask(text: str) -> None:
    found = ask_of(user(ASK), says("Let me look."), user(text))
    assert (found.text, found.turns, found.last) == (ASK, 1, False)


def test_the_latest_ask_counts() -> None:
    found = ask_of(user("Hello"), says("Hi"), user(ASK))
    assert (found.text, found.first, found.turns, found.turn) == (ASK, "Hello", 2, 2)


def test_a_word_thrown_in_does_not_end_the_tool_loop() -> None:
    found = ask_of(user(ASK), CALL, RESULT, user("Use Python 3."))
    assert (found.text, found.turn, found.last) == ("Use Python 3.", 0, True)


def test_a_users_own_tools_are_no_tool_loop() -> None:
    own = Message("user", (ToolCall("u", "toggle_data", "{}"),))
    found = ask_of(user(ASK), says("Please toggle data."), own, RESULT, user("Done, it is on."))
    assert (found.text, found.turn) == ("Done, it is on.", 4)


def test_a_file_alone_is_an_ask() -> None:
    for file in (Image(url="https://x.org/a.png"), Document(url="https://x.org/a.pdf"), Audio(data="UklGRg==")):
        found = ask_of(user(ASK), says("ok"), Message("user", (file,)))
        assert (found.text, found.turns, found.turn) == ("", 2, 2)


def test_a_long_ask_keeps_head_and_tail() -> None:
    found = ask_of(user("Start. " + "x" * 50_000 + " The end?"))
    assert found.chars == 50_016
    assert len(found.text) == 2_000
    assert found.text.startswith("Start.")
    assert found.text.endswith("The end?")


def test_code_in_the_middle_of_a_long_ask_is_kept() -> None:
    prose = "please look at this carefully and tell me what you think. " * 60
    found = ask_of(user(prose + "\n```python\ndef f(x):\n    return x\n```\n" + prose))
    assert len(found.text) == 2_000
    assert "def f(x):" in found.text


def test_no_user_message() -> None:
    assert ask_of(Message("system", (Text("Be brief."),))) == Ask("", 0, "", 0, -1, last=False)
    assert ask_of() == Ask("", 0, "", 0, -1, last=False)
