"""A field of a user's class is read as a parameter is, and a key or a date only as its schema says."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NamedTuple

import pytest
import typing_extensions
from pydantic import BaseModel

from rojak_ray.agents.schema import FunctionDefinition, define_function


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Half(Enum):
    ONE = 1
    HALF = 0.5


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Pair(Enum):
    NEAR = (1, 2)
    FAR = (3, 4)


class Day(NamedTuple):
    on: Annotated[date, "the day"]
    level: Level = Level.LOW


FIELDS: dict[str, tuple[Any, list[tuple[Any, Any]], list[Any]]] = {
    "member": (Literal[Color.RED, Color.BLUE], [("red", Color.RED)], ["green", 1]),
    "kinds": (Literal[1, True, "a"], [(1, 1), (True, True), (1.0, 1), ("a", "a")], [0, "1", False]),
    "enum": (Half, [(1, Half.ONE), (0.5, Half.HALF)], [True, "1"]),
    "tuple enum": (Pair, [([3, 4], Pair.FAR)], [[1], "NEAR"]),
    "iterable": (Iterable[int], [([1], [1])], [["x"], "1"]),
    "named tuple": (
        Day,
        [(["2026-01-31"], Day(date(2026, 1, 31))), (["2026-01-31", 2], Day(date(2026, 1, 31), Level.HIGH))],
        [{"on": "2026-01-31"}, ["0"], ["2026-01-31", True], []],
    ),
    "enum keys": (dict[Level, int], [({"1": 5}, {Level.LOW: 5})], [{"3": 5}, {"LOW": 5}]),
    "literal keys": (dict[Literal[1, 2], int], [({"1": 5}, {1: 5})], [{"3": 5}]),
    "half keys": (dict[Half, int], [({"0.5": 5}, {Half.HALF: 5})], [{"true": 5}]),
    "flags": (dict[bool, int], [({"true": 1}, {True: 1})], [{"yes": 1}, {"1": 1}]),
    "numbers": (dict[float, int], [({"1.5": 1}, {1.5: 1})], [{"nan": 1}, {"inf": 1}, {"1_0": 1}]),
    "whole numbers": (dict[int, int], [({"10": 1}, {10: 1})], [{"1_0": 1}, {" 1": 1}, {"1.0": 1}, {"1\n": 1}]),
    "date keys": (dict[date, int], [({"2026-01-31": 1}, {date(2026, 1, 31): 1})], [{"0": 1}]),
    "date": (date, [("2026-01-31", date(2026, 1, 31))], ["0", "86400", "20260131", 0]),
    "datetime": (datetime, [("2026-01-31T09:30:00Z", datetime(2026, 1, 31, 9, 30, tzinfo=UTC))], ["20261201", "1", 5]),
    "time": (time, [("09:30:00", time(9, 30))], ["5", "3600"]),
    "duration": (timedelta, [("PT5S", timedelta(seconds=5)), ("P1D", timedelta(1))], ["5", "1.5", 5]),
    "date or text": (date | str, [("2026-01-31", date(2026, 1, 31)), (0, "0"), ("0", "0")], []),
}


def in_a_dataclass(annotation: Any) -> Any:
    return dataclasses.make_dataclass("Held", [("it", annotation)])


def in_a_model(annotation: Any) -> Any:
    return type("Held", (BaseModel,), {"__annotations__": {"it": annotation}, "__module__": __name__})


def in_a_named_tuple(annotation: Any) -> Any:
    return NamedTuple("Held", [("it", annotation)])


def in_a_typed_dict(annotation: Any) -> Any:
    return typing_extensions.TypedDict("Held", {"it": in_a_dataclass(annotation)})


def definition_of(annotation: Any) -> FunctionDefinition:
    def probe(it): ...

    probe.__annotations__["it"] = annotation
    return define_function(probe)


WHERE: dict[str, tuple[Any, Any, Any]] = {
    "parameter": (lambda kind: kind, lambda value: value, lambda held: held),
    "dataclass": (in_a_dataclass, lambda value: {"it": value}, lambda held: held.it),
    "model": (in_a_model, lambda value: {"it": value}, lambda held: held.it),
    "named tuple": (in_a_named_tuple, lambda value: [value], lambda held: held.it),
    "dataclass in a typed dict": (in_a_typed_dict, lambda value: {"it": {"it": value}}, lambda held: held["it"].it),
}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("what", FIELDS)
def test_annotation_means_the_same_wherever_it_stands(what: str, where: str) -> None:
    annotation, taken, refused = FIELDS[what]
    hold, write, held = WHERE[where]
    definition = definition_of(hold(annotation))

    for value, meant in taken:
        found = held(definition.bind(json.dumps({"it": write(value)}))["it"])
        assert (found, type(found)) == (meant, type(meant))
    for value in refused:
        with pytest.raises(ValueError, match=r"^probe\(\) got wrong arguments: it"):
            definition.bind(json.dumps({"it": write(value)}))


@pytest.mark.parametrize("hold", [in_a_dataclass, in_a_model, in_a_named_tuple])
def test_text_of_a_field_is_its_description(hold: Any) -> None:
    shown = definition_of(hold(Annotated[str, "why this one"])).schema.parameters["properties"]["it"]
    field = shown["properties"]["it"] if "properties" in shown else shown["prefixItems"][0]
    assert field == {"type": "string", "description": "why this one"}


def test_schema_says_which_keys_there_are() -> None:
    shown = definition_of(dict[Level, int]).schema.parameters["properties"]["it"]
    assert shown["propertyNames"] == {"enum": ["1", "2"]}


def test_field_that_nobody_can_give_is_not_shown() -> None:
    @dataclass
    class Sum:
        parts: int
        total: int = dataclasses.field(init=False, default=9)

    definition = definition_of(Sum)
    assert set(definition.schema.parameters["properties"]["it"]["properties"]) == {"parts"}
    assert definition.bind('{"it": {"parts": 1}}') == {"it": Sum(1)}


def test_class_of_the_user_stays_as_it_was() -> None:
    class Loose(BaseModel):
        level: Half

    definition_of(Loose)
    assert Loose.model_validate({"level": True}).level is Half.ONE
