"""`HostPool`: many conversations in one process. A dedicated actor holds a pool of one; a shared host, of thousands.

It opens hosts on demand, marks them in the index of active owners so that they are found after a loss, lets idle ones
go, and opens again those whose storage failed under them.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rojak_ray.clock import Clock
from rojak_ray.core.commands import Delete, OpenSession
from rojak_ray.errors import (
    Fenced,
    ObjectExists,
    ObjectNotFound,
    RequestConflict,
    RunNotFound,
    SessionNotFound,
    StorageError,
)
from rojak_ray.ids import IdSource
from rojak_ray.journal.journal import Journal
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.replay import exists, replay
from rojak_ray.sessions.host import HostClosed, SessionHost, Suspicion
from rojak_ray.sessions.ports import StepExecutor
from rojak_ray.sessions.probation import Probation
from rojak_ray.sessions.requests import Ask, Reply, view_run, view_session
from rojak_ray.storage.base import Store

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LONGEST_REOPEN_WAIT_S = 15.0
_RECOVERIES_AT_ONCE = 16
_MARKERS_AT_ONCE = 32


@dataclass(frozen=True, kw_only=True)
class PoolSettings:
    """How long conversations stay in memory."""

    session_idle_s: float = 300.0
    """A session that nobody asked for this long goes to storage; the next message brings it back."""

    run_idle_s: float = 5.0
    """The same for a run outside any session, counted from its end."""

    sweep_s: float = 1.0
    """How often idle hosts are looked for."""

    most_recoveries: int = 6
    """A session whose process ended so often in a row without a recorded result is set aside."""

    probation_s: float = 10.0
    """In a process with other sessions: how long a suspect must live on to be cleared."""


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """A look at one pool."""

    open_hosts: int
    busy_hosts: int
    running_steps: int


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
    ) -> None:
        """Holds nothing yet; `alone` if this process will only ever hold one conversation."""
        self._store = store
        self._paths = paths
        self._executor = executor
        self._clock = clock
        self._ids = ids
        self._settings = settings or PoolSettings()
        self._suspicion = Suspicion(
            self._settings.most_recoveries, None if alone else Probation(), self._settings.probation_s
        )
        self._hosts: dict[Owner, asyncio.Task[SessionHost]] = {}
        self._closing: dict[Owner, asyncio.Task[None]] = {}
        self._background: set[asyncio.Task[None]] = set()
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
        return not (self._hosts or self._closing or self._background)

    async def ask(self, owner: Owner, ask: Ask) -> Reply:
        """Bring commands to the owner's host, opening it if need be.

        An owner that was never written is opened only by a command that creates it; a finished run answers from its
        record without being opened.

        Raises:
            SessionNotFound: There is no such session. RunNotFound: there is no such run.
            RequestError: A command was refused.
            StorageError: The store failed; ask again.
        """
        fenced = False
        while True:
            if owner not in self._hosts:
                answer = await self._answer_from_storage(owner, ask)
                if answer is not None:
                    return answer
            host = await self._host(owner)
            try:
                reply = await host.ask(ask)
            except HostClosed:
                if self._closed:
                    raise
            except Fenced:
                # Some other process took the owner over and may be gone again; a request is safe to take twice.
                if fenced or self._closed:
                    raise
                fenced = True
            else:
                if any(isinstance(command, Delete) for command in ask.commands):
                    await self._let_go(host)
                return reply

    async def recover(self, mine: Callable[[Owner], bool]) -> int:
        """Open again every owner that some lost process had open and that belongs here; returns how many.

        Crash safety:
            Opening is a claim, so two pools that recover the same owner disturb, but never double, each other.
        """
        owners = [owner for owner in await active_owners(self._store, self._paths) if mine(owner)]
        await at_most(_RECOVERIES_AT_ONCE, self._reopen, owners)
        return len(owners)

    async def wake(self, owners: Sequence[Owner]) -> None:
        """Open again those of these owners that are not open here and that some lost process had open."""

        async def wake_one(owner: Owner) -> None:
            try:
                await self._store.get(self._paths.marker(owner))
            except ObjectNotFound:
                return
            await self._reopen(owner)

        await at_most(_RECOVERIES_AT_ONCE, wake_one, [owner for owner in owners if owner not in self._hosts])

    async def close(self) -> None:
        """Let every host go. What was running goes on when its owner is opened again."""
        self._closed = True
        background = [*self._background, *([self._sweeper] if self._sweeper else [])]
        for task in background:
            task.cancel()
        await asyncio.gather(*background, *self._closing.values(), return_exceptions=True)
        opening, self._hosts = list(self._hosts.values()), {}
        for result in await asyncio.gather(*opening, return_exceptions=True):
            if isinstance(result, SessionHost):
                await result.close()

    async def _answer_from_storage(self, owner: Owner, ask: Ask) -> Reply | None:
        """The answer for an owner that is not open here and need not be; None if it has to be opened."""
        creates = next((command for command in ask.commands if isinstance(command, OpenSession)), None)
        if not await exists(self._store, self._paths, owner):
            if creates is not None:
                return None
            if owner.kind == "run":
                raise RunNotFound(f"Run {owner.id!r} does not exist.")
            raise SessionNotFound(f"Session with ID {owner.id} does not exist. Please create a session first.")
        if owner.kind == "session":
            if ask.commands or ask.await_run:
                return None
            state = (await replay(self._store, self._paths, owner)).state
            if not state.opened:
                raise SessionNotFound(f"Session {owner.id!r} does not exist; it was deleted.")
            return Reply(view=view_session(state))
        state = (await replay(self._store, self._paths, owner)).state
        if not state.opened or not state.idle:
            return None
        for command in ask.commands:
            if command.kind == "start_run":
                outcome = state.outcome(command.run_id)
                if outcome is not None and outcome.input_digest != command.input_digest:
                    raise RequestConflict(
                        f"The id {command.run_id!r} belongs to a run with different input; choose another id, or "
                        "pass the same agent and messages to get its result."
                    )
        run = view_run(state, ask.await_run or owner.id)
        return Reply(run=run) if run else None

    async def _host(self, owner: Owner) -> SessionHost:
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep(), name="sweep idle hosts")
        opening = self._hosts.get(owner)
        if opening is None:
            opening = asyncio.create_task(self._open(owner), name=f"open {owner}")
            self._hosts[owner] = opening
        try:
            # Shielded: a caller that gives up must not stop an opening that others wait for.
            return await asyncio.shield(opening)
        finally:
            failed = opening.done() and (opening.cancelled() or opening.exception() is not None)
            if failed and self._hosts.get(owner) is opening:
                del self._hosts[owner]

    async def _open(self, owner: Owner) -> SessionHost:
        closing = self._closing.get(owner)
        if closing is not None:
            await asyncio.wait([closing])  # its last act is to remove the marker we are about to set
        await self._mark(owner)
        journal = Journal(self._store, self._paths, owner, self._clock, self._ids)
        host = SessionHost(journal, self._executor, self._clock, self._ended, self._suspicion)
        await host.open()
        return host

    async def _mark(self, owner: Owner) -> None:
        marker = json.dumps({"kind": owner.kind, "id": owner.id}, ensure_ascii=True).encode("ascii")
        try:
            await self._store.put_new(self._paths.marker(owner), marker)
        except ObjectExists:
            logger.debug("owner was marked active before", extra={"owner": str(owner)})

    def _open_hosts(self) -> list[SessionHost]:
        done = [task for task in self._hosts.values() if task.done() and not task.cancelled()]
        return [task.result() for task in done if task.exception() is None]

    def _ended(self, host: SessionHost) -> None:
        """A host ended by itself: forget it, and open it again if it left work behind and nobody newer has it."""
        self._hosts.pop(host.owner, None)
        if self._closed or isinstance(host.failure, Fenced) or host.state.idle:
            return
        task = asyncio.create_task(self._reopen(host.owner), name=f"reopen {host.owner}")
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _reopen(self, owner: Owner) -> None:
        wait = 0.0
        while not self._closed:
            await self._clock.sleep(wait)
            wait = min(max(2 * wait, 0.2), _LONGEST_REOPEN_WAIT_S)
            try:
                await self._host(owner)
            except Fenced:
                return
            except StorageError as error:
                logger.warning("could not open %s: %s", owner, error, extra={"owner": str(owner)})
                if not error.retryable:
                    return
            else:
                return

    async def _sweep(self) -> None:
        while True:
            await self._clock.sleep(self._settings.sweep_s)
            now = self._clock.monotonic()
            for host in self._open_hosts():
                run = host.owner.kind == "run"
                limit = self._settings.run_idle_s if run else self._settings.session_idle_s
                if host.idle and now - host.last_used >= limit:
                    self._start_letting_go(host)
                elif host.idle and now - host.last_used >= self._settings.sweep_s:
                    await host.mark_tail()

    def _start_letting_go(self, host: SessionHost) -> asyncio.Task[None] | None:
        if self._hosts.pop(host.owner, None) is None:
            return None
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
        """Let an idle host go: its journal has everything, so only the marker is removed."""
        await host.mark_tail()
        await host.close()
        try:
            await self._store.delete(self._paths.marker(host.owner))
        except StorageError as error:
            # A marker too many costs one needless opening after a loss.
            logger.warning("could not unmark %s: %s", host.owner, error)


async def active_owners(store: Store, paths: Paths, known: dict[str, Owner] | None = None) -> list[Owner]:
    """The owners that some process had open when it was last heard of.

    Args:
        store: Where.
        paths: Of the namespace.
        known: Owners by marker, from an earlier look; brought up to date. A marker never changes, so each is read once.
    """
    before = {} if known is None else known
    found: dict[str, Owner] = {}

    async def read(key: str) -> None:
        try:
            marker = json.loads(await store.get(key))
        except ObjectNotFound:
            return
        found[key] = Owner(marker["kind"], marker["id"])

    keys = await store.list(paths.active)
    found |= {key: before[key] for key in keys if key in before}
    await at_most(_MARKERS_AT_ONCE, read, [key for key in keys if key not in found])
    before.clear()
    before |= found
    return [found[key] for key in keys if key in found]


async def at_most(number: int, work: Callable[[T], Awaitable[None]], items: Iterable[T]) -> None:
    """Do the work for every item, so many at a time; the first error is raised when all have had their turn."""
    limit = asyncio.Semaphore(number)

    async def one(item: T) -> None:
        async with limit:
            await work(item)

    results = await asyncio.gather(*(one(item) for item in items), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
