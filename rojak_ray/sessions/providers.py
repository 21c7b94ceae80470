"""The providers and retrievers one process can ask, by the type they answer for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from rojak_ray.agents.activities import AgentActivities
from rojak_ray.agents.agent import Agent, Retriever
from rojak_ray.checks import kind_of, shown
from rojak_ray.errors import InvalidSetting, ProviderNotFound
from rojak_ray.messages import has_lone_surrogate
from rojak_ray.providers.builtin import builtin_activities
from rojak_ray.providers.environment import captured_providers
from rojak_ray.retrievers.base import RetrieverActivities

Activities = AgentActivities | RetrieverActivities


class ProviderSource(Protocol):
    """Finds who answers for a type."""

    async def agent_activities(self, agent_type: str, captured: str | None = None) -> AgentActivities:
        """Who asks models for agents of this type, or the one of a program's environment; raises ProviderNotFound."""
        ...

    async def retriever_activities(self, retriever_type: str) -> RetrieverActivities:
        """Who retrieves for this type; raises ProviderNotFound."""
        ...


class ProviderRegistry:
    """Providers registered in this process; the built-in ones serve with settings from the environment."""

    def __init__(self) -> None:
        """Know the built-in providers only."""
        self._agents: dict[str, AgentActivities] = {}
        self._builtin: dict[str, AgentActivities] = {}
        self._captured: dict[str, AgentActivities] = {}
        self._retrievers: dict[str, RetrieverActivities] = {}

    def register(self, activities: Iterable[Any]) -> None:
        """Add providers and retrievers, replacing those of the same type.

        Raises:
            InvalidSetting: One is of another class, or names no type.
        """
        for one in activities:
            check_activities(one)
            if isinstance(one, RetrieverActivities):
                self._retrievers[one.type] = one
            else:
                self._agents[one.type] = one

    def capture(self, environ: Mapping[str, str], namespace: str) -> dict[str, str]:
        """Take the vendors that an environment reaches, but for types that were registered.

        Returns:
            What names them in a run, by agent type.
        """
        named: dict[str, str] = {}
        for one in captured_providers(environ):
            if one.type not in self._agents:
                name = named[one.type] = one.fingerprint(namespace)
                if name not in self._captured:
                    self._captured[name] = one.activities()
        return named

    async def agent_activities(self, agent_type: str, captured: str | None = None) -> AgentActivities:
        """Who asks models for agents of this type, or the one of a program's environment."""
        if captured is not None:
            known = self._captured.get(captured)
            if known is None:
                raise program_gone(agent_type)
            return known
        if agent_type in self._agents:
            return self._agents[agent_type]
        found = self._builtin.get(agent_type) or builtin_activities(agent_type)
        if found is None:
            raise nobody_serves("agent", agent_type)
        self._builtin[agent_type] = found
        return found

    async def retriever_activities(self, retriever_type: str) -> RetrieverActivities:
        """Who retrieves for this type."""
        found = self._retrievers.get(retriever_type)
        if found is None:
            raise nobody_serves("retriever", retriever_type)
        return found

    async def aclose(self) -> None:
        """Release every connection."""
        for one in (
            *self._agents.values(),
            *self._builtin.values(),
            *self._captured.values(),
            *self._retrievers.values(),
        ):
            await one.aclose()


def check_activities(given: Any, where: str = "A worker") -> Activities:
    """A provider or retriever that can be registered.

    Raises:
        InvalidSetting: It is of another class, or names no type.
    """
    if not isinstance(given, AgentActivities | RetrieverActivities):
        raise InvalidSetting(
            f"{where} takes AgentActivities and RetrieverActivities (instances), not {shown(given)}.{_meant(given)}"
        )
    kind: Any = getattr(given, "type", None)
    if not isinstance(kind, str) or not kind.strip() or has_lone_surrogate(kind):
        raise InvalidSetting(f"{kind_of(given)} must name the type it answers for in a class attribute `type`.")
    return given


def _meant(given: Any) -> str:
    """What to write instead of what is often passed in the place of a provider."""
    if isinstance(given, type):
        return f" Make one: {given.__name__}(...)." if issubclass(given, AgentActivities | RetrieverActivities) else ""
    if isinstance(given, Agent):
        return f" An agent goes to run(agent=...); who answers for it is {kind_of(given)}Activities()."
    if isinstance(given, Retriever):
        return f" A retriever stands in an agent; who answers for it is {kind_of(given)}Activities(...)."
    return " Functions go to functions=[...]." if callable(given) else ""


def program_gone(agent_type: str) -> ProviderNotFound:
    """The error for a run whose program brought a provider that is not known any more."""
    return ProviderNotFound(
        f"The run was asked for by a program that brought its own provider for agents of type {agent_type!r} (a key "
        "and address in its environment), and no program with these settings is there. Start one, or a worker with "
        "them; nobody else's provider answers in its place. Or cancel the run and ask again.",
        missing=agent_type,
    )


def nobody_serves(kind: str, name: str) -> ProviderNotFound:
    """The error for a type without a provider; it says what to register."""
    base = "AgentActivities" if kind == "agent" else "RetrieverActivities"
    return ProviderNotFound(
        f"No worker serves the {kind} type {name!r}. Start one with "
        f"create_worker([...]) whose {base} has type = {name!r}.",
        missing=name,
    )
