"""However a server streams its calls and cuts its bytes, what it means is read from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from rojak_ray.providers.openai import read_completion
from rojak_ray.providers.openai_stream import ChunkAssembly
from rojak_ray.providers.sse import EventReader, StreamEvent
from rojak_ray.providers.wire import highest

Call = tuple[str, str, str]
"""Id, name and arguments."""

arguments = st.dictionaries(st.text(max_size=4), st.one_of(st.integers(), st.text(max_size=6)), max_size=3).map(
    lambda value: json.dumps(value, ensure_ascii=False)
)
names = st.sampled_from(["get_weather", "get", "wipe", "transfer_to_b"])


@st.composite
def several_calls(draw: Any) -> list[Call]:
    ids = draw(st.lists(st.text("abc_019", min_size=1, max_size=4), min_size=1, max_size=4, unique=True))
    return [(call_id, draw(names), draw(arguments)) for call_id in ids]


def cut(draw: Any, text: str) -> list[str]:
    """The text in one or more pieces, some of them empty."""
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def as_openai(index: int, call: Call, text: str, first: bool) -> dict[str, Any]:
    head = {"id": call[0], "type": "function"} if first else {}
    return {"index": index, **head, "function": {"arguments": text, **({"name": call[1]} if first else {})}}


def without_places(index: int, call: Call, text: str, first: bool) -> dict[str, Any]:
    return {name: value for name, value in as_openai(index, call, text, first).items() if name != "index"}


def under_index_0(index: int, call: Call, text: str, first: bool) -> dict[str, Any]:
    return {**as_openai(index, call, text, first), "index": 0}


def with_all_in_every_piece(index: int, call: Call, text: str, first: bool) -> dict[str, Any]:
    return as_openai(index, call, text, True)


def with_ids_in_every_piece_under_index_0(index: int, call: Call, text: str, first: bool) -> dict[str, Any]:
    return {**as_openai(index, call, text, first), "id": call[0], "index": 0}


def with_names_in_every_piece(index: int, call: Call, text: str, first: bool) -> dict[str, Any]:
    piece = as_openai(index, call, text, first)
    return {**piece, "function": {**piece["function"], "name": call[1]}}


def with_blank_ids_and_names(index: int, call: Call, text: str, first: bool) -> dict[str, Any]:
    piece = as_openai(index, call, text, first)
    return {"id": "", **piece, "function": {"name": "", **piece["function"]}}


def with_nulls(index: int, call: Call, text: str, first: bool) -> dict[str, Any]:
    piece = as_openai(index, call, text, first)
    return {"id": None, "type": None, **piece, "function": {"name": None, **piece["function"]}}


DIALECTS: list[Callable[..., dict[str, Any]]] = [
    as_openai,
    without_places,
    under_index_0,
    with_all_in_every_piece,
    with_ids_in_every_piece_under_index_0,
    with_names_in_every_piece,
    with_blank_ids_and_names,
    with_nulls,
]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.__name__)
@settings(max_examples=40, deadline=None)
@for_all(st.data())
def test_calls_are_read_from_every_dialect(dialect: Callable[..., dict[str, Any]], data: st.DataObject) -> None:
    meant = data.draw(several_calls(), label="calls")
    assembly = ChunkAssembly()
    for index, call in enumerate(meant):
        for number, text in enumerate(cut(data.draw, call[2])):
            piece = dialect(index, call, text, number == 0)
            assembly.add({"choices": [{"index": 0, "delta": {"tool_calls": [piece]}}]})
    finish = data.draw(st.sampled_from(["tool_calls", "stop", None]), label="finish")
    assembly.add({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    assembly.end()
    assert assembly.complete
    calls = read_completion(assembly.reply()).tool_calls or []
    assert [(call.id, call.function.name, call.function.arguments) for call in calls] == meant


@settings(max_examples=60, deadline=None)
@for_all(st.lists(st.tuples(names, arguments.filter(lambda text: text != "{}")), min_size=1, max_size=4))
def test_whole_calls_without_ids_and_places_stay_apart(meant: list[tuple[str, str]]) -> None:
    assembly = ChunkAssembly()
    for name, text in meant:
        assembly.add({"choices": [{"delta": {"tool_calls": [{"function": {"name": name, "arguments": text}}]}}]})
    calls = assembly.reply()["choices"][0]["message"]["tool_calls"]
    assert [(call["function"]["name"], call["function"]["arguments"]) for call in calls] == meant


texts = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=120, deadline=None)
@for_all(st.data())
def test_events_are_read_however_lines_end_and_bytes_are_cut(data: st.DataObject) -> None:
    events = data.draw(st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=3)), max_size=4), label="events")
    end = data.draw(st.sampled_from(["\n", "\r\n", "\r"]), label="line end")
    lines: list[str] = []
    for name, parts in events:
        lines += [f": {data.draw(texts, label='comment')}"] if data.draw(st.booleans()) else []
        lines += [f"event: {name}", *(f"data: {part}" for part in parts), ""]
    sent = ("\ufeff" if data.draw(st.booleans(), label="mark") else "").encode() + "".join(
        line + end for line in lines
    ).encode()
    meant = [StreamEvent(name, "\n".join(parts)) for name, parts in events]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6), label="cuts"))
    for places in ([], cuts, list(range(len(sent)))):
        reader, found = EventReader(), list[StreamEvent]()
        for a, b in zip([0, *places], [*places, len(sent)], strict=True):
            found += reader.feed(sent[a:b])
        assert [*found, *reader.finish()] == meant


def test_long_event_in_small_pieces_is_read_in_linear_time() -> None:
    """A call's arguments of some megabytes come in one line, a few bytes at a time."""
    reader = EventReader()
    line = b"data: " + b"x" * 3_000_000 + b"\n\n"
    found = [event for start in range(0, len(line), 300) for event in reader.feed(line[start : start + 300])]
    assert [len(event.data) for event in found] == [3_000_000]


