"""Owners move between shared hosts as these become more or fewer: never while they work, and never to two at once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from rojak_ray.journal.paths import Owner
from rojak_ray.runtime.host_keeping import HostKeeper
from rojak_ray.runtime.host_map import Demand, HostMap, Moved
from rojak_ray.runtime.moving import MovedAway, Residents
from rojak_ray.runtime.session_homes import Residences
from rojak_ray.testing.clock import FakeClock

OWNERS = [Owner("session", f"s{number}") for number in range(6)]


class Pool:
    """Opens what it is asked for; opening and letting go take a while."""

    def __init__(self, world: World, index: int) -> None:
        self.world, self.index = world, index
        self.open: set[Owner] = set()
        self.leaving: set[Owner] = set()
        self.working: Counter[Owner] = Counter()

    @property
    def owners(self) -> list[Owner]:
        return [*self.open, *self.leaving]

    def has(self, owner: Owner) -> bool:
        return owner in self.open or owner in self.leaving

    async def dismiss(self, owner: Owner) -> bool:
        if owner in self.open and not self.working[owner]:
            self.open.discard(owner)
            self.leaving.add(owner)
            await self.world.pause()
            self.leaving.discard(owner)
        return not self.has(owner)

    async def work(self, owner: Owner) -> None:
        """Open an owner if need be, and do something for it that others must not cut short."""
        await self.world.pause()
        while owner in self.leaving:
            await self.world.pause()
        self.open.add(owner)
        self.working[owner] += 1
        others = [pool for index, pool in self.world.pools.items() if index != self.index and pool.working[owner]]
        self.world.cut += [f"{owner} at {self.index} while {pool.index} works" for pool in others]
        await self.world.clock.sleep(self.world.random.choice((0.0, 0.0, 3.0, 70.0)))
        self.working[owner] -= 1


@dataclass
class World:
    """Hosts, programs and a catalog in one event loop, which the seed takes in turns. Also `Hosts` and `Elsewhere`."""

    seed: int
    cores: float = 8
    clock: FakeClock = field(default_factory=FakeClock)
    pools: dict[int, Pool] = field(default_factory=dict)
    hosts: dict[int, Residents] = field(default_factory=dict)
    cut: list[str] = field(default_factory=list)
    answered: int = 0
    keeper: HostKeeper | None = None

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    async def pause(self) -> None:
        for _ in range(self.random.choice((0, 0, 1, 2, 5))):
            await asyncio.sleep(0)

    async def cpus(self) -> float:
        return self.cores

    async def maps(self) -> list[HostMap]:
        return [residents.hosts for residents in self.hosts.values()]

    async def start(self, index: int) -> None:
        if index not in self.hosts:
            self.pools[index] = pool = Pool(self, index)
            assert self.keeper is not None
            self.hosts[index] = Residents(index, self.keeper.current, pool, self, self.clock)

    async def stop(self, hosts: HostMap) -> None:
        for index in [each for each in self.hosts if each >= hosts.hosts]:
            assert not self.pools[index].owners, "it had something open"
            del self.hosts[index], self.pools[index]

    async def settle(self, index: int, hosts: HostMap) -> int | None:
        await self.pause()
        if index not in self.hosts:
            return 0
        return await asyncio.shield(self.hosts[index].settle(hosts))  # it goes on if the catalog is lost

    async def release(self, index: int, owner: Owner, hosts: HostMap) -> bool | None:
        await self.pause()
        return await self.hosts[index].release(owner, hosts) if index in self.hosts else True

    async def kill(self, index: int) -> None:
        """A host dies with all that is open there; Ray starts it again, and the catalog tells it the map."""
        if index in self.hosts:
            del self.hosts[index], self.pools[index]
            await self.start(index)

    async def ask(self, residences: Residences, owner: Owner) -> None:
        """A program that asks until it has its answer."""
        for _ in range(1000):
            index = residences.of(owner)
            await self.pause()
            await self.start(index)
            residents, pool = self.hosts[index], self.pools[index]
            residents.learn(residences.hosts)
            try:
                async with residents.entering(owner):
                    await pool.work(owner)
            except MovedAway as away:
                moved = Moved.unpack(away.moved.pack())
                if moved is not None:
                    residences.learn(owner, moved)
                await self.pause()
            else:
                self.answered += 1
                return
        raise AssertionError(f"{owner} was sent around for ever")


async def play(seed: int, *, kills: bool) -> World:
    world = World(seed)
    world.keeper = keeper = HostKeeper(2, world, world.clock, follows=True)
    await keeper.begin()
    for index in range(2):
        await world.start(index)
    programs = [Residences(keeper.current) for _ in range(3)]
    asking: list[asyncio.Task[None]] = []
    for _ in range(40):
        for _ in range(world.random.randrange(4)):
            ask = world.ask(world.random.choice(programs), world.random.choice(OWNERS))
            asking.append(asyncio.create_task(ask))
        await world.pause()
        if world.random.random() < 0.2:
            world.cores = world.random.choice((8, 12, 16, 28))
        await world.clock.advance(world.random.choice((1.0, 4.0, 61.0)))
        stepping = asyncio.create_task(keeper.step())
        await world.pause()
        if kills and world.random.random() < 0.2:
            await world.kill(world.random.choice(list(world.hosts)))
        if kills and world.random.random() < 0.1:
            stepping.cancel()  # the catalog is lost, and its next life asks the hosts
            await asyncio.gather(stepping, return_exceptions=True)
            world.keeper = keeper = HostKeeper(2, world, world.clock, follows=True, again=True)
            await keeper.begin()
        else:
            await stepping
    while not all(each.done() for each in asking):
        await world.clock.advance(10.0)
        await keeper.step()
    await asyncio.gather(*asking)
    for _ in range(4):
        await world.clock.advance(61.0)
        await keeper.step()
    assert world.answered == len(asking)
    assert keeper.current.former == (), "all have moved"
    homes = {index: pool.owners for index, pool in world.pools.items() if index < keeper.current.count}
    assert all(keeper.current.home(owner) == index for index, owners in homes.items() for owner in owners)
    return world


@pytest.mark.parametrize("first", range(0, 30, 15))
async def test_nobody_is_cut_short_by_a_move(first: int) -> None:
    for seed in range(first, first + 15):
        assert (await play(seed, kills=False)).cut == []


@pytest.mark.parametrize("first", range(1))
async def test_everybody_is_answered_and_comes_home_whatever_is_lost(first: int) -> None:
    for seed in range(first, first + 20):
        await play(seed, kills=True)


async def test_without_asking_the_former_home_work_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ablation: the simulation would notice."""
    monkeypatch.setattr(HostMap, "homes", lambda self, owner: (self.home(owner),))
    assert any([(await play(seed, kills=False)).cut for seed in range(8)])


