"""A process that appends to a ledger and tells what it appended: `worker.py PATH RATE COUNT NAME` (COUNT 0: for ever).

Begins when it is sent a decision to make its own from. Prints one line an append: the id and the time after it
returned (CLOCK_MONOTONIC, which processes share).
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from decimal import Decimal
from itertools import count

from agentroute.decisions import Decision
from agentroute.ledger import SqliteLedger


def main(path: str, rate: float, n: int, name: str) -> None:
    ledger = SqliteLedger(path)
    os.write(1, b"ready\n")
    template = Decision.from_dict(json.loads(sys.stdin.readline()))
    begun = time.monotonic()
    for number in count() if n == 0 else range(n):
        if rate:
            time.sleep(max(0.0, begun + number / rate - time.monotonic()))
        cost = Decimal(number % 7) / 1000
        ledger.append(replace(template, id=f"{name}-{number}", outcome="ok", cost=cost))
        os.write(1, f"{name}-{number} {time.monotonic()}\n".encode())
    ledger.close()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
