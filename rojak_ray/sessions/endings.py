"""`Endings`: who waits for which run of a conversation to end. Everybody hears, whatever happens."""

from __future__ import annotations

import asyncio

from rojak_ray.errors import RojakError
from rojak_ray.sessions.requests import RunView


class Endings:
    """The waits at one host."""

    def __init__(self) -> None:
        """Nobody waits."""
        self.waiting = 0
        self._futures: dict[str, asyncio.Future[RunView]] = {}

    async def wait(self, run_id: str, wait_s: float) -> RunView | None:
        """The run once it has ended; None if it has not within `wait_s` seconds.

        Raises:
            RojakError: Nobody will tell here; it says why.
        """
        ending = self._futures.setdefault(run_id, asyncio.get_running_loop().create_future())
        self.waiting += 1
        try:
            async with asyncio.timeout(wait_s):
                # Shielded: others wait for the same ending.
                return await asyncio.shield(ending)
        except TimeoutError:
            return None
        finally:
            self.waiting -= 1

    def tell(self, run: RunView) -> None:
        """A run has ended."""
        ending = self._futures.pop(run.run_id, None)
        if ending is not None and not ending.done():
            ending.set_result(run)

    def fail(self, error: RojakError) -> None:
        """Tell everyone that nobody will tell them."""
        futures, self._futures = self._futures, {}
        for ending in futures.values():
            if not ending.done():
                ending.set_exception(error)
                ending.exception()  # nobody may be waiting any more
