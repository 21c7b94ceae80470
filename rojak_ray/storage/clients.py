"""The clients of a bucket: one for each event loop, made anew when the credentials it has are refused."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rojak_ray.clock import Clock
from rojak_ray.logs import get_logger
from rojak_ray.storage.drivers import Driver, vendor_words

logger = get_logger(__name__)

RENEW_EVERY_S = 3.0
"""Shortest life of a client whose credentials are refused: somebody who is refused for good asks often."""


@dataclass(eq=False)
class _Client:
    opening: asyncio.Future[Driver]
    made_at: float
    uses: int = 0
    retired: bool = False

    @property
    def failed(self) -> bool:
        return self.opening.done() and (self.opening.cancelled() or self.opening.exception() is not None)


class Clients:
    """Keeps a driver for each event loop that asks for one."""

    def __init__(self, make: Callable[[], Awaitable[Driver]], clock: Clock) -> None:
        """`make` opens a driver on the running loop; it finds the credentials there are by then."""
        self._make = make
        self._clock = clock
        self._clients: dict[asyncio.AbstractEventLoop, _Client] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def use(self) -> AsyncGenerator[Driver]:
        """This loop's driver, opened once however many calls wait for it. It stays open until the block ends."""
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None or client.failed:
            self._clients = {each: kept for each, kept in self._clients.items() if not each.is_closed()}
            client = _Client(asyncio.ensure_future(self._make()), self._clock.monotonic())
            self._clients[loop] = client
        client.uses += 1
        try:
            yield await asyncio.shield(client.opening)
        finally:
            client.uses -= 1
            if client.retired and client.uses == 0:
                self._close_soon(client)

    def renew(self, driver: Driver) -> bool:
        """Have the next use of this loop open another driver than `driver`; False if that one was made just now.

        Calls under way keep the old one until they end.
        """
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None or client.failed or not client.opening.done() or client.opening.result() is not driver:
            return True  # somebody else was here before
        if self._clock.monotonic() - client.made_at < RENEW_EVERY_S:
            return False
        del self._clients[loop]
        client.retired = True
        if client.uses == 0:
            self._close_soon(client)
        return True

    async def aclose(self) -> None:
        """Close this event loop's drivers. A later use opens a new one."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await asyncio.wait([client.opening])
            if not client.failed:
                await client.opening.result().close()
        mine = [task for task in self._closing if task.get_loop() is asyncio.get_running_loop()]
        if mine:
            await asyncio.wait(mine)

    def _close_soon(self, client: _Client) -> None:
        if client.failed:
            return
        task = asyncio.ensure_future(_close(client.opening.result()))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _close(driver: Driver) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        try:
            await driver.close()
        except Exception as error:  # noqa: BLE001  (nothing depends on it any more)
            logger.warning("a client of the storage could not be closed: %s", vendor_words(error))
