"""Starting actors: the one place where their Ray options are set.

All are detached and named, so any driver finds them and none takes them along when it leaves. They reserve no CPU:
they wait; functions reserve what they compute with. Ray restarts them without limit and repeats no call of theirs.
"""

from __future__ import annotations

from typing import Any, cast

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rojak_ray.runtime.catalog_actor import CatalogActor
from rojak_ray.runtime.lookup import Handle, find, names_of
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
from rojak_ray.runtime.step_worker import RetrieverActor, StepWorkerActor

__all__ = [
    "Handle",
    "find",
    "names_of",
    "start_catalog",
    "start_host",
    "start_retrievers",
    "start_scheduler",
    "start_session",
    "start_step_worker",
]

_CALLS_AT_ONCE = 100_000


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


def start_host(settings: RuntimeSettings, index: int, node: str | None = None) -> Handle:
    """A shared host, on a node as long as there is that one; None: on any."""
    where: dict[str, Any] = {"scheduling_strategy": "SPREAD"}
    if node is not None:
        # A soft affinity is no more than a hint: Ray takes another node that has a process ready.
        where = {"label_selector": {"ray.io/node-id": node}, "fallback_strategy": [{"label_selector": {}}]}
    return _start(SessionHostActor, host_name(index), settings, settings, index, **where)


def start_session(settings: RuntimeSettings, session_id: str) -> Handle:
    """A session's own actor."""
    name = session_name(session_id)
    return _start(SessionActor, name, settings, settings, session_id, scheduling_strategy="SPREAD")


def start_step_worker(settings: RuntimeSettings, node: str, index: int) -> Handle:
    """One of a node's step workers, there or nowhere."""
    pinned = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    name = step_worker_name(node, index)
    return _start(StepWorkerActor, name, settings, settings.ray_namespace, scheduling_strategy=pinned)


def start_retrievers(settings: RuntimeSettings, node: str) -> Handle:
    """Who asks exclusive retrievers; on the node where they were registered, as long as there is one."""
    near = NodeAffinitySchedulingStrategy(node_id=node, soft=True)
    return _start(RetrieverActor, RETRIEVERS, settings, settings.ray_namespace, scheduling_strategy=near)


def start_scheduler(settings: RuntimeSettings) -> Handle:
    """The scheduler of a namespace."""
    from rojak_ray.runtime.scheduler_actor import SchedulerActor  # reaches hosts through this module

    return _start(SchedulerActor, SCHEDULER, settings, settings)
