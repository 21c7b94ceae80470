"""`Placements`: which sessions have an actor of their own. There is one, in the catalog, so that all programs agree.

A process of its own keeps a session from its neighbours' work and faults, and costs a second of a core to start and
up to 170 MiB to keep. So with `placement="auto"` sessions get one while there is room, and share hosts beyond it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rojak_ray.clock import Clock
from rojak_ray.errors import RayUnavailable
from rojak_ray.journal.paths import Owner
from rojak_ray.logs import get_logger
from rojak_ray.runtime.host_map import HostMap
from rojak_ray.runtime.settings import RuntimeSettings, host_name, session_name

logger = get_logger(__name__)

OWN_ACTORS_PER_CPU = 2
MOST_OWN_ACTORS = 64
OWN_ACTOR_BYTES = 170 * 1024**2
"""Of a dedicated session's actor and the function process it may start: what one is counted as."""

MEMORY_SHARE = 0.25
"""Of the cluster's memory, for sessions' own actors."""

STARTS_AT_ONCE = 2
"""Each start keeps a core busy; more at once only make all of them late."""

REPLY_S = 5.0
"""A placement that takes longer is asked for again; it goes on meanwhile."""

_KEEP_SHARED_S = 30.0
"""A session that was sent to a shared host stays there so long even if the host does not have it open yet."""


@dataclass(frozen=True)
class Capacity:
    """What the nodes of a cluster offer together."""

    cpus: float
    memory_bytes: float

    @property
    def own_actors(self) -> int:
        """How many sessions may have an actor of their own with `placement="auto"`."""
        by_memory = MEMORY_SHARE * self.memory_bytes / OWN_ACTOR_BYTES
        return int(min(OWN_ACTORS_PER_CPU * self.cpus, by_memory, MOST_OWN_ACTORS))


class Cluster(Protocol):
    """What placing needs of Ray."""

    async def capacity(self) -> Capacity:
        """Of the nodes that are alive."""
        ...

    async def own_actors(self) -> set[str]:
        """Ray names of the sessions' own actors, running or on their way."""
        ...

    async def start_session(self, session_id: str) -> None:
        """Start a session's own actor, or find it; returns when it answers.

        Raises:
            RayUnavailable: It did not come up, and will not.
        """
        ...

    async def host_has(self, index: int, session_id: str) -> bool:
        """Whether a shared host has a session open; also True if the host cannot say."""
        ...


class Placements:
    """Decides where sessions live, and starts their actors a few at a time."""

    def __init__(self, settings: RuntimeSettings, cluster: Cluster, clock: Clock, hosts: Callable[[], HostMap]) -> None:
        """Nothing is placed; what Ray already has stays where it is. `hosts` says who belongs where."""
        self._hosts = hosts
        self._settings = settings
        self._cluster = cluster
        self._clock = clock
        self._starts = asyncio.Semaphore(STARTS_AT_ONCE)
        self._placing: dict[str, asyncio.Task[str]] = {}
        self._starting: set[str] = set()
        self._shared_until: dict[str, float] = {}

    async def place(self, session_id: str) -> str | None:
        """The Ray name of the actor that serves a session, once it is up; None if it is not up yet: ask again.

        A session that is open somewhere stays there.

        Raises:
            RayUnavailable: With `placement="dedicated"`: its actor does not come up.

        Crash safety:
            May be repeated. A lost catalog knows what Ray has, and asks the hosts what they have open.
        """
        placing = self._placing.get(session_id)
        if placing is None:
            placing = asyncio.create_task(self._place(session_id), name=f"place session {session_id}")
            self._placing[session_id] = placing
            placing.add_done_callback(lambda _: self._placing.pop(session_id, None))
        await asyncio.wait([placing], timeout=REPLY_S)
        return placing.result() if placing.done() else None

    async def _place(self, session_id: str) -> str:
        own = session_name(session_id)
        shared = host_name(self._hosts().home(Owner("session", session_id)))
        if self._settings.placement == "shared":
            return shared
        there = await self._cluster.own_actors()
        auto = self._settings.placement == "auto"
        if auto and own not in there and not await self._has_room(session_id, there):
            self._remember_shared(session_id)
            return shared
        self._starting.add(own)
        try:
            async with self._starts:
                await self._cluster.start_session(session_id)
        except RayUnavailable as error:
            if not auto:
                raise
            logger.warning("session %r has no actor of its own and shares a host: %s", session_id, error)
            self._remember_shared(session_id)
            return shared
        finally:
            self._starting.discard(own)
        return own

    async def _has_room(self, session_id: str, there: set[str]) -> bool:
        if self._shared_until.get(session_id, 0.0) > self._clock.monotonic():
            return False
        capacity = await self._cluster.capacity()
        if len(there | self._starting) >= capacity.own_actors:
            return False
        # Reserved before anything is waited for again: a crowd must not see the same room.
        own = session_name(session_id)
        self._starting.add(own)
        for index in self._hosts().homes(Owner("session", session_id)):
            if await self._cluster.host_has(index, session_id):
                self._starting.discard(own)
                return False
        return True

    def _remember_shared(self, session_id: str) -> None:
        now = self._clock.monotonic()
        if len(self._shared_until) > 10_000:
            self._shared_until = {each: until for each, until in self._shared_until.items() if until > now}
        self._shared_until[session_id] = now + _KEEP_SHARED_S
