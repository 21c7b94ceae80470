"""The actors that hold conversations: shells around `HostPool`, which does the work."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import threading
from collections.abc import Awaitable, Callable

import ray

from rojak_ray.clock import Clock, SystemClock
from rojak_ray.concurrency import background
from rojak_ray.errors import InternalError, RojakError, StorageError
from rojak_ray.ids import RandomIds
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.logs import get_logger, set_up_process
from rojak_ray.providers.builtin import preload_sdks
from rojak_ray.reign.duties import follow
from rojak_ray.runtime.envelope import Envelope
from rojak_ray.runtime.executor import RayStepExecutor
from rojak_ray.runtime.frames import Kind
from rojak_ray.runtime.host_map import HostMap
from rojak_ray.runtime.hosts_on_ray import RayHosts
from rojak_ray.runtime.link import LinkServer
from rojak_ray.runtime.lookup import names_of
from rojak_ray.runtime.moving import MovedAway, Residents
from rojak_ray.runtime.outbox import FETCH_S, Answer, Delivery, Outbox, Ticket
from rojak_ray.runtime.reigning import ReignNews
from rojak_ray.runtime.restarts import was_started_again
from rojak_ray.runtime.settings import RuntimeSettings, host_name, session_name
from rojak_ray.sessions.pool import HostPool
from rojak_ray.sessions.pool_settings import PoolStatistics
from rojak_ray.sessions.requests import Ask, Reply
from rojak_ray.storage.open import open_store
from rojak_ray.storage.probe import check_durable

logger = get_logger(__name__)

_COLLECT_AFTER = (50_000, 20, 100)
"""Python's own thresholds cost a busy host an eighth of its time: next to nothing of what it makes is cyclic."""

_RETIRE_CHECK_S = 1.0
_LONGEST_NEWS_S = 2.0
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0


class _Shell:
    """What both actors do: open the storage, go on with what a lost process left, answer."""

    def __init__(self, settings: RuntimeSettings, name: str, index: int | None = None) -> None:
        """`index` is that of a shared host."""
        asks_models = index is not None
        set_up_process()
        gc.set_threshold(*_COLLECT_AFTER)
        self._settings = settings
        self._store = open_store(settings.storage, settings.storage_options)
        self._clock = SystemClock()
        self.link = LinkServer({Kind.ASK: self._ask_packed, Kind.TAKE: self.take})
        self.executor = RayStepExecutor(
            settings.ray_namespace,
            name,
            self.link.name,
            self._clock,
            asks_models=asks_models,
            settings=settings.pool,
            keeping=settings.keeping,
        )
        self.residents: Residents | None = None
        self._news = ReignNews(settings, self._store, on_hosts=self._learn_hosts if index is not None else None)
        self.reign = self._news.reign
        self.pool = HostPool(
            self._store,
            Paths(settings.namespace),
            self.executor,
            self._clock,
            RandomIds(),
            settings.pool,
            alone=not asks_models,
            reign=self.reign,
        )
        if index is not None:
            known = HostMap(settings.hosts)
            self.residents = Residents(index, known, self.pool, RayHosts(settings), self._clock)
        self._listening = background("hear who rules", self._news.run, self._clock, longest_pause_s=_LONGEST_NEWS_S)
        self.began = asyncio.Event()
        """Set once it is known whether there is anything to go on with, and that was begun."""

        self._checked: asyncio.Task[None] | None = None
        self.asking = 0

    def _learn_hosts(self, hosts: HostMap) -> None:
        if self.residents is not None:
            self.residents.learn(hosts)

    async def check_storage(self) -> None:
        """Prove once that the storage keeps its promises; again if that failed."""
        if self._checked is None or (self._checked.done() and self._checked.exception() is not None):
            self._checked = asyncio.create_task(check_durable(self._store))
        await asyncio.shield(self._checked)

    def obey(
        self, go_on: Callable[[], Awaitable[object]], belongs: Callable[[], Awaitable[Callable[[Owner], bool]]]
    ) -> asyncio.Task[None]:
        """Go on with what an earlier life left whenever this cluster rules, and let go of everything when it yields.

        Args:
            go_on: Opens what was left.
            belongs: Tells what belongs to this actor, also if it is not open.
        """

        async def begin() -> None:
            await self.check_storage()
            try:
                await go_on()
            except StorageError as error:  # the pool tries again by itself
                logger.warning("recovery goes on in the background: %s", error)
            self.began.set()

        async def end() -> None:
            self.began.set()
            await self.pool.hand_over(await belongs())

        return background(
            "go on with what was left",
            functools.partial(follow, self.reign, begin, end),
            self._clock,
            first_pause_s=_FIRST_WAIT_S,
            longest_pause_s=_LONGEST_WAIT_S,
        )

    async def wake(self, owners: list[Owner]) -> None:
        """Open these if some lost process had them open. What fails is tried again here, or by the next sweep."""
        try:
            await self.check_storage()
            await self.pool.wake_all(owners)
        except RojakError as error:
            logger.warning("could not wake what was left unfinished: %s", error)

    @property
    def settled(self) -> bool:
        """Whether this process may end: nothing is open, and the catalog knows what was named here."""
        return self.pool.settled and self.executor.settled

    async def _ask_packed(self, packed: bytes) -> Answer:
        return await self.ask(Envelope.unpack(packed))

    async def take(self, packed: bytes) -> bytes | None:
        """See `FunctionPool.take`."""
        return await self.executor.take(packed)

    async def ask(self, envelope: Envelope) -> Answer:
        """Errors are returned, not raised: they cross processes as they are, without Ray's wrapping and log lines."""
        self.asking += 1
        try:
            self.executor.expect(envelope.registered)
            await self.check_storage()
            reply = await self._ask_here(envelope, Ask.model_validate_json(envelope.ask))
            return reply.model_dump_json().encode()
        except MovedAway as away:
            return away.moved.pack()
        except RojakError as error:
            return error.with_traceback(None)
        except Exception as error:
            logger.exception("request failed", extra={"owner": str(envelope.owner)})
            return InternalError(f"{type(error).__name__}: {error}")
        finally:
            self.asking -= 1

    async def _ask_here(self, envelope: Envelope, ask: Ask) -> Reply:
        owner, residents = envelope.owner, self.residents
        if residents is None:
            return await self.pool.ask(owner, ask)
        residents.learn(envelope.hosts)
        if ask.only_follows:  # which keeps nobody from moving
            async with residents.entering(owner):
                pass
            return await self.pool.ask(owner, ask)
        async with residents.entering(owner):
            return await self.pool.ask(owner, ask)


