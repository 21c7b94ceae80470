"""What is looked up, how often, and what becomes of a retriever that fails."""

import pytest
from support.stories import (
    BROKEN,
    LOST,
    UNREACHABLE,
    agent,
    assistant,
    call,
    given,
    jittered,
    rendered_agent,
    running,
    session,
    start_run,
    tool,
    user,
)

from rojak_ray.agents.spec import PolicySpec
from rojak_ray.core.commands import Recover, StartRun
from rojak_ray.core.events import (
    AgentAdded,
    FunctionReturned,
    ModelResponded,
    Opened,
    Retrieved,
    RunAccepted,
    RunStarted,
    StepFailed,
)
from rojak_ray.core.retrying import FIRST_LOSS_WAIT_S
from rojak_ray.core.state import SessionState
from rojak_ray.core.steps import StepError, TextResult
from rojak_ray.journal.schema import upcast

BEFORE = "\nHere is the context to use to answer the user's question:\n"


def found(text):
    return TextResult(text=text)


def test_last_user_message_is_looked_up_and_what_is_found_follows_the_instructions():
    story = running(agent(retriever=True), "first", "last").pending("r1/0/retrieve")
    assert story.steps[0].text == "last"
    assert story.steps[0].retriever.type == "qdrant"
    story = story.retrieves("facts").then(Retrieved(step_id="r1/0/retrieve", text="facts"))
    assert story.pending("r1/0/model").model_step.instructions == f"Be A.{BEFORE}facts"


@pytest.mark.parametrize(
    ("messages", "query"),
    [
        ((user("question"), assistant("draft"), tool("c", "result")), "question"),
        ((user("question"), user("")), "question"),
        ((assistant("nobody asked"),), None),
        ((user(""),), None),
    ],
)
def test_only_what_the_user_said_is_looked_up(messages, query):
    story = session(agent(retriever=True)).when(StartRun(run_id="r1", input_digest="d", messages=messages))
    assert [step.text for step in story.steps if step.kind == "retrieve"] == ([query] if query else [])
    story.pending("r1/0/retrieve" if query else "r1/0/model")


def test_one_retrieval_serves_every_answer_to_a_message():
    story = running(agent(retriever=True)).retrieves("facts")
    for number in range(1, 4):
        story = story.asks(call(f"c{number}")).returns(f"c{number}", "tool says").pending(f"r1/{number}/model")
        assert story.model_step.instructions == f"Be A.{BEFORE}facts"


def test_next_message_is_looked_up_again():
    story = running(agent(retriever=True)).retrieves("facts").says("done").when(start_run("r2", "hi"))
    assert story.pending("r2/0/retrieve").retrieves("news").model_step.instructions.endswith("news")


def test_handoff_to_an_agent_with_another_retriever_looks_the_message_up_there():
    story = running(agent("A", retriever="one"), "question").retrieves("from one").asks(call("c1"))
    story = story.returns("c1", to=agent("B", retriever="two")).pending("r1/1/retrieve")
    assert (story.steps[0].text, story.steps[0].retriever.type) == ("question", "two")
    assert story.retrieves("from two").model_step.instructions == f"Be B.{BEFORE}from two"


def test_handoff_to_an_agent_with_the_same_retriever_and_back_looks_nothing_up_again():
    other, same = agent("B", retriever="two"), agent("C", retriever="one")
    story = running(agent("A", retriever="one")).retrieves("from one")
    story = story.asks(call("c1")).returns("c1", to=same).pending("r1/1/model")
    assert story.model_step.instructions == f"Be C.{BEFORE}from one"
    story = story.asks(call("c2")).returns("c2", to=other).retrieves("from two")
    story = story.asks(call("c3")).returns("c3", to=same).pending("r1/3/model")
    assert story.model_step.instructions == f"Be C.{BEFORE}from one"


def test_handoff_to_an_agent_without_retriever_takes_nothing_along():
    story = running(agent(retriever=True)).retrieves("facts").asks(call("c1")).returns("c1", to=agent("B"))
    assert story.pending("r1/1/model").model_step.instructions == "Be B."


def test_several_retrievers_are_asked_at_once_and_combined_in_their_order():
    story = running(agent(retriever=["one", "two", "three"]))
    story.pending("r1/0/retrieve", "r1/0/retrieve/1", "r1/0/retrieve/2")
    assert len({step.idempotency_key for step in story.steps}) == 3
    story = story.answered("r1/0/retrieve/2", found("third")).answered("r1/0/retrieve/1", BROKEN)
    story = story.answered("r1/0/retrieve", found("first")).pending("r1/0/model")
    assert story.model_step.instructions == f"Be A.{BEFORE}first\nthird"


def test_handoff_asks_only_those_retrievers_that_were_not_asked_before():
    story = running(agent("A", retriever="two")).retrieves("from two").asks(call("c1"))
    story = story.returns("c1", to=agent("B", retriever=["one", "two", "three"]))
    story = story.pending("r1/1/retrieve", "r1/1/retrieve/2").answered("r1/1/retrieve/2", found("from three"))
    story = story.answered("r1/1/retrieve", found("from one"))
    assert story.model_step.instructions == f"Be B.{BEFORE}from one\nfrom two\nfrom three"


