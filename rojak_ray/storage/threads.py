"""Blocking calls of the vendors' packages, off the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")


async def in_thread(work: Callable[[], _T]) -> _T:
    """Run a blocking call in a thread of its own, which nobody waits for when the program ends.

    A cancelled caller leaves the thread behind. (`asyncio.to_thread` has threads that Python waits for at its end:
    looking for credentials may take a quarter of a minute.)
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[_T] = loop.create_future()

    def run() -> None:
        try:
            tell(answer.set_result, work())
        except Exception as error:  # noqa: BLE001  (the caller's)
            tell(answer.set_exception, error)

    def tell(set_answer: Callable[[Any], None], value: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed; its callers are gone
            loop.call_soon_threadsafe(lambda: None if answer.done() else set_answer(value))

    threading.Thread(target=run, name="rojak-credentials", daemon=True).start()
    return await answer
