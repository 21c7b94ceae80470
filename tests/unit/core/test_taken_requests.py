"""A request is taken once for as long as its conversation lives, however much was asked since."""

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from support.stories import Story, call, session, start_run, user

from rojak_ray.core.commands import AnswerCall, CancelRun, RecordStep, Recover, Resume, UpdateConfig
from rojak_ray.core.events import RequestTaken
from rojak_ray.core.state import KEPT_OUTCOMES, SessionState
from rojak_ray.core.steps import WaitingResult
from rojak_ray.core.taken import BLOCK_ENTRIES, Taken, content_digest
from rojak_ray.errors import CallNotWaiting, RequestConflict
from rojak_ray.journal.blobs import BLOB_BYTES


def after_many(story: Story, count: int = KEPT_OUTCOMES + 4) -> Story:
    """The story after so many other runs; every one is answered."""
    for number in range(count):
        story = story.when(start_run(f"other{len(story.history)}-{number}", "hi")).says("done")
    return story


def test_run_is_known_after_its_outcome_is_forgotten():
    story = after_many(session().when(start_run("r", "pay")).says("paid"))
    assert story.state.outcome("r") is None
    assert story.state.knows("r")
    story.when(start_run("r", "pay")).then().pending()
    with pytest.raises(RequestConflict, match="'r'"):
        story.when(start_run("r", "pay twice"))


def test_run_that_was_cancelled_in_the_queue_never_runs():
    many = [start_run(f"r{number}", f"m{number}") for number in range(KEPT_OUTCOMES + 9)]
    story = session().when(*many, CancelRun(request_id="stop"))
    assert story.state.idle
    story.when(*many).then().pending()


def test_cancelling_again_stops_nothing_that_began_since():
    story = session().when(start_run("r1"), CancelRun(request_id="stop"), start_run("r2"))
    assert story.when(CancelRun(request_id="stop")).then().state.run.run_id == "r2"
    assert story.when(CancelRun(request_id="stop too")).state.idle
    assert story.when(CancelRun()).state.idle, "without an id each is a request of its own"


def test_cancelling_nothing_is_remembered_too():
    story = session().when(CancelRun(request_id="stop")).then_kinds("request_taken").when(start_run("r"))
    story.when(CancelRun(request_id="stop")).then()
    assert isinstance(story.history[2], RequestTaken)


def test_resuming_again_does_not_resume_what_was_set_aside_since():
    def set_aside(story):
        return story.when(Recover(most_recoveries=0))

    story = set_aside(session().when(start_run("r"))).when(Resume(request_id="on"))
    assert story.state.set_aside is None
    story = set_aside(story)
    assert story.when(Resume(request_id="on")).then().state.set_aside is not None
    assert story.when(Resume(request_id="on again")).state.set_aside is None


def test_change_of_settings_is_made_once():
    clear = UpdateConfig(messages=(), request_id="clear")
    story = session().when(UpdateConfig(messages=(user("one"),)), clear, UpdateConfig(messages=(user("two"),)))
    assert story.when(clear).then().state.history == (user("two"),)
    with pytest.raises(RequestConflict, match="'clear'"):
        story.when(UpdateConfig(messages=(user("three"),), request_id="clear"))
    with pytest.raises(RequestConflict, match="'clear'"):
        story.when(CancelRun(request_id="clear"))


def test_answer_is_taken_once_after_its_run_is_forgotten():
    story = session().when(start_run("r")).asks(call("c"))
    step = story.call_step("c")
    story = story.when(RecordStep(step_id=step.step_id, attempt=1, result=WaitingResult(question="?")))
    yes = AnswerCall(call_id=step.call_id, answer_id="press", output="yes")
    story = after_many(story.when(yes).says("done"))
    story.when(yes).then()
    with pytest.raises(RequestConflict, match="press"):
        story.when(AnswerCall(call_id=step.call_id, answer_id="press", output="no"))
    with pytest.raises(CallNotWaiting):
        story.when(AnswerCall(call_id=step.call_id, answer_id="other", output="yes"))


def test_state_of_an_older_version_remembers_from_here_on():
    old = session().state.model_dump(mode="json", exclude={"taken"})
    story = after_many(Story(SessionState.model_validate(old)))
    assert story.state.taken.latest


kinds = st.sampled_from(["run", "answer", "change"])


@settings(max_examples=60, deadline=None)
@for_all(st.lists(st.tuples(kinds, st.text(max_size=5), st.text(max_size=5)), max_size=40))
def test_what_was_taken_is_known_with_its_content_and_nothing_else_is(given):
    taken, meant = Taken(), {}
    for kind, request_id, content in given:
        if (kind, request_id) not in meant:
            taken = taken.then(kind, request_id, content)
            meant[kind, request_id] = content_digest(content)
    for kind in ("run", "answer", "change"):
        for _, request_id, _ in [*given, ("", "never", "")]:
            assert taken.content(kind, request_id) == meant.get((kind, request_id))


def test_ten_thousand_requests_take_little_and_full_blocks_never_change():
    taken, seen = Taken(), Taken()
    for number in range(10_000):
        taken = taken.then("run", f"request {number}", "x")
        assert taken.blocks[: len(seen.blocks)] == seen.blocks
        seen = taken
    assert len(taken.blocks) == 10_000 // BLOCK_ENTRIES
    assert sum(map(len, (*taken.blocks, taken.latest))) == 24 * 10_000
    assert all(len(block) > BLOB_BYTES for block in taken.blocks), "stored once, beside the snapshots"
    assert all(taken.content("run", f"request {number}") for number in range(0, 10_000, 97))
