"""Logs of Anthropic calls with planted faults: a provider that caches by prefix answers them, and counts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

OPUS, SONNET = "claude-opus-5-5", "claude-sonnet-5-5"
START = 1_795_000_000.0
MARK = {"cache_control": {"type": "ephemeral"}}
HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


def words(what: str, tokens: int) -> str:
    """A text of so many tokens, four characters each."""
    return (f"{what} " * (4 * tokens))[: 4 * tokens]


@dataclass
class Provider:
    """Anthropic's cache: what stands before a marked block is kept for five minutes or an hour, and read from there on
    by whatever begins with the same blocks under the same settings. Four characters are a token."""

    held: dict[int, tuple[float, float]] = field(default_factory=dict)

    def usage(self, body: Mapping[str, Any], now: float) -> dict[str, Any]:
        system = body.get("system") or []
        blocks: list[Any] = [*body.get("tools", ()), *([system] if isinstance(system, str) else system)]
        for message in body["messages"]:
            content = message["content"]
            blocks += [content] if isinstance(content, str) else content
        key = hash((body["model"], json.dumps([body.get("thinking"), body.get("tool_choice")])))
        total, read, marks = 0, 0, []
        for block in blocks:
            plain = {k: v for k, v in block.items() if k != "cache_control"} if isinstance(block, dict) else block
            text = json.dumps(plain)
            key = hash((key, text))
            total += len(text) // 4
            expiry = self.held.get(key)
            if expiry is not None and now - expiry[0] <= expiry[1] and total >= 512:
                self.held[key] = (now, expiry[1])
                read = total
            mark = block.get("cache_control") if isinstance(block, dict) else None
            if mark is not None and total >= 512:
                marks.append((key, total, 3600.0 if mark.get("ttl") == "1h" else 300.0))
        written, hour = max((size for _, size, _ in marks), default=read) - read, 0
        for key, _, life in marks:
            self.held[key] = (now, life)
            hour = written if life == 3600.0 else hour
        return {
            "input_tokens": total - read - written,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": written,
            "cache_creation": {"ephemeral_5m_input_tokens": written - hour, "ephemeral_1h_input_tokens": hour},
            "output_tokens": 100,
        }


@dataclass
class Agent:
    """One conversation that grows by a call and its result a step. What a fault changes are its fields; `lines` are the
    log, `steps` the same as numbers for the simulator (`cold` where a fault was planted)."""

    name: str
    provider: Provider
    model: str = OPUS
    system: str = "You are careful."
    tools: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {"name": name, "description": words(name, 40), "input_schema": {"type": "object"}}
            for name in ("read", "write", "search")
        ]
    )
    ask: int = 8_000
    grows: int = 500
    gap: float = 20.0
    marks: Mapping[str, Any] | None = field(default_factory=lambda: MARK)
    marked: str = "end"
    loop: bool = True
    now: float = START
    conversation: str | None = None
    messages: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ask = {"type": "text", "text": words(f"ask {self.name}", self.ask)}
        self.messages.append({"role": "user", "content": [ask]})

    def body(self) -> dict[str, Any]:
        tools = [dict(tool) for tool in self.tools] if self.loop else []
        system: list[dict[str, Any]] = [{"type": "text", "text": self.system}]
        messages = [{**m, "content": [dict(block) for block in m["content"]]} for m in self.messages]
        if self.marks is not None:
            system[-1] |= self.marks
            if self.marked == "end":
                messages[-1]["content"][-1] |= self.marks
        return {
            "model": self.model,
            "max_tokens": 4_000,
            "system": system,
            **({"tools": tools} if tools else {}),
            **self.settings,
            "messages": messages,
        }

    def step(self, fault: str | None = None, *, turn: bool = False) -> None:
        """One call; `fault` names what was changed before it."""
        body = self.body()
        usage = self.provider.usage(body, self.now)
        number = len(self.lines) + 1
        call = {
            "type": "tool_use",
            "id": f"{self.name}_{number}",
            "name": "read",
            "input": {"path": f"file{number}.py"},
        }
        content = [call] if self.loop else [{"type": "text", "text": "done"}]
        line = {"timestamp": self.now, "agent": self.name, "request": body}
        line["response"] = {"id": f"msg_{self.name}_{self.now}", "model": self.model, "stop_reason": "end_turn"}
        line["response"] |= {"content": content, "usage": usage}
        if self.conversation is not None:
            line["conversation_id"] = self.conversation
        self.lines.append(line)
        prompt = sum(usage[k] for k in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"))
        self.steps.append(
            {
                "t0": self.now,
                "t1": self.now + 5,
                "p": prompt,
                "o": 100,
                "turn": turn,
                "reset": number == 1,
                "fail": False,
                "cold": fault is not None,
            }
        )
        if fault is not None:
            self.faults[number] = fault
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": words(f"row {number}", self.grows)}
        self.messages += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
        self.now += self.gap

    def run(self, steps: int, fault: str | None = None) -> None:
        for _ in range(steps):
            self.step(fault)


def coder(provider: Provider, **options: Any) -> Agent:
    """One conversation with eight faults, five good steps between them."""
    agent = Agent("coder", provider, **options)
    clock = "It is Saturday, 28 November 2026, 10:0{}:00. " + words("rule", 900)
    agent.system = clock.format(1)
    tools = agent.tools

    def message_one() -> None:
        agent.messages[0] = {
            "role": "user",
            "content": [{"type": "text", "text": words("asked anew", agent.ask)}],
        }

    plants: Sequence[tuple[str, Callable[[], object]]] = (
        ("volatile_text", lambda: setattr(agent, "system", clock.format(7))),
        ("tool_order", lambda: setattr(agent, "tools", tools[::-1])),
        ("system_changed", lambda: setattr(agent, "system", agent.system + "Be brief.")),
        ("tools_changed", lambda: setattr(agent, "tools", [*agent.tools, {**tools[0], "name": "delete"}])),
        ("effort_toggled", lambda: agent.settings.update(thinking={"type": "enabled", "budget_tokens": 2_000})),
        (
            "tool_schema_changed",
            lambda: agent.tools.__setitem__(1, {**agent.tools[1], "description": words("anew", 40)}),
        ),
        ("tool_choice_toggled", lambda: agent.settings.update(tool_choice={"type": "any"})),
        ("message_changed", message_one),
    )
    agent.run(5)
    for fault, plant in plants:
        plant()
        agent.step(fault)
        agent.run(5)
    return agent


def clerk(provider: Provider) -> Agent:
    """Never marks anything."""
    agent = Agent("clerk", provider, marks=None)
    agent.run(20)
    return agent


def reviewer(provider: Provider) -> Agent:
    """Waits for a person for twenty minutes at every third step."""
    agent = Agent("reviewer", provider)
    for number in range(30):
        agent.step()
        agent.now += 1_200 if number % 3 == 2 else 0
    return agent


def titler(provider: Provider) -> list[Agent]:
    """Thirty one-shots without tools, each with a marker at its end."""
    agents = [Agent("titler", provider, ask=2_000, loop=False, now=START + 30 * n) for n in range(30)]
    for number, agent in enumerate(agents):
        agent.messages[0]["content"][0]["text"] = words(f"text {number}", 2_000)
        agent.step()
    return agents


def sleeper(provider: Provider) -> Agent:
    """Asks for an hour, and never waits."""
    agent = Agent("sleeper", provider, marks=HOUR)
    agent.run(30)
    return agent


def half(provider: Provider) -> Agent:
    """Marks its system prompt only."""
    agent = Agent("half", provider, system=words("rule", 4_000), marked="head")
    agent.run(20)
    return agent


def window(provider: Provider) -> Agent:
    """Leaves out its oldest call at every step, once there are five."""
    agent = Agent("window", provider, grows=2_000)
    agent.run(5)
    for _ in range(15):
        del agent.messages[1:3]
        agent.step("history_cut")
    return agent


def switcher(provider: Provider) -> Agent:
    """Goes on with another model in the middle, and stays there."""
    agent = Agent("switcher", provider, ask=30_000)
    agent.run(6)
    agent.model = SONNET
    agent.step("model_switch")
    agent.run(6)
    return agent


def novelist(provider: Provider) -> Agent:
    """Drags a prompt of 120,000 tokens along."""
    agent = Agent("novelist", provider, ask=120_000, grows=200)
    agent.run(16)
    return agent


def log(*agents: Agent) -> Iterator[dict[str, Any]]:
    """Their lines in the order of time, as a gateway writes them."""
    yield from sorted((line for agent in agents for line in agent.lines), key=lambda line: float(line["timestamp"]))
