"""`RayStepExecutor`: from a host to wherever a step runs, and back as data.

What waits goes to a step worker; a synchronous function to a Ray task with its own resources. Ray never repeats
either: a lost process is reported as lost, and the journal decides.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import math
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError, RayTaskError

from rojak_ray.agents.activities import OnDelta
from rojak_ray.agents.registry import not_found_text
from rojak_ray.agents.spec import FunctionRef
from rojak_ray.clock import Clock
from rojak_ray.core.steps import CallFunction, CallModel, RenderInstructions, Retrieve, Step, StepError, StepResult
from rojak_ray.errors import CodeNotFound, FunctionNotFound, InternalError, RojakError, StoreUnavailable
from rojak_ray.ids import RandomIds
from rojak_ray.journal.paths import Owner
from rojak_ray.logs import get_logger
from rojak_ray.providers.builtin import BUILTIN_TYPES
from rojak_ray.runtime.assignment import AssignedFunction, Assignment, CodeGone, unpack_item, unpack_result
from rojak_ray.runtime.catalog import Version
from rojak_ray.runtime.catalog_access import CatalogAccess
from rojak_ray.runtime.code import AssignedSources, CodeCache
from rojak_ray.runtime.directory_copy import DirectoryCopy
from rojak_ray.runtime.finding import FunctionFinder
from rojak_ray.runtime.frames import Kind
from rojak_ray.runtime.function_pool import FunctionPool, FunctionProcess, FunctionProcessLost
from rojak_ray.runtime.holding import Holding
from rojak_ray.runtime.keeping import KeepingPlace
from rojak_ray.runtime.link import Link, LinkLost
from rojak_ray.runtime.linking import Linking
from rojak_ray.runtime.losses import failed, lost
from rojak_ray.runtime.settings import RETRIEVERS
from rojak_ray.runtime.shipping import FunctionEntry, ProviderEntry
from rojak_ray.runtime.step_tasks import Lease, run_functions, warm_up
from rojak_ray.sessions.failures import error_of, overran, timed_out
from rojak_ray.sessions.missing import missing_code, patience
from rojak_ray.sessions.pieces import Pace
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.sessions.ports import Phase
from rojak_ray.sessions.providers import nobody_serves, program_gone
from rojak_ray.sessions.steps import Offer, StepRunner
from rojak_ray.sessions.user_code import UserCode

logger = get_logger(__name__)

T = TypeVar("T")

_REPAIR_WAIT_S = 600.0
"""Patience with a catalog or step workers that are on their way back from a loss, before a step has started."""

_AVOID_S = 10.0
"""A step worker that was lost may be on a dead node, which takes Ray seconds to notice: others come first."""

_KEEPING_S = 600.0
"""What storing a whole result may take after its function has returned."""

_POLL_S = 0.25
_REPLY_GRACE_S = 20.0
_PLACEMENT_WAIT_S = 30.0


class RayStepExecutor:
    """Runs steps on the cluster."""

    def __init__(
        self,
        ray_namespace: str,
        host: str,
        link_name: Callable[[], Awaitable[str]],
        clock: Clock,
        *,
        asks_models: bool = False,
        settings: PoolSettings | None = None,
        keeping: KeepingPlace | None = None,
    ) -> None:
        """Nothing is looked up before the first step.

        Args:
            ray_namespace: Where the catalog and the step workers are.
            host: Ray name of the actor that holds this; its `take` is ours.
            link_name: Of its `LinkServer`, where `take` is ours as well.
            clock: Time and sleep.
            asks_models: Ask built-in providers from this process. It saves a trip to a step worker for each answer;
                a process with many conversations makes good use of the connections, one with a single conversation
                would pay for a vendor's SDK of its own.
            settings: How long a step waits for what runs it.
            keeping: Where whole results are kept; None: nowhere.
        """
        self._settings = settings or PoolSettings()
        self._keeping = keeping
        self._ray_namespace = ray_namespace
        self._catalog = CatalogAccess(ray_namespace)
        self._code = CodeCache(self._catalog.parcel, self._catalog.announce) if asks_models else None
        self._clock = clock
        self._directory = DirectoryCopy(self._catalog, clock)
        self._workers: dict[str, ActorHandle[Any]] = {}
        self._linkings: dict[str, Linking] = {}
        self._lost_at: dict[str, float] = {}
        self._finder = FunctionFinder(self._catalog)
        self._holding = Holding(self._catalog, clock)
        self._turn = itertools.count(os.getpid())  # or everyone would begin with the same step worker
        self._pace = Pace()
        self._user_code = UserCode()
        self._warm = False
        self._host = host
        self._functions = FunctionPool(clock, RandomIds().new_id())
        self._link_name = link_name
        self._starters: dict[str, Callable[[str], FunctionProcess]] = {}
        """By the options of the tasks."""

    async def take(self, packed: bytes) -> bytes | None:
        """For function processes: see `FunctionPool.take`."""
        return await self._functions.take(packed)

    def expect(self, version: Version) -> None:
        """A client has seen this version of the directory: steps from now on must see what it registered."""
        self._directory.expect(version)

    @property
    def settled(self) -> bool:
        """Whether the catalog knows what the conversations here name."""
        return self._holding.settled

    def needs(self, owner: Owner, refs: Sequence[FunctionRef], phase: Phase) -> None:
        """See `Needs`."""
        self._holding.needs(owner, refs, phase)

    def warm_up(self) -> None:
        """Let Ray start a process for functions. Those of other detached actors are never given to this one."""
        if not self._warm:
            self._warm = True
            warm_up.remote(self._ray_namespace)

    async def execute(self, step: Step, on_delta: OnDelta | None = None) -> StepResult:
        """See `StepExecutor.execute`. Code that nobody has registered is waited for once that is recorded."""
        try:
            while True:
                assignment, entry = await self._when_reachable(functools.partial(self._assign, step))
                try:
                    return await self._run(assignment, entry, on_delta)
                except CodeGone as gone:
                    logger.warning("a step is assigned again: %s", gone)
                    self._directory.forget(gone.key)
                    self._finder.forget(gone.key)
                    step = step.model_copy(update={"recovered": True})  # its worker comes back later than the catalog
        except RojakError as error:
            result = error_of(error)
            missing = missing_code(step, result) if not step.awaits_code else None
            return missing or result

    async def _run(
        self, assignment: Assignment, entry: FunctionEntry | ProviderEntry | None, on_delta: OnDelta | None
    ) -> StepResult:
        """One attempt, where it belongs.

        Raises:
            CodeGone: Nothing has started.
        """
        step = assignment.step
        if isinstance(entry, ProviderEntry):
            return await self._retrieve(assignment, entry)
        if entry is not None and not entry.is_async:
            return await self._run_function(assignment, entry)
        if self._code is not None and isinstance(step, CallModel) and self._is_built_in(step):
            return await self._ask_model(self._code, assignment, on_delta)
        limit = _timeout_of(step) + (_KEEPING_S if assignment.keeping is not None else 0.0)
        return await self._run_on_worker(assignment, limit, on_delta)

    async def _when_reachable(self, find: Callable[[], Awaitable[T]]) -> T:
        """What `find` finds. The step has not started, so a cluster under repair costs it time and nothing else."""
        deadline = self._clock.monotonic() + _REPAIR_WAIT_S
        while True:
            try:
                return await find()
            except StoreUnavailable as error:
                if self._clock.monotonic() > deadline:
                    raise
                logger.warning("a step waits for the cluster to be repaired: %s", error)
                await self._clock.sleep(_POLL_S)

    async def _assign(self, step: Step) -> tuple[Assignment, FunctionEntry | ProviderEntry | None]:
        """Find the code a step needs; for a function call or a retrieval, also how that is run.

        Raises:
            CodeNotFound: Nobody has registered it, or it was waited for in vain.
        """
        await self._directory.up_to_date()
        refs = functions_of(step)
        entries = await self._waiting(step, functools.partial(self._entries, step.agent.name, refs))
        functions = [
            AssignedFunction(ref=ref, key=entry.key, program=entry.program)
            for ref, entry in zip(refs, entries, strict=True)
        ]
        if isinstance(step, CallFunction | RenderInstructions):
            # Without an entry the runner tells the model that there is no such function.
            entry = entries[0] if isinstance(step, CallFunction) and entries else None
            keeping = self._keeping if isinstance(step, CallFunction) and step.plan.keep_result else None
            return Assignment(step=step, functions=tuple(functions), keeping=keeping), entry
        if not all(entry.is_async for entry in entries):
            self.warm_up()  # while the model thinks
        provider = await self._waiting(step, functools.partial(self._provider_when_known, step))
        key = provider.key if provider is not None else None
        assignment = Assignment(step=step, functions=tuple(functions), provider=key)
        return assignment, provider if isinstance(step, Retrieve) else None

    async def _waiting(self, step: Step, find: Callable[[], Awaitable[T]]) -> T:
        """What `find` finds, waiting for it once it is recorded that the step waits."""
        deadline = self._clock.monotonic() + patience(self._settings, step)
        while True:
            try:
                return await find()
            except CodeNotFound:
                if not step.awaits_code or self._clock.monotonic() > deadline:
                    raise
            await self._clock.sleep(_POLL_S)
            await self._directory.refresh(0.0)

    async def _entries(self, agent: str, refs: Sequence[FunctionRef]) -> list[FunctionEntry]:
        found = await self._finder.find(refs, self._directory.known.version) if refs else []
        for ref, entry in zip(refs, found, strict=True):
            if entry is None:
                raise FunctionNotFound(f"{not_found_text(ref)} (agent {agent!r})", missing=ref.name)
        return [entry for entry in found if entry is not None]

    async def _provider_when_known(self, step: Step) -> ProviderEntry | None:
        return self._provider(step)

    def _provider(self, step: Step) -> ProviderEntry | None:
        """Who answers; None for a built-in provider that nobody has registered.

        Raises:
            ProviderNotFound: Nobody is known who may.
        """
        if isinstance(step, CallModel) and step.provider is not None:
            captured = self._directory.known.captured.get(step.provider)
            if captured is None:
                raise program_gone(step.agent.type)
            return captured
        retrieves = isinstance(step, Retrieve)
        kind, type_name = ("retriever", step.retriever.type) if retrieves else ("agent", step.agent.type)
        found = self._directory.known.providers.get((kind, type_name))
        if found is None and (retrieves or type_name not in BUILTIN_TYPES):
            raise nobody_serves(kind, type_name)
        return found

    def _is_built_in(self, step: CallModel) -> bool:
        entry = self._provider(step)
        return entry is None or entry.built_in

    async def _ask_model(self, code: CodeCache, assignment: Assignment, on_delta: OnDelta | None) -> StepResult:
        """Ask a built-in provider from here. No user code is loaded: the directory has what models are shown."""
        await code.fetch((), assignment.provider)
        sources = _OffersOnly(self._finder, code, assignment)
        refer = functools.partial(code.refer, assignment.program)
        runner = StepRunner(sources, sources, refer, self._pace, self._user_code)
        return await runner.execute(assignment.step, on_delta)

    async def _run_on_worker(self, assignment: Assignment, limit: float, on_delta: OnDelta | None = None) -> StepResult:
        name = await self._when_reachable(self._step_worker)
        worker = self._workers[name]
        linking = self._linkings.setdefault(name, Linking(worker))
        link = linking.link if on_delta is None else None
        if link is not None:
            result = await self._execute_over(link, assignment, limit)
        elif on_delta is None:
            reference: Any = worker.execute.remote(assignment.pack())
            result = await self._await_result(assignment.step, reference, reference, limit)
        else:
            reference = worker.stream.options(num_returns="streaming").remote(assignment.pack())
            result = await self._await_result(assignment.step, reference, _last_item(reference, on_delta), limit)
        linking.begin()
        if isinstance(result, StepError) and result.lost:
            self._lost_at[name] = self._clock.monotonic()
        return result

    async def _retrieve(self, assignment: Assignment, entry: ProviderEntry) -> StepResult:
        limit = min(_timeout_of(assignment.step), entry.timeout_s or math.inf)
        if not entry.exclusive:
            return await self._run_on_worker(assignment, limit)
        deadline = self._clock.monotonic() + limit
        while True:
            owner = await self._actor(RETRIEVERS)
            reference: Any = owner.execute.remote(assignment.pack())
            result = await self._await_result(assignment.step, reference, reference, limit)
            is_lost = isinstance(result, StepError) and result.lost
            if not is_lost or self._clock.monotonic() > deadline:
                return result
            self._workers.pop(RETRIEVERS, None)
            await self._clock.sleep(_POLL_S)  # Ray is starting it again, and a retrieval may be repeated

    async def _run_function(self, assignment: Assignment, entry: FunctionEntry) -> StepResult:
        options = _task_options(entry)
        shape = json.dumps(options, sort_keys=True, default=str)
        if shape not in self._starters:
            missing = await self._missing_resources(options)
            if missing:
                return StepError(
                    error_type="ResourcesUnavailable",
                    message=f"{entry.ref.name} needs {missing}, which no node of the cluster offers.",
                )
            self._starters[shape] = await self._starter(options)
        # No deadline here: a call may wait for a CPU, and its own clock starts when it has one. The cluster has the
        # resources, and the process ends itself when the function overruns.
        try:
            return unpack_result(await self._functions.call(shape, self._starters[shape], assignment.pack()))
        except FunctionProcessLost as error:
            limit = _timeout_of(assignment.step)
            if error.after_s is not None and error.after_s > limit:
                return _overrun(entry.ref.name, limit)
            return lost(error.__cause__, f"the call to {entry.ref.name}", began=error.after_s is not None)

    async def _starter(self, options: dict[str, Any]) -> Callable[[str], FunctionProcess]:
        """How a task with these options is started."""
        self._functions.suit((await asyncio.to_thread(ray.cluster_resources)).get("CPU", 0.0))
        task: Any = run_functions.options(**options)  # making one takes half as long as a short task
        link = await self._link_name()

        def start(name: str) -> FunctionProcess:
            return _Task(task.remote(Lease(self._ray_namespace, self._host, link, name).pack()))

        return start

    async def _execute_over(self, link: Link, assignment: Assignment, limit_s: float) -> StepResult:
        """What a step worker of this machine makes of it; it stops if nobody waits any more."""
        try:
            async with asyncio.timeout(limit_s + _REPLY_GRACE_S):
                content = await link.request(Kind.EXECUTE, assignment.pack(), cancels=True)
        except TimeoutError:
            return _no_reply(limit_s)
        except LinkLost as error:
            return lost(error, f"step {assignment.step.step_id}")
        if isinstance(content, bytes):
            return unpack_result(content)
        raise content or InternalError("A step worker gave no result.")

    async def _await_result(self, step: Step, reference: Any, packed: Awaitable[bytes], limit_s: float) -> StepResult:
        """The result that `packed` gives, of the call behind `reference`, which is cancelled if nobody waits for it."""
        what = f"step {step.step_id}"
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(limit_s + _REPLY_GRACE_S):
                return unpack_result(await packed)
        except asyncio.CancelledError:
            ray.cancel(reference)
            raise
        except TimeoutError:
            ray.cancel(reference)
            return _no_reply(limit_s)
        except RayTaskError as error:
            return failed(error, what)
        except RayError as error:
            late = self._clock.monotonic() - started > limit_s
            return _overrun("it", limit_s) if late else lost(error, what)

    async def _step_worker(self) -> str:
        """The step workers in turn, those that were lost lately only if there are no others."""
        names = self._directory.known.step_workers
        if not names:
            await self._directory.refresh(0.0)
            names = self._directory.known.step_workers
        if not names:
            raise StoreUnavailable("The cluster has no step worker yet.")
        since = self._clock.monotonic() - _AVOID_S
        names = [name for name in names if self._lost_at.get(name, since) <= since] or list(names)
        name = names[next(self._turn) % len(names)]
        await self._actor(name)
        return name

    async def _actor(self, name: str) -> ActorHandle[Any]:
        if name not in self._workers:
            try:
                self._workers[name] = await asyncio.to_thread(ray.get_actor, name, self._ray_namespace)
            except ValueError as error:
                self._lost_at[name] = self._clock.monotonic()
                raise StoreUnavailable(f"The actor {name} is gone: {error}") from error
        return self._workers[name]

    async def _missing_resources(self, options: dict[str, Any]) -> str:
        """What a task asks for that no node could ever give; waited for, since a cluster may be growing."""
        wanted = {
            **{name: float(value) for name, value in (options.get("resources") or {}).items()},
            **({"GPU": float(options["num_gpus"])} if options.get("num_gpus") else {}),
            **({"CPU": float(options["num_cpus"])} if (options.get("num_cpus") or 0) > 1 else {}),
        }
        deadline = self._clock.monotonic() + _PLACEMENT_WAIT_S
        while wanted:
            nodes = [node["Resources"] for node in await asyncio.to_thread(ray.nodes) if node["Alive"]]
            if any(all(node.get(name, 0.0) >= amount for name, amount in wanted.items()) for node in nodes):
                return ""
            if self._clock.monotonic() > deadline:
                return ", ".join(f"{name}={amount:g}" for name, amount in wanted.items())
            await self._clock.sleep(1.0)
        return ""


class _OffersOnly(AssignedSources):
    """Sources for a model call that loads no functions."""

    def __init__(self, finder: FunctionFinder, code: CodeCache, assignment: Assignment) -> None:
        super().__init__(code, assignment)
        self._finder = finder

    async def offer(self, ref: FunctionRef) -> Offer:
        entry = self._finder.known(ref)
        if entry is None or entry.offer is None:
            raise FunctionNotFound(f"Function {ref.name} not found")
        return entry.offer


def functions_of(step: Step) -> Sequence[FunctionRef]:
    """The functions that a step runs, or shows to a model."""
    if isinstance(step, CallFunction):
        return [ref for ref in step.agent.functions if ref.name == step.call.name]
    if isinstance(step, RenderInstructions):
        return [step.function]
    return step.agent.functions if isinstance(step, CallModel) else ()


async def _last_item(items: Any, on_delta: OnDelta) -> bytes:
    """Pass a stream's text on as it comes; its packed result."""
    async for reference in items:
        item = unpack_item(await reference)
        if isinstance(item, bytes):
            return item
        on_delta(item)
    raise InternalError("A stream of a step worker ended without a result.")


