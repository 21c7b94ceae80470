"""What cannot be read of a function is told with its name, the parameter's, and what to write instead."""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, Self, TypedDict

import pytest
from pydantic import BaseModel

from rojak_ray.agents.schema import define_function
from rojak_ray.errors import InvalidAgent


class Empty(Enum):
    pass


class Plain:
    def near(self, other: Self) -> bool:
        return True


@dataclass
class Point:
    x: int

    def distance(self, other: Self) -> float:
        """The distance to another point."""
        return 0.0

    @classmethod
    def among(cls, others: list[Self]) -> int:
        return len(others)


class Hooked:
    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        raise KeyError("hook")


class Endless(TypedDict):
    name: str
    children: list[Endless]


class Holding(BaseModel):
    model_config = {"arbitrary_types_allowed": True}
    callback: Callable[[], None]


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Empty, "without members"),
        (Literal[1.5, Plain], "has a Literal of"),  # type: ignore[valid-type]
        (Self, "Name the class"),
        (Plain, "Use a type that JSON can hold"),
        (Hooked, "Use a type that JSON can hold"),
        (Holding, "Use a type that JSON can hold"),
        (type[int], "Use a type that JSON can hold"),
        (Callable[[int], str], "Use a type that JSON can hold"),
        (list[Callable[[int], str]], "Use a type that JSON can hold"),
        ("nowhere.Nowhere", "must be importable"),
        ("list[", "Write a type that JSON can hold"),
        ("1 / 0", "Write a type that JSON can hold"),
        (typing.Generic, ""),
        (3, ""),
    ],
    ids=str,
)
def test_annotation_that_cannot_be_read_names_function_and_parameter(annotation: Any, words: str) -> None:
    def dial(number: str, odd): ...

    dial.__annotations__["odd"] = annotation
    with pytest.raises(InvalidAgent, match="'odd' of function 'dial'") as refusal:
        define_function(dial)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_alias_that_contains_itself_names_what_to_write() -> None:
    def plant(it): ...

    plant.__globals__["Nested"] = list["Nested"]  # noqa: F821
    plant.__annotations__["it"] = "Nested"
    try:
        with pytest.raises(InvalidAgent, match=r"'it' of function 'plant'.*itself without end.*dataclass"):
            define_function(plant)
    finally:
        del plant.__globals__["Nested"]


def test_self_is_the_class_of_the_method() -> None:
    assert define_function(Point(1).distance).bind('{"other": {"x": 2}}') == {"other": Point(2)}
    assert define_function(Point.among).bind('{"others": [{"x": 2}]}') == {"others": [Point(2)]}
    with pytest.raises(InvalidAgent, match="'other' of function 'near'"):
        define_function(Plain().near)


def test_local_typed_dict_that_contains_itself_is_read() -> None:
    class Local(TypedDict):
        inner: list[Local]

    def count(a: Endless, b): ...

    count.__annotations__["b"] = Local
    bound = define_function(count).bind('{"a": {"name": "n", "children": []}, "b": {"inner": [{"inner": []}]}}')
    assert bound["b"] == {"inner": [{"inner": []}]}


@pytest.mark.parametrize(
    "text",
    [
        "Convert.\n\n::\n\n    :name: value\n    other\n",
        "Convert.\n\n:param\n:param x\n",
        ":::::",
        "Args:\n    x (int: y",
        "Parameters\n----------\n\n\n",
        "@param x",
        "\x00",
        ":type: :param:",
    ],
)
def test_docstring_that_only_looks_like_fields_is_a_text(text: str) -> None:
    def convert(x: int): ...

    convert.__doc__ = text
    assert list(define_function(convert).schema.parameters["properties"]) == ["x"]


@pytest.mark.parametrize("name", ["größe", "x" * 65])
def test_parameter_name_that_vendors_refuse_is_refused(name: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def dial({name}: int): ...", namespace)
    with pytest.raises(InvalidAgent, match=rf"'{name}' of function 'dial'.*rename it"):
        define_function(namespace["dial"])


def test_callable_that_raises_when_it_is_read_is_refused() -> None:
    class Odd:
        __name__ = "odd"

        def __call__(self) -> None: ...

        @property
        def __signature__(self) -> Any:
            raise KeyError("no signature")

    with pytest.raises(InvalidAgent, match="'odd' cannot be read: KeyError"):
        define_function(Odd())
