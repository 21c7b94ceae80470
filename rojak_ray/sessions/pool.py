"""`HostPool`: many conversations in one process. A dedicated actor holds a pool of one; a shared host, of thousands.

It opens hosts on demand, marks them in the index of active owners so that they are found after a loss, lets idle ones
go, and opens again those whose storage failed under them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from rojak_ray.clock import Clock
from rojak_ray.concurrency import at_most, background
from rojak_ray.core.commands import Delete
from rojak_ray.core.events import RunStatus
from rojak_ray.core.waiting import timers_of
from rojak_ray.errors import (
    Fenced,
    RojakError,
    StorageError,
    StoreUnavailable,
)
from rojak_ray.ids import IdSource
from rojak_ray.journal.journal import Journal
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.logs import get_logger
from rojak_ray.reign.reign import Duty, Reign
from rojak_ray.sessions.alarm import remove_timers, set_timer
from rojak_ray.sessions.batches import Batch, Follow
from rojak_ray.sessions.earlier import wait_for_earlier_reigns
from rojak_ray.sessions.host import FOR_EVER, HostClosed, SessionHost
from rojak_ray.sessions.markers import Markers, active_owners, left_in
from rojak_ray.sessions.pool_settings import PoolSettings, PoolStatistics
from rojak_ray.sessions.ports import KeepsFunctions, StepExecutor
from rojak_ray.sessions.probation import Probation, Suspicion
from rojak_ray.sessions.requests import Ask, Reply
from rojak_ray.sessions.stored import answer_from_storage, look_at_storage, read_stored, recall_run
from rojak_ray.sessions.trying import Trying, may_pass
from rojak_ray.storage.base import Store

logger = get_logger(__name__)

_RECOVERIES_AT_ONCE = 16
_LOOK_S, _LONGEST_LOOK_S = 1.0, 16.0
"""How often storage is looked at for a follower of something that is not open here."""


class HostPool:
    """Opens, finds and lets go of hosts."""

    def __init__(
        self,
        store: Store,
        paths: Paths,
        executor: StepExecutor,
        clock: Clock,
        ids: IdSource,
        settings: PoolSettings | None = None,
        *,
        alone: bool = False,
        reign: Reign | None = None,
    ) -> None:
        """Holds nothing yet.

        Args:
            store: Where conversations are.
            paths: Of their namespace.
            executor: Runs steps.
            clock: Time and sleep.
            ids: Source of fresh ids.
            settings: How long idle conversations stay.
            alone: This process will only ever hold one conversation.
            reign: Whether this process may open anything; None: always.
        """
        self._reign = reign or Reign.sole()
        self._markers = Markers(store, paths)
        self._store = store
        self._paths = paths
        self._executor = executor
        self._needs = executor.needs if isinstance(executor, KeepsFunctions) else None
        self._clock = clock
        self._ids = ids
        self._settings = settings or PoolSettings()
        self._suspicion = Suspicion(
            self._settings.most_recoveries, None if alone else Probation(), self._settings.probation_s
        )
        self._hosts: dict[Owner, asyncio.Task[SessionHost]] = {}
        self._closing: dict[Owner, asyncio.Task[None]] = {}
        self._opened_one = asyncio.Event()
        self._trying = Trying(clock)
        self._leaving: dict[Owner, asyncio.Task[None]] = {}
        """What the sweeper is about to let go: some of it waits for storage."""

        self._sweeper: asyncio.Task[None] | None = None
        self._closed = False

    def statistics(self) -> PoolStatistics:
        """Counts for people."""
        hosts = self._open_hosts()
        steps = sum(host.statistics().running_steps for host in hosts)
        return PoolStatistics(len(hosts), sum(not host.idle for host in hosts), steps)

    @property
    def settled(self) -> bool:
        """Whether it holds nothing and nothing is on its way in or out: its process may end without leaving work."""
        return not (self._hosts or self._closing or self._trying)

    def has(self, owner: Owner) -> bool:
        """Whether an owner is open here, or on its way in or out."""
        return owner in self._hosts or owner in self._closing or _opening(owner) in self._trying

    @property
    def owners(self) -> list[Owner]:
        """What is open here, or on its way in or out."""
        return [*self._hosts, *self._closing]

    async def dismiss(self, owner: Owner) -> bool:
        """Let an owner go if it has nothing to do; whether it is not open here any more."""
        if owner in self._closing:
            await asyncio.wait([self._closing[owner]])
        host = _result_of(self._hosts[owner]) if owner in self._hosts else None
        if host is not None:
            await self._let_go(host)
        return not self.has(owner)

    async def ask(self, owner: Owner, ask: Ask) -> Reply:
        """Bring commands to the owner's host, opening it if need be.

        An owner that was never written is opened only by a command that creates it; a finished run answers from its
        record without being opened.

        Raises:
            SessionNotFound: There is no such session. RunNotFound: there is no such run.
            RequestError: A command was refused.
            StorageError: The store failed; ask again.
        """
        if ask.follow is not None and ask.only_follows:
            return Reply(batch=await self._follow(owner, ask.follow))
        fenced = False
        while True:
            if not self._reign.rules and (ask.commands or owner not in self._hosts):
                answer = await self._answer_unopened(owner, ask)
                if answer is None:
                    continue
                return await self._with_batch(owner, ask, answer)
            new = False
            if owner not in self._hosts:
                stored = await answer_from_storage(self._store, self._paths, owner, ask)
                if stored.reply is not None:
                    return await self._with_batch(owner, ask, stored.reply)
                new = stored.new
            try:
                host = await self._host(owner, new=new)
                timers = timers_of(host.state)
                reply = await self._recalled(owner, ask, await host.ask(ask))
            except HostClosed:
                if self._closed:
                    raise
            except Fenced as error:
                # Some other process took the owner over and may be gone again; a request is safe to take twice.
                if fenced or self._closed:
                    raise StoreUnavailable(f"Other processes keep taking {owner} over; ask again.") from error
                fenced = True
            else:
                if not host.state.opened and any(isinstance(command, Delete) for command in ask.commands):
                    await self._let_go(host)
                    await remove_timers(self._store, self._paths, owner, timers)
                return await self._with_batch(owner, ask, reply)

    async def _answer_unopened(self, owner: Owner, ask: Ask) -> Reply | None:
        """Answer while nothing may be opened here; None as soon as something may.

        Raises:
            StandsBy: It would change something, and nothing may be opened here for longer than a caller waits.
        """
        ends_at = self._clock.monotonic() + ask.wait_s
        while not self._reign.rules and not self._closed:
            reply = await look_at_storage(self._store, self._paths, owner, ask)
            if reply is None:
                await self._reign.admit()
                return None
            goes_on = reply.run is not None and reply.run.status in {RunStatus.QUEUED, RunStatus.RUNNING}
            left = ends_at - self._clock.monotonic()
            if not goes_on or left <= 0:
                return reply
            await self._clock.sleep(min(left, _LOOK_S))
        if self._closed:
            raise HostClosed("This process was closed; ask again.")
        return None

    async def _recalled(self, owner: Owner, ask: Ask, reply: Reply) -> Reply:
        """The reply with the run that was asked for, if the host has forgotten all but its id."""
        if not ask.await_run or reply.run is not None:
            return reply
        run = await recall_run(self._store, self._paths, owner, ask.await_run)
        return reply.model_copy(update={"run": run})

    async def _with_batch(self, owner: Owner, ask: Ask, reply: Reply) -> Reply:
        """The reply, with what its host could not tell a follower."""
        if ask.follow is None or reply.batch is not None:
            return reply
        follow = ask.follow.model_copy(update={"after": ask.follow.after or 0})
        stored = await read_stored(self._store, self._paths, owner, follow)
        return reply.model_copy(update={"batch": stored.batch})

    async def _follow(self, owner: Owner, follow: Follow) -> Batch:
        """What is behind a follower: from the host if the owner is open here, else from storage, waking nobody."""
        if owner in self._hosts:
            try:
                batch = await (await self._host(owner)).follow(follow)
            except StorageError as error:
                logger.debug("following %s in storage: %s", owner, error)
            else:
                if batch is not None:
                    return batch
        stored = await read_stored(self._store, self._paths, owner, follow)
        if not stored.batch.concerns(follow):
            await self._news_of(owner, stored.slot, follow.wait_s)
        return stored.batch

    async def _news_of(self, owner: Owner, slot: int, wait_s: float) -> None:
        """Wait for an owner to be opened here, or written by anybody; the latter is looked for less and less often."""
        ends_at, look_s = self._clock.monotonic() + wait_s, _LOOK_S
        while not self._closed and owner not in self._hosts and (rest := ends_at - self._clock.monotonic()) > 0:
            sleeping = asyncio.create_task(self._clock.sleep(min(rest, look_s)))
            opening = asyncio.create_task(self._opened_one.wait())
            try:
                await asyncio.wait({sleeping, opening}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleeping.cancel()
                opening.cancel()
            look_s = min(4 * look_s, _LONGEST_LOOK_S)
            if await self._store.list(self._paths.log(owner), after=self._paths.slot(owner, slot), limit=1):
                return

    async def recover(self, mine: Callable[[Owner], bool]) -> int:
        """Open again every owner that some lost process had open and that belongs here; returns how many.

        Raises:
            StorageError: The storage could not be read. The pool goes on trying by itself, here and wherever an owner
                cannot be opened.

        Crash safety:
            Opening is a claim, so two pools that recover the same owner disturb, but never double, each other.
        """
        since = self._reign.standing.number if self._reign.standing.handover else 0
        try:
            active = await active_owners(self._store, self._paths, since=since)
        except StorageError:
            self._keep_trying("recover", lambda: self.recover(mine))
            raise
        owners = [owner for owner in active if mine(owner) and owner not in self._hosts]
        await at_most(_RECOVERIES_AT_ONCE, self._try_to_open, owners)
        return len(owners)

    async def wake(self, owner: Owner) -> None:
        """Open one owner again if some lost process had it open. Storage that fails is tried again, as in `recover`."""
        try:
            marked = await self._markers.exist(owner)
        except StorageError:
            self._keep_trying(f"wake {owner}", lambda: self.wake(owner))
            raise
        if marked:
            await self._try_to_open(owner)

    async def wake_all(self, owners: Sequence[Owner]) -> None:
        """`wake` those of these owners that are not open here."""
        await at_most(_RECOVERIES_AT_ONCE, self.wake, [owner for owner in owners if owner not in self._hosts])

    async def hand_over(self, mine: Callable[[Owner], bool]) -> None:
        """Let everything go to the reign that follows: at once where nothing runs, else when what runs has ended.

        What still runs when this reign's time is over is cut off; the next one takes it for interrupted. What belongs
        here and was open in a process that died is handed over as it is, so that nobody waits for its host. Repeating
        it is harmless.

        Raises:
            StorageError: What a dead process left could not be handed over; again.

        Crash safety:
            What is unfinished is marked all the time: by this reign, and then by the next one.
        """
        orphans = asyncio.create_task(self._hand_over_orphans(mine), name="hand over what dead hosts left")
        await asyncio.gather(*(self._hand_over_one(owner) for owner in list(self._hosts)))
        if self._closing:
            await asyncio.wait(list(self._closing.values()))
        await orphans

    async def _hand_over_orphans(self, mine: Callable[[Owner], bool]) -> None:
        standing = self._reign.standing
        if standing.duty is not Duty.YIELDS or not standing.successor:
            return
        left = await left_in(self._store, self._paths, standing.number)
        orphans = [owner for owner in left if mine(owner) and not self.has(owner)]
        await at_most(
            _RECOVERIES_AT_ONCE,
            lambda owner: self._markers.hand_over(owner, left[owner], standing.successor),
            orphans,
        )

    async def _hand_over_one(self, owner: Owner) -> None:
        opening = self._hosts.get(owner)
        if opening is None:
            return
        await asyncio.wait([opening])
        host = _result_of(opening)
        if host is None:
            return
        try:
            await host.finish(self._reign.left_s)
        except RojakError as error:
            logger.warning("%s is left to the next reign as it is: %s", owner, error)
        task = self._start_letting_go(host)
        if task is not None:
            await asyncio.wait([task])

    async def close(self) -> None:
        """Let every host go. What was running goes on when its owner is opened again."""
        self._closed = True
        self._tell_followers()
        working = [*self._trying.tasks, *self._leaving.values(), *([self._sweeper] if self._sweeper else [])]
        for task in working:
            task.cancel()
        await asyncio.gather(*working, *self._closing.values(), return_exceptions=True)
        opening, self._hosts = list(self._hosts.values()), {}
        for result in await asyncio.gather(*opening, return_exceptions=True):
            if isinstance(result, SessionHost):
                await result.close()

    async def _host(self, owner: Owner, *, new: bool = False) -> SessionHost:
        if self._sweeper is None:
            self._sweeper = background("let idle conversations go", self._sweep, self._clock)
        opening = self._hosts.get(owner)
        if opening is None:
            opening = asyncio.create_task(self._open(owner, new=new), name=f"open {owner}")
            self._hosts[owner] = opening
            self._tell_followers()
        try:
            # Shielded: a caller that gives up must not stop an opening that others wait for.
            return await asyncio.shield(opening)
        finally:
            failed = opening.done() and (opening.cancelled() or opening.exception() is not None)
            if failed and self._hosts.get(owner) is opening:
                del self._hosts[owner]
                # It may have fenced whoever served the owner before, so nobody else may be left to go on with it.
                if not opening.cancelled() and may_pass(opening.exception()):
                    self._open_later(owner)

    def _tell_followers(self) -> None:
        """Let those who follow what is not open here look again."""
        self._opened_one.set()
        self._opened_one = asyncio.Event()

    async def _open(self, owner: Owner, *, new: bool = False) -> SessionHost:
        closing = self._closing.get(owner)
        if closing is not None:
            await asyncio.wait([closing])  # it still reads and writes
        await wait_for_earlier_reigns(owner, self._reign, self._markers, self._clock)
        reign = self._reign.standing.number
        journal = Journal(self._store, self._paths, owner, self._clock, self._ids, self._settings.snapshot_bytes)
        host = SessionHost(journal, self._executor, self._clock, self._ended, self._suspicion, self._needs)
        # Marked before anything new is taken; what was left unfinished is marked by whoever left it. A marker too many
        # does no harm, so what is new, and will most likely be epoch 1, is marked while it is claimed.
        guesses = [self._markers.put(owner, 1, reign)] if new else []
        try:
            opened, *marked = await asyncio.gather(host.open(new=new), *guesses, return_exceptions=True)
            if opened is not None:
                raise opened
            if marked != [None] or host.epoch != 1:
                await self._markers.put(owner, host.epoch, reign)
        except BaseException:
            await host.close()
            raise
        if host.failure is not None:  # it ended meanwhile, and nobody was there to forget it
            raise host.failure
        host.reign = reign
        return host

    def _open_hosts(self) -> list[SessionHost]:
        return [host for task in self._hosts.values() if (host := _result_of(task)) is not None]

    def _ended(self, host: SessionHost) -> None:
        """A host ended by itself: forget it, and open it again if it left work behind and nobody newer has it."""
        opening = self._hosts.get(host.owner)
        if opening is not None and _result_of(opening) is host:
            del self._hosts[host.owner]
        if isinstance(host.failure, Fenced | HostClosed) or not self._reign.rules:
            return  # whoever has it now, or the next one to rule here, goes on with it
        # A write that failed may have landed: what it brought has to be gone on with, whether anybody asks or not.
        if not host.state.idle or may_pass(host.failure):
            self._open_later(host.owner)

    def _open_later(self, owner: Owner) -> None:
        self._keep_trying(_opening(owner), lambda: self._host(owner))

    async def _try_to_open(self, owner: Owner) -> None:
        """Open an owner, later if not now."""
        try:
            await self._host(owner)
        except RojakError as error:
            logger.warning("could not open %s: %s", owner, error, extra={"owner": str(owner)})
        except Exception:
            logger.exception("a bug keeps %s from being opened", owner, extra={"owner": str(owner)})

    def _keep_trying(self, what: str, act: Callable[[], Awaitable[object]]) -> None:
        if not self._closed:
            self._trying.keep(what, act)

    async def _sweep(self) -> None:
        """Let idle hosts go, for ever. What is wrong with one of them is its own matter, and none waits for another."""
        while True:
            await self._clock.sleep(self._settings.sweep_s)
            for host in self._open_hosts():
                idle_s = self._clock.monotonic() - host.last_used
                if host.idle and idle_s >= self._idle_limit(host):
                    self._start_letting_go(host)
                elif idle_s >= self._idle_limit(host) and host.resting_until is not None:
                    self._start_leaving(host, self._let_rest)
                elif host.idle and idle_s >= self._settings.sweep_s and host.wants_tail_mark:
                    self._start_leaving(host, SessionHost.mark_tail)

    def _start_leaving(self, host: SessionHost, leave: Callable[[SessionHost], Awaitable[object]]) -> None:
        if host.owner not in self._leaving:
            task = asyncio.create_task(self._try_to_leave(host, leave), name=f"let {host.owner} go")
            self._leaving[host.owner] = task
            task.add_done_callback(lambda _: self._leaving.pop(host.owner, None))

    async def _try_to_leave(self, host: SessionHost, leave: Callable[[SessionHost], Awaitable[object]]) -> None:
        try:
            await leave(host)
        except RojakError as error:
            logger.warning("%s stays in memory: %s: %s", host.owner, type(error).__name__, error)
        except Exception:
            logger.exception("a bug keeps %s in memory", host.owner)

    async def _let_rest(self, host: SessionHost) -> None:
        """Let a conversation go whose run only waits: for an answer, or for its time.

        Crash safety:
            The timer is stored first. One too many costs a needless look.
        """
        until = host.resting_until
        if until is None or (until - self._clock.now()).total_seconds() < self._idle_limit(host):
            return
        if until != FOR_EVER:
            await set_timer(self._store, self._paths, host.owner, until)
        if await host.rest(until):
            self._start_letting_go(host)

    def _idle_limit(self, host: SessionHost) -> float:
        return self._settings.run_idle_s if host.owner.kind == "run" else self._settings.session_idle_s

    def _start_letting_go(self, host: SessionHost) -> asyncio.Task[None] | None:
        """Let this very host go; None if it is gone already, also where another one has its owner by now."""
        opening = self._hosts.get(host.owner)
        if opening is None or _result_of(opening) is not host:
            return None
        del self._hosts[host.owner]
        task = asyncio.create_task(self._passivate(host), name=f"passivate {host.owner}")
        self._closing[host.owner] = task
        task.add_done_callback(lambda _, owner=host.owner: self._closing.pop(owner, None))
        return task

    async def _let_go(self, host: SessionHost) -> None:
        """At once, if nothing new has arrived meanwhile."""
        passivation = self._start_letting_go(host) if host.idle else None
        if passivation is not None:
            await asyncio.wait([passivation])

    async def _passivate(self, host: SessionHost) -> None:
        """Let a host go that has nothing to do here: its journal has everything, so only its marker is removed."""
        await host.mark_tail()
        done = host.may_go
        await host.close()
        try:
            if self._reign.standing.duty is Duty.YIELDS and not host.state.idle:
                await self._markers.hand_over(host.owner, host.epoch, self._reign.standing.successor)
            elif done:
                await self._markers.remove(host.owner, host.epoch, host.reign)
            else:  # somebody who had found it before asked it meanwhile
                self._open_later(host.owner)
        except StorageError as error:
            # A marker too many costs one needless opening after a loss.
            logger.warning("could not unmark %s: %s", host.owner, error)


def _opening(owner: Owner) -> str:
    return f"open {owner}"


def _result_of(opening: asyncio.Task[SessionHost]) -> SessionHost | None:
    if not opening.done() or opening.cancelled() or opening.exception() is not None:
        return None
    return opening.result()
