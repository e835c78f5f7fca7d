"""What the scripted models say: a function of the conversation alone, the same whichever target serves it."""

from __future__ import annotations

import json

from agentroute.messages import ChatRequest, ToolCall, ToolResult
from agentroute.testing import ScriptedReply, tool_call

__all__ = ["ARCHIVE", "DESK", "ENGINEER", "TRIAGE", "WRITER", "reply", "scene"]

TRIAGE = "You sort incoming tickets of a small shop. Classify the ticket; do not solve it."

DESK = """\
You are the customer desk of a small shop. You settle one ticket at a time, with the tools you are given.

How you work
- Find the order first, then what the customer got, then what our terms promise. Settle nothing from memory.
- Compare line by line and in cents. Say which line is wrong and by how much before you pay anything back.
- What we owe is booked as a credit note, once. The customer is not asked to prove what our own papers show.
- When all is booked, answer with a note for the engineers: what is wrong in our papers, which promise it breaks, what
  was paid back. They do not see your conversation.

Rules
- An order belongs to the address that placed it. Tell nobody else anything about it, not even that it exists.
- The terms of sale decide. Where they are silent, the customer is right up to 20 euros; above that, ask a colleague.
- Bounds in the terms are inclusive: "from ten pieces on" includes ten, "within 30 days" includes the thirtieth.
- A discount is computed on the line, not on the order, and rounded once, half a cent up.
- A credit note names the order, the cents and the reason in words the customer can check.
- Never book above what was paid for the order. Never book a second credit note for the same reason.
- If booking fails and it is unknown whether it was booked, repeat the same request with a request_id: accounting books
  a request_id once. Do not change the amount when you repeat.
- Delivered goods of a wrong order are collected by us; the customer does not carry them to a post office.
- Do not promise what engineers will do or when. Do not give advice on tax.

Words
- Short sentences, no exclamation marks, no apologies in a row. One apology, where we were wrong.
- Amounts with two decimals and the currency, dates in full, names as the customer writes them.
- No names of systems, tables or functions towards a customer; towards engineers the exact figures."""

ENGINEER = """\
You are the maintenance engineer of a small Python shop. You work on one report at a time, with the tools you are given.

How you work
- Look before you change anything: search and read what the report is about.
- Reproduce the fault with the test suite before you repair it, and run the suite again after each change.
- Make the smallest change that removes the cause. Do not change a test to make it pass.
- When all tests pass, answer in a few sentences: cause, change, proof. Somebody else writes the changelog.

The repository
- `shop/orders.py` holds what a customer wants, and nothing that costs anything: order lines are values and are never
  changed once they are made. An order keeps its lines in the order in which they were added.
- `shop/pricing.py` holds every rule that makes an order cheaper or dearer. A rule is a function from one line or one
  order to cents; it does not look at the customer's history, the time of day or a database.
- `shop/money.py` is the only place that does arithmetic on amounts. Everything else adds and subtracts whole cents.
- `shop/invoice.py` turns an order into text. It computes nothing: what it shows comes from pricing.
- Tests stand in `tests/`, one file for each module that has rules, and say in their names what the shop promises.

House rules for code
- Python 3.11, the standard library only; type hints on everything public; lines of at most 120 characters.
- Money is whole cents, as int. Never introduce a float: 0.1 + 0.2 has cost this shop a tax audit. Where a percentage is
  taken, use decimal.Decimal and round once, explicitly, at the end.
- Rounding is half up, for amounts of either sign away from zero, because the tax office says so (section 14 of the
  bookkeeping act as our accountant reads it). Python's `round` rounds halves to even and is wrong here.
- Bounds in our terms of sale are inclusive: "from ten pieces on" includes ten, "up to 30 days" includes the thirtieth.
- A function that refuses an argument says which value it got and what it would have taken.
- Names are words from the terms of sale. If the terms say "bulk discount", the code does not say "rebate".
- No new dependency, no new module and no new setting without a report of its own.
- Comments give reasons. A comment that says what the next line does is deleted in review.

House rules for changes
- One cause, one change. Two causes found in one report are two changes, each followed by a run of the suite.
- Never edit generated files, and never edit `shop/__init__.py` except to change its docstring.
- Do not touch released sections of the changelog: they were sent to customers as they stand.

When something goes wrong
- A failing test is information: read which promise is broken before you look at the code.
- If the same test fails twice after different changes, the cause is somewhere else; read one level deeper.
- If a tool reports an error, say what it means for the change before you go on.
- If the report contradicts the terms of sale, stop and ask; the terms win until somebody changes them."""

WRITER = "You write to customers of a small shop: short, plain, friendly, no internals, signed by the customer desk."

ARCHIVE = "Summarise the case below for the archive in at most three sentences."

_TRIAGED = {"kind": "complaint", "area": "invoicing", "urgency": "normal", "may_be_our_bug": True}


def reply(request: ChatRequest) -> ScriptedReply:
    """The answer to a request. Raises ValueError for a conversation that is not in the script."""
    role = request.messages[0].text
    if role == TRIAGE:
        return _triage(request)
    if role == DESK:
        return _desk(request)
    if role == ENGINEER:
        return _engineer(request)
    if role == WRITER:
        return ScriptedReply(
            "Dear Ada, you are right on both lines. The mugs were owed 4.00 off and the pens 0.50 instead of 0.49, so "
            "4.01 euros come back to you with credit note CN-88 within three working days. The fault is repaired; your "
            "next invoice will be right. We are sorry for the trouble. Your customer desk"
        )
    if request.messages[-1].text.startswith(ARCHIVE):
        return ScriptedReply(
            "Order 2041 was invoiced 4.01 euros too high, as the bulk discount left out exactly ten pieces and lost "
            "half cents. Credit note CN-88 pays it back. Both causes are repaired, with all tests passing."
        )
    raise ValueError(f"no scene for {role[:40]!r}")


