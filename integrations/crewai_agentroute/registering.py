"""How CrewAI finds our class again in what it has written down: an agent's LLM, and that of a flow that waits."""

from __future__ import annotations

from typing import Any, Final

from crewai.agents.agent_builder import base_agent
from crewai.llm import LLM

from agentroute.failover.forks import ProcessLock

__all__ = ["NAME", "register_for_agents", "register_for_flows"]

NAME: Final = "agentroute"
"""Our provider's name in what CrewAI writes down; never that of a real provider."""

_lock = ProcessLock()
_registered: set[type] = set()


def register_for_agents(cls: type) -> None:
    """Enters the class into the table in which CrewAI looks up what an agent's LLM was."""
    base_agent._LLM_TYPE_REGISTRY[NAME] = f"{cls.__module__}.{cls.__qualname__}"


def register_for_flows(cls: type) -> None:
    """Makes `LLM(provider="agentroute", ...)` a `cls`; of any other provider it makes what it made before.

    A waiting flow keeps `to_config_dict()` of its LLM and is resumed by `LLM(**config)`. CrewAI has no table for that:
    which classes `LLM` makes is fixed in its code (crewai 1.15, `LLM._get_native_provider`), so the constructor has to
    be extended. That is done once, when the first RoutedLLM is made; importing the package changes nothing of CrewAI's.
    """
    with _lock:
        if cls in _registered:
            return
        _registered.add(cls)
        usual = LLM.__new__

        def made(of: type[LLM], *args: Any, **kwargs: Any) -> Any:
            return cls(**kwargs) if kwargs.get("provider") == NAME else usual(of, *args, **kwargs)

        LLM.__new__ = made  # type: ignore[method-assign,assignment]
