"""Our own recordings (`agentroute.recording`): one call a line, with who asked and which results had failed."""

from __future__ import annotations

from dataclasses import replace

from agentroute.errors import RequestError
from agentroute.messages import ToolResult
from agentroute.recording import VERSION
from agentroute.replay.records import Trace

from . import openai
from .fields import Raw, dig, name_of

__all__ = ["is_recording", "read"]


def is_recording(raw: Raw) -> bool:
    return "agentroute_recording" in raw


def read(line: Raw) -> Trace:
    version = line["agentroute_recording"]
    if version != VERSION:
        raise RequestError(f"a recording of version {version!r}; this agentroute knows {VERSION}, upgrade it")
    if "gap" in line:
        raise RequestError(f"a gap: {dig(line, 'gap', 'calls')} calls were not recorded here")
    trace = openai.read(line)
    failed = frozenset(line.get("failed_results") or ())
    messages = trace.request.messages
    if failed:
        messages = tuple(
            replace(
                message,
                parts=tuple(
                    replace(part, is_error=True)
                    if isinstance(part, ToolResult) and part.tool_call_id in failed
                    else part
                    for part in message.parts
                ),
            )
            for message in messages
        )
    return replace(
        trace,
        format="recording",
        calls=tuple(replace(call, id=trace.id) for call in trace.calls),
        request=replace(trace.request, messages=messages),
        parent=name_of(line, "parent_id"),
    )
