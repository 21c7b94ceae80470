"""`DirectoryCopy`: what a host knows of the catalog's directory, and when it has to ask again."""

from __future__ import annotations

import asyncio
from typing import Protocol

from rojak_ray.clock import Clock
from rojak_ray.errors import RojakError
from rojak_ray.logs import get_logger
from rojak_ray.runtime.catalog import Directory, Version

logger = get_logger(__name__)

FRESH_S = 1.0
PATIENCE_S = 0.25
"""How long a step waits for news that it need not have. A catalog that was lost takes seconds to come back, and what
it knew before is no worse for that."""


class Fetches(Protocol):
    """A catalog."""

    async def directory_after(self, version: Version) -> Directory | None:
        """The directory, or None if it is still of that version."""
        ...


class DirectoryCopy:
    """A directory that is never older than what whoever uses it has seen.

    A fetch that was under way when somebody asked may bring what was true before: it never counts for them.
    """

    def __init__(self, catalog: Fetches, clock: Clock, patience_s: float = PATIENCE_S) -> None:
        """Nothing is known, and nothing is expected."""
        self._catalog = catalog
        self._clock = clock
        self._patience_s = patience_s
        self.known = Directory()
        self._expected: Version = ("", 0)
        self._begun = 0
        """Fetches so far; they come one after another."""

        self._done = 0
        """The last fetch that brought its answer."""

        self._began_at = float("-inf")
        """When that one began: what it brought is at least as new."""

        self._fetching = asyncio.Lock()
        self._asking: asyncio.Task[None] | None = None

    def expect(self, version: Version) -> None:
        """A client has seen this version: what it registered must be known before its next step."""
        if version[0] != self._expected[0] or version[1] > self._expected[1]:
            self._expected = version

    @property
    def _behind(self) -> bool:
        known, expected = self.known.version, self._expected
        return known[0] != expected[0] or known[1] < expected[1]

    async def up_to_date(self) -> None:
        """Return when what is known is as new as a step needs it.

        A catalog that is on its way back is waited for only by whoever has nothing to go on with: one who knows
        nothing, or less than its client has been told.

        Raises:
            StoreUnavailable: Then, and it does not come back.
        """
        if self._behind or not self.known.version[0]:
            await self.refresh(0.0)
        elif self._clock.monotonic() - self._began_at >= FRESH_S:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask(), name="ask for the directory")
            await asyncio.wait([self._asking], timeout=self._patience_s)

    async def _ask(self) -> None:
        try:
            await self.refresh(0.0)
        except RojakError as error:
            logger.warning("steps go on with what the catalog said before: %s", error)

    async def refresh(self, older_than_s: float) -> None:
        """Ask the catalog if what is known may be older than that, or older than what a client has seen.

        Raises:
            StoreUnavailable: The catalog does not answer; what is known stays.
        """
        if self._clock.monotonic() - self._began_at < older_than_s and not self._behind:
            return
        asked = self._begun
        async with self._fetching:
            if self._done > asked:
                return  # begun and brought while this one waited for its turn
            self._begun += 1
            number, began_at, expected = self._begun, self._clock.monotonic(), self._expected
            changed = await self._catalog.directory_after(self.known.version)
            if changed is not None:
                self.known = changed.after(self.known)
            if self._expected == expected and self.known.version[0] != expected[0]:
                self._expected = self.known.version  # of an earlier life of the catalog, which is not coming back
            self._done, self._began_at = number, began_at

    def forget(self, key: str) -> None:
        """A parcel is gone: the next refresh brings the whole directory, and nothing here names it until then."""
        self.known = self.known.without(key)