def test_nothing_found_adds_nothing():
    assert running(agent(retriever=True)).retrieves("").model_step.instructions == "Be A."


def test_what_was_found_is_part_of_what_makes_a_question_the_same():
    keys = {running(agent(retriever=True)).retrieves(text).model_step.idempotency_key for text in ("x", "y", "x")}
    assert len(keys) == 2


def test_failure_is_recorded_and_the_run_goes_on_without_context():
    story = running(agent(retriever=True)).fails("retrieve", BROKEN)
    story.then(Retrieved(step_id="r1/0/retrieve", text=None, error="ValueError: bad")).pending("r1/0/model")
    assert story.model_step.instructions == "Be A."
    story.asks(call("c1")).returns("c1").pending("r1/1/model")


@pytest.mark.parametrize(("error", "wait"), [(UNREACHABLE, jittered(0.5)[0]), (LOST, FIRST_LOSS_WAIT_S)])
def test_passing_trouble_has_one_quick_retry(error, wait):
    story = running(agent(retriever=True)).fails("retrieve", error)
    assert story.told_one(StepFailed).retry_in_s == wait
    assert story.retrieves("facts").model_step.instructions.endswith("facts")
    story.fails("retrieve", error).then_kinds("retrieved").pending("r1/0/model")


@pytest.mark.parametrize(
    "error",
    [
        StepError(error_type="TimeoutError", message="late", transient=True),
        StepError(error_type="RetrieverUnavailable", message="busy", transient=True, retry_after_s=30),
    ],
)
def test_what_would_keep_the_run_waiting_is_done_without(error):
    running(agent(retriever=True)).fails("retrieve", error).then_kinds("retrieved").pending("r1/0/model")


def test_retriever_that_asks_for_a_moment_gets_it():
    busy = StepError(error_type="RetrieverUnavailable", message="busy", transient=True, retry_after_s=1.5)
    story = running(agent(retriever=True)).fails("retrieve", busy)
    assert story.told_one(StepFailed).retry_in_s == jittered(1.5)[0]


def test_explicit_policy_decides_otherwise():
    policy = PolicySpec(initial_interval_s=5, maximum_attempts=4)
    story, waits = running(agent(retriever=True, policy=policy)), []
    late = StepError(error_type="TimeoutError", message="late", transient=True, retry_after_s=7)
    while story.pending("r1/0/retrieve").fails("retrieve", late).told[0].kind == "step_failed":
        story = story.fails("retrieve", late)
        waits.append(story.told_one(StepFailed).retry_in_s)
    assert waits == jittered(7, 10, 20)
    story.fails("retrieve", late).then_kinds("retrieved")


@pytest.mark.parametrize("first", ["instructions", "retrieve"])
def test_instructions_and_retrieval_run_side_by_side_and_the_model_waits_for_both(first):
    story = running(rendered_agent(retriever=True)).pending("r1/0/instructions", "r1/0/retrieve")
    if first == "instructions":
        story = story.renders("I.").pending("r1/0/retrieve").retrieves("found")
    else:
        story = story.retrieves("found").pending("r1/0/instructions").renders("I.")
    story.pending("r1/0/model")
    assert story.model_step.instructions.startswith("I.\n")
    assert story.model_step.instructions.endswith("\nfound")


def test_recovery_repeats_the_retrieval_that_has_no_result_and_no_other():
    story = running(agent(retriever=["one", "two"])).answered("r1/0/retrieve", found("first")).when(Recover())
    (step,) = story.pending("r1/0/retrieve/1").steps
    assert (step.attempt, step.recovered) == (2, True)


def test_journal_of_a_version_that_retrieved_for_every_answer_is_read_and_goes_on():
    spec = agent(retriever=True)
    told = (
        AgentAdded(digest="a", spec=spec),
        Opened(owner_kind="session", owner_id="s", incarnation="i1", agent="a"),
        RunAccepted(run_id="r1", input_digest="hi", messages=(user("hi"),)),
        RunStarted(run_id="r1", agent="a"),
        Retrieved(step_id="r1/0/retrieve", text="facts"),
        ModelResponded(step_id="r1/0/model", calls=(call("c1"),)),
        FunctionReturned(step_id="r1/0/call/0", output="tool says"),
        Retrieved(step_id="r1/1/retrieve", text="about what the tool says"),
    )
    assert given(*told[:-1]).pending("r1/1/model").model_step.instructions.endswith("facts")
    assert given(*told).pending("r1/1/model").says("done").outcome().messages[-1].content == "done"


def test_snapshot_of_such_a_version_is_read():
    stored = running(agent(retriever=True)).retrieves("facts").state.model_dump(mode="json")
    del stored["run"]["found"]
    stored["run"] |= {"retrieval_done": True, "retrieved": "facts"}
    state = SessionState.model_validate(upcast("a snapshot", {"version": 1, "state": stored})["state"])
    assert state.run is not None
    assert state.run.found == {}
