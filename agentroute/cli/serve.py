"""`agentroute serve`: the gateway, from a config file, the keys in the environment, or scripted models."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Any

import typer

from agentroute.errors import ConfigError

from .options import ledger_path

__all__ = ["command"]


def command(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="[CONFIG]", help="A config file; without it, the provider keys in the environment."),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Where to listen.", show_default="the file's, else 127.0.0.1")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="The port; 0 takes a free one.", show_default="4180", min=0, max=65535)
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Serve scripted models: no key, no network.")] = False,
    new_key: Annotated[
        str | None, typer.Option("--new-key", metavar="NAME", help="Make a client key, print it, and stop.")
    ] = None,
) -> None:
    """Serve every OpenAI, Anthropic and Gemini client on one base URL, each call routed.

    agentroute serve --demo

    curl -i http://127.0.0.1:4180/v1/chat/completions -H 'content-type: application/json' -d '{"model": "auto",
    "messages": [{"role": "user", "content": "hello"}]}'
    """
    try:
        from agentroute.gateway.server import demo_serve, serve
        from agentroute.gateway.settings import hash_key
    except ModuleNotFoundError as error:
        missing = error.name
    else:
        if new_key is not None:
            _new_key(new_key, hash_key)
            return
        given: dict[str, Any] = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
        if demo and config is not None:
            raise ConfigError(f"--demo serves scripted models, not {str(config)!r}; leave out one of the two")
        if demo:
            demo_serve(given, typer.echo)
        else:
            serve(config, given, ledger_path(), typer.echo)
        return
    raise ConfigError(f'the gateway needs {missing}; install it with: pip install "agentroute-llm[gateway]"')


def _new_key(name: str, hash_key: Any) -> None:
    key = f"ar-{secrets.token_urlsafe(32)}"
    typer.echo(f"the key, shown once: {key}\n\nfor the config file:\n\n[[gateway.key]]")
    typer.echo(f'name = "{name}"\nsha256 = "{hash_key(key)}"')
