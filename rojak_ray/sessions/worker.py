"""`Worker`: what a program registers with an installation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from rojak_ray.sessions.ports import Gateway


class Worker:
    """Functions and providers this program offers. It runs no queue: registering is all it does.

    `await worker.run()` keeps them registered (also across a restart of the catalog) until its task is cancelled;
    `async with worker` does so for a block. What was registered stays registered afterwards.

    Example:
        worker = await rojak.create_worker(functions=[book_table])
        async with worker:  # told again if the catalog is lost meanwhile
            await rojak.run(agent=OfflineAgent(functions=["book_table"]), messages="Book a table for 4 guests.")
    """

    def __init__(self, gateway: Gateway, activities: Sequence[Any], functions: Sequence[Callable[..., Any]]) -> None:
        """Made by `create_worker`."""
        self._gateway = gateway
        self._activities = activities
        self._functions = functions

    async def register(self) -> None:
        """Register everything, again if need be.

        Example:
            worker = await rojak.create_worker(functions=[book_table])
            await worker.register()  # again
        """
        await self._gateway.connect()
        await self._gateway.register(self._activities, self._functions)

    async def run(self) -> None:
        """Stay until cancelled."""
        await asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        """Already registered."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to undo: other programs may rely on what was registered."""
