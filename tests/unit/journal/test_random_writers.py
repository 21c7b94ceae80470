"""Seeded schedules of two or three writers that stall, lose replies and die. The seed is in the failure.

Every writer appends numbered events; what was acknowledged must be in the journal exactly once, in its writer's order
and after everything that was acknowledged before its append began. Whoever opens the journal must find everything that
was acknowledged before it did.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from random import Random

import pytest
from support.journals import OWNER, PATHS, Desk, Operation, doubled, note, tags_in

from rojak_ray.errors import Fenced, ObjectExists, ObjectNotFound, StoreUnavailable
from rojak_ray.journal.replay import replay

SEEDS_PER_CASE = 20
WRITES_PER_WRITER = 5
LIVES = 3


class Simulation:
    """One seed: a desk of writers, bad luck, and what was acknowledged."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.desk = Desk()
        self.acknowledged: list[str] = []
        self.began: dict[str, int] = {}
        """How much was acknowledged when the append of a tag began."""

        self.luck: Counter[str] = Counter()
        self.late: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        names = ["x", "y", "z"][: self.random.choice((2, 2, 3))]
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(self.lives(name))
        await asyncio.gather(*self.late)
        self.audit(tags_in((await replay(self.desk.memory, PATHS, OWNER)).state))
        journal = self.desk.journal()
        self.audit(tags_in(await journal.open()))
        await journal.append(note("end"))

    async def lives(self, name: str) -> None:
        """A writer that is killed now and then, and started again by somebody who does not know of the others."""
        tags = iter([f"{name}{number}" for number in range(LIVES * WRITES_PER_WRITER * 2)])
        for _ in range(LIVES):
            life = asyncio.create_task(self.life(tags))
            if self.random.random() < 0.4:
                await self.pause(self.random.randint(1, 60))
                life.cancel()
                self.luck["killed"] += 1
            with contextlib.suppress(asyncio.CancelledError):
                await life

    async def life(self, tags) -> None:
        journal = self.desk.journal(self.weather)
        before = list(self.acknowledged)
        try:
            found = tags_in(await journal.open())
            missing = [tag for tag in before if tag not in found]
            assert not missing, f"opened without {missing}"
            for _ in range(WRITES_PER_WRITER):
                batch = [next(tags) for _ in range(self.random.choice((1, 1, 2)))]
                self.began |= dict.fromkeys(batch, len(self.acknowledged))
                await journal.append(note(*batch))
                self.acknowledged += batch
                await self.pause(self.random.choice((0, 1, 3, 15)))
        except Fenced:
            self.luck["fenced"] += 1
        except StoreUnavailable:
            self.luck["gave up"] += 1

    async def weather(self, operation: Operation):
        """One store call: late, lost, repeated, or plain."""
        await self.pause(self.random.choice((0, 0, 0, 1, 1, 2, 25 if self.random.random() < 0.1 else 0)))
        dice = self.random.random()
        if dice < 0.02:
            raise self.no_answer("not done")
        if operation.name == "put_new" and dice < 0.16:
            if dice < 0.08:
                self.late.add(asyncio.create_task(self.land(operation, self.random.randint(1, 40))))
                raise self.no_answer("lands later")
            await operation.run()  # raises if the key is taken, as a store does
            if dice < 0.12:
                self.luck["repeated by the client"] += 1
                raise ObjectExists("the client's second attempt met its first")
            raise self.no_answer("reply lost")
        result = await operation.run()
        await self.pause(self.random.choice((0, 0, 1)))
        return result

    def no_answer(self, how: str) -> StoreUnavailable:
        self.luck[how] += 1
        return StoreUnavailable(how)

    async def land(self, operation: Operation, steps: int) -> None:
        await self.pause(steps)
        with contextlib.suppress(ObjectExists, ObjectNotFound):
            await operation.run()

    async def pause(self, steps: int) -> None:
        for _ in range(steps):
            await asyncio.sleep(0)

    def audit(self, found: list[str]) -> None:
        assert not doubled(found), f"counted twice: {doubled(found)}"
        missing = [tag for tag in self.acknowledged if tag not in found]
        assert not missing, f"acknowledged, but lost: {missing}"
        for name in "xyz":
            numbers = [int(tag[1:]) for tag in found if tag[0] == name]
            assert numbers == sorted(numbers), f"out of order: {numbers}"
        place = {tag: number for number, tag in enumerate(found)}
        for tag, already in self.began.items():
            late = [other for other in self.acknowledged[:already] if tag in place and place[other] > place[tag]]
            assert not late, f"{late} were acknowledged before {tag} was begun, but come after it"


async def simulate(seed: int) -> Simulation:
    simulation = Simulation(seed)
    try:
        await simulation.run()
    except* Exception as errors:
        raise AssertionError(f"seed {seed}: {errors.exceptions}") from errors
    return simulation


@pytest.mark.parametrize("first", range(0, 10 * SEEDS_PER_CASE, SEEDS_PER_CASE))
async def test_random_writers_lose_and_double_nothing(first):
    luck: Counter[str] = Counter()
    acknowledged = 0
    for seed in range(first, first + SEEDS_PER_CASE):
        simulation = await simulate(seed)
        luck += simulation.luck
        acknowledged += len(simulation.acknowledged)
    kinds = {"killed", "fenced", "not done", "lands later", "reply lost", "repeated by the client"}
    assert kinds <= set(luck), "the schedules are too kind to prove anything"
    assert acknowledged > 5 * SEEDS_PER_CASE
