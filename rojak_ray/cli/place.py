"""Where a command works: an installation, and the way to it: through a cluster, or through its storage alone."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import typer

from rojak_ray.errors import InvalidSetting, JournalDamaged, RayUnavailable, SchemaTooNew
from rojak_ray.ids import check_id
from rojak_ray.journal.paths import Paths
from rojak_ray.reign.keeper import read_ruler
from rojak_ray.reign.witness import is_dead
from rojak_ray.schedules.client import SchedulingClient
from rojak_ray.schedules.unattended import StorageScheduler
from rojak_ray.sessions.unattended import StorageGateway
from rojak_ray.storage.open import folder_of, open_store, resolve_storage


@dataclass(frozen=True)
class Place:
    """An installation: where it is stored, and its namespace."""

    storage: str
    namespace: str

    @classmethod
    def of(cls, storage: str | None, namespace: str) -> Place:
        """From what was typed."""
        return cls(resolve_storage(storage, os.environ), check_id(namespace, "namespace"))

    @property
    def paths(self) -> Paths:
        """Its keys."""
        return Paths(self.namespace)

    def words(self) -> str:
        """The storage for people; that a folder is not there, since it may be mistyped."""
        folder = folder_of(self.storage)
        missing = folder is not None and not Path(folder).exists()
        return f"{self.storage}, which does not exist" if missing else self.storage


NO_CLUSTER = "no cluster"
"""In the place of a cluster's address: go to the storage itself."""


def way(address: str | None, no_cluster: bool) -> str | None:
    """Which way a command goes, from what was typed.

    Raises:
        InvalidSetting: Both a cluster and none were asked for.
    """
    if address is not None and no_cluster:
        raise InvalidSetting("--address names a cluster and --no-cluster goes without one; pass one of them.")
    return NO_CLUSTER if no_cluster else address


@asynccontextmanager
async def client_of(place: Place, address: str | None, *, changes: bool = True) -> AsyncGenerator[SchedulingClient]:
    """A client of the cluster that works there, or of the storage alone where none does.

    A cluster is one that was named, or else the one that rules the storage: any other on this machine is somebody
    else's. To look (without `changes`) nothing is started on it.
    """
    named = address or os.environ.get("RAY_ADDRESS")
    if address != NO_CLUSTER and await _through_cluster(
        place, named or await _ruling_cluster(place), start=bool(named) and changes
    ):
        from rojak_ray.runtime.client import Rojak

        async with Rojak(place.storage, address=named, namespace=place.namespace) as client:
            yield client
    else:
        async with storage_client(place) as client:
            yield client


async def _ruling_cluster(place: Place) -> str | None:
    """The address of the Ray cluster that works on the storage, if one does."""
    store = open_store(place.storage)
    try:
        claim = await read_ruler(store, place.paths)
    except (JournalDamaged, SchemaTooNew):
        return None  # the storage itself says more
    finally:
        await store.aclose()
    if claim is None or claim.mode != "ray" or await is_dead(claim.witness):
        return None
    return claim.place


async def _through_cluster(place: Place, address: str | None, *, start: bool) -> bool:
    """Join the cluster; False if there is none to go through."""
    if address is None:
        return False
    from rojak_ray.runtime import cluster

    try:
        joined = cluster.join(address)
    except RayUnavailable:
        if start:
            raise
        return False  # it cannot be reached from here; what storage says has to do
    return joined and (start or cluster.hosts_installation(place.storage, place.namespace))


@asynccontextmanager
async def storage_client(place: Place) -> AsyncGenerator[SchedulingClient]:
    """A client that reads storage, and changes it while no living cluster works on it. Nothing is run or started."""
    store = open_store(place.storage)
    gateway = StorageGateway(store, place.paths, lambda text: typer.echo(f"rojak: {text}", err=True))
    scheduler = StorageScheduler(store, place.paths, gateway)
    async with SchedulingClient(gateway, scheduler) as client:
        try:
            yield client
        finally:
            await scheduler.close()
