"""`agentroute route`: what would be decided for one request, and why, in ten lines."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from rich.text import Text

from agentroute.decisions import Constraints, Decision, StepContext
from agentroute.errors import RequestError
from agentroute.figures import usd
from agentroute.messages import ChatRequest, Message
from agentroute.messages import Text as TextPart
from agentroute.router import Router

from .options import ConfigOption, StrategyOption, pool_options, stdout

__all__ = ["command"]


def command(
    prompt: Annotated[
        str, typer.Argument(help="A prompt; or `-` for an OpenAI chat-completions body (JSON) on standard input.")
    ] = "-",
    config: ConfigOption = None,
    strategy: StrategyOption = None,
    max_tier: Annotated[str | None, typer.Option(help="Nothing above: budget, mid, standard or premium.")] = None,
    agent: Annotated[str | None, typer.Option(help="The agent that asks.")] = None,
    role: Annotated[str | None, typer.Option(help="Its role.")] = None,
    whole: Annotated[
        bool, typer.Option("--explain", help="Show the whole decision, and what would have changed it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the decision as JSON.")] = False,
) -> None:
    """Show which model a request would go to, and why. No call is made and no key is needed.

    agentroute route "Why is the sky blue?"

    echo '{"messages": [{"role": "user", "content": "hi"}]}' | agentroute route --json
    """
    router = Router(**pool_options(config, strategy))
    context, constraints = StepContext(agent=agent, role=role), Constraints(max_tier=max_tier)
    decision = router.route(_request(prompt), context=context, constraints=constraints)
    if as_json:
        typer.echo(json.dumps(decision.to_dict(), indent=2, ensure_ascii=False))
    elif whole:
        typer.echo(decision.explain())
    else:
        stdout(soft_wrap=True).print(summary(decision))


def _request(prompt: str) -> ChatRequest:
    if prompt != "-":
        if not prompt.strip():
            raise RequestError("the prompt is empty; give a text, or `-` and a chat-completions body on standard input")
        return ChatRequest(messages=(Message("user", (TextPart(prompt),)),))
    text = sys.stdin.read().removeprefix("\ufeff")
    if not text.strip():
        raise RequestError(
            "standard input is empty; give a prompt, or a chat-completions body (JSON) on standard input"
        )
    try:
        body: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise RequestError(
            f"standard input is not JSON ({problem}); give a prompt, or a chat-completions body"
        ) from None
    if not isinstance(body, dict):
        raise RequestError(f"standard input holds a {type(body).__name__}; a chat-completions body is an object")
    return ChatRequest.from_openai(body)


def summary(decision: Decision) -> Text:
    """The decision in about ten lines: the choice, what the step is, why, and what stands behind it."""
    first, tokens = decision.candidates[0], decision.estimated_usage
    lines = [
        Text.assemble(
            ("-> ", "dim"),
            (decision.target, "bold green"),
            f"  ({decision.tier.value}, expected {usd(first.expected_cost, places=5)}",
            f"; {decision.baseline_target} would cost {usd(decision.baseline_cost, places=5)})",
        ),
        Text.assemble(
            ("step     ", "dim"),
            f"{decision.step_kind.value} / {decision.task.value}, {decision.complexity}",
            f", about {tokens.input_tokens:,} tokens in, {tokens.output_tokens} out",
        ),
        Text.assemble(
            ("suffices ", "dim"),
            "  ".join(f"{tier} {p:.2f}" for tier, p in decision.sufficiency.items()),
            f"   (confidence {decision.confidence:.2f})",
        ),
        Text.assemble(("because  ", "dim"), "; ".join(decision.reasons)),
        Text.assemble(("strategy ", "dim"), f"{decision.strategy} ({decision.policy_version}): {first.reason}"),
    ]
    lines += [
        Text.assemble(("then     ", "dim"), f"{candidate.target}: {candidate.reason}")
        for candidate in decision.candidates[1:]
    ]
    if decision.dropped:
        shown = "; ".join(f"{dropped.target}: {dropped.reason}" for dropped in decision.dropped[:3])
        more = f"; and {len(decision.dropped) - 3} more" if len(decision.dropped) > 3 else ""
        lines.append(Text.assemble(("dropped  ", "dim"), shown + more))
    return Text("\n").join(lines)
