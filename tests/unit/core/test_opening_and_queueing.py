"""A conversation is opened once; its runs are answered one after another, each once."""

import pytest
from support.stories import (
    TRANSIENT,
    Story,
    agent,
    assistant,
    call,
    given,
    open_session,
    rendered_agent,
    running,
    session,
    start_run,
    user,
)

from rojak_ray.core.commands import CancelRun, Delete, RecordStep, Recover, StartRun, UpdateConfig
from rojak_ray.core.events import (
    AgentAdded,
    ModelResponded,
    Opened,
    RunAccepted,
    RunEnded,
    RunStarted,
    RunStatus,
)
from rojak_ray.core.state import KEPT_OUTCOMES
from rojak_ray.core.steps import TextResult
from rojak_ray.errors import RequestConflict, SessionNotFound
from rojak_ray.messages import Usage

A, B = agent("A"), agent("B")


def test_open_new_conversation_records_agent_and_settings():
    story = Story().when(open_session(A, context_variables={"k": 1}, max_turns=4, history_size=10, debug=True))
    story.then(
        AgentAdded(digest=A.digest(), spec=A),
        Opened(
            owner_kind="session",
            owner_id="s",
            incarnation="i1",
            agent=A.digest(),
            context_variables={"k": 1},
            max_turns=4,
            history_size=10,
            debug=True,
        ),
    ).pending()
    assert story.state.opened
    assert story.state.idle


def test_open_existing_conversation_changes_nothing():
    session(A).when(open_session(B, incarnation="i2", context_variables={"other": True})).then().pending()


@pytest.mark.parametrize("command", [start_run(), UpdateConfig(debug=True), CancelRun()])
def test_command_to_unopened_conversation_is_refused(command):
    with pytest.raises(SessionNotFound):
        Story().when(command)


def test_recover_and_late_result_of_unopened_conversation_lead_to_nothing():
    Story().when(Recover(), RecordStep(step_id="r1/0/model", attempt=1, result=TextResult(text="x"))).then()


def test_run_in_idle_session_is_accepted_and_started_and_asks_the_model():
    story = session(A, context_variables={"k": 1}).when(start_run("r1", "hi"))
    story.then(
        RunAccepted(run_id="r1", input_digest="hi", messages=(user("hi"),)),
        RunStarted(run_id="r1", agent=A.digest()),
    ).pending("r1/0/model")
    step = story.model_step
    assert (step.instructions, step.messages) == ("Be A.", (user("hi"),))
    assert (step.attempt, step.wait_s, step.run_id, step.session_id, step.agent) == (1, 0.0, "r1", "s", A)


def test_run_outside_a_session_has_no_session_id():
    story = Story().when(open_session(A, owner_kind="run", owner_id="r1"), start_run("r1"))
    assert story.model_step.session_id is None


def test_pending_work_of_hand_written_events_is_the_model_call():
    given(
        AgentAdded(digest="d", spec=A),
        Opened(owner_kind="session", owner_id="s", incarnation="i", agent="d"),
        RunAccepted(run_id="r", input_digest="x", messages=(user("hi"),)),
        RunStarted(run_id="r", agent="d"),
    ).pending("r/0/model")


def test_answer_in_text_ends_the_run():
    usage = Usage(requests=1, input_tokens=3, output_tokens=2)
    story = running(A).says("hello", usage=usage)
    story.then(
        ModelResponded(step_id="r1/0/model", content="hello", usage=usage),
        RunEnded(run_id="r1", status=RunStatus.COMPLETED, finish_reason="stop"),
    ).pending()
    outcome = story.outcome()
    assert outcome.messages == (user("hi"), assistant("hello"))
    assert (outcome.status, outcome.agent, outcome.usage, outcome.error) == ("completed", A.digest(), usage, None)
    assert story.state.history == outcome.messages
    assert story.state.idle


@pytest.mark.parametrize("content", ["", None])
def test_empty_answer_ends_the_run(content):
    assert running().says(content).outcome().messages[-1] == assistant(content)


def test_input_that_ends_with_an_assistant_message_is_answered_all_the_same():
    asked = StartRun(run_id="r1", input_digest="x", messages=(user("hi"), assistant("I was about to")))
    story = session(rendered_agent()).when(asked).pending("r1/0/instructions")
    story = story.renders("Go on.").then_kinds("instructions_rendered").pending("r1/0/model")
    story = story.fails("model", TRANSIENT).then_kinds("step_failed").pending("r1/0/model")
    assert story.says("say this").outcome().messages == (*asked.messages, assistant("say this"))


