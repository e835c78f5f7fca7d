"""A crew of three, each step of each role routed: offline on a script, real where OPENAI_API_KEY is set."""

import os
from pathlib import Path

for name, value in (("CREWAI_DISABLE_TELEMETRY", "true"), ("CREWAI_TRACING_ENABLED", "false")):
    os.environ.setdefault(name, value)  # CrewAI reads them when it is imported

from crewai import Agent, Crew, Task
from crewai_agentroute import RoutedLLM

from agentroute import ChatRequest, Router
from agentroute.testing import ScriptedProvider

MODELS = {"small": "gpt-6-luna", "strong": "gpt-6-sol"}
ROLES = {"researcher": "List three facts", "writer": "Write one paragraph", "reviewer": "Correct what is wrong"}
POLICIES = {"researcher": {}, "writer": {}, "reviewer": {"target": "strong"}}


def script(request: ChatRequest) -> str:
    return f"The {next(role for role in ROLES if f'You are {role}' in request.messages[0].text)}'s part on tides."


with ScriptedProvider(script, provider="openai") as provider:
    scripted = [provider.target(name=name, model=model) for name, model in MODELS.items()]
    given = {} if os.environ.get("OPENAI_API_KEY") else {"targets": scripted}  # with a key, those of the file
    router = Router.from_config(Path(__file__).with_name("policy.toml"), **given)
    llm = RoutedLLM(router=router)
    handles = {role: llm.for_agent(role, **policy) for role, policy in POLICIES.items()}
    agents = [Agent(role=r, goal=goal, backstory="Knows the sea.", llm=handles[r]) for r, goal in ROLES.items()]
    tasks = [Task(description=f"{a.goal} on tides.", expected_output="text", agent=a) for a in agents]
    output = Crew(agents=agents, tasks=tasks).kickoff()
    for step in (steps := router.ledger.decisions):
        print(f"{step.context.role}: {step.target}, ${step.cost}, because {'; '.join(step.reasons)}")
    print(f"{output.raw} {output.token_usage.total_tokens} tokens, ${sum(step.cost for step in steps)}")
    router.close()
