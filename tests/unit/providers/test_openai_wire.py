"""What goes to and comes from OpenAI's wire, without a wire."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from rojak_ray.agents.activities import AgentCallParams, FunctionSchema
from rojak_ray.messages import ConversationMessage
from rojak_ray.providers.history import Origin
from rojak_ray.providers.openai import chat_request, read_completion
from rojak_ray.providers.wire import UnusableReply

ADD = FunctionSchema(name="add", description="", parameters={"type": "object", "properties": {}})


def call(id_: str, arguments: Any = "{}") -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": "add", "arguments": arguments}}


def body(*messages: ConversationMessage, **given: Any) -> dict[str, Any]:
    return chat_request(AgentCallParams(messages=list(messages), model="m", **given)).body


def reply(finish: str | None = "stop", usage: Any = None, **message: Any) -> dict[str, Any]:
    return {"choices": [{"message": message, "finish_reason": finish}], "usage": usage}


def test_only_set_keys_are_sent() -> None:
    sent = body(
        ConversationMessage("system", "s"),
        ConversationMessage("user", "u", sender="x"),
        ConversationMessage("assistant", None, tool_calls=[call("c1", '{"a": 1}')], sender="A"),
        ConversationMessage("tool", "3", tool_call_id="c1", sender="A"),
        ConversationMessage("assistant", "done"),
    )["messages"]
    assert sent == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": None, "tool_calls": [call("c1", '{"a": 1}')]},
        {"role": "tool", "content": "3", "tool_call_id": "c1"},
        {"role": "assistant", "content": "done"},
    ]


def test_text_beside_calls_is_kept() -> None:
    message = ConversationMessage("assistant", "let me see", tool_calls=[call("c1")])
    sent = body(ConversationMessage("user", "u"), message, ConversationMessage("tool", "", tool_call_id="c1"))
    assert sent["messages"][1:] == [
        {"role": "assistant", "content": "let me see", "tool_calls": [call("c1")]},
        {"role": "tool", "content": "", "tool_call_id": "c1"},
    ]


def test_results_without_a_call_are_left_out() -> None:
    sent = body(ConversationMessage("tool", "3", tool_call_id="gone"), ConversationMessage("user", "u"))
    assert sent["messages"] == [{"role": "user", "content": "u"}]


def test_calls_without_a_result_get_one() -> None:
    sent = body(
        ConversationMessage("user", "u"),
        ConversationMessage("assistant", None, tool_calls=[call("c1"), call("c2")]),
        ConversationMessage("tool", "2", tool_call_id="c2"),
        ConversationMessage("user", "go on"),
    )["messages"][1:]
    assert [(message["role"], message.get("tool_call_id")) for message in sent] == [
        ("assistant", None),
        ("tool", "c2"),
        ("tool", "c1"),
        ("user", None),
    ]
    assert "interrupted" in sent[2]["content"]


def test_half_characters_are_not_sent() -> None:
    assert body(ConversationMessage("user", "a\ud800"))["messages"][0]["content"] == "a?"


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"),
        ("required", "required"),
        ("none", "none"),
        ("add", {"type": "function", "function": {"name": "add"}}),
        ({"type": "function", "function": {"name": "add"}}, {"type": "function", "function": {"name": "add"}}),
        ({"type": "tool", "name": "add"}, {"type": "function", "function": {"name": "add"}}),
        ("any", "required"),
        ("REQUIRED", "required"),
        ({"type": "any", "disable_parallel_tool_use": True}, "required"),
        ({"type": "auto"}, "auto"),
        ({"type": "allowed_tools", "mode": "auto"}, {"type": "allowed_tools", "mode": "auto"}),
        ("validated", "validated"),
    ],
)
def test_tool_choice(choice: Any, sent: Any) -> None:
    assert body(functions=[ADD], tool_choice=choice)["tool_choice"] == sent


def test_flags_of_functions() -> None:
    assert body(functions=[ADD], parallel_tool_calls=False)["parallel_tool_calls"] is False
    assert set(body(functions=[ADD])) == {"model", "messages", "tools"}
    assert set(body(tool_choice="auto", parallel_tool_calls=False)) == {"model", "messages"}
    [tool] = body(functions=[ADD])["tools"]
    assert tool == {"type": "function", "function": {"name": "add", "parameters": ADD.parameters}}


@pytest.mark.parametrize(
    ("config", "sent"),
    [
        ({"stop_sequences": ["x"]}, {"stop": ["x"]}),
        ({"stop_sequences": []}, {}),
        ({"stop_sequences": ["x"], "stop": "y"}, {"stop": "y"}),
        ({"temperature": 0, "top_p": None}, {"temperature": 0}),
        ({"model": "another", "messages": []}, {}),
        ({"stream": True, "stream_options": {}}, {}),
    ],
)
def test_config(config: dict[str, Any], sent: dict[str, Any]) -> None:
    assert body(inference_config=config) == {"model": "m", "messages": [], **sent}


def test_the_callers_config_is_not_changed() -> None:
    defaults = {"stop_sequences": ["x"], "extra_body": {"a": 1}}
    chat_request(AgentCallParams(messages=[], model="m", inference_config=defaults), defaults)
    assert defaults == {"stop_sequences": ["x"], "extra_body": {"a": 1}}


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ({"content": "hi"}, "hi"),
        ({"content": ""}, ""),
        ({"content": None}, ""),
        ({}, ""),
        ({"content": None, "refusal": "I will not."}, "I will not."),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab"),
        ({"content": "hi", "tool_calls": []}, "hi"),
    ],
)
def test_text_answers(message: dict[str, Any], content: str) -> None:
    answer = read_completion(reply(**message))
    assert (answer.type, answer.content, answer.tool_calls, answer.finish_reason) == ("text", content, None, "stop")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [('{"a": 1}', '{"a": 1}'), ("", "{}"), (None, "{}"), ({"a": 1}, '{"a": 1}'), ("{oops", "{oops")],
)
def test_arguments(arguments: Any, text: str) -> None:
    answer = read_completion(reply(tool_calls=[call("c", arguments)], content=""))
    assert (answer.type, answer.content) == ("tool", None)
    assert answer.tool_calls is not None
    assert answer.tool_calls[0].function.arguments == text


def test_complete_calls_survive_the_limit() -> None:
    answer = read_completion(reply(finish="length", tool_calls=[call("c", '{"a": 1}')]))
    assert (answer.type, answer.finish_reason) == ("tool", "length")
    with pytest.raises(UnusableReply, match="length"):
        read_completion(reply(finish="length", tool_calls=[call("c", '{"a": 1}'), call("d", '{"a"')]))


def test_usage() -> None:
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    counted = read_completion(reply(usage=usage, content="x")).usage
    assert counted is not None
    assert counted.model_dump() == {
        "requests": 1,
        "input_tokens": 9,
        "output_tokens": 4,
        "cached_input_tokens": 6,
        "reasoning_tokens": 3,
        "cache_write_tokens": 2,
    }


@pytest.mark.parametrize("usage", [None, "many", {}, {"prompt_tokens": None, "prompt_tokens_details": None}])
def test_senseless_usage_costs_no_answer(usage: Any) -> None:
    counted = read_completion(reply(usage=usage, content="x")).usage
    assert counted is not None
    assert (counted.requests, counted.total_tokens) == (1, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "text",
        [],
        {},
        {"choices": None},
        {"choices": []},
        {"choices": [None]},
        {"choices": [{}]},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"content": 7}}]},
        {"choices": [{"message": {"tool_calls": [{"id": "x", "function": {"name": None}}]}}]},
    ],
)
def test_wrong_shapes(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        read_completion(wrong)


@pytest.mark.parametrize(
    ("address", "length"),
    [("api.openai.com", 1024), ("mine.openai.azure.com", 1024), ("localhost:8000", 5000), ("", 5000)],
)
def test_long_description_of_a_function_is_cut_where_openai_would_refuse_it(address: str, length: int) -> None:
    schema = FunctionSchema(name="add", description="x" * 5000, parameters={"type": "object", "properties": {}})
    question = AgentCallParams(messages=[ConversationMessage("user", "u")], model="m", functions=[schema])
    sent = chat_request(question, None, Origin(f"openai/{address}", "m")).body["tools"][0]["function"]
    assert len(sent["description"]) == length
    assert sent["description"].endswith("...") is (length == 1024)
