"""Function calls on tasks that take them: each runs once at most, each ends, and no task stays for nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from typing import TypeVar

import pytest
from support.waiting import HANG_S

from rojak_ray.runtime.function_pool import (
    LIFE_S,
    MOST_STARTING,
    FunctionPool,
    FunctionProcess,
    FunctionProcessLost,
    pack_taking,
)
from rojak_ray.testing.clock import FakeClock

T = TypeVar("T")


class Process:
    """A task that does what the test says."""

    def __init__(self, pool: FunctionPool, name: str) -> None:
        self._pool = pool
        self.name = name
        self.killed = False
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def ended(self) -> None:
        await self._end

    def kill(self) -> None:
        self.killed = True
        self.die("killed")

    def die(self, reason: str) -> None:
        if not self._end.done():
            self._end.set_exception(RuntimeError(reason))

    def leave(self) -> None:
        if not self._end.done():
            self._end.set_result(None)

    async def take(self, result: bytes = b"") -> bytes | None:
        call = await soon(self._pool.take(pack_taking(self.name, result)))
        if call is None:
            self.leave()
        return call


class Cluster:
    """Starts processes; none does anything by itself."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.pool = FunctionPool(self.clock, "life")
        self.processes: list[Process] = []

    def start(self, name: str) -> FunctionProcess:
        self.processes.append(Process(self.pool, name))
        return self.processes[-1]

    def call(self, packed: bytes, shape: str = "shape") -> asyncio.Task[bytes]:
        return asyncio.create_task(self.pool.call(shape, self.start, packed))


async def soon(awaited: Awaitable[T]) -> T:
    async with asyncio.timeout(HANG_S):
        return await awaited


async def settled() -> None:
    """Everything that can go on now has gone on."""
    for _ in range(10):
        await asyncio.sleep(0)


async def idle_task(cluster: Cluster, shape: str = "shape") -> tuple[Process, asyncio.Task[bytes | None]]:
    """A task that has run a call and waits for another."""
    first = cluster.call(b"one", shape)
    await settled()
    process = cluster.processes[0]
    assert await process.take() == b"one"
    taking = asyncio.create_task(process.take(b"1"))
    assert await soon(first) == b"1"
    return process, taking


async def test_a_call_starts_a_task_and_gets_its_result() -> None:
    cluster = Cluster()
    call = cluster.call(b"add")
    await settled()
    (process,) = cluster.processes
    assert await process.take() == b"add"
    leaving = asyncio.create_task(process.take(b"3"))
    assert await soon(call) == b"3"
    assert await leaving is None


async def test_the_next_call_is_run_by_the_same_task() -> None:
    cluster = Cluster()
    process, taking = await idle_task(cluster)
    second = cluster.call(b"two")
    assert await taking == b"two"
    taking = asyncio.create_task(process.take(b"2"))
    assert await soon(second) == b"2"
    await taking
    assert len(cluster.processes) == 1


async def test_calls_at_once_get_tasks_of_their_own_but_not_too_many() -> None:
    cluster = Cluster()
    calls = [cluster.call(str(number).encode()) for number in range(MOST_STARTING + 5)]
    await settled()
    assert len(cluster.processes) == MOST_STARTING
    assert await cluster.processes[0].take() == b"0"  # one has started, so another may
    assert len(cluster.processes) == MOST_STARTING + 1
    for call in calls:
        call.cancel()


async def test_a_task_that_comes_too_late_leaves_at_once() -> None:
    cluster = Cluster()
    calls = [cluster.call(b"one"), cluster.call(b"two")]
    await settled()
    first, second = cluster.processes
    assert await first.take() == b"one"
    taking = asyncio.create_task(first.take(b"1"))
    assert await taking == b"two"
    assert await second.take() is None
    asyncio.create_task(first.take(b"2"))  # noqa: RUF006
    assert await soon(asyncio.gather(*calls)) == [b"1", b"2"]


async def test_a_task_leaves_when_its_time_is_up_although_there_is_work() -> None:
    cluster = Cluster()
    calls = [cluster.call(b"one"), cluster.call(b"two")]
    await settled()
    first, second = cluster.processes
    await first.take()
    await cluster.clock.advance(2 * LIFE_S)
    assert await first.take(b"1") is None
    assert await second.take() == b"two"
    asyncio.create_task(second.take(b"2"))  # noqa: RUF006
    assert await soon(asyncio.gather(*calls)) == [b"1", b"2"]


async def test_an_idle_task_whose_time_is_up_gets_no_call() -> None:
    cluster = Cluster()
    _, taking = await idle_task(cluster)
    await cluster.clock.advance(2 * LIFE_S)
    second = cluster.call(b"two")
    assert await taking is None
    assert len(cluster.processes) == 2
    second.cancel()


