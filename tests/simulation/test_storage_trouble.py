"""Storage fails under a conversation: side effects stop, callers hear of it in time, and it goes on by itself."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from rojak_ray.errors import StorageError, StoreRefused, StoreUnavailable
from rojak_ray.testing.stores import Call, FailBefore, Fault, no_faults

from .scene import Scene, played, start

BOUND_S = 30.0


def writes_refused(call: Call) -> Fault | None:
    """A full disk, a read-only mount."""
    return FailBefore(StoreRefused) if call.operation in {"put", "delete"} else None


def all_refused(call: Call) -> Fault | None:
    """Permission lost."""
    return FailBefore(StoreRefused)


def unavailable(call: Call) -> Fault | None:
    """Nobody answers."""
    return FailBefore(StoreUnavailable)


TROUBLES = [writes_refused, all_refused, unavailable]


@pytest.mark.parametrize("trouble", TROUBLES)
def test_caller_hears_of_it_in_time_and_may_ask_again(trouble):
    async def play(scene: Scene) -> None:
        await scene.opened()
        scene.store.script = trouble
        began = scene.loop.time()
        for _ in range(2):  # by a host that finds out, and by none
            with pytest.raises(StorageError) as met:
                await scene.ask(start("r"), wait_for="r")
            assert met.value.retryable
        assert scene.loop.time() - began < BOUND_S
        assert scene.ran() == []
        scene.store.script = no_faults
        reply = await scene.ask(start("r"), wait_for="r")
        assert reply.run is not None
        assert reply.run.status == "completed"
        assert scene.ran() == ["pay"]

    played(play)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_run_stops_before_its_side_effects_and_goes_on_without_a_caller(trouble):
    async def play(scene: Scene) -> None:
        await scene.opened()
        await scene.ask(start("r"))
        scene.store.script = trouble  # while the model is being asked
        await asyncio.sleep(300.0)
        assert scene.ran() == [], "a function ran although nothing could be recorded"
        assert await scene.status("r") == "running"
        scene.store.script = no_faults
        await asyncio.sleep(BOUND_S)
        assert await scene.status("r") == "completed"
        assert scene.ran() == ["pay"]

    played(play)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_process_that_begins_during_the_trouble_takes_up_the_work_when_it_is_over(trouble):
    async def play(scene: Scene) -> None:
        await scene.opened()
        await scene.ask(start("r"))
        await scene.pool.close()
        scene.store.script = trouble
        scene.pool = scene.new_pool()
        with contextlib.suppress(StorageError):  # it goes on trying, which is what this is about
            await scene.pool.recover(lambda owner: True)
        await asyncio.sleep(100.0)
        assert scene.ran() == []
        scene.store.script = no_faults
        await asyncio.sleep(BOUND_S)
        assert await scene.status("r") == "completed"

    played(play)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_nothing_that_was_acknowledged_is_lost(trouble):
    async def play(scene: Scene) -> None:
        await scene.opened()
        acknowledged: list[str] = []
        for number in range(40):
            scene.store.script = trouble if number % 3 == 2 else no_faults
            try:
                await scene.ask(start(f"r{number}"))
            except StorageError:
                continue
            acknowledged.append(f"r{number}")
            if len(acknowledged) == 12:
                break
        scene.store.script = no_faults
        await asyncio.sleep(200.0)
        assert len(acknowledged) == 12
        assert {await scene.status(run_id) for run_id in acknowledged} == {"completed"}

    played(play)


def test_slow_storage_makes_it_slow_and_nothing_else():
    async def play(scene: Scene) -> None:
        scene.store.delay_s = 3.0
        await scene.opened()
        reply = await scene.ask(start("r"), wait_for="r")
        while reply.run is None or reply.run.status != "completed":
            reply = await scene.ask(wait_for="r")
        assert scene.ran() == ["pay"]

    played(play)
