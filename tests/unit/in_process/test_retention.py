"""Old runs and sessions go, but for one object each; nothing else does, whoever dies when."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console
from support.journals import CountingIds
from support.plan import PlanActivities, PlanAgent, plan
from typer.testing import CliRunner

from rojak_ray import OfflineAgent, ScheduleIntervalSpec, SchedulePolicy, ScheduleSpec, WaitForAnswer
from rojak_ray.cli.main import app
from rojak_ray.cli.output import Voice
from rojak_ray.cli.pruning import PruneOptions, prune_storage
from rojak_ray.errors import InvalidSchedule, InvalidSetting, RunNotFound, SessionNotFound, StorageError
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.replay import replay
from rojak_ray.schedules.retention import PruneReport, prune
from rojak_ray.storage.base import Store
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.clock import FakeClock
from rojak_ray.testing.runtime import InProcessRuntime
from rojak_ray.testing.stores import RecordingStore

PATHS = Paths("rojak")
START = datetime(2026, 6, 1, 8, tzinfo=UTC)
MONTH = timedelta(days=30)
MINUTELY = ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(minutes=1))])
SECRET = "the guest in room 7"


def ask_boss() -> WaitForAnswer:
    """Ask the boss."""
    return WaitForAnswer("May the guest stay?")


async def fill(store: Store, clock: FakeClock) -> None:
    """Runs and sessions that ended, one that waits, one whose id is long."""
    async with InProcessRuntime(store, clock=clock) as runtime:
        await runtime.create_worker([PlanActivities()])
        for number in range(3):
            await runtime.run(f"r{number}", PlanAgent(), plan(SECRET))
        await runtime.run("x" * 150, PlanAgent(), plan(SECRET))
        session = await runtime.create_session("s", PlanAgent(), {"word": SECRET * 5000})
        await session.send_messages(plan(SECRET))
        waiting = await runtime.create_session("w", PlanAgent(functions=[ask_boss]))
        asking = asyncio.create_task(waiting.send_messages(plan([["ask_boss", {}]])))
        while not await waiting.open_questions():
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        gone = await runtime.create_session("gone", PlanAgent())
        await gone.send_messages(plan(SECRET))
        await runtime.delete_session("gone")


async def pruned(store: Store, clock: FakeClock, age: timedelta = MONTH, **options) -> PruneReport:
    return await prune(store, PATHS, clock.now() - age, clock, CountingIds("p"), **options)


def left(store: MemoryStore) -> Counter[str]:
    """Objects by the folder of their conversation."""
    keys = [key.split("/") for key in store.snapshot() if "/run/" in key or "/session/" in key]
    return Counter(key[4] for key in keys if key[2] in {"run", "session"})


async def test_what_ended_long_ago_goes_but_for_one_object_and_what_waits_stays():
    store, clock = MemoryStore(), FakeClock(START)
    await fill(store, clock)
    before = store.snapshot()
    clock.set(START + MONTH - timedelta(seconds=5))
    report = await pruned(store, clock)
    assert (report.buried, report.kept) == (Counter(), Counter(young=6))
    clock.set(START + MONTH + timedelta(minutes=1))
    looked = await pruned(store, clock, only_look=True)
    assert store.snapshot() == before
    report = await pruned(store, clock)
    assert report.buried == looked.buried == Counter(run=4, session=1)
    assert report.kept == looked.kept == Counter(unfinished=1)
    assert report.objects == looked.objects == sum(left(MemoryStore(before)).values()) - sum(left(store).values())
    counts = left(store)
    assert counts.pop("p-w") > 1
    assert set(counts.values()) == {1}
    kept = {key: body for key, body in store.snapshot().items() if "/p-w/" not in key}
    assert not [key for key, body in kept.items() if SECRET.encode() in body]
    assert sum(map(len, kept.values())) < 2000 * len(kept)
    before = store.snapshot()
    again = await pruned(store, clock)
    assert (again.buried, again.objects, store.snapshot()) == (Counter(), 0, before)


async def test_id_of_what_was_pruned_answers_truthfully_and_may_be_used_again():
    store, clock = MemoryStore(), FakeClock(START)
    await fill(store, clock)
    clock.set(START + 2 * MONTH)
    await pruned(store, clock)
    async with InProcessRuntime(store, clock=clock) as runtime:
        await runtime.create_worker([PlanActivities()])
        with pytest.raises(RunNotFound, match="'r1'"):
            await runtime.get_run_result("r1")
        with pytest.raises(SessionNotFound, match="'s'"):
            await runtime.get_session("s")
        assert (await runtime.run("r1", PlanAgent(), plan("new"))).output == "new"
        session = await runtime.create_session("s", PlanAgent())
        assert await session.history() == []
        assert (await session.send_messages(plan("again"))).output == "again"
        waiting = await runtime.get_session("w")
        (question,) = await waiting.open_questions()
        await waiting.answer(question.call_id, "yes")


@pytest.mark.parametrize("repeated", [True, False])
async def test_pruning_that_was_cut_off_anywhere_leaves_nothing_that_reads_as_damage(repeated):
    recording, clock = RecordingStore(MemoryStore()), FakeClock(START)
    await fill(recording, clock)
    clock.set(START + 2 * MONTH)
    begin = len(recording.writes)
    await pruned(recording, clock)
    owners = [Owner("run", "r1"), Owner("session", "s"), Owner("session", "gone"), Owner("run", "x" * 150)]
    for count in range(begin, len(recording.writes) + 1):
        store = recording.rebuild(count)
        for owner in owners:
            state = (await replay(store, PATHS, owner)).state
            assert not state.opened or state.idle, f"after {count - begin} writes"
        if repeated:
            report = await pruned(store, clock)
            assert report.damaged == 0
            counts = left(store)
            assert counts.pop("p-w") > 1
            assert set(counts.values()) == {1}, f"after {count - begin} writes"


class Interrupting(MemoryStore):
    """Lets somebody act right before a write."""

    act = None

    async def put_new(self, key: str, data: bytes) -> None:
        act, self.act = self.act, None
        if act is not None:
            await act(key)
        await super().put_new(key, data)


@pytest.mark.parametrize("number", range(4))
async def test_session_that_somebody_asks_while_it_is_pruned_keeps_everything_or_is_gone(number):
    """Whichever write he comes before, no message that was answered is lost without a word."""
    store, clock = Interrupting(), FakeClock(START)
    async with InProcessRuntime(store, clock=clock) as runtime:
        await runtime.create_worker([PlanActivities()])
        await (await runtime.create_session("s", PlanAgent())).send_messages(plan("one"))
    clock.set(START + 2 * MONTH)
    answered: list[str] = []
    writes = 0

    async def ask(key: str) -> None:
        nonlocal writes
        writes += 1
        if writes <= number:
            store.act = ask
            return
        async with InProcessRuntime(MemoryStoreView(store), clock=clock) as runtime:
            await runtime.create_worker([PlanActivities()])
            with contextlib.suppress(SessionNotFound):
                session = await runtime.get_session("s")
                answered.append((await session.send_messages(plan("two"))).output)

    store.act = ask
    report = await pruned(store, clock)
    store.act = None
    async with InProcessRuntime(store, clock=clock) as runtime:
        await runtime.create_worker([PlanActivities()])
        if answered:
            assert report.buried == Counter()
            history = await (await runtime.get_session("s")).history()
            assert [message.content for message in history][-1] == "two"
        else:
            assert report.buried == Counter(session=1)
            with pytest.raises(SessionNotFound):
                await runtime.get_session("s")


class MemoryStoreView(MemoryStore):
    """Another process on the same objects."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__()
        self._objects = store._objects


