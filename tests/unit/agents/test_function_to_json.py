"""The helpers that existing programs import from `rojak_ray.utils`."""

from typing import Any, Literal

import pytest

from rojak_ray import utils
from rojak_ray.utils import function_to_json, function_to_json_anthropic


def nothing():
    pass


def untyped(arg1, arg2, arg3=3):
    return arg1 + arg2 + arg3


def typed(a: int, b: str, c: float = 3.14, d: bool = False, e: list = [], f: dict = {}, g: type(None) = None):  # noqa: B006
    """Typed.

    Indented.
    """


def contextual(a: str, context_variables: dict):
    """With context."""


def schema(properties: dict[str, str], required: list[str]) -> dict[str, Any]:
    shown = {name: {"type": kind} for name, kind in properties.items()}
    return {"type": "object", "properties": shown, "required": required}


CASES = [
    (nothing, "", schema({}, [])),
    (untyped, "", schema(dict.fromkeys(("arg1", "arg2", "arg3"), "string"), ["arg1", "arg2"])),
    (
        typed,
        "Typed.\n\nIndented.",
        schema(
            {
                "a": "integer",
                "b": "string",
                "c": "number",
                "d": "boolean",
                "e": "array",
                "f": "object",
                "g": "null",
            },
            ["a", "b"],
        ),
    ),
    (contextual, "With context.", schema({"a": "string", "context_variables": "object"}, ["a", "context_variables"])),
]


@pytest.mark.parametrize(("fn", "description", "parameters"), CASES)
def test_function_to_json_of_simple_function_has_only_types(fn: Any, description: str, parameters: Any) -> None:
    assert function_to_json(fn) == {
        "type": "function",
        "function": {"name": fn.__name__, "description": description, "parameters": parameters},
    }


@pytest.mark.parametrize(("fn", "description", "parameters"), CASES)
def test_function_to_json_anthropic_of_simple_function_has_only_types(
    fn: Any, description: str, parameters: Any
) -> None:
    assert function_to_json_anthropic(fn) == {
        "name": fn.__name__,
        "description": description,
        "input_schema": parameters,
    }


def test_function_to_json_of_rich_function_keeps_the_rich_schema() -> None:
    def order(size: Literal["s", "m"] = "s", count: int = 1):
        """Order.

        Args:
            count: How many.
        """

    assert function_to_json(order)["function"]["parameters"]["properties"] == {
        "size": {"type": "string", "enum": ["s", "m"], "default": "s"},
        "count": {"type": "integer", "description": "How many.", "default": 1},
    }


def test_function_to_json_without_signature_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="Failed to get signature for function max"):
        function_to_json(max)


def test_utils_export_the_helpers_only() -> None:
    assert utils.__all__ == ["function_to_json", "function_to_json_anthropic"]
