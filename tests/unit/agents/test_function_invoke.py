"""Calling functions and reading their results."""

import asyncio
import functools
import threading
from collections import deque
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum, StrEnum
from typing import Any

import pytest
from pydantic import BaseModel

from rojak_ray.agents.agent import OfflineAgent
from rojak_ray.agents.function import ToolContext
from rojak_ray.agents.instructions import instructions_call, read_instructions
from rojak_ray.agents.invoke import (
    FunctionOutcome,
    build_arguments,
    invoke_sync,
    read_result,
    result_text,
    whole_value,
)
from rojak_ray.agents.results import AgentExecuteFnResult
from rojak_ray.agents.schema import define_function
from rojak_ray.errors import InvalidAgent

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


@pytest.mark.parametrize("fn", [later, returns_coroutine, functools.partial(later)])
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
def test_function_that_gives_an_iterator_is_not_supported(fn: Any) -> None:
    with pytest.raises(TypeError, match=rf"{fn.__name__}\(\) returned a .* not supported"):
        whole_value(fn.__name__, fn())


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


class Hostile:
    """Refuses everything it is asked."""

    def __str__(self) -> str:
        raise Panic("no text")

    __repr__ = __str__

    @property
    def __class__(self) -> type:  # type: ignore[override]
        raise Panic("no class")


class Panic(BaseException):
    """As extensions in Rust raise it."""


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, float("nan"), {1: "a"}, "\ud800", datetime(2026, 1, 5, tzinfo=UTC), Hostile]
)
def test_read_result_with_context_that_json_cannot_hold_keeps_the_rest_and_tells(value: Any) -> None:
    value = Hostile() if value is Hostile else value
    for outcome in (
        read_result("paid", {"bad": 1, "n": 1}, {"bad": value, "n": 2}),
        read_result(
            AgentExecuteFnResult("paid", context_variables={"bad": value}), {"bad": 1, "n": 1}, {"n": 2, "bad": 1}
        ),
        read_result(AgentExecuteFnResult("paid", agent=BOB), {"bad": 1, "n": 1}, {"bad": value, "n": 2}),
    ):
        said, problem = outcome.output.split("\n", 1)
        assert (said, outcome.context_set, outcome.context_deleted) == ("paid", {"n": 2}, ())
        assert problem.startswith("InvalidContext: ")
        assert "bad" in problem
        assert problem.endswith("only this change was not kept.")


def test_read_result_with_keys_that_are_no_text_tells_of_each_but_not_of_hundreds() -> None:
    outcome = read_result("done", {}, dict.fromkeys(range(1000), 1) | {"kept": 1})
    assert outcome.context_set == {"kept": 1}
    assert outcome.output.count("InvalidContext") == 5


@pytest.mark.parametrize(
    "make", [Hostile, lambda: [Hostile()], lambda: {"a": Hostile()}, lambda: AgentExecuteFnResult(output=Hostile())]
)
def test_read_result_of_value_without_text_names_its_class(make: Any) -> None:
    outcome = read_result(make(), {}, {"n": 1})
    assert "no text" in outcome.output
    assert "Panic" in outcome.output
    assert outcome.context_set == {"n": 1}


SECRETIVE = OfflineAgent(name="Bob", instructions="The secret plan.")


class Ticket(BaseModel):
    agent: Any


@dataclass
class Note:
    agent: Any


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (SECRETIVE, "Transferred to 'Bob'"),
        ([SECRETIVE], "Transferred to 'Bob'"),
        ((SECRETIVE, "Ask Bob."), "Ask Bob."),
        (("Ask Bob.", SECRETIVE), "Ask Bob."),
        (AgentExecuteFnResult(output=None, agent=SECRETIVE), "Transferred to 'Bob'"),
    ],
)
def test_read_result_of_what_can_only_mean_a_handover_hands_over(value: Any, told: str) -> None:
    outcome = read_result(value, {}, {})
    assert (outcome.agent, outcome.output) == (SECRETIVE, told)