@pytest.mark.parametrize(
    ("data", "pieces"),
    [('{"a": 1}', [{"a": 1}]), ('{"a": 1}\n{"b": 2}', [{"a": 1}, {"b": 2}]), ('{"a":\n1}', [{"a": 1}])],
)
def test_pieces_of_an_event(data: str, pieces: list[Any]) -> None:
    assert StreamEvent("", data).pieces() == pieces


@pytest.mark.parametrize("data", ["", "no", "{", '{"a": 1}\nno'])
def test_event_that_is_no_json(data: str) -> None:
    with pytest.raises(ValueError):
        StreamEvent("", data).pieces()


counts = st.dictionaries(st.sampled_from("abc"), st.one_of(st.integers(0, 9), st.none()), max_size=3)


@settings(max_examples=60, deadline=None)
@for_all(st.lists(counts, max_size=5))
def test_counts_are_as_high_as_any_event_has_them(told: list[dict[str, Any]]) -> None:
    total: dict[str, Any] = {}
    for usage in told:
        total = highest(total, {"details": usage, **usage})
    known = {name for usage in told for name, value in usage.items() if value is not None}
    highest_of = {name: max(usage[name] for usage in told if usage.get(name) is not None) for name in known}
    assert {name: value for name, value in total.items() if name != "details"} == highest_of
    assert total.get("details", {}) == highest_of


@pytest.mark.parametrize(
    ("name", "data", "idle"),
    [
        ("", ": OPENROUTER PROCESSING", True),
        ("ping", "now", True),
        ("heartbeat", "", True),
        ("", " ", True),
        ("", '{"a": 1}', False),
        ("message", "now", False),
    ],
)
def test_event_that_only_keeps_the_connection_open(name: str, data: str, idle: bool) -> None:
    assert StreamEvent(name, data).is_idle is idle


def test_event_nested_too_deep_is_no_json() -> None:
    with pytest.raises(ValueError):
        StreamEvent("", "[" * 100_000 + "]" * 100_000).pieces()
