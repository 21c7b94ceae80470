"""Schedules that were written, not drawn: each shows what one part of the protocol is for.

Two writers of one conversation, over a bucket that holds back the writes it is told to. What an append returned for
must be read afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from rojak_ray.core.events import RunAccepted
from rojak_ray.core.evolve import fold
from rojak_ray.errors import StorageError
from rojak_ray.journal.journal import Journal
from rojak_ray.journal.paths import Owner
from rojak_ray.journal.replay import replay
from rojak_ray.storage.memory import MemoryStore

from .ablations import JOURNALS, Pipelined, ablated
from .loop import VirtualLoop
from .work import message
from .world import PATHS, LaneClock, LaneIds

OWNER = Owner("session", "s")


class HoldingStore:
    """A writer's way to the bucket; its writes to some slots wait until they are let through."""

    url = "memory://directed"
    shared = False

    def __init__(self, inner: MemoryStore) -> None:
        self._inner = inner
        self.held: dict[str, asyncio.Event] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def hold(self, slot: int) -> asyncio.Event:
        """Set what is returned to let the write through."""
        return self.held.setdefault(PATHS.slot(OWNER, slot), asyncio.Event())

    async def put_new(self, key: str, data: bytes) -> None:
        if key in self.held:
            await self.held[key].wait()
        await self._inner.put_new(key, data)


class Stage:
    """A bucket, its writers, and what they acknowledged."""

    def __init__(self, loop: VirtualLoop, kind: type[Journal]) -> None:
        self.bucket = MemoryStore()
        self.acknowledged: list[str] = []
        self._loop = loop
        self._kind = kind
        self._writers = 0

    def writer(self, kind: type[Journal] | None = None) -> tuple[HoldingStore, Journal]:
        self._writers += 1
        store = HoldingStore(self.bucket)
        ids = LaneIds(f"w{self._writers}")
        return store, (kind or self._kind)(store, PATHS, OWNER, LaneClock(self._loop), ids)

    async def append(self, journal: Journal, tag: str) -> None:
        """Append one event, and keep in mind that it was acknowledged if it was."""
        try:
            await journal.append(accepted(tag))
        except StorageError:
            return
        self.acknowledged.append(tag)

    async def wrong(self) -> str | None:
        """What a reader misses."""
        try:
            state = (await replay(self.bucket, PATHS, OWNER)).state
        except StorageError as error:
            return str(error)
        found = [queued.run_id for queued in state.queue]
        missing = [tag for tag in self.acknowledged if tag not in found]
        return f"{missing} were acknowledged and are lost" if missing else None


def accepted(tag: str) -> tuple[RunAccepted, ...]:
    return (RunAccepted(run_id=tag, input_digest="d", messages=(message(tag, []),)),)


async def candidate_sleeps_through_compaction(stage: Stage) -> None:
    """It wins the slot for its fence, because the record in it was archived meanwhile."""
    _, serving = stage.writer()
    state = await serving.open()
    store, candidate = stage.writer()
    fence = store.hold(2)
    opening = asyncio.create_task(_opened(candidate))
    await asyncio.sleep(1.0)  # it has claimed, read the beginning and is about to fence
    for tag in "abcdef":
        await stage.append(serving, tag)
        state = fold(state, accepted(tag))
        await serving.save(serving.take_snapshot(state))
    fence.set()
    if await opening:
        await stage.append(candidate, "x")


async def older_writer_goes_on(stage: Stage) -> None:
    """It does not know that somebody has taken over."""
    _, older = stage.writer()
    await older.open()
    await stage.append(older, "a")
    _, newer = stage.writer()
    await newer.open()
    await stage.append(older, "b")
    await stage.append(newer, "c")


async def somebody_was_quicker(stage: Stage) -> None:
    """A writer found nothing, and hears nothing of what another one has written and put together meanwhile."""
    _, late = stage.writer()  # it has looked, and is about to claim
    _, quick = stage.writer()
    state = await quick.open(new=True)
    for tag in "abcd":
        await stage.append(quick, tag)
        state = fold(state, accepted(tag))
        await quick.save(quick.take_snapshot(state))
    try:
        await late.open(new=True)
    except StorageError:
        return
    await stage.append(late, "x")


async def first_of_two_appends_never_arrives(stage: Stage) -> None:
    """A writer is told to append while it appends, and dies when the second one has landed."""
    store, writer = stage.writer()
    await writer.open()
    store.hold(2)
    both = [asyncio.create_task(stage.append(writer, tag)) for tag in "ab"]
    await asyncio.sleep(1.0)
    for task in both:
        task.cancel()


async def write_of_an_older_writer_lands_behind_a_fence(stage: Stage) -> None:
    """Some older version had two appends in flight; one of them lands in a slot after the fence."""
    store, older = stage.writer(Pipelined)
    await older.open()
    store.hold(2)
    late = store.hold(3)
    both = [asyncio.create_task(stage.append(older, tag)) for tag in "ab"]
    await asyncio.sleep(1.0)
    _, newer = stage.writer()
    await newer.open()  # its fence is in slot 2
    late.set()
    await asyncio.sleep(1.0)
    both[0].cancel()
    stage.acknowledged.clear()  # what a pipelined writer acknowledges is not what this is about
    await stage.append(newer, "c")


async def _opened(journal: Journal) -> bool:
    try:
        await journal.open()
    except StorageError:
        return False
    return True


Play = Callable[[Stage], Coroutine[Any, Any, None]]

DIRECTED: dict[str, Play] = {
    "no verify": candidate_sleeps_through_compaction,
    "no fence": older_writer_goes_on,
    "new without the first claim": somebody_was_quicker,
    "more than one append in flight": first_of_two_appends_never_arrives,
    "void rule dropped": write_of_an_older_writer_lands_behind_a_fence,
}
"""By the part whose absence they show."""


def direct(name: str, *, whole: bool) -> str | None:
    """What is wrong after the schedule, with the whole protocol or without the part."""
    loop = VirtualLoop(Random(1))

    async def main() -> str | None:
        stage = Stage(loop, Journal if whole else JOURNALS.get(name, Journal))
        await DIRECTED[name](stage)
        return await stage.wrong()

    if whole:
        return loop.run(main(), deadline=1_000.0)
    with ablated(name):
        return loop.run(main(), deadline=1_000.0)
