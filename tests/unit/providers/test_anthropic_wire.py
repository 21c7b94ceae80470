"""What goes to and comes from Anthropic's wire, without a wire."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from rojak_ray.agents.activities import AgentCallParams, FunctionSchema
from rojak_ray.messages import ConversationMessage
from rojak_ray.providers.anthropic import convert_messages, convert_tool_choice, message_request, read_message
from rojak_ray.providers.history import GO_ON
from rojak_ray.providers.wire import UnusableReply

ADD = FunctionSchema(name="add", description="Add.", parameters={"properties": {}})


def call(id_: str, arguments: Any = "{}") -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": "add", "arguments": arguments}}


def use(id_: str, given: Any = None) -> dict[str, Any]:
    return {"type": "tool_use", "id": id_, "name": "add", "input": given if given is not None else {}}


def result(id_: str, content: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id_, "content": content}


def body(*messages: ConversationMessage, **given: Any) -> dict[str, Any]:
    return message_request(AgentCallParams(messages=list(messages), model="m", **given)).body


def test_system_messages_are_joined() -> None:
    sent = body(
        ConversationMessage("system", "one"),
        ConversationMessage("user", "u"),
        ConversationMessage("system", ""),
        ConversationMessage("system", "two"),
    )
    assert sent["system"] == "one\n\ntwo"
    assert sent["messages"] == [{"role": "user", "content": "u"}]


def test_calls_and_results() -> None:
    sent = convert_messages(
        [
            ConversationMessage("user", "u"),
            ConversationMessage("assistant", "let me", tool_calls=[call("c1", '{"a": 1}'), call("c2")], sender="A"),
            ConversationMessage("tool", "1", tool_call_id="c1"),
            ConversationMessage("system", "in between"),
            ConversationMessage("tool", "2", tool_call_id="c2"),
            ConversationMessage("assistant", " \n", tool_calls=[call("c3")]),
            ConversationMessage("tool", "", tool_call_id="c3"),
            ConversationMessage("user", "more"),
            ConversationMessage("assistant", "done", sender="B"),
        ]
    )
    assert sent == [
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": [{"type": "text", "text": "let me"}, use("c1", {"a": 1}), use("c2")]},
        {"role": "user", "content": [result("c1", "1"), result("c2", "2")]},
        {"role": "assistant", "content": [use("c3")]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c3"}]},
        {"role": "user", "content": "more"},
        {"role": "assistant", "content": "done"},
    ]


@pytest.mark.parametrize("empty", ["", "  ", None])
def test_empty_assistant_text_is_not_sent_back(empty: str | None) -> None:
    sent = convert_messages([ConversationMessage("user", "u"), ConversationMessage("assistant", empty)])
    assert sent == [{"role": "user", "content": "u"}]


def test_a_history_that_was_cut() -> None:
    sent = convert_messages(
        [
            ConversationMessage("tool", "orphan", tool_call_id="gone"),
            ConversationMessage("assistant", "so"),
            ConversationMessage("user", "u"),
        ]
    )
    assert [(message["role"], message["content"]) for message in sent] == [
        ("user", "[Earlier messages are left out.]"),
        ("assistant", "so"),
        ("user", "u"),
    ]
    assert convert_messages([ConversationMessage("tool", "orphan", tool_call_id="gone")]) == [
        {"role": "user", "content": GO_ON}
    ]


def test_calls_without_a_result_get_one() -> None:
    sent = convert_messages(
        [
            ConversationMessage("user", "u"),
            ConversationMessage("assistant", None, tool_calls=[call("c1")]),
            ConversationMessage("user", "go on"),
        ]
    )
    assert [message["role"] for message in sent] == ["user", "assistant", "user", "user"]
    assert sent[2]["content"] == [result("c1", "No result: the call was interrupted.")]


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ('{"a": [1, null]}', {"a": [1, None]}),
        ("", {}),
        ("{oops", {"_invalid_json": "{oops"}),
        ("[1]", {"_invalid_json": "[1]"}),
        ('{"a": NaN}', {"_invalid_json": '{"a": NaN}'}),
        ('{"a": "\\ud800"}', {"_invalid_json": '{"a": "\\ud800"}'}),
        ("[" * 100_000, {"_invalid_json": "[" * 100_000}),
    ],
)
def test_arguments(arguments: str, given: dict[str, Any]) -> None:
    sent = convert_messages([ConversationMessage("assistant", None, tool_calls=[call("c1", arguments)])])
    assert sent[1]["content"][0]["input"] == given


def test_ids_of_other_vendors() -> None:
    sent = convert_messages(
        [
            ConversationMessage("assistant", None, tool_calls=[call("functions.add:0")]),
            ConversationMessage("tool", "1", tool_call_id="functions.add:0"),
        ]
    )
    assert sent[1]["content"][0]["id"] == sent[2]["content"][0]["tool_use_id"] == "functions_add_0"


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (None, None),
        ("auto", {"type": "auto"}),
        ("required", {"type": "any"}),
        ("any", {"type": "any"}),
        ("none", {"type": "none"}),
        ("add", {"type": "tool", "name": "add"}),
        ({"type": "function", "function": {"name": "add"}}, {"type": "tool", "name": "add"}),
        ({"type": "function", "name": "add"}, {"type": "tool", "name": "add"}),
        ({"type": "tool", "name": "add"}, {"type": "tool", "name": "add"}),
        ({"type": "any", "disable_parallel_tool_use": True}, {"type": "any", "disable_parallel_tool_use": True}),
    ],
)
def test_tool_choice(choice: Any, sent: Any) -> None:
    assert convert_tool_choice(choice, parallel=True) == sent


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (None, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", {"type": "any", "disable_parallel_tool_use": True}),
        ("add", {"type": "tool", "name": "add", "disable_parallel_tool_use": True}),
        ({"type": "any"}, {"type": "any", "disable_parallel_tool_use": True}),
        ({"type": "auto", "disable_parallel_tool_use": False}, {"type": "auto", "disable_parallel_tool_use": False}),
        ("none", {"type": "none"}),
    ],
)
def test_one_call_at_a_time(choice: Any, sent: Any) -> None:
    assert convert_tool_choice(choice, parallel=False) == sent


def test_functions() -> None:
    sent = body(functions=[ADD], parallel_tool_calls=False)
    assert sent["tools"] == [
        {"name": "add", "description": "Add.", "input_schema": {"type": "object", "properties": {}}}
    ]
    assert sent["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert not {"tools", "tool_choice"} & set(body(tool_choice="auto", parallel_tool_calls=False))


def test_config() -> None:
    assert body()["max_tokens"] == 4096
    assert body(inference_config={"max_tokens": None, "stop_sequences": []}) == {"model": "m", "messages": []}
    sent = body(inference_config={"temperature": 0, "top_p": 1, "top_k": 2, "stop_sequences": ["x"], "max_tokens": 9})
    assert sent == {"model": "m", "messages": [], "stop_sequences": ["x"], "max_tokens": 9}


def test_an_older_api_version_can_be_forced() -> None:
    config = {"extra_body": {"temperature": 0.2}, "extra_headers": {"anthropic-version": "2023-06-01"}}
    request = message_request(AgentCallParams(messages=[], model="m", inference_config=config))
    assert request.body["temperature"] == 0.2
    assert request.headers == {"anthropic-version": "2023-06-01"}


def test_an_answer_with_everything() -> None:
    answer = read_message(
        {
            "content": [
                {"type": "thinking", "thinking": "hm", "text": None},
                {"type": "text", "text": "a"},
                {"type": "text", "text": "b"},
                {"type": "tool_use", "id": "c1", "name": "add", "input": {"a": "ü"}},
            ],
            "stop_reason": "tool_use",
            "usage": {
                "input_tokens": 1,
                "cache_creation_input_tokens": 10,
                "cache_read_input_tokens": 100,
                "output_tokens": 5,
                "output_tokens_details": {"thinking_tokens": 3},
            },
        }
    )
    assert (answer.type, answer.content, answer.finish_reason) == ("tool", "ab", "tool_use")
    assert answer.tool_calls is not None
    assert answer.tool_calls[0].function.arguments == '{"a": "ü"}'
    assert answer.usage is not None
    assert answer.usage.model_dump() == {
        "requests": 1,
        "input_tokens": 111,
        "output_tokens": 5,
        "cached_input_tokens": 100,
        "reasoning_tokens": 3,
        "cache_write_tokens": 10,
    }


@pytest.mark.parametrize("stop_reason", ["end_turn", "refusal", "max_tokens", None])
def test_an_empty_answer(stop_reason: str | None) -> None:
    answer = read_message({"content": [], "stop_reason": stop_reason})
    assert (answer.type, answer.content, answer.finish_reason) == ("text", "", stop_reason)


def test_a_cut_tool_use() -> None:
    cut = {"content": [use("c1")], "stop_reason": "max_tokens"}
    with pytest.raises(UnusableReply, match="max_tokens"):
        read_message(cut)
    complete = {"content": [use("c1"), {"type": "text", "text": "and th"}], "stop_reason": "max_tokens"}
    assert read_message(complete).type == "tool"


@pytest.mark.parametrize(
    "wrong", [None, "text", [], {}, {"content": None}, {"content": "hi"}, {"content": ["hi"]}, {"content": [{}]}]
)
def test_wrong_shapes(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        read_message(wrong)


def test_a_tool_use_without_a_name() -> None:
    with pytest.raises(UnusableReply, match="names no tool"):
        read_message({"content": [{"type": "tool_use", "id": "c1", "input": {}}]})
