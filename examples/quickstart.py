"""Route, complete and stream: offline on a scripted provider, or on real models where OPENAI_API_KEY is set."""

import os
from contextlib import ExitStack

from agentroute import ChatRequest, Router, Target
from agentroute.events import TextDelta
from agentroute.testing import ScriptedProvider

MODELS = {"small": "gpt-6-luna", "strong": "gpt-6-sol"}
BUG = "This loses half a cent, fix it:\n```python\ndef part(cents, percent):\n    return int(cents * percent / 100)```"


def targets(stack: ExitStack) -> list[Target]:
    if os.environ.get("OPENAI_API_KEY"):
        return [Target(name=n, provider="openai", model=m, api_key="env:OPENAI_API_KEY") for n, m in MODELS.items()]
    provider = stack.enter_context(ScriptedProvider("A scripted answer.", provider="openai"))
    return [provider.target(name=name, model=model) for name, model in MODELS.items()]


def ask(text: str) -> ChatRequest:
    return ChatRequest.from_openai({"messages": [{"role": "user", "content": text}]})


with ExitStack() as stack:
    router = stack.enter_context(Router(targets=targets(stack)))

    planned = router.route(ask(BUG))
    print(f"would go to {planned.target}: {'; '.join(planned.reasons)}")

    response = router.complete(ask("Hello!"))
    decision = response.decision
    print(f"{response.text} ({decision.target}, cost ${decision.cost}, saved ${decision.savings})")

    with router.stream(ask("Translate 'good morning' into Portuguese.")) as stream:
        for event in stream:
            if isinstance(event, TextDelta):
                print(event.text, end="", flush=True)
    print(f" ({stream.decision.target}, {stream.response.usage})")
