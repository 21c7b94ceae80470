"""`Holding`: tells the catalog which functions the conversations of a host name, so that it keeps them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Protocol

from rojak_ray.agents.spec import FunctionRef
from rojak_ray.clock import Clock
from rojak_ray.concurrency import background
from rojak_ray.journal.paths import Owner
from rojak_ray.sessions.ports import Phase

_TELL_S = 1.0
"""What a short run names comes and goes in less, and is never told."""

Pair = tuple[str, int]
"""A function's token, and the number of a conversation."""


class Holds(Protocol):
    """A catalog."""

    async def hold(self, added: Sequence[Pair], dropped: Sequence[Pair]) -> str:
        """Returns the catalog's life."""
        ...


class Holding:
    """What the open conversations of one host name.

    Crash safety:
        Telling the same again changes nothing. The catalog keeps what nobody named for a minute, so that a host which
        is slow to tell, or is lost and opened again elsewhere, loses nothing; what it keeps too long is memory.
    """

    def __init__(self, catalog: Holds, clock: Clock) -> None:
        """Nothing is named."""
        self._catalog = catalog
        self._clock = clock
        self._named: dict[Owner, frozenset[str]] = {}
        self._told: set[Pair] = set()
        """Of the conversations that are open here: what the catalog was told, or may have been."""

        self._untold: dict[Pair, bool] = {}
        self._life = ""
        self._telling: asyncio.Task[None] | None = None

    @property
    def settled(self) -> bool:
        """Whether everything is told."""
        return not self._untold

    def needs(self, owner: Owner, refs: Sequence[FunctionRef], phase: Phase) -> None:
        """See `Needs`."""
        before, number = self._named.pop(owner, frozenset()), number_of(owner)
        if phase == "gone":
            self._told -= {(token, number) for token in before}  # the catalog goes on holding them
            return
        now = frozenset(ref.ref for ref in refs if ref.ref is not None)
        if now:
            self._named[owner] = now
        for token in now - before:
            self._tell((token, number), True)
        for token in before - now:
            self._tell((token, number), False)
        if phase == "found":
            self._told |= {(token, number) for token in now}  # by whoever had it open before

    def _tell(self, pair: Pair, named: bool) -> None:
        if (pair in self._told) == named:
            self._untold.pop(pair, None)  # it came and went, or went and came again, before anybody was told
        else:
            self._untold[pair] = named
        if self._untold and (self._telling is None or self._telling.done()):
            self._telling = background("tell which functions are named", self._tell_all, self._clock)

    async def _tell_all(self) -> None:
        while self._untold:
            await self._clock.sleep(_TELL_S)
            telling = dict(self._untold)
            added = {pair for pair, named in telling.items() if named}
            if not telling:
                return
            # As if it were told, from here on: what changes meanwhile is told after it.
            numbers = {number_of(owner) for owner in self._named}
            self._told = (self._told - (telling.keys() - added)) | {pair for pair in added if pair[1] in numbers}
            life = await self._catalog.hold(list(added), [pair for pair in telling if pair not in added])
            for pair, named in telling.items():
                if self._untold.get(pair) == named:
                    del self._untold[pair]
            if life != self._life and self._life:  # it was lost, and knows of no conversation
                self._untold = {**dict.fromkeys(self._told - added, True), **self._untold}
            self._life = life


def number_of(owner: Owner) -> int:
    """A number that stands for a conversation."""
    return int.from_bytes(hashlib.blake2b(str(owner).encode("utf-8", "replace"), digest_size=8).digest())
