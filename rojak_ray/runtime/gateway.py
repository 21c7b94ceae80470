"""`RayGateway`: from a driver to the actors of its namespace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError

from rojak_ray.agents.activities import AgentActivities
from rojak_ray.agents.spec import AgentSpec, FunctionRef
from rojak_ray.clock import SystemClock
from rojak_ray.core.kept import KeptResult
from rojak_ray.errors import RayUnavailable, RojakError, StoreUnavailable
from rojak_ray.ids import RandomIds
from rojak_ray.journal.paths import Owner
from rojak_ray.logs import get_logger
from rojak_ray.reign.reign import Duty, Standing
from rojak_ray.runtime import actors
from rojak_ray.runtime.catalog_access import CatalogAccess
from rojak_ray.runtime.head_watch import HeadWatch
from rojak_ray.runtime.host_access import HostAccess
from rojak_ray.runtime.host_map import HostMap, Moved
from rojak_ray.runtime.keeping import Keepers
from rojak_ray.runtime.nearby import NearbyIds
from rojak_ray.runtime.outbox import RepliesLost
from rojak_ray.runtime.publishing import Publisher
from rojak_ray.runtime.reigning import Told
from rojak_ray.runtime.session_homes import Residences, SessionHomes
from rojak_ray.runtime.settings import AUTO_HOSTS, SHARED_HOST, RuntimeSettings, host_name, hosts_for, session_name
from rojak_ray.sessions.order import Sequencer
from rojak_ray.sessions.requests import Ask, Reply

logger = get_logger(__name__)

_REPLY_GRACE_S = 40.0
_REACH_S = 60.0
_FIRST_WAIT_S = 0.05
_LONGEST_WAIT_S = 1.0
_REDIRECTS = 3
"""So often whoever is told to ask another host does so at once."""

_TRUST_S = 5.0
"""So long Ray is trusted to start a session's own actor again; then the session is placed anew."""

_PLACING_S = 600.0
"""Actors of sessions are started a few at a time, so a crowd of them may have to wait for minutes."""

_YOUNG_S = 2.0
"""So long only one host of a Ray that was started here is up: the catalog starts the others after a second."""


