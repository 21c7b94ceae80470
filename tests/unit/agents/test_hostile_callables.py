"""Callables of classes that do anything when they are looked at: described, or refused in words, and never more."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from rojak_ray.agents import Agent, AgentCallParams, AgentOptions, OpenAIAgent
from rojak_ray.agents.program import Program
from rojak_ray.agents.registry import FunctionRegistry
from rojak_ray.agents.spec import encode_agent
from rojak_ray.errors import InvalidAgent
from rojak_ray.messages import ConversationMessage

RAISED = (SystemExit, KeyboardInterrupt, GeneratorExit, BaseException, RuntimeError, StopIteration)


def callable_that_raises(error: type[BaseException], where: str) -> Any:
    """An object of which one special name, when asked for, raises."""

    def raises(*_: Any, **__: Any) -> Any:
        raise error("looked at")

    if where.startswith("meta "):
        name = where.removeprefix("meta ")
        value = property(raises) if name in ("__name__", "__module__", "__qualname__", "__doc__") else raises
        meta: Any = type("Meta", (type,), {name: value})
        return meta("Odd", (), {"__call__": lambda self: "x"})()
    value = (
        raises if where in ("__repr__", "__eq__", "__hash__", "__getattr__", "__getattribute__") else property(raises)
    )
    return type("Odd", (), {where: value, "__call__": lambda self: "x"})()


PLACES = (
    "__name__", "__doc__", "__repr__", "__eq__", "__hash__", "__getattr__", "__getattribute__", "__class__",
    "__wrapped__", "__signature__", "__module__", "__self__", "__dict__", "__rojak_function__",
    "meta __name__", "meta __getattribute__", "meta __instancecheck__", "meta __module__", "meta __doc__",
)  # fmt: skip


@pytest.mark.parametrize("writes", [False, True])
@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("error", RAISED)
def test_hostile_callable_is_described_or_refused_in_words(
    error: type[BaseException], where: str, writes: bool
) -> None:
    for wrap in (lambda fn: fn, functools.partial):
        fn = wrap(callable_that_raises(error, where))
        program = Program()
        refused = ""
        try:
            found = program.describe(fn, writes_instructions=writes)
        except InvalidAgent as error_told:
            refused = str(error_told)
        assert (program.find(found.token) is not None) if not refused else not program._by_token
        assert len(refused) < 700


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("error", RAISED)
def test_agent_with_a_hostile_callable_is_stored_or_refused_by_name(error: type[BaseException], where: str) -> None:
    odd = callable_that_raises(error, where)
    fields: dict[str, Any]
    for fields in ({"functions": [odd]}, {"instructions": odd}):
        refused = "Marvin"
        try:
            encode_agent(OpenAIAgent(name="Marvin", **fields), FunctionRegistry().refer)
        except InvalidAgent as error_told:
            refused = str(error_told)
        assert "Marvin" in refused or "OpenAIAgent" in refused


def test_agent_that_cannot_be_read_is_refused() -> None:
    class Odd(Agent):
        type: str = "odd"
        model: str = "m"

        @property
        def inference_config(self) -> Any:
            raise SystemExit(3)

    with pytest.raises(InvalidAgent, match="Odd, named 'A', cannot be read: SystemExit"):
        encode_agent(Odd(name="A"), FunctionRegistry().refer)


# What is shown of agents and options


def subclasses_of_users() -> list[Callable[[], Any]]:
    @dataclass
    class Decorated(OpenAIAgent):
        region: str = "SECRET"

    @dataclass
    class Slotted(Agent):
        __slots__ = ("region",)

        def __init__(self) -> None:
            super().__init__(model="m", type="t", instructions="SECRET")

    class Plain(Agent):
        type: str = "plain"
        model: str = "m"
        region: str = "SECRET"

    @dataclass
    class Derived(Plain):
        more: str = "SECRET"

    @dataclass
    class Options(AgentOptions):
        api_key: str = "SECRET"

    @dataclass
    class MoreOptions(Options):
        other_key: str = "SECRET"

    return [
        lambda: Decorated(instructions="SECRET"),
        Slotted,
        lambda: Plain(instructions="SECRET"),
        lambda: Derived(instructions="SECRET"),
        Options,
        MoreOptions,
        lambda: AgentCallParams([ConversationMessage("system", "SECRET")], "m", inference_config={"key": "SECRET"}),
        lambda: encode_agent(OpenAIAgent(instructions="SECRET"), FunctionRegistry().refer),
    ]


@pytest.mark.parametrize("index", range(8))
def test_no_repr_shows_instructions_or_fields_of_users(index: int) -> None:
    made = subclasses_of_users()[index]()
    assert "SECRET" not in repr(made)
    assert "SECRET" not in f"{[made]}"


def test_a_repr_of_the_users_own_stays() -> None:
    @dataclass
    class Own(OpenAIAgent):
        def __repr__(self) -> str:
            return "mine"

    @dataclass
    class Below(Own):
        region: str = "x"

    assert (repr(Own()), repr(Below())) == ("mine", "mine")
