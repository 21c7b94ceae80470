"""How a function looks to OpenAI and to Anthropic, for programs that write their own provider.

The import path and the shapes are the ones existing programs rely on. For parameters of simple types a property holds
its type and nothing else, and `context_variables` is left in: whoever calls the vendor takes it out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from rojak_ray.agents.schema import define_function

__all__ = ["function_to_json", "function_to_json_anthropic"]

_SAID_BY_SIMPLE_TYPES: tuple[tuple[str, Any], ...] = (("items", {}), ("additionalProperties", True))


def function_to_json(func: Callable[..., Any]) -> dict[str, Any]:
    """The function as an entry of OpenAI's `tools`.

    Raises:
        InvalidAgent: It has no usable name or signature, or a parameter that JSON schema cannot describe.
    """
    name, description, parameters = _describe(func)
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def function_to_json_anthropic(func: Callable[..., Any]) -> dict[str, Any]:
    """The function as an entry of Anthropic's `tools`.

    Raises:
        InvalidAgent: It has no usable name or signature, or a parameter that JSON schema cannot describe.
    """
    name, description, parameters = _describe(func)
    return {"name": name, "description": description, "input_schema": parameters}


def _describe(func: Callable[..., Any]) -> tuple[str, str, dict[str, Any]]:
    definition = define_function(func, show_context=True)
    parameters = definition.schema.parameters
    properties = {
        key: _simplest(shown, definition.signature.parameters[key]) for key, shown in parameters["properties"].items()
    }
    return definition.name, definition.schema.description, parameters | {"properties": properties}


def _simplest(shown: dict[str, Any], parameter: inspect.Parameter) -> dict[str, Any]:
    """The type alone, if the rest of a property is its default and what every array or object allows anyway."""
    told = {
        key: value for key, value in shown.items() if key != "default" and (key, value) not in _SAID_BY_SIMPLE_TYPES
    }
    if told.keys() != {"type"}:
        return shown
    return {"type": "string"} if parameter.annotation is parameter.empty else told
