"""A host opens the journal of one that was lost: what it starts, and with which attempt."""

import asyncio
from typing import Any

from support.journals import Desk, Operation
from support.waiting import HANG_S

from rojak_ray.agents.spec import AgentSpec, FunctionRef
from rojak_ray.core.commands import OpenSession, StartRun
from rojak_ray.core.events import CallPlan, PlannedCall
from rojak_ray.core.steps import CallModel, ModelResult, Step, StepResult
from rojak_ray.messages import Message, ToolCall
from rojak_ray.sessions.host import SessionHost
from rojak_ray.sessions.requests import Ask

AGENT = AgentSpec(type="t", name="A", model="m", instructions="x", functions=(FunctionRef(name="f"),))


class Spy:
    """Answers questions with one call, never finishes a function, and remembers what it was given."""

    def __init__(self, plan: CallPlan) -> None:
        self.plan = plan
        self.given: list[tuple[str, int]] = []

    async def execute(self, step: Step) -> StepResult:
        self.given.append((step.kind, step.attempt))
        if isinstance(step, CallModel):
            if step.messages[-1].role == "tool":
                return ModelResult(content=step.messages[-1].content)
            call = ToolCall(id="c", name="f")
            return ModelResult(calls=(PlannedCall(call=call, plan=self.plan),))
        return await asyncio.Event().wait()  # type: ignore[return-value]


async def slowly(operation: Operation) -> Any:
    """A store that takes its time, so that whatever was started meanwhile runs."""
    for _ in range(10):
        await asyncio.sleep(0)
    return await operation.run()


async def lost_in_a_function(plan: CallPlan) -> Desk:
    """A journal whose host was lost while a function ran."""
    desk, spy = Desk(), Spy(plan)
    host = SessionHost(desk.journal(), spy, desk.clock)
    await host.open()
    opening = OpenSession(owner_kind="session", owner_id="s", incarnation="i", agent=AGENT)
    start = StartRun(run_id="r", input_digest="d", messages=(Message(role="user", content="hi"),))
    await host.ask(Ask(commands=(opening, start)))
    async with asyncio.timeout(HANG_S):
        while ("call_function", 1) not in spy.given:
            await asyncio.sleep(0)
    await host.close()
    return desk


async def test_call_that_may_run_once_is_not_even_started_by_the_next_host() -> None:
    plan = CallPlan(at_most_once=True)
    desk = await lost_in_a_function(plan)
    spy = Spy(plan)
    host = SessionHost(desk.journal(slowly), spy, desk.clock)
    await host.open()
    reply = await host.ask(Ask(await_run="r", wait_s=5))

    assert spy.given == [("call_model", 1)]
    assert reply.run is not None
    assert "interrupted" in (reply.run.messages[-1].content or "")
    await host.close()


async def test_unfinished_call_is_started_once_by_the_next_host_as_its_second_attempt() -> None:
    desk = await lost_in_a_function(CallPlan())
    spy = Spy(CallPlan())
    host = SessionHost(desk.journal(slowly), spy, desk.clock)
    await host.open()
    async with asyncio.timeout(HANG_S):
        while not spy.given:
            await asyncio.sleep(0)
    for _ in range(60):
        await asyncio.sleep(0)

    assert spy.given == [("call_function", 2)]
    await host.close()
