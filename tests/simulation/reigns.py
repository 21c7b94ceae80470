"""Schedules of two clusters on one bucket: take-overs, kills, stalls and partitions, with steps that take a while.

A cluster is one process here: its keeper, its pool and its alarm clock, over a wire of its own. Calm schedules know no
trouble but take-overs, so in them nothing may run twice; rough ones are held to what every schedule is held to.
"""

from __future__ import annotations

import asyncio
import functools
import gc
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Literal

from rojak_ray.concurrency import background
from rojak_ray.core.steps import CallFunction
from rojak_ray.journal.paths import Owner
from rojak_ray.reign.duties import follow
from rojak_ray.reign.keeper import ReignKeeper
from rojak_ray.reign.records import Claim
from rojak_ray.reign.reign import Reign
from rojak_ray.reign.succession import ReignSettings
from rojak_ray.sessions.alarm import AlarmClock
from rojak_ray.sessions.pool_settings import PoolSettings

from .loop import Stuck, VirtualLoop
from .network import CLEAR, Weather
from .schedule import Client, Report, settle
from .work import Outside
from .world import PATHS, Conditions, LaneClock, Process, World

Without = Literal["standing by", "letting steps end"]
"""A part of the protocol that is taken out."""

SETTLE_S = 600.0
SETTINGS = ReignSettings()


class SlowOutside(Outside):
    """Steps take up to 40 seconds, which is less than a cluster has to let them end."""

    def duration(self) -> float:
        return self._random.choice((0.0, 0.05, 1.0, self._random.uniform(0, 40.0)))


class Cluster(Process):
    """One life of a cluster. Each life is a cluster of its own, as a Ray that is started again is."""

    def make_reign(self) -> Reign:
        world = self.world
        assert isinstance(world, ReignWorld)
        self.keeper = ReignKeeper(self.wire, PATHS, _claim(self.name), LaneClock(world.loop), SETTINGS)
        self.keeper.drained = self._is_drained
        self._let_go = 0
        return Reign.sole() if world.without == "standing by" else self.keeper.reign

    def begin(self) -> None:
        world, clock = self.world, LaneClock(self.world.loop)
        assert isinstance(world, ReignWorld)
        self._alarm = AlarmClock(self.wire, PATHS, clock, lambda owner, ask: self.pool.ask(owner, ask))
        self._ringing: asyncio.Task[None] | None = None
        if world.without == "standing by":
            background("recover", self._rule, clock)
            return
        background("keep the reign", self.keeper.run, clock, longest_pause_s=5.0)
        background("obey", functools.partial(follow, self.keeper.reign, self._rule, self._yield), clock)

    async def _rule(self) -> None:
        self.world.note(self.name, "rules")
        if self._ringing is None:
            self._ringing = background("ring", lambda: self._alarm.run(1.0), LaneClock(self.world.loop))
        await self.pool.recover(lambda owner: True)

    async def _yield(self) -> None:
        assert isinstance(self.world, ReignWorld)
        number = self.keeper.reign.standing.number
        self.world.note(self.name, f"{self.keeper.reign.standing.duty} in reign {number}")
        ringing, self._ringing = self._ringing, None
        if ringing is not None:
            ringing.cancel()
        if self.world.without != "letting steps end":
            await self.pool.hand_over(lambda owner: True)
        self._let_go = number

    async def _is_drained(self, number: int) -> bool:
        return self._let_go == number


