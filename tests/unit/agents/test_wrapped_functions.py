"""A wrapper shows what it can be called with, and is called so."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest

from rojak_ray.agents.schema import define_function


@functools.singledispatch
def describe(thing: int, more: str = "!") -> str:
    return f"number {thing}{more}"


class Desk:
    who = "Desk"

    def find(self, city: str) -> str:
        return self.who + city

    @functools.singledispatchmethod
    def sized(self, size: int = 5, unit: str = "m") -> str:
        return f"{self.who}{size}{unit}"

    @property
    def tool(self) -> Callable[..., str]:
        @functools.wraps(Desk.find)
        def wrapper(*args: Any, **named: Any) -> str:
            return Desk.find(self, *args, **named)

        return wrapper


@pytest.mark.parametrize(
    ("fn", "given", "result"),
    [
        (describe, {"thing": 1}, "number 1!"),
        (describe, {"thing": 1, "more": "?"}, "number 1?"),
        (Desk().sized, {"size": 2}, "Desk2m"),
        (Desk().sized, {}, "Desk5m"),
        (Desk().sized, {"unit": "km", "size": 2}, "Desk2km"),
        (Desk().tool, {"city": "Oslo"}, "DeskOslo"),
    ],
)
def test_wrapper_is_called_with_what_it_shows(fn: Callable[..., str], given: dict[str, Any], result: str) -> None:
    definition = define_function(fn)
    assert set(definition.schema.parameters["properties"]) >= set(given)
    assert "self" not in definition.schema.parameters["properties"]
    assert definition.call(definition.bind(json.dumps(given))) == result


def test_object_whose_attributes_raise_is_called() -> None:
    class Odd:
        __name__ = "odd"

        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name) if name == "register" else AttributeError(name)

        def __call__(self, size: int) -> str:
            return str(size)

    definition = define_function(Odd())
    assert definition.call(definition.bind('{"size": 1}')) == "1"
