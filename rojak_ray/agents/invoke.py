"""Calling a user's function, and reading what it returned.

The arguments come from a model and the result goes to one: what is refused here is refused with a text that the model
can act on. Nothing is kept between calls.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel, JsonValue
from pydantic_core import PydanticSerializationError, to_jsonable_python

from rojak_ray.agents.agent import Agent
from rojak_ray.agents.function import ToolContext
from rojak_ray.agents.results import AgentExecuteFnResult, WaitForAnswer
from rojak_ray.agents.schema import CONTEXT_PARAMETER, FunctionDefinition, signature_of
from rojak_ray.errors import InvalidAgent
from rojak_ray.messages import clean_text, read_context

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class FunctionOutcome:
    """What a function call did."""

    output: str
    """What the model is told."""

    agent: Agent | None = None
    """Who answers next, if the function handed over."""

    context_set: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    """Context variables with new values."""

    context_deleted: tuple[str, ...] = ()
    """Context variables that are gone."""

    waits: WaitForAnswer | None = None
    """Set if the result comes later, from outside."""


def build_arguments(
    definition: FunctionDefinition,
    arguments_text: str,
    context_variables: dict[str, Any],
    tool_context: ToolContext,
) -> dict[str, Any]:
    """The arguments to call a function with, by parameter name.

    Args:
        definition: The function.
        arguments_text: The model's arguments, as JSON text.
        context_variables: Handed to the function as it is: what the function changes in it is read afterwards.
        tool_context: For parameters annotated with `ToolContext`.

    Raises:
        TypeError, ValueError: See `FunctionDefinition.bind`.
    """
    arguments = definition.bind(arguments_text)
    if definition.context_parameter is not None:
        arguments[definition.context_parameter] = context_variables
    return arguments | dict.fromkeys(definition.tool_context_parameters, tool_context)


async def invoke(definition: FunctionDefinition, arguments: Mapping[str, Any]) -> Any:
    """Call a function in the current task and thread, awaiting what it returns if that can be awaited."""
    return await _settle(definition.name, definition.call(arguments))


def invoke_sync(definition: FunctionDefinition, arguments: Mapping[str, Any]) -> Any:
    """Call a function in a thread without an event loop; if it returns an awaitable, a loop is run for it."""
    value = definition.call(arguments)
    if inspect.isawaitable(value):
        return asyncio.run(_settle(definition.name, value))
    return _refuse_iterator(definition.name, value)


def read_result(value: Any, before: Mapping[str, Any], after: Mapping[str, Any]) -> FunctionOutcome:
    """Read what a function returned and what it did to the context variables.

    Args:
        value: What it returned.
        before: The context variables before the call.
        after: The dictionary the function was given, with its changes.

    Raises:
        InvalidContext: It left something in the context that is not plain JSON data.
    """
    agent: Agent | None = None
    output = ""
    context = dict(after)
    waits = value if isinstance(value, WaitForAnswer) else None
    if waits is not None:
        output = clean_text(waits.question)
    elif isinstance(value, Agent):
        agent = value
    elif isinstance(value, AgentExecuteFnResult):
        agent = value.agent
        output = result_text(value.output)
        context |= read_context(value.context_variables)
    else:
        output = result_text(value)
    if agent is not None and not output:
        output = clean_text(f"Transferred to '{agent.name}'")
    kept = read_context(context)
    return FunctionOutcome(
        output=output,
        agent=agent,
        context_set={key: new for key, new in kept.items() if key not in before or not _is_same(before[key], new)},
        context_deleted=tuple(key for key in before if key not in kept),
        waits=waits,
    )


def result_text(value: Any) -> str:
    """A returned value as text: structures as JSON where JSON can hold them, everything else as `str` puts it."""
    if isinstance(value, Enum):
        value = value.value
    is_structure = isinstance(value, Mapping | list | tuple | set | frozenset | BaseModel) or (
        is_dataclass(value) and not isinstance(value, type)
    )
    if is_structure:
        try:
            return clean_text(json.dumps(to_jsonable_python(value), ensure_ascii=False, allow_nan=False))
        except (PydanticSerializationError, ValueError, TypeError, RecursionError):
            pass
    return clean_text(str(value))


async def render_instructions(fn: Callable[..., Any], context_variables: dict[str, Any]) -> str:
    """The instructions that a callable writes.

    It gets the context variables if it has a parameter of that name, or one required positional parameter.

    Raises:
        InvalidAgent: It asks for parameters that nobody can fill.
    """
    name = getattr(fn, "__name__", type(fn).__name__)
    arguments, keywords = _instruction_arguments(fn, name, context_variables)
    return clean_text(str(await _settle(name, fn(*arguments, **keywords))))


def _instruction_arguments(
    fn: Callable[..., Any], name: str, context_variables: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    try:
        parameters = signature_of(fn).parameters
    except ValueError:  # a builtin that does not tell what it takes
        return (), {}
    required = [key for key, p in parameters.items() if p.default is p.empty and p.kind not in _VARIADIC]
    named = parameters.get(CONTEXT_PARAMETER)
    if named is not None and named.kind not in _VARIADIC:
        required = [key for key in required if key != CONTEXT_PARAMETER]
        arguments = ((context_variables,), {})
        if named.kind is not named.POSITIONAL_ONLY:
            arguments = ((), {CONTEXT_PARAMETER: context_variables})
    elif len(required) == 1 and parameters[required[0]].kind in _POSITIONAL:
        required = []
        arguments = ((context_variables,), {})
    else:
        arguments = ((), {})
    if required:
        raise InvalidAgent(
            f"The instructions {name!r} ask for {', '.join(map(repr, required))}; only {CONTEXT_PARAMETER!r} is passed."
        )
    return arguments


async def _settle(name: str, value: Any) -> Any:
    if inspect.isawaitable(value):
        value = await value
    return _refuse_iterator(name, value)


def _refuse_iterator(name: str, value: Any) -> Any:
    if isinstance(value, Iterator | AsyncIterator):
        raise TypeError(
            f"{name}() returned a {type(value).__name__}, which is not supported: functions return a whole value, "
            "such as text or a list"
        )
    return value


def _is_same(before: Any, new: JsonValue) -> bool:
    """Whether two JSON values are the same, with true and 1, and 1 and 1.0, being different."""
    if isinstance(before, list | tuple) and isinstance(new, list):
        return len(before) == len(new) and all(map(_is_same, before, new))
    if isinstance(before, Mapping) and isinstance(new, dict):
        return before.keys() == new.keys() and all(_is_same(before[key], new[key]) for key in new)
    return type(before) is type(new) and before == new
