"""What recorded agents throw away: where their prompt caches broke, what that cost, and what to do about it.

>>> report = doctor("traces.jsonl.gz")  # doctest: +SKIP
>>> report.share, report.findings[0].kind, report.findings[0].usd  # doctest: +SKIP
"""

from __future__ import annotations

from .findings import AgentBill, DoctorReport, Finding, Kind, Moment, Timeline
from .reading import doctor

__all__ = ["AgentBill", "DoctorReport", "Finding", "Kind", "Moment", "Timeline", "doctor"]
