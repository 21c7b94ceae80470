"""What computes: synchronous functions in ordinary Ray tasks, with the functions' own resources."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
import threading
from collections.abc import Callable, Generator
from dataclasses import astuple, dataclass
from typing import Any, cast

import ray

from rojak_ray.agents.invoke import FunctionOutcome, invoke_sync
from rojak_ray.clock import SystemClock
from rojak_ray.core.steps import CallFunction, FunctionResult, StepError, StepResult
from rojak_ray.errors import InternalError, RojakError
from rojak_ray.runtime.assignment import Assignment, CodeGone, pack_gone, pack_result
from rojak_ray.runtime.catalog_access import CatalogAccess
from rojak_ray.runtime.code import AssignedSources, CodeCache
from rojak_ray.runtime.frames import Kind
from rojak_ray.runtime.function_pool import pack_taking
from rojak_ray.runtime.keeping import Keepers
from rojak_ray.runtime.link import BlockingLink
from rojak_ray.runtime.step_worker import publish
from rojak_ray.sessions.failures import OutOfTime, error_of, overran
from rojak_ray.sessions.keeping import keep_whole
from rojak_ray.sessions.steps import FunctionCall, finished, named_function
from rojak_ray.sessions.user_code import Returned, capture

_GRACE_S = 5.0
_AGAIN_S = 1.0
_WATCH_S = 1.0
_EXIT_CODE = 70
_MOST_LINKS = 8
_NICENESS = 5
"""Of processes that compute: what holds conversations, and Ray itself, comes first where there are too few cores."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What a task needs to take calls from a host."""

    ray_namespace: str
    host: str
    """Ray name of the actor."""

    link: str
    """Of the host, for those on its machine; nothing: it has none."""

    name: str
    """To take calls under."""

    def pack(self) -> bytes:
        """For travelling: one argument is cheaper than four."""
        return json.dumps(astuple(self)).encode()

    @classmethod
    def unpack(cls, packed: bytes) -> Lease:
        """After travelling."""
        return cls(*json.loads(packed))


@ray.remote(max_retries=0)
def run_functions(packed: bytes) -> None:
    """Run function calls of a host in this worker process, one after another, until it has no more: a packed `Lease`.

    Crash safety:
        Ray never repeats it (`max_retries=0`): the journal of whoever asked decides whether a call runs again.
    """
    lease = Lease.unpack(packed)
    process = _process(lease.ray_namespace)
    result = b""
    with process.way_to(lease) as take:
        while (assignment := take(pack_taking(lease.name, result))) is not None:
            result = process.answer(assignment)


def _take_through_ray(host: Any, packed: bytes) -> bytes | None:
    return ray.get(host.take.remote(packed))


def _take(link: BlockingLink, packed: bytes) -> bytes | None:
    content = link.request(Kind.TAKE, packed)
    if isinstance(content, RojakError):
        raise content
    return content


@ray.remote(max_retries=0, num_cpus=0)
def warm_up(ray_namespace: str) -> None:
    """Start a worker process and make ready what a first function call needs."""
    _process(ray_namespace)


@functools.cache
def _process(ray_namespace: str) -> _TaskProcess:
    """What this worker process keeps from task to task."""
    return _TaskProcess(ray_namespace)


