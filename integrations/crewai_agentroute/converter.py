"""The `converter_cls` of a Task with `output_json`: CrewAI's own goes past the LLM, to a client for its provider."""

from __future__ import annotations

from typing import Any

from crewai.utilities.converter import Converter, ConverterError

__all__ = ["RoutedConverter"]


class RoutedConverter(Converter):
    """Converts through the agent's own LLM in every case. Nothing is raised: a failure is returned, as CrewAI wants it.

    Task(description="...", expected_output="...", output_json=Report, converter_cls=RoutedConverter)
    """

    def to_json(self, current_attempt: int = 1) -> str | ConverterError | Any:  # type: ignore[override]
        try:
            return self.to_pydantic(current_attempt).model_dump_json()
        except ConverterError as error:
            return error

    async def ato_json(self, current_attempt: int = 1) -> str | ConverterError | Any:
        try:
            return (await self.ato_pydantic(current_attempt)).model_dump_json()
        except ConverterError as error:
            return error
