"""`Naming`: which functions a conversation names, told to whoever keeps functions alive."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from rojak_ray.agents.spec import AgentSpec, FunctionRef
from rojak_ray.core.commands import Command, OpenSession, StartRun
from rojak_ray.core.state import SessionState
from rojak_ray.journal.paths import Owner
from rojak_ray.sessions.ports import Needs, Phase


class Naming:
    """Follows one conversation's state."""

    def __init__(self, owner: Owner, tell: Needs | None) -> None:
        """Nothing is named yet; with None nobody wants to know."""
        self._owner = owner
        self._tell = tell
        self._agents: dict[str, AgentSpec] = {}
        self._phase: Phase = "settled"
        self._over = False

    def follow(self, state: SessionState, *, found: bool = False) -> None:
        """The conversation has come to this state, or was found in it. Costs nothing while its agents stay the same."""
        settled = state.run is None and not state.queue
        phase: Phase = "found" if found else "settled" if settled else "working"
        self._over = self._owner.kind == "run" and settled and bool(state.outcomes)
        if self._tell is None or (state.agents is self._agents and phase == self._phase):
            return
        self._agents, self._phase = state.agents, phase
        self._tell(self._owner, functions_of(state), phase)

    def answered(self) -> None:
        """Somebody has what they asked for. A run that is over names nothing once they have read what it says."""
        if self._over and self._tell is not None:
            asyncio.get_running_loop().call_soon(self._tell, self._owner, (), "settled")

    def ended(self) -> None:
        """The host is gone. A session still names what it did; a run that is over never will again."""
        if self._tell is None or not self._agents:
            return
        if self._over:
            self._tell(self._owner, (), "settled")
        self._tell(self._owner, callables(self._agents.values()), "gone")


def functions_of(state: SessionState) -> list[FunctionRef]:
    """The callables that a conversation's agents bring."""
    return callables(state.agents.values())


def functions_in(commands: Iterable[Command]) -> list[FunctionRef]:
    """The callables that commands bring."""
    return callables(
        command.agent for command in commands if isinstance(command, OpenSession | StartRun) and command.agent
    )


def callables(agents: Iterable[AgentSpec]) -> list[FunctionRef]:
    """What agents bring that is known by more than its name: what has a name alone is a worker's."""
    named = (
        ref
        for agent in agents
        for ref in (*agent.functions, agent.instructions)
        if isinstance(ref, FunctionRef) and not ref.by_name
    )
    return list(dict.fromkeys(named))
