"""`Probation`: how conversations come back after their process died, so that the one that killed it is found.

A conversation that was taken over before without getting anywhere is a suspect. Suspects come back a few at a time,
and those that were so again one by one: whichever runs when the process dies again keeps its count, the others lose
theirs. Who has nothing to be suspected of never waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

_SUSPECT_AFTER = 2
_ALONE_AFTER = 4
_GROUP = 16


class Probation:
    """Who may come back now; shared by the hosts of one process."""

    def __init__(self) -> None:
        """Nobody is on probation."""
        self._places = asyncio.Semaphore(_GROUP)
        self._gathering = asyncio.Lock()

    @staticmethod
    def concerns(recoveries: int) -> bool:
        """Whether a conversation with so many recoveries in a row has to wait its turn."""
        return recoveries >= _SUSPECT_AFTER

    @asynccontextmanager
    async def turn(self, recoveries: int) -> AsyncGenerator[None]:
        """Come back inside: with a few others, or alone."""
        wanted = _GROUP if recoveries >= _ALONE_AFTER else 1
        taken = 0
        try:
            async with self._gathering:  # two that want all places would each hold some for ever
                while taken < wanted:
                    await self._places.acquire()
                    taken += 1
            yield
        finally:
            for _ in range(taken):
                self._places.release()


@dataclass(frozen=True)
class Suspicion:
    """How a host finds out that its conversation is what ends processes."""

    most_recoveries: int = 6
    """Take-overs in a row without a recorded result after which the conversation is set aside."""

    probation: Probation | None = None
    """Of the process; None where the conversation is alone, and nobody else can be to blame."""

    probation_s: float = 10.0
    """A suspect that has run so long without ending its process is none any more."""
