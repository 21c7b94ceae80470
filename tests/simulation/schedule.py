"""The schedule of a seed: draw the conditions, let clients and bad luck loose, wait until all is settled, audit."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from dataclasses import dataclass, replace
from random import Random

from rojak_ray.core.commands import CancelRun, Command, Delete, OpenSession, Resume, StartRun, UpdateConfig
from rojak_ray.errors import (
    RunNotFound,
    SessionNotFound,
    SessionSetAside,
    StorageError,
    StoreRefused,
)
from rojak_ray.journal.paths import Owner
from rojak_ray.sessions.order import Sequencer
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.sessions.requests import Ask, Reply

from .audit import Truths, audit
from .loop import Stuck, VirtualLoop
from .network import Accident, Weather
from .work import ELABORATE, PLAIN, message
from .world import Conditions, World

_ENDED = {"completed", "failed", "cancelled", "timed_out"}
_SETTLE_S = 600.0
"""Virtual time in which everything accepted must have ended once the weather is clear."""

_CALLS = ("pay", "pay", "once", "count", "count", "flaky", "hand_over")


@dataclass(frozen=True)
class Report:
    """How a schedule went."""

    seed: int
    wrong: tuple[str, ...]
    luck: Counter[str]
    trace: tuple[str, ...] = ()


def run_schedule(seed: int, *, tracing: bool = False, crowded: bool = False) -> Report:
    """Run a seed's schedule; the same seed does the same. `crowded` if many processes want the same conversation."""
    random = Random(seed)
    loop = VirtualLoop(random)
    world = World(seed, random, loop, draw_conditions(random, crowded), tracing)
    gc_was_on = gc.isenabled()
    gc.disable()  # a killed process's generators must not be finished while others run
    try:
        wrong = loop.run(_play(world), deadline=world.conditions.ends_at + 4 * _SETTLE_S)
    except Stuck as stuck:
        wrong = [str(stuck)]
    finally:
        if gc_was_on:
            gc.enable()
    return Report(seed, (*wrong, *loop.complaints), world.luck, tuple(world.trace))


def draw_conditions(random: Random, crowded: bool = False) -> Conditions:
    """Some kinds of trouble and not others, so that each is met alone and with any other."""

    def some(most: float) -> float:
        return random.uniform(0, most) if random.random() < 0.5 else 0.0

    weather = Weather(
        lost_request=some(0.05),
        lost_reply=some(0.08),
        late=some(0.08),
        repeated=some(0.05),
        slow=some(0.05),
        torn=some(0.3),
        stalled_write=some(0.02),
        latest_s=random.choice((1, 10, 60)),
    )
    settings = PoolSettings(
        session_idle_s=random.choice((0.3, 2.0, 300.0)),
        run_idle_s=random.choice((0.3, 5.0)),
        sweep_s=random.choice((0.2, 1.0)),
        snapshot_bytes=random.choice((500, 3_000, 10_000, 256 * 1024)),
        probation_s=random.choice((1.0, 10.0)),
    )
    if crowded:
        return Conditions(
            weather=Weather(stalled_write=0.1),
            settings=replace(settings, snapshot_bytes=300),
            places=3,
            alone=False,
            stray=0.5,
            reply_grace_s=1.0,
            ends_at=20.0,
        )
    return Conditions(
        weather=weather,
        settings=settings,
        places=random.choice((1, 2, 2, 3)),
        alone=random.random() < 0.3,
        stray=random.choice((0.0, 0.1, 0.5)),
        reply_grace_s=random.choice((1.0, 5.0, 40.0)),
        ends_at=random.uniform(4.0, 20.0),
    )


async def _play(world: World) -> list[str]:
    random = world.random
    for _ in range(world.conditions.places):
        world.boot()
    owners = [Owner("session", f"s{number}") for number in range(random.choice((1, 1, 2)))]
    clients = [
        Client(world, owner, f"c{number}").session() for owner in owners for number in range(random.choice((1, 1, 2)))
    ]
    if random.random() < 0.25:
        owners.append(Owner("run", "r0"))
        clients += [Client(world, owners[-1], f"r{number}").run() for number in range(random.choice((1, 2)))]
    poison = random.random() < 0.03
    if poison:
        clients.append(Client(world, owners[0], "poisoner").poison())
    plan_bad_luck(world)
    world.later(world.conditions.ends_at, world.clear_up)  # also for clients that are still asking
    tasks = [asyncio.create_task(client) for client in clients]
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, BaseException):
            world.wrong.append(f"a client met {type(result).__name__}: {result}")
    await asyncio.sleep(max(0.0, world.conditions.ends_at - world.loop.time()))
    return [*world.wrong, *await settle(world, owners)]


