"""The demo's world: a small shop whose code has two bugs, and the tools that its agents work with."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from langchain_core.tools import BaseTool, StructuredTool, ToolException

__all__ = ["FILES", "TICKET", "Workspace"]

TICKET = """\
Hello, I think my invoice is wrong. I am ada@example.org, order 2041: ten mugs and eleven pens. Your terms promise 5 %
off from ten pieces of an article on. The mugs got nothing, and on the pens I count 0.50 off, but the invoice says
0.49. Please check and pay back what I am owed. Best regards, Ada"""

FILES = {
    "shop/__init__.py": '"""A small shop: orders, prices, invoices."""\n',
    "shop/orders.py": '''"""What a customer wants: order lines and the order that holds them."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class OrderLine:
    """One article: how many pieces, and the price of one in cents."""

    article: str
    quantity: int
    unit_cents: int

    @property
    def cents(self) -> int:
        return self.quantity * self.unit_cents


@dataclass
class Order:
    """Lines in the order in which the customer added them."""

    customer: str
    lines: list[OrderLine] = field(default_factory=list)

    def add(self, article: str, quantity: int, unit_cents: int) -> None:
        if quantity < 1:
            raise ValueError(f"quantity is {quantity}; an order line has at least one piece")
        self.lines.append(OrderLine(article, quantity, unit_cents))
''',
    "shop/money.py": '''"""Money as whole cents: no binary fractions on the way to an invoice."""

from decimal import Decimal


def percent_of(cents: int, percent: int) -> int:
    """`percent` per cent of `cents`, as whole cents; half a cent counts as one, as the tax office wants it."""
    return int(Decimal(cents) * percent / 100)


def show(cents: int) -> str:
    """Cents as a customer reads them: 123456 is '1,234.56'."""
    sign = "-" if cents < 0 else ""
    whole, rest = divmod(abs(cents), 100)
    return f"{sign}{whole:,}.{rest:02d}"
''',
    "shop/pricing.py": '''"""What an order costs: the sum of its lines, less the bulk discount."""

from shop.money import percent_of
from shop.orders import Order, OrderLine

BULK_FROM = 10
"""Pieces of one article from which on the bulk discount is given (our terms, section 4)."""
BULK_PERCENT = 5


def discount(line: OrderLine) -> int:
    """Cents off this line: BULK_PERCENT from BULK_FROM pieces on, otherwise nothing."""
    if line.quantity > BULK_FROM:
        return percent_of(line.cents, BULK_PERCENT)
    return 0


def total(order: Order) -> int:
    """Cents to pay for the whole order."""
    return sum(line.cents - discount(line) for line in order.lines)
''',
    "shop/invoice.py": '''"""An order as the text of an invoice."""

from shop.money import show
from shop.orders import Order
from shop.pricing import discount, total


def render(order: Order) -> str:
    """One line for each article, its discount below it, the total at the end."""
    rows = [f"Invoice for {order.customer}"]
    for line in order.lines:
        rows.append(f"{line.quantity:>4} x {line.article:<20} {show(line.cents):>12}")
        off = discount(line)
        if off:
            rows.append(f"       bulk discount        {show(-off):>12}")
    rows.append(f"       to pay               {show(total(order)):>12}")
    return "\\n".join(rows)