async def test_what_a_living_process_has_open_stays():
    store, clock = MemoryStore(), FakeClock(START)
    async with InProcessRuntime(store, clock=clock) as runtime:
        await runtime.create_worker([PlanActivities()])
        session = await runtime.create_session("s", PlanAgent())
        await session.send_messages(plan("one"))
        report = await prune(store, PATHS, clock.now() + MONTH, clock, CountingIds("p"))
        assert report.kept == Counter(open=1)
        assert (await session.send_messages(plan("two"))).output == "two"
    report = await prune(store, PATHS, clock.now() + MONTH, clock, CountingIds("p"))
    assert report.buried == Counter(session=1)
    assert not [key for key in store.snapshot() if "/active/" in key]


async def test_damaged_conversation_stays_is_named_and_stops_nobody_else():
    store, clock = MemoryStore(), FakeClock(START)
    await fill(store, clock)
    key = sorted(key for key in store.snapshot() if "/p-r1/log/" in key)[0]
    await store.delete(key)
    await store.put_new(key, b"damaged")
    clock.set(START + 2 * MONTH)
    report = await pruned(store, clock)
    assert (report.buried, report.damaged) == (Counter(run=3, session=1), 1)
    assert key in report.unreadable[0]


async def test_runs_of_a_schedule_go_when_it_keeps_them_no_longer_and_are_listed_no_more():
    store, clock = MemoryStore(), FakeClock(START)
    async with InProcessRuntime(store, clock=clock) as runtime:
        policy = SchedulePolicy(keep_runs=timedelta(hours=1))
        schedule = await runtime.create_schedule("s", MINUTELY, OfflineAgent(), "x", policy=policy)
        await runtime.create_schedule("other", MINUTELY, OfflineAgent(), "x")
        for _ in range(85):
            await clock.advance(60)
        await schedule.pause()
        listed = [one async for one in runtime.list_scheduled_runs("s", limit=1000)]
        assert 55 <= len(listed) <= 75
        assert len([one async for one in runtime.list_scheduled_runs("other", limit=1000)]) == 85
        counts = left(store)
        first = next(name for name in counts if name.startswith("b-"))
        assert first
        with pytest.raises(RunNotFound):
            await runtime.get_run_result("s-2026-06-01T08:01:00Z")
        with pytest.raises(InvalidSchedule, match="keep_runs"):
            await schedule.update(policy=SchedulePolicy(keep_runs=timedelta(minutes=59)))


