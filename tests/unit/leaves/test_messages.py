"""Messages and context at the edge: what is read, and what stops there."""

import json
import math
from collections import OrderedDict, UserDict
from enum import IntEnum, StrEnum
from types import MappingProxyType, SimpleNamespace

import pytest
from pydantic import ValidationError

from rojak_ray.errors import InvalidContext, InvalidMessage
from rojak_ray.messages import (
    ConversationMessage,
    Message,
    ToolCall,
    Usage,
    clean_text,
    has_lone_surrogate,
    read_context,
    read_json,
    read_messages,
    to_public,
)

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


def looped():
    value = []
    value.append(value)
    return value


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def asking(arguments):
    return {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": arguments}}]}


@pytest.mark.parametrize(
    "given",
    [
        "hi",
        {"role": "user", "content": "hi"},
        ConversationMessage("user", "hi"),
        [{"role": "user", "content": "hi"}],
        (ConversationMessage("user", "hi"),),
        iter([{"role": "user", "content": "hi"}]),
        [UserDict(role="user", content="hi", unknown="ignored", timestamp=3)],
        MappingProxyType({"role": "user", "content": "hi"}),
        [OrderedDict(content="hi", role="user")],
    ],
)
def test_messages_in_any_accepted_form_are_read(given):
    assert read_messages(given) == (Message(role="user", content="hi"),)


def test_whole_conversation_is_read_in_order_with_its_calls():
    read = read_messages(
        [
            {"role": "system", "content": "be nice"},
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None, "tool_calls": [CALL], "sender": "A"},
            {"role": "tool", "content": "", "tool_call_id": "c1"},
            {"role": "assistant", "content": ""},
            {"role": "assistant"},
        ]
    )
    assert [message.role for message in read] == ["system", "user", "assistant", "tool", "assistant", "assistant"]
    assert read[2] == Message(
        role="assistant", tool_calls=(ToolCall(id="c1", name="f", arguments='{"a": 1}'),), sender="A"
    )


@pytest.mark.parametrize(
    "given",
    [
        CALL,
        {"id": "c1", "function": {"name": "f", "arguments": {"a": 1}}},
        SimpleNamespace(id="c1", function=SimpleNamespace(name="f", arguments='{"a": 1}')),
        ToolCall(id="c1", name="f", arguments='{"a": 1}'),
    ],
)
def test_tool_calls_in_any_accepted_form_are_read(given):
    (message,) = read_messages({"role": "assistant", "tool_calls": [given]})
    assert message.tool_calls == (ToolCall(id="c1", name="f", arguments='{"a": 1}'),)


def test_public_form_of_a_message_reads_back():
    call = ToolCall(id="c1", name="f", arguments="{}")
    message = Message(role="assistant", content="x", tool_calls=(call,), sender="A")
    assert read_messages([to_public(message)]) == (message,)
    assert to_public(message).tool_calls == [{**CALL, "function": {"name": "f", "arguments": "{}"}}]
    assert to_public(Message(role="user", content="x")).tool_calls is None


BAD = {
    "no messages": [],
    "empty tuple": (),
    "none": None,
    "number": 3,
    "bytes": b"hi",
    "empty text": "",
    "no role": {"content": "hi"},
    "unknown role": {"role": "developer", "content": "hi"},
    "role of another type": {"role": ["user"], "content": "hi"},
    "role none": [{"role": None, "content": "hi"}],
    "user without content": {"role": "user"},
    "user with empty content": {"role": "user", "content": ""},
    "system without content": {"role": "system"},
    "tool without content": {"role": "tool", "tool_call_id": "c"},
    "tool without call id": {"role": "tool", "content": "x"},
    "tool with empty call id": {"role": "tool", "content": "x", "tool_call_id": ""},
    "content mapping": {"role": "user", "content": {"type": "text", "text": "hi"}},
    "content number": {"role": "user", "content": 0},
    "content bytes": {"role": "user", "content": b"hi"},
    "content itself": {"role": "user", "content": looped()},
    "sender number": {"role": "user", "content": "x", "sender": 1},
    "call id number": {"role": "tool", "content": "x", "tool_call_id": 1},
    "not a mapping": ["hi"],
    "list itself": looped(),
    "calls a mapping": {"role": "assistant", "tool_calls": CALL},
    "call without function": {"role": "assistant", "tool_calls": [{"id": "c"}]},
    "call without id": {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]},
    "call of none": {"role": "assistant", "tool_calls": [None]},
    "call id a number": {"role": "assistant", "tool_calls": [{"id": 1, "function": {"name": "f"}}]},
    "arguments of nan": asking(math.nan),
    "arguments of objects": asking({"x": object()}),
    "arguments in themselves": asking(looped()),
    "arguments too deep": asking(nested(100_000)),
    "half a character": "a\ud83d",
    "half a character in a sender": {"role": "user", "content": "x", "sender": "\udc00"},
    "half a character in a call": asking("\ud800"),
}


