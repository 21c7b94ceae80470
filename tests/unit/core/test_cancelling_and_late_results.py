"""Cancelling ends runs at once; results that come too late, twice or from elsewhere change nothing."""

import pytest
from support.stories import BROKEN, TRANSIENT, call, rendered_agent, running, session, start_run

from rojak_ray.core.commands import CancelRun, RecordStep
from rojak_ray.core.events import RunEnded, RunStatus
from rojak_ray.core.steps import FunctionResult, ModelResult, TextResult
from rojak_ray.errors import InternalError


def test_cancel_running_run_ends_it():
    story = running().when(CancelRun(run_id="r1")).pending()
    ended = story.told_one(RunEnded)
    assert (ended.run_id, ended.status, ended.error_type) == ("r1", RunStatus.CANCELLED, "RunCancelled")
    assert "cancel" in ended.error
    assert story.outcome().status == RunStatus.CANCELLED


def test_cancel_running_run_starts_the_next():
    story = running().when(start_run("r2", "second"), CancelRun(run_id="r1"))
    story.then_kinds("run_accepted", "run_ended", "run_started").pending("r2/0/model")


def test_cancel_queued_run_leaves_the_running_one():
    story = running().when(start_run("r2"), start_run("r3"), CancelRun(run_id="r2")).pending("r1/0/model")
    assert [queued.run_id for queued in story.state.queue] == ["r3"]
    assert story.outcome("r2").status == RunStatus.CANCELLED
    story.says("x").pending("r3/0/model")


def test_cancel_without_id_ends_everything():
    story = running().when(start_run("r2"), start_run("r3")).when(CancelRun())
    story.then_kinds("run_ended", "run_ended", "run_ended").pending()
    assert {outcome.run_id: outcome.status for outcome in story.state.outcomes} == dict.fromkeys(
        ("r1", "r2", "r3"), "cancelled"
    )
    assert story.state.idle


@pytest.mark.parametrize("run_id", ["r9", None])
def test_cancel_with_nothing_to_cancel_does_nothing(run_id):
    session().when(CancelRun(run_id=run_id)).then()


def test_cancel_unknown_or_ended_run_does_nothing():
    story = running().says("x").when(start_run("r2"))
    story.when(CancelRun(run_id="r1")).then()
    story.when(CancelRun(run_id="r9")).then().pending("r2/0/model")


def test_cancelled_run_leaves_history_and_context_as_before():
    story = running(context_variables={"k": 0}).asks(call("c1")).returns("c1", sets={"k": 1}).when(CancelRun())
    assert (story.state.history, story.state.context_variables) == ((), {"k": 0})
    assert (len(story.outcome().messages), story.outcome().context_variables) == (3, {"k": 0})


def test_session_goes_on_after_a_cancel():
    running().when(CancelRun(), start_run("r2")).pending("r2/0/model")


def test_cancelled_run_is_joined_not_run_again():
    running().when(CancelRun()).when(start_run("r1")).then().pending()


MODEL_TEXT = ModelResult(content="late")


@pytest.mark.parametrize(
    ("step_id", "attempt"),
    [
        ("r1/0/model", 1),  # already answered
        ("r1/1/model", 2),  # an attempt that never was
        ("r1/1/model", 0),
        ("r2/1/model", 1),  # another run's
        ("r1/2/model", 1),  # not yet asked
        ("r1/0/call/0", 1),
        ("nonsense", 1),
        ("", 1),
    ],
)
def test_late_foreign_or_wrong_attempt_result_leads_to_nothing(step_id, attempt):
    story = running().asks(call("c1")).returns("c1").pending("r1/1/model")
    after = story.when(RecordStep(step_id=step_id, attempt=attempt, result=MODEL_TEXT))
    assert after.then().state == story.state


def test_second_result_of_a_call_leads_to_nothing():
    story = running().asks(call("c1"), call("c2")).returns("c1", "first")
    story.when(RecordStep(step_id="r1/0/call/0", attempt=1, result=FunctionResult(output="second"))).then()


def test_second_failure_of_an_attempt_leads_to_nothing():
    story = running().fails("model", TRANSIENT)
    story.when(RecordStep(step_id="r1/0/model", attempt=1, result=TRANSIENT)).then()
    story.when(RecordStep(step_id="r1/0/model", attempt=1, result=MODEL_TEXT)).then()


def test_result_after_cancel_leads_to_nothing():
    running().when(CancelRun()).when(RecordStep(step_id="r1/0/model", attempt=1, result=MODEL_TEXT)).then()


def test_result_of_a_sequential_call_not_yet_started_leads_to_nothing():
    story = running().asks(call("c1", sequential=True), call("c2", sequential=True))
    story.when(RecordStep(step_id="r1/0/call/1", attempt=1, result=FunctionResult(output="x"))).then()


def test_model_failure_of_a_call_already_answered_leads_to_nothing():
    story = running().asks(call("c1"), call("c2")).returns("c1")
    story.when(RecordStep(step_id="r1/0/call/0", attempt=1, result=BROKEN)).then()


@pytest.mark.parametrize(
    ("story", "result"),
    [
        (running(), TextResult(text="x")),
        (running(), FunctionResult(output="x")),
        (running().asks(call("c1")), TextResult(text="x")),
        (running().asks(call("c1")), MODEL_TEXT),
        (running(rendered_agent()), MODEL_TEXT),
        (running(rendered_agent()), FunctionResult(output="x")),
    ],
    ids=["model-text", "model-function", "call-text", "call-model", "instructions-model", "instructions-function"],
)
def test_result_of_another_kind_of_step_is_our_bug_and_told_as_one(story, result):
    (step,) = story.steps
    with pytest.raises(InternalError):
        story.answered(step.step_id, result)
