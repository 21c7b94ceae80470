"""Whatever a server puts where, an answer is read from its stream as it is read whole."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any

import pytest
from pydantic import ValidationError
from support.answers import Case, StreamOf, as_recorded, cases
from support.retold import ABSENT, ODD, Place, changed, doubled, places, streams_of

from rojak_ray.providers import anthropic_state, openai_state
from rojak_ray.providers.anthropic import read_message
from rojak_ray.providers.anthropic_stream import MessageAssembly
from rojak_ray.providers.failures import reply_failure, stream_failure
from rojak_ray.providers.openai import read_completion
from rojak_ray.providers.openai_stream import ChunkAssembly
from rojak_ray.providers.streaming import ErrorEvent, Telling, receive
from rojak_ray.providers.wire import CutReply, FailedReply, UnusableReply
from rojak_ray.redaction import NO_SECRETS

READ: dict[str, Any] = {
    "openai": (read_completion, ChunkAssembly, openai_state.state_of),
    "anthropic": (read_message, MessageAssembly, anthropic_state.state_of),
}
CASES = cases()
DRAWN = 500


def kind(failure: Any) -> str:
    return "asked again" if failure.retryable else "final"


def read(wire: str, reply: Any) -> dict[str, Any] | str:
    """An answer with what is kept of it, or the kind of failure."""
    reader, _, state_of = READ[wire]
    try:
        return {**as_recorded(reader(reply)), "state": state_of(reply)}
    except CutReply:
        return "cut"
    except FailedReply as error:
        return kind(reply_failure("Vendor", str(error), error.error, NO_SECRETS))
    except (ValidationError, UnusableReply):
        return "asked again"


async def watched(wire: str, stream: bytes) -> dict[str, Any] | str:
    """The same of a stream. One that says nowhere that it is whole gives way to the plain answer."""
    assembly = READ[wire][1]()
    told: list[str] = []
    try:
        await receive(StreamOf([stream]), Telling(told.append), assembly)
    except ErrorEvent as error:
        return kind(stream_failure("Vendor", error.body, "", NO_SECRETS))
    if not assembly.complete:
        return "incomplete"
    found = read(wire, json.loads(json.dumps(assembly.reply())))
    assert isinstance(found, str) or found["content"].startswith("".join(told)), "what was told is the beginning"
    return found


def cut_by(size: int) -> Any:
    return lambda text: [text[at : at + size] for at in range(0, len(text), size)] or [text]


def says_which(case: Case, place: Place, way: str) -> bool:
    """Whether pieces can be told apart at all: not where one id, or none, names several calls that have no places, and
    not where two choices have one place."""
    if case.wire == "anthropic":
        return True
    if place[0] == "choices" and len(place) < 4 and len(case.plain["choices"]) > 1:
        return False
    choices = case.plain.get("choices") or [{}]
    calls = (choices[0].get("message") or {}).get("tool_calls") or []
    ids = {call.get("id") for call in calls}
    return way == "in pieces" or "tool_calls" not in place or (len(ids) == len(calls) and len(place) != 5)


def drawn(count: int) -> list[tuple[Case, Place, Any, int]]:
    """Recorded answers, each with one place changed. The same ones every time."""
    random = Random(18)
    spots = [(case, place) for case in CASES for place in places(case.plain)]
    values = [*ODD, "doubled"]
    return [(*random.choice(spots), random.choice(values), random.choice([1, 2, 3, 7, 1000])) for _ in range(count)]


def test_an_answer_with_anything_anywhere_is_read_alike_plainly_and_streamed():
    async def compare() -> None:
        compared = 0
        for case, place, value, size in drawn(DRAWN):
            if value == "doubled" and place in {("choices",), ("choices", 0)}:
                continue
            reply = doubled(case.plain, place) if value == "doubled" else changed(case.plain, place, value)
            plain = read(case.wire, reply)
            for way, stream in streams_of(case.wire, reply, cut_by(size)).items():
                if not says_which(case, place, way):
                    continue
                found = await watched(case.wire, stream)
                told = "absent" if value is ABSENT else value
                assert found in (plain, "incomplete"), f"{case}: {place} {told!r}, {way} by {size}"
                compared += found != "incomplete"
        assert compared > DRAWN

    asyncio.run(compare())


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_recorded_answer_is_the_same_told_in_every_way_and_cut_at_every_place(case: Case):
    plain = read(case.wire, case.plain)
    for size in (1, 2, 3, 5, 8, 13, 21):
        for way, stream in streams_of(case.wire, case.plain, cut_by(size)).items():
            if says_which(case, ("choices", 0, "message", "tool_calls"), way):
                assert await watched(case.wire, stream) in (plain, "incomplete"), f"{way}, {size}"


TWICE = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
ODD_FIELDS: list[tuple[dict[str, Any], str | None]] = [
    ({"tool_calls": [TWICE, TWICE]}, "add add"),
    ({"tool_calls": [{**TWICE, "id": 7}]}, "add"),
    ({"tool_calls": [{**TWICE, "id": {"x": 1}}]}, "add"),
    ({"tool_calls": [None, TWICE, {}]}, "add"),
    ({"tool_calls": TWICE}, "add"),
    ({"tool_calls": {}, "content": "hi"}, ""),
    ({"tool_calls": "none", "content": "hi"}, ""),
    ({"tool_calls": [TWICE], "function_call": TWICE["function"]}, "add"),
    ({"function_call": {}, "content": "hi"}, ""),
    ({"function_call": "none", "content": "hi"}, ""),
    ({"function_call": {"name": None, "arguments": None}, "content": "hi"}, ""),
    ({"refusal": False, "content": "hi"}, ""),
    ({"refusal": [], "content": "hi"}, ""),
    ({"content": {"type": "text", "text": "hi"}}, ""),
    ({"content": False}, ""),
    ({"content": {"a": 1}}, None),
    ({"content": 7}, None),
    ({"content": [{"type": "text", "text": 7}]}, None),
    ({"tool_calls": 7}, None),
    ({"tool_calls": ["x"]}, None),
    ({"tool_calls": [{"id": "c1", "function": {"name": 7, "arguments": "{}"}}]}, None),
    ({"tool_calls": [{"id": "c1", "function": "add"}]}, None),
    ({"tool_calls": [{"id": "c1", "function": {"name": "", "arguments": "{}"}}]}, None),
]


@pytest.mark.parametrize(("message", "calls"), ODD_FIELDS, ids=lambda value: json.dumps(value)[:70])
async def test_odd_fields_of_openais_wire(message: dict[str, Any], calls: str | None):
    reply = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    plain = read("openai", reply)
    assert (plain == "asked again") if calls is None else ([name for _, name, _ in plain["calls"]] == calls.split())
    for way, stream in streams_of("openai", reply, cut_by(3)).items():
        assert await watched("openai", stream) == plain, way


BLOCKS: list[tuple[dict[str, Any], Any]] = [
    ({"type": "text", "text": None}, ""),
    ({"type": "text", "text": []}, ""),
    ({"type": "text", "text": 7}, "asked again"),
    ({"type": "text", "text": {"x": 1}}, "asked again"),
    ({"type": "tool_use", "id": 7, "name": "add", "input": []}, [["7", "add", "{}"]]),
    ({"type": "tool_use", "id": None, "name": "add", "input": None}, [["call_0", "add", "{}"]]),
    ({"type": "tool_use", "id": "c1", "name": None, "input": {}}, "asked again"),
    ({"type": "thinking", "thinking": "hm", "text": {"x": 1}}, ""),
    ({"type": None}, "asked again"),
]


@pytest.mark.parametrize(("block", "expected"), BLOCKS, ids=lambda value: json.dumps(value)[:70])
async def test_odd_blocks_of_anthropics_wire(block: dict[str, Any], expected: Any):
    reply = {"content": [block], "stop_reason": "end_turn"}
    plain = read("anthropic", reply)
    shown = plain if isinstance(plain, str) else plain["calls"] or plain["content"]
    assert shown == expected
    for stream in streams_of("anthropic", reply, cut_by(3)).values():
        assert await watched("anthropic", stream) == plain


@pytest.mark.parametrize(
    ("pieces", "arguments"),
    [([None], "{}"), ([None, '{"a"', None, ": 1}"], '{"a": 1}'), ([{"a": 1}], '{"a": 1}'), ([False, ""], "{}")],
)
def test_pieces_of_an_input_that_are_no_text(pieces: list[Any], arguments: str):
    assembly = MessageAssembly()
    block = {"type": "tool_use", "id": "c1", "name": "add", "input": {}}
    assembly.add({"type": "content_block_start", "index": 0, "content_block": block})
    for piece in pieces:
        delta = {"type": "input_json_delta", "partial_json": piece}
        assembly.add({"type": "content_block_delta", "index": 0, "delta": delta})
    [call] = read_message(assembly.reply()).tool_calls or []
    assert call.function.arguments == arguments


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("text", ["[][]", "{}{", '""""', "{}{}{}", "\\u00fc", "a\U0001f600b"])
async def test_what_looks_like_json_within_arguments_is_text(text: str, size: int):
    arguments = json.dumps({"code": f"{text} {text * 3}"}, ensure_ascii=False)
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": arguments}}
    reply = {
        "choices": [{"index": 0, "message": {"tool_calls": [call, {**call, "id": "c2"}]}, "finish_reason": "stop"}]
    }
    plain = read("openai", reply)
    assert isinstance(plain, dict)
    assert [given for _, _, given in plain["calls"]] == [arguments] * 2
    for way, stream in streams_of("openai", reply, cut_by(size)).items():
        assert await watched("openai", stream) == plain, way


