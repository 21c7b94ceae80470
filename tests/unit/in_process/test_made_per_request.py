"""What a program makes for each request is forgotten with the request: functions, what they hold, agents."""

import asyncio
import gc
import weakref
from typing import Any

from support.plan import PlanAgent, plan
from support.worlds import NEVER_S, world

from rojak_ray.agents import AgentExecuteFnResult
from rojak_ray.agents.program import this_program
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.replay import replay
from rojak_ray.schedules import ScheduleSpec, ScheduleState
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.storage.memory import MemoryStore

QUICK = PoolSettings(sweep_s=NEVER_S, code_wait_s=0.05)


class Request:
    """Something large, such as a request of a web server."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.body = "x" * 10_000


def agent_for(request: Request) -> PlanAgent:
    def whoami(default=request) -> str:  # type: ignore[no-untyped-def]
        return f"{request.number} {default.number}"

    def instructions() -> str:
        return f"For {request.number}."

    return PlanAgent(name=f"A{request.number}", functions=[whoami], instructions=instructions)


def handing_over(alive: list[Any], number: int) -> PlanAgent:
    def hand_over() -> AgentExecuteFnResult:
        request = Request(number)
        alive.append(weakref.ref(request))
        return AgentExecuteFnResult(output="over", agent=agent_for(request))

    return PlanAgent(name="First", functions=[hand_over])


async def still_there(alive: list[Any]) -> int:
    await asyncio.sleep(0)  # who asked has the answer first
    gc.collect()
    return sum(each() is not None for each in alive)


async def test_runs_leave_nothing_behind() -> None:
    alive: list[Any] = []
    gc.collect()
    known = len(this_program()._by_token)
    async with world(None, QUICK) as w:
        for number in range(20):
            request = Request(number)
            alive.append(weakref.ref(request))
            response = await w.rojak.run(agent=agent_for(request), messages=plan([["whoami", {}]], "x"))
            assert response.messages[2].content == f"{number} {number}"
            assert response.agent is not None
            assert callable(response.agent.functions[0])
            del request, response
        assert await still_there(alive) == 0
        assert len(this_program()._by_token) <= known


async def test_runs_that_nobody_waits_for_leave_nothing_behind_once_their_hosts_are_gone() -> None:
    alive: list[Any] = []
    async with world(None, QUICK) as w:
        for number in range(5):
            request = Request(number)
            alive.append(weakref.ref(request))
            await w.rojak.start_run(f"r{number}", agent_for(request), plan([["whoami", {}]], "x"))
            del request
        for number in range(5):
            async for event in w.rojak.get_run(f"r{number}").events():
                last = event
            assert last.status == "completed"
        for host in w.rojak._local._pool._open_hosts():
            await w.rojak._local._pool._let_go(host)
        assert await still_there(alive) == 0


async def test_what_functions_hand_over_is_there_for_the_answer_and_then_forgotten() -> None:
    alive: list[Any] = []
    async with world(None, QUICK) as w:
        for number in range(5):
            messages = plan([["hand_over", {}]], [["whoami", {}]], "x")
            response = await w.rojak.run(agent=handing_over(alive, number), messages=messages)
            assert response.agent.functions[0]() == f"{number} {number}"
            del response
        assert await still_there(alive) == 0


async def test_session_keeps_the_agents_that_something_of_it_names_and_forgets_the_others() -> None:
    alive: list[Any] = []
    store = MemoryStore()
    async with world(store, QUICK) as w:
        session = await w.rojak.create_session("s", agent_for(Request()))
        for number in range(40):
            request = Request(number)
            alive.append(weakref.ref(request))
            await session.send_messages(plan([["whoami", {}]], "x"), agent=agent_for(request))
            del request
        state = (await replay(store, Paths("rojak"), Owner("session", "s"))).state
        assert len(state.agents) <= len(state.named_agents) + 1 <= 20
        assert await still_there(alive) <= 20
        assert (await session.send_messages(plan([["whoami", {}]], "x"))).messages[2].content == "39 39"
        await w.rojak.delete_session("s")
        assert await still_there(alive) == 0


async def test_run_of_many_handovers_keeps_few_agents() -> None:
    alive: list[Any] = []
    store = MemoryStore()

    def endless(number: int) -> PlanAgent:
        def hand_over() -> AgentExecuteFnResult:
            request = Request(number)
            alive.append(weakref.ref(request))
            following = endless(number + 1)
            following.instructions = lambda: f"{request.number}"
            return AgentExecuteFnResult(output="over", agent=following)

        return PlanAgent(name=f"A{number}", functions=[hand_over])

    async with world(store, QUICK) as w:
        messages = plan(*([["hand_over", {}]] for _ in range(30)), "x")
        await w.rojak.run("r", endless(0), messages)
        state = (await replay(store, Paths("rojak"), Owner("run", "r"))).state
        assert len(alive) == 30
        assert len(state.agents) <= 4
        assert await still_there(alive) == 0


async def test_schedule_holds_what_it_names_until_it_is_deleted() -> None:
    alive: list[Any] = []
    async with world(None, QUICK) as w:
        request = Request(7)
        alive.append(weakref.ref(request))
        paused = ScheduleState(paused=True)
        schedule = await w.rojak.create_schedule(
            "s",
            ScheduleSpec(cron_expressions=["0 0 1 1 *"]),
            agent_for(request),
            plan([["whoami", {}]], "x"),
            state=paused,
        )
        del request
        assert await still_there(alive) == 1
        await schedule.trigger()
        async with asyncio.timeout(30):
            while not (runs := [run async for run in w.rojak.list_scheduled_runs("s", ["Completed"])]):
                await asyncio.sleep(0.01)
        assert (await w.rojak.get_run_result(runs[0])).messages[2].content == "7 7"
        await schedule.delete()
        for host in w.rojak._local._pool._open_hosts():
            await w.rojak._local._pool._let_go(host)
        assert await still_there(alive) == 0


async def test_requests_leave_no_objects_behind() -> None:
    async with world(None, QUICK) as w:

        async def objects_after(requests: int) -> int:
            for number in range(requests):
                await w.rojak.run(agent=agent_for(Request(number)), messages=plan("x"))
            for host in w.rojak._local._pool._open_hosts():
                await w.rojak._local._pool._let_go(host)
            w.store._objects.clear()  # type: ignore[attr-defined]
            w.model.asked.clear()
            gc.collect()
            return len(gc.get_objects())

        before = await objects_after(60)
        grown = await objects_after(60) - before
    assert grown < 60 * 3, f"{grown} objects of 60 requests stayed"
