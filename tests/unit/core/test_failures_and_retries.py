"""What is tried again, how patiently, and what a failure leaves behind."""

import pytest
from support.stories import (
    BROKEN,
    LOST,
    TRANSIENT,
    UNREACHABLE,
    agent,
    call,
    jittered,
    rendered_agent,
    running,
    start_run,
    tool,
    user,
)

from rojak_ray.agents.spec import PolicySpec
from rojak_ray.core.events import FunctionReturned, RunEnded, RunStatus, StepFailed
from rojak_ray.core.retrying import FIRST_LOSS_WAIT_S
from rojak_ray.core.steps import StepError

PATIENT = PolicySpec(initial_interval_s=2, backoff_coefficient=3, maximum_interval_s=10, maximum_attempts=4)
ALWAYS = PolicySpec(maximum_attempts=0)


def waits_until_the_end(story, step, error):
    waits = []
    for _ in range(50):
        story = story.fails(step, error)
        failed = [event for event in story.told if isinstance(event, StepFailed)]
        if not failed:
            return waits, story
        waits.append(failed[0].retry_in_s)
        assert story.steps[0].wait_s == waits[-1]
        assert story.steps[0].attempt == len(waits) + 1
    return waits, story


def test_transient_model_error_is_retried_after_a_wait():
    story = running().fails("model", TRANSIENT)
    wait = story.told_one(StepFailed).retry_in_s
    assert wait == jittered(1)[0]
    story.then(
        StepFailed(
            step_id="r1/0/model", attempt=1, error_type="ModelUnavailable", error=TRANSIENT.message, retry_in_s=wait
        )
    ).pending("r1/0/model")
    assert (story.model_step.attempt, story.model_step.wait_s) == (2, wait)


def test_transient_model_error_by_default_is_tried_five_times_with_growing_waits_then_fails_in_the_vendors_words():
    waits, story = waits_until_the_end(running(), "model", TRANSIENT)
    assert waits == jittered(1, 2, 4, 8)
    ended = story.told_one(RunEnded)
    assert (ended.status, ended.error_type) == (RunStatus.FAILED, "ModelUnavailable")
    assert "overloaded, says the vendor" in ended.error
    assert "5 attempts" in ended.error
    assert "'A'" in ended.error


def test_lasting_model_error_fails_the_run_at_once_in_the_vendors_words():
    error = StepError(error_type="ModelRejected", message="no such model: m")
    story = running().fails("model", error).then_kinds("run_ended").pending()
    assert story.outcome().error_type == "ModelRejected"
    assert "ModelRejected: no such model: m" in story.outcome().error
    assert "attempts" not in story.outcome().error


@pytest.mark.parametrize(("asked", "wait"), [(0.0, 1.0), (0.2, 1.0), (7.5, 7.5), (None, 1.0)])
def test_retry_after_is_a_lower_bound(asked, wait):
    error = TRANSIENT.model_copy(update={"retry_after_s": asked})
    assert running().fails("model", error).told_one(StepFailed).retry_in_s == jittered(wait)[0]


def test_retry_after_longer_than_the_policys_longest_wait_is_honoured():
    error = TRANSIENT.model_copy(update={"retry_after_s": 60.0})
    assert running(agent(policy=PATIENT)).fails("model", error).told_one(StepFailed).retry_in_s == jittered(60)[0]


def test_explicit_policy_sets_waits_and_attempts():
    waits, story = waits_until_the_end(running(agent(policy=PATIENT)), "model", TRANSIENT)
    assert waits == jittered(2, 6, 8), "the longest wait is kept, so its spread lies below it"
    assert story.outcome().status == RunStatus.FAILED


def test_explicit_policy_of_one_attempt_never_retries():
    running(agent(policy=PolicySpec(maximum_attempts=1))).fails("model", TRANSIENT).then_kinds("run_ended")


def test_explicit_policy_without_limit_goes_on():
    waits, _ = waits_until_the_end(running(agent(policy=ALWAYS)), "model", TRANSIENT)
    assert waits[:8] == jittered(1, 2, 4, 8, 16, 32, 64, 100)
    assert len(waits) == 50


def test_non_retryable_class_name_fails_at_once():
    policy = PolicySpec(non_retryable_error_types=("ModelUnavailable",))
    running(agent(policy=policy)).fails("model", TRANSIENT).then_kinds("run_ended")


def test_non_retryable_class_name_of_another_error_does_not_matter():
    policy = PolicySpec(non_retryable_error_types=("RateLimitError", "Model"))
    running(agent(policy=policy)).fails("model", TRANSIENT).then_kinds("step_failed")


def test_recovered_model_call_goes_on_and_forgets_its_failures():
    story = running().fails("model", TRANSIENT).fails("model", TRANSIENT).asks(call("c1")).returns("c1")
    assert (story.model_step.attempt, story.model_step.wait_s) == (1, 0.0)
    assert story.state.run.attempts == {}


def test_lost_model_call_is_retried():
    running().fails("model", LOST).then_kinds("step_failed")


def test_failed_run_leaves_history_and_context_as_before_and_the_next_run_starts():
    story = running(context_variables={"k": 0}).says("first").when(start_run("r2", "q"), start_run("r3", "again"))
    before = story.state.history
    story = story.asks(call("c1")).returns("c1", sets={"k": 1}, to=agent("B")).fails("model", BROKEN)
    story.then_kinds("run_ended", "run_started").pending("r3/0/model")
    assert (story.state.history, story.state.context_variables) == (before, {"k": 0})
    assert story.model_step.messages == (*before, user("again"))
    assert story.model_step.agent.name == "A"
    outcome = story.outcome("r2")
    assert (outcome.status, len(outcome.messages), outcome.context_variables) == (RunStatus.FAILED, 3, {"k": 0})


