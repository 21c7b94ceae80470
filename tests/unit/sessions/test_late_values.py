"""Code that is not ours ends within its limit, also where nobody could look in time."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from support.waiting import HANG_S

from rojak_ray.sessions.user_code import StepFailed, UserCode


async def test_a_late_value_is_late_though_the_loop_stood_still_over_the_deadline() -> None:
    entered, returning = threading.Event(), threading.Event()

    def slow() -> str:
        end = time.monotonic() + 0.05
        entered.set()
        while time.monotonic() < end:
            pass
        returning.set()
        return "late"

    running = asyncio.create_task(UserCode().run(slow, str, waits=False, limit_s=0.02, what="slow"))
    while not entered.is_set():
        await asyncio.sleep(0)
    assert returning.wait(HANG_S)  # the loop of everybody stands still for so long
    with pytest.raises(StepFailed, match="slow"):
        await running
