"""What a person or another system may answer for a function that waits, and what is refused in words."""

from __future__ import annotations

import asyncio
import datetime
import enum
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel

from rojak_ray import AgentExecuteFnResult, InvalidMessage, OpenAIAgent, WaitForAnswer
from rojak_ray.agents.answers import read_answer
from rojak_ray.messages import ImagePart


@dataclass
class Place:
    name: str
    inner: Any = field(default=None)


class Verdict(BaseModel):
    granted: bool


class Color(enum.Enum):
    RED = "red"
    OBJECT = object()


class Odd:
    def __str__(self) -> str:
        return "SECRET"


class Raises:
    def __str__(self) -> str:
        raise ValueError("boo")


TAKEN = [
    ("yes", "yes"),
    ("", ""),
    (True, "True"),
    (3, "3"),
    (2.5, "2.5"),
    (None, "None"),
    ([], "[]"),
    ({"granted": [True, None]}, '{"granted": [true, null]}'),
    (Place("x"), '{"name": "x", "inner": null}'),
    (Verdict(granted=True), '{"granted": true}'),
    (Color.RED, "red"),
    (datetime.date(2026, 11, 30), "2026-11-30"),
    ([datetime.date(2026, 11, 30)], '["2026-11-30"]'),
]


@pytest.mark.parametrize(("answer", "told"), TAKEN, ids=repr)
def test_text_and_data_are_taken(answer: Any, told: str) -> None:
    assert read_answer(answer) == told


SECRET = OpenAIAgent(instructions="SECRET")
NO_DATA = [
    object(),
    Odd(),
    Raises(),
    SECRET,
    OpenAIAgent,
    WaitForAnswer("SECRET"),
    AgentExecuteFnResult(output="SECRET"),
    ValueError("SECRET"),
    float("nan"),
    float("-inf"),
    iter(["SECRET"]),
    (each for each in "ab"),
    len,
    read_answer,
    Odd().__str__,
    asyncio.Event(),
    Color.OBJECT,
    "\ud800",
    "a \udfff",
]


def wrapped(value: Any) -> list[Any]:
    return [
        value,
        [value],
        {"a": {"b": value}},
        (1, value),
        Place("x", value),
        [value, ImagePart(data=b"\x89PNG\r\n\x1a\n")],
    ]


@pytest.mark.parametrize("answer", NO_DATA, ids=lambda value: type(value).__name__)
def test_what_is_no_data_is_refused_wherever_it_stands(answer: Any) -> None:
    for given in wrapped(answer):
        with pytest.raises(InvalidMessage) as refused:
            read_answer(given)
        assert str(refused.value).startswith("The answer ")
        assert "SECRET" not in str(refused.value)
        assert "Give " in str(refused.value)


def test_an_image_within_data_is_refused_also_beside_one_that_is_shown() -> None:
    image = ImagePart(data=b"\x89PNG\r\n\x1a\n")
    for given in ({"a": image}, [image, {"a": image}], [image, b"raw"]):
        with pytest.raises(InvalidMessage, match="Give ImagePart"):
            read_answer(given)