@pytest.mark.parametrize("given", BAD.values(), ids=BAD.keys())
def test_bad_messages_are_refused_with_a_text(given):
    with pytest.raises(InvalidMessage) as refused:
        read_messages(given)
    assert isinstance(refused.value, ValueError)
    assert len(refused.value.message) > 20


def test_refusal_says_which_message():
    with pytest.raises(InvalidMessage, match="Message 1 "):
        read_messages([{"role": "user", "content": "x"}, {"role": "nobody", "content": "x"}])


def test_conversation_message_is_read_by_attribute_and_by_key():
    message = ConversationMessage("tool", "x", tool_call_id="c")
    assert message.content == message["content"] == message.get("content") == dict(message)["content"] == "x"
    assert message.get("nothing", 1) == 1
    with pytest.raises(KeyError):
        message["nothing"]


class Color(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


def test_context_is_read_as_plain_json_data():
    read = read_context(
        MappingProxyType(
            {"t": (1, [2.5, None]), "m": OrderedDict(a=True), "e": Color.RED, "l": Level.HIGH, "": "", "ü": "🦉"}
        )
    )
    assert read == {"t": [1, [2.5, None]], "m": {"a": True}, "e": "red", "l": 3, "": "", "ü": "🦉"}
    assert type(read["e"]) is str
    assert type(read["l"]) is int
    assert json.loads(json.dumps(read)) == read
    assert read_context(None) == {}


def test_context_read_is_a_copy():
    given = {"a": [1]}
    read_context(given)["a"].append(2)
    assert given == {"a": [1]}


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"a": {"b": [0, math.nan]}}, "a.b[1]"),
        ({"a": math.inf}, "a"),
        ({"a": -math.inf}, "a"),
        ({"a": {1, 2}}, "a"),
        ({"a": b"x"}, "a"),
        ({"a": object()}, "a"),
        ({"a": [lambda: 0]}, "a[0]"),
        ({"a": 1j}, "a"),
        ({"a": "\ud800"}, "a"),
        ({"a": {"b": {3: 1}}}, "a.b"),
        ({3: 1}, "the top"),
        ({"\ud800": 1}, "the top"),
        ({"a": looped()}, "a"),
        ({"a": nested(200)}, "a"),
    ],
)
def test_context_that_is_no_json_is_refused_naming_the_place(given, where):
    with pytest.raises(InvalidContext) as refused:
        read_context(given)
    assert where in refused.value.message
    assert len(refused.value.message) < 400


@pytest.mark.parametrize("given", [[], "text", 3, [("a", 1)]])
def test_context_that_is_no_mapping_is_refused(given):
    with pytest.raises(InvalidContext, match=type(given).__name__):
        read_context(given)


@pytest.mark.parametrize("value", [10**5000, -(10**5000), [10**4400]], ids=["huge", "negative", "in a list"])
def test_number_that_json_cannot_write_is_refused(value):
    """Python refuses to print integers of more than 4300 digits, so the journal could not take it."""
    with pytest.raises(InvalidContext):
        read_context({"a": value})


def test_what_read_json_accepts_json_writes_and_reads_back():
    for value in (None, True, 0, -(2**80), 1e-300, "x\0", [[]], {"a": {"b": [1, 2.5, "é"]}}):
        assert json.loads(json.dumps(read_json(value, "x"), allow_nan=False)) == value


def test_lone_surrogates_are_found_and_cleaned():
    assert has_lone_surrogate("a\ud800b")
    assert not has_lone_surrogate("a🦉b")
    assert clean_text("a\ud800b") == "a?b"
    assert clean_text("a🦉b") == "a🦉b"


def test_records_are_frozen_and_refuse_unknown_fields():
    message = Message(role="user", content="x")
    with pytest.raises(ValidationError):
        message.content = "y"
    with pytest.raises(ValidationError):
        Message.model_validate({"role": "user", "content": "x", "surprise": 1})


def test_usage_adds_up():
    total = Usage(requests=1, input_tokens=2) + Usage(requests=2, output_tokens=3, cached_input_tokens=4)
    assert total == Usage(requests=3, input_tokens=2, output_tokens=3, cached_input_tokens=4)
    assert total.total_tokens == 5