''',
    "tests/test_pricing.py": """import unittest

from shop.invoice import render
from shop.orders import Order, OrderLine
from shop.pricing import discount, total


class Discount(unittest.TestCase):
    def test_nothing_off_below_ten_pieces(self):
        self.assertEqual(discount(OrderLine("mug", 9, 800)), 0)

    def test_five_percent_from_ten_pieces_on(self):
        self.assertEqual(discount(OrderLine("mug", 10, 800)), 400)

    def test_half_a_cent_counts_as_one(self):
        self.assertEqual(discount(OrderLine("pen", 11, 90)), 50)


class Invoice(unittest.TestCase):
    def test_the_total_is_the_lines_less_their_discounts(self):
        order = Order("Ada", [OrderLine("mug", 20, 800), OrderLine("lamp", 1, 4900)])
        self.assertEqual(total(order), 16000 - 800 + 4900)

    def test_the_discount_is_shown_below_its_line(self):
        self.assertIn("bulk discount", render(Order("Ada", [OrderLine("mug", 20, 800)])))
""",
    "CHANGELOG.md": """# Changelog

## Unreleased

## 2.4
- Discounts are computed on whole cents.
- Invoices show the bulk discount below its line.
""",
}

TERMS = (
    "Section 2. Prices are in euros and include value added tax.",
    "Section 3. We deliver within five working days; goods stay ours until they are paid.",
    "Section 4. Bulk discount: from ten pieces of one article on, 5 % off that line; half a cent counts as one cent.",
    "Section 5. A wrong invoice is corrected by a credit note, which we pay out within three working days.",
    "Section 6. Goods may be returned within 30 days, the thirtieth included, unused and in their box.",
    "Section 7. Engraved goods are made for you and cannot be returned.",
)

_INVOICE = """
from shop.invoice import render
from shop.orders import Order
order = Order("Ada")
order.add("mug", 10, 800)
order.add("pen", 11, 90)
print(render(order))
"""


class Workspace:
    """The shop's files in a folder, and the tools that work on them.

    With `tool_error` the accounting service is down at the first credit note.
    """

    def __init__(self, folder: Path, *, tool_error: bool) -> None:
        self._folder = folder
        self._accounting_is_down = tool_error
        for name, text in FILES.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")

    def desk_tools(self) -> list[BaseTool]:
        return _tools(self.find_order, self.get_invoice, self.search_terms, self.issue_credit)

    def engineer_tools(self) -> list[BaseTool]:
        return _tools(self.search_code, self.read_file, self.edit_file, self.run_tests)

    def find_order(self, email: str, number: int) -> str:
        """Find an order by its number and the customer's address."""
        if (email, number) != ("ada@example.org", 2041):
            raise ToolException(f"Error: LookupError: no order {number} of {email}")
        return json.dumps(
            {
                "order": 2041,
                "customer": "Ada",
                "status": "delivered",
                "paid": True,
                "lines": [
                    {"article": "mug", "quantity": 10, "unit_cents": 800},
                    {"article": "pen", "quantity": 11, "unit_cents": 90},
                ],
            }
        )

    def get_invoice(self, number: int) -> str:
        """The invoice of an order, as it was sent to the customer."""
        return self._python("-c", _INVOICE).stdout.rstrip()

    def search_terms(self, text: str) -> str:
        """Search the terms of sale; answers with the sections that hold all of these words."""
        words = text.casefold().split()
        return "\n".join(section for section in TERMS if all(word in section.casefold() for word in words))

    def issue_credit(self, order: int, cents: int, reason: str, request_id: str = "") -> str:
        """Book a credit note for the customer. Give a request_id to repeat a request that may have been booked."""
        if self._accounting_is_down:
            self._accounting_is_down = False
            raise ToolException("Error: 503 Service Unavailable: accounting did not answer, booking state unknown")
        return json.dumps({"credit_note": "CN-88", "order": order, "cents": cents, "status": "booked"})

    def search_code(self, text: str) -> str:
        """Search all files for a text; answers with file:line: content for each hit."""
        hits = [
            f"{name}:{number}: {line.strip()}"
            for name in FILES
            for number, line in enumerate(self._read(name).splitlines(), 1)
            if text.casefold() in line.casefold()
        ]
        return "\n".join(hits)

    def read_file(self, path: str) -> str:
        """Read one file of the repository."""
        return self._read(path)

    def edit_file(self, path: str, old: str, new: str) -> str:
        """Replace a text that stands exactly once in a file."""
        text = self._read(path)
        if text.count(old) != 1:
            raise ToolException(f"Error: ValueError: the text to replace stands {text.count(old)} times in {path}")
        (self._folder / path).write_text(text.replace(old, new), encoding="utf-8")
        return f"edited {path}: {old.count(chr(10)) + 1} lines replaced by {new.count(chr(10)) + 1}"

    def run_tests(self) -> str:
        """Run the test suite; answers with its output and exit code."""
        run = self._python("-m", "unittest", "discover", "tests")
        output = run.stderr.replace(f"{self._folder.resolve()}/", "").replace(f"{self._folder}/", "")
        return f"{re.sub(r' in [0-9.]+s', '', output).strip()}\nexit code {run.returncode}"

    def _python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-B", *arguments]
        return subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False, timeout=60)

    def _read(self, path: str) -> str:
        if path not in FILES:
            raise ToolException(f"Error: FileNotFoundError: {path}")
        return (self._folder / path).read_text(encoding="utf-8")


def _tools(*functions: Callable[..., str]) -> list[BaseTool]:
    return [StructuredTool.from_function(function, handle_tool_error=True) for function in functions]
