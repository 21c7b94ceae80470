"""`InProcessRuntime`: the whole product in one process, without Ray.

The same journal, the same hosts, the same guarantees; only what runs the steps differs. Tests of agents run on it in
milliseconds, and with a storage path what it did survives the process.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rojak_ray.agents.activities import AgentActivities, OnDelta
from rojak_ray.agents.registry import FunctionRegistry, distinct
from rojak_ray.agents.schema import FunctionDefinition
from rojak_ray.agents.spec import AgentSpec, FunctionRef
from rojak_ray.checks import check_flag, check_kind, shown
from rojak_ray.clock import Clock, SystemClock
from rojak_ray.concurrency import background
from rojak_ray.core.kept import KeptResult
from rojak_ray.core.steps import Step, StepResult
from rojak_ray.errors import InvalidSetting
from rojak_ray.ids import IdSource, RandomIds, check_id
from rojak_ray.journal.kept import KeptResults
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.logs import get_logger
from rojak_ray.reign.duties import follow
from rojak_ray.reign.identity import claim_of_process
from rojak_ray.reign.keeper import ReignKeeper
from rojak_ray.reign.reign import Reign, Standing
from rojak_ray.schedules.client import SchedulingClient
from rojak_ray.schedules.requests import ScheduleAsk, ScheduleReply
from rojak_ray.schedules.runs import GatewayRuns
from rojak_ray.schedules.service import SchedulerService, has_schedules
from rojak_ray.sessions.alarm import AlarmClock, has_timers
from rojak_ray.sessions.missing import missing_code, owner_of, patience
from rojak_ray.sessions.naming import functions_in
from rojak_ray.sessions.pieces import Pace
from rojak_ray.sessions.pool import HostPool
from rojak_ray.sessions.pool_settings import PoolSettings, PoolStatistics
from rojak_ray.sessions.ports import Phase
from rojak_ray.sessions.providers import ProviderRegistry
from rojak_ray.sessions.requests import Ask, Reply
from rojak_ray.sessions.steps import Offer, StepRunner, offer_of
from rojak_ray.sessions.user_code import UserCode
from rojak_ray.storage.base import Store
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.storage.open import open_store, resolve_options
from rojak_ray.testing.home import GatewayAtHome, HomeLoop

logger = get_logger(__name__)


class InProcessGateway:
    """Hosts in this process."""

    def __init__(
        self,
        store: Store,
        namespace: str,
        clock: Clock,
        ids: IdSource,
        settings: PoolSettings,
        keeper: ReignKeeper | None = None,
    ) -> None:
        """Nothing is opened before `connect`; without a keeper this process works as if it were alone."""
        self.functions = FunctionRegistry()
        self.providers_known = ProviderRegistry()
        self._store = store
        self._clock = clock
        self._paths = Paths(namespace)
        self._keeper = keeper
        self.reign = keeper.reign if keeper is not None else Reign.sole()
        self._kept = KeptResults(store, self._paths, ids)
        self._patient = _PatientRunner(self.functions, self.providers_known, settings, self._kept)
        self._pool = HostPool(store, self._paths, self._patient, clock, ids, settings, reign=self.reign)
        self._alarm = AlarmClock(store, self._paths, clock, self._pool.ask)
        self._ringing: asyncio.Task[None] | None = None
        self._timers_s = settings.timers_s
        self.scheduler = SchedulerService(store, self._paths, GatewayRuns(self), clock, ids, self.reign)
        self._connecting: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._let_go = 0
        """The last reign of this process of which nothing is open any more."""

        if keeper is not None:
            keeper.drained = self._is_drained
            keeper.has_work = self._has_work

    async def connect(self) -> None:
        """Find out whether another process works on this storage; if not, go on with what an earlier one left.

        Raises:
            StorageError: The storage cannot be read. Called again, it is tried again.
        """
        connecting = self._connecting
        if connecting is None or (connecting.done() and (connecting.cancelled() or connecting.exception() is not None)):
            connecting = self._connecting = asyncio.create_task(self._connect(), name="go on with what is stored")
        await asyncio.shield(connecting)

    async def _connect(self) -> None:
        if self._keeper is not None:
            await self._keeper.step()
            self._keeping = background("keep the reign", self._keeper.run, SystemClock())
        standing = self.reign.standing
        try:
            if self.reign.rules:
                await self._begin()
        except BaseException:
            await self._stop_ruling()  # or others would wait for one that does nothing
            raise
        duty = functools.partial(follow, self.reign, self._begin, self._end, standing)
        self._following = background("go on with what is stored", duty, SystemClock())

    async def _stop_ruling(self) -> None:
        keeping, self._keeping = self._keeping, None
        await _stop(keeping)

    async def take_over(self, request_id: str | None = None) -> None:
        """Rule, whoever does now."""
        if self._keeper is not None:
            self._keeper.order(request_id)
        await self.connect()

    async def _begin(self) -> None:
        await self.providers()
        await self._pool.recover(lambda owner: True)
        await self.scheduler.start()
        if self._ringing is None:
            self._ringing = background("ring timers", lambda: self._alarm.run(self._timers_s), self._clock)

    async def _end(self) -> None:
        """Leave everything to the process that rules now; nothing of it is touched from here on."""
        standing = self.reign.standing
        await self._stop_ringing()
        await self.scheduler.pause()
        await self._pool.hand_over(lambda owner: True)
        self._let_go = standing.number

    async def _has_work(self) -> bool:
        """Whether an earlier process left anything to go on with; a program that only looks writes nothing."""
        if await self._store.list(self._paths.active, limit=1):
            return True
        return await has_schedules(self._store, self._paths) or await has_timers(self._store, self._paths)

    async def _is_drained(self, number: int) -> bool:
        return self._let_go == number

    async def _stop_ringing(self) -> None:
        ringing, self._ringing = self._ringing, None
        await _stop(ringing)

    async def ask(self, owner: Owner, ask: Ask) -> Reply:
        """Ask the pool. What the commands bring is held from here on, whatever becomes of whoever asks."""
        brought = functions_in(ask.commands)
        if brought:
            self.functions.pin(owner, brought)
            self._patient.try_again()
        return await self._pool.ask(owner, ask)

    async def whole_result(self, owner: Owner, kept: KeptResult) -> str | list[dict[str, Any]]:
        """Read a whole result."""
        return await self._kept.read(owner, kept)

    def refer(self, fn: Callable[..., Any], /, *, writes_instructions: bool = False) -> FunctionRef:
        """Name a callable."""
        return self.functions.refer(fn, writes_instructions=writes_instructions)

    def restore(self, ref: FunctionRef) -> Any:
        """The callable behind a reference."""
        return self.functions.restore(ref)

    async def keep(self, holder: str, refs: Sequence[FunctionRef]) -> None:
        """Hold functions for a schedule."""
        self.functions.pin(holder, refs)

    async def release(self, holder: str) -> None:
        """Let go of them."""
        self.functions.needs(holder, (), settled=True)

    async def publish(self, agent: AgentSpec) -> None:
        """Steps run here: those that wait look again."""
        self._patient.try_again()

    async def providers(self) -> dict[str, str]:
        """Those of this process's environment."""
        named = self.providers_known.capture(os.environ, self._paths.namespace)
        self._patient.try_again()
        return named

    async def register(self, activities: Sequence[AgentActivities], functions: Sequence[Callable[..., Any]]) -> None:
        """Register with this process."""
        implementations = distinct(functions)
        self.providers_known.register(activities)
        self.functions.register(implementations)
        self._patient.try_again()

    async def close(self) -> None:
        """Let every host go, sign off, and release connections."""
        await _stop(self._connecting)
        await _stop(self._following)
        await self._stop_ringing()
        await self.scheduler.close()
        await self._pool.close()
        await self._stop_ruling()  # the reign was renewed until nothing was open any more
        await self.providers_known.aclose()
        self.functions.release_all()
        await self._store.aclose()

    def statistics(self) -> PoolStatistics:
        """Counts for people."""
        return self._pool.statistics()


