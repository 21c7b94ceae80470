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
from rojak_ray.core.steps import CallFunction, StepResult
from rojak_ray.errors import InternalError
from rojak_ray.runtime.assignment import Assignment, pack_result
from rojak_ray.runtime.catalog_access import CatalogAccess
from rojak_ray.runtime.code import AssignedSources, CodeCache
from rojak_ray.runtime.step_worker import publish
from rojak_ray.sessions.steps import error_of, finish_call, named_function, prepare_call

_GRACE_S = 5.0
_EXIT_CODE = 70


@ray.remote(max_retries=0)
def run_function(ray_namespace: str, packed: bytes) -> bytes:
    """Run a function call in this worker process: a packed assignment in, a packed result out.

    Crash safety:
        Ray never repeats it (`max_retries=0`): the journal of whoever asked decides whether it runs again.
    """
    code = _process_code(ray_namespace)
    try:
        result = _call(code, Assignment.unpack(packed))
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001  (the step boundary)
        result = error_of(error)
    return pack_result(_loop().run(publish(code, result)))


@ray.remote(max_retries=0, num_cpus=0)
def warm_up() -> None:
    """Start a worker process and import what a first function call needs."""


@functools.cache
def _process_code(ray_namespace: str) -> CodeCache:
    """This worker process's code, kept from task to task."""
    catalog = CatalogAccess(ray_namespace)
    return CodeCache(catalog.parcel, catalog.announce)


@functools.cache
def _loop() -> asyncio.Runner:
    """This worker process's event loop for our own calls; making one for each task costs more than the task."""
    return asyncio.Runner()


def _call(code: CodeCache, assignment: Assignment) -> StepResult:
    step = assignment.step
    if not isinstance(step, CallFunction):
        raise InternalError(f"A {step.kind} step cannot run as a task.")
    definition = _loop().run(AssignedSources(code, assignment).resolve(named_function(step)))
    prepared = prepare_call(step, definition)
    with _time_limit(prepared.timeout_s, step.call.name):
        value = invoke_sync(definition, prepared.arguments)
    return finish_call(step, prepared, value, code.refer)


@contextlib.contextmanager
def _time_limit(seconds: float, name: str) -> Generator[None]:
    """Raise TimeoutError in the main thread, where Ray runs tasks; end the process if the function takes no notice.

    Code that never comes back to the interpreter cannot be interrupted, so a second, harder limit frees the worker.
    """

    def on_alarm(*_: Any) -> None:
        raise TimeoutError(f"{name} did not finish in time ({seconds:g} s).")

    watchdog = threading.Timer(seconds + _GRACE_S, os._exit, [_EXIT_CODE])
    watchdog.daemon = True
    watchdog.start()
    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        watchdog.cancel()
