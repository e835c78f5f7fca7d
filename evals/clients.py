"""Real coding tools through the gateway to an upstream of another dialect, each to the end of a small task.

    python evals/clients.py --npm FOLDER [--only codex] [--seconds 120]

FOLDER holds what `npm install` gave for each tool: FOLDER/codex with @openai/codex, claude (@anthropic-ai/claude-code),
opencode (opencode-ai), gemini (@google/gemini-cli), qwen (@qwen-code/qwen-code). The models are scripted: they call one
of the tool's own tools, and answer when its result has come (in some of `compact` the third). A tool has an empty
environment and a home of its own, with every proxy set to a closed port, so that it reaches nothing but the gateway.
Run by hand (`make clients`); its output is evals/results/clients.txt.

Scenarios: `loop` a tool call and an answer; `529` the first answer is that the provider is overloaded; `cut` the first
stream breaks off after its first content (who asks again, and how often, is the tool's business); `compact`: Claude
Code, Codex, Gemini CLI and Qwen Code are set to compact very early, opencode is told once, by the gateway in the words
it knows, that the conversation is too long. `summaries` counts the calls that asked for one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

from agentroute import Router
from agentroute.gateway import GatewaySettings
from agentroute.gateway.app import Gateway
from agentroute.gateway.server import uvicorn_config
from agentroute.messages import ChatRequest, Tool
from agentroute.testing import Fault, ScriptedProvider, ScriptedReply, ScriptedRequest, tool_call
from agentroute.testing.faults import FaultPlan

OUT = Path(__file__).resolve().parent / "results" / "clients.txt"
SIGN = "TASK-COMPLETE-42"
ASK = "What does hello.txt say? Use your tools."
SHELLS = ("exec_command", "shell", "bash", "run_shell_command", "list_directory", "ls")


@dataclass(frozen=True)
class Tooling:
    """How one coding tool is started. `{url}` is the gateway's. `closed_proxy`: it leaves loopback out of its proxy;
    `compacts` and `compacting`: arguments and variables that make it compact early; `resumed`: the command of a second
    turn, for a tool that compacts before one."""

    upstream: str
    command: tuple[str, ...]
    variables: Mapping[str, str]
    files: Mapping[str, str] = field(default_factory=dict)
    closed_proxy: bool = True
    compacts: tuple[str, ...] = ()
    compacting: Mapping[str, str] = field(default_factory=dict)
    resumed: tuple[str, ...] = ()


CODEX = """model = "auto"
model_provider = "agentroute"
[model_providers.agentroute]
name = "agentroute"
base_url = "{url}/v1"
env_key = "AGENTROUTE_KEY"
wire_api = "responses"
"""
OPENCODE = {
    "provider": {
        "agentroute": {
            "npm": "@ai-sdk/openai-compatible",
            "name": "agentroute",
            "options": {"baseURL": "{url}/v1", "apiKey": "any"},
            "models": {"auto": {"name": "auto"}},
        }
    },
    "model": "agentroute/auto",
    "autoupdate": False,
    "share": "disabled",
}
GEMINI = {
    "security": {"auth": {"selectedType": "gemini-api-key"}},
    "privacy": {"usageStatisticsEnabled": False},
    "model": {"compressionThreshold": 0.5},
}
QWEN = {"model": {"chatCompression": {"contextPercentageThreshold": 0.7}}}
EARLY = {'"compressionThreshold": 0.5': '"compressionThreshold": 1e-9', "0.7}": "1e-9}"}
"""What the settings of Gemini CLI and Qwen Code say where they shall compact."""

TOOLS: dict[str, Tooling] = {
    "codex": Tooling(
        "anthropic_messages",
        ("codex", "exec", "--skip-git-repo-check", "-s", "danger-full-access", ASK),
        {"AGENTROUTE_KEY": "any"},
        {".codex/config.toml": CODEX},
        compacts=("-c", "model_auto_compact_token_limit=4000"),
    ),
    "claude": Tooling(
        "openai_chat",
        ("claude", "-p", ASK, "--allowedTools", "Bash"),
        {"ANTHROPIC_BASE_URL": "{url}", "ANTHROPIC_API_KEY": "sk-ant-any", "ANTHROPIC_MODEL": "auto"},
        compacting={"CLAUDE_AUTOCOMPACT_PCT_OVERRIDE": "1", "CLAUDE_CODE_AUTO_COMPACT_WINDOW": "30000"},
    ),
    "opencode": Tooling(
        "anthropic_messages",
        ("opencode", "run", ASK),
        {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1"},
        {".config/opencode/opencode.json": json.dumps(OPENCODE)},
    ),
    "gemini": Tooling(
        "openai_chat",
        ("gemini", "-m", "agentroute-auto", "-p", ASK, "--yolo"),
        {"GEMINI_API_KEY": "any", "GOOGLE_GEMINI_BASE_URL": "{url}", "GEMINI_CLI_TRUST_WORKSPACE": "true"},
        {".gemini/settings.json": json.dumps(GEMINI)},
        resumed=("gemini", "-m", "agentroute-auto", "--resume", "latest", "-p", "Say it again.", "--yolo"),
    ),
    "qwen": Tooling(
        "gemini",
        ("qwen", "-p", ASK, "--yolo", "--auth-type", "openai"),
        {"OPENAI_API_KEY": "any", "OPENAI_BASE_URL": "{url}/v1", "OPENAI_MODEL": "auto"},
        {".qwen/settings.json": json.dumps(QWEN)},
        closed_proxy=False,
    ),
}
SCENARIOS: dict[str, FaultPlan | None] = {
    "loop": None,
    "529": lambda request: Fault.error(529) if request.index == 0 else None,
    "cut": lambda request: Fault.cut_after(1) if request.index == 0 else None,
    "compact": None,
}


class TooLongOnce:
    """Each model refuses the first call that brings a tool's result as too long."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def __call__(self, request: ScriptedRequest) -> Fault | None:
        asked = request.asked
        if request.model in self._told or not any(message.tool_results for message in asked.messages):
            return None
        self._told.add(request.model)
        message = "prompt is too long: 450000 tokens > 400000 maximum"
        return Fault.error(400, code="context_length_exceeded", message=message)