class _LocalScheduler:
    """The scheduler of this process."""

    def __init__(self, gateway: InProcessGateway, home: HomeLoop) -> None:
        self._gateway = gateway
        self._home = home

    async def ask(self, ask: ScheduleAsk) -> ScheduleReply:
        return await self._home.run(lambda: self._ask(ask))

    async def _ask(self, ask: ScheduleAsk) -> ScheduleReply:
        await self._gateway.connect()
        return await self._gateway.scheduler.ask(ask)


class InProcessRuntime(SchedulingClient):
    """Runs, sessions and schedules without Ray, for tests and first steps.

    Used like `Rojak`: `async with InProcessRuntime() as rojak: await rojak.run(...)`. What runs in the background
    stops when it is closed, and goes on when another one is opened on the same storage.
    """

    def __init__(
        self,
        storage: str | os.PathLike[str] | Store | None = None,
        *,
        storage_options: Mapping[str, Any] | None = None,
        namespace: str = "rojak",
        clock: Clock | None = None,
        ids: IdSource | None = None,
        settings: PoolSettings | None = None,
        takeover: bool = False,
    ) -> None:
        """Make a runtime.

        While another program or cluster works on the same storage and namespace, this one stands by: it answers from
        storage, and refuses what would change something with `StandsBy`.

        Args:
            storage: URL, path or Store; None keeps everything in memory.
            storage_options: What a bucket's URL does not say, as `Rojak` takes it.
            namespace: Separates installations on one storage.
            clock: Time and sleep; the system's by default.
            ids: Source of fresh ids; random by default.
            settings: How long idle conversations stay in memory.
            takeover: Do not stand by: take over from whoever works on this storage.

        Raises:
            InvalidStorage: The storage, or one of its options, cannot be used.
            InvalidId: The namespace is not a usable name.
            InvalidSetting: One of the others is not what is asked for.
        """
        check_id(namespace, "namespace")
        check_flag(takeover, "takeover", InvalidSetting)
        if settings is not None:
            check_kind(settings, "settings", InvalidSetting, PoolSettings)
        _check_has(clock, "clock", "a Clock", ("now", "monotonic", "sleep"))
        _check_has(ids, "ids", "an IdSource", ("new_id",))
        if storage is None:
            resolve_options("memory://", storage_options, {})
            store: Store = MemoryStore()
        elif isinstance(storage, str | os.PathLike):
            store = open_store(storage, storage_options)
        else:
            _check_has(storage, "storage", "a URL, a path or a Store", ("get", "put_new", "list", "delete"))
            store = storage
        source = ids or RandomIds()
        settings = settings or PoolSettings()
        keeper = None
        if storage is not None:  # else nobody else has it
            # Whether another process lives is a matter of real time, whatever a test's clock shows.
            claim = claim_of_process(RandomIds(), "in-process")
            keeper = ReignKeeper(store, Paths(namespace), claim, SystemClock(), settings.reign)
            if takeover:
                keeper.order()
        self._local = InProcessGateway(store, namespace, clock or SystemClock(), source, settings, keeper)
        self._home = HomeLoop()
        super().__init__(GatewayAtHome(self._local, self._home), _LocalScheduler(self._local, self._home), source)

    async def standing(self) -> Standing:
        """Whether this program works on its storage, or stands by and for whom: `.duty`, `.ruler`, `.number`."""
        await self._home.run(self._local.connect)
        return self._local.reign.standing

    async def take_over(self, *, request_id: str | None = None) -> None:
        """Work on the storage, whoever does now; `standing` tells when that is so. See `Rojak.take_over`."""
        named = check_id(request_id, "request") if request_id is not None else None
        await self._home.run(lambda: self._local.take_over(named))

    def statistics(self) -> PoolStatistics:
        """Counts for people."""
        return self._local.statistics()


