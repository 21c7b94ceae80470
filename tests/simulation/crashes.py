"""A process that stops at its n-th write, and another one that takes over: for every n, before and after the write."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from random import Random

from rojak_ray.core.commands import AnswerCall, Command, Delete, OpenSession, StartRun, UpdateConfig
from rojak_ray.core.events import FunctionReturned
from rojak_ray.core.state import SessionState
from rojak_ray.errors import CallNotWaiting, SessionNotFound, StorageError
from rojak_ray.journal.paths import Owner
from rojak_ray.sessions.order import Sequencer
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.sessions.requests import Ask

from .audit import Truths, audit
from .loop import VirtualLoop
from .network import CLEAR
from .work import ANSWER_WITHIN_S, PLAIN, Execution, message
from .world import Conditions, World

OWNER = Owner("session", "s0")
_ENDED = {"completed", "failed", "cancelled"}


@dataclass(frozen=True)
class Accepted:
    """A request whose outcome is not waited for."""

    start: StartRun


Scenario = list[Command | list[Command] | Accepted | float]
"""Commands, one after the other; those in a list are sent at once. A number is a pause in seconds."""


def ask_for(number: int, *turns: list[str]) -> StartRun:
    """A request for these calls."""
    run_id = f"{OWNER.id}.c.{number}"
    return StartRun(run_id=run_id, input_digest="d", messages=(message(run_id, list(turns)),))


_APPROVED = ask_for(1, ["approve"], ["pay"])

SCENARIOS: dict[str, Scenario] = {
    "handoff": [ask_for(1, ["hand_over"], ["pay"]), ask_for(2)],
    "parallel calls": [ask_for(1, ["pay", "pay", "pay"])],
    "retries": [ask_for(1, ["flaky", "flaky"])],
    "calls that share the context": [ask_for(1, ["count", "count"], ["count"])],
    "at most once": [ask_for(1, ["once", "pay"], ["once"])],
    "settings change": [ask_for(1, ["pay"]), UpdateConfig(max_turns=50), ask_for(2, ["pay"])],
    "queued messages": [[ask_for(1, ["pay"]), ask_for(2, ["count"]), ask_for(3)]],
    "large values": [ask_for(1, ["write"]), ask_for(2, ["pay"])],
    "delete": [ask_for(1, ["pay"]), Delete()],
    "answer after a rest": [
        Accepted(_APPROVED),
        ANSWER_WITHIN_S / 3,
        AnswerCall(call_id=f"{_APPROVED.run_id}-0-0", answer_id="a", output="yes"),
        _APPROVED,
    ],
    "timer that rings": [Accepted(_APPROVED), 1.5 * ANSWER_WITHIN_S, _APPROVED],
    "snapshots and compaction": [ask_for(n, ["pay"], ["count"]) for n in range(1, 6)],
}

_USUAL = PoolSettings(snapshot_bytes=1_000)
_RESTS_SOON = PoolSettings(snapshot_bytes=1_000, session_idle_s=5.0)
SETTINGS = {
    "answer after a rest": _RESTS_SOON,
    "timer that rings": _RESTS_SOON,
    "snapshots and compaction": PoolSettings(snapshot_bytes=1),
}
"""Of the scenarios for which the usual ones will not do."""


@dataclass(frozen=True)
class Ending:
    """How a scenario ended."""

    writes: int
    wrong: tuple[str, ...]
    said: tuple[tuple[str, str], ...]
    """The conversation, without what differs between two executions."""

    executions: tuple[Execution, ...]
    places: Counter[str]
    """How often something was written (`put snap`) or removed (`delete log`) where."""


def play(name: str, *, stop_at: int = 0, landed: bool = False) -> Ending:
    """Play a scenario; its first process stops at its n-th write (0: never), before or after that took effect."""
    random = Random(1)
    loop = VirtualLoop(random)
    conditions = Conditions(
        weather=CLEAR,
        settings=SETTINGS.get(name, _USUAL),
        places=1,
        alone=False,
        stray=0.0,
        reply_grace_s=5.0,
        ends_at=1e9,
    )
    world = World(1, random, loop, conditions)
    return loop.run(_play(world, SCENARIOS[name], stop_at, landed), deadline=3_000.0)


async def _play(world: World, scenario: Scenario, stop_at: int, landed: bool) -> Ending:
    process = world.boot()
    writes = 0

    def stop() -> bool:
        nonlocal writes
        writes += 1
        if writes != stop_at:
            return False
        world.kill(process)
        return True

    process.wire.stops_at_write = stop
    process.wire.stops_landed = landed
    sequencer = Sequencer("c")
    opening = OpenSession(owner_kind="session", owner_id=OWNER.id, incarnation="i", agent=PLAIN)
    for commands in ([opening], *scenario):
        if isinstance(commands, float):
            await asyncio.sleep(commands)
            continue
        together = commands if isinstance(commands, list) else [commands]
        await asyncio.gather(*(_insist(world, sequencer, command) for command in together))
    await asyncio.sleep(400.0)  # whatever is written when nobody waits
    truths = Truths(world)
    truth = await truths.of(OWNER)
    wrong = [*(await audit(truths, OWNER)), *truth.unfinished()]
    places = Counter(
        f"{'delete' if write.data is None else 'put'} {part}"
        for write in world.bucket.history
        for part in ("log", "snap", "arch", "wake")
        if f"/{part}/" in write.key
    )
    return Ending(writes, tuple(wrong), _said(truth.state), tuple(world.outside.executions), places)


async def _insist(world: World, sequencer: Sequencer, wanted: Command | Accepted) -> None:
    command = wanted.start if isinstance(wanted, Accepted) else wanted
    run_id = command.run_id if isinstance(wanted, StartRun) else None
    ask = Ask(commands=(command,), await_run=run_id, wait_s=20.0 if run_id else 0.0)
    while True:
        try:
            reply = await world.ask(sequencer, OWNER, ask)
        except SessionNotFound:
            if isinstance(command, Delete):
                return
            raise
        except CallNotWaiting:
            if await _answered(world, command):  # the reply to an earlier try was lost
                return
            await asyncio.sleep(0.5)
        except StorageError:
            await asyncio.sleep(0.5)
        else:
            if run_id is None or (reply.run is not None and reply.run.status in _ENDED):
                return


async def _answered(world: World, command: Command) -> bool:
    events = (await Truths(world).of(OWNER)).events
    answers = [event.answer_id for _, event in events if isinstance(event, FunctionReturned)]
    return isinstance(command, AnswerCall) and command.answer_id in answers


def _said(state: SessionState) -> tuple[tuple[str, str], ...]:
    return tuple((said.role, (said.content or "").split(" ")[0]) for said in state.history)


def repeated(executions: tuple[Execution, ...]) -> Counter[str]:
    """How often each step was executed."""
    return Counter(execution.step.step_id for execution in executions)