def is_summary(request: ChatRequest) -> bool:
    """Whether a tool asks for a summary of the conversation: its words, since each has its own."""
    said = " ".join([message.text for message in request.messages if message.role == "system"][:1])
    last = request.messages[-1].text
    return any(word in f"{said[:3000]} {last}" for word in SUMMARY)


SUMMARY = (
    "Summarise the conversation",
    "CONTEXT CHECKPOINT COMPACTION",
    "detailed summary of the conversation",
    "anchored context summarization",
    "state_snapshot",
    "Here is the conversation so far:",
)


def reply(request: ChatRequest, results: int = 1) -> ScriptedReply:
    """A call of the tool's own shell until so many results have come (or a summary says so), then the answer."""
    came = sum(len(message.tool_results) for message in request.messages)
    done = came >= results or any(SIGN in message.text for message in request.messages)
    shell = next((tool for name in SHELLS for tool in request.tools if tool.name.lower() == name), None)
    if request.response_schema is not None:
        return ScriptedReply('{"title": "A file"}')
    if shell is None or done or is_summary(request):
        return ScriptedReply(f"The file says hello. {SIGN}")
    return ScriptedReply("I look.", (tool_call(shell.name, **_arguments(shell)),))


def _arguments(tool: Tool) -> dict[str, Any]:
    known: dict[str, Any] = {"description": "list the files", "is_background": False, "path": ".", "dir_path": "."}
    facts = tool.parameters.get("properties", {})
    found: dict[str, Any] = {}
    for name in tool.parameters.get("required") or ["command"]:
        many = facts.get(name, {}).get("type") == "array"
        found[name] = known.get(name, ["bash", "-lc", "ls"] if many else "ls")
    return found


def run(
    tool: Tooling, npm: Path, url: str, home: Path, seconds: float, more: tuple[str, ...], early: bool = False
) -> tuple[bool, str]:
    """Whether it came to the end of its task, and its last words."""
    work = home / "work"
    work.mkdir(parents=True)
    (work / "hello.txt").write_text("hello\n")
    for name, text in tool.files.items():
        place = home / name
        place.parent.mkdir(parents=True, exist_ok=True)
        for usual, other in EARLY.items() if early else ():
            text = text.replace(usual, other)
        place.write_text(text.replace("{url}", url))
    closed = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    closed = closed if tool.closed_proxy else {}
    known = {name: value.replace("{url}", url) for name, value in tool.variables.items()}
    known |= tool.compacting if early else {}
    path = f"{npm}/node_modules/.bin:/usr/local/bin:/usr/bin:/bin"
    quiet = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "TERM": "dumb", "LANG": "C.UTF-8"}
    command = [*tool.command[:-1], *more, tool.command[-1]] if more else list(tool.command)
    said = ""
    for each in [command, list(tool.resumed)] if early and tool.resumed else [command]:
        try:
            ran = subprocess.run(
                each,
                cwd=work,
                env={"HOME": str(home), "PATH": path, **closed, **quiet, **known},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            return False, f"not done after {seconds:g} s"
        said = f"{ran.stdout}\n{ran.stderr}"
    return SIGN in said, said.strip()[-200:].replace("\n", " / ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--npm", type=Path, required=True)
    parser.add_argument("--only", choices=TOOLS)
    parser.add_argument("--scenario", choices=SCENARIOS)
    parser.add_argument("--seconds", type=float, default=120.0)
    asked = parser.parse_args()
    lines = [
        f"{date.today()}",
        f"{'tool':<10}{'upstream':<20}{'scenario':<10}{'calls':>6}{'summaries':>10}{'seconds':>9}  finished",
    ]
    for name, tool in TOOLS.items():
        for scenario, fault in SCENARIOS.items():
            unwanted = asked.only not in (None, name) or asked.scenario not in (None, scenario)
            if unwanted:
                continue
            compact = scenario == "compact"
            if compact and name == "opencode":
                fault = TooLongOnce()
            more = tool.compacts if compact else ()
            results = 3 if compact and name in ("claude", "qwen") else 1
            script = partial(reply, results=results)
            with ScriptedProvider(script, fault=fault) as provider, tempfile.TemporaryDirectory() as folder:
                targets = [
                    provider.target(model="first", tier="mid", dialect=tool.upstream, context_window=400_000),
                    provider.target(model="second", tier="premium", dialect=tool.upstream, context_window=400_000),
                ]
                gateway = Gateway(Router(targets), GatewaySettings(port=0, models={"*": "auto"}))
                server = uvicorn.Server(uvicorn_config(gateway))
                thread = threading.Thread(target=server.run, daemon=True)
                thread.start()
                while not server.started:
                    time.sleep(0.05)
                url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
                began = time.monotonic()
                good, said = run(tool, asked.npm / name, url, Path(folder), asked.seconds, more, early=compact)
                took = time.monotonic() - began
                server.should_exit = True
                thread.join(20)
                summaries = sum(is_summary(request.asked) for request in provider.requests)
                row = f"{name:<10}{tool.upstream:<20}{scenario:<10}{len(provider.requests):>6}{summaries:>10}"
                lines.append(f"{row}{took:>9.0f}  {'yes' if good else f'NO: {said}'}")
                print(lines[-1], flush=True)
    if asked.only is None and asked.scenario is None:
        OUT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
