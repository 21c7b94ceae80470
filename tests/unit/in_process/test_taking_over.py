"""A runtime ends in the middle of a run; another one on the same store goes on where it stopped."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from support.plan import PlanAgent, plan
from support.waiting import HANG_S
from support.worlds import World, world

from rojak_ray import ToolContext, function
from rojak_ray.storage.memory import MemoryStore


async def interrupted(store: MemoryStore, functions: list[Any], story: str, reached: Callable[[], Any]) -> None:
    """Start the story as run `r` and end the runtime once the condition holds, without cancelling the run."""
    async with world(store) as w:
        await w.rojak.start_run("r", PlanAgent(name="A", functions=functions), story)
        async with asyncio.timeout(HANG_S):
            while not reached():
                await asyncio.sleep(0)


async def resumed(w: World, functions: list[Any]) -> Any:
    """Make the functions known again, as a program that starts anew does, and wait for the run."""
    for fn in functions:
        w.rojak._gateway.refer(fn)
    async with asyncio.timeout(HANG_S):
        return await w.rojak.get_run_result("r")


async def test_unfinished_step_runs_again_with_its_key_and_the_next_attempt() -> None:
    calls: list[tuple[str, str, int]] = []
    gate = asyncio.Event()

    async def quick(context: ToolContext) -> str:
        calls.append(("quick", context.idempotency_key, context.attempt))
        return "quick"

    async def slow(context: ToolContext) -> str:
        calls.append(("slow", context.idempotency_key, context.attempt))
        await gate.wait()
        return "slow"

    store, functions = MemoryStore(), [quick, slow]
    await interrupted(store, functions, plan([["quick", {}]], [["slow", {}]], "end"), lambda: len(calls) == 2)
    gate.set()
    async with world(store) as w:
        response = await resumed(w, functions)

    assert response.messages[-1].content == "end"
    assert [(name, attempt) for name, _, attempt in calls] == [("quick", 1), ("slow", 1), ("slow", 2)]
    assert calls[1][1] == calls[2][1] != calls[0][1]


@pytest.mark.parametrize("sequential", [False, True])
async def test_at_most_once_call_is_not_started_again_by_the_next_runtime(sequential: bool) -> None:
    charged: list[int] = []

    @function(at_most_once=True)
    async def charge(context: ToolContext) -> str:
        charged.append(context.attempt)
        return str(await asyncio.Event().wait())

    @function(at_most_once=True)
    async def charge_in_turn(context_variables: dict[str, Any]) -> str:
        charged.append(0)
        return str(await asyncio.Event().wait())

    fn = charge_in_turn if sequential else charge
    store = MemoryStore()
    await interrupted(store, [fn], plan([[fn.__name__, {}]], "end"), lambda: charged)
    async with world(store) as w:
        response = await resumed(w, [fn])

    assert len(charged) == 1
    assert "interrupted" in (response.messages[2].content or "")
    assert response.messages[-1].content == "end"


async def test_question_under_way_is_asked_again_by_the_next_runtime_once() -> None:
    store = MemoryStore()
    held = asyncio.Event()
    async with world(store) as w:
        original = w.model.call

        async def hold(params: Any) -> Any:
            held.set()
            await asyncio.Event().wait()
            return await original(params)

        w.model.call = hold  # type: ignore[method-assign]
        await w.rojak.start_run("r", PlanAgent(name="A"), plan("answer"))
        await asyncio.wait_for(held.wait(), 5)
    async with world(store) as w:
        response = await resumed(w, [])
        asked = len(w.model.asked)

    assert response.messages[-1].content == "answer"
    assert asked == 1
