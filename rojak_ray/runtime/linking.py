"""`Linking`: a link to an actor, once there is one."""

from __future__ import annotations

import asyncio
from typing import Any

from ray.actor import ActorHandle
from ray.exceptions import RayError

from rojak_ray.logs import get_logger
from rojak_ray.runtime.link import Link

logger = get_logger(__name__)

_ANSWER_S = 10.0


class Linking:
    """Connects to an actor in the background. Until it has, and where it cannot, the actor is called through Ray."""

    def __init__(self, handle: ActorHandle[Any]) -> None:
        """Nothing is asked yet. The actor's method `link` gives the name of its `LinkServer`."""
        self._handle: Any = handle
        self._link: Link | None = None
        self._connecting: asyncio.Task[None] | None = None

    @property
    def link(self) -> Link | None:
        """The link, while there is one."""
        return self._link if self._link is not None and self._link.open else None

    def begin(self) -> None:
        """Connect if that was not tried yet, or again if the link is lost or another event loop's.

        For after an answer, so that no answer waits for it.
        """
        lost = self._link is not None and not self._link.open
        if self._connecting is None or (lost and self._connecting.done()):
            self._link = None
            self._connecting = asyncio.create_task(self._connect(), name="link to an actor")

    async def aclose(self) -> None:
        """Whoever waits is told that the link is lost."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._link is not None:
            self._link.close()

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(_ANSWER_S):
                name = await self._handle.link.remote()
        except (RayError, TimeoutError) as error:
            logger.debug("no link: %s", error)  # calls go on without one, and will say what is wrong
        else:
            self._link = await Link.connect(name)