def _check_has(given: object, name: str, what: str, methods: Sequence[str]) -> None:
    """Refuse what cannot stand for a part of the runtime; None stands for the usual one."""
    if given is None:
        return
    if isinstance(given, type) or not all(callable(getattr(given, method, None)) for method in methods):
        raise InvalidSetting(f"{name} must be {what}, not {shown(given)}.")


async def _stop(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class _PatientRunner:
    """Runs steps; one whose code is not known waits until it is registered.

    The runtime goes on with unfinished work when it is entered, before the program had a chance to register anything.
    """

    def __init__(
        self, functions: FunctionRegistry, providers: ProviderRegistry, settings: PoolSettings, kept: KeptResults
    ) -> None:
        self._kept = kept
        self._settings = settings
        self._functions = functions
        self._providers = providers
        self._pace = Pace()
        self._user_code = UserCode()
        self._news = asyncio.Event()

    def try_again(self) -> None:
        """Something was registered."""
        self._news.set()
        self._news = asyncio.Event()

    async def execute(self, step: Step, on_delta: OnDelta | None = None) -> StepResult:
        refer = functools.partial(self._refer, owner_of(step))
        runner = StepRunner(_Local(self._functions), self._providers, refer, self._pace, self._user_code, self._kept)
        news = self._news
        result = await runner.execute(step, on_delta)
        missing = missing_code(step, result)
        if missing is None or not step.awaits_code:
            return missing or result
        try:
            async with asyncio.timeout(patience(self._settings, step)):
                while missing_code(step, result) is not None:
                    await news.wait()
                    news = self._news
                    result = await runner.execute(step, on_delta)
        except TimeoutError:
            logger.warning("step %s: nobody registered what runs it", step.step_id)
        return result

    def needs(self, owner: Owner, refs: Sequence[FunctionRef], phase: Phase) -> None:
        """See `Needs`: what is named is held here."""
        if phase != "gone":
            self._functions.needs(owner, refs, settled=phase == "settled")

    def _refer(self, owner: Owner, fn: Callable[..., Any], /, *, writes_instructions: bool = False) -> FunctionRef:
        """Name a callable of an agent that a function hands over to: nobody but us may hold it."""
        ref = self._functions.refer(fn, writes_instructions=writes_instructions)
        self._functions.pin(owner, (ref,))
        return ref


class _Local:
    def __init__(self, registry: FunctionRegistry) -> None:
        self._registry = registry

    async def offer(self, ref: FunctionRef) -> Offer:
        return offer_of(self._registry.resolve(ref).definition)

    async def resolve(self, ref: FunctionRef) -> FunctionDefinition:
        return self._registry.resolve(ref).definition

    async def writer(self, ref: FunctionRef) -> Callable[..., Any]:
        return self._registry.resolve(ref).fn
