"""Every request may be repeated with its id: in a moment because its reply was lost, or after a thousand others, a
restart and in a new cluster. It is taken once, and answered from the record."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest

from rojak_ray import Agent
from rojak_ray.agents import (
    AgentActivities,
    AgentCallParams,
    AgentResponse,
    AgentToolCall,
    ToolCallFunction,
    WaitForAnswer,
    function,
)
from rojak_ray.errors import CallNotWaiting, RequestConflict, RunCancelled, SessionNotFound, StorageError
from rojak_ray.sessions.handles import Session
from rojak_ray.sessions.types import OrchestratorResponse, UpdateConfigParams
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.runtime import InProcessRuntime
from rojak_ray.testing.stores import Call, FailAfter, FailBefore, FaultyStore

Result = TypeVar("Result")
OTHERS = 1_000
LONGEST_S = 60
MOST_WRITES = 100
MOST_CALLS = 300


class Scripted(Agent):
    """Pays, asks or talks, as the message says."""

    type: str = "scripted"
    model: str = "scripted-1"


class ScriptedActivities(AgentActivities):
    """Answers for it, and holds an answer to "wait" back until it is let go."""

    type = "scripted"

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.gate = asyncio.Event()

    async def call(self, params: AgentCallParams) -> AgentResponse:
        last = params.messages[-1]
        text = str(last.content)
        self.asked.append(text)
        if last.role == "user" and text == "wait":
            await self.gate.wait()
        if last.role == "user" and text in ("pay", "ask"):
            return AgentResponse(type="tool", tool_calls=[AgentToolCall("call_0", ToolCallFunction(text))])
        return AgentResponse(content=f"heard {text}")


@dataclass
class World:
    """One storage and the clusters on it, one after the other; what was paid in all of them."""

    store: Any = field(default_factory=MemoryStore)
    paid: list[str] = field(default_factory=list[str])
    model: ScriptedActivities = field(default_factory=ScriptedActivities)
    runtime: InProcessRuntime | None = None

    async def start(self) -> Session:
        """A new cluster on the storage, and the session there."""
        if self.runtime is not None:
            await self.runtime.close()
        self.runtime = InProcessRuntime(self.store)
        await self.runtime.__aenter__()
        self.model = ScriptedActivities()

        @function(at_most_once=True)
        async def pay() -> str:
            """Pay."""
            self.paid.append("paid")
            return "paid"

        async def ask() -> WaitForAnswer:
            """Ask."""
            return WaitForAnswer("May I?")

        await self.runtime.create_worker([self.model], functions=[pay, ask])
        try:
            return await self.runtime.get_session("s")
        except ValueError:
            return await self.runtime.create_session("s", Scripted(functions=["pay", "ask"]))

    async def stop(self) -> None:
        """End the cluster."""
        if self.runtime is not None:
            await self.runtime.close()


async def told(request: Callable[[], Awaitable[Result]]) -> Result:
    """What a request leads to in the end, for a caller who repeats it when its outcome is unknown."""
    for _ in range(9):
        try:
            return await request()
        except StorageError:
            continue
    raise AssertionError("the storage never came back")


async def questions(session: Session) -> list[str]:
    while not (found := [question.call_id for question in await told(session.open_questions)]):
        await asyncio.sleep(0)
    return found


async def until_queued(session: Session, count: int) -> None:
    async for event in session.events():
        count -= event.kind == "waiting"
        if not count:
            return


async def conversation(session: Session) -> dict[str, Any]:
    """One request of each kind; what each led to."""
    paid = await told(lambda: session.send_messages("pay", request_id="pay-1"))
    await told(lambda: session.update_config(UpdateConfigParams(max_turns=40), request_id="limit"))
    asking = asyncio.create_task(told(lambda: session.send_messages("ask", request_id="ask-1")))
    (call_id,) = await questions(session)
    await told(lambda: session.answer(call_id, "yes", request_id="press-1"))
    asked = await asking
    await told(lambda: session.cancel(request_id="stop-1"))
    return {"pay": paid, "ask": asked, "call_id": call_id}


async def repeated(session: Session, first: dict[str, Any]) -> None:
    """Each of them again: the same answers, and nothing happens."""
    for name in ("pay", "ask"):
        again: OrchestratorResponse = await session.send_messages(name, request_id=f"{name}-1")
        # A program that only found the session knows no class for its agent.
        assert replace(again, agent=None) == replace(first[name], agent=None)
    events = [event async for event in session.stream_messages("pay", request_id="pay-1")]
    assert [event.kind for event in events][:1] + [event.kind for event in events][-1:] == ["run_started", "run_ended"]
    await session.answer(first["call_id"], "yes", request_id="press-1")
    with pytest.raises(CallNotWaiting):
        await session.answer(first["call_id"], "yes", request_id="press-2")
    await session.update_config(UpdateConfigParams(max_turns=40), request_id="limit")
    await session.cancel(request_id="stop-1")
    for conflict in (
        session.send_messages("pay again", request_id="pay-1"),
        session.update_config(UpdateConfigParams(max_turns=41), request_id="limit"),
    ):
        with pytest.raises(RequestConflict):
            await conflict


async def test_after_a_thousand_others_a_restart_and_in_a_new_cluster() -> None:
    world = World()
    session = await world.start()
    first = await conversation(session)
    model = world.model
    waiting = asyncio.create_task(session.send_messages("wait", request_id="wait-1"))
    while "wait" not in model.asked:
        await asyncio.sleep(0)
    queued = [asyncio.create_task(session.send_messages("pay", request_id=f"queued-{n}")) for n in range(20)]
    await until_queued(session, 20)
    await session.cancel(request_id="stop-2")
    for ended in (waiting, *queued):
        with pytest.raises(RunCancelled):
            await ended
    for number in range(OTHERS):
        assert (await session.send_messages(f"{number}")).output == f"heard {number}"
    for _ in range(3):
        await session.update_config(UpdateConfigParams(max_turns=7))
        await repeated(session, first)
        assert (await session.get_config()).max_turns == 7, "the change was not made again"
        for number in range(20):
            with pytest.raises(RunCancelled):
                await session.send_messages("pay", request_id=f"queued-{number}")
        session = await world.start()
    await world.stop()
    assert world.paid == ["paid"]


@pytest.mark.parametrize("fault", [FailAfter(), FailBefore()], ids=["reply lost", "not done"])
async def test_whatever_write_fails_or_loses_its_reply(fault: Any) -> None:
    whole = World()
    expected = await conversation(await whole.start())
    await whole.stop()
    for number in range(1, MOST_WRITES):
        store, met = FaultyStore(MemoryStore()), list[Call]()
        world = World(store)
        session = await told(world.start)
        writes = iter(range(1, MOST_WRITES))

        def script(call: Call, writes: Iterator[int] = writes, met: list[Call] = met, number: int = number) -> Any:
            if call.operation == "put" and next(writes) == number:
                met.append(call)
                return fault
            return None

        store.script = script
        async with asyncio.timeout(LONGEST_S):
            found = await conversation(session)
            await repeated(session, found)
        assert world.paid == ["paid"], f"write {number}"
        for name in ("pay", "ask"):
            assert contents(found[name]) == contents(expected[name]), f"write {number}"
        await world.stop()
        if not met:
            return
    raise AssertionError("there is no end to the writes")


async def lifetimes(runtime: InProcessRuntime) -> None:
    """A session, a run and a named request each begin, end and begin again."""
    agent = Scripted(functions=["pay", "ask"])
    first = await told(lambda: runtime.create_session("t", agent, request_id="make-1"))
    await told(lambda: first.send_messages("pay", request_id="pay-1"))
    await told(lambda: runtime.delete_session("t", request_id="drop-1"))
    second = await told(lambda: runtime.create_session("t", agent, request_id="make-2"))
    await told(lambda: second.send_messages("good day", request_id="greet"))
    await told(lambda: runtime.create_session(agent=agent, request_id="unnamed"))
    await told(lambda: runtime.run("r", agent, "one"))
    await told(lambda: runtime.delete_run("r", request_id="drop-r"))
    await told(lambda: runtime.run("r", agent, "two"))
    await told(lambda: runtime.delete_session("unnamed", request_id="drop-2"))
    await told(lambda: runtime.delete_session("unnamed", request_id="drop-3"))
    await told(lambda: runtime.create_session("unnamed", agent, request_id="make-3"))
    await told(lambda: runtime.create_session(agent=agent, request_id="brief"))
    await told(lambda: runtime.delete_session("brief"))


async def lifetimes_repeated(runtime: InProcessRuntime) -> None:
    """Each of them again: nothing that came since is touched."""
    agent = Scripted(functions=["pay", "ask"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session = await runtime.create_session("t", agent, request_id="make-2")
        await runtime.create_session("unnamed", agent, request_id="make-3")
    with pytest.raises(SessionNotFound, match="deleted"):
        await runtime.create_session(agent=agent, request_id="brief")
    for given in ("t", "make-1"), (None, "unnamed"):  # the id is another session's by now
        with pytest.warns(UserWarning, match="already running"):
            await runtime.create_session(given[0], agent, request_id=given[1])
    with pytest.raises(RequestConflict):
        await runtime.create_session("t", agent, max_turns=3, request_id="make-2")
    await runtime.delete_session("t", request_id="drop-1")
    assert [message.content for message in await session.history()] == ["good day", "heard good day"]
    for number in (2, 3):
        await runtime.delete_session("unnamed", request_id=f"drop-{number}")
    await runtime.get_session("unnamed")
    await runtime.delete_run("r", request_id="drop-r")
    assert (await runtime.get_run_result("r")).output == "heard two"


async def test_creations_and_deletions_after_others_a_restart_and_in_a_new_cluster() -> None:
    world = World()
    await world.start()
    assert world.runtime is not None
    await lifetimes(world.runtime)
    for number in range(OTHERS // 10):
        await world.runtime.create_session("u", Scripted(), request_id=f"make-u-{number}")
        await world.runtime.delete_session("u", request_id=f"drop-u-{number}")
    await world.runtime.create_session("u", Scripted())
    for _ in range(3):
        await lifetimes_repeated(world.runtime)
        for number in range(OTHERS // 10):
            await world.runtime.delete_session("u", request_id=f"drop-u-{number}")
        await world.runtime.get_session("u")
        await world.start()
    await world.stop()


@pytest.mark.parametrize("fault", [FailAfter(), FailBefore()], ids=["reply lost", "not done"])
async def test_whatever_call_of_a_creation_or_deletion_fails_or_loses_its_reply(fault: Any) -> None:
    for number in range(1, MOST_CALLS):
        store, met = FaultyStore(MemoryStore()), list[Call]()
        world = World(store)
        await told(world.start)
        assert world.runtime is not None
        changes = iter(range(1, MOST_CALLS))

        def script(call: Call, changes: Iterator[int] = changes, met: list[Call] = met, number: int = number) -> Any:
            if call.operation in ("put", "delete") and next(changes) == number:
                met.append(call)
                return fault
            return None

        store.script = script
        async with asyncio.timeout(LONGEST_S):
            await lifetimes(world.runtime)
            store.script = lambda call: None
            await lifetimes_repeated(world.runtime)
        assert world.paid == ["paid"], f"call {number}"
        await world.stop()
        if not met:
            return
    raise AssertionError("there is no end to the calls")


def contents(response: OrchestratorResponse) -> list[Any]:
    return [message.content for message in response.messages]
