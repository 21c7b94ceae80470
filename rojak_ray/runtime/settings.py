"""What a `Rojak` and its actors are set up with, as data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rojak_ray.ids import id_key
from rojak_ray.journal.paths import Owner
from rojak_ray.runtime.keeping import KeepingPlace
from rojak_ray.sessions.pool_settings import PoolSettings

Placement = Literal["auto", "dedicated", "shared"]


@dataclass(frozen=True, kw_only=True)
class RuntimeSettings:
    """One installation: every process of it gets the same."""

    namespace: str
    storage: str
    """Canonical URL; never holds credentials."""

    storage_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Checked options of a bucket; they hold no credentials either."""

    placement: Placement = "auto"
    """Sessions get an actor of their own ("dedicated"), share the hosts that runs use ("shared"), or get one of their
    own while there is room ("auto"): see `Placements`."""

    hosts: int = 2
    """Shared host actors to begin with; `AUTO_HOSTS`: as many as `hosts_for` says, once the cluster is known."""

    hosts_follow: bool = False
    """Whether their number follows the CPUs of the cluster."""

    step_workers: int = 1
    """Step worker actors on each node."""

    pool: PoolSettings = field(default_factory=PoolSettings)

    @property
    def keeping(self) -> KeepingPlace:
        """Where processes that run functions keep whole results."""
        return KeepingPlace(storage=self.storage, storage_options=dict(self.storage_options), namespace=self.namespace)

    @property
    def ray_namespace(self) -> str:
        """The Ray namespace of the actors: two storages under one name are two installations."""
        storage = hashlib.sha256(self.storage.encode("utf-8", "replace")).hexdigest()[:8]
        return f"rojak-{id_key(self.namespace)}-{storage}"


AUTO_HOSTS = 0
LEAST_HOSTS = 2
MOST_HOSTS = 64
CPUS_PER_HOST = 4

CATALOG = "CatalogActor"
RETRIEVERS = "RetrieverActor"
SCHEDULER = "SchedulerActor"
SHARED_HOST = "SessionHostActor-"
"""Ray names of shared hosts begin with it; their numbers follow."""

SESSION_ACTOR = "SessionActor-"
"""Ray names of sessions' own actors begin with it."""


def hosts_for(cpus: float) -> int:
    """How many shared hosts a cluster of so many CPUs has with `hosts="auto"`: each can keep one core busy."""
    return min(max(LEAST_HOSTS, int(cpus // CPUS_PER_HOST)), MOST_HOSTS)


def host_name(index: int) -> str:
    """Ray name of a shared host."""
    return f"{SHARED_HOST}{index}"


def session_name(session_id: str) -> str:
    """Ray name of a session's own actor; plain ids are readable in it."""
    plain = session_id.isascii() and session_id.replace("-", "").isalnum()
    return f"{SESSION_ACTOR}{session_id if plain else id_key(session_id)}"


def step_worker_name(node_id: str, index: int) -> str:
    """Ray name of a step worker."""
    return f"StepWorkerActor-{node_id[:12]}-{index}"


def home_of(owner: Owner, hosts: int) -> int:
    """The shared host an owner belongs to: the highest hash wins, so that adding a host moves few owners."""

    def weight(index: int) -> bytes:
        return hashlib.sha256(f"{index}/{owner.kind}/{owner.id}".encode("utf-8", "replace")).digest()

    return max(range(hosts), key=weight)