class SessionHostActor:
    """A shared host: many conversations in one process."""

    def __init__(self, settings: RuntimeSettings, index: int) -> None:
        """Go on with what an earlier life of this actor, or of the whole cluster, left unfinished."""
        self._shell = _Shell(settings, host_name(index), index)
        assert self._shell.residents is not None
        self._residents = self._shell.residents
        self._outbox = Outbox(SystemClock(), RandomIds().new_id())
        self._settings = settings
        self._index = index
        self._obedience = self._shell.obey(self._recover, self._nobody_elses)
        self._warming = asyncio.create_task(self._warm_up(), name="get ready for functions and vendors")

    async def ask(self, packed: bytes) -> Answer | Ticket:
        """Bring an `Envelope` to its owner's host; a packed `Reply` comes back, or a ticket to a client that fetches.

        Crash safety: see `HostPool.ask`; what a reply says is durable.
        """
        envelope = Envelope.unpack(packed)
        return await self._outbox.answer(envelope.client, lambda: self._shell.ask(envelope))

    async def fetch(self, client: str, life: str, after: int) -> list[Delivery] | None:
        """The replies to a client's tickets, as they come: see `Outbox.fetch`."""
        return await self._outbox.fetch(client, life, after, FETCH_S)

    async def wake(self, owners: list[Owner]) -> None:
        """Go on with these, if some lost process had them open. For the catalog's sweep; repeating it is harmless."""
        if self._shell.began.is_set():
            await self._residents.admitted(owners, lambda owner: self._shell.wake([owner]))

    async def link(self) -> str:
        """Where a client on this machine may bring its asks instead: see `LinkServer.name`."""
        return await self._shell.link.name()

    async def take(self, packed: bytes) -> bytes | None:
        """For function processes elsewhere: see `FunctionPool.take`."""
        return await self._shell.take(packed)

    async def statistics(self) -> PoolStatistics:
        """Counts for people."""
        return self._shell.pool.statistics()

    async def has(self, session_id: str) -> bool:
        """Whether a session is open here, or on its way in or out. For whoever might place it elsewhere."""
        await self._shell.began.wait()
        return self._shell.pool.has(Owner("session", session_id))

    async def release(self, owner: Owner, hosts: HostMap) -> bool:
        """For the host that is to have an owner: see `Residents.release`."""
        await self._shell.began.wait()
        return await self._residents.release(owner, hosts)

    async def settle(self, hosts: HostMap) -> int:
        """For the catalog: see `Residents.settle`."""
        await self._shell.began.wait()
        return await self._residents.settle(hosts)

    async def describe(self) -> tuple[HostMap, str]:
        """For the catalog: the newest map that is known here, and the node."""
        return self._residents.hosts, ray.get_runtime_context().get_node_id()

    async def _warm_up(self) -> None:
        """Get ready for a first run, which takes a core a second; after a loss, what was under way comes first."""
        self._shell.executor.warm_up()
        if await asyncio.to_thread(was_started_again):
            await self._shell.began.wait()
        threading.Thread(target=preload_sdks, args=(os.environ,), name="preload", daemon=True).start()

    async def _belongs(self) -> Callable[[Owner], bool]:
        """What is served here, as things stand."""
        settings, hosts = self._settings, self._residents.hosts
        own = await asyncio.to_thread(names_of, settings) if settings.placement == "auto" else set[str]()

        def mine(owner: Owner) -> bool:
            alone = owner.kind == "session" and settings.placement != "shared"
            if alone and (settings.placement == "dedicated" or session_name(owner.id) in own):
                return False
            return hosts.home(owner) == self._index

        return mine

    async def _nobody_elses(self) -> Callable[[Owner], bool]:
        """What is served here and open at no other host, whatever numbers of hosts there were."""
        mine, hosts = await self._belongs(), self._residents.hosts
        return lambda owner: mine(owner) and len(hosts.homes(owner)) == 1

    async def _recover(self) -> None:
        mine, hosts = await self._belongs(), self._residents.hosts
        moving: list[Owner] = []

        def nobody_elses(owner: Owner) -> bool:
            if not mine(owner):
                return False
            if len(hosts.homes(owner)) > 1:
                moving.append(owner)  # another host may have it
                return False
            return True

        count = await self._shell.pool.recover(nobody_elses)
        if moving:
            self._arrivals = asyncio.create_task(self._admit(moving), name="open what may be open elsewhere")
        if count:
            logger.info("opened %d owners of a lost process again", count)

    async def _admit(self, owners: list[Owner]) -> None:
        await self._shell.began.wait()  # others may wait for that
        await self._residents.admitted(owners, lambda owner: self._shell.wake([owner]))