async def test_idle_tasks_make_room_for_calls_that_want_other_resources() -> None:
    cluster = Cluster()
    _, taking = await idle_task(cluster, "cpu")
    second = cluster.call(b"two", "gpu")
    assert await taking is None
    assert await cluster.processes[1].take() == b"two"
    second.cancel()


async def test_a_lost_process_is_told_with_how_long_it_ran() -> None:
    cluster = Cluster()
    call = cluster.call(b"crash")
    await settled()
    await cluster.processes[0].take()
    await cluster.clock.advance(7)
    cluster.processes[0].die("the worker died\nat length")
    with pytest.raises(FunctionProcessLost) as lost:
        await soon(call)
    assert lost.value.after_s == 7
    assert str(lost.value.__cause__) == "the worker died\nat length"


async def test_a_process_that_never_came_fails_one_call_and_not_the_others() -> None:
    cluster = Cluster()
    one, other = cluster.call(b"one"), cluster.call(b"two")
    await settled()
    cluster.processes[0].die("no such environment")
    with pytest.raises(FunctionProcessLost) as lost:
        await soon(one)
    assert str(lost.value.__cause__) == "no such environment"
    assert lost.value.after_s is None, "nothing had begun"
    assert await cluster.processes[1].take() == b"two"
    other.cancel()


async def test_a_task_that_cannot_even_be_asked_for_fails_its_call() -> None:
    def refuse(name: str) -> FunctionProcess:
        raise ValueError("num_cpus must not be negative")

    with pytest.raises(ValueError, match="negative"):
        await soon(Cluster().pool.call("shape", refuse, b"one"))


async def test_a_process_that_ends_without_its_result_is_lost() -> None:
    cluster = Cluster()
    call = cluster.call(b"one")
    await settled()
    await cluster.processes[0].take()
    cluster.processes[0].leave()
    with pytest.raises(FunctionProcessLost):
        await soon(call)


async def test_cancelling_a_call_that_runs_ends_its_process() -> None:
    cluster = Cluster()
    call = cluster.call(b"long")
    await settled()
    await cluster.processes[0].take()
    call.cancel()
    await asyncio.wait([call])
    assert cluster.processes[0].killed
    assert await cluster.processes[0].take(b"too late") is None


async def test_an_idle_task_that_is_gone_gets_no_call() -> None:
    cluster = Cluster()
    _, taking = await idle_task(cluster)
    taking.cancel()  # as its link's end does
    await asyncio.wait([taking])
    second = cluster.call(b"two")
    await settled()
    assert await cluster.processes[1].take() == b"two"
    second.cancel()


async def test_a_call_is_not_handed_out_in_the_moment_in_which_it_is_cancelled() -> None:
    cluster = Cluster()
    call = cluster.call(b"never")
    await settled()
    call.cancel()  # and before its task has had a turn, a process comes
    assert await cluster.processes[0].take() is None


async def test_cancelling_a_call_that_waits_takes_it_back() -> None:
    cluster = Cluster()
    call = cluster.call(b"never")
    await settled()
    call.cancel()
    await asyncio.wait([call])
    assert await cluster.processes[0].take() is None
    assert not cluster.processes[0].killed


async def test_a_task_of_an_earlier_host_gets_nothing() -> None:
    assert await Cluster().pool.take(pack_taking("another-life/0", b"")) is None


@pytest.mark.parametrize("seed", range(30))
async def test_whatever_happens_a_call_runs_once_at_most_and_ends(seed: int) -> None:
    chance = random.Random(seed)
    cluster = Cluster()
    ran: list[bytes] = []

    async def live(process: Process) -> None:
        result = b""
        while (call := await process.take(result)) is not None:
            ran.append(call)
            await asyncio.sleep(0)
            if chance.random() < 0.1:
                process.die("seeded")
                return
            await cluster.clock.advance(chance.choice([0, 0, LIFE_S]))
            result = b"done " + call

    def start(name: str) -> FunctionProcess:
        if chance.random() < 0.05:
            raise RuntimeError("refused")
        process = cluster.start(name)
        assert isinstance(process, Process)
        if chance.random() < 0.1:
            process.die("never came")
        else:
            tasks.append(asyncio.create_task(live(process)))
        return process

    tasks: list[asyncio.Task[None]] = []
    calls: dict[bytes, asyncio.Task[bytes]] = {}
    for number in range(60):
        name = f"call {number}".encode()
        calls[name] = asyncio.create_task(cluster.pool.call(chance.choice("ab"), start, name))
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        if chance.random() < 0.1:
            chance.choice(list(calls.values())).cancel()
    _, hung = await asyncio.wait(calls.values(), timeout=HANG_S)
    assert not hung, f"seed {seed}"
    assert len(ran) == len(set(ran)), f"seed {seed}"
    for name, call in calls.items():
        if not call.cancelled() and call.exception() is None:
            assert call.result() == b"done " + name, f"seed {seed}"
            assert name in ran, f"seed {seed}"
    await soon(asyncio.gather(*tasks))
