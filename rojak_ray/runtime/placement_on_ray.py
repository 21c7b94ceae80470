"""What placing sessions needs of Ray."""

from __future__ import annotations

import asyncio
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError

from rojak_ray.errors import RayUnavailable
from rojak_ray.runtime import actors
from rojak_ray.runtime.placement import Capacity
from rojak_ray.runtime.settings import SESSION_ACTOR, RuntimeSettings, host_name, session_name

_AGAIN_S = 0.05
_HOST_S = 5.0
_START_S = {"auto": 30.0, "dedicated": 300.0}
"""A session that may share a host does not wait long for room on a node; another has no choice."""


class RayCluster:
    """The cluster this process is part of; see `placement.Cluster`."""

    def __init__(self, settings: RuntimeSettings) -> None:
        """Nothing is asked yet."""
        self._settings = settings

    async def capacity(self) -> Capacity:
        """Of the nodes that are alive."""
        offered = await asyncio.to_thread(ray.cluster_resources)
        return Capacity(offered.get("CPU", 0.0), offered.get("memory", 0.0))

    async def own_actors(self) -> set[str]:
        """Ray names of the sessions' own actors, running or on their way."""
        names = await asyncio.to_thread(actors.names_of, self._settings)
        return {name for name in names if name.startswith(SESSION_ACTOR)}

    async def start_session(self, session_id: str) -> None:
        """Start a session's own actor, or find it; returns when it answers.

        Raises:
            RayUnavailable: It did not come up. One whose session may share a host is taken back.
        """
        limit_s = _START_S.get(self._settings.placement, _START_S["dedicated"])
        try:
            async with asyncio.timeout(limit_s):
                while not await self._is_ready(session_id):
                    pass
        except RayError as error:
            raise RayUnavailable(f"The actor of session {session_id!r} could not be started: {error}") from error
        except TimeoutError as error:
            handle = await asyncio.to_thread(actors.find, session_name(session_id), self._settings)
            if handle is not None and self._settings.placement == "auto":
                await asyncio.to_thread(ray.kill, handle)
            raise RayUnavailable(
                f"The actor of session {session_id!r} did not start within {limit_s:g} s: no node has room for it, or "
                "all are busy. Add nodes, or use placement='auto' or 'shared'."
            ) from error

    async def _is_ready(self, session_id: str) -> bool:
        """Whether its actor answers; one that Ray starts again, or that has just ended, is asked for anew."""
        handle: Any = await asyncio.to_thread(actors.start_session, self._settings, session_id)
        try:
            await handle.__ray_ready__.remote()
        except (ActorUnavailableError, ActorDiedError):
            await asyncio.sleep(_AGAIN_S)
            return False
        return True

    async def host_has(self, index: int, session_id: str) -> bool:
        """Whether a shared host has a session open; also True if the host cannot say: it may be about to open it."""
        host: Any = await asyncio.to_thread(actors.find, host_name(index), self._settings)
        if host is None:
            return False
        try:
            async with asyncio.timeout(_HOST_S):
                return bool(await host.has.remote(session_id))
        except (RayError, TimeoutError):
            return True
