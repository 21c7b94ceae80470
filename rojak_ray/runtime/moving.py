"""`Residents`: which owners a shared host may open, so that none is open in two places while the hosts change.

A host opens an owner only if it is its home by the newest map that it knows, and only after every host that may still
have it has said that it does not. Saying so, that host hears of the map and opens the owner no more. Whoever is at work
somewhere stays there, and its clients are sent there; whoever rests is let go.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Protocol

from rojak_ray.clock import Clock
from rojak_ray.errors import StoreUnavailable
from rojak_ray.journal.paths import Owner
from rojak_ray.runtime.host_map import HostMap, Moved

_PATIENCE_S = 20.0
"""With a host that may have an owner and does not answer: Ray takes up to 15 s to notice that its node is gone."""

_AGAIN_S = 0.5


class Open(Protocol):
    """What is open in this process; a `HostPool` is one."""

    @property
    def owners(self) -> Iterable[Owner]:
        """Open, or on their way in or out."""
        ...

    def has(self, owner: Owner) -> bool:
        """Whether it is one of these."""
        ...

    async def dismiss(self, owner: Owner) -> bool:
        """Let it go if it rests; whether it is not open here any more."""
        ...


class Elsewhere(Protocol):
    """The other shared hosts."""

    async def release(self, index: int, owner: Owner, hosts: HostMap) -> bool | None:
        """Ask one to let an owner go: whether it does not have it (any more). None: it does not answer."""
        ...


class MovedAway(Exception):
    """An owner is not to be opened here."""

    def __init__(self, moved: Moved) -> None:
        """Says where it is."""
        super().__init__(f"ask host {moved.at}")
        self.moved = moved


class Residents:
    """Of one shared host."""

    def __init__(self, index: int, hosts: HostMap, here: Open, elsewhere: Elsewhere, clock: Clock) -> None:
        """Knows the map it was started with, which may be an old one: see `learn`."""
        self._index = index
        self._hosts = hosts
        self._here = here
        self._elsewhere = elsewhere
        self._clock = clock
        self._entering: Counter[Owner] = Counter()
        """Asked for, and about to be opened perhaps."""

    @property
    def hosts(self) -> HostMap:
        """The newest map that was heard of."""
        return self._hosts

    def learn(self, hosts: HostMap) -> None:
        """Take in a map; an older one changes nothing."""
        self._hosts = self._hosts.newer(hosts)

    @asynccontextmanager
    async def entering(self, owner: Owner) -> AsyncGenerator[None]:
        """Inside, the owner may be opened here; no other host will.

        Raises:
            MovedAway: It belongs elsewhere, or is still at work there.
            StoreUnavailable: A host that may have it does not answer.

        Crash safety:
            Nothing is kept. The journal's epochs see to it that one writer counts; this only keeps two from trying.
        """
        self._entering[owner] += 1
        try:
            if not self._here.has(owner):
                await self._admit(owner)
            yield
        finally:
            self._entering[owner] -= 1
            if not self._entering[owner]:
                del self._entering[owner]

    async def _admit(self, owner: Owner) -> None:
        ends_at = self._clock.monotonic() + _PATIENCE_S
        hosts, free = self._hosts, set[int]()
        while True:
            if hosts != self._hosts:  # by another map, who said no under the last one may have it by now
                hosts, free = self._hosts, set[int]()
            if hosts.home(owner) != self._index:
                raise MovedAway(Moved(hosts, hosts.home(owner)))
            other = next((each for each in hosts.homes(owner) if each not in {self._index, *free}), None)
            if other is None:
                return
            released = await self._elsewhere.release(other, owner, hosts)
            if released:
                free.add(other)
            elif released is False:
                raise MovedAway(Moved(self._hosts, other))
            elif self._clock.monotonic() > ends_at:
                raise StoreUnavailable(f"Host {other} may still have {owner} and does not answer; ask again.")
            else:
                await self._clock.sleep(_AGAIN_S)

    async def release(self, owner: Owner, hosts: HostMap) -> bool:
        """For another host, which is the owner's home by this map: whether the owner is not here, now and later."""
        self.learn(hosts)
        if owner in self._entering:
            return False
        gone = not self._here.has(owner) or await self._here.dismiss(owner)
        return gone and owner not in self._entering  # somebody may have asked for it meanwhile

    async def settle(self, hosts: HostMap) -> int:
        """For the catalog: let go of what rests and belongs elsewhere; how much of that is still here."""
        self.learn(hosts)
        foreign = {owner for owner in (*self._here.owners, *self._entering) if self._belongs_elsewhere(owner)}
        await asyncio.gather(*(self._here.dismiss(owner) for owner in foreign - self._entering.keys()))
        return sum(self._here.has(owner) or owner in self._entering for owner in foreign)

    def _belongs_elsewhere(self, owner: Owner) -> bool:
        return self._hosts.home(owner) != self._index

    async def admitted(self, owners: Iterable[Owner], open_one: Callable[[Owner], Awaitable[object]]) -> None:
        """Open those of these owners that may be opened here; the others are somebody else's to open."""
        for owner in owners:
            try:
                async with self.entering(owner):
                    await open_one(owner)
            except (MovedAway, StoreUnavailable):
                continue