@pytest.mark.parametrize(
    "value",
    [
        {"agent": SECRETIVE},
        [SECRETIVE, SECRETIVE],
        (SECRETIVE, "text", 1),
        (SECRETIVE, {"output": "text"}),
        [[SECRETIVE]],
        {"deep": [{"agent": SECRETIVE}]}.values(),
        deque([SECRETIVE]),
        Ticket(agent=SECRETIVE),
        Note(agent=SECRETIVE),
        [AgentExecuteFnResult(agent=SECRETIVE)],
        AgentExecuteFnResult(output=[SECRETIVE]),
        AgentExecuteFnResult(output=SECRETIVE),
        OfflineAgent,
    ],
    ids=lambda value: type(value).__name__,
)
def test_read_result_of_an_agent_in_another_value_is_refused_in_words(value: Any) -> None:
    outcome = read_result(value, {}, {"n": 1})
    assert outcome.agent is None
    assert "nothing was handed over" in outcome.output
    assert "Return the agent itself" in outcome.output
    assert "secret" not in outcome.output
    assert outcome.context_set == {"n": 1}


def test_read_result_of_agent_that_is_none_says_so_and_keeps_the_output() -> None:
    outcome = read_result(AgentExecuteFnResult("Ask Bob.", agent="Bob"), {}, {})  # type: ignore[arg-type]
    assert outcome.agent is None
    assert outcome.output.startswith("Ask Bob.\nTypeError: nothing was handed over")


def test_read_result_of_context_that_is_no_dictionary_says_so() -> None:
    outcome = read_result(AgentExecuteFnResult("ok", context_variables=[1]), {}, {"n": 1})  # type: ignore[arg-type]
    assert outcome.context_set == {"n": 1}
    assert "must be a dictionary, not list" in outcome.output


def test_read_result_of_range_that_nobody_can_count_ends() -> None:
    assert read_result(range(10**15), {}, {}).output == f"range(0, {10**15})"


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


class Tone(StrEnum):
    WARM = "Be warm."


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
        (local_only, "1"),
        (Instructions(), "Help Ann."),
        (lambda context_variables: f"Help {context_variables['user']}.", "Help Ann."),
        (lambda: None, ""),
        (lambda: Tone.WARM, "Be warm."),
        (lambda: "half \ud800", "half ?"),
    ],
)
def test_instructions_of_each_signature_give_text(fn: Any, text: str) -> None:
    assert read_instructions(fn, instructions_call(fn, {"user": "Ann"})()) == text


async def test_instructions_of_async_function_can_be_awaited() -> None:
    assert await instructions_call(asynchronous, {"user": "Ann"})() == "Help Ann."


def test_instructions_that_ask_for_more_are_refused() -> None:
    def greedy(context_variables, weather):
        return ""

    with pytest.raises(InvalidAgent, match="'weather'"):
        instructions_call(greedy, {})


def test_instructions_are_told_about_their_run_wherever_they_ask_for_it() -> None:
    def alone(about: ToolContext) -> str:
        return about.run_id

    def both(variables: dict[str, Any], /, about: ToolContext) -> str:
        return f"{variables['user']} in {about.run_id}"

    def defaulted(*, context_variables: dict[str, Any], about: ToolContext | None = None) -> str:
        return f"{context_variables['user']} in {about and about.run_id}"

    for fn, text in ((alone, "r"), (both, "Ann in r"), (defaulted, "Ann in r")):
        assert instructions_call(fn, {"user": "Ann"}, TOOL_CONTEXT)() == text


@pytest.mark.parametrize("value", [42, True, ["text"], {"text": 1}, generator(), b"text", Hostile, Point(1)])
def test_instructions_that_are_no_text_are_refused_in_words(value: Any) -> None:
    value = Hostile() if value is Hostile else value
    with pytest.raises(TypeError, match=r"'no_parameters' returned \w+, which is not supported: return text"):
        read_instructions(no_parameters, value)