def test_next_run_sees_the_history_and_its_own_input():
    story = running().says("hello").when(start_run("r2", "more"))
    story.pending("r2/0/model")
    assert story.model_step.messages == (user("hi"), assistant("hello"), user("more"))


def test_response_of_second_run_holds_only_its_own_messages():
    story = running().says("one").when(start_run("r2", "more")).says("two")
    assert story.outcome("r2").messages == (user("more"), assistant("two"))


@pytest.mark.parametrize("where", ["running", "queued", "ended"])
def test_same_run_id_with_same_input_joins(where):
    story = running()
    if where == "queued":
        story = story.when(start_run("r2", "more"))
    if where == "ended":
        story = story.says("hello")
    again = start_run("r2", "more") if where == "queued" else start_run("r1", "hi")
    assert story.when(again).then().state == story.state


@pytest.mark.parametrize("where", ["running", "queued", "ended"])
def test_same_run_id_with_other_input_is_a_conflict(where):
    story = running()
    if where == "queued":
        story = story.when(start_run("r2", "more"))
    if where == "ended":
        story = story.says("hello")
    with pytest.raises(RequestConflict, match="r2" if where == "queued" else "r1"):
        story.when(start_run("r2" if where == "queued" else "r1", "something else"))


def test_runs_are_answered_in_the_order_they_came():
    story = running().when(start_run("r2", "second"), start_run("r3", "third"))
    story.then_kinds("run_accepted", "run_accepted").pending("r1/0/model")
    assert [story.state.status(run_id) for run_id in ("r1", "r2", "r3")] == ["running", "queued", "queued"]
    story = story.says("one").then_kinds("model_responded", "run_ended", "run_started").pending("r2/0/model")
    story = story.says("two").pending("r3/0/model").says("three").pending()
    assert [outcome.run_id for outcome in story.state.outcomes] == ["r1", "r2", "r3"]
    assert story.state.idle


def test_queued_run_sees_what_the_run_before_it_added():
    story = running().when(start_run("r2", "second")).says("one")
    assert story.model_step.messages == (user("hi"), assistant("one"), user("second"))


def test_run_names_an_agent_and_the_next_one_stays_with_it():
    story = session(A).when(start_run("r1", spec=B))
    story.then_kinds("agent_added", "run_accepted", "run_started")
    assert story.model_step.agent == B
    story = story.says("x").when(start_run("r2"))
    assert story.model_step.agent == B


def test_agent_of_a_queued_run_is_chosen_when_its_turn_comes():
    story = session(A).when(start_run("r1", spec=B), start_run("r2")).says("x")
    assert story.model_step.agent == B


def test_known_agent_is_not_recorded_again():
    session(A).when(start_run("r1", spec=agent("A"))).then_kinds("run_accepted", "run_started")


def test_status_of_an_unknown_run_is_none():
    assert session().state.status("r9") is None


def test_outcomes_kept_are_bounded_and_the_latest():
    story = session()
    for number in range(KEPT_OUTCOMES + 3):
        story = story.when(start_run(f"r{number}")).says("x")
    kept = [outcome.run_id for outcome in story.state.outcomes]
    assert kept == [f"r{number}" for number in range(3, KEPT_OUTCOMES + 3)]


def test_step_ids_and_keys_are_unique_in_a_conversation_and_differ_between_incarnations():
    keys: dict[str, set[str]] = {}
    for incarnation in ("i1", "i2"):
        story = Story().when(open_session(A, incarnation=incarnation))
        ids: list[str] = []
        for run_id in ("r1", "r2"):
            story = story.when(start_run(run_id))
            for _ in range(3):
                seen = [story.model_step]
                story = story.asks(call("c1"), call("c2"))
                seen += list(story.steps)
                ids += [step.step_id for step in seen]
                keys.setdefault(incarnation, set()).update(step.idempotency_key for step in seen)
                story = story.returns("c2").returns("c1")
            story = story.says("done")
        assert len(ids) == len(set(ids)) == len(keys[incarnation])
    assert not keys["i1"] & keys["i2"]


def test_request_that_opened_a_deleted_session_does_not_open_it_again():
    gone = session(incarnation="i1").when(start_run("r1"), Delete())
    with pytest.raises(SessionNotFound, match="deleted"):
        gone.when(open_session(incarnation="i1"))
    gone.when(open_session(incarnation="i2"), start_run("r1")).pending("r1/0/model")
