"""Ids of runs that nobody named: near a host that is up, then anywhere."""

from __future__ import annotations

from rojak_ray.journal.paths import Owner
from rojak_ray.runtime.nearby import NearbyIds
from rojak_ray.runtime.settings import home_of
from rojak_ray.testing.clock import FakeClock


def homes(ids: NearbyIds, hosts: int, count: int = 200) -> set[int]:
    return {home_of(Owner("run", ids.new_id()), hosts) for _ in range(count)}


async def test_near_the_host_that_is_up_then_anywhere() -> None:
    clock = FakeClock()
    ids = NearbyIds(clock)
    assert homes(ids, 2) == {0, 1}
    ids.prefer(1, hosts=2, for_s=2.0)
    assert homes(ids, 2) == {1}
    await clock.advance(2.0)
    assert homes(ids, 2) == {0, 1}


def test_ids_are_fresh() -> None:
    ids = NearbyIds(FakeClock())
    ids.prefer(0, hosts=2, for_s=2.0)
    assert len({ids.new_id() for _ in range(200)}) == 200


def test_a_host_that_is_not_there_is_not_looked_for_for_ever() -> None:
    ids = NearbyIds(FakeClock())
    ids.prefer(7, hosts=2, for_s=2.0)
    assert ids.new_id()
