"""Which functions share the context variables: their calls run in order, all others at the same time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from rojak_ray import ToolContext, function
from rojak_ray.agents.schema import define_function
from rojak_ray.agents.sharing import shares_context


def alone(a: int) -> str:
    return ""


def with_parameter(context_variables: dict[str, Any]) -> str:
    return ""


def for_the_key(call: ToolContext) -> str:
    return call.idempotency_key


async def changes(call: ToolContext) -> str:
    call.context_variables["n"] = 1
    return ""


def changes_within(call: ToolContext) -> str:
    def inner() -> None:
        call.context_variables.clear()

    inner()
    return ""


@function(timeout=3)
def decorated(call: ToolContext) -> str:
    return str(call.context_variables)


class Tool:
    def method(self, call: ToolContext) -> str:
        return str(call.context_variables)

    def __call__(self, call: ToolContext) -> str:
        """A callable object."""
        return call.run_id


def wrapped(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def outer(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return outer


@pytest.mark.parametrize(
    ("fn", "shares"),
    [
        (alone, False),
        (with_parameter, True),
        (for_the_key, False),
        (changes, True),
        (changes_within, True),
        (decorated, True),
        (Tool().method, True),
        (wrapped(changes), True),
        (wrapped(for_the_key), False),
    ],
    ids=lambda value: getattr(value, "__qualname__", value),
)
def test_who_shares_the_context(fn: Callable[..., Any], shares: bool) -> None:
    assert shares_context(define_function(fn)) is shares


def test_a_callable_object_and_a_partial() -> None:
    tool = Tool()
    tool.__name__ = "tool"  # type: ignore[attr-defined]
    assert not shares_context(define_function(tool))
    bound = functools.partial(changes)
    bound.__name__ = "bound"  # type: ignore[attr-defined]
    assert shares_context(define_function(bound))