class _Task:
    """A task that takes calls."""

    def __init__(self, reference: Any) -> None:
        self._reference = reference

    async def ended(self) -> None:
        await self._reference

    def kill(self) -> None:
        ray.cancel(self._reference, force=True)


def _no_reply(limit_s: float) -> StepError:
    return timed_out(f"no reply in time ({limit_s:g} s)")


def _overrun(name: str, limit_s: float) -> StepError:
    return timed_out(f"{overran(name, limit_s)} Its process was ended.")


def _timeout_of(step: Step) -> float:
    if isinstance(step, CallModel):
        return 2 * step.agent.retry.timeout_s  # the first half is for finding a place among the calls: `slot`
    if not isinstance(step, CallFunction):
        return step.agent.retry.timeout_s
    return step.plan.timeout_s or step.agent.retry.timeout_s


def _task_options(entry: FunctionEntry) -> dict[str, Any]:
    settings = entry.settings
    given = {
        "num_cpus": settings.num_cpus,
        "num_gpus": settings.num_gpus,
        "memory": settings.memory,
        "resources": dict(settings.resources) or None,
        "runtime_env": dict(settings.runtime_env) if settings.runtime_env is not None else None,
    }
    return {"name": "functions", **{k: v for k, v in given.items() if v is not None}}
