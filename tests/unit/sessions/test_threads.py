"""Threads for user code: a call runs once at most, its time begins with it, and one that never ends costs no place."""

import asyncio
import contextvars
import gc
import threading
import weakref
from typing import Any

import pytest

from rojak_ray.core.steps import StepError
from rojak_ray.sessions.threads import Threads

LONG_S = 30.0


async def test_call_runs_in_a_thread_with_the_callers_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("mine")
    threads = Threads()
    assert await threads.run(lambda: (variable.get(), threading.current_thread().daemon), LONG_S) == ("mine", True)


async def test_what_a_call_raises_comes_back_as_data() -> None:
    def ends() -> Any:
        raise StopIteration("end")

    assert await Threads().run(ends, LONG_S) == StepError(error_type="StopIteration", message="end")


async def test_waiting_for_a_thread_is_not_the_calls_time() -> None:
    threads, go = Threads(most=1), threading.Event()
    first = asyncio.create_task(threads.run(lambda: go.wait(LONG_S), LONG_S))
    second = asyncio.create_task(threads.run(lambda: "second", 0.2))
    await asyncio.wait((second,), timeout=0.4)
    assert not second.done()
    go.set()
    async with asyncio.timeout(LONG_S):
        assert (await first, await second) == (True, "second")


async def test_call_that_never_ends_gives_its_place_to_the_next() -> None:
    threads, never = Threads(most=2), threading.Event()
    try:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await threads.run(lambda: never.wait(LONG_S), 0.01)
        async with asyncio.timeout(LONG_S):
            assert await asyncio.gather(*(threads.run(lambda n=n: n, LONG_S) for n in range(10))) == list(range(10))
    finally:
        never.set()


async def test_call_cancelled_before_it_has_a_thread_is_never_made() -> None:
    threads, go, made = Threads(most=1), threading.Event(), []
    first = asyncio.create_task(threads.run(lambda: go.wait(LONG_S), LONG_S))
    second = asyncio.create_task(threads.run(lambda: made.append("second"), LONG_S))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait((second,))
    go.set()
    async with asyncio.timeout(LONG_S):
        await first
        await threads.run(lambda: made.append("third"), LONG_S)
    assert made == ["third"]


async def test_no_more_threads_than_allowed_and_each_is_used_again() -> None:
    threads, lock, running, most = Threads(most=4), threading.Lock(), set[int](), [0]

    def work() -> int:
        with lock:
            running.add(threading.get_ident())
            most[0] = max(most[0], len(running))
        pause.wait(0.001)
        with lock:
            running.discard(threading.get_ident())
        return threading.get_ident()

    pause = threading.Event()
    used = await asyncio.gather(*(threads.run(work, LONG_S) for _ in range(200)))
    assert most[0] <= 4
    assert len(set(used)) <= 4


async def test_what_a_call_held_is_let_go() -> None:
    class Held:
        pass

    held = Held()
    gone = weakref.ref(held)
    assert await Threads().run(lambda held=held: type(held).__name__, LONG_S) == "Held"
    del held
    async with asyncio.timeout(LONG_S):
        while gone() is not None:
            gc.collect()
            await asyncio.sleep(0)


def test_call_of_a_loop_that_has_ended_harms_nobody() -> None:
    threads, go = Threads(most=1), threading.Event()

    async def leave() -> None:
        asyncio.get_running_loop().call_later(0.01, asyncio.current_task().cancel)  # type: ignore[union-attr]
        await threads.run(lambda: go.wait(LONG_S), LONG_S)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(leave())
    go.set()
    assert asyncio.run(threads.run(lambda: "next", LONG_S)) == "next"
