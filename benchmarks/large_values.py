"""Functions that return 60 MB beside 100 turns of other conversations: how long does a host stand still?

One process with a folder as storage, no network. Measured three times in the same run: 100 turns by themselves; beside
five functions that return 60 MB of text; and beside five that return 60 MB of rows. Told are the longest time that the
event loop did not turn and how long the 100 turns took. By Ray such functions run in processes of their own, so that
only what the model is given reaches a host; here they share the interpreter, which is the worse case.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import command
from rojak_ray import OfflineAgent
from rojak_ray.storage.local import LocalStore
from rojak_ray.testing.runtime import InProcessRuntime

_TURNS = 100
_LARGE = 5
_BYTES = 60 << 20


@dataclass(frozen=True)
class Found:
    """One round."""

    beside: str
    stood_still_s: float
    turns_s: float


def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


def read_log() -> str:
    """Read the log."""
    return "x" * _BYTES


def read_table() -> list[dict[str, Any]]:
    """Read the table."""
    return [{"name": "x" * 480, "row": 1}] * (_BYTES // 512)


async def _round(beside: str, large: Callable[[], Any] | None) -> Found:
    with tempfile.TemporaryDirectory() as folder:
        async with InProcessRuntime(LocalStore(Path(folder))) as runtime:
            calculator = OfflineAgent(name="Calculator", functions=[add])
            reader = OfflineAgent(name="Reader", functions=[large] if large else [])
            ended = asyncio.Event()
            watching = asyncio.create_task(_longest_pause(ended))
            words = f"Read the {beside}, please."
            reading = [runtime.run(agent=reader, messages=words) for _ in range(_LARGE if large else 0)]
            began = time.monotonic()
            turns = asyncio.gather(*(runtime.run(agent=calculator, messages="Add 1 and 2.") for _ in range(_TURNS)))
            await asyncio.gather(turns, *reading)
            took = time.monotonic() - began
            ended.set()
            return Found(beside, await watching, took)


async def _longest_pause(ended: asyncio.Event) -> float:
    longest = 0.0
    while not ended.is_set():
        before = time.monotonic()
        await asyncio.sleep(0.005)
        longest = max(longest, time.monotonic() - before)
    return longest


async def measure() -> list[Found]:
    """All rounds, the first one twice, since what comes first pays for everybody."""
    await _round("nothing", None)
    return [await _round("nothing", None), await _round("log", read_log), await _round("table", read_table)]


def report(found: list[Found], console: Console) -> None:
    """Print what was found."""
    for one in found:
        console.print(
            f"{_TURNS} turns beside {_LARGE if one.beside != 'nothing' else 'no'} large results ({one.beside}): "
            f"{one.turns_s:.2f} s; the loop stood still for {one.stood_still_s * 1000:.0f} ms at most"
        )


def main() -> None:
    """See the module."""
    args = command.parser(__doc__).parse_args()
    found = asyncio.run(measure())
    command.tell(found, args.json, report, lambda rounds: [asdict(one) for one in rounds])


if __name__ == "__main__":
    main()
