"""A crew of three over scripted models: what `agentroute demo crewai` runs."""

from __future__ import annotations

from typing import Any

from crewai import Agent, Crew, Task
from rich.console import Console

from agentroute import ChatRequest, Decision, Router
from agentroute.cli.demo import show_steps
from agentroute.ledger import MemoryLedger
from agentroute.testing import Fault, ScriptedProvider, nth

from .crews import route_crew

__all__ = ["run"]

FLEET = (("luna", "gpt-6-luna"), ("terra", "gpt-6.1-terra"), ("astra", "gpt-6.2-astra"))
PARTS = {
    "researcher": ("List three facts on the tides of Brest", "Spring tides reach 7 m; neaps 3 m; two highs a day."),
    "analyst": (
        "Compare the facts, derive from them the hours in which a ship of 6 m draught can enter, and prove each step",
        "At springs within 2 h of high water; at neaps not at all, since 3 m is less than 6 m.",
    ),
    "writer": ("Write one paragraph for the crew", "Enter at springs only, within two hours of high water."),
}
"""By role: the task, and what the scripted models say to it."""


def _reply(request: ChatRequest) -> str:
    return next(said for role, (_, said) in PARTS.items() if f"You are {role}" in request.messages[0].text)


def run(*, console: Console | None = None) -> tuple[Decision, ...]:
    """Runs the crew, prints its steps, and returns their decisions. The first request is answered with a 503."""
    console = console or Console()
    with ScriptedProvider(_reply, provider="openai", fault=nth(1, Fault.error(503), model="gpt-6.1-terra")) as provider:
        targets = [provider.target(name=name, model=model) for name, model in FLEET]
        ledger = MemoryLedger()
        with Router(targets, ledger=ledger) as router:
            agents: list[Any] = [
                Agent(role=role, goal=goal, backstory="Knows the sea.") for role, (goal, _) in PARTS.items()
            ]
            tasks: list[Any] = [Task(description=agent.goal, expected_output="text", agent=agent) for agent in agents]
            crew = Crew(agents=agents, tasks=tasks)
            route_crew(crew, router)
            output = crew.kickoff()
            decisions = tuple(ledger.decisions)
    show_steps(console, decisions)
    console.print(f"the crew: {output}", highlight=False, markup=False)
    return decisions
