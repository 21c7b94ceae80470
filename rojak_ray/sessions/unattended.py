"""The way to conversations where no cluster runs: they can be looked at and changed, and nothing of them is run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from rojak_ray.agents.activities import AgentActivities, OnDelta
from rojak_ray.agents.spec import AgentSpec, FunctionRef
from rojak_ray.clock import SystemClock
from rojak_ray.core.steps import Step, StepResult
from rojak_ray.errors import ConfigError
from rojak_ray.ids import RandomIds
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.sessions.pool import HostPool
from rojak_ray.sessions.requests import Ask, Reply
from rojak_ray.storage.base import Store


class StorageGateway:
    """A `Gateway` over storage alone.

    Crash safety:
        A change claims the journal like any host, so a cluster that does run loses its hold of the conversation, opens
        it again and goes on with the change.
    """

    def __init__(self, store: Store, paths: Paths) -> None:
        """Nothing is opened."""
        self._store = store
        self._pool = HostPool(store, paths, _RunsNothing(), SystemClock(), RandomIds())

    async def connect(self) -> None:
        """There is nothing to connect to."""

    async def ask(self, owner: Owner, ask: Ask) -> Reply:
        """See `HostPool.ask`."""
        return await self._pool.ask(owner, ask)

    def refer(self, fn: Callable[..., Any], /, *, writes_instructions: bool = False) -> FunctionRef:
        """Refused: nothing would ever call it."""
        raise ConfigError("Without a cluster nothing is run; start one, or use InProcessRuntime.")

    def restore(self, ref: FunctionRef) -> Any:
        """The name: no function is known here."""
        return ref.name

    async def keep(self, holder: str, refs: Sequence[FunctionRef]) -> None:
        """Nobody could refer to any."""

    async def release(self, holder: str) -> None:
        """There is nothing to let go."""

    async def publish(self, agent: AgentSpec) -> None:
        """There is nobody to tell."""

    async def providers(self) -> dict[str, str]:
        """None: whatever this program's environment says, it runs nothing."""
        return {}

    async def register(self, activities: Sequence[AgentActivities], functions: Sequence[Callable[..., Any]]) -> None:
        """Refused: nothing would ever be asked."""
        raise ConfigError("Without a cluster nothing is run; start one, or use InProcessRuntime.")

    async def close(self) -> None:
        """Let go. What is unfinished keeps its mark, so that the next cluster finds it."""
        await self._pool.close()
        await self._store.aclose()


class _RunsNothing:
    """Leaves every step to whoever opens the conversation next."""

    async def execute(self, step: Step, on_delta: OnDelta | None = None) -> StepResult:
        return await asyncio.get_running_loop().create_future()
