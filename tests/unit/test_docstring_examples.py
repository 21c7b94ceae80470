"""Every public class and method has an example in its docstring, and every example does what it shows.

An example is the indented block behind a line `Example:`. It runs on a fresh in-process runtime and may await. It needs
no imports from here: all public names are there, and `rojak`, `agent` (with the function `book_table`), `session`,
`handle` and `schedule` stand for what a program has by then. `Rojak` is the in-process runtime.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import textwrap
import types
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

import rojak_ray
from rojak_ray import agents, schedules
from rojak_ray.errors import RojakError
from rojak_ray.testing.runtime import InProcessRuntime

WITHOUT = Path(__file__).parents[1] / "data" / "public_names_without_example.txt"
"""Those that have no example yet. A name that has got one is taken out, so that the list only shrinks."""

_HEAD = "Example:"


def things() -> dict[str, Any]:
    """The public classes and functions by name; errors are left out: their tree tells what each is for."""
    found: dict[str, Any] = {}
    for module in (rojak_ray, agents, schedules):
        names = {name for name in getattr(module, "__all__", vars(module)) if not name.startswith("_")}
        names |= set(getattr(module, "_PROVIDERS", ()))  # loaded when they are asked for
        for name in sorted(names):
            thing = getattr(module, name)
            if isinstance(thing, type | types.FunctionType) and thing.__module__.startswith("rojak_ray"):
                found[name] = thing
    return {name: one for name, one in found.items() if not (isinstance(one, type) and issubclass(one, RojakError))}


def methods(name: str, kind: type, public: Collection[Any]) -> Iterator[tuple[str, Any]]:
    """What can be called on a class's instances, as far as it is ours and no other public class's."""
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("rojak_ray") and (base is kind or base not in public):
            for key, one in sorted(vars(base).items()):
                if isinstance(one, types.FunctionType) and not key.startswith("_"):
                    yield f"{name}.{key}", getattr(kind, key)


THINGS = things()
PUBLIC = THINGS | {
    name: method
    for kind_name, kind in THINGS.items()
    if isinstance(kind, type)
    for name, method in methods(kind_name, kind, THINGS.values())
}


def example_in(docstring: str | None) -> str | None:
    """The code behind the line `Example:`, or None."""
    lines = inspect.cleandoc(docstring or "").splitlines()
    if _HEAD not in lines:
        return None
    behind = lines[lines.index(_HEAD) + 1 :]
    end = next((place for place, line in enumerate(behind) if line and not line.startswith(" ")), len(behind))
    return textwrap.dedent("\n".join(behind[:end])).strip() + "\n"


EXAMPLES = {name: code for name, thing in PUBLIC.items() if (code := example_in(thing.__doc__)) is not None}


async def scene(code: str, rojak: InProcessRuntime) -> dict[str, Any]:
    """What an example finds: only what it names is made."""

    def book_table(guests: int, context_variables: dict[str, Any]) -> str:
        """Book a table for a number of guests."""
        context_variables["booked"] = guests
        return f"A table for {guests} is booked."

    found: dict[str, Any] = THINGS | {"rojak": rojak, "Rojak": InProcessRuntime, "book_table": book_table}
    words = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    agent = found["agent"] = rojak_ray.OfflineAgent(name="Host", functions=[book_table])
    if "session" in words:
        found["session"] = await rojak.create_session("evening", agent)
    if "handle" in words:
        found["handle"] = await rojak.start_run("table-1", agent, "Book a table for 4 guests.")
    if "schedule" in words:
        found["schedule"] = await rojak.create_schedule(
            "tables-yearly", rojak_ray.ScheduleSpec(cron_expressions=["@yearly"]), agent, "Book a table for 4 guests."
        )
    return found


async def play(name: str, code: str) -> None:
    """Run one example; whatever it asserts or raises is the test's."""
    async with InProcessRuntime() as rojak:
        names = {**await scene(code, rojak), "__name__": "__main__"}
        module = compile(code, f"<example of {name}>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(module, names)
        if inspect.isawaitable(result):
            await result


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_does_what_it_shows(name: str) -> None:
    with asyncio.Runner() as runner:
        runner.run(play(name, EXAMPLES[name]))


def test_every_public_name_has_an_example_or_is_on_the_list() -> None:
    listed = set(WITHOUT.read_text().split())
    without = PUBLIC.keys() - EXAMPLES.keys()
    assert without - listed == set(), "give it an example in its docstring; the list is not for new names"
    assert listed - without == set(), f"it has an example, or is gone: take it out of {WITHOUT.name}"


def test_an_example_is_found_as_it_stands() -> None:
    assert example_in("One.\n\n    Example:\n        x = 1\n\n        assert x\n\n    Args:\n        y: No.\n") == (
        "x = 1\n\nassert x\n"
    )
    assert example_in("One.") is None
    with pytest.raises(AssertionError), asyncio.Runner() as runner:
        runner.run(play("wrong", "assert (await rojak.run(agent=agent, messages='Hello!')).messages == []\n"))