def plan_bad_luck(world: World) -> None:
    """Kills, stalls, outages and more processes than there should be."""
    random, end = world.random, world.conditions.ends_at

    def someone(act: str) -> None:
        if world.processes and world.loop.time() < end:
            getattr(world, act)(random.choice(world.processes))

    def strike() -> None:
        """At a call to the store that is about to come."""
        if world.processes and world.loop.time() < end:
            wire = random.choice(world.processes).wire
            accidents: tuple[Accident, ...] = ("kill before", "kill after", "stall before", "stall after")
            wire.accidents[wire.calls + random.randint(1, 15)] = random.choice(accidents)

    def out(refusing: bool) -> None:
        until = min(end, world.loop.time() + 10 ** random.uniform(-0.5, 1.2))
        world.luck["refusing" if refusing else "outage"] += 1
        world.note("world", f"{'read-only' if refusing else 'outage'} until {until:.2f}")
        struck = world.every if random.random() < 0.7 else [random.choice(world.every)]
        for process in struck:
            setattr(process.wire, "refusing_until" if refusing else "out_until", until)
        if struck is world.every:
            setattr(world, "refusing_until" if refusing else "out_until", until)

    for _ in range(random.choice((0, 1, 2, 4))):
        world.later(random.uniform(0, 3.0), strike)
    for act in ("kill", "stall"):
        for _ in range(random.choice((0, 0, 1, 2))):
            world.later(random.uniform(0, 4.0), lambda act=act: someone(act))
    for _ in range(random.choice((0, 0, 1))):
        world.later(random.uniform(0, 4.0), world.boot)
    if random.random() < 0.2:
        refusing = random.random() < 0.3
        world.later(random.uniform(0, 4.0), lambda: out(refusing))


class Client:
    """Somebody who asks one owner, and asks again when the outcome is unknown."""

    def __init__(self, world: World, owner: Owner, name: str) -> None:
        self.world = world
        self.owner = owner
        self.name = name
        self.random = world.random
        self.sequencer = Sequencer(f"{owner}-{name}")
        self.openings = 0

    def opening(self) -> OpenSession:
        self.openings += 1
        return OpenSession(
            owner_kind="run" if self.owner.kind == "run" else "session",
            owner_id=self.owner.id,
            incarnation=f"{self.owner.id}-{self.name}-{self.openings}",
            agent=ELABORATE if self.random.random() < 0.2 else PLAIN,
            debug=False,
        )

    async def session(self) -> None:
        """Open it, send some messages, and perhaps change, cancel or delete it in between."""
        deletes = self.random.random() < 0.05
        await self.insist((self.opening(),))
        sending: list[asyncio.Task[None]] = []
        for number in range(self.random.choice((1, 2, 3))):
            run_id = f"{self.owner.id}.{self.name}.{number}"
            patient = self.random.random() < 0.6
            sending.append(asyncio.create_task(self.send(run_id, self.turns(), patient)))
            if self.random.random() < 0.8:
                await sending[-1]
            await asyncio.sleep(self.random.choice((0.0, 0.0, 0.5, 3.0)))
            dice = self.random.random()
            if dice < 0.05:
                await self.insist((CancelRun(),))
            elif dice < 0.15:
                await self.insist((UpdateConfig(max_turns=50),))
            elif dice < 0.2:
                await self.insist((), view=True)
            elif deletes:
                await self.insist((Delete(),))
        for task in sending:
            await task

    async def run(self) -> None:
        """The same run from several programs, or once."""
        start = StartRun(
            run_id=self.owner.id, input_digest="d", messages=(message(self.owner.id, [["pay"], ["count"]]),)
        )
        await self.request((self.opening(), start), self.owner.id, patient=self.random.random() < 0.7)

    async def poison(self) -> None:
        """A request that ends every process that takes it up."""
        await self.insist((self.opening(),))
        run_id = f"{self.owner.id}.{self.name}.0"
        await self.send(run_id, [["poison"]], patient=True)

    def turns(self) -> list[list[str]]:
        random = self.random
        turns = [
            [random.choice(_CALLS) for _ in range(random.choice((1, 1, 2, 3)))]
            for _ in range(random.choice((0, 1, 1, 2)))
        ]
        if turns and random.random() < 0.03:
            turns[0].append("write")
        return turns

    async def send(self, run_id: str, turns: list[list[str]], patient: bool) -> None:
        start = StartRun(run_id=run_id, input_digest="d", messages=(message(run_id, turns),))
        await self.request((start,), run_id, patient=patient)

    async def request(self, commands: tuple[Command, ...], run_id: str, *, patient: bool) -> None:
        """Ask until it is accepted and, if patient, until it has an outcome."""
        reply = await self.insist(commands, run_id if patient else None)
        while patient and reply is not None and (reply.run is None or reply.run.status not in _ENDED):
            reply = await self.insist((), run_id)

    async def insist(
        self, commands: tuple[Command, ...], run_id: str | None = None, view: bool = False
    ) -> Reply | None:
        """Ask until there is an answer; None if what was asked for is gone."""
        while True:
            ask = Ask(commands=commands, await_run=run_id, wait_s=20.0 if run_id else 0.0, view=view)
            self.world.note(f"{self.owner.id}.{self.name}", f"asks {[c.kind for c in commands]} {run_id}")
            try:
                reply = await self.world.ask(self.sequencer, self.owner, ask)
            except SessionNotFound:
                if not any(isinstance(command, StartRun) for command in commands):
                    return None
                # Somebody deleted it: this is for another session of that name, whose steps have other keys.
                commands = (self.opening(), *(one for one in commands if not isinstance(one, OpenSession)))
            except RunNotFound:
                return None
            except SessionSetAside:
                await self.free()
            except StorageError as error:
                self.world.note(f"{self.owner.id}.{self.name}", f"met {type(error).__name__}: {error}")
                if not error.retryable and not isinstance(error, StoreRefused):
                    raise
                await asyncio.sleep(self.random.uniform(0.1, 2.0))
                commands = tuple(self.opening() if isinstance(one, OpenSession) else one for one in commands)
            else:
                status = reply.run.status if reply.run else reply.created
                self.world.note(f"{self.owner.id}.{self.name}", f"is told {status}")
                return reply

    async def free(self) -> None:
        """What a person does about a conversation that was set aside."""
        self.world.luck["set aside"] += 1
        poisoned = self.world.luck["poisoned"] > 0
        await self.insist((CancelRun(),) if poisoned else (Resume(),))