@dataclass
class ReignWorld(World):
    """A world in which a killed cluster is replaced by another one."""

    without: Without | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.outside = SlowOutside(self.random, self.loop.time)

    def new_process(self, name: str) -> Process:
        return Cluster(self, name)

    def order(self) -> None:
        """Somebody wants a cluster to take over, without knowing which one rules."""
        if self.processes and self.loop.time() < self.conditions.ends_at:
            chosen = self.random.choice(self.processes)
            assert isinstance(chosen, Cluster)
            self.luck["ordered"] += 1
            self.note(chosen.name, "is told to take over")
            self.loop.call_soon(chosen.keeper.order, context=chosen.lane.context)

    def cut_off(self) -> None:
        """A cluster cannot reach the storage for a while."""
        if self.processes and self.loop.time() < self.conditions.ends_at:
            chosen = self.random.choice(self.processes)
            length = 10 ** self.random.uniform(0, 2)
            self.luck["cut off"] += 1
            self.note(chosen.name, f"is cut off for {length:.1f} s")
            chosen.wire.out_until = min(self.conditions.ends_at, self.loop.time() + length)


def run_reigns(seed: int, *, calm: bool, without: Without | None = None, tracing: bool = False) -> Report:
    """Run a seed's schedule; the same seed does the same."""
    random = Random(seed)
    loop = VirtualLoop(random)
    world = ReignWorld(seed, random, loop, _conditions(random, calm), tracing, without=without)
    gc_was_on = gc.isenabled()
    gc.disable()  # a killed process's generators must not be finished while others run
    try:
        wrong = loop.run(_play(world, calm), deadline=world.conditions.ends_at + 6 * SETTLE_S)
    except Stuck as stuck:
        wrong = [str(stuck)]
    finally:
        if gc_was_on:
            gc.enable()
    return Report(seed, (*wrong, *loop.complaints), world.luck, tuple(world.trace))


def _conditions(random: Random, calm: bool) -> Conditions:
    weather = Weather(lost_request=0.02, lost_reply=0.03, late=0.03, slow=0.03, latest_s=10)
    settings = PoolSettings(
        session_idle_s=random.choice((2.0, 300.0)), run_idle_s=5.0, sweep_s=1.0, snapshot_bytes=10_000
    )
    return Conditions(
        weather=CLEAR if calm or random.random() < 0.5 else weather,
        settings=settings,
        places=2,
        alone=False,
        stray=0.5,
        reply_grace_s=40.0,
        ends_at=random.uniform(60.0, 240.0),
    )


async def _play(world: ReignWorld, calm: bool) -> list[str]:
    random, end = world.random, world.conditions.ends_at
    world.boot()
    world.later(random.uniform(0.0, 20.0), world.boot)
    owners = [Owner("session", f"s{number}") for number in range(random.choice((1, 2)))]
    clients = [Client(world, owner, f"c{number}").session() for owner in owners for number in range(2)]
    for _ in range(random.choice((0, 1, 1, 2, 3))):
        world.later(random.uniform(5.0, end), world.order)
    if not calm:
        for act in (lambda: _anyone(world, "kill"), lambda: _anyone(world, "stall"), world.cut_off):
            for _ in range(random.choice((0, 1, 2))):
                world.later(random.uniform(0.0, end), act)
    world.later(end, world.clear_up)
    tasks = [asyncio.create_task(client) for client in clients]
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, BaseException):
            world.wrong.append(f"a client met {type(result).__name__}: {result}")
    await asyncio.sleep(max(0.0, end - world.loop.time()))
    executed = list(world.outside.executions)
    wrong = [*world.wrong, *await settle(world, owners)]
    return [*wrong, *(_repeated(executed) if calm else [])]


def _anyone(world: World, act: Literal["kill", "stall"]) -> None:
    if world.processes and world.loop.time() < world.conditions.ends_at:
        getattr(world, act)(world.random.choice(world.processes))


def _repeated(executions: list[object]) -> list[str]:
    """What ran twice although nobody died and nothing failed."""
    counted = Counter(
        one.step.idempotency_key  # type: ignore[attr-defined]
        for one in executions
        if not (isinstance(one.step, CallFunction) and one.step.call.name == "flaky")  # type: ignore[attr-defined]
    )
    return [f"{key} ran {times} times" for key, times in counted.items() if times > 1]


def _claim(name: str) -> Claim:
    return Claim(number=0, cluster=name, mode="ray", place=name, library="simulated", at="")
