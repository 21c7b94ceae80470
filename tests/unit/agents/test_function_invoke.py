"""Calling functions and reading their results."""

import asyncio
import functools
import threading
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel

from rojak_ray.agents.agent import OfflineAgent
from rojak_ray.agents.function import ToolContext
from rojak_ray.agents.invoke import (
    FunctionOutcome,
    build_arguments,
    invoke,
    invoke_sync,
    read_result,
    render_instructions,
    result_text,
)
from rojak_ray.agents.results import AgentExecuteFnResult
from rojak_ray.agents.schema import define_function
from rojak_ray.errors import InvalidAgent, InvalidContext

TOOL_CONTEXT = ToolContext(run_id="r", session_id=None, agent_name="A", tool_call_id="c", idempotency_key="k")
BOB = OfflineAgent(name="Bob")


class Color(Enum):
    RED = "red"


class Item(BaseModel):
    title: str


@dataclass
class Point:
    x: int


def test_build_arguments_fills_context_and_tool_context() -> None:
    def fn(a: int, context_variables: dict, call: ToolContext, again: ToolContext | None = None): ...

    context = {"user": "Ann"}
    arguments = build_arguments(define_function(fn), '{"a": 1}', context, TOOL_CONTEXT)
    assert arguments == {"a": 1, "context_variables": context, "call": TOOL_CONTEXT, "again": TOOL_CONTEXT}
    assert arguments["context_variables"] is context


def test_build_arguments_of_positional_only_context_can_be_called() -> None:
    def fn(context_variables, a=1, /):
        return (context_variables, a)

    definition = define_function(fn)
    assert invoke_sync(definition, build_arguments(definition, "", {"u": 1}, TOOL_CONTEXT)) == ({"u": 1}, 1)


def test_build_arguments_with_a_local_called_context_variables_passes_none() -> None:
    def fn(a: int):
        context_variables = {}
        return str(context_variables) + str(a)

    definition = define_function(fn)
    assert invoke_sync(definition, build_arguments(definition, '{"a": 1}', {}, TOOL_CONTEXT)) == "{}1"


async def later(a: int = 1) -> int:
    await asyncio.sleep(0)
    return a


def returns_coroutine(a: int = 1) -> Any:
    return later(a)


@pytest.mark.parametrize("fn", [later, returns_coroutine, functools.partial(later, 1), abs])
async def test_invoke_of_each_kind_gives_the_value(fn: Any) -> None:
    definition = define_function(fn)
    assert await invoke(definition, {"x": -1} if fn is abs else {}) == 1


@pytest.mark.parametrize("fn", [later, returns_coroutine])
def test_invoke_sync_of_awaitable_runs_a_loop_for_it(fn: Any) -> None:
    assert invoke_sync(define_function(fn), {"a": 5}) == 5


async def test_invoke_sync_in_a_thread_runs_there() -> None:
    def where():
        return threading.get_ident()

    assert await asyncio.to_thread(invoke_sync, define_function(where), {}) != threading.get_ident()


def generator():
    yield 1


async def async_generator():
    yield 1


def mapped():
    return map(str, [1])


@pytest.mark.parametrize("fn", [generator, async_generator, mapped])
async def test_invoke_of_function_that_gives_an_iterator_says_it_is_not_supported(fn: Any) -> None:
    with pytest.raises(TypeError, match="not supported"):
        await invoke(define_function(fn), {})
    with pytest.raises(TypeError, match="not supported"):
        invoke_sync(define_function(fn), {})


def test_invoke_sync_of_raising_function_lets_the_error_through() -> None:
    def fails():
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        invoke_sync(define_function(fails), {})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("half \ud83d", "half ?"),
        ("", ""),
        (None, "None"),
        (True, "True"),
        (3, "3"),
        (2.5, "2.5"),
        ({"a": [1, None, True], "ü": date(2026, 1, 5)}, '{"a": [1, null, true], "ü": "2026-01-05"}'),
        ([1, "a"], '[1, "a"]'),
        ((1, 2), "[1, 2]"),
        ({"only"}, '["only"]'),
        (Item(title="t"), '{"title": "t"}'),
        ([Item(title="t"), Point(1)], '[{"title": "t"}, {"x": 1}]'),
        (Point(1), '{"x": 1}'),
        (Color.RED, "red"),
        ({"x": float("inf")}, "{'x': inf}"),
        (date(2026, 1, 5), "2026-01-05"),
    ],
)
def test_result_text_of_each_value_is_json_where_it_can_be(value: Any, text: str) -> None:
    assert result_text(value) == text


