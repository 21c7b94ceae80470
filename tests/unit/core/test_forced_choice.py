"""A choice that forces a function is let go after a function ran: else the model could never answer."""

import pytest
from support.stories import agent, call, running, session, start_run

from rojak_ray.agents.activities import AgentCallParams, FunctionSchema
from rojak_ray.agents.choice import released
from rojak_ray.messages import ConversationMessage
from rojak_ray.providers.anthropic import message_request
from rojak_ray.providers.openai import chat_request

LOOKUP = FunctionSchema("lookup", "Look up.", {"type": "object", "properties": {}})
NAMED = {"type": "function", "function": {"name": "lookup"}}
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}}
FREED = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [NAMED]}}
ONE_AT_A_TIME = {"type": "any", "disable_parallel_tool_use": True}


def forced(name="A", **fields):
    return agent(name, tool_choice="required", **fields)


def test_choice_is_let_go_once_a_function_of_the_agent_ran():
    story = running(forced())
    assert not story.model_step.release_tool_choice
    story = story.asks(call("c1")).returns("c1")
    assert story.model_step.release_tool_choice
    assert story.asks(call("c2")).returns("c2").model_step.release_tool_choice


def test_choice_holds_again_in_the_next_run():
    story = running(forced()).asks(call("c1")).returns("c1").says("done").when(start_run("r2", "more"))
    assert not story.model_step.release_tool_choice


def test_agent_that_was_handed_over_to_is_forced_until_a_function_of_its_own_ran():
    story = running(forced()).asks(call("c1", "to_b")).returns("c1", to=forced("B"))
    assert not story.model_step.release_tool_choice
    story = story.asks(call("c2", "to_a")).returns("c2", to=forced())
    assert story.model_step.release_tool_choice, "A called one before"
    changed = forced(instructions="Made anew for every handoff.")
    again = story.asks(call("c3", "to_b")).returns("c3", to=changed)
    assert again.model_step.release_tool_choice, "it is A under other instructions, and would be forced for ever"


def test_setting_keeps_the_choice_and_a_bound_ends_the_run():
    story = session(forced(reset_tool_choice=False), max_model_calls=3).when(start_run())
    for number in range(3):
        assert not story.model_step.release_tool_choice
        story = story.asks(call(f"c{number}")).returns(f"c{number}")
    assert story.outcome().finish_reason == "max_model_calls"


@pytest.mark.parametrize(
    ("choice", "left"),
    [
        (None, None),
        ("auto", "auto"),
        ("none", "none"),
        ("required", None),
        ("any", None),
        ("lookup", None),
        (NAMED, None),
        ({"type": "function", "name": "lookup"}, None),
        ({"type": "tool", "name": "lookup"}, None),
        ({"type": "any"}, None),
        (ONE_AT_A_TIME, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"type": "auto"}, {"type": "auto"}),
        ({"type": "none"}, {"type": "none"}),
        (ALLOWED, FREED),
        ({"type": "allowed_tools", "mode": "required"}, {"type": "allowed_tools", "mode": "auto"}),
        (7, 7),
    ],
    ids=str,
)
def test_what_is_left_of_a_choice(choice, left):
    assert released(choice) == left
    assert released(left) == left


@pytest.mark.parametrize("request_of", [chat_request, message_request])
@pytest.mark.parametrize("place", ["agent", "provider", "extra body"])
@pytest.mark.parametrize("choice", ["required", NAMED, {"type": "any"}], ids=str)
def test_choice_in_a_config_is_let_go_as_well(request_of, place, choice):
    config = {"extra_body": {"tool_choice": choice}} if place == "extra body" else {"tool_choice": choice}
    params = AgentCallParams(
        messages=[ConversationMessage("user", "hi")],
        model="m",
        functions=[LOOKUP],
        inference_config=config if place != "provider" else None,
    )
    defaults = config if place == "provider" else None
    assert request_of(params, defaults).body["tool_choice"] == choice
    params.release_tool_choice = True
    assert "tool_choice" not in request_of(params, defaults).body
