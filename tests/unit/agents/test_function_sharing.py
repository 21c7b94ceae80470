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


def bump(call: ToolContext) -> None:
    call.context_variables["n"] = 1


def through_a_helper(call: ToolContext) -> str:
    bump(call)
    return call.idempotency_key


def by_text(call: ToolContext) -> str:
    return str(getattr(call, "context_" + "variables"))


def under_another_name(call: ToolContext) -> str:
    mine = call
    bump(mine)
    return ""


def in_a_list(call: ToolContext) -> str:
    return str([each.run_id for each in [call]])


def helper_within(call: ToolContext) -> str:
    def inner() -> None:
        bump(call)

    inner()
    return ""


def reads_within(call: ToolContext) -> str:
    def inner() -> str:
        return call.idempotency_key

    return inner() + ",".join(f"{each}{call.attempt}" for each in "ab")


def by_locals(call: ToolContext) -> str:
    return str(locals())


def all_of_its_fields(call: ToolContext) -> str:
    return str(vars(call))


def two_names(a: str, call: ToolContext) -> str:
    return max(a, call.run_id)


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


def changing_wrapper(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def outer(*args: Any, **kwargs: Any) -> Any:
        bump(kwargs["call"])
        return fn(*args, **kwargs)

    return outer


def wrapper_of_another(fn: Callable[..., Any]) -> Callable[..., Any]:
    def other(**kwargs: Any) -> Any:
        bump(**kwargs)

    @functools.wraps(fn)
    def outer(**kwargs: Any) -> Any:
        other(**kwargs)
        return fn(**kwargs)

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
        (wrapped(wrapped(for_the_key)), False),
        (wrapped(through_a_helper), True),
        (changing_wrapper(for_the_key), True),
        (wrapper_of_another(for_the_key), True),
        (through_a_helper, True),
        (by_text, True),
        (under_another_name, True),
        (in_a_list, True),
        (helper_within, True),
        (reads_within, False),
        (by_locals, True),
        (all_of_its_fields, True),
        (two_names, False),
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
