"""One schedule: processes, clients, bad luck, all of it from a seed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from rojak_ray.concurrency import background
from rojak_ray.core.commands import StartRun
from rojak_ray.errors import InternalError, RojakError, StoreUnavailable
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.reign.reign import Reign
from rojak_ray.sessions.alarm import AlarmClock
from rojak_ray.sessions.order import Sequencer
from rojak_ray.sessions.pool import HostPool
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.sessions.requests import Ask, Reply

from .loop import Lane, VirtualLoop
from .network import CLEAR, Accident, Bucket, Weather, Wire
from .work import Outside, Worker

PATHS = Paths("sim")


class ProcessLost(Exception):
    """The process that was asked is gone."""


class LaneClock:
    """Virtual time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class LaneIds:
    """Ids that no other process has."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._count = 0

    def new_id(self) -> str:
        self._count += 1
        return f"{self._prefix}-{self._count}"


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a schedule is like; drawn from its seed."""

    weather: Weather
    settings: PoolSettings
    places: int
    """Processes at the beginning."""

    alone: bool
    """Whether each holds one conversation only."""

    stray: float
    """How often a request goes to another process than its owner's."""

    reply_grace_s: float
    ends_at: float
    """From then on the weather is clear and nobody is killed."""


class Process:
    """One life of a process: a real pool, with its own wire, ids and executor."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.lane = Lane(name)
        loop = world.loop
        clear = loop.time() >= world.conditions.ends_at
        weather = CLEAR if clear else world.conditions.weather
        self.wire = Wire(loop, world.random, world.bucket, self.lane, weather)
        self.wire.on_accident = lambda accident: world.accident(self, accident)
        self.wire.on_trouble = lambda kind, operation, key: world.trouble(self.name, kind, operation, key)
        self.wire.out_until, self.wire.refusing_until = world.out_until, world.refusing_until
        self.calls: dict[asyncio.Future[Reply | RojakError], None] = {}  # in order: the same seed does the same
        self.world = world
        self.pool = HostPool(
            self.wire,
            PATHS,
            Worker(world.outside, name, lambda: world.die_of_poison(self)),
            LaneClock(loop),
            LaneIds(name),
            world.conditions.settings,
            alone=world.conditions.alone,
            reign=self.make_reign(),
        )
        self.lane.context.run(self.begin)

    def make_reign(self) -> Reign:
        """Processes of one cluster: each may open anything."""
        return Reign.sole()

    def begin(self) -> None:
        """What it does by itself; in its own lane."""
        world, name, loop = self.world, self.name, self.world.loop
        alarm = AlarmClock(self.wire, PATHS, LaneClock(loop), lambda owner, ask: world.ask(Sequencer(name), owner, ask))
        loop.create_task(self._recover(), context=self.lane.context)
        self.ringing = background("ring timers", lambda: alarm.run(1.0), LaneClock(loop))

    async def _recover(self) -> None:
        """What the actors do when they begin."""
        try:
            await self.pool.recover(lambda owner: True)
        except RojakError as error:
            self.world.note(self.name, f"recovery failed: {error}")

    async def serve(self, owner: Owner, ask: Ask, answer: asyncio.Future[Reply | RojakError]) -> None:
        """Answer over the network, as an actor does: errors are values."""
        result: Reply | RojakError
        try:
            result = await self.pool.ask(owner, ask)
        except RojakError as error:
            result = error
        except Exception as error:  # noqa: BLE001  (the actor boundary)
            result = InternalError(f"{type(error).__name__}: {error}")
        self.world.travel(lambda: answer.done() or answer.set_result(result))


@dataclass
class Acknowledged:
    """A reply that reached its client."""

    asked: float
    at: float
    owner: Owner
    ask: Ask
    reply: Reply


@dataclass
class World:
    """Everything of one schedule."""

    seed: int
    random: Random
    loop: VirtualLoop
    conditions: Conditions
    tracing: bool = False
    trace: list[str] = field(default_factory=list[str])
    luck: Counter[str] = field(default_factory=Counter[str])
    processes: list[Process] = field(default_factory=list[Process])
    every: list[Process] = field(default_factory=list[Process])
    sent: dict[str, float] = field(default_factory=dict[str, float])
    """When a run was first asked for."""

    acknowledged: list[Acknowledged] = field(default_factory=list[Acknowledged])
    wrong: list[str] = field(default_factory=list[str])
    out_until: float = 0.0
    refusing_until: float = 0.0

    def __post_init__(self) -> None:
        self.bucket = Bucket(self.loop)
        self.outside = Outside(self.random, self.loop.time)

    # Processes.

    def new_process(self, name: str) -> Process:
        return Process(self, name)

    def boot(self) -> Process:
        process = self.new_process(f"p{len(self.every) + 1}")
        self.every.append(process)
        self.processes.append(process)
        self.note(process.name, "begins")
        return process

    def kill(self, process: Process) -> None:
        """It is gone; somebody starts another one in its place before long."""
        if process.lane.dead:
            return
        self.note(process.name, "killed")
        self.luck["killed"] += 1
        self.loop.kill(process.lane)
        self.processes.remove(process)
        for call in process.calls:
            self.travel(lambda call=call: call.done() or call.set_exception(ProcessLost()))
        self.later(self.random.uniform(0.05, 2.0), self.boot)

    def stall(self, process: Process) -> None:
        """It is stopped for a while and does not know."""
        if process.lane.dead or process.lane.frozen:
            return
        length = 10 ** self.random.uniform(-1.5, 2.0)
        self.note(process.name, f"stalls for {length:.2f} s")
        self.luck["stalled"] += 1
        self.loop.freeze(process.lane)

        def thaw() -> None:
            self.note(process.name, "goes on")
            self.loop.thaw(process.lane)

        self.later(length, thaw)

    def accident(self, process: Process, accident: Accident) -> bool:
        """Whether it strikes: there is a time after which nothing does."""
        if self.loop.time() >= self.conditions.ends_at:
            return False
        if accident.startswith("kill"):
            self.kill(process)
        else:
            self.stall(process)
        return True

    async def die_of_poison(self, process: Process) -> None:
        self.luck["poisoned"] += 1
        self.kill(process)
        await self.loop.create_future()

    def clear_up(self) -> None:
        """The network is well from now on."""
        for process in self.every:
            process.wire.weather = CLEAR
            process.wire.out_until = process.wire.refusing_until = 0.0

    # The network between clients and processes.

    async def ask(self, sequencer: Sequencer, owner: Owner, ask: Ask) -> Reply:
        """What a gateway does: a process that dies is asked again in its next life; one that is silent is given up."""
        asked = self.loop.time()
        place = sequencer.enter(owner) if ask.commands else None
        sent = ask.model_copy(update={"place": place}) if place else ask
        for command in ask.commands:
            if isinstance(command, StartRun):
                self.sent.setdefault(command.run_id, self.loop.time())
        try:
            while True:
                try:
                    async with asyncio.timeout(ask.wait_s + self.conditions.reply_grace_s):
                        answer = await self._call(owner, sent)
                except ProcessLost:
                    await asyncio.sleep(self.random.uniform(0.05, 1.0))
                    continue
                except TimeoutError:
                    self.luck["no reply"] += 1
                    raise StoreUnavailable(f"The host of {owner} did not answer in time; ask again.") from None
                break
        finally:
            if place is not None:
                sequencer.leave(owner, place)
        if isinstance(answer, RojakError):
            raise answer
        self.acknowledged.append(Acknowledged(asked, self.loop.time(), owner, ask, answer))
        return answer

    async def _call(self, owner: Owner, ask: Ask) -> Reply | RojakError:
        process = self._home(owner)
        if process is None:
            raise ProcessLost
        answer: asyncio.Future[Reply | RojakError] = self.loop.create_future()

        def arrive() -> None:
            if process.lane.dead:
                answer.done() or answer.set_exception(ProcessLost())
            else:
                self.loop.create_task(process.serve(owner, ask, answer), context=process.lane.context)

        process.calls[answer] = None
        self.travel(arrive)
        try:
            return await answer
        finally:
            process.calls.pop(answer, None)

    def _home(self, owner: Owner) -> Process | None:
        if not self.processes:
            return None
        if self.random.random() < self.conditions.stray:
            return self.random.choice(self.processes)
        return self.processes[sum(owner.id.encode()) % len(self.processes)]

    def travel(self, act: Callable[[], Any]) -> None:
        """A message on its way."""
        self.later(self.random.uniform(0.0, 0.01), act)

    def later(self, delay: float, act: Callable[[], Any]) -> None:
        self.loop.call_later(delay, act, context=self.loop.world.context)

    # What happened.

    def note(self, who: str, what: str) -> None:
        if self.tracing:
            self.trace.append(f"{self.loop.time():9.4f} {who:>6} {what}")

    def trouble(self, who: str, kind: str, operation: str, key: str) -> None:
        self.luck[kind] += 1
        self.note(who, f"{kind}: {operation} {key}")
