"""Callables that write an agent's instructions: which ones can be called, the call, and what they may return."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from rojak_ray.agents.annotations import CONTEXT_PARAMETER, is_tool_context
from rojak_ray.agents.function import ToolContext
from rojak_ray.agents.schema import signature_of
from rojak_ray.checks import is_kind, kind_of, reason_of
from rojak_ray.errors import InvalidAgent
from rojak_ray.messages import clean_text

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def instructions_call(
    fn: Callable[..., Any], context_variables: dict[str, Any], tool_context: ToolContext | None = None
) -> Callable[[], Any]:
    """The call that has a callable write instructions.

    It gets the context variables if it has a parameter of that name, or one required positional parameter; and what
    it can know about its run in parameters annotated with `ToolContext`.

    Raises:
        InvalidAgent: It asks for parameters that nobody can fill.
    """
    arguments, keywords = _instruction_arguments(fn, name_of_writer(fn), context_variables, tool_context)
    return functools.partial(fn, *arguments, **keywords)


def read_instructions(fn: Callable[..., Any], value: Any) -> str:
    """The text that a callable wrote; None is no instructions.

    Raises:
        TypeError: It returned something else.
    """
    if value is None:
        return ""
    if not is_kind(value, str):
        raise TypeError(
            f"The instructions {name_of_writer(fn)!r} returned {kind_of(value)}, which is not supported: return "
            "text, or None for no instructions."
        )
    return clean_text(str.__str__(value))


def check_instructions(fn: Callable[..., Any]) -> None:
    """Refuse a callable that no run could have write instructions.

    Raises:
        InvalidAgent: It asks for parameters that nobody can fill, or cannot be asked what it takes.
    """
    try:
        _instruction_arguments(fn, name_of_writer(fn), {}, None)
        target = inspect.unwrap(fn)
        pieces = inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target)
    except InvalidAgent:
        raise
    except BaseException as error:  # noqa: BLE001  (a callable is an object of whatever class)
        raise InvalidAgent(f"{kind_of(fn)} cannot be read: {reason_of(error)}. Write a plain function.") from None
    if pieces:
        raise InvalidAgent(f"{name_of_writer(fn)!r} yields pieces; return the whole text.")


def name_of_writer(fn: Callable[..., Any]) -> str:
    """What to call a callable that writes instructions."""
    try:
        name = getattr(fn, "__name__", None)
    except BaseException:  # noqa: BLE001  (a property like any other)
        name = None
    return name if type(name) is str else kind_of(fn)


def _instruction_arguments(
    fn: Callable[..., Any], name: str, context_variables: dict[str, Any], tool_context: ToolContext | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    try:
        parameters = signature_of(fn).parameters
    except ValueError:  # a builtin that does not tell what it takes
        return (), {}
    told = {key: tool_context for key, p in parameters.items() if is_tool_context(p.annotation)}
    required = [key for key, p in parameters.items() if p.default is p.empty and p.kind not in _VARIADIC]
    required = [key for key in required if key not in told]
    named = parameters.get(CONTEXT_PARAMETER) if CONTEXT_PARAMETER not in told else None
    given: dict[str, Any] = {}
    if named is not None and named.kind not in _VARIADIC:
        required = [key for key in required if key != CONTEXT_PARAMETER]
        given = {CONTEXT_PARAMETER: context_variables}
    elif len(required) == 1 and parameters[required[0]].kind in _POSITIONAL:
        given, required = {required[0]: context_variables}, []
    if required:
        raise InvalidAgent(
            f"The instructions {name!r} ask for {', '.join(map(repr, required))}; only {CONTEXT_PARAMETER!r} and "
            "parameters annotated with ToolContext are passed."
        )
    given |= told
    first = [key for key, p in parameters.items() if p.kind is p.POSITIONAL_ONLY and key in given]
    return tuple(given.pop(key) for key in first), given