def scene(request: ChatRequest) -> str:
    """Where in the story this request stands: the tool that answered last, or nothing."""
    done = _last(request)
    return "" if done is None else done[0].name


def _last(request: ChatRequest) -> tuple[ToolCall, ToolResult] | None:
    """The latest tool result with the call it answers."""
    calls = {call.id: call for message in request.messages for call in message.tool_calls}
    results = [result for message in request.messages for result in message.tool_results]
    return (calls[results[-1].tool_call_id], results[-1]) if results else None


def _triage(request: ChatRequest) -> ScriptedReply:
    """JSON text or a call of the forced tool, whichever the client asked for."""
    if request.response_schema is not None:
        return ScriptedReply(json.dumps(_TRIAGED))
    return ScriptedReply(tool_calls=tuple(tool_call(tool.name, **_TRIAGED) for tool in request.tools))


def _desk(request: ChatRequest) -> ScriptedReply:
    done = _last(request)
    if done is None:
        return ScriptedReply("First the order.", (tool_call("find_order", email="ada@example.org", number=2041),))
    call, result = done
    match call.name:
        case "find_order":
            return ScriptedReply("", (tool_call("get_invoice", number=2041),))
        case "get_invoice":
            return ScriptedReply("Now what we promise.", (tool_call("search_terms", text="bulk discount"),))
        case "search_terms":
            return ScriptedReply(
                "Mugs: ten pieces, 80.00, 5 % is 4.00, given 0.00. Pens: eleven pieces, 9.90, 5 % is 0.495, half a "
                "cent counts as one, so 0.50, given 0.49. Owed: 4.01.",
                (_credit(),),
            )
        case "issue_credit" if result.text.startswith("Error"):
            return ScriptedReply(
                "It is unknown whether the credit was booked. The same request again, with a request_id, so that it "
                "cannot be booked twice.",
                (_credit(request_id="2041-bulk-discount"),),
            )
        case "issue_credit":
            return ScriptedReply(
                "For the engineers: invoice 2041 breaks section 4 twice. A line of exactly ten pieces (10 x 800 cents) "
                "got no bulk discount; a discount of 49.5 cents (5 % of 990) was given as 49 instead of 50. Paid back: "
                "401 cents, credit note CN-88. Please find and remove both causes."
            )
        case name:
            raise ValueError(f"no scene after {name}")


def _credit(**more: str) -> ToolCall:
    return tool_call("issue_credit", order=2041, cents=401, reason="bulk discount on mugs and pens", **more)


def _engineer(request: ChatRequest) -> ScriptedReply:
    done = _last(request)
    if done is None:
        return ScriptedReply(
            "Plan: find where the bulk discount is decided, reproduce both faults with the suite, repair one cause "
            "after the other, run the suite after each.",
            (tool_call("search_code", text="discount"),),
        )
    call, result = done
    match call.name, call.parsed().get("path"):
        case "search_code", _:
            return ScriptedReply("The rule is in shop/pricing.py.", (tool_call("read_file", path="shop/pricing.py"),))
        case "read_file", "shop/pricing.py":
            return ScriptedReply("Both complaints have a test. Let me see them fail.", (tool_call("run_tests"),))
        case "run_tests", _ if "failures=2" in result.text:
            return ScriptedReply(
                "Two failures. The first is the comparison: `>` leaves out an order of exactly ten pieces, although "
                "the terms and the docstring say from ten on. The second has another cause; one thing at a time.",
                (_edit("shop/pricing.py", "if line.quantity > BULK_FROM:", "if line.quantity >= BULK_FROM:"),),
            )
        case "edit_file", _:
            return ScriptedReply("", (tool_call("run_tests"),))
        case "run_tests", _ if "failures=1" in result.text:
            return ScriptedReply(
                "The bound is repaired; half a cent is still lost: 5 % of 990 is 49.5, and 49 comes out. The "
                "arithmetic is in shop/money.py.",
                (tool_call("read_file", path="shop/money.py"),),
            )
        case "read_file", "shop/money.py":
            return ScriptedReply(
                "`int()` cuts towards zero, so every half cent is lost, against the docstring. Rounding must be "
                "explicit: ROUND_HALF_UP on the decimal, before it becomes an int. Python's own `round` would be wrong "
                "here too, as it rounds halves to even.",
                (
                    _edit(
                        "shop/money.py",
                        "return int(Decimal(cents) * percent / 100)",
                        'return int((Decimal(cents) * percent / 100).quantize(Decimal(1), rounding="ROUND_HALF_UP"))',
                    ),
                ),
            )
        case "run_tests", _ if "exit code 0" in result.text:
            return ScriptedReply(
                "Cause: the bulk discount asked for more than ten pieces instead of at least ten, and `percent_of` cut "
                "off fractions of a cent instead of rounding halves up. Change: one comparison in shop/pricing.py and "
                "the rounding in shop/money.py, with decimals only. Proof: all five tests pass; no test was changed."
            )
        case name, _:
            raise ValueError(f"no scene after {name}: {result.text[:60]!r}")


def _edit(path: str, old: str, new: str) -> ToolCall:
    return tool_call("edit_file", path=path, old=old, new=new)
