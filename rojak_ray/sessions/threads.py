"""`Threads`: where synchronous code runs that may block, or never end.

A thread cannot be stopped. One whose code overran its limit is given up: it keeps running, but its place goes to
others, and neither the event loop nor the end of the program waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rojak_ray.logs import get_logger
from rojak_ray.sessions.failures import error_of

logger = get_logger(__name__)

MOST_THREADS = 256
_LINGER_S = 10.0


@dataclass(slots=True, eq=False)
class _Job:
    call: Callable[[], Any]
    context: contextvars.Context
    loop: asyncio.AbstractEventLoop
    began: asyncio.Future[None]
    ended: asyncio.Future[Any]
    over: bool = False
    """Its thread has no more to do with it: it ended, or was given up and the place of its thread passed on."""

    def tell(self, future: asyncio.Future[Any], value: Any) -> None:
        try:
            self.loop.call_soon_threadsafe(self._settle, future, value)
        except RuntimeError:
            logger.debug("nobody waits for a call any more: its event loop is closed")

    @staticmethod
    def _settle(future: asyncio.Future[Any], value: Any) -> None:
        if not future.done():
            future.set_result(value)


class Threads:
    """Threads of one process, shared by everything in it that runs code which is not ours."""

    def __init__(self, most: int = MOST_THREADS) -> None:
        """No thread is started before there is a call; `most` are used at once, those given up not counted."""
        self._most = most
        self._news = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._idle = 0
        self._count = 0

    async def run(self, call: Callable[[], Any], limit_s: float) -> Any:
        """What `call` returns. Its time begins when it has a thread.

        Args:
            call: What it raises is returned as a `StepError`.
            limit_s: Seconds it may take.

        Raises:
            TimeoutError: It did not return in time; it may still be running.
            asyncio.CancelledError: A call that waits for a thread is never made; one that runs is left to itself.
        """
        loop = asyncio.get_running_loop()
        job = _Job(call, contextvars.copy_context(), loop, loop.create_future(), loop.create_future())
        self._take(job)
        try:
            await job.began
            await asyncio.wait((job.ended,), timeout=limit_s)
        finally:
            if not job.ended.done():
                self._give_up(job)
        if not job.ended.done():
            raise TimeoutError
        return job.ended.result()

    def _take(self, job: _Job) -> None:
        with self._news:
            self._waiting.append(job)
            if self._idle:
                self._news.notify()
            try:
                self._start_more()
            except RuntimeError:  # this process may have no more threads
                if self._count == 0:
                    self._waiting.remove(job)
                    raise
                logger.warning("a call of user code waits: no thread can be started", exc_info=True)

    def _start_more(self) -> None:
        """Have a thread for each call that waits, as far as there may be more. One that starts counts as idle."""
        while len(self._waiting) > self._idle and self._count < self._most:
            threading.Thread(target=self._work, name="rojak-user-code", daemon=True).start()
            self._count += 1
            self._idle += 1

    def _give_up(self, job: _Job) -> None:
        with self._news:
            if job in self._waiting:
                self._waiting.remove(job)
            elif not job.over:
                job.over = True
                self._count -= 1
                with contextlib.suppress(RuntimeError):  # those that wait are served by the other threads
                    self._start_more()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job.tell(job.began, None)
            try:
                result = job.context.run(job.call)
            except BaseException as error:  # noqa: BLE001  (the step boundary)
                result = error_of(error)
            with self._news:
                if job.over:
                    return
                job.over = True
                self._idle += 1
            job.tell(job.ended, result)
            del job, result  # what a call held is not held until the next one

    def _next(self) -> _Job | None:
        """The next call; None if there was none for a while."""
        with self._news:
            found = self._news.wait_for(lambda: self._waiting, _LINGER_S)
            self._idle -= 1
            if found:
                return self._waiting.popleft()
            self._count -= 1
            return None
