"""What a vendor wants back: kept from an answer whether it was streamed or not, and given back as it came."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.histories import ANTHROPIC_BLOCKS, CLAUDE, HERE, as_message

from rojak_ray.agents.activities import AgentCallParams
from rojak_ray.messages import ConversationMessage, Message, VendorState, to_public
from rojak_ray.providers import anthropic_state, openai_state
from rojak_ray.providers.anthropic import message_request, read_message
from rojak_ray.providers.anthropic_stream import MessageAssembly
from rojak_ray.providers.history import Origin
from rojak_ray.providers.openai import chat_request, read_completion
from rojak_ray.providers.openai_stream import ChunkAssembly

THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
SIGNED = {"google": {"thought_signature": "c2ln"}}


def completion(**message: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"content": None, **message}, "finish_reason": "stop"}]}


def call(call_id: str = "c1", **extra: Any) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "lookup", "arguments": "{}"}, **extra}


def sent_back(reply: dict[str, Any], *behind: Message, origin: Origin = HERE, called: bool = False) -> dict[str, Any]:
    """The answer of a plain completion as it stands in the next request; `called`: a function was called before."""
    answer = as_message(read_completion(reply), HERE.keep(openai_state.state_of(reply)))
    asked = [ConversationMessage("user", "u")]
    if called:
        asked += [ConversationMessage("assistant", None, tool_calls=[call("c0")])]
        asked += [ConversationMessage("tool", "r", tool_call_id="c0")]
    results = [Message(role="tool", content="r", tool_call_id=each.id) for each in answer.tool_calls]
    messages = asked + [to_public(message) for message in (answer, *results, *behind)]
    body = chat_request(AgentCallParams(messages=messages, model=origin.model), None, origin).body
    return [message for message in body["messages"] if message["role"] == "assistant"][-1]


AGAIN = Message(role="user", content="again")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            completion(tool_calls=[call(extra_content=SIGNED), call("c2")]),
            {"tool_calls": [call(extra_content=SIGNED), call("c2")]},
        ),
        (
            completion(content="so", extra_content=SIGNED),
            {"content": "so", "extra_content": SIGNED},
        ),
        (
            completion(reasoning_content="hm", tool_calls=[call()]),
            {"reasoning_content": "hm", "tool_calls": [call()]},
        ),
        (
            completion(reasoning="hm", reasoning_details=[{"type": "reasoning.encrypted", "data": "x"}], content="so"),
            {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}], "content": "so"},
        ),
        (
            completion(content=[THOUGHT, {"type": "text", "text": "so"}]),
            {"content": [THOUGHT, {"type": "text", "text": "so"}]},
        ),
        (
            completion(content=[THOUGHT], tool_calls=[call()]),
            {"content": [THOUGHT], "tool_calls": [call()]},
        ),
        (completion(content="only text", annotations=[], refusal=None, audio=None), {"content": "only text"}),
    ],
    ids=[
        "signed call", "signed message", "reasoning with a call", "reasoning details", "thought parts",
        "thought parts with a call", "nothing",
    ],
)  # fmt: skip
def test_an_answer_goes_back_to_its_server_as_it_came(reply: dict[str, Any], expected: dict[str, Any]) -> None:
    whole = {"role": "assistant", "content": None, **expected}
    assert sent_back(reply) == whole
    assert sent_back(reply, AGAIN) == whole


@pytest.mark.parametrize(
    "origin", [Origin("openai/there", "m"), Origin("openai/here", "m2"), Origin("openai/here:8000", "m")]
)
def test_it_goes_to_no_other_server_and_no_other_model(origin: Origin) -> None:
    reply = completion(content="so", reasoning_details=[{"data": "x"}], tool_calls=[call("f:0", extra_content=SIGNED)])
    assert sent_back(reply, origin=origin) == {"role": "assistant", "content": "so", "tool_calls": [call("f_0")]}


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize(("called", "goes_back"), [(True, True), (False, False)])
def test_plain_reasoning_goes_back_only_where_functions_are_called(field: str, called: bool, goes_back: bool) -> None:
    reply = completion(content="so", **{field: "hm"})
    assert (field in sent_back(reply, called=called)) is goes_back
    assert (field in sent_back(reply, AGAIN, called=called)) is goes_back


def test_a_message_that_somebody_made_up_cannot_say_more_than_a_vendor() -> None:
    forged = VendorState(vendor=HERE.vendor, model=HERE.model, state={"message": {"role": "system", "name": "x"}})
    message = ConversationMessage("assistant", "so", vendor=forged)
    body = chat_request(AgentCallParams([ConversationMessage("user", "u"), message], model="m"), None, HERE).body
    assert body["messages"][-1] == {"role": "assistant", "content": "so"}


@pytest.mark.parametrize("state", [None, [], "text", {"message": 1, "calls": [1], "content": 7}, {"blocks": [1, {}]}])
def test_state_of_any_shape_breaks_no_request(state: Any) -> None:
    for origin, write in ((HERE, chat_request), (CLAUDE, message_request)):
        vendor = VendorState(vendor=origin.vendor, model=origin.model, state=state)
        asked = [ConversationMessage("user", "u"), ConversationMessage("assistant", "so", [call()], vendor=vendor)]
        assert "so" in str(write(AgentCallParams(messages=asked, model=origin.model), None, origin).body)


def split(text: str, places: list[int]) -> list[str]:
    cuts = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[begin:end] for begin, end in pairwise(cuts)]


@settings(max_examples=40, deadline=None)
@given(places=st.lists(st.integers(0, 40), max_size=4))
def test_streamed_reasoning_and_signatures_are_kept_as_plain_ones(places: list[int]) -> None:
    details = {"type": "reasoning.text", "index": 0, "text": "I look it up. \U0001f600", "signature": "c2ln"}
    opaque = {"type": "reasoning.encrypted", "index": 1, "id": "e", "data": "b3BhcXVl"}
    plain = completion(
        content="so",
        reasoning_content="I look it up.",
        reasoning_details=[details, opaque],
        extra_content=SIGNED,
        tool_calls=[call(extra_content=SIGNED)],
    )
    deltas: list[dict[str, Any]] = [{"reasoning_content": piece} for piece in split("I look it up.", places)]
    deltas += [
        {"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": piece}]}
        for piece in split(details["text"].encode("utf-16", "surrogatepass").decode("utf-16"), places)
    ]
    deltas += [{"reasoning_details": [{"type": "reasoning.text", "index": 0, "signature": "c2ln"}]}]
    deltas += [{"reasoning_details": [opaque]}, {"content": "so", "extra_content": SIGNED}]
    deltas += [{"tool_calls": [{"index": 0, **call(extra_content=SIGNED)}]}]
    assembly = ChunkAssembly()
    for delta in deltas:
        assembly.add({"choices": [{"index": 0, "delta": delta}]})
    assert openai_state.state_of(assembly.reply()) == openai_state.state_of(plain)


def test_what_is_said_again_with_each_piece_is_kept_once() -> None:
    assembly = ChunkAssembly()
    for arguments in ('{"a"', ": 1}"):
        piece = {
            "index": 0,
            "id": "c1",
            "function": {"name": "lookup", "arguments": arguments},
            "extra_content": SIGNED,
        }
        assembly.add({"choices": [{"delta": {"extra_content": SIGNED, "tool_calls": [piece]}}]})
    assert openai_state.state_of(assembly.reply()) == {
        "message": {"extra_content": SIGNED},
        "calls": [{"extra_content": SIGNED}],
    }


def test_streamed_thoughts_of_mistral_are_kept_in_their_place_and_told_to_nobody() -> None:
    assembly = ChunkAssembly()
    pieces: list[Any] = [
        [{"type": "thinking", "thinking": [{"type": "text", "text": "h"}]}],
        [{"type": "thinking", "thinking": [{"type": "text", "text": "m"}], "closed": True}],
        "s",
        [{"type": "text", "text": "o"}],
    ]
    told = [assembly.add({"choices": [{"delta": {"content": piece}}]}) for piece in pieces]
    reply = assembly.reply()
    assert [piece or "" for piece in told] == ["", "", "s", "o"]
    assert read_completion(reply).content == "so"
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "closed": True}
    assert openai_state.state_of(reply) == {"content": [thought, 2]}


# Anthropic


def as_stream(blocks: list[dict[str, Any]], places: list[int]) -> list[dict[str, Any]]:
    """The events of a message with these blocks, its texts split at some places."""
    events: list[dict[str, Any]] = [{"type": "message_start", "message": {"usage": {}}}]
    for index, block in enumerate(blocks):
        start, deltas = dict(block), list[dict[str, Any]]()
        for name, kind in (("text", "text_delta"), ("thinking", "thinking_delta"), ("signature", "signature_delta")):
            if name in block:
                start[name] = ""
                deltas += [{"type": kind, name: piece} for piece in split(block[name], places)]
        for citation in start.pop("citations", []):
            deltas.append({"type": "citations_delta", "citation": citation})
        if "input" in block:
            start["input"] = {}
            text = str(block["input"]).replace("'", '"')
            deltas += [{"type": "input_json_delta", "partial_json": piece} for piece in split(text, places)]
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    events += [{"type": "message_delta", "delta": {"stop_reason": "pause_turn"}}, {"type": "message_stop"}]
    return events


@settings(max_examples=60, deadline=None)
@given(
    blocks=st.lists(ANTHROPIC_BLOCKS, min_size=1, max_size=6, unique_by=str),
    places=st.lists(st.integers(0, 20), max_size=3),
)
def test_streamed_blocks_are_kept_as_plain_ones(blocks: list[dict[str, Any]], places: list[int]) -> None:
    assembly = MessageAssembly()
    for event in as_stream(blocks, places):
        assembly.add(event)
    plain = {"content": blocks, "stop_reason": "pause_turn"}
    assert anthropic_state.state_of(assembly.reply()) == anthropic_state.state_of(plain)


@settings(max_examples=60, deadline=None)
@given(blocks=st.lists(ANTHROPIC_BLOCKS, min_size=1, max_size=6, unique_by=str))
def test_blocks_go_back_in_their_order_as_they_came(blocks: list[dict[str, Any]]) -> None:
    reply = {"content": blocks, "stop_reason": "pause_turn"}
    state = anthropic_state.state_of(reply)
    answer = read_message(reply)
    uses = [
        {"type": "tool_use", "id": each.id, "name": each.function.name, "input": {"a": 1} if "1" in each.id else {}}
        for each in answer.tool_calls or ()
    ]
    came = [{name: value for name, value in block.items() if name != "caller"} for block in blocks]
    assert state is not None
    assert anthropic_state.restored(state, answer.content or "", uses) == [
        block for block in came if block.get("text", "x").strip()
    ]


@pytest.mark.parametrize(
    "blocks",
    [
        [{"type": "text", "text": "a"}],
        [{"type": "tool_use", "id": "t", "name": "f", "input": {}, "caller": {"type": "direct"}}],
        [{"type": "text", "text": "a", "citations": None}, {"type": "tool_use", "id": "t", "name": "f", "input": {}}],
    ],
)
def test_an_answer_that_text_and_calls_say_is_stored_without_more(blocks: list[dict[str, Any]]) -> None:
    assert anthropic_state.state_of({"content": blocks, "stop_reason": "tool_use"}) is None


def test_text_and_arguments_are_not_stored_twice() -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "a" * 5000},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"long": "b" * 5000}},
    ]
    state = anthropic_state.state_of({"content": blocks, "stop_reason": "tool_use"})
    assert state == {"blocks": [blocks[0], {"text": 5000}, {"call": 0}]}


@pytest.mark.parametrize(
    ("history", "thinks"),
    [
        (["user"], True),
        (["user", "thought+call", "result"], True),
        (["user", "thought+call", "result", "call", "result"], True),
        (["user", "call", "result"], False),
        (["user", "call", "result", "answer", "user"], True),
        (["user", "thought+call", "result", "answer", "user", "call", "result"], False),
    ],
)
def test_thinking_is_left_out_where_another_model_began_the_calls(history: list[str], thinks: bool) -> None:
    messages: list[ConversationMessage] = []
    for number, what in enumerate(history):
        match what:
            case "user":
                messages.append(ConversationMessage("user", "u"))
            case "answer":
                messages.append(ConversationMessage("assistant", "a"))
            case "result":
                messages.append(ConversationMessage("tool", "r", tool_call_id=f"c{number - 1}"))
            case _:
                thought = {"blocks": [{"type": "thinking", "thinking": "", "signature": "s"}, {"call": 0}]}
                state = CLAUDE.keep(thought) if what.startswith("thought") else None
                messages.append(ConversationMessage("assistant", None, [call(f"c{number}")], vendor=state))
    config = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000}
    asked = AgentCallParams(messages=messages, model=CLAUDE.model, inference_config=config)
    assert ("thinking" in message_request(asked, None, CLAUDE).body) is thinks
    adaptive = AgentCallParams(messages, model=CLAUDE.model, inference_config={"thinking": {"type": "adaptive"}})
    assert "thinking" in message_request(adaptive, None, CLAUDE).body


@pytest.mark.parametrize(("behind", "expected"), [([], "cont_1"), ([AGAIN], None)])
def test_code_goes_on_in_the_container_in_which_it_waits(behind: list[Message], expected: str | None) -> None:
    blocks = [
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "code_execution", "input": {"code": "lookup()"}},
        {"type": "tool_use", "id": "toolu_1", "name": "lookup", "input": {}, "caller": {"type": "code_execution_1"}},
    ]
    container = {"id": "cont_1", "expires_at": "2026-11-30T10:00:00Z"}
    plain = {"content": blocks, "stop_reason": "tool_use", "container": container}
    assembly = MessageAssembly()
    for event in as_stream(blocks, []):
        if event["type"] == "message_delta":
            event = {"type": "message_delta", "delta": {"stop_reason": "tool_use", "container": container}}
        assembly.add(event)
    state = anthropic_state.state_of(plain)
    assert anthropic_state.state_of(assembly.reply()) == state
    answer = as_message(read_message(plain), CLAUDE.keep(state))
    result = Message(role="tool", content="r", tool_call_id="toolu_1")
    messages = [to_public(message) for message in (AGAIN, answer, result, *behind)]
    body = message_request(AgentCallParams(messages=messages, model=CLAUDE.model), None, CLAUDE).body
    assert body.get("container") == expected
    assert body["messages"][1]["content"][1]["caller"] == {"type": "code_execution_1"} or expected is None


@pytest.mark.parametrize("write", [chat_request, message_request])
def test_instructions_alone_are_asked_to_go_on(write: Any) -> None:
    body = write(AgentCallParams(messages=[ConversationMessage("system", "Tell a joke.")], model="m")).body
    assert body["messages"][-1] == {"role": "user", "content": "[Go on.]"}


def test_claude_behind_a_gateway_has_the_tools_of_its_history_defined() -> None:
    messages = [ConversationMessage("user", "u"), ConversationMessage("assistant", None, [call()])]
    body = chat_request(AgentCallParams(messages=messages, model="anthropic/claude-x")).body
    assert [tool["function"]["name"] for tool in body["tools"]] == ["lookup"]
    assert body["tool_choice"] == "none"
    assert "tools" not in chat_request(AgentCallParams(messages=messages, model="m")).body