class SessionActor:
    """One session in a process of its own."""

    def __init__(self, settings: RuntimeSettings, session_id: str) -> None:
        """Go on with what an earlier life left unfinished; end when the session goes to storage."""
        self._shell = _Shell(settings, session_name(session_id))
        self._owner = Owner("session", session_id)
        self._obedience = self._shell.obey(lambda: self._shell.pool.wake(self._owner), self._belongs)
        self._clock: Clock = SystemClock()
        self._retirement = background("leave when idle", self._retire_when_idle, self._clock)

    async def ask(self, packed: bytes) -> Answer:
        """Bring an `Envelope` to the session's host; a packed `Reply` comes back, whether or not the client fetches.

        Crash safety: see `HostPool.ask`; what a reply says is durable.
        """
        return await self._shell.ask(Envelope.unpack(packed))

    async def link(self) -> str:
        """Where a client on this machine may bring its asks instead: see `LinkServer.name`."""
        return await self._shell.link.name()

    async def take(self, packed: bytes) -> bytes | None:
        """For function processes elsewhere: see `FunctionPool.take`."""
        return await self._shell.take(packed)

    async def statistics(self) -> PoolStatistics:
        """Counts for people."""
        return self._shell.pool.statistics()

    async def _belongs(self) -> Callable[[Owner], bool]:
        return lambda owner: owner == self._owner

    async def _retire_when_idle(self) -> None:
        """End this process once the pool has let the session go, or never had it. What crosses it starts a new actor.

        Seen twice in a row, since the message that an actor is started for arrives after it has started.
        """
        idle_before = False
        while True:
            await self._clock.sleep(_RETIRE_CHECK_S)
            idle = self._shell.began.is_set() and not self._shell.asking and self._shell.settled
            if idle and idle_before:
                ray.kill(ray.get_runtime_context().current_actor, no_restart=True)
            idle_before = idle
