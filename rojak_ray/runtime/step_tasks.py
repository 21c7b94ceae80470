"""What computes: a synchronous function as an ordinary Ray task, with the function's own resources."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import threading
from collections.abc import Generator
from typing import Any

import ray

from rojak_ray.agents.invoke import invoke_sync
from rojak_ray.clock import SystemClock
from rojak_ray.core.steps import CallFunction, StepResult
from rojak_ray.errors import InternalError
from rojak_ray.runtime.assignment import Assignment, CodeGone, pack_gone, pack_result
from rojak_ray.runtime.catalog_access import CatalogAccess
from rojak_ray.runtime.code import AssignedSources, CodeCache
from rojak_ray.runtime.step_worker import publish
from rojak_ray.sessions.steps import error_of, finish_call, named_function, prepare_call

_GRACE_S = 5.0
_WATCH_S = 1.0
_EXIT_CODE = 70


@ray.remote(max_retries=0)
def run_function(ray_namespace: str, packed: bytes) -> bytes:
    """Run a function call in this worker process: a packed assignment in, a packed result out.

    Crash safety:
        Ray never repeats it (`max_retries=0`): the journal of whoever asked decides whether it runs again.
    """
    process = _process(ray_namespace)
    try:
        result = process.call(Assignment.unpack(packed))
    except CodeGone as gone:
        return pack_gone(gone)
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001  (the step boundary)
        result = error_of(error)
    return pack_result(process.published(result))


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
        catalog = CatalogAccess(ray_namespace)
        self._code = CodeCache(catalog.parcel, catalog.announce)
        self._loop = asyncio.Runner()
        self._watchdog = _Watchdog()

    def call(self, assignment: Assignment) -> StepResult:
        step = assignment.step
        if not isinstance(step, CallFunction):
            raise InternalError(f"A {step.kind} step cannot run as a task.")
        ref = named_function(step)
        definition = self._code.definition_if_loaded(assignment.key_of(ref) or "")
        if definition is None:
            self._loop.run(self._code.fetch(assignment.keys))
            definition = self._loop.run(AssignedSources(self._code, assignment).resolve(ref))
        prepared = prepare_call(step, definition)
        with _time_limit(prepared.timeout_s, step.call.name, self._watchdog):
            value = invoke_sync(definition, prepared.arguments)
        return finish_call(step, prepared, value, self._code.refer)

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


@contextlib.contextmanager
def _time_limit(seconds: float, name: str, watchdog: _Watchdog) -> Generator[None]:
    """Raise TimeoutError in the main thread, where Ray runs tasks."""

    def on_alarm(*_: Any) -> None:
        raise TimeoutError(f"{name} did not finish in time ({seconds:g} s).")

    before = signal.signal(signal.SIGALRM, on_alarm)
    watchdog.arm(seconds + _GRACE_S)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        watchdog.disarm()
        signal.signal(signal.SIGALRM, before)