class RayGateway:
    """One driver's connection to one installation."""

    def __init__(self, settings: RuntimeSettings, join: Callable[[], bool], *, takeover: bool = False) -> None:
        """Cheap; `join` connects this process to Ray when it is needed. With `takeover` the cluster is told to rule."""
        self._takeover = takeover
        self._settings = settings
        self._join = join
        self._connecting: asyncio.Task[None] | None = None
        self._head: HeadWatch | None = None
        """Of a cluster that was joined."""

        self._catalog = CatalogAccess(settings.ray_namespace)
        self._hosts: dict[str, HostAccess] = {}
        self._keepers = Keepers()
        self._clock = SystemClock()
        self._homes = SessionHomes(self._clock)
        self._residences = Residences(HostMap(1))
        self._publisher = Publisher(self._catalog, settings.namespace)
        self.ids = NearbyIds(self._clock)
        """For what this driver starts without a name."""

        self._sequencer = Sequencer(RandomIds().new_id())
        self._hearing: asyncio.Task[None] | None = None

    @property
    def settings(self) -> RuntimeSettings:
        """Those in force, once connected."""
        return self._settings

    async def connect(self) -> None:
        """Join Ray and the catalog, once.

        Raises:
            RayUnavailable: Ray could not be joined or started.
        """
        failed = (
            self._connecting is not None
            and self._connecting.done()
            and (self._connecting.cancelled() or self._connecting.exception() is not None)
        )
        if self._connecting is None or failed:
            self._connecting = asyncio.create_task(self._connect(), name="connect to Ray")
        await asyncio.shield(self._connecting)
        self._check_head()

    def _check_head(self) -> None:
        if self._head is not None and self._head.gone:
            raise RayUnavailable(self._head.words)

    async def _connect(self) -> None:
        # On this thread, though it blocks the loop while Ray starts: a Ray that was started by a thread which has
        # ended takes 15 s to shut down, at every program's exit.
        started = self._join()
        if not started and self._head is None:
            self._head = HeadWatch(ray.get_runtime_context().gcs_address, ray.shutdown, self._clock)
            self._head.start()
        if self._settings.hosts == AUTO_HOSTS:
            now = hosts_for(ray.cluster_resources().get("CPU", 0.0))
            self._settings = replace(self._settings, hosts=now, hosts_follow=True)
        try:
            if started:  # nobody was here before, so these settings will be in force: a host may start meanwhile
                self._hosts[host_name(0)] = HostAccess(actors.start_host(self._settings, 0), shared=True)
                self.ids.prefer(0, self._settings.hosts, _YOUNG_S)
            await asyncio.to_thread(actors.start_catalog, self._settings)
            self._settings, version = await self._catalog.call("join", self._settings)
            self._residences = Residences(await self._catalog.call("hosts"))
            if self._takeover:
                await self.take_over()
        except RayError as error:
            raise RayUnavailable(f"Ray is there, but an actor could not be started: {error}") from error
        self._publisher.heard(version)
        self._hearing = asyncio.create_task(self._say_who_rules(), name="hear who rules")

    async def standing(self) -> Standing:
        """Where the cluster stands among those that share its storage.

        Raises:
            StoreUnavailable: The catalog does not answer.
        """
        told: Told = await self._catalog.call("reign")
        return told.standing

    async def take_over(self, request_id: str | None = None) -> None:
        """Let the cluster rule, whoever does now; once, also if the call has to be repeated on its way."""
        await self._catalog.call("take_over", request_id or RandomIds().new_id())

    async def _say_who_rules(self) -> None:
        try:
            standing = await self.standing()
        except (RayError, RojakError) as error:
            logger.debug("it is not known who rules: %s", error)
            return
        if standing.duty in {Duty.STANDS_BY, Duty.YIELDS}:
            logger.warning("%s", standing.refusal())

    async def ask(self, owner: Owner, ask: Ask) -> Reply:
        """See `Gateway.ask`. Requests of this client to one owner are taken in the order they were made."""
        if not ask.commands:
            return await self._reach(owner, ask)
        place = self._sequencer.enter(owner)
        try:
            return await self._reach(owner, ask.model_copy(update={"place": place}))
        finally:
            self._sequencer.leave(owner, place)

    async def _reach(self, owner: Owner, ask: Ask) -> Reply:
        """Ask the owner's actor; one that dies on the way is started again and asked again."""
        packed = ask.model_dump_json().encode()
        waits = ask.await_run is not None and ask.follow is None
        wait = _FIRST_WAIT_S
        waited = 0.0
        lost: str | None = None
        redirected = 0
        while True:
            self._check_head()
            # Again each time: whoever only looks must not start what has ended.
            name = await self._place(owner, ask, lost)
            host = None
            try:
                host = self._hosts.get(name) or await self._host(name, owner)
                async with asyncio.timeout(ask.longest_wait_s + _REPLY_GRACE_S):
                    hosts = self._residences.hosts
                    answer = await host.ask(owner, packed, self._publisher.version, hosts, waits=waits)
            except (ActorDiedError, ActorUnavailableError, RepliesLost) as error:
                self._homes.forget(owner.id)
                self._residences.forget(owner)
                await self._forget(name, host)
                lost = name if waited < _TRUST_S else None
                if waited > _REACH_S:
                    raise StoreUnavailable(f"The host of {owner} does not come back: {error}") from error
            except TimeoutError as error:
                self._homes.forget(owner.id)
                await self._forget(name, host)
                raise StoreUnavailable(f"The host of {owner} did not answer in time; ask again.") from error
            except RayError as error:
                raise StoreUnavailable(f"The host of {owner} failed: {error}") from error
            else:
                if isinstance(answer, RojakError):
                    raise answer
                moved = Moved.unpack(answer)
                if moved is None:
                    return Reply.model_validate_json(answer)
                self._homes.forget(owner.id)
                redirected += 1
                if self._residences.learn(owner, moved) and redirected <= _REDIRECTS:
                    continue
                if waited > _REACH_S:
                    raise StoreUnavailable(f"{owner} keeps moving; ask again.")
            await asyncio.sleep(wait)
            waited += wait
            wait = min(2 * wait, _LONGEST_WAIT_S)

    async def _forget(self, name: str, host: HostAccess | None) -> None:
        """Let go of an actor that did not answer. Whoever else waits for it asks again as well, which is harmless."""
        if host is not None:
            if self._hosts.get(name) is host:
                del self._hosts[name]
            await host.aclose()

    async def _place(self, owner: Owner, ask: Ask, lost: str | None) -> str:
        """The name of the actor to ask; `lost` died while it was asked.

        A look at a session that has no actor needs none: a shared host reads it.
        """
        shared = host_name(self._residences.of(owner))
        if owner.kind == "run" or self._settings.placement == "shared":
            return shared
        name = session_name(owner.id)
        if name in self._hosts:
            return name
        if self._homes.name_of(owner.id, self._settings.pool.session_idle_s / 2) == shared:
            return shared
        looks = not ask.commands and not ask.await_run
        if (looks or name == lost) and await asyncio.to_thread(actors.find, name, self._settings) is not None:
            return name  # it was there before, so Ray starts it again, and the catalog need not be asked
        if looks:
            return shared
        home = await self._placed(owner.id)
        self._homes.learn(owner.id, home)
        return home

    async def _placed(self, session_id: str) -> str:
        """The name of the actor that the catalog places a session in, once it is up."""
        deadline = self._clock.monotonic() + _PLACING_S
        while self._clock.monotonic() < deadline:
            name: str | RojakError | None = await self._catalog.call("place", session_id)
            if isinstance(name, RojakError):
                raise name
            if name is not None:
                return name
        raise StoreUnavailable(f"Session {session_id!r} found no place within {_PLACING_S:g} s; ask again.")

    async def _host(self, name: str, owner: Owner) -> HostAccess:
        shared = name != session_name(owner.id) or owner.kind != "session"
        if shared:
            index = int(name.removeprefix(SHARED_HOST))
            handle = await asyncio.to_thread(actors.start_host, self._settings, index)
        else:
            handle = await asyncio.to_thread(actors.start_session, self._settings, owner.id)
        return self._hosts.setdefault(name, HostAccess(handle, shared=shared))  # others may have found it meanwhile

    def refer(self, fn: Callable[..., Any], /, *, writes_instructions: bool = False) -> FunctionRef:
        """Name a callable, to be published before it is used."""
        return self._publisher.refer(fn, writes_instructions=writes_instructions)

    def restore(self, ref: FunctionRef) -> Any:
        """The callable behind a reference if this driver has it, else its name."""
        return self._publisher.restore(ref)

    async def publish(self, agent: AgentSpec) -> None:
        """Ship the callables of an agent that are not shipped yet."""
        await self._publisher.publish(agent)

    async def providers(self) -> dict[str, str]:
        """See `Publisher.providers`."""
        return await self._publisher.providers()

    async def register(self, activities: Sequence[AgentActivities], functions: Sequence[Callable[..., Any]]) -> None:
        """Ship a worker's providers and functions, and again whenever the catalog begins a new life."""
        await self._publisher.register(activities, functions)

    async def keep(self, holder: str, refs: Sequence[FunctionRef]) -> None:
        """Let the catalog keep functions for a schedule."""
        if refs:
            await self._catalog.call("keep", holder, [ref.ref for ref in refs])

    async def release(self, holder: str) -> None:
        """Let it keep them no more."""
        await self.connect()
        await self._catalog.call("release", holder)

    async def whole_result(self, owner: Owner, kept: KeptResult) -> str | list[dict[str, Any]]:
        """Read a whole result, with the credentials for the storage that this program has."""
        return await self._keepers.at(self._settings.keeping).read(owner, kept)

    async def close(self) -> None:
        """Stop keeping registrations alive. Actors and what was registered stay."""
        if self._hearing is not None:
            self._hearing.cancel()
            await asyncio.gather(self._hearing, return_exceptions=True)
        await self._publisher.close()
        hosts, self._hosts = list(self._hosts.values()), {}
        await asyncio.gather(*(host.aclose() for host in hosts))
