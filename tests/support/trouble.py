"""What user code can do wrong, and what is told of it, wherever it runs."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn


class Panic(BaseException):
    """As extensions in Rust raise it."""


class Mute(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Liar(Exception):
    """Cannot be asked for its class."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            raise Panic("no class")
        return super().__getattribute__(name)


class Locked(Exception):
    """Cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class Particular(Exception):
    """Can be pickled but not unpickled."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(f"{text} ({code})")


class Oddness:
    """A result that is no data."""

    def __str__(self) -> str:
        raise Panic("no text")


def raising(kind: Callable[..., BaseException], *arguments: Any) -> Callable[[], NoReturn]:
    def raise_it() -> NoReturn:
        raise kind(*arguments)

    return raise_it


def recursing() -> Any:
    return recursing()


def two_errors() -> BaseException:
    return BaseExceptionGroup("both", [ValueError("one"), ExceptionGroup("inner", [KeyError("two")]), Panic("three")])


def exit_with(code: int) -> NoReturn:
    sys.exit(code)


WHATS: dict[str, tuple[Callable[[], Any], str]] = {
    "exception": (raising(ValueError, "wrong"), "ValueError: wrong"),
    "base exception": (raising(Panic, "panicked"), "Panic: panicked"),
    "base exception group": (
        raising(two_errors),
        "BaseExceptionGroup: both (3 sub-exceptions): "
        "[ValueError: one; ExceptionGroup: inner (1 sub-exception): [KeyError: 'two']; Panic: three]",
    ),
    "exception group": (
        raising(ExceptionGroup, "few", [ValueError("one")]),
        "ExceptionGroup: few (1 sub-exception): [ValueError: one]",
    ),
    "system exit": (lambda: exit_with(3), "SystemExit: 3"),
    "keyboard interrupt": (raising(KeyboardInterrupt, "enough"), "KeyboardInterrupt: enough"),
    "generator exit": (raising(GeneratorExit), "GeneratorExit: GeneratorExit()"),
    "stop iteration": (raising(StopIteration, "end"), "StopIteration: end"),
    "stop async iteration": (raising(StopAsyncIteration, "end"), "StopAsyncIteration: end"),
    "cancelled": (raising(asyncio.CancelledError), "CancelledError: it cancelled itself"),
    "no text": (raising(Mute), "Mute: (no text: its class raised RuntimeError when asked for one)"),
    "lies about its class": (raising(Liar, "lie"), "Liar: lie"),
    "huge": (raising(ValueError, "x" * 1_000_000), "... (1000000 characters)"),
    "half a character": (raising(ValueError, "half \ud83d"), "ValueError: half ?"),
    "colours": (raising(ValueError, "\x1b[31mred\x1b[0m\x07"), "ValueError: red"),
    "cannot be pickled": (raising(Locked, "locked"), "Locked: locked"),
    "cannot be unpickled": (raising(Particular, "odd", 7), "Particular: odd (7)"),
    "recursion": (recursing, "RecursionError: maximum recursion depth exceeded"),
    "memory": (raising(MemoryError, "no room"), "MemoryError: no room"),
}
"""By name: what it does, and a text that is told of it."""


async def in_a_group(do: Callable[[], Any]) -> None:
    """Do it in a task of a group's."""

    async def child() -> None:
        do()

    async with asyncio.TaskGroup() as group:
        group.create_task(child())


async def in_a_crowd(do: Callable[[], Any]) -> None:
    """Do it in a gathered task."""

    async def child() -> None:
        do()

    await asyncio.gather(asyncio.sleep(0), child())


async def deaf(error: type[BaseException] = asyncio.CancelledError) -> None:
    """Take no notice of that."""
    while True:
        with contextlib.suppress(error):
            await asyncio.Event().wait()
