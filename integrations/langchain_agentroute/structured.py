"""Structured output: the schema asked of the target that is chosen, in that target's own way, and its answer parsed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.runnables import Runnable, RunnableBinding, RunnableSequence
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass

from agentroute.errors import ConfigError

__all__ = ["Structured", "replay", "wire_parser"]

Method = Literal["json_schema", "function_calling", "json_mode"]


@dataclass(frozen=True, slots=True)
class Structured:
    """What `with_structured_output` was called with. `method` None is each target's own default."""

    schema: Any = field(repr=False)
    method: Method | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def tool(self) -> dict[str, Any]:
        return convert_to_openai_tool(self.schema, strict=self.arguments.get("strict"))

    def wire_fields(self) -> dict[str, Any]:
        """The chat-completions fields that ask for it."""
        if self.method == "json_mode":
            return {"response_format": {"type": "json_object"}}
        tool = self.tool()
        function = tool["function"]
        if self.method == "function_calling":
            choice = {"type": "function", "function": {"name": function["name"]}}
            return {"tools": [tool], "tool_choice": choice}
        schema = {"name": function["name"], "schema": function.get("parameters") or {}}
        if self.arguments.get("strict") is not None:
            schema["strict"] = self.arguments["strict"]
        return {"response_format": {"type": "json_schema", "json_schema": schema}}


def wire_parser(structured: Structured) -> Runnable[BaseMessage, Any]:
    """Reads a wire target's answer: a Pydantic object for a Pydantic class, a dict for any other schema."""
    schema = structured.schema
    pydantic = isinstance(schema, type) and is_basemodel_subclass(schema)
    if structured.method == "function_calling":
        if pydantic:
            return PydanticToolsParser(tools=[schema], first_tool_only=True)
        return JsonOutputKeyToolsParser(key_name=structured.tool()["function"]["name"], first_tool_only=True)
    return PydanticOutputParser(pydantic_object=schema) if pydantic else JsonOutputParser()


def replay(structured: Structured, model: BaseChatModel) -> tuple[dict[str, Any], Runnable[BaseMessage, Any]]:
    """What the model's own `with_structured_output` binds to a call, and how it parses the answer."""
    arguments = dict(structured.arguments)
    if structured.method is not None:
        arguments["method"] = structured.method
    runnable = model.with_structured_output(structured.schema, **arguments)
    if isinstance(runnable, RunnableSequence) and isinstance(runnable.first, RunnableBinding):
        rest = runnable.steps[1:]
        return dict(runnable.first.kwargs), rest[0] if len(rest) == 1 else RunnableSequence(*rest)
    raise ConfigError(
        f"{type(model).__name__}.with_structured_output is built in a way that cannot be routed; "
        f"bind the schema as a tool instead"
    )
