"""How long a run may go on, and what is kept between runs."""

import pytest
from support.stories import agent, assistant, call, running, session, start_run, tool, user

from rojak_ray.core.commands import UpdateConfig
from rojak_ray.core.events import ConfigUpdated, RunEnded, RunStatus
from rojak_ray.core.evolve import truncate

A, B = agent("A"), agent("B")


def test_max_turns_zero_returns_the_input_without_asking_the_model():
    story = session(max_turns=0).when(start_run("r1", "hi"))
    story.then_kinds("run_accepted", "run_started", "run_ended").pending()
    outcome = story.outcome()
    assert (outcome.status, outcome.messages, outcome.agent) == ("completed", (user("hi"),), A.digest())


def test_max_turns_zero_ends_every_queued_run_too():
    story = running().when(start_run("r2"), start_run("r3"), UpdateConfig(max_turns=0)).says("x")
    story.then_kinds("model_responded", "run_ended", "run_started", "run_ended", "run_started", "run_ended").pending()
    assert [outcome.status for outcome in story.state.outcomes] == ["completed"] * 3


def test_max_turns_two_with_a_handoff_ends_before_the_second_agent_speaks():
    story = session(A, max_turns=2).when(start_run()).asks(call("c1")).returns("c1", "Transferred", to=B)
    story.then_kinds("agent_added", "function_returned", "run_ended").pending()
    outcome = story.outcome()
    assert outcome.agent == B.digest()
    assert outcome.messages == (user("hi"), assistant(None, call("c1")), tool("c1", "Transferred"))


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_max_turns_never_cuts_a_step(limit):
    """One answer with two calls appends three messages, whatever the limit."""
    story = session(max_turns=limit).when(start_run()).asks(call("c1"), call("c2")).pending_calls("c1", "c2")
    story = story.returns("c1").pending_calls("c2").returns("c2")
    assert isinstance(story.told[-1], RunEnded)
    assert len(story.outcome().messages) == 1 + 3


def test_max_turns_four_lets_a_three_message_step_be_followed_by_another():
    story = session(max_turns=4).when(start_run()).asks(call("c1"), call("c2"))
    story.returns("c1").returns("c2").pending("r1/1/model")


def test_max_turns_counts_appended_messages_not_the_input():
    session(max_turns=2).when(start_run("r1", "a", "b", "c")).pending("r1/0/model")


def test_max_turns_of_each_run_counts_from_its_own_start():
    story = session(max_turns=2).when(start_run("r1")).says("x").when(start_run("r2")).pending("r2/0/model")
    story.asks(call("c1")).returns("c1").pending()


def test_max_turns_may_be_a_fraction():
    session(max_turns=1.5).when(start_run()).asks(call("c1")).pending_calls("c1").returns("c1").pending()


def test_config_update_is_recorded_as_given():
    update = UpdateConfig(
        messages=(user("x"),), context_variables={"k": 1}, max_turns=3, history_size=2, debug=True, unlimited=()
    )
    story = session().when(update)
    story.then(
        ConfigUpdated(messages=(user("x"),), context_variables={"k": 1}, max_turns=3, history_size=2, debug=True)
    )
    state = story.state
    assert (state.history, state.context_variables) == ((user("x"),), {"k": 1})
    assert (state.max_turns, state.history_size, state.debug) == (3, 2, True)


def test_config_update_leaves_what_it_does_not_name():
    before = session(context_variables={"k": 1}, max_turns=4, history_size=5, debug=True).state
    after = session(context_variables={"k": 1}, max_turns=4, history_size=5, debug=True).when(UpdateConfig()).state
    assert after == before


def test_config_update_replaces_the_context_instead_of_merging():
    story = session(context_variables={"a": 1}).when(UpdateConfig(context_variables={"b": 2}))
    assert story.state.context_variables == {"b": 2}


