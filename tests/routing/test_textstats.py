"""Figures of an ask that mean the same in every language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute.messages import Tool
from agentroute.routing.textstats import measure, overlap

SAME_ASK = {
    "latin": "Please read the attached report, list the three largest risks, and explain how we could reduce each one."
    " Which of them is the most urgent?",
    "latin-de": "Bitte lies den beigefügten Bericht, nenne die drei größten Risiken und erkläre, wie wir jedes davon"
    " verringern könnten. Welches ist am dringendsten?",
    "latin-es": "Por favor, lee el informe adjunto, enumera los tres mayores riesgos y explica cómo podríamos reducir"
    " cada uno. ¿Cuál de ellos es el más urgente?",
    "han": "请阅读所附报告，列出三个最大的风险，并说明我们如何降低每一个风险。其中哪一个最紧迫？",
    "kana": "添付の報告書を読み、最も大きな三つのリスクを挙げ、"
    "それぞれをどのように減らせるか説明してください。"
    "その中で最も緊急なものはどれですか？",
    "hangul": "첨부된 보고서를 읽고 가장 큰 위험 세 가지를 나열한 다음"
    " 각각을 어떻게 줄일 수 있는지 설명해 주세요. 그중 가장 시급한 것은 무엇입니까?",
    "arabic": "يرجى قراءة التقرير المرفق، وسرد أكبر ثلاثة مخاطر، وشرح كيف يمكننا تقليل كل منها. أيها الأكثر إلحاحًا؟",
    "cyrillic": "Пожалуйста, прочитайте приложенный отчёт, перечислите три самых больших риска и объясните, как мы"
    " могли бы уменьшить каждый из них. Какой из них самый срочный?",
    "indic": "कृपया संलग्न रिपोर्ट पढ़ें, तीन सबसे बड़े जोखिमों की सूची बनाएं और बताएं कि हम प्रत्येक को कैसे कम कर सकते हैं।"
    " इनमें से सबसे ज़रूरी कौन सा है?",
    "hebrew": "אנא קראו את הדוח המצורף, מנו את שלושת הסיכונים הגדולים ביותר והסבירו"
    " כיצד נוכל לצמצם כל אחד מהם. איזה מהם הדחוף ביותר?",
    "greek": "Παρακαλώ διαβάστε τη συνημμένη έκθεση, απαριθμήστε τους τρεις μεγαλύτερους κινδύνους και εξηγήστε πώς θα"
    " μπορούσαμε να μειώσουμε τον καθένα. Ποιος είναι ο πιο επείγων;",
}


@pytest.mark.parametrize("name", SAME_ASK)
def test_the_same_ask_measures_the_same_in_every_script(name: str) -> None:
    english, foreign = measure(SAME_ASK["latin"]), measure(SAME_ASK[name])
    assert foreign.script == name.partition("-")[0]
    assert 0.8 * english.tokens <= foreign.tokens <= 1.3 * english.tokens
    assert (foreign.sentences, foreign.questions, foreign.intents) == (2, 1, 1)
    assert (foreign.code, foreign.maths, foreign.numbers) == (0, 0, 0)


@pytest.mark.parametrize(
    ("text", "intents", "questions", "numbers"),
    [
        ("What is it? And who made it?", 2, 2, 0),
        ("1. Read a.txt\n2. Write b.txt\n3) Delete c.txt", 3, 0, 3),
        ("- read\n* write\n• delete\n", 3, 0, 0),
        ("見積もりは？納期は？", 2, 2, 0),
        ("Janet has 16 eggs, eats 3 and sells the rest at $2.50 each. How much does she make?", 1, 1, 3),
        ("see https://x.org/a?b=1&c=2 for it", 1, 0, 2),
        ("hello", 1, 0, 0),
    ],
)
def test_counts(text: str, intents: int, questions: int, numbers: int) -> None:
    found = measure(text)
    assert (found.intents, found.questions, found.numbers) == (intents, questions, numbers)


@pytest.mark.parametrize(
    ("text", "code", "maths"),
    [
        ("Please book a table for two on Friday evening, near the station if you can.", False, False),
        ("def area(r):\n    return 3.14 * r\n\nWhy does this fail?", True, False),
        ("```js\nconst x = () => { return 1; };\n```", True, False),
        ("Überprüfe das:\n```\nx = {1: 2}\nprint(x)\n```", True, False),
        ("Solve 3x^2 + 5x - 2 = 0 and show $\\frac{a}{b}$", False, True),
        ("计算 12 + 7 × 3 的值", False, True),
        ("What is the capital of France? {}[]();{}[]();{}[]();{}[]();{}[]();{}[]();", False, False),
        ("What is the capital of France? ^^^^^^^^^^^^^^^^^^ ^^^^", False, False),
        ("What is the capital of France? ``` ```", False, False),
        ("Marketing: okay . {vocalsound} Yeah .\nUser Interface: {disfmarker} [laugh] So . {gap}\n" * 9, False, False),
        ("As shown in [3] and [12], the method holds {noise}.", False, False),
        ("From 2024-05-15 to 2024-06-01, path a/b/c, version 1.2.3", False, False),
    ],
)
def test_code_and_maths(text: str, code: bool, maths: bool) -> None:
    found = measure(text)
    assert (found.code > 0.15, found.maths > 0.15) == (code, maths)


PROSE = "please look at this carefully and tell me what you think about it all "


@pytest.mark.parametrize(
    "ask", ["What is 17^23 mod 31 + 4^9 / 3 + 12*7?", "```python\ndef f(x):\n    return g(x)[0];\n```"]
)
def test_prose_around_a_formula_or_code_does_not_thin_it_out(ask: str) -> None:
    alone, padded = measure(ask), measure(PROSE * 8 + ask + PROSE * 8)
    assert (padded.code > 0.15, padded.maths > 0.15) == (alone.code > 0.15, alone.maths > 0.15) != (False, False)


def test_japanese_is_told_from_chinese_by_its_kana() -> None:
    assert measure("東京都新宿区人口統計報告書概要説明をして").script == "kana"
    assert measure("东京都新宿区人口统计报告书概要说明。《附录》、附件").script == "han"


def test_an_empty_text_has_no_figures() -> None:
    found = measure("")
    assert (found.tokens, found.script, found.intents) == (0, "none", 0)
    assert measure("12 + 7").script == "none"


TOOLS = (
    Tool("get_flight_status", "Looks up whether a flight is on time"),
    Tool("bookHotel", "Books a hotel room"),
)


def test_overlap_says_how_much_of_the_ask_the_tools_name() -> None:
    near = overlap(measure("What is the status of flight HAT045?").plain, TOOLS)
    far = overlap(measure("Write a long poem about autumn leaves in the old park near my grandmother").plain, TOOLS)
    assert near is not None
    assert near > 0.5
    assert far == 0


SHORT = ["commit this", "adelante", "think then say hello", "remove the x.json"]


@pytest.mark.parametrize("text", ["", SAME_ASK["latin-de"], SAME_ASK["han"], SAME_ASK["arabic"], *SHORT])
def test_overlap_says_nothing_where_it_cannot_know(text: str) -> None:
    assert overlap(measure(text).plain, TOOLS) is None
    assert overlap(measure("book a hotel").plain, ()) is None


@given(st.text(max_size=2000))
def test_any_text_is_measured(text: str) -> None:
    found = measure(text)
    assert found == measure(text)
    assert 0 <= found.code <= 1
    assert 0 <= found.maths <= 1
    assert found.tokens >= bool(text)
