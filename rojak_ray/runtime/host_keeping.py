"""`HostKeeper`: how many shared hosts there are. In the catalog; with `hosts="auto"` it follows the cluster's CPUs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from rojak_ray.clock import Clock
from rojak_ray.logs import get_logger
from rojak_ray.runtime.host_map import Demand, HostMap

logger = get_logger(__name__)

_LOOK_S = 2.0


class Hosts(Protocol):
    """The shared hosts, and the nodes they run on."""

    async def cpus(self) -> float:
        """Of the nodes that are alive."""
        ...

    async def maps(self) -> Sequence[HostMap]:
        """Those that the hosts which answer know."""
        ...

    async def start(self, index: int) -> None:
        """Start one, or find it."""
        ...

    async def settle(self, index: int, hosts: HostMap) -> int | None:
        """See `Residents.settle`; 0 if there is no such host, None if it does not answer."""
        ...

    async def stop(self, hosts: HostMap) -> None:
        """End those that this map does not know; they have nothing open."""
        ...


class HostKeeper:
    """Decides on the map, and sees to it that owners which rest move to where they belong.

    Crash safety:
        The map is in memory. A new life asks the hosts for the newest that they know; where none of them knows any,
        nothing is open either. Until it has asked, no host that starts is told a map, and so none opens anything.
    """

    def __init__(
        self,
        count: int,
        hosts: Hosts,
        clock: Clock,
        *,
        follows: bool,
        fewer_after_s: float = 60.0,
        again: bool = False,
    ) -> None:
        """Nothing is known yet.

        Args:
            count: Of hosts to begin with.
            hosts: Those there are.
            clock: For looks and pauses.
            follows: Whether their number follows the CPUs.
            fewer_after_s: How long nodes must be gone before it does.
            again: An earlier life of the catalog may have decided something.
        """
        self._again = again
        self._fewer_after_s = fewer_after_s
        self._hosts = hosts
        self._follows = follows
        self._clock = clock
        self._map = HostMap(count)
        self._demand = Demand(count, clock.monotonic())
        self._known = asyncio.Event()

    @property
    def current(self) -> HostMap:
        """As far as it is known."""
        return self._map

    async def known(self) -> HostMap:
        """The map, once it is known."""
        await self._known.wait()
        return self._map

    async def run(self) -> None:
        """For ever, for `background`."""
        if not self._follows:
            self._known.set()
            return
        if not self._known.is_set():
            await self.begin()
        while True:
            await self._clock.sleep(_LOOK_S)
            await self.step()

    async def begin(self) -> None:
        """Find out what an earlier life of the catalog decided."""
        for found in await self._hosts.maps() if self._again else ():
            self._map = self._map.newer(found)
        if not self._map.version:
            # Programs may still have a map of a life whose hosts are all gone: what comes later counts for more.
            self._map = HostMap(self._map.count, (), int(self._clock.now().timestamp()))
        self._demand = Demand(self._map.count, self._clock.monotonic())
        self._known.set()

    async def step(self) -> None:
        """One look at the nodes, and at those who have not moved yet."""
        now = self._clock.monotonic()
        self._demand = self._demand.after(await self._hosts.cpus(), now)
        count = self._demand.due(self._map, now, self._fewer_after_s)
        if count is not None:
            logger.info("%d shared hosts from now on, %d before", count, self._map.count)
            for index in range(self._map.count, count):
                await self._hosts.start(index)
            self._map = self._map.changed(count)
        if self._map.former:
            await self._settle()

    async def _settle(self) -> None:
        hosts = self._map
        left = await asyncio.gather(*(self._hosts.settle(index, hosts) for index in range(hosts.hosts)))
        if any(each is None or each for each in left):
            return
        # Each of them knows this map by now, and opens nothing that belongs elsewhere.
        self._map = hosts.settled()
        await self._hosts.stop(self._map)
