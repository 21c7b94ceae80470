"""Ends processes of one Ray with SIGKILL, one kind after another, and remembers what was under way on them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from benchmarks.chaos.load import Conversation
from benchmarks.chaos.nodes import descendants
from benchmarks.chaos.trace import Cut, Trace
from rojak_ray import Rojak
from rojak_ray.runtime.settings import session_name

KINDS = {
    "session actor": "SessionActor-",
    "shared host": "SessionHostActor-",
    "step worker": "StepWorkerActor-",
    "catalog": "CatalogActor",
    "task": "",
}
_ANSWER_S = 5.0


class Killer:
    """Kills by kind, chosen by a seeded generator."""

    def __init__(
        self, clients: dict[str, Rojak], conversations: list[Conversation], effects: Path, seed: int, trace: Trace
    ) -> None:
        """Nothing is killed yet; `trace` is told what was under way on a process that is killed."""
        self._namespaces = {client.settings.ray_namespace: placement for placement, client in clients.items()}
        self._storage_namespaces = {placement: client.settings.namespace for placement, client in clients.items()}
        self._trace = trace
        self._conversations = conversations
        self._effects = effects
        self._random = random.Random(seed)
        self.kills: Counter[str] = Counter()

    async def run(self, stop: asyncio.Event, every_s: float) -> None:
        """Kill something again and again until told to stop."""
        while not stop.is_set():
            kind = self._random.choice(list(KINDS))
            if await (self._kill_task() if kind == "task" else self._kill_actor(kind)):
                self.kills[kind] += 1
            try:
                await asyncio.wait_for(stop.wait(), every_s * self._random.uniform(0.5, 1.5))
            except TimeoutError:
                continue

    async def _kill_actor(self, kind: str) -> bool:
        actors: list[dict[str, str]] = await asyncio.to_thread(ray.util.list_named_actors, all_namespaces=True)
        found = [
            actor
            for actor in actors
            if actor["namespace"] in self._namespaces and actor["name"].startswith(KINDS[kind])
        ]
        if not found:
            return False
        actor = self._random.choice(sorted(found, key=lambda actor: (actor["namespace"], actor["name"])))
        try:
            handle: Any = await asyncio.to_thread(ray.get_actor, actor["name"], actor["namespace"])
            async with asyncio.timeout(_ANSWER_S):
                pid: int = await handle.__ray_call__.remote(lambda _: os.getpid())
        except (RayError, ValueError, TimeoutError):
            return False
        self._remember(kind, actor, handle._actor_id.hex(), pid)
        return self._kill(pid)

    def _remember(self, kind: str, actor: dict[str, str], actor_id: str, pid: int) -> None:
        """Which conversations this kill cuts short: those of a session's actor, or of a shared host."""
        placement = self._namespaces[actor["namespace"]]
        for one in self._conversations:
            held = one.placement == placement and (
                (kind == "session actor" and one.is_session and actor["name"] == session_name(one.name))
                or (kind == "shared host" and (placement == "shared" or not one.is_session))
            )
            if held and one.under_way is not None:
                cut = Cut(one, one.under_way, time.time_ns(), actor_id, pid)
                self._trace.follow(cut, self._storage_namespaces[placement])

    async def _kill_task(self) -> bool:
        lines = self._effects.read_text().splitlines() if self._effects.exists() else []
        computing = [int(line.split()[4]) for line in lines[-40:] if line.startswith("compute ")]
        ours = set(descendants(os.getpid()))
        running = sorted(pid for pid in set(computing) & ours)
        return self._kill(self._random.choice(running)) if running else False

    def _kill(self, pid: int) -> bool:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True
