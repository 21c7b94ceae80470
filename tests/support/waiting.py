"""Waiting for states, never for time."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

HANG_S = 240.0
"""Whoever waited this long waits for ever. It only ends a test that hangs: a slow machine needs less."""


async def until(condition: Callable[[], Any], what: str, within_s: float = HANG_S) -> Any:
    """Return the first true value of `condition` (which may be a coroutine function)."""
    try:
        async with asyncio.timeout(within_s):
            while True:
                found = condition()
                if isinstance(found, Awaitable):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{what} did not happen within {within_s} s") from None


def lines(path: Path) -> list[str]:
    """The lines of a file that functions append to."""
    return path.read_text().splitlines()
