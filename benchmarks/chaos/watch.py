"""How far a part of the run is, for people."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import Progress

_EVERY_S = 10.0


async def watch(
    part: str, console: Console, seconds: float, so_far: Callable[[], str], over: asyncio.Task[None]
) -> None:
    """Wait for so long, or until `over` is done: with a bar on a terminal, with a line now and then in a pipe."""
    started = time.monotonic()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(part, total=seconds)
        said = 0.0
        while (passed := time.monotonic() - started) < seconds and not over.done():
            progress.update(bar, completed=passed, description=f"{part}: {so_far()}")
            if not console.is_terminal and passed - said >= _EVERY_S:
                said = passed
                console.print(f"{passed:4.0f} s, {part}: {so_far()}")
            await asyncio.sleep(0.2)
