"""Whether a function shares the context variables: then its calls run in the model's order, one after another."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

from rojak_ray.agents.annotations import CONTEXT_PARAMETER
from rojak_ray.agents.schema import FunctionDefinition


def shares_context(definition: FunctionDefinition) -> bool:
    """Whether its calls may see or change what other calls of the same answer do to the context variables.

    A parameter `context_variables` says so. A `ToolContext` has them as well, but most functions want its idempotency
    key alone and lose nothing by running at the same time: one shares the context if its code names
    `context_variables`, or cannot be looked into. What it does through a helper that it hands its ToolContext to is
    merged key by key, in the model's order.
    """
    if definition.context_parameter is not None:
        return True
    if not definition.tool_context_parameters:
        return False
    code = _code_of(definition.fn)
    return code is None or any(CONTEXT_PARAMETER in each.co_names for each in _nested(code))


def _code_of(fn: Callable[..., Any]) -> CodeType | None:
    """The code of a function, method, partial or callable object; None if there is none in Python."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    target: Any = inspect.unwrap(fn)
    if not hasattr(target, "__code__"):
        target = getattr(target, "__func__", None) or inspect.getattr_static(type(target), "__call__", None)
    code = getattr(target, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)
