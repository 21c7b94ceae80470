"""What processes leave behind is taken down without a trace, however it ends."""

from __future__ import annotations

import asyncio
import gc
import warnings
from random import Random

from .loop import Lane, VirtualLoop


def test_work_that_a_killed_process_would_begin_in_its_finally_is_never_begun():
    begun: list[str] = []

    async def again() -> None:
        begun.append("again")

    async def tries() -> None:
        try:
            await asyncio.sleep(10.0)
        finally:
            asyncio.create_task(again(), name="again").add_done_callback(lambda _: None)

    async def main() -> None:
        lane = Lane("p")
        asyncio.get_running_loop().create_task(tries(), context=lane.context)
        await asyncio.sleep(1.0)
        loop.kill(lane)

    loop = VirtualLoop(Random(1))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        loop.run(main(), deadline=100.0)
        gc.collect()
    assert begun == []
    assert not warned
    assert not loop.complaints
