"""Calls in one answer: what runs when, what each sees, and in which order results count."""

import itertools

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from support.stories import BROKEN, agent, assistant, call, running, start_run, tool, user

from rojak_ray.core.events import AgentAdded, FunctionReturned, RunStatus
from rojak_ray.core.state import ContextPatch
from rojak_ray.core.steps import CallFunction
from rojak_ray.messages import ToolCall, Usage

A, B, C = agent("A"), agent("B"), agent("C")


def context_seen(story, call_id):
    step = story.call_step(call_id)
    assert isinstance(step, CallFunction)
    return step.context_variables


def test_independent_calls_are_pending_all_at_once():
    story = running().asks(call("c1", "f", '{"a":1}'), call("c2", "g"), call("c3", "f"))
    story.then_kinds("model_responded").pending("r1/0/call/0", "r1/0/call/1", "r1/0/call/2")
    step = story.call_step("c1")
    assert step.call == ToolCall(id="c1", name="f", arguments='{"a":1}')
    assert (step.run_id, step.session_id, step.agent, step.attempt) == ("r1", "s", A, 1)


def test_sequential_calls_are_pending_one_at_a_time_in_order():
    story = running().asks(*(call(f"c{number}", sequential=True) for number in (1, 2, 3)))
    for call_id in ("c1", "c2", "c3"):
        story = story.pending_calls(call_id).returns(call_id)
    story.pending("r1/1/model")


def test_sequential_and_independent_calls_share_an_answer():
    story = running().asks(call("s1", sequential=True), call("p1"), call("s2", sequential=True), call("p2"))
    story.pending_calls("s1", "p1", "p2")
    story.returns("p1").pending_calls("s1", "p2").returns("s1").pending_calls("s2", "p2")


def test_sequential_call_sees_what_earlier_ones_changed():
    calls = [call(f"c{number}", sequential=True) for number in (1, 2, 3)]
    story = running(context_variables={"a": 0, "b": 0}).asks(*calls)
    assert context_seen(story, "c1") == {"a": 0, "b": 0}
    story = story.returns("c1", sets={"a": 1, "c": 1})
    assert context_seen(story, "c2") == {"a": 1, "b": 0, "c": 1}
    story = story.returns("c2", deletes=["b", "c"])
    assert context_seen(story, "c3") == {"a": 1}


def test_failed_sequential_call_changes_nothing_for_the_next():
    story = running(context_variables={"a": 0}).asks(call("c1", sequential=True), call("c2", sequential=True))
    assert context_seen(story.fails("c1", BROKEN), "c2") == {"a": 0}


def test_independent_call_sees_the_context_before_the_answer_and_its_changes_count_after_it():
    story = running(context_variables={"a": 0}).asks(call("s", sequential=True), call("p"))
    story = story.returns("s", sets={"a": 1})
    assert context_seen(story, "p") == {"a": 0}


def test_results_are_appended_only_when_all_are_there():
    story = running().asks(call("c1"), call("c2")).returns("c2", "two")
    story.then(FunctionReturned(step_id="r1/0/call/1", output="two")).pending("r1/0/call/0")
    assert story.state.run.messages == (user("hi"), assistant(None, call("c1"), call("c2")))


@pytest.mark.parametrize("order", list(itertools.permutations(("c1", "c2", "c3"))))
def test_results_are_appended_in_model_order_whatever_order_they_return_in(order):
    calls = [call("c1"), call("c2"), call("c3")]
    story = running().asks(*calls, content="let me see")
    for call_id in order:
        story = story.returns(call_id, f"from {call_id}")
    story.pending("r1/1/model")
    assert story.model_step.messages == (
        user("hi"),
        assistant("let me see", *calls),
        tool("c1", "from c1"),
        tool("c2", "from c2"),
        tool("c3", "from c3"),
    )


@pytest.mark.parametrize("order", list(itertools.permutations(("c1", "c2", "c3"))))
def test_context_changes_are_merged_in_call_order_whatever_order_they_return_in(order):
    changes = {
        "c1": {"sets": {"x": 1, "y": 1, "z": 1}},
        "c2": {"sets": {"x": 2}, "deletes": ["y"]},
        "c3": {"sets": {"y": 3}, "deletes": ["z", "old"]},
    }
    story = running(context_variables={"old": True, "kept": True}).asks(call("c1"), call("c2"), call("c3"))
    for call_id in order:
        story = story.returns(call_id, **changes[call_id])
    expected = {"kept": True, "x": 2, "y": 3}
    story = story.asks(call("look"))
    assert context_seen(story, "look") == expected
    story = story.returns("look").says("done")
    assert story.outcome().context_variables == expected
    assert story.state.context_variables == expected


