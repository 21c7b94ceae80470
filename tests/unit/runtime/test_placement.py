"""Which sessions get an actor of their own: while there is room, once each, and none that is at work moves."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from support.waiting import HANG_S

from rojak_ray.errors import RayUnavailable
from rojak_ray.journal.paths import Owner
from rojak_ray.runtime.host_map import HostMap
from rojak_ray.runtime.placement import MOST_OWN_ACTORS, STARTS_AT_ONCE, Capacity, Placements
from rojak_ray.runtime.session_homes import SessionHomes
from rojak_ray.runtime.settings import Placement, RuntimeSettings, home_of, host_name, hosts_for, session_name
from rojak_ray.testing.clock import FakeClock

GIB = 1024**3


@dataclass
class FakeCluster:
    """Actors that are up as soon as the gate is open."""

    room: int = 4
    own: set[str] = field(default_factory=set)
    open_on_hosts: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    starting: int = 0
    most_starting: int = 0
    starts: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    async def capacity(self) -> Capacity:
        return Capacity(self.room / 2, 1000 * GIB)

    async def own_actors(self) -> set[str]:
        await asyncio.sleep(0)
        return set(self.own)

    async def start_session(self, session_id: str) -> None:
        self.starting += 1
        self.most_starting = max(self.most_starting, self.starting)
        await self.gate.wait()
        self.starting -= 1
        if session_id in self.broken:
            raise RayUnavailable("no node has room")
        self.starts += 1
        self.own.add(session_name(session_id))

    async def host_has(self, index: int, session_id: str) -> bool:
        await asyncio.sleep(0)
        return session_id in self.open_on_hosts


def placements(cluster: FakeCluster, placement: Placement = "auto") -> tuple[Placements, FakeClock]:
    clock = FakeClock()
    settings = RuntimeSettings(namespace="n", storage="s", placement=placement)
    return Placements(settings, cluster, clock, lambda: HostMap(2)), clock


def shared_name(session_id: str) -> str:
    return host_name(home_of(Owner("session", session_id), 2))


async def test_own_actors_while_there_is_room_then_shared_hosts() -> None:
    cluster = FakeCluster(room=4)
    places, _ = placements(cluster)
    ids = [f"s{number}" for number in range(6)]
    assert [await places.place(each) for each in ids] == [
        *(session_name(each) for each in ids[:4]),
        *(shared_name(each) for each in ids[4:]),
    ]


async def test_a_crowd_at_once_takes_no_more_than_the_room_and_starts_a_few_at_a_time() -> None:
    cluster = FakeCluster(room=4)
    cluster.gate.clear()
    places, _ = placements(cluster)
    ids = [f"s{number}" for number in range(200)]
    placing = [asyncio.ensure_future(places.place(each)) for each in ids]
    done: set[asyncio.Task[str | None]] = set()
    async with asyncio.timeout(HANG_S):
        while len(done) < 196:  # those that share a host wait for nobody's start
            done, _ = await asyncio.wait(placing, timeout=0.01)
    assert {task.result() for task in done} <= {host_name(0), host_name(1)}
    cluster.gate.set()
    names = await asyncio.gather(*placing)
    assert sum(name == session_name(each) for name, each in zip(names, ids, strict=True)) == 4 == cluster.starts
    assert cluster.most_starting <= STARTS_AT_ONCE


async def test_the_same_session_asked_for_by_many_is_started_once() -> None:
    cluster = FakeCluster()
    places, _ = placements(cluster)
    assert set(await asyncio.gather(*(places.place("s") for _ in range(50)))) == {session_name("s")}
    assert cluster.starts == 1


async def test_what_is_open_on_a_shared_host_stays_there_though_there_is_room() -> None:
    cluster = FakeCluster(room=4, open_on_hosts={"s"})
    places, clock = placements(cluster)
    assert await places.place("s") == shared_name("s")
    cluster.open_on_hosts.clear()
    assert await places.place("s") == shared_name("s"), "a program may be about to ask the host it was given"
    await clock.advance(31)
    assert await places.place("s") == session_name("s")


async def test_what_has_an_actor_keeps_it_though_there_is_no_room() -> None:
    cluster = FakeCluster(room=0, own={session_name("s")})
    places, _ = placements(cluster)
    assert await places.place("s") == session_name("s")


@pytest.mark.parametrize("placement", ["auto", "dedicated"])
async def test_an_actor_that_does_not_start(placement: Placement) -> None:
    cluster = FakeCluster(broken={"s"})
    places, _ = placements(cluster, placement)
    if placement == "auto":
        assert await places.place("s") == shared_name("s")
    else:
        with pytest.raises(RayUnavailable, match="no node has room"):
            await places.place("s")
    cluster.broken.clear()
    assert await places.place("other") == session_name("other"), "what it had reserved is free again"


@pytest.mark.parametrize(("placement", "own"), [("dedicated", 10), ("shared", 0)])
async def test_forced_placements_know_no_room(placement: Placement, own: int) -> None:
    cluster = FakeCluster(room=4)
    places, _ = placements(cluster, placement)
    names = [await places.place(f"s{number}") for number in range(10)]
    assert sum(str(name).startswith("SessionActor-") for name in names) == own


async def test_a_slow_start_is_asked_for_again_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rojak_ray.runtime.placement.REPLY_S", 0.01)
    cluster = FakeCluster()
    cluster.gate.clear()
    places, _ = placements(cluster)
    assert await places.place("s") is None
    cluster.gate.set()
    while (name := await places.place("s")) is None:
        pass
    assert name == session_name("s")
    assert cluster.starts == 1


@pytest.mark.parametrize(
    ("cpus", "gib", "most"), [(2, 24, 4), (2, 1, 1), (1000, 8000, MOST_OWN_ACTORS), (0, 0, 0), (8, 4, 6)]
)
def test_room_is_bound_by_cpus_memory_and_a_number(cpus: float, gib: float, most: int) -> None:
    assert Capacity(cpus, gib * GIB).own_actors == most
    assert most < 100


@pytest.mark.parametrize(("cpus", "hosts"), [(0, 2), (2, 2), (8, 2), (16, 4), (256, 64), (10_000, 64)])
def test_shared_hosts_follow_the_cpus(cpus: float, hosts: int) -> None:
    assert hosts_for(cpus) == hosts


async def test_a_program_forgets_homes_it_has_not_asked_for_long() -> None:
    clock = FakeClock()
    homes = SessionHomes(clock)
    homes.learn("s", "host")
    await clock.advance(100)
    assert homes.name_of("s", trusted_s=150) == "host"
    await clock.advance(100)
    assert homes.name_of("s", trusted_s=150) == "host", "it was asked meanwhile"
    await clock.advance(151)
    assert homes.name_of("s", trusted_s=150) is None
    homes.learn("s", "host")
    homes.forget("s")
    assert homes.name_of("s", trusted_s=150) is None
