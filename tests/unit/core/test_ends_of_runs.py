"""How a run ends, and what its record says of it: with a whole answer, a broken one, or at a bound."""

import math

import pytest
from support.stories import agent, call, open_session, running, session, start_run

from rojak_ray.agents.finish import is_whole, read_finish_reason
from rojak_ray.core.commands import UpdateConfig
from rojak_ray.core.events import DEFAULT_MODEL_CALLS, ModelResponded, Opened, RunEnded, RunStatus
from rojak_ray.core.evolve import fold
from rojak_ray.core.state import SessionState
from rojak_ray.core.steps import ModelResult, StepError
from rojak_ray.errors import InvalidLimit
from rojak_ray.sessions.caller import input_digest, read_limit, read_model_calls


def answers(story, finish_reason, raw=None, content="and so", *calls):
    result = ModelResult(content=content, calls=calls, finish_reason=finish_reason, raw_finish_reason=raw)
    return story.answered(story.model_step.step_id, result)


def loops(story, times):
    for number in range(times):
        story = story.asks(call(f"c{number}")).returns(f"c{number}")
    return story


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter", "refusal", "other"])
def test_way_the_last_answer_ended_is_in_the_event_and_the_outcome(reason):
    story = answers(running(), reason, f"raw {reason}")
    ended = story.told_one(RunEnded)
    assert (ended.status, ended.finish_reason, ended.raw_finish_reason) == (
        RunStatus.COMPLETED,
        reason,
        f"raw {reason}",
    )
    assert (story.outcome().finish_reason, story.outcome().raw_finish_reason) == (reason, f"raw {reason}")


def test_only_the_last_answer_counts():
    story = answers(running(), "length", "max_tokens", None, call("c1")).returns("c1")
    assert answers(story, "stop", "end_turn").outcome().finish_reason == "stop"


def test_answer_of_an_older_record_is_read_by_the_vendors_word():
    story = running()
    old = ModelResponded(step_id=story.model_step.step_id, content="cut", finish_reason="max_tokens")
    run = fold(story.state, [old]).run
    assert (run.finish_reason, run.raw_finish_reason) == ("length", "max_tokens")


def test_run_that_spent_its_turns_says_so():
    story = session(max_turns=2).when(start_run()).asks(call("c1")).returns("c1")
    assert (story.outcome().status, story.outcome().finish_reason) == (RunStatus.COMPLETED, "max_turns")


def test_answer_that_uses_the_last_turn_is_an_answer():
    assert session(max_turns=1).when(start_run()).says("done").outcome().finish_reason == "stop"


def test_loop_ends_at_a_hundred_model_calls_with_what_to_do_about_it():
    story = loops(running(), DEFAULT_MODEL_CALLS - 1)
    assert story.state.run is not None
    outcome = loops(story, 1).outcome()
    assert (outcome.status, outcome.finish_reason) == (RunStatus.FAILED, "max_model_calls")
    for words in ("100 model calls", "'A'", "max_model_calls", 'float("inf")', "update_config", "'r1'"):
        assert words in outcome.error


def test_functions_of_the_last_allowed_answer_run_and_a_last_answer_in_text_counts():
    story = session(max_model_calls=2).when(start_run()).asks(call("c1")).returns("c1").asks(call("c2"))
    assert [step.kind for step in story.steps] == ["call_function"]
    assert story.returns("c2").outcome().finish_reason == "max_model_calls"
    answered = session(max_model_calls=2).when(start_run()).asks(call("c1")).returns("c1").says("done")
    assert answered.outcome().status is RunStatus.COMPLETED


def test_next_run_of_the_session_begins_counting_anew():
    story = session(max_model_calls=1).when(start_run("r1"), start_run("r2")).asks(call("c1")).returns("c1")
    story.pending("r2/0/model")


def test_bound_can_be_lifted_and_set_while_a_run_goes_on():
    story = loops(session(max_model_calls=None).when(start_run()), DEFAULT_MODEL_CALLS + 5)
    assert story.state.run is not None
    story = story.when(UpdateConfig(max_model_calls=DEFAULT_MODEL_CALLS + 6))
    assert loops(story, 1).outcome().finish_reason == "max_model_calls"
    lifted = session(max_model_calls=3).when(UpdateConfig(unlimited=("max_model_calls",)), start_run())
    assert loops(lifted, 5).state.run is not None


def test_conversation_of_an_older_format_has_the_bound():
    old = {"kind": "opened", "owner_kind": "session", "owner_id": "s", "incarnation": "i", "agent": "d"}
    assert fold(SessionState(), [Opened.model_validate(old)]).max_model_calls == DEFAULT_MODEL_CALLS


def test_step_error_that_knows_how_the_answer_ended_tells_it():
    error = StepError(error_type="ModelCutShort", message="cut", finish_reason="length")
    assert running().fails("model", error).outcome().finish_reason == "length"


@pytest.mark.parametrize("bad", [0, 0.5, -1, math.nan, -math.inf, True, "9"])
def test_bound_that_no_run_can_keep_is_refused(bad):
    with pytest.raises(InvalidLimit, match="max_model_calls"):
        read_model_calls(bad)


def test_limits_are_counts_or_none():
    assert [read_limit(given, "n") for given in (None, math.inf, 10**400, 0, 7, 2.9)] == [None, None, None, 0, 7, 2]


def test_request_of_an_older_version_is_the_same_request():
    old = input_digest(agent(), [], {}, None, DEFAULT_MODEL_CALLS)
    assert old == "2b27988568f191d000aea24639eb58ba", "what the version before this bound made of it"
    assert len({old, *(input_digest(agent(), [], {}, None, calls) for calls in (None, 5))}) == 3


@pytest.mark.parametrize(
    ("reason", "words"),
    {
        "stop": ("stop", "STOP", "end_turn", "stop_sequence", "eos", None, "", " "),
        "tool_calls": ("tool_calls", "tool_use", "function_call"),
        "length": ("length", "max_tokens", "MAX_TOKENS", "model_length", "model_context_window_exceeded"),
        "content_filter": ("content_filter", "SAFETY", "RECITATION", "PROHIBITED_CONTENT"),
        "refusal": ("refusal",),
        "error": ("error", "abort", "MALFORMED_FUNCTION_CALL", "insufficient_system_resource"),
        "other": ("made up", "pause_turn", "max turns"),
    }.items(),
)
def test_words_of_vendors_in_ours(reason, words):
    assert {read_finish_reason(word) for word in words} == {reason}
    assert read_finish_reason(read_finish_reason(words[0])) == reason, "reading it again changes nothing"
    assert is_whole(words[0]) == (reason in ("stop", "tool_calls"))


def test_answer_with_calls_that_ended_well_asks_for_calls():
    assert {read_finish_reason(word, calls=True) for word in ("stop", None, "tool_use")} == {"tool_calls"}
    assert read_finish_reason("length", calls=True) == "length"


def test_session_is_opened_with_the_bound_it_was_given():
    assert session(max_model_calls=7).state.max_model_calls == 7
    assert open_session().max_model_calls == DEFAULT_MODEL_CALLS
