"""What users put into `inference_config`, wherever in it: what is sent of it, what the rules see, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from rojak_ray import AnthropicAgent, OpenAIAgent
from rojak_ray.agents.activities import AgentCallParams, FunctionSchema
from rojak_ray.agents.given import check_agent
from rojak_ray.errors import ConfigError, InvalidAgent, ModelRejected
from rojak_ray.messages import ConversationMessage
from rojak_ray.providers.anthropic import AnthropicAgentOptions, message_request
from rojak_ray.providers.asked import Asked
from rojak_ray.providers.history import Origin
from rojak_ray.providers.openai import OpenAIAgentOptions, chat_request

ADD = FunctionSchema("add", "", {"type": "object", "properties": {}})
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
USER = ConversationMessage("user", "u")
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
CALLED = [USER, ConversationMessage("assistant", None, [CALL]), ConversationMessage("tool", "3", tool_call_id="c1")]
THINKING = {"type": "enabled", "budget_tokens": 10_000}
PLACES = ["config", "extra_body"]


def placed(place: str, **fields: Any) -> dict[str, Any]:
    return fields if place == "config" else {"extra_body": fields}


def claude(config: Any, messages: Any = (USER,), **more: Any) -> dict[str, Any]:
    return message_request(AgentCallParams(list(messages), "claude", inference_config=config, **more)).body


def gpt(config: Any, messages: Any = (USER,), origin: Origin | None = None, **more: Any) -> dict[str, Any]:
    return chat_request(AgentCallParams(list(messages), "m", inference_config=config, **more), None, origin).body


@pytest.mark.parametrize("place", PLACES)
def test_thinking_is_left_out_where_calls_were_begun_without_a_thought(place: str) -> None:
    config = placed(place, thinking=THINKING)
    assert claude(config)["thinking"] == THINKING
    assert "thinking" not in claude(config, CALLED, functions=[ADD])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("forced", ["the agent's", "config", "extra_body"])
def test_thinking_goes_with_no_forced_function(place: str, forced: str) -> None:
    config = {**placed(place, thinking=THINKING)}
    more: dict[str, Any] = {"functions": [ADD]}
    if forced == "the agent's":
        more["tool_choice"] = "required"
    else:
        choice = placed(forced, tool_choice={"type": "any"})
        config = {**config, **choice, "extra_body": {**config.get("extra_body", {}), **choice.get("extra_body", {})}}
    sent = claude(config, **more)
    assert sent["tool_choice"] == {"type": "any"}
    assert "thinking" not in sent


@pytest.mark.parametrize("place", PLACES)
def test_thoughts_leave_room_for_the_answer(place: str) -> None:
    assert claude(placed(place, thinking=THINKING))["max_tokens"] == 14_096
    assert claude({})["max_tokens"] == 4096
    assert claude(placed(place, max_tokens=7))["max_tokens"] == 7
    assert claude({**placed(place, max_tokens=12_000), "thinking": THINKING})["max_tokens"] == 12_000


@pytest.mark.parametrize("place", PLACES)
def test_tools_of_the_user_stand_beside_the_agents_functions(place: str) -> None:
    config = placed(place, tools=[SEARCH])
    assert [tool["name"] for tool in claude(config, functions=[ADD])["tools"]] == ["add", "web_search"]
    assert [tool.get("name", "add") for tool in gpt(config, functions=[ADD])["tools"]] == ["add", "web_search"]


@pytest.mark.parametrize("place", PLACES)
def test_tools_of_the_user_are_the_tools_of_a_history_with_calls(place: str) -> None:
    config = placed(place, tools=[SEARCH])
    sent = claude(config, CALLED)
    assert sent["tools"] == [SEARCH]
    assert "tool_choice" not in sent
    gateway = Origin("openai/gateway", "claude-sonnet")
    assert gpt(config, CALLED, gateway)["tools"] == [SEARCH]
    assert "tool_choice" not in gpt(config, CALLED, gateway)


@pytest.mark.parametrize("place", PLACES)
def test_what_stands_in_for_the_tools_of_a_history_is_never_to_be_called(place: str) -> None:
    config = placed(place, tool_choice={"type": "any"})
    assert claude(config, CALLED)["tool_choice"] == {"type": "none"}
    assert gpt(config, CALLED, Origin("openai/gateway", "claude-sonnet"))["tool_choice"] == "none"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("ask", [claude, gpt])
def test_a_choice_of_tools_is_not_sent_where_there_are_none(ask: Any, place: str) -> None:
    sent = ask(placed(place, tool_choice="none", parallel_tool_calls=False, tools=[]))
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(sent)


def test_one_call_at_a_time_goes_with_the_choice_in_the_config() -> None:
    sent = claude({"tool_choice": {"type": "any"}}, functions=[ADD], parallel_tool_calls=False)
    assert sent["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}


def test_the_model_that_is_really_asked_decides_about_the_dialect() -> None:
    sent = gpt({"extra_body": {"model": "mistral-large"}}, CALLED)
    assert sent["model"] == "mistral-large"
    assert len(sent["messages"][1]["tool_calls"][0]["id"]) == 9


def test_extras_are_joined_key_by_key() -> None:
    provider = {
        "extra_headers": {"x-a": "1", "x-b": "2", "x-c": "3"},
        "extra_query": {"q": "1"},
        "extra_body": {"a": 1, "b": 2},
        "seed": 1,
    }
    agent = {
        "extra_headers": {"x-b": "4", "x-c": None},
        "extra_query": {"r": "2"},
        "extra_body": {"b": None},
        "seed": None,
    }
    request = Asked.of(provider, agent).request({"model": "m"})
    assert request.headers == {"x-a": "1", "x-b": "4"}
    assert request.query == {"q": "1", "r": "2"}
    assert request.body == {"model": "m", "a": 1, "b": None}
    assert Asked.of(provider, {"extra_body": None}).request({}).body == {"seed": 1, "a": 1, "b": 2}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"messages": []}, "inference_config.messages"),
    ({"extra_body": {"messages": []}}, "inference_config.extra_body.messages"),
    ({"stream": True}, "inference_config.stream"),
    ({"extra_body": {"stream": True}}, "inference_config.extra_body.stream"),
    ({"n": 2}, "inference_config.n"),
    ({"n": "2"}, "inference_config.n"),
    ({"extra_body": {"n": 3}}, "inference_config.extra_body.n"),
    ({"tools": {"name": "x"}}, "inference_config.tools"),
    ({"extra_body": {"tools": ["x"]}}, "inference_config.extra_body.tools"),
    ({"extra_body": {"model": None}}, "inference_config.extra_body.model"),
    ({"extra_body": "x"}, "inference_config.extra_body"),
    ({"extra_headers": [["a", "b"]]}, "inference_config.extra_headers"),
    ({"extra_headers": {"x-a": 1}}, "inference_config.extra_headers.x-a"),
    ({"extra_query": {1: "x"}}, "inference_config.extra_query"),
]


@pytest.mark.parametrize(("config", "key"), REFUSED, ids=str)
@pytest.mark.parametrize("agent", [OpenAIAgent, AnthropicAgent])
def test_what_would_break_the_request_is_refused_by_agent_and_key(agent: Any, config: Any, key: str) -> None:
    with pytest.raises(InvalidAgent, match="'Guide'") as caught:
        check_agent(agent(name="Guide", inference_config=config))
    assert key in str(caught.value)


@pytest.mark.parametrize(("config", "key"), REFUSED, ids=str)
@pytest.mark.parametrize("options", [OpenAIAgentOptions, AnthropicAgentOptions])
def test_options_refuse_the_same(options: Any, config: Any, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        options(inference_config=config)
    assert key in str(caught.value)


@pytest.mark.parametrize("ask", [claude, gpt])
@pytest.mark.parametrize(("config", "key"), [case for case in REFUSED if {"messages", "stream"}.isdisjoint(case[0])])
def test_an_agent_that_was_stored_earlier_is_not_asked(ask: Any, config: Any, key: str) -> None:
    with pytest.raises(ModelRejected) as caught:
        ask(config)
    assert key in str(caught.value)


@pytest.mark.parametrize(
    "config", [None, {}, {"n": 1}, {"stream": False}, {"extra_body": None}, {"extra_headers": {"x-a": None}}]
)
def test_what_breaks_nothing_is_taken(config: Any) -> None:
    check_agent(OpenAIAgent(name="Guide", inference_config=config))
    OpenAIAgentOptions(inference_config=config)
    gpt(config)


@pytest.mark.parametrize("model", ["gpt-5.6-terra", "gpt-6-luna", "gpt-6.2-sol", "gpt-7", OpenAIAgent().model])
def test_models_that_call_functions_only_without_reasoning_are_told_so(model: str) -> None:
    asked = {"extra_body": {"model": model}}
    assert gpt(asked, functions=[ADD])["reasoning_effort"] == "none"
    assert gpt({**asked, "tools": [SEARCH]})["reasoning_effort"] == "none"
    assert "reasoning_effort" not in gpt(asked)


@pytest.mark.parametrize("place", PLACES)
def test_a_wish_for_reasoning_is_sent_as_it_is(place: str) -> None:
    sent = gpt({**placed(place, reasoning_effort="high"), "model": "gpt-6-luna"}, functions=[ADD])
    assert sent["reasoning_effort"] == "high"


@pytest.mark.parametrize("model", ["gpt-5.4-mini", "gpt-4o", "gpt-35-turbo", "gpt-oss-120b", "openai/gpt-6-luna", "o3"])
def test_others_are_not_spoken_to_of_reasoning(model: str) -> None:
    assert "reasoning_effort" not in gpt({"extra_body": {"model": model}}, functions=[ADD])
