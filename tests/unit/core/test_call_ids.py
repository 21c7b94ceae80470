"""Calls are known by ids of our own: an answer reaches the question it was meant for, or nobody."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from support.stories import Story, agent, call, open_session, running, start_run

from rojak_ray.core.commands import AnswerCall, CancelRun, CheckTimers, Delete, RecordStep
from rojak_ray.core.state import SessionState
from rojak_ray.core.steps import CallFunction, WaitingResult
from rojak_ray.errors import CallNotWaiting, RequestConflict
from rojak_ray.sessions.requests import view_awaited

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def waits(story: Story, *, timeout_s: float | None = None) -> Story:
    """The function of the first pending call asks somebody."""
    step = next(step for step in story.steps if isinstance(step, CallFunction))
    result = WaitingResult(question=f"{step.call_id}?", timeout_s=timeout_s, options=("yes", "no"))
    return story.when(RecordStep(step_id=step.step_id, attempt=step.attempt, result=result, at=NOON))


def answer(call_id: str, output: str = "yes", answer_id: str = "a1") -> AnswerCall:
    return AnswerCall(call_id=call_id, answer_id=answer_id, output=output)


def reason(story: Story, call_id: str, answer_id: str = "late") -> str:
    """Why an answer is refused."""
    with pytest.raises(CallNotWaiting) as refused:
        story.when(answer(call_id, answer_id=answer_id))
    assert call_id in str(refused.value)
    return refused.value.reason


def test_open_question_has_our_id_and_the_vendors():
    (question,) = view_awaited(waits(running().asks(call("call_0"))).state)
    assert (question.call_id, question.tool_call_id) == ("r1/0/call/0", "call_0")
    assert (question.question, question.options) == ("r1/0/call/0?", ("yes", "no"))


def test_function_learns_the_id_its_question_will_have():
    story = running().asks(call("call_0"))
    step = story.call_step("call_0")
    assert step.call_id == view_awaited(waits(story).state)[0].call_id


def test_doubled_answer_does_not_reach_the_next_question_of_the_same_vendors_id():
    story = waits(waits(running().asks(call("call_0"))).when(answer("r1/0/call/0")).asks(call("call_0")))
    assert reason(story, "r1/0/call/0") == "answered"
    assert reason(story, "call_0") == "ambiguous", "it may be meant for the first"
    story.when(answer("r1/1/call/0", answer_id="a2")).pending("r1/2/model")


def test_late_answer_does_not_reach_a_question_of_another_run():
    story = waits(running().asks(call("call_0")), timeout_s=60).when(CheckTimers(at=NOON + timedelta(minutes=1)))
    story = waits(story.says("done").when(start_run("r2", "again")).asks(call("call_0")))
    assert reason(story, "r1/0/call/0") == "expired"
    assert reason(story, "call_0") == "ambiguous"


def test_vendors_id_is_taken_while_it_can_mean_one_call_only():
    waits(running().asks(call("call_0"))).when(answer("call_0")).pending("r1/1/model")
    two = waits(waits(running().asks(call("call_0"), call("call_0"))))
    assert reason(two, "call_0") == "ambiguous"
    two.when(answer("r1/0/call/1")).when(answer("r1/0/call/0", answer_id="a2")).pending("r1/1/model")


def test_vendors_id_that_looks_like_ours_does_not_stand_in_for_it():
    story = waits(waits(running().asks(call("r1/0/call/1"), call("x"))))
    taken = story.when(answer("r1/0/call/1"))
    assert [question.tool_call_id for question in view_awaited(taken.state)] == ["r1/0/call/1"]


def test_same_answer_again_does_nothing_also_after_its_run():
    story = waits(running().asks(call("c"))).when(answer("r1/0/call/0"))
    story.when(answer("r1/0/call/0")).then()
    done = story.says("done")
    done.when(answer("r1/0/call/0")).then()
    done.when(answer("c")).then()
    assert reason(done, "r1/0/call/0", "another") == "answered"


@pytest.mark.parametrize("other", [answer("r1/0/call/0", "no"), answer("r1/0/call/1")], ids=["output", "call"])
def test_answer_id_of_another_answer_is_a_conflict(other):
    story = waits(waits(running().asks(call("c"), call("d")))).when(answer("r1/0/call/0"))
    with pytest.raises(RequestConflict, match="a1"):
        story.when(other)


def test_answer_is_told_why_it_comes_to_nothing():
    story = running().asks(call("c"), call("d"))
    assert reason(story, "r1/0/call/0") == "not_yet"
    assert reason(story, "r1/7/call/0") == "unknown"
    assert reason(story.returns("c"), "r1/0/call/0") == "answered"
    waiting = waits(story)
    cancelled = waiting.when(CancelRun())
    assert reason(cancelled, "r1/0/call/0") == "run_ended"
    assert reason(cancelled, "nonsense") == "unknown"


def test_answer_to_a_deleted_conversation_does_not_reach_the_one_that_took_its_id():
    story = waits(running().asks(call("c"))).when(Delete(), open_session(incarnation="i2"), start_run("r1", "hi"))
    story = waits(story.asks(call("c")))
    (question,) = view_awaited(story.state)
    assert question.call_id == "r1/0/call/0@i2"
    assert reason(story, "r1/0/call/0") == "unknown"
    story.when(answer(question.call_id)).pending("r1/1/model")


def test_answer_that_an_older_version_took_is_remembered():
    story = waits(running().asks(call("c"), call("d")))
    run = story.state.run.model_copy(update={"answers": ("old",)})
    old = Story(SessionState.model_validate(story.state.model_copy(update={"run": run}).model_dump()))
    old.when(answer("r1/0/call/0", answer_id="old")).then()


@settings(max_examples=60, deadline=None)
@for_all(st.data())
def test_however_vendors_repeat_ids_an_answer_reaches_its_question_or_nobody(data):
    """Every answer ever given is given again at any later time; each names the question it was meant for."""
    story, given, number = running(agent()), [], 0
    for _ in range(data.draw(st.integers(1, 6), label="answers of the model")):
        if story.state.run is None:
            story = story.when(start_run(f"r{number}-{len(given)}", "more"))
        ids = data.draw(st.lists(st.sampled_from(["call_0", "call_1", ""]), min_size=1, max_size=3), label="ids")
        story = story.asks(*map(call, ids))
        while any(isinstance(step, CallFunction) for step in story.steps):
            story = waits(story, timeout_s=60)
        for question in view_awaited(story.state):
            late = [*given, *((q.tool_call_id, q.call_id) for q in view_awaited(story.state))]
            for named, meant in late:
                number += 1
                before = {q.call_id for q in view_awaited(story.state)}
                try:
                    story = story.when(answer(named, answer_id=f"a{number}"))
                except CallNotWaiting:
                    continue
                reached = before - {q.call_id for q in view_awaited(story.state)}
                assert reached == {meant}, f"an answer meant for {meant} reached {reached}"
            number += 1
            if question in view_awaited(story.state):
                story = story.when(answer(question.call_id, answer_id=f"a{number}"))
            given += [(question.call_id, question.call_id), (question.tool_call_id, question.call_id)]
        if data.draw(st.booleans(), label="the run ends"):
            story = story.says("done")
