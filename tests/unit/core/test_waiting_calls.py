"""Calls that wait for an answer from outside: given these events, when somebody answers or time passes, then these."""

from datetime import UTC, datetime, timedelta

import pytest
from support.stories import TRANSIENT, Story, agent, call, running, tool

from rojak_ray.agents.spec import PolicySpec
from rojak_ray.core.commands import AnswerCall, CancelRun, CheckTimers, RecordStep, Recover, Rest
from rojak_ray.core.events import AnswerAwaited, FunctionReturned, Recovered, Rested
from rojak_ray.core.steps import WaitingResult
from rojak_ray.core.waiting import next_due
from rojak_ray.errors import CallNotWaiting

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def waits(story: Story, call_id: str, *, timeout_s: float | None = None, **changes) -> Story:
    """The function of a pending call returned without a result."""
    step = story.call_step(call_id)
    result = WaitingResult(question="May I?", timeout_s=timeout_s, **changes)
    return story.when(RecordStep(step_id=step.step_id, attempt=step.attempt, result=result, at=NOON))


def answer(call_id: str, output: str = "yes", answer_id: str = "a1") -> AnswerCall:
    return AnswerCall(call_id=call_id, answer_id=answer_id, output=output)


def test_call_that_waits_is_recorded_with_its_deadline_and_asks_for_no_work():
    story = waits(running().asks(call("c1")), "c1", timeout_s=86400)
    story.then(AnswerAwaited(step_id="r1/0/call/0", question="May I?", until=NOON + DAY)).pending()
    assert [waiting.planned.call.id for waiting in story.state.awaited] == ["c1"]
    assert not story.state.idle
    assert next_due(story.state) == NOON + DAY


def test_answer_becomes_the_calls_result_and_the_run_goes_on():
    story = waits(running().asks(call("c1")), "c1", context_set={"asked": True}).when(answer("c1", "granted"))
    story.then(FunctionReturned(step_id="r1/0/call/0", output="granted", answer_id="a1")).pending("r1/1/model")
    assert story.model_step.messages[-1] == tool("c1", "granted")
    assert story.says("done").outcome().context_variables == {"asked": True}


def test_same_answer_again_is_taken_once_also_while_another_call_waits():
    story = waits(waits(running().asks(call("c1"), call("c2")), "c1"), "c2").when(answer("c1"))
    story.when(answer("c1")).then()
    with pytest.raises(CallNotWaiting):
        story.when(answer("c1", answer_id="a2"))
    story.when(answer("c2", answer_id="a2")).pending("r1/1/model")


@pytest.mark.parametrize("call_id", ["c1", "unknown"])
def test_answer_to_a_call_that_does_not_wait_is_refused(call_id):
    with pytest.raises(CallNotWaiting, match=call_id):
        running().asks(call("c1")).when(answer(call_id))


def test_others_run_while_one_waits_but_those_that_share_the_context_stay_in_order():
    asked = running().asks(call("c1", sequential=True), call("c2"), call("c3", sequential=True))
    story = waits(asked.pending_calls("c1", "c2"), "c1").pending_calls("c2")
    story.returns("c2").pending().when(answer("c1")).pending_calls("c3")


def test_model_is_told_when_nobody_answers_in_time():
    story = waits(running().asks(call("c1", "ask_boss")), "c1", timeout_s=60)
    story.when(CheckTimers(at=NOON + timedelta(seconds=59))).then().pending()
    late = story.when(CheckTimers(at=NOON + timedelta(seconds=60))).pending("r1/1/model")
    assert late.model_step.messages[-1].content == "TimeoutError: nobody answered ask_boss in time."
    with pytest.raises(CallNotWaiting):
        late.when(answer("c1"))


def test_cancelled_run_waits_for_nothing():
    story = waits(running().asks(call("c1")), "c1").when(CancelRun()).pending()
    assert story.state.idle
    with pytest.raises(CallNotWaiting):
        story.when(answer("c1"))


def test_host_that_finds_a_resting_conversation_counts_no_interruption():
    story = waits(running().asks(call("c1")), "c1").when(Rest()).then(Rested())
    story = story.when(Recover()).then(Recovered(interrupted=False))
    for _ in range(20):
        story = story.when(Rest()).when(Recover()).then(Recovered(interrupted=False))
    assert story.state.set_aside is None
    assert story.state.run.recoveries == 0
    again = story.when(answer("c1"))
    assert not again.state.run.rested
    again.when(Recover()).then_kinds("recovered")


def test_what_a_host_begins_after_a_second_rest_counts_as_under_way():
    story = waits(running().asks(call("c1")), "c1")
    for _ in range(2):
        story = story.when(Rest()).then(Rested()).when(Recover()).then(Recovered(interrupted=False))
        assert not story.state.run.rested, "or the next host would take what this one begins for never begun"


def test_only_a_conversation_with_nothing_to_do_may_rest():
    asked = running().asks(call("c1", at_most_once=True), call("c2"))
    asked.when(Rest()).then()
    story = waits(asked, "c2", timeout_s=60)
    story.when(Rest()).then()
    waiting = waits(story, "c1")
    waiting.when(Rest()).then(), "it has a deadline"
    waiting.when(Rest(until=NOON + timedelta(seconds=61))).then()
    waiting.when(Rest(until=NOON + timedelta(seconds=60))).then_kinds("rested")


def test_wait_for_another_attempt_keeps_its_time_through_a_rest():
    policy = PolicySpec(initial_interval_s=3600, maximum_attempts=3)
    story = running(agent(policy=policy))
    step = story.model_step
    failed = story.when(RecordStep(step_id=step.step_id, attempt=1, result=TRANSIENT, at=NOON))
    due = failed.model_step.due
    assert timedelta(hours=1) <= due - NOON <= timedelta(hours=1.25)
    assert next_due(failed.state) == due
    rested = failed.when(Rest(until=due)).then_kinds("rested").when(Recover())
    rested.then(Recovered(interrupted=False))
    assert (rested.model_step.attempt, rested.model_step.due) == (2, due)