async def settle(world: World, owners: list[Owner]) -> list[str]:
    """Wait, asking nothing, until every accepted run has ended; then compare with a process that knows nothing."""
    until = world.loop.time() + _SETTLE_S
    truths = Truths(world)
    while True:
        await asyncio.sleep(5.0)
        if await _at_rest(world, truths, owners):
            await asyncio.sleep(world.conditions.weather.latest_s + 10.0)  # the last late writes
            # A process that has gone on may have found more to do: requests that had been waiting in it all the time.
            if await _at_rest(world, truths, owners):
                break
        if world.loop.time() > until:
            left = {str(owner): await _unfinished(truths, owner) for owner in owners}
            return [f"accepted runs do not go on by themselves: {left}"]
    wrong = [text for owner in owners for text in await audit(truths, owner)]
    if wrong:
        return wrong
    return await _ask_a_new_process(world, owners)


async def _at_rest(world: World, truths: Truths, owners: list[Owner]) -> bool:
    """Whether nothing runs anywhere and nothing accepted is left to run."""
    busy = any(process.pool.statistics().busy_hosts or process.lane.frozen for process in world.processes)
    return not busy and not [run for owner in owners for run in await _unfinished(truths, owner)]


async def _unfinished(truths: Truths, owner: Owner) -> list[str]:
    try:
        return (await truths.of(owner)).unfinished()
    except Exception:  # noqa: BLE001  (the audit says what is wrong with it)
        return []  # the audit says what is wrong with it


async def _ask_a_new_process(world: World, owners: list[Owner]) -> list[str]:
    truths = Truths(world)
    for process in list(world.processes):
        world.processes.remove(process)
        world.loop.kill(process.lane)
    world.boot()
    wrong: list[str] = []
    for owner in owners:
        truth = await truths.of(owner)
        if not truth.state.opened or owner.kind == "run" or truth.state.set_aside:
            continue
        client = Client(world, owner, "last")
        run_id = f"{owner.id}.last.0"
        await client.send(run_id, [], patient=True)
        reply = await client.insist((), view=True)
        if reply is None or reply.view is None or len(reply.view.history) != len(truth.state.history) + 2:
            wrong.append(f"{owner}: a new process has another history")
    return [*wrong, *[text for owner in owners for text in await audit(truths, owner)]]
