"""`UserCode`: runs code that is not ours, under a limit, and turns whatever comes of it into a value or plain data.

The one guard of the step boundary. Functions, instructions, retrievers and providers all run inside it, on the event
loop if they wait and in a thread if they block; a task of Ray's uses `capture` alone. Nothing that they raise gets out,
and nothing that they refuse to end is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from rojak_ray.core.steps import StepError
from rojak_ray.logs import get_logger
from rojak_ray.messages import weighs_more
from rojak_ray.sessions.failures import Stopped, error_of, overran, timed_out
from rojak_ray.sessions.threads import Threads

logger = get_logger(__name__)

R = TypeVar("R")

CLEANUP_S = 0.5
"""What was cancelled may take so long to put things in order; then it is left."""

_LIGHT_BYTES = 64 * 1024
"""What takes more is read in a thread."""

_IN_USER_CODE: ContextVar[bool] = ContextVar("rojak_in_user_code", default=False)


class StepFailed(Exception):
    """A step ends in this error."""

    def __init__(self, error: StepError) -> None:
        """The error as data."""
        super().__init__(f"{error.error_type}: {error.message}")
        self.error = error


@dataclass(frozen=True, slots=True)
class Returned(Generic[R]):
    """What code gave back."""

    value: R


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Synchronous code gave back something to be awaited."""

    awaitable: Awaitable[Any]


def capture(call: Callable[[], Any], read: Callable[[Any], R]) -> Returned[R] | Unfinished | StepError:
    """Run synchronous code in this thread; what it returned, as `read` sees it. Raises nothing.

    `read` runs here as well because it looks at what is not ours: even to ask an object for its text runs its code.
    """
    try:
        value = call()
        return Unfinished(value) if is_awaitable(value) else Returned(read(value))
    except BaseException as error:  # noqa: BLE001  (the step boundary)
        return error_of(error)


def is_awaitable(value: Any) -> bool:
    """`inspect.isawaitable` of an object that may lie about its class."""
    try:
        return inspect.isawaitable(value)
    except BaseException:  # noqa: BLE001  (`__class__` is a property like any other)
        return False


class UserCode:
    """Runs code that is not ours in this process."""

    def __init__(self, threads: Threads | None = None) -> None:
        """`threads` are those of the process."""
        self._threads = threads or Threads()

    async def run(
        self, call: Callable[[], Any], read: Callable[[Any], R], *, waits: bool, limit_s: float, what: str
    ) -> R:
        """What `call` returns, awaited if it can be, as `read` sees it.

        Args:
            call: Runs once.
            read: Makes plain data of its value, in the same place.
            waits: It gives something to await at once, so it runs on the event loop; else in a thread.
            limit_s: Seconds it may take; waiting for a thread does not count.
            what: Its name in the error if it takes longer.

        Raises:
            StepFailed: It raised something, or its time is over. What takes no notice of its end is left running.
            asyncio.CancelledError: This call was cancelled, and with it the code, as far as that is possible.
        """
        deadline = _Deadline(limit_s, what)
        if waits:
            deadline.begin()
            return _value(await _on_loop(call, read, deadline))

        def in_thread() -> Returned[R] | Unfinished | StepError:
            deadline.begin()
            outcome = capture(call, read)
            # A loop that stood still finds a late value before it finds the deadline: here it is known to be late.
            return outcome if deadline.left_s or isinstance(outcome, Unfinished) else deadline.missed()

        try:
            outcome = await self._threads.run(in_thread, limit_s)
        except TimeoutError:
            raise StepFailed(deadline.missed()) from None
        if isinstance(outcome, Unfinished):
            awaitable = outcome.awaitable
            outcome = await _on_loop(lambda: awaitable, read, deadline)
        return _value(outcome)


