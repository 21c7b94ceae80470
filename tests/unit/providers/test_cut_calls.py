"""A call of an answer that was cut or refused never runs with defaults that nobody asked for."""

from __future__ import annotations

from typing import Any

import pytest

from rojak_ray.agents.finish import survived
from rojak_ray.agents.results import AgentResponse, AgentToolCall, ToolCallFunction
from rojak_ray.errors import ModelCutShort
from rojak_ray.providers.anthropic import read_message
from rojak_ray.providers.anthropic_stream import MessageAssembly
from rojak_ray.providers.openai import read_completion
from rojak_ray.providers.openai_stream import ChunkAssembly
from rojak_ray.providers.wire import CutReply
from rojak_ray.sessions.responses import read_response

WIPE = {"type": "tool_use", "id": "t", "name": "wipe", "input": {}}
TEXT = {"type": "text", "text": "I cannot do that."}


def completion(arguments: Any, reason: str | None, **message: Any) -> dict[str, Any]:
    calls = [{"id": "c1", "type": "function", "function": {"name": "wipe", "arguments": arguments}}]
    return {"choices": [{"index": 0, "message": {"tool_calls": calls, **message}, "finish_reason": reason}]}


@pytest.mark.parametrize("arguments", ["", "{}", " { } ", "{}{}", {}, None, '{"path"'])
@pytest.mark.parametrize("reason", ["length", "content_filter", "MAX_TOKENS", "weird", "refusal"])
def test_a_cut_completion_whose_call_has_no_arguments(arguments: Any, reason: str):
    with pytest.raises(CutReply):
        read_completion(completion(arguments, reason))


@pytest.mark.parametrize("arguments", ["", "{}", {}])
@pytest.mark.parametrize("reason", ["stop", "tool_calls", None])
def test_a_whole_completion_may_call_without_arguments(arguments: Any, reason: str | None):
    [call] = read_completion(completion(arguments, reason)).tool_calls or []
    assert call.function.arguments == "{}"


def test_a_refusal_in_words_counts_more_than_a_call_beside_it():
    for content in (None, "Well."):
        answer = read_completion(completion('{"path": "/"}', "stop", refusal="no way", content=content))
        assert (answer.type, answer.content, answer.refused) == ("text", content or "no way", True)
        assert not answer.tool_calls


def test_a_refusal_as_finish_reason_counts_more_than_a_whole_call():
    with pytest.raises(CutReply) as caught:
        read_completion(completion('{"path": "/"}', "refusal"))
    assert caught.value.finish_reason == "refusal"


@pytest.mark.parametrize("behind", [[], [{**TEXT, "text": " "}], [{"type": "thinking", "thinking": ""}]], ids=str)
@pytest.mark.parametrize("reason", ["max_tokens", "refusal", "model_context_window_exceeded"])
def test_a_cut_message_whose_tool_use_has_no_input(behind: list[Any], reason: str):
    with pytest.raises(CutReply):
        read_message({"content": [WIPE, *behind], "stop_reason": reason})


@pytest.mark.parametrize("given", [{}, {"path": "/"}], ids=str)
def test_a_refused_message_runs_no_tool_use(given: dict[str, Any]):
    with pytest.raises(CutReply):
        read_message({"content": [{**WIPE, "input": given}, TEXT], "stop_reason": "refusal"})


def test_a_cut_message_keeps_the_tool_uses_that_are_whole():
    use = {**WIPE, "input": {"path": "/a"}}
    for content in ([use, TEXT], [use, {"type": "thinking", "thinking": ""}], [WIPE, TEXT]):
        answer = read_message({"content": content, "stop_reason": "max_tokens"})
        assert len(answer.tool_calls or []) == 1


@pytest.mark.parametrize(("arguments", "complete"), [("", False), ('{"pa', False), ('{"path": "/a"}', True)])
def test_the_end_of_a_stream_without_a_reason_does_not_complete_a_call(arguments: str, complete: bool):
    chunks = ChunkAssembly()
    chunks.add({"choices": [{"delta": completion(arguments, None)["choices"][0]["message"]}]})
    chunks.end()
    older = ChunkAssembly()
    older.add({"choices": [{"delta": {"function_call": {"name": "wipe", "arguments": arguments}}}]})
    older.end()
    message = MessageAssembly()
    message.add({"type": "content_block_start", "index": 0, "content_block": WIPE})
    delta = {"type": "input_json_delta", "partial_json": arguments}
    message.add({"type": "content_block_delta", "index": 0, "delta": delta})
    message.add({"type": "message_stop"})
    assert (chunks.complete, older.complete, message.complete) == (complete, complete, complete)


def test_what_survives_a_cut():
    assert survived('{"a": 0}')
    assert not any(survived(text) for text in ("", "{}", "[]", '""', "12", '{"a"', "{} {}"))


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        ("{}", {"finish_reason": "length"}),
        ('{"path": "/a"}', {"finish_reason": "refusal"}),
        ('{"path": "/a"}', {"refused": True}),
    ],
)
def test_what_a_users_own_provider_answers_is_held_to_the_same(arguments: str, more: dict[str, Any]):
    calls = [AgentToolCall(id="c1", function=ToolCallFunction(name="wipe", arguments=arguments))]
    with pytest.raises(ModelCutShort):
        read_response(AgentResponse(type="tool", tool_calls=calls, **more), {})
