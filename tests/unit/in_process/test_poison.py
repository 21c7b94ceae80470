"""A conversation that ends its process again and again is set aside; the others of that process are not."""

import asyncio

import pytest
from support.journals import CountingIds, InstantClock
from support.plan import PlanAgent, plan
from support.worlds import NEVER_S

from rojak_ray.agents.spec import encode_agent
from rojak_ray.core.commands import CancelRun, OpenSession, Resume, StartRun
from rojak_ray.core.events import RunStatus
from rojak_ray.core.steps import ModelResult, Step, StepResult
from rojak_ray.errors import SessionSetAside
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.replay import replay
from rojak_ray.messages import Message
from rojak_ray.sessions.pool import HostPool
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.sessions.requests import Ask
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.stores import FaultyStore

PATHS = Paths("rojak")
POISON = Owner("session", "poison")
SPEC = encode_agent(PlanAgent(name="A"), lambda fn, **_: None)


class PatientClock(InstantClock):
    """A sleep takes as many turns of the loop as any step of this test needs to get going."""

    async def sleep(self, seconds: float) -> None:
        for _ in range(200):
            await asyncio.sleep(0)
        await super().sleep(seconds)


class Process:
    """One life of a process: a pool whose steps never end, and which dies when the poisonous one is executed."""

    lives = 0

    def __init__(self, store: MemoryStore, *, alone: bool = False, healthy: bool = False) -> None:
        Process.lives += 1
        self.died = asyncio.Event()
        self.healthy = healthy
        settings = PoolSettings(sweep_s=NEVER_S)
        ids = CountingIds(f"life{Process.lives}-")
        self.store = FaultyStore(store)
        self.pool = HostPool(self.store, PATHS, self, PatientClock(), ids, settings, alone=alone)

    async def execute(self, step: Step) -> StepResult:
        if self.healthy:
            return ModelResult(content="well")
        if step.session_id == POISON.id and step.recovered:
            self.died.set()
            self.store.outage = True  # a process that died writes nothing while its tasks are cleared away
        await asyncio.Event().wait()
        raise AssertionError

    async def live(self) -> bool:
        """Recover everything; whether the process died of it."""
        recovering = asyncio.create_task(self.pool.recover(lambda owner: True))
        for _ in range(20_000):
            await asyncio.sleep(0)
            if self.died.is_set():
                break
        await self.pool.close()
        await recovering
        return self.died.is_set()


async def begin(pool: HostPool, owner: Owner) -> None:
    opening = OpenSession(owner_kind=owner.kind, owner_id=owner.id, incarnation=f"i-{owner.id}", agent=SPEC)
    start = StartRun(run_id="r", input_digest="d", messages=(Message(role="user", content=plan("hi")),))
    await pool.ask(owner, Ask(commands=(opening, start)))


async def state_of(store, owner):
    return (await replay(store, PATHS, owner)).state


async def lives_until_well(store, *, alone: bool) -> int:
    for count in range(30):
        if not await Process(store, alone=alone).live():
            return count
    raise AssertionError("the process never came to rest")


async def poisoned(*others: Owner) -> MemoryStore:
    store = MemoryStore()
    process = Process(store)
    for owner in (*others, POISON):
        await begin(process.pool, owner)
    await process.pool.close()
    return store


async def test_session_alone_in_its_process_is_set_aside_after_six_recoveries():
    store = await poisoned()
    assert await lives_until_well(store, alone=True) == 6
    state = await state_of(store, POISON)
    assert "6 times" in state.set_aside
    assert "r/0/model" in state.set_aside
    process = Process(store, alone=True)
    reply = await process.pool.ask(POISON, Ask(view=True))
    assert reply.view.set_aside == state.set_aside
    with pytest.raises(SessionSetAside, match="rojak sessions resume"):
        await process.pool.ask(POISON, Ask(await_run="r", wait_s=20))
    command = StartRun(run_id="r2", input_digest="d", messages=())
    with pytest.raises(SessionSetAside):
        await process.pool.ask(POISON, Ask(commands=(command,)))
    assert not process.died.is_set()
    await process.pool.close()


async def test_set_aside_session_goes_on_when_somebody_resumes_it():
    store = await poisoned()
    await lives_until_well(store, alone=True)
    process = Process(store, healthy=True)
    reply = await process.pool.ask(POISON, Ask(commands=(Resume(),), await_run="r", wait_s=20))
    assert reply.run.status is RunStatus.COMPLETED
    assert reply.run.messages[-1].content == "well"
    await process.pool.close()


async def test_cancelling_the_run_of_a_set_aside_session_frees_it():
    store = await poisoned()
    await lives_until_well(store, alone=True)
    process = Process(store, healthy=True)
    reply = await process.pool.ask(POISON, Ask(commands=(CancelRun(),), await_run="r", wait_s=20))
    assert reply.run.status is RunStatus.CANCELLED
    start = StartRun(run_id="r2", input_digest="d", messages=(Message(role="user", content="hi"),))
    reply = await process.pool.ask(POISON, Ask(commands=(start,), await_run="r2", wait_s=20))
    assert reply.run.status is RunStatus.COMPLETED
    await process.pool.close()


async def test_who_waits_for_a_run_is_told_when_its_session_is_set_aside():
    store = await poisoned()
    for _ in range(6):
        assert await Process(store, alone=True).live()
    process = Process(store, alone=True)
    with pytest.raises(SessionSetAside):
        await process.pool.ask(POISON, Ask(await_run="r", wait_s=20))
    await process.pool.close()


@pytest.mark.parametrize("others", [1, 40])
async def test_in_a_shared_process_only_the_poisonous_session_is_set_aside(others):
    innocent = [Owner("session", f"s{number}") for number in range(others)]
    store = await poisoned(*innocent)
    deaths = await lives_until_well(store, alone=False)
    assert deaths <= 12
    assert (await state_of(store, POISON)).set_aside
    for owner in innocent:
        state = await state_of(store, owner)
        assert state.set_aside is None
        assert state.run is not None
    process = Process(store, healthy=True)
    await process.pool.recover(lambda owner: True)
    for owner in innocent:
        reply = await process.pool.ask(owner, Ask(await_run="r", wait_s=20))
        assert reply.run.status is RunStatus.COMPLETED
    await process.pool.close()


async def test_run_outside_sessions_that_was_set_aside_says_so_and_can_be_resumed():
    store, run = MemoryStore(), Owner("run", "poisonous-run")
    await begin(Process(store).pool, run)
    for _ in range(7):
        process = Process(store, alone=True)
        await process.pool.recover(lambda owner: True)
        await process.pool.close()
    process = Process(store, healthy=True)
    with pytest.raises(SessionSetAside, match="rojak runs resume"):
        await process.pool.ask(run, Ask(await_run="r", wait_s=20))
    reply = await process.pool.ask(run, Ask(commands=(Resume(),), await_run="r", wait_s=20))
    assert reply.run.status is RunStatus.COMPLETED
    await process.pool.close()
