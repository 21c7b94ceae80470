"""Hosts that were overtaken without knowing it, and alarms that ring at the worst moment. In virtual time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from simulation.scene import OWNER, Scene, played, start
from simulation.work import message
from simulation.world import PATHS, LaneClock, LaneIds

from rojak_ray.core.commands import CancelRun, CheckTimers, Delete, StartRun, UpdateConfig
from rojak_ray.errors import SessionNotFound, StoreUnavailable
from rojak_ray.journal.replay import replay
from rojak_ray.sessions.alarm import AlarmClock
from rojak_ray.sessions.batches import Follow
from rojak_ray.sessions.pool import HostPool
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.sessions.requests import Ask
from rojak_ray.testing.stores import Call, FailBefore, Fault, Hold


def impatient(scene: Scene, name: str) -> HostPool:
    """A pool that lets everything go as soon as nothing is to be done."""
    settings = PoolSettings(session_idle_s=0.05, sweep_s=0.02)
    return HostPool(scene.store, PATHS, scene.worker, LaneClock(scene.loop), LaneIds(name), settings)


def flaky(run_id: str) -> StartRun:
    """A request for a call that has to be tried again after a while."""
    return StartRun(run_id=run_id, input_digest="d", messages=(message(run_id, [["flaky"]]),))


def timers(scene: Scene) -> list[str]:
    return [key for key in scene.memory.snapshot() if key.startswith(PATHS.timers)]


@pytest.mark.parametrize("place", ["/wake/", "/log/"], ids=["its timer is stored", "it is recorded"])
def test_alarm_that_rings_for_a_rest_while_is_not_lost(place: str):
    async def play(scene: Scene) -> None:
        await scene.pool.close()
        scene.pool = impatient(scene, "i")
        alarm = AlarmClock(scene.store, PATHS, LaneClock(scene.loop), scene.pool.ask)
        await scene.opened()
        hold, resting = Hold(), list[str]()

        def script(call: Call) -> Fault | None:
            if call.operation != "put" or not (resting or "/wake/" in call.key):
                return None
            resting.append(call.key)
            return hold if place in call.key and not hold.reached.is_set() else None

        scene.store.script = script
        await scene.ask(flaky("r"))
        await hold.reached.wait()
        if place == "/wake/":  # it has landed, and only the reply takes so long
            timer = f'{{"kind": "session", "id": "s", "at": "{LaneClock(scene.loop).now().isoformat()}"}}'
            await scene.memory.put_new(resting[0], timer.encode())
            begun = len(scene.outside.executions)
            while len(scene.outside.executions) == begun:  # its time comes, and the call begins
                await asyncio.sleep(0.001)
        else:
            await asyncio.sleep(5.0)  # until it is due
        ringing = asyncio.create_task(alarm.ring())
        await asyncio.sleep(0.001)
        hold.release.set()
        await ringing
        ringing = asyncio.create_task(alarm.run(0.1))
        await asyncio.sleep(60.0)
        ringing.cancel()
        assert await scene.status("r") == "completed", "nobody is left to wake it"
        attempts = [(execution.step.step_id, execution.step.attempt) for execution in scene.outside.executions]
        assert len(attempts) == len(set(attempts)), "what had begun was cut off and began again"

    played(play)


def test_alarm_that_rings_at_an_overtaken_host_reaches_the_conversation():
    async def play(scene: Scene) -> None:
        await scene.opened()
        old, scene.pool = scene.pool, impatient(scene, "new")
        await scene.ask(flaky("r"))
        while not timers(scene) or scene.pool.statistics().open_hosts:
            await asyncio.sleep(0.01)
        late = LaneClock(scene.loop).now() + timedelta(minutes=1)
        await old.ask(OWNER, Ask(commands=(CheckTimers(at=late),)))
        await asyncio.sleep(60.0)
        assert await scene.status("r") == "completed"
        await old.close()

    played(play)


def test_deletion_that_reaches_an_overtaken_host_deletes_what_is_there():
    async def play(scene: Scene) -> None:
        await scene.opened()
        await scene.ask(Delete())
        with pytest.raises(SessionNotFound):
            await scene.ask(start("r"))  # from now on a host holds the deleted session
        old, scene.pool = scene.pool, scene.new_pool()
        await scene.opened("again")
        await old.ask(OWNER, Ask(commands=(Delete(),)))
        assert not (await replay(scene.memory, PATHS, OWNER)).state.opened
        await old.close()

    played(play)


def test_overtaken_host_refuses_nothing_that_has_become_possible():
    async def play(scene: Scene) -> None:
        await scene.opened()
        await scene.ask(Delete())
        with pytest.raises(SessionNotFound):
            await scene.ask(start("r"))
        old, scene.pool = scene.pool, scene.new_pool()
        await scene.opened("again")
        await old.ask(OWNER, Ask(commands=(start("r"),)))
        await asyncio.sleep(60.0)
        assert await scene.status("r") == "completed"
        await old.close()

    played(play)


def test_answer_that_cannot_be_confirmed_is_not_given_and_ends_nothing():
    async def play(scene: Scene) -> None:
        await scene.opened()
        await scene.ask(start("r"), wait_for="r")
        scene.store.script = lambda call: FailBefore() if call.operation == "list" else None
        with pytest.raises(StoreUnavailable):
            await scene.ask(CancelRun())
        scene.store.script = lambda call: None
        epochs = len(await scene.memory.list(PATHS.epochs(OWNER)))
        await scene.ask(CancelRun())
        assert len(await scene.memory.list(PATHS.epochs(OWNER))) == epochs, "its host is still there"

    played(play)


def markers(scene: Scene) -> list[str]:
    return [key for key in scene.memory.snapshot() if key.startswith(PATHS.markers(OWNER))]


async def gone_to_rest(scene: Scene) -> None:
    while scene.pool.statistics().open_hosts:
        await asyncio.sleep(0.01)
    await asyncio.sleep(1.0)  # and what it removes is removed


def test_what_is_new_is_opened_with_one_listing_and_leaves_no_marker():
    async def play(scene: Scene) -> None:
        await scene.pool.close()
        scene.pool, calls = impatient(scene, "i"), list[str]()

        def script(call: Call) -> None:
            calls.append(f"{call.operation} {call.key}")

        scene.store.script = script
        await scene.opened()
        assert [call for call in calls if call.startswith("list")] == [f"list {PATHS.owner(OWNER)}"]
        await gone_to_rest(scene)
        assert not markers(scene)

    played(play)


def test_opening_as_new_that_somebody_anticipated_leaves_no_marker_and_loses_nothing():
    async def play(scene: Scene) -> None:
        await scene.pool.close()
        slow, quick = impatient(scene, "slow"), impatient(scene, "quick")
        scene.pool = slow
        holds = {key: Hold() for key in (PATHS.epoch(OWNER, 1), PATHS.marker(OWNER, 1))}

        def script(call: Call) -> Fault | None:
            hold = holds.get(call.key) if call.operation == "put" else None
            return hold if hold is not None and not hold.reached.is_set() else None

        scene.store.script = script
        opening = asyncio.create_task(scene.opened())
        for hold in holds.values():
            await hold.reached.wait()  # it has found nothing, and is about to claim and to mark
        scene.pool = quick
        await scene.opened()
        await scene.ask(start("r"))
        while await scene.status("r") != "completed":
            await asyncio.sleep(0.01)
        await gone_to_rest(scene)
        for hold in holds.values():
            hold.release.set()
        await opening
        assert await scene.status("r") == "completed"
        scene.pool = slow
        await gone_to_rest(scene)
        assert not markers(scene)
        await quick.close()

    played(play)


def test_who_waits_at_an_overtaken_host_hears_how_it_ended_elsewhere():
    async def play(scene: Scene) -> None:
        await scene.opened()
        await scene.ask(StartRun(run_id="r", input_digest="d", messages=(message("r", [["approve"]]),)))
        old, scene.pool = scene.pool, impatient(scene, "new")
        waiting = asyncio.create_task(old.ask(OWNER, Ask(await_run="r", wait_s=20.0)))
        await asyncio.sleep(1.0)
        await scene.ask(CancelRun())
        reply = await waiting
        assert reply.run is not None
        assert reply.run.status == "cancelled"
        await old.close()

    played(play)


def test_looks_and_followers_at_an_overtaken_host_see_what_was_done_elsewhere():
    async def play(scene: Scene) -> None:
        await scene.opened()
        await scene.ask(StartRun(run_id="r", input_digest="d", messages=(message("r", [["approve"]]),)))
        old = scene.pool
        while not (await old.ask(OWNER, Ask(view=True))).view.awaited:  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
        scene.pool = impatient(scene, "new")
        told = await old.ask(OWNER, Ask(follow=Follow(after=0, run_id="r")))
        following = asyncio.create_task(old.ask(OWNER, Ask(follow=Follow(after=told.batch.after, wait_s=20.0))))  # type: ignore[union-attr]
        await asyncio.sleep(1.0)
        await scene.ask(CancelRun())
        batch = (await following).batch
        assert batch is not None
        assert [event.kind for event in batch.events] == ["run_ended"]
        view = (await old.ask(OWNER, Ask(view=True))).view
        assert view is not None
        assert not view.awaited, "the question that is shown was withdrawn elsewhere"
        await old.close()

    played(play)


def test_follower_until_idle_at_an_overtaken_host_hears_of_what_goes_on_elsewhere():
    async def play(scene: Scene) -> None:
        await scene.opened()
        await scene.ask(start("r"), wait_for="r")
        old = scene.pool
        end = (await old.ask(OWNER, Ask(follow=Follow(after=0, until_idle=True)))).batch
        assert end is not None
        scene.pool = scene.new_pool()
        await scene.ask(StartRun(run_id="r2", input_digest="d", messages=(message("r2", [["approve"]]),)))
        again = (await old.ask(OWNER, Ask(follow=Follow(after=end.after, until_idle=True)))).batch
        assert again is not None
        assert "run_started" in [event.kind for event in again.events]
        await old.close()

    played(play)


def test_look_that_cannot_be_confirmed_is_not_answered():
    async def play(scene: Scene) -> None:
        await scene.opened()
        scene.store.script = lambda call: FailBefore() if call.operation == "list" else None
        with pytest.raises(StoreUnavailable):
            await scene.pool.ask(OWNER, Ask(view=True))
        scene.store.script = lambda call: None
        assert (await scene.pool.ask(OWNER, Ask(view=True))).view is not None

    played(play)


def test_look_while_a_record_is_being_written_is_answered_once_that_has_landed():
    async def play(scene: Scene) -> None:
        await scene.opened()
        hold = Hold()

        def script(call: Call) -> Fault | None:
            return hold if call.operation == "put" and not hold.reached.is_set() else None

        scene.store.script = script
        changing = asyncio.create_task(scene.ask(UpdateConfig(max_turns=7)))
        await hold.reached.wait()
        looking = asyncio.create_task(scene.pool.ask(OWNER, Ask(view=True)))
        await asyncio.sleep(1.0)
        hold.release.set()
        view = (await looking).view
        assert view is not None
        await changing

    played(play)
