"""`CatalogActor`: the catalog as an actor.

Whoever looks up an actor by name loads its class, with all that its module imports: every process that runs a function
loads this one. So what the actor itself needs is loaded when it starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rojak_ray.clock import SystemClock
from rojak_ray.errors import RojakError
from rojak_ray.runtime.catalog import Catalog, Version
from rojak_ray.runtime.host_map import HostMap
from rojak_ray.runtime.restarts import was_started_again
from rojak_ray.runtime.settings import RuntimeSettings
from rojak_ray.runtime.shipping import FunctionEntry, Parcel, ProviderEntry

if TYPE_CHECKING:
    from rojak_ray.reign.reign import Standing
    from rojak_ray.runtime.reigning import Told


class CatalogActor(Catalog):
    """Knows what is registered, and keeps up the actors that serve it."""

    def __init__(self, settings: RuntimeSettings) -> None:
        """Begin a new life: nothing is registered."""
        # These load every actor's class; see above.
        from rojak_ray.runtime.host_keeping import HostKeeper
        from rojak_ray.runtime.hosts_on_ray import RayHosts
        from rojak_ray.runtime.placement import Placements
        from rojak_ray.runtime.placement_on_ray import RayCluster
        from rojak_ray.runtime.reigning import ClusterReign
        from rojak_ray.runtime.upkeep import Upkeep
        from rojak_ray.storage.open import open_store

        super().__init__(settings)
        again = was_started_again()
        self._keeper = HostKeeper(
            settings.hosts,
            RayHosts(settings),
            SystemClock(),
            follows=settings.hosts_follow,
            fewer_after_s=settings.pool.fewer_hosts_after_s,
            again=again,
        )
        self._placements = Placements(settings, RayCluster(settings), SystemClock(), lambda: self._keeper.current)
        store = open_store(settings.storage, settings.storage_options)
        self._reign = ClusterReign(settings, store)
        self._reign.start()
        self._upkeep = Upkeep(settings, store, self._reign.reign, self._keeper, self.place_step_workers, again=again)
        self._upkeep.start()

    async def reign(self, seen: Standing | None = None) -> Told:
        """Where this cluster stands: see `ClusterReign.tell`."""
        told = await self._reign.tell(seen)
        return replace(told, hosts=await self._keeper.known())

    async def hosts(self) -> HostMap:
        """Who belongs where."""
        return await self._keeper.known()

    async def take_over(self, request_id: str | None = None) -> None:
        """Let this cluster rule, whoever does now. It does so a moment later; with its id it may be repeated."""
        self._reign.take_over(request_id)

    async def place(self, session_id: str) -> str | RojakError | None:
        """The Ray name of the actor that serves a session: see `Placements.place`."""
        await self._keeper.known()
        try:
            return await self._placements.place(session_id)
        except RojakError as error:  # returned, so that it crosses processes without Ray's wrapping
            return error.with_traceback(None)

    async def register(
        self,
        program: str,
        functions: Sequence[FunctionEntry],
        providers: Sequence[ProviderEntry],
        parcels: Sequence[Parcel],
        *,
        named: bool,
    ) -> Version:
        """See `Catalog.register`. Who asks exclusive retrievers is there before they can be found."""
        await self._upkeep.prepare(functions, providers)
        return await super().register(program, functions, providers, parcels, named=named)
