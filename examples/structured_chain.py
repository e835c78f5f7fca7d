"""A plain chain: prompt, routed model, Pydantic object. Any target may answer, each asked in its own way."""

import os
from contextlib import ExitStack

from langchain_agentroute import RoutedChatModel, decision_of
from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel

from agentroute import Router, Target
from agentroute.testing import ScriptedProvider

MODELS = {"small": "gpt-6-luna", "strong": "gpt-6-sol"}
ANSWER = '{"sender": "Ana", "city": "Porto", "urgent": true}'
LETTER = "Dear all, the pump in Porto has stopped and the cellar fills with water. Please come today! Ana"


class Ticket(BaseModel):
    sender: str
    city: str
    urgent: bool


def targets(stack: ExitStack) -> list[Target]:
    if os.environ.get("OPENAI_API_KEY"):
        return [Target(name=n, provider="openai", model=m, api_key="env:OPENAI_API_KEY") for n, m in MODELS.items()]
    provider = stack.enter_context(ScriptedProvider(ANSWER, provider="openai"))
    return [provider.target(name=name, model=model) for name, model in MODELS.items()]


with ExitStack() as stack:
    router = stack.enter_context(Router(targets=targets(stack)))
    model = RoutedChatModel(router=router)
    prompt = ChatPromptTemplate.from_messages([("system", "Read the letter."), ("user", "{letter}")])
    chain = prompt | model.with_structured_output(Ticket)
    print(chain.invoke({"letter": LETTER}))
    with_message = prompt | model.with_structured_output(Ticket, include_raw=True)
    answer = with_message.invoke({"letter": LETTER}, {"configurable": {"agentroute": {"target": "strong"}}})
    print(f"{answer['parsed'].city}, pinned to {decision_of(answer['raw']).target}")