class _TaskProcess:
    """Code, an event loop for our own calls, and a watchdog: each would cost more to make than most functions take."""

    def __init__(self, ray_namespace: str) -> None:
        if os.getpriority(os.PRIO_PROCESS, 0) < _NICENESS:
            os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
        catalog = CatalogAccess(ray_namespace)
        self._code = CodeCache(catalog.parcel, catalog.announce)
        self._loop = asyncio.Runner()
        self._watchdog = _Watchdog()
        self._keepers = Keepers()
        self._links: dict[str, BlockingLink] = {}

    @contextlib.contextmanager
    def way_to(self, lease: Lease) -> Generator[Callable[[bytes], bytes | None]]:
        """How to take calls: over the host's link from its own machine, else through Ray."""
        link = self._link(lease.link)
        if link is None:
            yield functools.partial(_take_through_ray, ray.get_actor(lease.host, lease.ray_namespace))
            return
        try:
            yield functools.partial(_take, link)
        except BaseException:
            self._links.pop(lease.link).close()  # nobody knows what its next reply would answer
            raise

    def _link(self, name: str) -> BlockingLink | None:
        """The link to a host, kept from task to task; None if it cannot be reached."""
        if not name:
            return None
        if name not in self._links:
            with contextlib.suppress(OSError):
                self._links[name] = BlockingLink(name)
        while len(self._links) > _MOST_LINKS:
            self._links.pop(next(iter(self._links))).close()
        return self._links.get(name)

    def answer(self, packed: bytes) -> bytes:
        """Run a packed assignment; its packed result."""
        try:
            result = self.call(Assignment.unpack(packed))
        except CodeGone as gone:
            return pack_gone(gone)
        except BaseException as error:  # noqa: BLE001  (the step boundary)
            result = error_of(error)
        return pack_result(self.published(result))

    def call(self, assignment: Assignment) -> StepResult:
        step = assignment.step
        if not isinstance(step, CallFunction):
            raise InternalError(f"A {step.kind} step cannot run as a task.")
        ref = named_function(step)
        assigned = assignment.assigned(ref)
        definition = self._code.function_if_loaded(assigned) if assigned is not None else None
        if definition is None:
            self._loop.run(self._code.fetch(assignment.functions, assignment.provider))
            definition = self._loop.run(AssignedSources(self._code, assignment).resolve(ref))
        call = FunctionCall(step, definition)
        outcome = _in_time(call, step.call.name, self._watchdog)
        if isinstance(outcome, StepError):
            return outcome
        result = finished(outcome, functools.partial(self._code.refer, assignment.program))
        if outcome.whole is None or assignment.keeping is None or not isinstance(result, FunctionResult):
            return result
        return self._loop.run(keep_whole(self._keepers.at(assignment.keeping), step, outcome.whole, result))

    def published(self, result: StepResult) -> StepResult:
        """The result, once everything it names is known to the catalog."""
        return self._loop.run(publish(self._code, result)) if self._code.met_any else result


class _Watchdog:
    """Ends the process when a function takes no notice of its time limit.

    Code that never comes back to the interpreter cannot be interrupted; ending the process frees the worker, and
    whoever asked learns that it was lost after its time.
    """

    def __init__(self) -> None:
        self._deadline: float | None = None
        self._clock = SystemClock()
        threading.Thread(target=self._watch, name="rojak-watchdog", daemon=True).start()

    def arm(self, seconds: float) -> None:
        self._deadline = self._clock.monotonic() + seconds

    def disarm(self) -> None:
        self._deadline = None

    def _watch(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(_WATCH_S)
            deadline = self._deadline
            if deadline is not None and self._clock.monotonic() > deadline:
                os._exit(_EXIT_CODE)


def _in_time(call: FunctionCall, name: str, watchdog: _Watchdog) -> FunctionOutcome | StepError:
    """Make a call in the main thread, where Ray runs tasks and Python its signal handlers; past its limit it is told.

    The alarm rings again and again, because the first may be swallowed: by an `except BaseException`, by a callback.
    """
    overrun = OutOfTime(overran(name, call.limit_s))
    running, late = True, False

    def on_alarm(*_: Any) -> None:
        nonlocal late
        late = True
        if running:
            raise overrun

    before = signal.signal(signal.SIGALRM, on_alarm)
    watchdog.arm(call.limit_s + _GRACE_S)
    signal.setitimer(signal.ITIMER_REAL, call.limit_s, _AGAIN_S)
    try:
        outcome = capture(lambda: invoke_sync(call.definition, call.arguments()), call.read)
        running = False
    except OutOfTime as error:  # it rang between two lines of ours
        outcome = error_of(error)
    finally:
        running = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        watchdog.disarm()
        signal.signal(signal.SIGALRM, before)
    if late:
        return error_of(overrun)
    return outcome.value if isinstance(outcome, Returned) else cast("StepError", outcome)
