"""The way from any process of the cluster to its catalog."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar, cast

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError

from rojak_ray.agents.spec import FunctionRef
from rojak_ray.clock import Clock, SystemClock
from rojak_ray.errors import StoreUnavailable
from rojak_ray.logs import get_logger
from rojak_ray.runtime.catalog import Directory, Version
from rojak_ray.runtime.settings import CATALOG
from rojak_ray.runtime.shipping import FunctionEntry, Parcel

logger = get_logger(__name__)

T = TypeVar("T")

_CALL_S = 10.0
_PATIENCE_S = 120.0
"""A catalog that was on a lost node comes back when Ray has noticed the loss, which takes 15 s or more."""

_WAIT_S = 0.25


class CatalogAccess:
    """Calls the catalog, finding it again when it was restarted."""

    def __init__(self, ray_namespace: str, clock: Clock | None = None) -> None:
        """Nothing is looked up yet."""
        self._ray_namespace = ray_namespace
        self._clock = clock or SystemClock()
        self._handle: ActorHandle[Any] | None = None

    async def parcel(self, key: str) -> Parcel | None:
        """A parcel of code, if the catalog has it."""
        return cast("Parcel | None", await self.call("parcel", key))

    async def directory_after(self, version: Version) -> Directory | None:
        """The directory, if it changed."""
        return cast("Directory | None", await self.call("directory_after", version))

    async def announce(self, program: str, functions: list[FunctionEntry], parcels: list[Parcel]) -> None:
        """Make functions known that a function of a program's handed over."""
        await self.call("register", program, functions, [], parcels, named=False)

    async def find(self, refs: Sequence[FunctionRef]) -> list[FunctionEntry | None]:
        """The functions that references mean."""
        return cast("list[FunctionEntry | None]", await self.call("find", list(refs)))

    async def hold(self, added: Sequence[tuple[str, int]], dropped: Sequence[tuple[str, int]]) -> str:
        """Conversations name these functions, and those no more; the catalog's life."""
        return cast("str", await self.call("hold", list(added), list(dropped)))

    async def tell(self, method: str, *args: Any, within_s: float) -> None:
        """Call a method whose outcome makes no difference to anybody who goes on; what fails is let be."""
        if self._handle is None:
            return
        try:
            async with asyncio.timeout(within_s):
                await getattr(self._handle, method).remote(*args)
        except (RayError, TimeoutError) as error:
            logger.debug("the catalog was not told: %s", error)

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method; repeated while the catalog restarts (all of them may be repeated).

        Raises:
            StoreUnavailable: It did not come back in time.
        """
        deadline = self._clock.monotonic() + _PATIENCE_S
        while True:
            try:
                if self._handle is None:
                    self._handle = await asyncio.to_thread(ray.get_actor, CATALOG, self._ray_namespace)
                async with asyncio.timeout(_CALL_S):
                    return await getattr(self._handle, method).remote(*args, **kwargs)
            except (ActorDiedError, ActorUnavailableError, ValueError, TimeoutError) as error:
                self._handle = None
                if self._clock.monotonic() > deadline:
                    raise StoreUnavailable(f"The catalog of this namespace does not answer: {error}") from error
                await self._clock.sleep(_WAIT_S)
            except RayError as error:
                raise StoreUnavailable(f"The catalog failed: {error}") from error