def test_halves_of_a_character_in_two_pieces_of_arguments_are_one():
    assert heads_and_pieces(("c1", "add", '{"a": "\ud83d'), (None, None, '\ude00"}')) == [["c1", "add", '{"a": "😀"}']]


def heads_and_pieces(*told: tuple[str | None, str | None, str]) -> list[list[str]]:
    """What is read of pieces of calls (id, name, arguments), each in a chunk of its own, all under index 0."""
    assembly = ChunkAssembly()
    for call_id, name, arguments in told:
        function = {"arguments": arguments, **({"name": name} if name is not None else {})}
        piece = {"index": 0, **({"id": call_id} if call_id is not None else {}), "function": function}
        assembly.add({"choices": [{"index": 0, "delta": {"tool_calls": [piece]}}]})
    return as_recorded(read_completion(assembly.reply()))["calls"]


ONCE = ["c1", "add", '{"a": 1}']


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([("c1", "add", '{"a": 1}')] * 2, [ONCE, ONCE]),
        ([("c1", "add", ""), (None, None, '{"a"'), (None, None, ": 1}"), ("c1", "add", '{"a": 1}')], [ONCE]),
        ([("c1", "add", ""), (None, None, '{"a": 1}')] * 2, [ONCE, ONCE]),
        ([("c1", "add", ""), ("c1", None, '{"a": 1}'), ("c1", None, "")] * 2, [ONCE, ONCE]),
        ([("c1", "add", '{"a"'), ("c1", "add", ": 1}"), ("c1", "add", "")], [ONCE]),
        ([("c1", None, '{"a"'), (None, "add", ": 1}")], [ONCE]),
        ([("c1", "add", ""), (None, None, '{"a": 1}'), (None, None, '{"a": 1}')], [ONCE]),
    ],
    ids=[
        "twice, whole",
        "once, and whole again",
        "twice, in pieces",
        "twice, with the id in each piece",
        "once",
        "name behind the arguments",
        "arguments sent twice",
    ],
)
def test_calls_of_one_id(told: Any, expected: list[list[str]]):
    assert heads_and_pieces(*told) == expected


def test_a_whole_message_at_the_end_adds_what_was_not_said_in_pieces():
    assembly = ChunkAssembly()
    assembly.add({"choices": [{"delta": {"content": "Let me see."}}]})
    message = {"role": "assistant", "content": "Let me see.", "tool_calls": [TWICE]}
    assert assembly.add({"choices": [{"delta": {}, "message": message, "finish_reason": "stop"}]}) == ""
    answer = as_recorded(read_completion(assembly.reply()))
    assert (answer["content"], answer["calls"]) == ("Let me see.", [ONCE])


def test_a_whole_message_in_the_first_event_of_anthropics_wire():
    assembly = MessageAssembly()
    message = {"content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn", "usage": {"output_tokens": 2}}
    assembly.add({"type": "message_start", "message": message})
    assembly.add({"type": "message_stop"})
    assert read("anthropic", assembly.reply()) == read("anthropic", message)