@pytest.mark.parametrize("error", [BROKEN, UNREACHABLE, TRANSIENT])
def test_function_error_without_policy_is_told_to_the_model_at_once(error):
    story = running().asks(call("c1")).fails("c1", error)
    text = f"{error.error_type}: {error.message}"
    story.then(FunctionReturned(step_id="r1/0/call/0", output=text, failed=True)).pending("r1/1/model")
    assert story.model_step.messages[-1] == tool("c1", text)


def test_programming_error_is_told_to_the_model_even_under_an_explicit_policy():
    running(agent(policy=ALWAYS)).asks(call("c1")).fails("c1", BROKEN).then_kinds("function_returned")


def test_transient_function_error_is_retried_under_the_agents_policy_then_told_to_the_model():
    waits, story = waits_until_the_end(running(agent(policy=PATIENT)).asks(call("c1")), "c1", UNREACHABLE)
    assert waits == jittered(2, 6, 8), "the longest wait is kept, so its spread lies below it"
    assert story.told_one(FunctionReturned).output == "ConnectionError: no route"
    story.pending("r1/1/model")


def test_functions_own_policy_wins_over_its_agents():
    own = PolicySpec(initial_interval_s=5, maximum_attempts=2)
    waits, _ = waits_until_the_end(running(agent(policy=PATIENT)).asks(call("c1", policy=own)), "c1", UNREACHABLE)
    assert waits == jittered(5)


def test_functions_own_policy_is_enough():
    waits, _ = waits_until_the_end(running().asks(call("c1", policy=PATIENT)), "c1", UNREACHABLE)
    assert waits == jittered(2, 6, 8), "the longest wait is kept, so its spread lies below it"


def test_non_retryable_class_name_holds_for_functions():
    policy = PolicySpec(non_retryable_error_types=("ConnectionError",))
    running(agent(policy=policy)).asks(call("c1")).fails("c1", UNREACHABLE).then_kinds("function_returned")


def test_function_in_a_lost_process_is_retried_without_a_policy():
    waits, story = waits_until_the_end(running().asks(call("c1")), "c1", LOST)
    assert waits[0] == FIRST_LOSS_WAIT_S, "a lost process says nothing against another one at once"
    assert waits[1:] == jittered(2, 4, 8)
    assert story.told_one(FunctionReturned).output == "ProcessLost: the worker died"


def test_wait_after_a_loss_is_the_policys_where_one_was_given():
    waits, _ = waits_until_the_end(running(agent(policy=PATIENT)).asks(call("c1")), "c1", LOST)
    assert waits == jittered(2, 6, 8)


def test_function_in_a_lost_process_follows_an_explicit_policy():
    only = PolicySpec(maximum_attempts=1)
    running(agent(policy=only)).asks(call("c1")).fails("c1", LOST).then_kinds("function_returned")


@pytest.mark.parametrize("error", [UNREACHABLE, BROKEN])
def test_at_most_once_call_that_failed_is_never_retried(error):
    story = running(agent(policy=ALWAYS)).asks(call("c1", at_most_once=True, policy=ALWAYS)).fails("c1", error)
    assert story.told_one(FunctionReturned).output == f"{error.error_type}: {error.message}"


def test_at_most_once_call_in_a_lost_process_is_reported_as_interrupted():
    story = running(agent(policy=ALWAYS)).asks(call("c1", "charge", at_most_once=True)).fails("c1", LOST)
    returned = story.told_one(FunctionReturned)
    assert returned.failed
    assert "interrupted" in returned.output
    assert "charge" in returned.output
    story.pending("r1/1/model")


def test_at_most_once_call_that_was_interrupted_is_told_why():
    story = running().asks(call("c1", "charge", at_most_once=True)).fails("c1", LOST)
    assert "(the worker died)" in story.told_one(FunctionReturned).output


def test_at_most_once_call_that_had_not_begun_is_tried_again_and_never_called_interrupted():
    never = LOST.model_copy(update={"began": False, "message": "no process could be had"})
    waits, story = waits_until_the_end(running().asks(call("c1", at_most_once=True)), "c1", never)
    assert waits == [FIRST_LOSS_WAIT_S, *jittered(2, 4, 8)]
    assert story.told_one(FunctionReturned).output == "ProcessLost: no process could be had"


def test_one_failing_call_does_not_hold_up_or_repeat_the_others():
    story = running(agent(policy=ALWAYS)).asks(call("c1"), call("c2")).fails("c1", UNREACHABLE)
    story.pending_calls("c1", "c2")
    assert [step.attempt for step in story.steps] == [2, 1]
    story.returns("c2").pending_calls("c1").returns("c1").pending("r1/1/model")


def test_instructions_function_is_rendered_before_the_model_is_asked_with_the_context():
    story = running(rendered_agent(), context_variables={"k": 1}).pending("r1/0/instructions")
    (step,) = story.steps
    assert (step.function.name, step.context_variables) == ("write_instructions", {"k": 1})
    story = story.renders("Be brief.").then_kinds("instructions_rendered").pending("r1/0/model")
    assert story.model_step.instructions == "Be brief."


def test_instructions_are_rendered_again_on_every_turn():
    story = running(rendered_agent()).renders("one").asks(call("c1")).returns("c1", sets={"k": 1})
    story.pending("r1/1/instructions")
    assert story.steps[0].context_variables == {"k": 1}
    assert story.renders("").model_step.instructions == ""


def test_failing_instructions_fail_the_run():
    story = running(rendered_agent()).fails("instructions", BROKEN).then_kinds("run_ended").pending()
    assert "instructions" in story.outcome().error
    assert "ValueError: bad" in story.outcome().error
