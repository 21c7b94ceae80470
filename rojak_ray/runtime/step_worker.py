"""`StepWorkerActor`: runs what waits. Thousands of model calls, retrievals and async functions on one event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial

from rojak_ray.agents.activities import OnDelta
from rojak_ray.concurrency import cancelled_by_us
from rojak_ray.core.steps import FunctionResult, StepResult
from rojak_ray.errors import RojakError
from rojak_ray.runtime.assignment import Assignment, CodeGone, pack_gone, pack_last, pack_result, pack_text
from rojak_ray.runtime.catalog_access import CatalogAccess
from rojak_ray.runtime.code import AssignedSources, CodeCache
from rojak_ray.runtime.frames import Kind
from rojak_ray.runtime.keeping import Keepers
from rojak_ray.runtime.link import LinkServer
from rojak_ray.sessions.failures import describe, error_of
from rojak_ray.sessions.pieces import Pace
from rojak_ray.sessions.steps import StepRunner, not_handed_over
from rojak_ray.sessions.user_code import UserCode

_EXIT_CODE = 70


@dataclass(frozen=True, slots=True)
class StepWorkerStatistics:
    """A look at one step worker."""

    running: int
    finished: int


class StepWorkerActor:
    """A plain class; `ray.remote` makes it an actor."""

    def __init__(self, ray_namespace: str) -> None:
        """Keep nothing but code and connections: whatever is lost with this process is asked again."""
        catalog = CatalogAccess(ray_namespace)
        self._code = CodeCache(catalog.parcel, catalog.announce)
        self._pace = Pace()
        self._user_code = UserCode()
        self._keepers = Keepers()
        self._link = LinkServer({Kind.EXECUTE: self.execute})
        self._running = 0
        self._finished = 0
        self._ending: threading.Thread | None = None

    async def execute(self, packed: bytes) -> bytes:
        """Run one attempt of a step: a packed assignment in, a packed result out. Cancelling the call cancels the work.

        Crash safety:
            Nothing is kept; the caller's journal decides whether the step runs again.
        """
        return await self._run(packed, None)

    async def link(self) -> str:
        """Where hosts on this machine may bring what `execute` takes: see `LinkServer.name`."""
        return await self._link.name()

    async def stream(self, packed: bytes) -> AsyncGenerator[bytes, None]:
        """Run one attempt of a model call and yield its text in pieces, packed, then its result.

        Crash safety: as of `execute`.
        """
        texts: asyncio.Queue[str | None] = asyncio.Queue()
        running = asyncio.create_task(self._run(packed, texts.put_nowait))
        running.add_done_callback(lambda _: texts.put_nowait(None))
        try:
            while (text := await texts.get()) is not None:
                yield pack_text(text)
            yield pack_last(running.result())
        finally:
            running.cancel()
            await asyncio.wait([running])

    async def _run(self, packed: bytes, on_delta: OnDelta | None) -> bytes:
        if self._ending is None:
            self._ending = threading.Thread(target=_end_with, args=(threading.current_thread(),), daemon=True)
            self._ending.start()
        self._running += 1
        try:
            assignment = Assignment.unpack(packed)
            try:
                await self._code.fetch(assignment.functions, assignment.provider)
            except CodeGone as gone:
                return pack_gone(gone)
            except RojakError as error:
                return pack_result(error_of(error))
            sources = AssignedSources(self._code, assignment)
            refer = partial(self._code.refer, assignment.program)
            keeper = self._keepers.at(assignment.keeping) if assignment.keeping is not None else None
            runner = StepRunner(sources, sources, refer, self._pace, self._user_code, keeper)
            result = await runner.execute(assignment.step, on_delta)
            return pack_result(await publish(self._code, result))
        finally:
            self._running -= 1
            self._finished += 1

    async def statistics(self) -> StepWorkerStatistics:
        """Counts for people."""
        return StepWorkerStatistics(self._running, self._finished)


def _end_with(loop: threading.Thread) -> None:
    """End the process when the thread of its event loop has ended: user code can do that, and Ray does not notice."""
    loop.join()
    os._exit(_EXIT_CODE)


class RetrieverActor(StepWorkerActor):
    """The one process of an installation that asks exclusive retrievers, such as those over a locked file.

    When it is lost, Ray starts it again and the next question opens the file again.
    """


async def publish(code: CodeCache, result: StepResult) -> StepResult:
    """Make functions of a handed-over agent known before the result names them."""
    try:
        await code.publish_met()
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and cancelled_by_us():
            raise
        # Shipping runs code of whatever the functions refer to. The function that handed over has run all the same.
        if not isinstance(result, FunctionResult):
            return error_of(error)
        return result.model_copy(update={"agent": None, "output": not_handed_over(describe(error))})
    return result
