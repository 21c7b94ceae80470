"""The one event loop of a runtime that may be asked from several.

A synchronous function runs in a thread, and may run a loop of its own to ask the runtime it runs in. What is asked
there is brought to the loop that holds the hosts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from rojak_ray.agents.activities import AgentActivities
from rojak_ray.agents.spec import AgentSpec, FunctionRef
from rojak_ray.core.kept import KeptResult
from rojak_ray.errors import ConfigError
from rojak_ray.journal.paths import Owner
from rojak_ray.sessions.ports import Gateway
from rojak_ray.sessions.requests import Ask, Reply

T = TypeVar("T")


class HomeLoop:
    """The loop on which a runtime was used first, as long as it is open."""

    def __init__(self) -> None:
        """No loop is home yet."""
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the work comes to at home. Cancelling this cancels it, on whichever loop.

        Raises:
            ConfigError: The loop at home stands still.
        """
        here = asyncio.get_running_loop()
        if self._loop is None or self._loop.is_closed():
            self._loop = here
        if self._loop is here:
            return await work()
        if not self._loop.is_running():
            raise ConfigError(
                "This runtime was opened on another event loop, which stands still; make one for each loop, on the "
                "same storage."
            )
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(), self._loop))


class GatewayAtHome:
    """A gateway whose hosts live on one loop, for clients on any."""

    def __init__(self, gateway: Gateway, home: HomeLoop) -> None:
        """Nothing is opened."""
        self._gateway = gateway
        self._home = home

    def refer(self, fn: Callable[..., Any], /, *, writes_instructions: bool = False) -> FunctionRef:
        """Name a callable."""
        return self._gateway.refer(fn, writes_instructions=writes_instructions)

    def restore(self, ref: FunctionRef) -> Any:
        """The callable behind a reference."""
        return self._gateway.restore(ref)

    async def connect(self) -> None:
        """Be ready."""
        await self._home.run(self._gateway.connect)

    async def ask(self, owner: Owner, ask: Ask) -> Reply:
        """Bring `ask` to the owner's host."""
        return await self._home.run(lambda: self._gateway.ask(owner, ask))

    async def whole_result(self, owner: Owner, kept: KeptResult) -> str | list[dict[str, Any]]:
        """Read a whole result."""
        return await self._home.run(lambda: self._gateway.whole_result(owner, kept))

    async def keep(self, holder: str, refs: Sequence[FunctionRef]) -> None:
        """Hold functions for a schedule."""
        await self._home.run(lambda: self._gateway.keep(holder, refs))

    async def release(self, holder: str) -> None:
        """Let go of them."""
        await self._home.run(lambda: self._gateway.release(holder))

    async def publish(self, agent: AgentSpec) -> None:
        """Make callables known to the steps."""
        await self._home.run(lambda: self._gateway.publish(agent))

    async def providers(self) -> dict[str, str]:
        """The providers that this program's environment brings."""
        return await self._home.run(self._gateway.providers)

    async def register(self, activities: Sequence[AgentActivities], functions: Sequence[Callable[..., Any]]) -> None:
        """Make providers and named functions known."""
        await self._home.run(lambda: self._gateway.register(activities, functions))

    async def close(self) -> None:
        """Let go of what the gateway holds."""
        await self._home.run(self._gateway.close)