async def test_deleted_runs_are_listed_no_more_and_deleting_them_again_writes_nothing():
    store, clock = MemoryStore(), FakeClock(START)
    async with InProcessRuntime(store, clock=clock) as runtime:
        await runtime.create_schedule("s", MINUTELY, OfflineAgent(), "x")
        await clock.advance(185)
        ids = [one async for one in runtime.list_scheduled_runs("s")]
        assert len(ids) == 3
        for run_id in ids[1:]:
            await runtime.delete_run(run_id)
        assert [one async for one in runtime.list_scheduled_runs("s")] == ids[:1]
        await clock.advance(30)
        before = {key for key in store.snapshot() if "/run/" in key}
        await runtime.delete_run(ids[1])
        assert {key for key in store.snapshot() if "/run/" in key} == before


class Heard(Voice):
    def __init__(self) -> None:
        self.file = io.StringIO()
        super().__init__(Console(file=self.file, highlight=False, width=200))


async def test_command_says_what_it_did_in_words_and_in_json(tmp_path):
    clock = FakeClock(START)
    async with InProcessRuntime(str(tmp_path), clock=clock) as runtime:
        await runtime.run("r", OfflineAgent(), "x")
        await runtime.create_session("s", OfflineAgent())
    clock.set(START + 2 * MONTH)
    voice = Heard()
    await prune_storage(PruneOptions("30d", dry_run=True, storage=str(tmp_path)), voice, clock)
    await prune_storage(PruneOptions("30d", only="runs", storage=str(tmp_path)), voice, clock)
    lines = voice.file.getvalue().splitlines()
    assert lines[0].startswith("1 runs and 1 sessions would be removed from file://")
    assert lines[1].startswith("1 runs and 0 sessions removed from file://")
    with pytest.raises(InvalidSetting, match="runs or sessions"):
        await prune_storage(PruneOptions("30d", only="both", storage=str(tmp_path)), voice, clock)
    with pytest.raises(InvalidSetting, match="--older-than"):
        await prune_storage(PruneOptions("soon", storage=str(tmp_path)), voice, clock)


def test_command_line_takes_it(tmp_path):
    arguments = ["storage", "prune", "--older-than", "30d", "--storage", str(tmp_path), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["runs"] == 0
    assert CliRunner().invoke(app, ["storage", "prune"]).exit_code == 2


async def test_storage_that_fails_on_the_way_is_told_and_the_next_pass_goes_on():
    class Failing(MemoryStore):
        left = 7

        async def delete(self, key: str) -> None:
            if self.left == 0:
                raise StorageError("gone")
            self.left -= 1
            await super().delete(key)

    store, clock = Failing(), FakeClock(START)
    store.left = 10**6
    await fill(store, clock)
    clock.set(START + 2 * MONTH)
    store.left = 7
    with pytest.raises(StorageError):
        await pruned(store, clock)
    store.left = 10**6
    await pruned(store, clock)
    counts = left(store)
    assert counts.pop("p-w") > 1
    assert set(counts.values()) == {1}
