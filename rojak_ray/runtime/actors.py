"""Starting actors: the one place where their Ray options are set.

All are detached and named, so any driver finds them and none takes them along when it leaves. They reserve no CPU:
they wait; functions reserve what they compute with. Ray restarts them without limit and repeats no call of theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Sequence
from typing import Any, cast

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rojak_ray.errors import RojakError
from rojak_ray.runtime.catalog import Catalog, Version
from rojak_ray.runtime.session_actor import SessionActor, SessionHostActor
from rojak_ray.runtime.settings import (
    CATALOG,
    RETRIEVERS,
    SCHEDULER,
    RuntimeSettings,
    host_name,
    session_name,
    step_worker_name,
)
from rojak_ray.runtime.shipping import FunctionEntry, Parcel, ProviderEntry
from rojak_ray.runtime.step_worker import RetrieverActor, StepWorkerActor
from rojak_ray.runtime.sweep import Sweep
from rojak_ray.storage.open import open_store

logger = logging.getLogger(__name__)

Handle = ActorHandle[Any]

_CALLS_AT_ONCE = 100_000
_NODE_CHECK_S = 2.0
_REST_AFTER_S = 1.0
"""What a first run is most likely to need starts sooner on a small machine if step workers, unless somebody wants one,
and the other shared hosts wait. They are there before a crowd comes: starting under load takes them seconds."""

_SWEEP_S = 20.0
_SWEEP_AGAIN_S = 2.0
"""After a sweep that failed; doubled each time, up to the usual time between two."""


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


def names_of(settings: RuntimeSettings) -> set[str]:
    """The actors of an installation that Ray has, running or on their way."""
    every = cast("list[dict[str, str]]", ray.util.list_named_actors(all_namespaces=True))
    return {actor["name"] for actor in every if actor["namespace"] == settings.ray_namespace}


class CatalogActor(Catalog):
    """The catalog as an actor. It starts hosts and step workers, and wakes what was left unfinished."""

    def __init__(self, settings: RuntimeSettings) -> None:
        """Begin a new life: nothing is registered."""
        super().__init__(settings)
        self._handles: dict[str, Handle] = {}
        self._step_workers_wanted = asyncio.Event()
        self._keeper = asyncio.create_task(self._keep_step_workers())
        self._starter = asyncio.create_task(self._start_hosts())
        self._sweeper = asyncio.create_task(self._keep_sweeping())

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
        if any(function.is_async for function in functions) or not all(provider.built_in for provider in providers):
            self._step_workers_wanted.set()
        return await super().register(functions, providers, parcels, named=named)

    async def _keep_sweeping(self) -> None:
        """Wake what was left unfinished: at once, as a lost cluster may have, and then every so often."""
        settings = self._settings
        sweep = Sweep(
            settings,
            open_store(settings.storage),
            start_host=functools.partial(start_host, settings),
            start_session=functools.partial(start_session, settings),
            start_scheduler=functools.partial(start_scheduler, settings),
            names=functools.partial(names_of, settings),
        )
        wait = _SWEEP_AGAIN_S
        while True:
            try:
                await sweep.once()
                wait = _SWEEP_S
            except (RayError, RojakError) as error:
                wait = min(2 * wait, _SWEEP_S)
                logger.warning("could not look for unfinished work, trying again in %g s: %s", wait, error)
            await asyncio.sleep(wait)

    async def _start_hosts(self) -> None:
        """Start all shared hosts, once: whoever needs one that is gone starts it."""
        await asyncio.sleep(_REST_AFTER_S)
        for index in range(self._settings.hosts):
            try:
                await asyncio.to_thread(start_host, self._settings, index)
            except RayError as error:
                logger.warning("could not start host %d, its first caller will: %s", index, error)

    async def _keep_step_workers(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._step_workers_wanted.wait(), _REST_AFTER_S)
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
                names.append(name)
        await self.place_step_workers(tuple(names))
