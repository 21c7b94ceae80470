"""Starting actors: the one place where their Ray options are set.

All are detached and named, so any driver finds them and none takes them along when it leaves. They reserve no CPU:
they wait; functions reserve what they compute with. Ray restarts them without limit and repeats no call of theirs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, cast

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rojak_ray.errors import StorageError
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.runtime.catalog import Catalog, Version
from rojak_ray.runtime.session_actor import SessionActor, SessionHostActor
from rojak_ray.runtime.settings import (
    CATALOG,
    RETRIEVERS,
    SCHEDULER,
    RuntimeSettings,
    home_of,
    host_name,
    session_name,
    step_worker_name,
)
from rojak_ray.runtime.shipping import FunctionEntry, Parcel, ProviderEntry
from rojak_ray.runtime.step_tasks import warm_up
from rojak_ray.runtime.step_worker import RetrieverActor, StepWorkerActor
from rojak_ray.schedules.service import has_schedules
from rojak_ray.sessions.alarm import has_timers
from rojak_ray.sessions.pool import active_owners
from rojak_ray.storage.open import open_store

logger = logging.getLogger(__name__)

Handle = ActorHandle[Any]

_CALLS_AT_ONCE = 100_000
_NODE_CHECK_S = 2.0
_WAKES_AT_ONCE = 16


def _start(cls: type[Any], name: str, settings: RuntimeSettings, *args: Any, **options: Any) -> Handle:
    """Start a detached actor, or find the one of that name."""
    every: dict[str, Any] = {
        "num_cpus": 0,
        "max_restarts": -1,
        "max_task_retries": 0,
        "max_concurrency": _CALLS_AT_ONCE,
        "lifetime": "detached",
        "namespace": settings.ray_namespace,
        "get_if_exists": True,
        "name": name,
    }
    return cast("Handle", ray.remote(cls).options(**every, **options).remote(*args))


def start_catalog(settings: RuntimeSettings) -> Handle:
    """The catalog of a namespace; it starts the step workers."""
    return _start(CatalogActor, CATALOG, settings, settings)


def start_host(settings: RuntimeSettings, index: int) -> Handle:
    """A shared host."""
    return _start(SessionHostActor, host_name(index), settings, settings, index, scheduling_strategy="SPREAD")


def start_session(settings: RuntimeSettings, session_id: str) -> Handle:
    """A session's own actor."""
    name = session_name(session_id)
    return _start(SessionActor, name, settings, settings, session_id, scheduling_strategy="SPREAD")


def start_retrievers(settings: RuntimeSettings, node: str) -> Handle:
    """Who asks exclusive retrievers; on the node where they were registered, as long as there is one."""
    near = NodeAffinitySchedulingStrategy(node_id=node, soft=True)
    return _start(RetrieverActor, RETRIEVERS, settings, settings.ray_namespace, scheduling_strategy=near)


def start_scheduler(settings: RuntimeSettings) -> Handle:
    """The scheduler of a namespace."""
    from rojak_ray.runtime.scheduler_actor import SchedulerActor  # reaches hosts through this module

    return _start(SchedulerActor, SCHEDULER, settings, settings)


def find(name: str, settings: RuntimeSettings) -> Handle | None:
    """An actor that is there already."""
    try:
        return cast("Handle", ray.get_actor(name, settings.ray_namespace))
    except ValueError:
        return None


class CatalogActor(Catalog):
    """The catalog as an actor. It keeps step workers on every node, and wakes what a lost cluster left unfinished."""

    def __init__(self, settings: RuntimeSettings) -> None:
        """Begin a new life: nothing is registered."""
        super().__init__(settings)
        self._handles: dict[str, Handle] = {}
        self._keeper = asyncio.create_task(self._keep_step_workers())
        self._waker = asyncio.create_task(self._wake_unfinished())

    async def register(
        self,
        functions: Sequence[FunctionEntry],
        providers: Sequence[ProviderEntry],
        parcels: Sequence[Parcel],
        *,
        named: bool,
    ) -> Version:
        """See `Catalog.register`. Who asks exclusive retrievers is there before they can be found."""
        node = next((entry.node for entry in providers if entry.exclusive), None)
        if node is not None:
            await asyncio.to_thread(start_retrievers, self._settings, node)
        return await super().register(functions, providers, parcels, named=named)

    async def _wake_unfinished(self) -> None:
        """Start the actors of what was open when it was last heard of, and the scheduler; they go on by themselves.

        On a cluster that is up they are there already, and finding them changes nothing.
        """
        store, paths = open_store(self._settings.storage), Paths(self._settings.namespace)
        try:
            owners = await active_owners(store, paths)
            scheduled = await has_schedules(store, paths) or await has_timers(store, paths)
        except StorageError as error:
            logger.warning("could not look for unfinished work: %s", error)
            return
        finally:
            await store.aclose()
        if scheduled:
            await asyncio.to_thread(start_scheduler, self._settings)
        limit = asyncio.Semaphore(_WAKES_AT_ONCE)
        homes = {home_of(owner, self._settings.hosts) for owner in owners if self._is_shared(owner)}
        alone = [owner.id for owner in owners if not self._is_shared(owner)]

        async def wake(start: Callable[[RuntimeSettings, Any], Handle], which: int | str) -> None:
            async with limit:
                await asyncio.to_thread(start, self._settings, which)

        await asyncio.gather(
            *(wake(start_host, index) for index in homes), *(wake(start_session, session_id) for session_id in alone)
        )

    def _is_shared(self, owner: Owner) -> bool:
        return owner.kind == "run" or self._settings.placement == "shared"

    async def _keep_step_workers(self) -> None:
        while True:
            try:
                await self._place()
            except RayError as error:
                logger.warning("could not place step workers: %s", error)
            await asyncio.sleep(_NODE_CHECK_S)

    async def _place(self) -> None:
        nodes = sorted(node["NodeID"] for node in await asyncio.to_thread(ray.nodes) if node["Alive"])
        names: list[str] = []
        for node in nodes:
            for index in range(self._settings.step_workers):
                name = step_worker_name(node, index)
                if name not in self._handles:
                    pinned = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
                    namespace = self._settings.ray_namespace
                    self._handles[name] = await asyncio.to_thread(
                        _start, StepWorkerActor, name, self._settings, namespace, scheduling_strategy=pinned
                    )
                    warm_up.remote(namespace)
                names.append(name)
        await self.place_step_workers(tuple(names))