def test_a_map_moves_few_and_remembers_where_they_were() -> None:
    two = HostMap(2, version=5)
    three = two.changed(3)
    owners = [Owner("run", str(number)) for number in range(300)]
    moved = [owner for owner in owners if three.home(owner) != two.home(owner)]
    assert all(three.home(owner) == 2 for owner in moved)
    assert 60 < len(moved) < 140
    assert all(three.homes(owner) == (2, two.home(owner)) for owner in moved)
    assert three.changed(2).former == (3,), "back again"
    assert three.hosts == 3 == three.changed(2).hosts
    assert three.settled() == HostMap(3, (), 7)
    assert two.newer(three) is three.newer(two) is three
    assert HostMap.of_plain(three.plain()) == three
    assert Moved.unpack(b'{"created": true}') is None


def test_nodes_have_to_stay_before_hosts_follow() -> None:
    hosts = HostMap(2)
    demand = Demand(2, 0.0).after(16, 10.0)
    assert demand.due(hosts, 11.0, 60.0) is None
    assert demand.due(hosts, 13.0, 60.0) == 4
    back = demand.after(8, 14.0)
    assert back.due(hosts, 99.0, 60.0) is None
    fewer = Demand(4, 0.0).after(8, 10.0)
    assert fewer.due(HostMap(4), 60.0, 60.0) is None, "a node that is started again moves nobody"
    assert fewer.due(HostMap(4), 70.0, 60.0) == 2
