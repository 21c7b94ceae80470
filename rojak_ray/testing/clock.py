"""A clock that a test moves: schedules and waits of weeks pass in milliseconds."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta

_SETTLING = 30
"""Turns of the event loop after which tasks that only wait for each other have come to rest."""

_QUIET = 3
"""Turns in a row in which nobody else had anything to do; one may still hear from outside in the next."""


class FakeClock:
    """Stands still until `advance` is called; whoever sleeps on it wakes in order."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        """Show `start`, and zero seconds gone by."""
        self._start = start
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> datetime:
        """The time it shows."""
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Seconds that went by."""
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Return when the test has moved the clock so far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waking: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), waking))
        await waking

    async def advance(self, seconds: float = 0.0) -> None:
        """Let time go by. Everybody whose sleep ends meanwhile wakes at its time and has a moment to act."""
        end = self._elapsed + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            moment, _, waking = heapq.heappop(self._sleepers)
            if waking.done():
                continue
            self._elapsed = max(self._elapsed, moment)
            waking.set_result(None)
            await self._settle()
        self._elapsed = end
        await self._settle()

    def set(self, shown: datetime) -> None:
        """Make it show another time, as when a machine's clock is corrected; no time goes by."""
        self._start = shown - timedelta(seconds=self._elapsed)

    async def _settle(self) -> None:
        waiting = getattr(asyncio.get_running_loop(), "_ready", None)  # other loops than asyncio's do not tell
        quiet = 0
        for _ in range(_SETTLING):
            await asyncio.sleep(0)
            quiet = quiet + 1 if waiting is not None and not waiting else 0
            if quiet == _QUIET:
                return