@pytest.mark.parametrize("order", [("c1", "c2", "c3"), ("c3", "c2", "c1")])
def test_last_handoff_in_call_order_wins_and_is_asked_next(order):
    to = {"c1": B, "c2": C, "c3": None}
    story = running(A).asks(call("c1"), call("c2"), call("c3"))
    for call_id in order:
        story = story.returns(call_id, f"by {call_id}", to=to[call_id])
    assert story.model_step.agent == C
    assert [message.sender for message in story.state.run.messages] == [None, "A", "A", "A", "A"]
    story = story.says("I am C")
    assert story.outcome().messages[-1] == assistant("I am C", sender="C")
    assert story.outcome().agent == C.digest()


@pytest.mark.parametrize("order", [("c1", "c2", "c3"), ("c3", "c2", "c1")])
def test_model_is_told_which_of_several_handoffs_came_about(order):
    told = {"c1": ("Transferred to 'B'", B), "c2": ("see B", B), "c3": ("Transferred to 'C'", C)}
    story = running(A).asks(call("c1"), call("c2"), call("c3"))
    for call_id in order:
        story = story.returns(call_id, told[call_id][0], to=told[call_id][1])
    not_b = "Not transferred to 'B': a later call of the same answer transferred to 'C'"
    results = [message.content for message in story.model_step.messages if message.role == "tool"]
    assert results == [not_b, f"see B\n{not_b}", "Transferred to 'C'"]


def test_two_handoffs_to_one_agent_are_both_true():
    story = running(A).asks(call("c1"), call("c2")).returns("c1", "Transferred to 'B'", to=B).returns("c2", "ok", to=B)
    results = [message.content for message in story.model_step.messages if message.role == "tool"]
    assert results == ["Transferred to 'B'", "ok"]


def test_handoff_records_an_unknown_agent_before_it_is_named():
    story = running(A).asks(call("c1")).returns("c1", "Transferred", to=B)
    story.then(
        AgentAdded(digest=B.digest(), spec=B),
        FunctionReturned(step_id="r1/0/call/0", output="Transferred", agent=B.digest()),
    )


def test_handoff_and_later_change_in_one_answer_both_count():
    story = running(A).asks(call("c1"), call("c2")).returns("c1", to=B).returns("c2", sets={"k": 1}).says("x")
    assert story.outcome().agent == B.digest()
    assert story.outcome().context_variables == {"k": 1}


def test_next_run_goes_to_the_agent_that_spoke_last():
    story = running(A).asks(call("c1")).returns("c1", to=B).says("I am B").when(start_run("r2"))
    assert story.model_step.agent == B


def test_usage_is_summed_over_the_model_calls_of_a_run_and_starts_anew_with_the_next():
    first = Usage(requests=1, input_tokens=10, output_tokens=1, cached_input_tokens=4)
    story = running().asks(call("c1"), usage=first).returns("c1").says("one", usage=Usage(requests=1, input_tokens=5))
    assert story.outcome().usage == Usage(requests=2, input_tokens=15, output_tokens=1, cached_input_tokens=4)
    assert story.when(start_run("r2")).says("two").outcome("r2").usage == Usage(requests=1)


def test_two_calls_with_one_vendor_id_are_two_steps():
    story = running().asks(call("same", "f"), call("same", "g"))
    story.pending("r1/0/call/0", "r1/0/call/1")


def test_answer_with_text_beside_calls_does_not_end_the_run():
    running().asks(call("c1"), content="wait").returns("c1").then_kinds("function_returned").pending("r1/1/model")


def test_completed_context_is_the_sessions_and_the_next_run_sees_it():
    story = running().asks(call("c1")).returns("c1", sets={"k": [1, {"deep": None}]}).says("x")
    story = story.when(start_run("r2")).asks(call("c2"))
    assert context_seen(story, "c2") == {"k": [1, {"deep": None}]}
    assert story.outcome("r1").status == RunStatus.COMPLETED


keys = st.sampled_from("abcd")
contexts = st.dictionaries(keys, st.integers(0, 9))
patches = st.builds(ContextPatch, set=contexts, deleted=st.lists(keys, unique=True).map(tuple))


@for_all(patches, patches, contexts)
@settings(max_examples=60, derandomize=True, deadline=None, database=None)
def test_patch_after_patch_is_one_patch(first, second, context):
    assert first.then(second).apply(context) == second.apply(first.apply(context))
