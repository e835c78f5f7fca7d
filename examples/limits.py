"""A budget for each agent, and a callback that is told: offline, on a scripted provider."""

import logging

from agentroute import BudgetExceeded, Notice, Price, Router, StepContext, Usage
from agentroute.testing import Fault, ScriptedProvider, ScriptedReply, nth

BUDGET = {"day": 1, "agent": {"researcher": {"conversation": 0.08}, "*": 0.5}}
ANSWER = ScriptedReply("Once more.", usage=Usage(1_000, 100))


logging.getLogger("agentroute").setLevel(logging.ERROR)  # its warnings say the same as the callback


def alarm(notice: Notice) -> None:
    print(f"  [{notice.kind}] {notice.message}")


with ScriptedProvider(ANSWER, fault=nth(1, Fault.error(503), model="small")) as provider:
    targets = [
        provider.target(model="small", tier="budget", price=Price(input=10, output=100)),
        provider.target(model="strong", tier="premium", price=Price(input=12, output=120)),
    ]
    with Router(targets, strategy="cheapest", budget=BUDGET, on_notice=alarm) as router:
        for step in range(1, 5):
            try:
                response = router.complete("Go on.", context=StepContext(agent="researcher", conversation_id="1"))
                print(f"step {step}: {response.decision.target}, ${response.decision.cost}")
            except BudgetExceeded as error:
                print(f"step {step}: {error.name} has spent ${error.spent} of ${error.limit} in this {error.period}")