def test_result_text_of_structure_that_json_cannot_hold_is_str() -> None:
    class Opaque:
        def __repr__(self) -> str:
            return "<opaque>"

    endless: list[Any] = []
    endless.append(endless)
    assert result_text({"it": Opaque()}) == "{'it': <opaque>}"
    assert result_text(endless) == "[[...]]"
    assert result_text(Point) == str(Point)


def test_read_result_of_text_keeps_changes_in_place() -> None:
    outcome = read_result("ok", {"kept": 1, "gone": 2, "old": [1]}, {"kept": 1, "old": [1, (2,)], "new": None})
    assert outcome == FunctionOutcome("ok", None, {"old": [1, [2]], "new": None}, ("gone",))


def test_read_result_of_agent_hands_over_and_keeps_changes() -> None:
    assert read_result(BOB, {}, {"a": 1}) == FunctionOutcome("Transferred to 'Bob'", BOB, {"a": 1})


def test_read_result_of_result_object_merges_its_context_over_changes() -> None:
    value = AgentExecuteFnResult(output="done", context_variables={"b": "theirs", "c": 3})
    outcome = read_result(value, {"a": 1, "b": 1, "gone": 1}, {"a": 1, "b": "in place", "d": 4})
    assert outcome == FunctionOutcome("done", None, {"b": "theirs", "c": 3, "d": 4}, ("gone",))


@pytest.mark.parametrize(("output", "expected"), [("", "Transferred to 'Bob'"), ("Here is Bob", "Here is Bob")])
def test_read_result_of_result_object_with_agent_hands_over(output: str, expected: str) -> None:
    outcome = read_result(AgentExecuteFnResult(output=output, agent=BOB), {}, {})
    assert (outcome.output, outcome.agent) == (expected, BOB)


def test_read_result_of_result_object_without_output_is_empty() -> None:
    assert read_result(AgentExecuteFnResult(context_variables={"a": 1}), {}, {}) == FunctionOutcome("", None, {"a": 1})


@pytest.mark.parametrize(("before", "after"), [(1, True), (1, 1.0), ([0], [False]), ({"a": 1}, {"a": True})])
def test_read_result_with_values_that_only_python_finds_equal_sees_the_change(before: Any, after: Any) -> None:
    assert read_result("", {"x": before}, {"x": after}).context_set == {"x": after}


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), {1: "a"}, "\ud800"])
def test_read_result_with_context_that_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(InvalidContext, match="bad"):
        read_result("ok", {}, {"bad": value})
    with pytest.raises(InvalidContext, match="bad"):
        read_result(AgentExecuteFnResult(context_variables={"bad": value}), {}, {})


def no_parameters():
    return "Be kind."


def named(context_variables):
    return f"Help {context_variables['user']}."


def named_beside_default(tone="warm", *, context_variables):
    return f"Help {context_variables['user']}."


def other_name(ctx):
    return f"Help {ctx['user']}."


def defaulted(name="Ann"):
    return f"Help {name}."


def with_kwargs(**kwargs):
    return f"{len(kwargs)}"


async def asynchronous(context_variables):
    await asyncio.sleep(0)
    return f"Help {context_variables['user']}."


def local_only():
    context_variables = 1
    return str(context_variables)


class Instructions:
    def __call__(self, context_variables):
        return f"Help {context_variables['user']}."


@pytest.mark.parametrize(
    ("fn", "text"),
    [
        (no_parameters, "Be kind."),
        (named, "Help Ann."),
        (named_beside_default, "Help Ann."),
        (other_name, "Help Ann."),
        (defaulted, "Help Ann."),
        (with_kwargs, "0"),
        (asynchronous, "Help Ann."),
        (local_only, "1"),
        (Instructions(), "Help Ann."),
        (lambda context_variables: f"Help {context_variables['user']}.", "Help Ann."),
        (lambda: 42, "42"),
        (lambda: "half \ud800", "half ?"),
    ],
)
async def test_render_instructions_of_each_signature_gives_text(fn: Any, text: str) -> None:
    assert await render_instructions(fn, {"user": "Ann"}) == text


async def test_render_instructions_that_ask_for_more_are_refused() -> None:
    def greedy(context_variables, weather):
        return ""

    with pytest.raises(InvalidAgent, match="'weather'"):
        await render_instructions(greedy, {})


async def test_render_instructions_that_yield_are_refused() -> None:
    with pytest.raises(TypeError, match="not supported"):
        await render_instructions(generator, {})
