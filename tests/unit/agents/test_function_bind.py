"""From a model's JSON text to the arguments of a call."""

import functools
import json
import uuid
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, TypedDict

import pytest
from pydantic import BaseModel, Field, field_validator

from rojak_ray.agents.function import ToolContext
from rojak_ray.agents.schema import define_function


class Color(Enum):
    RED = "red"


class Item(BaseModel):
    title: str
    color: Color = Color.RED


@dataclass
class Point:
    x: int


class Options(TypedDict):
    limit: int


def add(a: int, b: int) -> int:
    return a + b


def bind(fn: Any, **arguments: Any) -> dict[str, Any]:
    return define_function(fn).bind(json.dumps(arguments))


def test_bind_of_typed_parameters_gives_typed_values() -> None:
    def fn(color: Color, items: list[Item], at: Point, opts: Options, day: date, key: uuid.UUID, cost: Decimal): ...

    key = uuid.UUID(int=1)
    assert bind(
        fn,
        color="red",
        items=[{"title": "a"}],
        at={"x": 1},
        opts={"limit": 3},
        day="2026-01-05",
        key=str(key),
        cost="1.10",
    ) == {
        "color": Color.RED,
        "items": [Item(title="a")],
        "at": Point(1),
        "opts": {"limit": 3},
        "day": date(2026, 1, 5),
        "key": key,
        "cost": Decimal("1.10"),
    }


@pytest.mark.parametrize("text", ["", "  \n", "{}", "null"])
def test_bind_of_blank_text_is_no_arguments(text: str) -> None:
    def fn(limit: int = 3): ...

    assert define_function(fn).bind(text) == {}


@pytest.mark.parametrize("value", [1, "a", None, [1, {"b": 2}], {"c": 1.5}])
def test_bind_of_unannotated_parameter_accepts_anything(value: Any) -> None:
    def fn(it): ...

    assert bind(fn, it=value) == {"it": value}


def test_bind_of_number_for_text_makes_it_text() -> None:
    def fn(zip_code: str): ...

    assert bind(fn, zip_code=90210) == {"zip_code": "90210"}


def test_bind_of_null_for_parameter_with_default_none_leaves_it_out() -> None:
    def fn(limit: int = None): ...  # noqa: RUF013

    assert bind(fn, limit=None) == {}


def test_bind_of_field_default_gives_its_value() -> None:
    def fn(limit: int = Field(5, ge=1)): ...

    assert bind(fn) == {"limit": 5}
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        bind(fn, limit=0)


def test_bind_of_names_that_pydantic_uses_itself_works() -> None:
    def fn(_x: int, model_config: int, schema: int, json: int, copy: int, p0: int, self: int = 0, **more: int): ...

    names = ("_x", "model_config", "schema", "json", "copy", "p0", "p9", "model_fields")
    arguments = {name: index for index, name in enumerate(names)}
    assert bind(fn, **arguments) == arguments


def test_bind_with_hidden_parameters_drops_what_the_model_gives_for_them() -> None:
    def fn(a: int, context_variables: dict, call: ToolContext, token: str, **more: Any): ...

    bound = functools.partial(fn, token="ours")
    assert bind(bound, a=1, context_variables={}, call={}, token="theirs", b=2) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ('{"a": 1}', TypeError, r"^add\(\) missing required argument: 'b'$"),
        ("", TypeError, r"^add\(\) missing required arguments: 'a', 'b'$"),
        ('{"a": 1, "b": 2, "x": 3}', TypeError, r"^add\(\) got an unexpected argument 'x'$"),
        ('{"a": 1, "x": 3, "y": 3}', TypeError, r"missing required argument: 'b'; got unexpected arguments 'x', 'y'$"),
        ('{"a": "one", "b": null}', ValueError, r"^add\(\) got wrong arguments: a: .*integer.*; b: .*integer"),
        ('{"a": 1', ValueError, r"^arguments of add are not valid JSON: "),
        ('{"a": NaN, "b": 1}', ValueError, "NaN is not JSON"),
        ('{"a": "\\ud800", "b": 1}', ValueError, "not valid JSON"),
        ("[1, 2]", ValueError, "^arguments of add must be a JSON object, not an array$"),
        ('"{}"', ValueError, "a string"),
        ("[" * 100_000, ValueError, "not valid JSON"),
    ],
)
def test_bind_of_wrong_arguments_says_what_is_wrong(text: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said) as caught:
        define_function(add).bind(text)
    assert type(caught.value) is error
    assert "pydantic.dev" not in str(caught.value)


def test_bind_of_wrong_nested_value_names_its_place() -> None:
    def fn(items: list[Item], size: Literal["s", "m"]): ...

    with pytest.raises(ValueError, match=r"items\.0\.title: Field required; size: Input should be 's' or 'm'"):
        bind(fn, items=[{}], size="xl")


def test_bind_of_giant_wrong_input_does_not_echo_it() -> None:
    class Strict(BaseModel):
        a: str

        @field_validator("a")
        @classmethod
        def refuse(cls, value: str) -> str:
            raise ValueError(f"no {value}")

    def fn(one: Strict, many: list[Annotated[int, Field(ge=0)]]): ...

    with pytest.raises(ValueError, match="and 991 more") as caught:
        bind(fn, one={"a": "x" * 100_000}, many=["y"] * 1000)
    assert len(str(caught.value)) < 4000


def test_call_with_positional_only_parameters_passes_them_by_position() -> None:
    def fn(a, b=2, c=3, /, d=4, *, e=5):
        return (a, b, c, d, e)

    definition = define_function(fn)
    assert definition.call(definition.bind('{"a": 1, "c": 30, "e": 50}')) == (1, 2, 30, 4, 50)
    assert definition.call(definition.bind('{"a": 1}')) == (1, 2, 3, 4, 5)


def test_call_of_builtin_and_partial_and_method_works() -> None:
    class Shop:
        def price(self, item: str) -> str:
            return f"{item}: 1"

    for fn, text, expected in (
        (len, '{"obj": [1, 2]}', 2),
        (functools.partial(add, 1), '{"b": 2}', 3),
        (functools.partial(add, b=1), '{"a": 2}', 3),
        (Shop().price, '{"item": "tea"}', "tea: 1"),
    ):
        definition = define_function(fn)
        assert definition.call(definition.bind(text)) == expected
