"""What a pool keeps so that work is found again, and when it may let a conversation go. In virtual time."""

from __future__ import annotations

import asyncio

import pytest
from simulation.scene import OWNER, Scene, played, start
from simulation.world import PATHS, LaneClock, LaneIds
from support.waiting import HANG_S

from rojak_ray.errors import Fenced, StoreUnavailable
from rojak_ray.journal.journal import Journal
from rojak_ray.journal.paths import Owner
from rojak_ray.sessions.markers import active_owners
from rojak_ray.sessions.order import Place
from rojak_ray.sessions.pool import HostPool
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.sessions.requests import Ask
from rojak_ray.storage.memory import MemoryStore


def impatient(scene: Scene, name: str) -> HostPool:
    """A pool that lets everything go as soon as it is idle."""
    settings = PoolSettings(session_idle_s=0.1, sweep_s=0.05)
    return HostPool(scene.store, PATHS, scene.worker, LaneClock(scene.loop), LaneIds(name), settings)


def test_session_is_not_let_go_while_a_request_is_being_recorded():
    async def play(scene: Scene) -> None:
        await scene.pool.close()
        scene.pool = impatient(scene, "i")
        await scene.opened()
        scene.store.delay_s = 1.0  # longer than a session may be idle
        await scene.ask(start("r"))
        scene.store.delay_s = 0.0
        await asyncio.sleep(60.0)
        assert await scene.status("r") == "completed"

    played(play)


def test_host_that_was_overtaken_does_not_remove_the_new_hosts_marker():
    async def play(scene: Scene) -> None:
        old = impatient(scene, "old")
        scene.pool, scene_pool = old, scene.pool
        await scene.opened()
        scene.pool = scene_pool
        await scene.ask(start("r"))  # here the new one takes over
        while old.statistics().open_hosts:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert await active_owners(scene.memory, PATHS) == [OWNER]
        await old.close()

    played(play)


def test_marker_goes_with_the_last_host_and_takes_those_of_lost_ones_along():
    async def play(scene: Scene) -> None:
        await scene.opened()
        await scene.pool.close()
        scene.pool = impatient(scene, "i")
        assert await scene.pool.recover(lambda owner: True) == 1
        await asyncio.sleep(10.0)
        assert await active_owners(scene.memory, PATHS) == []

    played(play)


def test_request_that_keeps_being_overtaken_may_be_asked_again(monkeypatch: pytest.MonkeyPatch):
    async def play(scene: Scene) -> None:
        await scene.opened()

        async def fenced(journal: Journal, events) -> int:
            raise Fenced("a newer writer")

        monkeypatch.setattr(Journal, "append", fenced)
        with pytest.raises(StoreUnavailable, match="ask again") as met:
            await scene.ask(start("r"))
        assert met.value.retryable
        monkeypatch.undo()
        await scene.ask(start("r"))

    played(play)


LONG = Owner("session", "L" * 150)
"""Its key is a hash, so only what is in a marker says whose it is."""

DAMAGE = [b"not json", b"[]", b'{"kind": "session"}', b'{"kind": "session", "id": "s"}', b'{"kind": 5, "id": []}']


@pytest.mark.parametrize("content", DAMAGE)
async def test_damaged_marker_is_named_and_hides_nobody(content: bytes, caplog: pytest.LogCaptureFixture):
    store = MemoryStore()
    await store.put_new(PATHS.marker(LONG, 1), content)
    await store.put_new(f"{PATHS.active}README", content)
    await store.put_new(PATHS.marker(OWNER, 1), b'{"kind": "session", "id": "%s"}' % OWNER.id.encode())
    assert await active_owners(store, PATHS) == [OWNER]
    assert PATHS.marker(LONG, 1) in caplog.text
    assert "README" in caplog.text


@pytest.mark.parametrize("content", DAMAGE)
async def test_damaged_marker_whose_name_says_whose_it_is_still_does(content: bytes):
    store = MemoryStore()
    await store.put_new(PATHS.marker(OWNER, 1), content)
    await store.put_new(PATHS.marker(LONG, 1), b'{"kind": "session", "id": "%s"}' % LONG.id.encode())
    assert set(await active_owners(store, PATHS)) == {OWNER, LONG}


def test_host_is_not_let_go_under_a_request_that_waits_for_its_turn():
    async def play(scene: Scene) -> None:
        await scene.pool.close()
        scene.pool = impatient(scene, "i")  # in less time than a request waits for one that was lost
        await scene.opened()
        place = Place("c", number=2, after=1)
        async with asyncio.timeout(HANG_S):
            await scene.pool.ask(OWNER, Ask(commands=(start("r"),), place=place))
        assert len(await scene.memory.list(PATHS.epochs(OWNER))) <= 2

    played(play)
