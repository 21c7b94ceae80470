"""A new host folds the journal and asks `pending` again; nothing is renamed, only counted."""

from support.stories import TRANSIENT, call, jittered, rendered_agent, running, session, start_run

from rojak_ray.core.commands import Recover
from rojak_ray.core.events import FunctionReturned, Recovered

ONCE = {"at_most_once": True}


def test_recover_idle_session_changes_nothing():
    session().when(Recover()).then()


def test_recover_counts_an_attempt_and_keeps_ids_and_keys():
    before = running().asks(call("c1"), call("c2"))
    after = before.when(Recover()).then(Recovered())
    assert [step.attempt for step in after.steps] == [2, 2]
    for old, new in zip(before.steps, after.steps, strict=True):
        assert (new.step_id, new.idempotency_key) == (old.step_id, old.idempotency_key)
        assert new.model_copy(update={"attempt": old.attempt, "recovered": False}) == old


def test_recover_again_counts_again():
    story = running().when(Recover(), Recover(), Recover())
    assert story.model_step.attempt == 4


def test_recover_is_forgotten_once_the_step_has_a_result():
    story = running().when(Recover()).asks(call("c1"))
    assert story.call_step("c1").attempt == 1


def test_recover_leaves_steps_with_results_alone():
    story = running().asks(call("c1"), call("c2")).returns("c1").when(Recover()).pending_calls("c2")
    assert story.call_step("c2").attempt == 2


def test_result_of_the_lost_hosts_attempt_is_ignored():
    story = running().when(Recover())
    assert story.answered("r1/0/model", TRANSIENT, attempt=1).told == ()


def test_interruptions_do_not_use_up_the_attempts_of_a_policy():
    story = running().when(*[Recover(most_recoveries=20)] * 10).fails("model", TRANSIENT).then_kinds("step_failed")
    assert (story.model_step.attempt, story.model_step.wait_s) == (12, jittered(1)[0])


def test_recover_during_a_wait_keeps_the_wait():
    story = running().fails("model", TRANSIENT).fails("model", TRANSIENT).when(Recover())
    assert (story.model_step.attempt, story.model_step.wait_s) == (4, jittered(2)[0])


def test_recover_counts_instructions_and_retrieval():
    story = running(rendered_agent(retriever=True)).when(Recover())
    assert [step.attempt for step in story.steps] == [2, 2]


def test_recover_reports_pending_at_most_once_calls_as_interrupted_and_repeats_the_others():
    story = running().asks(call("c1", "pay", **ONCE), call("c2"), call("c3", "mail", **ONCE)).returns("c3", "sent")
    story = story.when(Recover()).then_kinds("recovered", "function_returned").pending_calls("c2")
    returned = story.told_one(FunctionReturned)
    assert (returned.step_id, returned.failed) == ("r1/0/call/0", True)
    assert "interrupted" in returned.output
    assert "pay" in returned.output
    outputs = [message.content for message in story.returns("c2").model_step.messages if message.role == "tool"]
    assert outputs == [returned.output, "ok", "sent"]


def test_recover_with_only_at_most_once_calls_asks_the_model_again():
    story = running().asks(call("c1", **ONCE), call("c2", **ONCE)).when(Recover())
    story.then_kinds("recovered", "function_returned", "function_returned").pending("r1/1/model")
    assert story.model_step.attempt == 1


def test_recover_does_not_report_sequential_at_most_once_calls_that_have_not_started():
    story = running().asks(call("c1", sequential=True, **ONCE), call("c2", sequential=True, **ONCE)).when(Recover())
    story.then_kinds("recovered", "function_returned").pending_calls("c2")
    assert story.call_step("c2").attempt == 1


def test_recover_before_any_sequential_at_most_once_call_started_repeats_only_the_first():
    story = running().asks(call("c1", sequential=True), call("c2", sequential=True, **ONCE)).when(Recover())
    story.then(Recovered()).pending_calls("c1")
    assert story.returns("c1").call_step("c2").attempt == 1


def test_recover_that_closes_the_turn_at_the_limit_ends_the_run():
    story = session(max_turns=2).when(start_run()).asks(call("c1", **ONCE)).when(Recover())
    story.then_kinds("recovered", "function_returned", "run_ended").pending()
