"""Deleting a session: nothing of it stays, whatever dies on the way, and its id can be used again."""

import asyncio
import contextlib

import pytest
from support.plan import PlanAgent, plan
from support.worlds import world

from rojak_ray.agents import function
from rojak_ray.errors import RunCancelled, RunNotFound, SessionNotFound, StoreUnavailable
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.replay import replay
from rojak_ray.reign.succession import ReignSettings
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.stores import FailBefore, FaultyStore, RecordingStore

SECRET = "swordfish"
OWNER = Owner("session", "s")
PATHS = Paths("rojak")


@function
async def wait_for_ever() -> str:
    """Wait."""
    await asyncio.Event().wait()
    return "never"


AGENT = PlanAgent(name="A", instructions=f"Say {SECRET}.", functions=[wait_for_ever])


def holds(objects: dict[str, bytes]) -> list[str]:
    """Where the secret is."""
    return [key for key, data in objects.items() if SECRET.encode() in data]


async def test_deleted_session_leaves_no_content_and_no_marker():
    async with world() as w:
        session = await w.rojak.create_session("s", AGENT, {"word": SECRET * 20_000})
        for _ in range(3):
            await session.send_messages(plan(SECRET))
        objects = w.store.snapshot()
        assert holds(objects)
        assert any("/blob/" in key for key in objects)
        await w.rojak.delete_session("s")
        left = w.store.snapshot()
        assert not holds(left)
        assert {key.rsplit("/", 2)[1] for key in left if "/reign/" not in key} <= {"epoch", "log", "snap", "tail"}
        with pytest.raises(SessionNotFound, match="deleted"):
            await w.rojak.get_session("s")
        for ask in (session.send_messages("hi"), session.history(), session.cancel()):
            with pytest.raises(SessionNotFound):
                await ask
        await w.rojak.delete_session("s")


async def test_session_that_never_was_cannot_be_deleted():
    async with world() as w:
        with pytest.raises(SessionNotFound):
            await w.rojak.delete_session("nobody")


async def test_id_may_be_used_again_and_the_new_session_is_another():
    async with world() as w:
        session = await w.rojak.create_session("s", AGENT)
        await session.send_messages(plan(SECRET))
        keys = {params.idempotency_key for params in w.model.asked}
        await w.rojak.delete_session("s")
        again = await w.rojak.create_session("s", PlanAgent(name="B"))
        assert await again.history() == []
        answer = await again.send_messages(plan("new"))
        assert answer.messages[-1].content == "new"
        assert not keys & {params.idempotency_key for params in w.model.asked[len(keys) :]}
        assert not holds(w.store.snapshot())


async def test_whoever_waits_for_a_deleted_sessions_run_is_told():
    async with world() as w:
        session = await w.rojak.create_session("s", AGENT)
        running = asyncio.create_task(session.send_messages(plan([["wait_for_ever", {}]])))
        queued = asyncio.create_task(session.send_messages(plan("second")))
        while not w.model.asked:
            await asyncio.sleep(0)
        await w.rojak.delete_session("s")
        for task in (running, queued):
            with pytest.raises(RunCancelled):
                await task


async def test_run_outside_sessions_can_be_deleted():
    async with world() as w:
        await w.rojak.run("r", AGENT, plan(SECRET))
        await w.rojak.delete_run("r")
        assert not holds(w.store.snapshot())


async def test_deletion_that_was_recorded_is_finished_by_whoever_comes_next():
    recording = RecordingStore(MemoryStore())
    async with world(recording) as w:
        session = await w.rojak.create_session("s", AGENT, {"word": SECRET * 20_000})
        await session.send_messages(plan(SECRET))
        before = len(recording.writes)
        await w.rojak.delete_session("s")
        total = len(recording.writes)
    for count in range(before, total + 1):
        store = recording.rebuild(count)
        recorded = not (await replay(store, PATHS, OWNER)).state.opened
        async with world(store) as w:
            with contextlib.suppress(SessionNotFound):
                await w.rojak.get_session("s")
        if recorded:
            assert not holds(store.snapshot()), f"after {count - before} of {total - before} writes"
        async with world(store) as w:
            await w.rojak.delete_session("s")
        assert not holds(store.snapshot())


async def test_deletion_is_finished_by_whoever_comes_next_also_if_the_id_was_asked_for_at_once():
    recording = RecordingStore(MemoryStore())
    async with world(recording) as w:
        session = await w.rojak.create_session("s", AGENT)
        await session.send_messages(plan(SECRET))
        before = len(recording.writes)
        await asyncio.gather(w.rojak.delete_session("s"), w.rojak.create_session("s", PlanAgent(name="B")))
        total = len(recording.writes)
    for count in range(before, total + 1):
        store = recording.rebuild(count)
        deleted = (await replay(store, PATHS, OWNER)).state.history == ()
        async with world(store) as w:
            with contextlib.suppress(SessionNotFound):
                await (await w.rojak.get_session("s")).cancel()
        assert not deleted or not holds(store.snapshot()), f"after {count - before} of {total - before} writes"


@pytest.mark.parametrize("number", range(1, 6))
async def test_deletion_whose_storage_fails_can_be_repeated(number):
    inner = MemoryStore()
    store = FaultyStore(inner)
    async with world(store) as w:
        session = await w.rojak.create_session("s", AGENT)
        await session.send_messages(plan(SECRET))
        left = number

        def fail(call):
            nonlocal left
            left -= call.operation == "delete"
            return FailBefore() if left == 0 and call.operation == "delete" else None

        store.script = fail
        with contextlib.suppress(StoreUnavailable):
            await w.rojak.delete_session("s")
        store.script = lambda call: None
        await w.rojak.delete_session("s")
        assert not holds(inner.snapshot())


async def test_late_writer_of_a_deleted_session_cannot_write_into_the_new_one():
    store = MemoryStore()
    unaware, hasty = ReignSettings(look_s=1e6), ReignSettings(look_s=0.01, hurry_s=0.01, drain_s=0.01)
    async with world(store, PoolSettings(sweep_s=1e6, reign=unaware)) as old:
        session = await old.rojak.create_session("s", AGENT)
        await session.send_messages(plan("one"))
        async with world(store, PoolSettings(sweep_s=1e6, reign=hasty), takeover=True) as new:
            await new.rojak.delete_session("s")
            fresh = await new.rojak.create_session("s", PlanAgent(name="B"))
            # The old process still believes that it holds the session; its next write meets a fence.
            await session.send_messages(plan("late"))
            texts = [message.content for message in await fresh.history()]
    assert plan("one") not in texts


async def test_run_that_has_ended_can_be_deleted():
    async with world() as w:
        await w.rojak.run("r", AGENT, plan(SECRET))
        await w.rojak.close()
    async with world(w.store) as later:
        await later.rojak.delete_run("r")
        assert not holds(w.store.snapshot())
        with pytest.raises(RunNotFound):
            await later.rojak.get_run_result("r")