class _Deadline:
    """When code has to be done; its time begins with it."""

    def __init__(self, limit_s: float, what: str) -> None:
        self._limit_s = limit_s
        self._now = asyncio.get_running_loop().time
        self._end = self._now() + limit_s
        self.what = what

    def begin(self) -> None:
        self._end = self._now() + self._limit_s

    @property
    def left_s(self) -> float:
        return max(0.0, self._end - self._now())

    def missed(self) -> StepError:
        return timed_out(overran(self.what, self._limit_s))


def _value(outcome: Returned[R] | Unfinished | StepError) -> R:
    if isinstance(outcome, StepError):
        raise StepFailed(outcome)
    return cast("Returned[R]", outcome).value


async def _captured(call: Callable[[], Any], read: Callable[[Any], R]) -> Returned[R] | StepError:
    _IN_USER_CODE.set(True)
    try:
        value = call()
        value = await value if is_awaitable(value) else value
        if weighs_more(value, _LIGHT_BYTES):  # reading it would hold up everybody on this loop
            return await asyncio.to_thread(_read_here, value, read)
        return Returned(read(value))
    except BaseException as error:  # noqa: BLE001  (the step boundary; who cancelled this does not look at the result)
        return error_of(error)


def _read_here(value: Any, read: Callable[[Any], R]) -> Returned[R] | StepError:
    try:
        return Returned(read(value))
    except BaseException as error:  # noqa: BLE001  (the step boundary)
        return error_of(error)


async def in_time(work: Awaitable[R], limit_s: float, what: str) -> R:
    """What code of ours gives, which ends when it is cancelled: it needs no task of its own.

    Raises:
        StepFailed: Its time is over.
    """
    limit = asyncio.timeout(limit_s)
    try:
        async with limit:
            return await work
    except TimeoutError:
        if not limit.expired():
            raise
        raise StepFailed(timed_out(overran(what, limit_s))) from None


async def _on_loop(call: Callable[[], Any], read: Callable[[Any], R], deadline: _Deadline) -> Returned[R] | StepError:
    """What comes of a call in time. It has a task of its own, so that nobody has to wait for its end."""
    loop = asyncio.get_running_loop()
    contain_exits(loop)
    task = asyncio.create_task(_captured(call, read), name=deadline.what)
    over: asyncio.Future[None] = loop.create_future()  # `asyncio.wait` does the same for any number, in twice the time
    task.add_done_callback(lambda _: over.done() or over.set_result(None))
    alarm = loop.call_later(deadline.left_s, lambda: over.done() or over.set_result(None))
    try:
        await over
        return task.result() if task.done() else deadline.missed()
    finally:
        alarm.cancel()
        if not task.done():
            await _end(task)


async def _end(task: asyncio.Task[Any]) -> None:
    """Cancel what is not wanted any more; what swallows that is closed where it stands, or left."""
    task.cancel()
    try:
        await asyncio.wait((task,), timeout=CLEANUP_S)
    finally:
        if not task.done():
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # nobody else will look
            with contextlib.suppress(BaseException):
                cast("Coroutine[Any, Any, Any]", task.get_coro()).close()
            task.cancel()  # wakes it, so that it sees that it has ended
            logger.warning("%s takes no notice of its end", task.get_name())


# What ends an event loop


def contain_exits(loop: asyncio.AbstractEventLoop) -> None:
    """Keep `sys.exit()` and the like in a task that user code starts from ending the loop, and everybody's work."""
    if loop.get_task_factory() is None:
        loop.set_task_factory(_make_task)


def _make_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **settings: Any) -> Any:
    contained = _Contained(coroutine) if _IN_USER_CODE.get() else coroutine
    return asyncio.Task(contained, loop=loop, **settings)


class _Contained(Coroutine[Any, Any, Any]):
    """A coroutine that raises `Stopped` where it would end the loop."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine

    def send(self, value: Any) -> Any:
        try:
            return self._coroutine.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise Stopped(error) from None

    def throw(self, *error: Any) -> Any:
        try:
            return self._coroutine.throw(*error)
        except (SystemExit, KeyboardInterrupt) as raised:
            raise Stopped(raised) from None

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coroutine.__await__()
