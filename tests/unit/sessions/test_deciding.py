"""A value or a bug in deciding on one thing ends neither the conversation nor its host."""

import asyncio
import math
from unittest import mock

import pytest
from support.plan import PlanAgent, plan
from support.waiting import until
from support.worlds import world

from rojak_ray import WaitForAnswer
from rojak_ray.core.commands import RecordStep
from rojak_ray.errors import InternalError, RunFailed
from rojak_ray.sessions import deciding


@pytest.mark.parametrize("limit", [math.inf, 1e12, None])
async def test_a_call_that_waits_for_ever_runs_once_and_waits(limit):
    sent = []

    async def ask_boss() -> WaitForAnswer:
        sent.append(1)
        return WaitForAnswer("May I?", timeout_in_seconds=limit)

    async with world() as w:
        handle = await w.rojak.start_run("r", PlanAgent(name="A", functions=[ask_boss]), plan([["ask_boss", {}]], "ok"))
        (question,) = await until(handle.open_questions, "the question")
        assert question.until is None
        await handle.answer(question.call_id, "yes")
        assert (await handle.result()).messages[-1].content == "ok"
    assert len(sent) == 1


@pytest.mark.parametrize("limit", [math.nan, 0, -1, -math.inf])
def test_a_time_that_is_none_is_refused(limit):
    with pytest.raises(ValueError, match="timeout_in_seconds of WaitForAnswer must be more than 0"):
        WaitForAnswer("May I?", timeout_in_seconds=limit)


@pytest.mark.parametrize("error", [OverflowError, ValueError, RecursionError, KeyError])
async def test_a_result_that_cannot_be_decided_on_fails_its_step_and_the_function_is_not_repeated(error):
    calls = []

    async def act() -> str:
        calls.append(1)
        return "poison"

    decide = deciding.decide

    def broken(state, command):
        if isinstance(command, RecordStep) and "poison" in command.result.model_dump_json():
            raise error("no such date")
        return decide(state, command)

    async with world() as w:
        with mock.patch.object(deciding, "decide", broken):
            response = await asyncio.wait_for(
                w.rojak.run("r", PlanAgent(name="A", functions=[act]), plan([["act", {}]], "went on")), 60
            )
    assert len(calls) == 1
    told = next(message.content for message in response.messages if message.role == "tool")
    assert "cannot be recorded" in told
    assert response.messages[-1].content == "went on"


async def test_a_request_that_cannot_be_decided_on_is_refused_alone():
    decide = deciding.decide

    def broken(state, command):
        if command.kind == "start_run" and command.run_id == "bad":
            raise ZeroDivisionError("a bug")
        return decide(state, command)

    async with world() as w:
        session = await w.rojak.create_session("s", PlanAgent(name="A"))
        with (
            mock.patch.object(deciding, "decide", broken),
            mock.patch.object(w.rojak._caller.ids, "new_id", return_value="bad"),
            pytest.raises((InternalError, RunFailed), match="a bug"),
        ):
            await session.send_messages(plan("never"))
        assert (await session.send_messages(plan("fine"))).messages[-1].content == "fine"
