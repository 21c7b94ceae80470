"""The shared hosts as the catalog and other hosts reach them through Ray."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError

from rojak_ray.journal.paths import Owner
from rojak_ray.logs import get_logger
from rojak_ray.runtime import lookup
from rojak_ray.runtime.host_map import HostMap
from rojak_ray.runtime.settings import SHARED_HOST, RuntimeSettings, host_name

logger = get_logger(__name__)

_MAP_S, _PLACES_S = 1.0, 5.0
_SETTLE_S = 10.0
_RELEASE_S = 5.0


class RayHosts:
    """See `host_keeping.Hosts` and `moving.Elsewhere`."""

    def __init__(self, settings: RuntimeSettings) -> None:
        """Nothing is asked yet."""
        self._settings = settings
        self._sent: dict[int, str] = {}
        """The node each was sent to that was started here: until it is up it cannot say where it is."""

    async def cpus(self) -> float:
        """Of the nodes that are alive."""
        return sum((await self._nodes()).values())

    async def maps(self) -> Sequence[HostMap]:
        """Those that the hosts which answer know."""
        return [found for found, _ in (await self._ask_all(_MAP_S)).values()]

    async def start(self, index: int) -> None:
        """Start one, or find it, on the node that has the fewest for its CPUs, if it is still there by then."""
        from rojak_ray.runtime import actors  # which loads every actor's class

        at = self._sent | {each: node for each, (_, node) in (await self._ask_all(_PLACES_S)).items()}
        there = Counter(at.values())
        nodes = {node: cpus for node, cpus in (await self._nodes()).items() if cpus}
        where = min(nodes, key=lambda node: (there[node] / nodes[node], node), default=None)
        if where is not None:
            self._sent[index] = where
        await asyncio.to_thread(actors.start_host, self._settings, index, where)

    async def settle(self, index: int, hosts: HostMap) -> int | None:
        """See `Residents.settle`; 0 if there is no such host, None if it does not answer."""
        answer = await self._ask(index, "settle", _SETTLE_S, hosts)
        return 0 if answer is _GONE else answer

    async def release(self, index: int, owner: Owner, hosts: HostMap) -> bool | None:
        """Ask one to let an owner go: whether it does not have it (any more). None: it does not answer."""
        answer = await self._ask(index, "release", _RELEASE_S, owner, hosts)
        return True if answer is _GONE else answer

    async def stop(self, hosts: HostMap) -> None:
        """End those that this map does not know; they have nothing open."""
        for name in await self._names():
            if int(name.removeprefix(SHARED_HOST)) >= hosts.hosts:
                self._sent.pop(int(name.removeprefix(SHARED_HOST)), None)
                handle = await asyncio.to_thread(lookup.find, name, self._settings)
                if handle is not None:
                    await asyncio.to_thread(ray.kill, handle)

    async def _nodes(self) -> dict[str, float]:
        found = await asyncio.to_thread(ray.nodes)
        return {node["NodeID"]: node["Resources"].get("CPU", 0.0) for node in found if node["Alive"]}

    async def _names(self) -> list[str]:
        names = await asyncio.to_thread(lookup.names_of, self._settings)
        return [name for name in names if name.startswith(SHARED_HOST)]

    async def _ask_all(self, within_s: float) -> dict[int, tuple[HostMap, str]]:
        """The map that each knows which answers, and its node."""
        indices = [int(name.removeprefix(SHARED_HOST)) for name in await self._names()]
        answers = await asyncio.gather(*(self._ask(index, "describe", within_s) for index in indices))
        found = zip(indices, answers, strict=True)
        return {index: answer for index, answer in found if answer is not None and answer is not _GONE}

    async def _ask(self, index: int, method: str, within_s: float, *args: Any) -> Any:
        handle: Any = await asyncio.to_thread(lookup.find, host_name(index), self._settings)
        if handle is None:
            return _GONE
        try:
            async with asyncio.timeout(within_s):
                return await getattr(handle, method).remote(*args)
        except ActorDiedError:
            return None if await asyncio.to_thread(lookup.find, host_name(index), self._settings) else _GONE
        except (RayError, TimeoutError) as error:
            logger.debug("shared host %d does not answer: %s", index, error)
            return None


_GONE: Any = object()