def test_config_update_to_falsy_values_counts():
    story = session(context_variables={"a": 1}, debug=True, history_size=9).when(
        UpdateConfig(context_variables={}, debug=False, history_size=0, max_turns=0, messages=())
    )
    state = story.state
    assert (state.context_variables, state.debug, state.history_size, state.max_turns) == ({}, False, 0, 0)


def test_config_update_to_unlimited_removes_limits():
    story = session(max_turns=2, history_size=3).when(UpdateConfig(unlimited=("max_turns", "history_size")))
    assert (story.state.max_turns, story.state.history_size) == (None, None)


def test_config_update_during_a_run_keeps_the_runs_own_changes_on_top():
    story = running(context_variables={"a": 0, "b": 0}).asks(call("c1")).returns("c1", sets={"b": 1, "c": 1})
    story = story.when(UpdateConfig(context_variables={"a": 5, "b": 5})).asks(call("c2"))
    assert story.call_step("c2").context_variables == {"a": 5, "b": 1, "c": 1}
    story = story.returns("c2", deletes=["a"]).says("x")
    assert story.outcome().context_variables == story.state.context_variables == {"b": 1, "c": 1}


def test_config_update_of_messages_during_a_run_is_what_the_run_is_added_to():
    story = running().says("one").when(start_run("r2", "two"), UpdateConfig(messages=(user("summary"),)))
    assert story.model_step.messages == (user("summary"), user("two"))
    assert story.says("ok").state.history == (user("summary"), user("two"), assistant("ok"))


def test_lowered_max_turns_ends_the_run_after_the_step_in_progress():
    story = running().asks(call("c1"), call("c2")).when(UpdateConfig(max_turns=1)).pending_calls("c1", "c2")
    story = story.returns("c1").pending_calls("c2").returns("c2").pending()
    assert story.outcome().status == RunStatus.COMPLETED


def test_raised_max_turns_lets_the_run_go_on():
    story = session(max_turns=2).when(start_run()).asks(call("c1")).when(UpdateConfig(unlimited=("max_turns",)))
    story.returns("c1").pending("r1/1/model")


@pytest.mark.parametrize(
    ("size", "kept"),
    [
        (None, ["user", "assistant", "tool", "tool", "assistant"]),
        (9, ["user", "assistant", "tool", "tool", "assistant"]),
        (5, ["user", "assistant", "tool", "tool", "assistant"]),
        (4, ["assistant", "tool", "tool", "assistant"]),
        (3, ["assistant"]),
        (2, ["assistant"]),
        (1, ["assistant"]),
        (0, []),
    ],
)
def test_history_is_truncated_without_orphan_tool_messages(size, kept):
    story = session(history_size=size).when(start_run()).asks(call("c1"), call("c2"))
    story = story.returns("c1").returns("c2").says("done")
    assert [message.role for message in story.state.history] == kept
    assert len(story.outcome().messages) == 5


def test_history_is_not_truncated_during_a_run():
    story = session(history_size=1).when(start_run()).asks(call("c1")).returns("c1")
    assert len(story.model_step.messages) == 3


def test_history_of_size_one_after_a_run_that_ended_on_a_tool_message_is_empty():
    story = session(history_size=1, max_turns=2).when(start_run()).asks(call("c1")).returns("c1")
    assert story.state.history == ()


def test_history_counts_over_several_runs():
    story = session(history_size=3)
    for number in range(3):
        story = story.when(start_run(f"r{number}", f"q{number}")).says(f"a{number}")
    assert [message.content for message in story.state.history] == ["a1", "q2", "a2"]


def test_truncate_never_returns_a_tool_message_without_its_call():
    messages = (user("q"), assistant(None, call("c1"), call("c2")), tool("c1", "x"), tool("c2", "y"), assistant("z"))
    for size in range(7):
        kept = truncate(messages, size)
        assert len(kept) <= size
        assert not kept or kept[0].role != "tool"
        assert kept == messages[len(messages) - len(kept) :]
