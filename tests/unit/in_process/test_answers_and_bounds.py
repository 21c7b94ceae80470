"""What a caller sees of how an answer ended, and of the bound on model calls, wherever that bound is set."""

import math
from datetime import timedelta
from typing import Any

import pytest
from support.plan import PlanAgent, plan
from support.waiting import until
from support.worlds import world

from rojak_ray import RunFailed
from rojak_ray.agents import AgentActivities, AgentCallParams, AgentResponse
from rojak_ray.errors import InvalidLimit
from rojak_ray.schedules import ScheduleIntervalSpec, ScheduleSpec
from rojak_ray.workflows import UpdateConfigParams


def again() -> str:
    """Once more."""
    return "again"


LOOP = PlanAgent(name="Looper", functions=[again])
THREE_CALLS = plan(*[[["again", {}]]] * 3, "out of it")


class Ends(AgentActivities):
    """Answers with the text of the message, ended the way it names: `reason|text`."""

    type = "plan"

    async def call(self, params: AgentCallParams) -> AgentResponse:
        reason, _, text = str(params.messages[-1].content).partition("|")
        return AgentResponse(content=text, finish_reason=reason or None)


@pytest.mark.parametrize(
    ("word", "reason"),
    [("end_turn", "stop"), ("", "stop"), ("max_tokens", "length"), ("refusal", "refusal"), ("whim", "other")],
)
async def test_response_events_and_record_tell_how_the_answer_ended(word: str, reason: str) -> None:
    async with world() as w:
        await w.rojak.create_worker([Ends()])
        response = await w.rojak.run("r", PlanAgent(name="A"), f"{word}|so far")
        assert (response.output, response.finish_reason, response.raw_finish_reason) == ("so far", reason, word or None)
        assert await w.rojak.get_run_result("r") == response
        events = [event async for event in w.rojak.get_run("r").events()]
    assert [event.finish_reason for event in events if event.kind in ("message", "run_ended")] == [reason, reason]
    assert [event.raw_finish_reason for event in events if event.kind == "run_ended"] == [word or None]


async def test_output_is_the_text_of_the_last_answer_and_never_of_the_input() -> None:
    story = plan([["again", {}]], "done")
    agent = PlanAgent(name="A", functions=[again])
    said = [{"role": "user", "content": story}, {"role": "assistant", "content": "earlier"}]
    async with world() as w:
        assert (await w.rojak.run(agent=agent, messages=story)).output == "done"
        cut = await w.rojak.run(agent=agent, messages=story, max_turns=2)
        assert (cut.output, cut.finish_reason, cut.messages[-1].content) == ("", "max_turns", "again")
        none = await w.rojak.run(agent=agent, messages=said, max_turns=0)
        assert (none.output, none.finish_reason) == ("", "max_turns")


async def test_loop_fails_at_its_bound_wherever_that_is_set() -> None:
    async with world() as w:
        with pytest.raises(RunFailed, match="max_model_calls=3") as failed:
            await w.rojak.run(agent=LOOP, messages=THREE_CALLS, max_model_calls=3)
        assert (failed.value.finish_reason, failed.value.error_type) == ("max_model_calls", "MaxModelCalls")
        assert (await w.rojak.run(agent=LOOP, messages=THREE_CALLS, max_model_calls=4)).output == "out of it"
        assert (await w.rojak.run(agent=LOOP, messages=THREE_CALLS, max_model_calls=math.inf)).output == "out of it"
        session = await w.rojak.create_session("s", LOOP, max_model_calls=3)
        assert (await session.get_config()).max_model_calls == 3
        with pytest.raises(RunFailed, match="update_config"):
            await session.send_messages(THREE_CALLS)
        for lifted in (math.inf, 10**400):
            await session.update_config(UpdateConfigParams(max_model_calls=3, max_turns=9))
            await session.update_config(UpdateConfigParams(max_model_calls=lifted, max_turns=lifted))
            config = await session.get_config()
            assert (config.max_model_calls, config.max_turns) == (math.inf, math.inf)
        assert (await session.send_messages(THREE_CALLS)).output == "out of it"
        with pytest.raises(RunFailed):
            async for _ in w.rojak.stream(agent=LOOP, messages=THREE_CALLS, max_model_calls=1):
                pass


async def test_schedule_bounds_its_runs() -> None:
    async with world() as w:
        later = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(days=400))])
        handle = await w.rojak.create_schedule("loops", later, LOOP, THREE_CALLS, max_model_calls=2)
        assert (await handle.describe()).schedule.action.max_model_calls == 2
        await handle.trigger()

        async def started() -> list[str]:
            return [run async for run in w.rojak.list_scheduled_runs("loops")]

        await until(started, "a scheduled run")
        with pytest.raises(RunFailed, match="max_model_calls=2"):
            await w.rojak.get_run_result((await started())[0])
        with pytest.raises(InvalidLimit, match="max_model_calls"):
            await w.rojak.create_schedule("bad", later, LOOP, "hi", max_model_calls=0)


@pytest.mark.parametrize("bad", [0, -1, math.nan, "many"])
async def test_bound_that_makes_no_sense_is_refused_before_anything_is_stored(bad: Any) -> None:
    async with world() as w:
        with pytest.raises(InvalidLimit, match="max_model_calls"):
            await w.rojak.run("r", LOOP, "hi", max_model_calls=bad)
        with pytest.raises(InvalidLimit, match="max_model_calls"):
            await w.rojak.create_session("s", LOOP, max_model_calls=bad)
        assert not w.store.snapshot()


async def test_same_run_with_another_bound_is_another_request() -> None:
    async with world() as w:
        await w.rojak.run("r", LOOP, plan("hi"))
        await w.rojak.run("r", LOOP, plan("hi"), max_model_calls=100)
        with pytest.raises(ValueError, match="'r'"):
            await w.rojak.run("r", LOOP, plan("hi"), max_model_calls=7)
