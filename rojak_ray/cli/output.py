"""How the command speaks: who said what, what was called and handed over, and errors in one line.

On a terminal with colours, elsewhere as plain text: the words are the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from rojak_ray.cli.wrapping import Wrapping, wrap
from rojak_ray.display import CONTINUED, hanging, json_line, one_line, printable
from rojak_ray.errors import InternalError, RojakError

DEBUG_VARIABLE = "ROJAK_DEBUG"

_COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "red")
_LONGEST_VALUE = 200


class PipeConsole(Console):
    """A console that says so when whoever reads has gone; rich itself would end the program as failed."""

    def on_broken_pipe(self) -> None:
        """What a failed write raised goes on to `errors_reported`."""
        raise BrokenPipeError


class Voice:
    """Prints a conversation."""

    def __init__(self, console: Console | None = None) -> None:
        """Speak to `console`; None: standard output."""
        self._console = console or PipeConsole(highlight=False)
        self._colours: dict[str, str] = {}
        self._wrapping: Wrapping | None = None

    def say(self, text: str, style: str = "") -> None:
        """Print a text, whatever it contains. Its further lines hang below the first, marked as such."""
        indent = len(text) - len(text.lstrip(" ")) + 2
        shown = hanging(text, indent)
        if self._console.is_terminal:
            shown = wrap(printable(text), self._console.width, " " * indent + CONTINUED)
        self._console.print(Text(shown, style=style), soft_wrap=True)

    def note(self, text: str) -> None:
        """Print something about the conversation that nobody in it said."""
        self.say(text, "dim")

    def tell(self, text: str, style: str = "dim", *, whole: bool = False) -> None:
        """Print words of our own, which nobody can take for anything else; `whole`: in one line, to be copied."""
        shown = printable(text)
        if self._console.is_terminal and not whole:
            shown = wrap(shown, self._console.width, "  ")
        self._console.print(Text(shown, style=style), soft_wrap=True)

    def heard(self, text: str) -> None:
        """Show what the user said, where the terminal does not show it already."""
        self._speak("You", text, "bold")

    def waiting(self, reason: str) -> AbstractContextManager[Any]:
        """Show on a terminal that something takes a moment."""
        if not self._console.is_terminal:
            return nullcontext()
        return self._console.status(Text(printable(reason), style="dim"))

    def handed_over(self, before: str, after: str) -> None:
        """Show who answers from here on."""
        self.say(f"  handed over: {before} -> {after}", "bold")

    def called(self, speaker: str, name: str, arguments: str, output: str) -> None:
        """Show a function call and what came of it."""
        self.say(f"  {speaker} called {_as_code({'name': name, 'arguments': arguments})}")
        self.note(f"    -> {output.strip() or '(nothing)'}")

    def piece(self, name: str, text: str, *, begins: bool) -> None:
        """Show a piece of an answer behind the one before."""
        if begins:
            label = f"{one_line(name)}: "
            self._wrapping = None
            if self._console.is_terminal:
                self._wrapping = Wrapping(self._console.width, "  " + CONTINUED)
                label = self._wrapping.feed(label)  # the space behind it comes with the first word
            self._console.print(Text(label, style=self._colour(name)), end="", soft_wrap=True)
        shown = self._wrapping.feed(printable(text)) if self._wrapping else hanging(text, 2)
        self._console.print(Text(shown), end="", soft_wrap=True)

    def piece_ends(self) -> None:
        """The answer is complete."""
        self._console.print(Text(self._wrapping.end() if self._wrapping else ""), soft_wrap=True)
        self._wrapping = None

    def context_changed(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Show in a dim line which context variables are new, different or gone."""
        changes = [
            f"{key} = {as_json(value)}" for key, value in after.items() if key not in before or before[key] != value
        ]
        changes += [f"{key} is gone" for key in before if key not in after]
        if changes:
            self.note(f"  context: {', '.join(changes)}")

    def _speak(self, name: str, text: str, style: str) -> None:
        line = Text(f"{one_line(name)}: ", style=style).append(hanging(text.strip(), 2), style="not bold default")
        self._console.print(line, soft_wrap=True)

    def _colour(self, name: str) -> str:
        return f"bold {self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])}"


@contextmanager
def errors_reported() -> Generator[None]:
    """Turn every error into one line on standard error and an exit code.

    The code is 1, 130 for an interruption, and 141, without a word, if whoever reads our output has left (`| head`):
    what a shell gives to programs that are ended by SIGINT or SIGPIPE.

    With ROJAK_DEBUG in the environment the traceback comes with it.
    """
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except BrokenPipeError:
        _end_of_pipe()
    except RojakError as error:
        fail(error.message or type(error).__name__, is_bug=isinstance(error, InternalError))
    except (OSError, ImportError) as error:
        fail(f"{type(error).__name__}: {error}")
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except Exception as error:  # noqa: BLE001  (the edge of the program)
        fail(f"{type(error).__name__}: {error}", is_bug=True)


def _end_of_pipe() -> NoReturn:
    with contextlib.suppress(OSError, ValueError):  # what is left in the buffer has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise typer.Exit(128 + signal.SIGPIPE) from None


def fail(text: str, *, is_bug: bool = False) -> NoReturn:
    """Say in one line what is wrong and end with exit code 1."""
    if os.environ.get(DEBUG_VARIABLE):
        typer.echo(hanging(traceback.format_exc().rstrip("\n")), err=True)
    line = " ".join(printable(text).split())
    if is_bug:
        line += f" (This is a bug of ours; please report it with what {DEBUG_VARIABLE}=1 shows.)"
    said = f"rojak: {line}"
    typer.echo(said if os.environ.get("NO_COLOR") else typer.style(said, fg="red"), err=True)
    raise typer.Exit(1) from None


def as_json(value: Any) -> str:
    """A value in one line, not too long."""
    text = json_line(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]} ..."


def prepare_streams() -> None:
    """Let no character that standard input or output cannot carry end the program."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # streams of a test or an embedding program may have none
        if reconfigure is not None:
            reconfigure(errors="replace")


def _as_code(function: Mapping[str, Any]) -> str:
    """A call as one would write it in Python; arguments that are not JSON are shown as they came."""
    try:
        arguments = json.loads(function["arguments"] or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        return f"{function['name']}({function['arguments']})"
    return f"{function['name']}({', '.join(f'{key}={as_json(value)}' for key, value in arguments.items())})"
