"""The reign on Ray: the catalog keeps it, and every process that opens conversations hears of it from there."""

from __future__ import annotations

import asyncio
import functools
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import ray

from rojak_ray import __version__
from rojak_ray.clock import SystemClock
from rojak_ray.concurrency import background
from rojak_ray.errors import RojakError
from rojak_ray.ids import digest
from rojak_ray.journal.paths import Paths
from rojak_ray.logs import get_logger
from rojak_ray.reign.keeper import ReignKeeper, list_claims, read_ruler
from rojak_ray.reign.records import Claim
from rojak_ray.reign.reign import Duty, Reign, Standing
from rojak_ray.reign.witness import witness_of
from rojak_ray.runtime.catalog_access import CatalogAccess
from rojak_ray.runtime.host_map import HostMap
from rojak_ray.runtime.settings import RuntimeSettings
from rojak_ray.sessions.markers import any_of_reign
from rojak_ray.storage.base import Store

logger = get_logger(__name__)

_POLL_S = 5.0
"""How long the catalog holds back an answer that says nothing new."""

_ANSWER_S = 10.0
_LOOK_S = 2.0
_SILENT_S = 0.5
"""A process that knows nothing yet, as after a loss, looks at storage once the catalog has been silent so long: it may
have been lost as well."""

_LOOK_HOLDS_S = 5.0
"""While the catalog does not answer: how often a process looks at storage itself, and how long that holds."""


@dataclass(frozen=True)
class Told:
    """A standing on its way from the catalog; the seconds count from when it was asked for."""

    standing: Standing
    valid_s: float
    left_s: float
    hosts: HostMap | None = None
    """Who belongs where; None from who does not know."""


class ClusterReign:
    """In the catalog: the cluster's one keeper."""

    def __init__(self, settings: RuntimeSettings, store: Store) -> None:
        """Nothing is looked at before `start`."""
        self._paths = Paths(settings.namespace)
        self._store = store
        self._clock = SystemClock()
        self._keeper = ReignKeeper(store, self._paths, _claim_of_cluster(settings), self._clock, settings.pool.reign)
        self._keeper.drained = self._is_drained
        self.reign = self._keeper.reign
        self._keeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Keep it for as long as this process lives; the next life of the catalog goes on with it."""
        self._keeping = background("keep the reign", self._keeper.run, self._clock, longest_pause_s=_LOOK_S)

    async def tell(self, seen: Standing | None) -> Told:
        """The standing, held back for a while if it is the one that was seen."""
        reign = self.reign
        if seen is None:
            seen = Standing()
        await reign.news(seen, _POLL_S)
        return Told(reign.standing, reign.valid_s, reign.left_s)

    def take_over(self, request_id: str | None = None) -> None:
        """Rule, whoever does now: see `ReignKeeper.order`."""
        self._keeper.order(request_id)

    async def _is_drained(self, number: int) -> bool:
        return not await any_of_reign(self._store, self._paths, number)


class AsksCatalog(Protocol):
    """A way to the catalog."""

    async def call(self, method: str, *args: Any) -> Any:
        """Call a method of it."""
        ...


class ReignNews:
    """In every process that opens conversations: what the catalog has told, and for how long that holds.

    A process that hears nothing looks at storage itself. One that can do neither soon begins nothing new.
    """

    def __init__(
        self,
        settings: RuntimeSettings,
        store: Store,
        *,
        on_hosts: Callable[[HostMap], None] | None = None,
        catalog: AsksCatalog | None = None,
        cluster: Callable[[], str] | None = None,
    ) -> None:
        """Nothing is known.

        Args:
            settings: Of the installation.
            store: Its storage.
            on_hosts: Told who belongs where, before it is heard that anything may be opened. Who has to know that
                waits for the catalog.
            catalog: For tests; Ray has one.
            cluster: Its id in claims, likewise.
        """
        self._on_hosts = on_hosts
        self._cluster = cluster or functools.partial(_cluster_id, settings)
        self._clock = SystemClock()
        self._catalog = catalog or CatalogAccess(settings.ray_namespace)
        self._store = store
        self._paths = Paths(settings.namespace)
        self._drain_s = settings.pool.reign.drain_s
        self.reign = Reign(self._clock, settings.pool.reign.patience_s)

    async def run(self) -> None:
        """Listen for ever, for `background`."""
        while True:
            began = self._clock.monotonic()
            try:
                told = await self._ask()
            except (RojakError, TimeoutError) as error:
                logger.debug("no news of the reign: %s", error)
                await self._look()
                await self._clock.sleep(_LOOK_S)
            else:
                late = self._clock.monotonic() - began  # the answer may have been on its way all that time
                if told.hosts is not None and self._on_hosts is not None:
                    self._on_hosts(told.hosts)
                self.reign.learn(told.standing, told.valid_s - late, told.left_s - late)

    async def _ask(self) -> Told:
        async with asyncio.timeout(_ANSWER_S):
            asking = asyncio.create_task(self._catalog.call("reign", self.reign.standing), name="ask who rules")
            try:
                if self.reign.standing.duty is Duty.UNKNOWN and self._on_hosts is None:
                    answered, _ = await asyncio.wait([asking], timeout=_SILENT_S)
                    if not answered:
                        await self._find_out()
                return cast("Told", await asking)
            finally:
                asking.cancel()

    async def _find_out(self) -> None:
        """Whether storage says that this cluster rules, for a moment; the catalog will tell the rest."""
        began = self._clock.monotonic()
        try:
            claim = await read_ruler(self._store, self._paths)
        except RojakError as error:
            logger.debug("storage does not tell who rules: %s", error)
            return
        if claim is not None and claim.cluster == self._cluster():
            late = self._clock.monotonic() - began
            # What earlier reigns have open is waited for: whether there is any, only the catalog knows.
            self.reign.learn(Standing(Duty.RULES, claim.number, handover=True), _LOOK_HOLDS_S - late)

    async def _look(self) -> None:
        began, standing = self._clock.monotonic(), self.reign.standing
        if standing.duty is not Duty.RULES:
            return
        try:
            numbers, ended = await list_claims(self._store, self._paths)
        except RojakError as error:
            logger.warning("neither the catalog nor the storage tells who rules: %s", error)
            return
        latest = max(numbers, default=0)
        late = self._clock.monotonic() - began
        if latest == standing.number and latest not in ended:
            self.reign.learn(standing, max(_LOOK_HOLDS_S - late, self.reign.valid_s))
        elif latest > standing.number:
            yields = Standing(Duty.YIELDS, standing.number, successor=latest, ruler=f"the holder of reign {latest}")
            self.reign.learn(yields, -math.inf, self._drain_s)


def _claim_of_cluster(settings: RuntimeSettings) -> Claim:
    """A claim of this Ray cluster: the same in every life of the catalog, another one for each installation on it."""
    address = str(ray.get_runtime_context().gcs_address)
    return Claim(
        number=0,
        cluster=_cluster_id(settings),
        mode="ray",
        place=address,
        library=__version__,
        at="",
        # Of the node's own process: it goes with the cluster, or the cluster still listens.
        witness=witness_of(os.getppid(), address),
    )


def _cluster_id(settings: RuntimeSettings) -> str:
    session = ray.get_runtime_context().get_session_name()
    return digest({"session": session, "installation": settings.ray_namespace})
