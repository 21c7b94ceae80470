"""What runs a step is not known: the run waits for a worker and says for what, and runs nothing else in its place."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support.plan import PlanActivities, PlanAgent, plan
from support.worlds import NEVER_S, World, world

from rojak_ray import RunFailed
from rojak_ray.agents import Retriever
from rojak_ray.cli.conversation_commands import Place, show
from rojak_ray.core.events import RunStatus
from rojak_ray.errors import FunctionNotFound
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.replay import replay
from rojak_ray.retrievers import RetrieverActivities
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.runtime import InProcessRuntime

HANG_S = 30
PATIENT = PoolSettings(sweep_s=NEVER_S, code_wait_s=HANG_S)


def balance_of(customer: str) -> Any:
    def balance() -> str:
        return f"balance of {customer}"

    return balance


def bank(customer: str) -> PlanAgent:
    return PlanAgent(name="Bank", functions=[balance_of(customer)])


def told(response: Any) -> list[str]:
    return [message.content for message in response.messages if message.role == "tool"]


async def open_account(store: MemoryStore) -> None:
    """A session of a program that then ends: nothing of it is left but storage."""
    async with world(store) as w:
        await w.rojak.create_session("alice", bank("alice"))
    gc.collect()


async def waiting(w: World, owner: Owner) -> Any:
    """The event that tells what a conversation waits for."""
    handle = w.rojak.get_run(owner.id) if owner.kind == "run" else await w.rojak.get_session(owner.id)
    async for event in handle.events():
        if event.kind == "waiting":
            return event
    raise AssertionError("it does not wait")


async def helped(ask: Awaitable[Any], w: World, owner: Owner, help: Callable[[], Awaitable[Any]]) -> tuple[Any, Any]:
    """The answer, once somebody has helped who saw what is waited for; and the event."""
    async with asyncio.timeout(HANG_S):
        asking = asyncio.ensure_future(ask)
        event = await waiting(w, owner)
        assert not asking.done()
        await help()
        return await asking, event


async def test_after_a_restart_a_closure_is_waited_for_and_found_by_content(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    await open_account(store)
    async with world(store, PATIENT) as w:
        alice = await w.rojak.get_session("alice")
        others = PlanAgent(name="Bank", functions=[balance_of("bob")])
        mine = balance_of("alice")
        await w.rojak.run(agent=others, messages=plan("here I am"))
        response, event = await helped(
            alice.send_messages(plan([["balance", {}]])),
            w,
            Owner("session", "alice"),
            lambda: w.rojak.create_worker(functions=[mine]),
        )
        state = (await replay(store, Paths("rojak"), Owner("session", "alice"))).state
    assert told(response) == ["balance of alice"]
    assert (event.reason, event.what, event.name, event.agent) == ("worker", "function", "balance", "Bank")
    assert "function 'balance' of agent 'Bank'" in caplog.text
    assert state.run is None


async def test_what_it_waits_for_is_in_storage_and_nobody_elses_function_is_run() -> None:
    store = MemoryStore()
    await open_account(store)
    async with world(store, PATIENT) as w:
        alice = await w.rojak.get_session("alice")
        bobs = balance_of("bob")
        await w.rojak.create_worker(functions=[bobs])
        asking = asyncio.create_task(alice.send_messages(plan([["balance", {}]])))
        async with asyncio.timeout(HANG_S):
            await waiting(w, Owner("session", "alice"))
        run = (await replay(store, Paths("rojak"), Owner("session", "alice"))).state.run
        asking.cancel()
    assert run is not None
    assert [(one.what, one.name, one.agent) for one in run.awaited_code.values()] == [("function", "balance", "Bank")]
    async with world(store, PoolSettings(sweep_s=NEVER_S, code_wait_after_loss_s=0.05)) as w:
        await w.rojak.create_worker(functions=[bobs])
        async with asyncio.timeout(HANG_S):
            ended = [event async for event in (await w.rojak.get_session("alice")).events(until_idle=True)][-1]
    assert ended.status == RunStatus.FAILED
    assert "FunctionNotFound: Function balance not found" in ended.error
    assert "agent=..." in ended.error


async def test_a_conversation_that_is_given_its_agent_again_goes_on_with_it() -> None:
    store = MemoryStore()
    await open_account(store)
    async with world(store) as w:
        alice = await w.rojak.get_session("alice")
        assert told(await alice.send_messages(plan([["balance", {}]]), agent=bank("alice"))) == ["balance of alice"]
        assert told(await alice.send_messages(plan([["balance", {}]]))) == ["balance of alice"]


async def test_a_name_is_waited_for_and_means_what_a_worker_registers() -> None:
    async with world(None, PATIENT) as w:
        bobs = balance_of("bob")
        agent = PlanAgent(name="Bank", functions=["balance"])
        response, event = await helped(
            (await w.rojak.start_run("r", agent, plan([["balance", {}]]))).result(),
            w,
            Owner("run", "r"),
            lambda: w.rojak.create_worker(functions=[bobs]),
        )
    assert told(response) == ["balance of bob"]
    assert (event.what, event.name, event.agent) == ("function", "balance", "Bank")


async def test_instructions_that_a_worker_has_to_write_are_waited_for() -> None:
    async with world(None, PATIENT) as w:

        def write() -> str:
            return "Be kind."

        agent = PlanAgent(name="A", instructions={"type": "function", "name": "write"})
        _, event = await helped(
            (await w.rojak.start_run("r", agent, plan("x"))).result(),
            w,
            Owner("run", "r"),
            lambda: w.rojak.create_worker(functions=[write]),
        )
        assert w.model.asked[-1].messages[0].content == "Be kind."
    assert (event.what, event.name) == ("function", "write")


async def test_a_provider_is_waited_for_by_its_type() -> None:
    class Other(PlanActivities):
        type = "other"

    async with world(None, PATIENT) as w:
        agent = PlanAgent(name="A", type="other")
        response, event = await helped(
            (await w.rojak.start_run("r", agent, plan("hi"))).result(),
            w,
            Owner("run", "r"),
            lambda: w.rojak.create_worker([Other()]),
        )
    assert response.messages[-1].content == "hi"
    assert (event.what, event.name, event.agent) == ("provider", "other", "A")


async def test_a_retriever_is_waited_for_by_its_type() -> None:
    class Reader(RetrieverActivities):
        type = "reader"

        async def retrieve_and_combine_results(self, text: str) -> str:
            return "a page"

    async with world(None, PATIENT) as w:
        agent = PlanAgent(name="A", retriever=Retriever(type="reader"))
        _, event = await helped(
            (await w.rojak.start_run("r", agent, plan("hi"))).result(),
            w,
            Owner("run", "r"),
            lambda: w.rojak.create_worker([], [Reader()]),
        )
        assert "a page" in str(w.model.asked[-1].messages[0].content)
    assert (event.what, event.name) == ("retriever", "reader")


async def test_a_name_the_model_made_up_is_told_at_once() -> None:
    async with world(None, PATIENT) as w:
        async with asyncio.timeout(HANG_S):
            response = await w.rojak.run("r", bank("alice"), plan([["invented", {}]], "sorry"))
        events = [event async for event in w.rojak.get_run("r").events()]
    assert told(response) == ["FunctionNotFound: Function invented not found"]
    assert not [event for event in events if event.kind == "waiting"]


async def test_function_that_raises_our_own_error_is_not_waited_for() -> None:
    def odd() -> str:
        raise FunctionNotFound("a thing of mine is missing")

    async with world(None, PATIENT) as w:
        async with asyncio.timeout(HANG_S):
            response = await w.rojak.run(agent=PlanAgent(name="A", functions=[odd]), messages=plan([["odd", {}]], "x"))
    assert told(response) == ["FunctionNotFound: a thing of mine is missing"]


async def test_function_that_vanishes_between_question_and_call_ends_the_run_and_the_model_is_told_nothing() -> None:
    async with world() as w:
        agent = PlanAgent(name="Bank", functions=["balance"])
        bobs = balance_of("bob")
        await w.rojak.create_worker(functions=[bobs])
        w.model.before = lambda params: w.rojak._local.functions._by_name.clear()
        with pytest.raises(RunFailed, match=r"call of balance of agent 'Bank' failed.*FunctionNotFound"):
            await w.rojak.run(agent=agent, messages=plan([["balance", {}]], "end"))
        assert len(w.model.asked) == 1


async def test_waiting_is_bounded_and_fails_with_what_to_do() -> None:
    async with world() as w:
        with pytest.raises(RunFailed, match=r"Function balance not found: no worker has registered it.*create_worker"):
            await w.rojak.run(agent=PlanAgent(name="Bank", functions=["balance"]), messages=plan("x"))


async def test_a_person_who_looks_is_told_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Place.of(str(tmp_path), "rojak")
    async with InProcessRuntime(str(tmp_path), settings=PATIENT) as rojak:
        await rojak.create_worker([PlanActivities()])
        await rojak.start_run("r", PlanAgent(name="Bank", functions=["balance"]), plan("x"))
        async with asyncio.timeout(HANG_S):
            async for event in rojak.get_run("r").events():
                if event.kind == "waiting":
                    break
    await show(place, Owner("run", "r"), as_json=False)
    assert "waits for a worker: nobody has registered function balance of agent Bank" in capsys.readouterr().out
    await show(place, Owner("run", "r"), as_json=True)
    assert '"awaited_code"' in capsys.readouterr().out
