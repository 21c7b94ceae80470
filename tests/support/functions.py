"""Functions of many kinds, whose fingerprints must be the same in every process that imports this module."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rojak_ray.agents.agent import OpenAIAgent
from rojak_ray.agents.function import function


def plain(city: str, days: int = 3, *, unit: str = "C") -> str:
    """Look at the sky."""
    return f"{city} {days} {unit}"


def with_constants(word: str) -> bool:
    """Holds a frozen set and a tuple among its constants."""
    return word in {"alpha", "beta", "gamma", "delta"} or word in ("x", "y")


def with_inner() -> list[int]:
    """Holds code within code."""

    def inner(n: int) -> int:
        return n + 1

    return [inner(n) for n in range(3)]


async def awaited() -> None:
    """Asynchronous."""


@function(at_most_once=True, timeout=3)
def decorated() -> None:
    """With settings."""


def returning(captured: Any) -> Any:
    """A closure that captures a value."""

    def answer() -> Any:
        """Answer."""
        return captured

    return answer


def returning_both(one: Any, other: Any) -> Any:
    """A closure that captures two values."""

    def answer() -> Any:
        """Answer."""
        return one, other

    return answer


def counted(fn: Any) -> Any:
    """A decorator."""

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return wrapper


@counted
def wrapped() -> None:
    """Behind a decorator."""


class Plain:
    """An object with attributes."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def method(self) -> Any:
        """A bound method."""
        return vars(self)


@dataclass
class Place:
    """A value."""

    name: str
    tags: frozenset[str] = frozenset({"one", "two", "three"})


def agent_b() -> Any:
    """Hand over."""
    return OpenAIAgent(name="B")


LOOP: list[Any] = []
LOOP.append(LOOP)

FUNCTIONS: dict[str, Any] = {
    "plain": plain,
    "constants": with_constants,
    "inner": with_inner,
    "async": awaited,
    "decorated": decorated,
    "wrapped": wrapped,
    "lambda": lambda: "x",
    "number": returning(1),
    "text": returning("1"),
    "set": returning({"a", "b", "c", "d"}),
    "dict": returning({"k": ["v", (None, b"\x00")]}),
    "agent": returning(OpenAIAgent(name="B", functions=[agent_b])),
    "dataclass": returning(Place("here")),
    "object": returning(Plain(a=1, b={"c"})),
    "objects": returning_both(Plain(a=1), Plain(a=2)),
    "closures": returning_both(returning(1), returning(2)),
    "loop": returning(LOOP),
    "method": Plain(a=1).method,
    "class": returning(Plain),
    "partial": functools.partial(plain, "Singapore", unit="F"),
    "path": returning(Path("/data")),
    "module": returning(functools),
    "logger": returning(logging.getLogger("support.functions")),
}
