"""A deterministic event loop: virtual time, no threads, and lanes that stand for processes.

Every callback belongs to the lane in whose context it was scheduled. Lanes take turns as the seed has it; within one,
order is asyncio's. A frozen lane keeps its callbacks until it is thawed, like a process that was stopped; a killed one
never runs again. Time goes on only when nobody has anything to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any, TypeVar

Result = TypeVar("Result")


class Stuck(Exception):
    """Virtual time ran out, or nothing will ever happen again."""


class Lane:
    """What runs in one process."""

    __slots__ = ("context", "dead", "frozen", "name", "ready")

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: deque[Handle] = deque()
        self.frozen = False
        self.dead = False
        self.context: Context = copy_context()
        self.context.run(LANE.set, self)

    def __repr__(self) -> str:
        return self.name


class _Ended(asyncio.Future[Any]):
    """Stands for a task that will not run."""

    def set_name(self, name: object) -> None:
        """As a task has it."""


LANE: ContextVar[Lane] = ContextVar("lane")


class Handle:
    """A callback that waits for its turn."""

    __slots__ = ("args", "callback", "context", "gone", "lane", "time")

    def __init__(
        self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context, lane: Lane, time: float
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.lane = lane
        self.time = time
        self.gone = False

    def cancel(self) -> None:
        self.gone = True

    def cancelled(self) -> bool:
        return self.gone

    def when(self) -> float:
        return self.time


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs until a coroutine is done. Made for one schedule and closed with it."""

    def __init__(self, random: Random) -> None:
        self.complaints: list[str] = []
        """What a real loop would have logged: exceptions nobody looked at."""

        self.world = Lane("world")
        self._random = random.random
        self._now = 0.0
        self._turns = 0
        self._active: list[Lane] = []
        self._timers: list[tuple[float, int, Handle]] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._closed = False

    def run(self, main: Coroutine[Any, Any, Result], deadline: float) -> Result:
        """The coroutine's result, in the world's lane."""
        asyncio._set_running_loop(self)
        try:
            task = self.create_task(main, context=self.world.context)
            while True:
                self._run_ready()
                if task.done():
                    break
                self._go_on(deadline)
            return task.result()
        finally:
            self.close()

    def _run_ready(self) -> None:
        """Until nobody has anything to do."""
        active, random = self._active, self._random
        while active:
            index = int(random() * len(active)) if len(active) > 1 else 0
            lane = active[index]
            ready = lane.ready
            handle = ready.popleft()
            if not ready:
                del active[index]
            if not handle.gone:
                try:
                    handle.context.run(handle.callback, *handle.args)
                except Exception as error:  # noqa: BLE001  (as a real loop does)
                    self.complaints.append(f"{lane}: {error!r}")

    def _go_on(self, deadline: float) -> None:
        """To the next moment at which somebody has."""
        while self._timers:
            when, _, handle = heapq.heappop(self._timers)
            if handle.gone or handle.lane.dead:
                continue
            if when > deadline:
                raise Stuck(f"nothing was settled within {deadline:g} s of virtual time")
            self._now = when
            self._schedule(handle)
            return
        raise Stuck("everybody waits for ever")

    def _schedule(self, handle: Handle) -> None:
        lane = handle.lane
        if lane.dead or self._closed:
            return
        if not lane.ready and not lane.frozen:
            self._active.append(lane)
        lane.ready.append(handle)

    def kill(self, lane: Lane) -> None:
        """Nothing of this lane runs from now on; what it sent is on its way."""
        lane.dead = True
        lane.ready.clear()
        if lane in self._active:
            self._active.remove(lane)

    def freeze(self, lane: Lane) -> None:
        lane.frozen = True
        if lane in self._active:
            self._active.remove(lane)

    def thaw(self, lane: Lane) -> None:
        lane.frozen = False
        if lane.ready and not lane.dead:
            self._active.append(lane)

    def close(self) -> None:
        """Take down whatever is left, so that nothing of it runs when memory is reclaimed.

        That runs the `finally` of what a process left, which no killed process does: what is begun there ends at once.
        """
        self._closed = True
        asyncio._set_running_loop(self)
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                with contextlib.suppress(BaseException):
                    task.get_coro().close()  # type: ignore[union-attr]
        asyncio._set_running_loop(None)
        self._tasks.clear()
        self._timers.clear()
        self._active.clear()

    # What asyncio needs of a loop.

    def time(self) -> float:
        return self._now

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Any:
        lane = LANE.get() if context is None else context[LANE]
        handle = Handle(callback, args, context or copy_context(), lane, self._now)
        self._schedule(handle)
        return handle

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Any:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Any:
        lane = LANE.get() if context is None else context[LANE]
        handle = Handle(callback, args, context or copy_context(), lane, when)
        self._turns += 1
        heapq.heappush(self._timers, (max(when, self._now), self._turns, handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Context | None = None) -> Any:
        if self._closed:
            coro.close()
            return _Ended(loop=self)
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name or "", context=context)
        self._tasks.append(task)
        return task

    def is_running(self) -> bool:
        return not self._closed

    def is_closed(self) -> bool:
        return self._closed

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self._closed:
            self.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")
