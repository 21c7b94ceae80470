"""`FunctionPool`: Ray tasks that run one function call after another, so that Ray is not asked for each.

Asking Ray for a process with certain resources, and giving it back, takes 2 ms, more than most functions need. So a
task takes calls from its host as long as there are any, as Ray itself goes on with a lease for equal tasks that wait.
It is still a task with the function's own resources, and nothing about a call depends on those before it.

Resources that nobody uses are lent for moments only: a task that finds nothing to do goes at once if another shape
wants one, else after `LINGER_S`; and none stays longer than `LIFE_S` while it works, so that others have their turn.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from rojak_ray.clock import Clock

LINGER_S = 0.025
LIFE_S = 0.5
LEAST_STARTING, MOST_STARTING = 2, 16
"""Tasks of one shape that Ray has not started yet. More would only wait there instead of here, and what else it has to
start, such as an actor that was lost, would wait behind them."""


def pack_taking(name: str, result: bytes) -> bytes:
    """What a task brings when it takes a call: the name it takes calls under, and the result of its last."""
    return name.encode() + b"\n" + result


class FunctionProcess(Protocol):
    """A task that takes calls."""

    async def ended(self) -> None:
        """Return once it has ended.

        Raises:
            Exception: It was lost, or never started.
        """
        ...

    def kill(self) -> None:
        """End it, whatever it does."""
        ...


class FunctionProcessLost(Exception):
    """The process of a call ended before the call did, or could not be had. What Ray said of it is the cause."""

    def __init__(self, after_s: float | None) -> None:
        """How long the call had been running; None: no process had got it."""
        super().__init__("under way" if after_s is not None else "before it began")
        self.after_s = after_s


@dataclass(slots=True, eq=False)
class _Call:
    packed: bytes
    result: asyncio.Future[bytes]
    started_at: float | None = None

    def fail(self, error: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(error)


@dataclass(slots=True, eq=False)
class _Shape:
    """Calls that want the same resources, and the tasks that have them."""

    start: Callable[[str], FunctionProcess]
    waiting: deque[_Call] = field(default_factory=deque[_Call])
    idle: list[_Lease] = field(default_factory=list["_Lease"])
    starting: int = 0

    def forget_cancelled(self) -> None:
        """A caller that is cancelled has no use for its call from that moment, which is before it runs again itself."""
        while self.waiting and self.waiting[0].result.done():
            self.waiting.popleft()


@dataclass(slots=True, eq=False)
class _Lease:
    name: str
    shape: _Shape
    process: FunctionProcess
    started_at: float | None = None
    call: _Call | None = None
    taker: asyncio.Future[bytes | None] | None = None
    """Waits for a call to do next."""

    timer: asyncio.TimerHandle | None = None
    doomed: bool = False


class FunctionPool:
    """The function calls of one host, on any number of tasks."""

    def __init__(self, clock: Clock, life: str) -> None:
        """`life` tells this pool's tasks from those of an earlier one."""
        self._clock = clock
        self._life = life
        self._numbers = itertools.count()
        self._shapes: dict[str, _Shape] = {}
        self._leases: dict[str, _Lease] = {}
        self._watching: set[asyncio.Task[None]] = set()
        self._most_starting = MOST_STARTING

    def suit(self, cpus: float) -> None:
        """The cluster has so many CPUs; it starts about as many processes at once."""
        self._most_starting = min(max(LEAST_STARTING, int(cpus)), MOST_STARTING)

    async def call(self, key: str, start: Callable[[str], FunctionProcess], packed: bytes) -> bytes:
        """The packed result of a packed call, once a task has run it. Cancelling ends the process that runs it.

        Args:
            key: Of the shape: calls of one shape can be run by the same task.
            start: Have Ray start a task of that shape, which will take calls under the name that is given.
            packed: What the task is handed.

        Raises:
            FunctionProcessLost: It was handed out at most once, and there will be no result.
            Exception: What `start` raised.
        """
        shape = self._shapes.setdefault(key, _Shape(start))
        call = _Call(packed, asyncio.get_running_loop().create_future())
        shape.waiting.append(call)
        self._hand_out(shape)
        try:
            return await call.result
        except asyncio.CancelledError:
            if call in shape.waiting:
                shape.waiting.remove(call)
            for lease in [each for each in self._leases.values() if each.call is call]:
                lease.doomed = True
                lease.process.kill()
            raise

    async def take(self, packed: bytes) -> bytes | None:
        """For a task: bring the result of its last call (nothing: it has just started); the next call, or None to end.

        Crash safety:
            A call is handed out once. If the answer to this is lost, so is the task, and with it the call.
        """
        name, _, result = packed.partition(b"\n")
        lease = self._leases.get(name.decode())
        if lease is None:
            return None
        now = self._clock.monotonic()
        first = lease.started_at is None
        if lease.started_at is None:
            lease.started_at = now
            lease.shape.starting -= 1
        call, lease.call = lease.call, None
        if call is not None and not call.result.done():
            call.result.set_result(result)
        superfluous = not lease.shape.waiting and (first or self._wanted_elsewhere())
        if superfluous or lease.doomed or now - lease.started_at > LIFE_S:
            self._start_more(lease.shape)
            return None
        taker: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        lease.taker = taker
        lease.shape.idle.append(lease)
        self._hand_out(lease.shape)
        if not taker.done():
            lease.timer = asyncio.get_running_loop().call_later(LINGER_S, self._let_go, lease)
        try:
            return await taker
        except asyncio.CancelledError:  # it is gone; Ray will say why
            lease.doomed = True
            self._let_go(lease)
            raise

    def _hand_out(self, shape: _Shape) -> None:
        """Give calls that wait to tasks that do too, and have more of these started if they are too few."""
        shape.forget_cancelled()
        while shape.waiting and shape.idle:
            lease = shape.idle[-1]  # the latest, so that those too many find nothing to do
            if self._clock.monotonic() - (lease.started_at or 0.0) > LIFE_S:
                self._let_go(lease)
                continue
            call = lease.call = shape.waiting.popleft()
            call.started_at = self._clock.monotonic()
            self._answer(lease, call.packed)
            shape.forget_cancelled()
        self._start_more(shape)

    def _start_more(self, shape: _Shape) -> None:
        shape.forget_cancelled()
        if shape.waiting:
            for other in self._shapes.values():
                for lease in list(other.idle):
                    self._let_go(lease)
        while shape.starting < min(len(shape.waiting), self._most_starting):
            name = f"{self._life}/{next(self._numbers)}"
            try:
                lease = self._leases[name] = _Lease(name, shape, shape.start(name))
            except Exception as error:  # noqa: BLE001  (whoever waits is told)
                shape.waiting.popleft().fail(error)
                continue
            shape.starting += 1
            task = asyncio.create_task(self._watch(lease), name="watch a function process")
            self._watching.add(task)
            task.add_done_callback(self._watching.discard)

    def _wanted_elsewhere(self) -> bool:
        return any(shape.waiting for shape in self._shapes.values())

    def _let_go(self, lease: _Lease) -> None:
        self._answer(lease, None)

    def _answer(self, lease: _Lease, packed: bytes | None) -> None:
        """Let an idle task go on, with a call or to its end."""
        if lease in lease.shape.idle:
            lease.shape.idle.remove(lease)
        if lease.timer is not None:
            lease.timer.cancel()
            lease.timer = None
        taker, lease.taker = lease.taker, None
        if taker is not None and not taker.done():
            taker.set_result(packed)

    async def _watch(self, lease: _Lease) -> None:
        """Wait until a task has ended; if it owes a result, or never came, say so to whoever waits."""
        cause: Exception | None = None
        try:
            await lease.process.ended()
        except Exception as error:  # noqa: BLE001  (whatever Ray says is for the caller to read)
            cause = error
        shape = lease.shape
        del self._leases[lease.name]
        self._let_go(lease)
        if lease.started_at is not None:
            self._fail(lease.call, cause)
        else:
            shape.starting -= 1
            self._fail(shape.waiting.popleft() if shape.waiting else None, cause)
        self._start_more(shape)

    def _fail(self, call: _Call | None, cause: Exception | None) -> None:
        if call is not None:
            began = call.started_at
            error = FunctionProcessLost(self._clock.monotonic() - began if began is not None else None)
            error.__cause__ = cause
            call.fail(error)
