"""`Upkeep`: keeps up the actors of an installation, and wakes what was left unfinished. Runs beside the catalog."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Sequence

import ray
from ray.exceptions import RayError

from rojak_ray.clock import Clock, SystemClock
from rojak_ray.concurrency import background
from rojak_ray.logs import get_logger
from rojak_ray.reign.reign import Reign
from rojak_ray.runtime import actors
from rojak_ray.runtime.host_keeping import HostKeeper
from rojak_ray.runtime.settings import RuntimeSettings, step_worker_name
from rojak_ray.runtime.shipping import FunctionEntry, ProviderEntry
from rojak_ray.runtime.sweep import Sweep
from rojak_ray.storage.base import Store

logger = get_logger(__name__)

_NODE_CHECK_S = 2.0
_REST_AFTER_S = 1.0
"""What a first run is most likely to need starts sooner on a small machine if step workers, unless somebody wants one,
and the other shared hosts wait. They are there before a crowd comes: starting under load takes them seconds."""

_SWEEP_S = 20.0
_SWEEP_AGAIN_S = 1.0
"""After a sweep that failed, doubled each time; and while work of an earlier reign is being let go."""


class Upkeep:
    """Starts hosts and step workers, and sweeps."""

    def __init__(
        self,
        settings: RuntimeSettings,
        store: Store,
        reign: Reign,
        hosts: HostKeeper,
        placed: Callable[[tuple[str, ...]], Awaitable[None]],
        clock: Clock | None = None,
        *,
        again: bool = False,
    ) -> None:
        """Looks for unfinished work only while this cluster rules.

        Args:
            settings: Of the installation.
            store: Its storage.
            reign: Whether this cluster works on it.
            hosts: How many shared hosts there are.
            placed: Told the names of the step workers whenever nodes were looked at.
            clock: For pauses.
            again: An earlier life of this process was lost: steps wait for what it did.
        """
        self._settings = settings
        self._reign = reign
        self._hosts = hosts
        self._placed = placed
        self._clock = clock or SystemClock()
        self._start_host = functools.partial(actors.start_host, settings)
        self._step_workers: dict[str, actors.Handle] = {}
        self._step_workers_wanted = asyncio.Event()
        if again:
            self._step_workers_wanted.set()
        self._tasks: list[asyncio.Task[None]] = []
        self._sweep = Sweep(
            settings,
            store,
            start_host=self._start_host,
            start_session=functools.partial(actors.start_session, settings),
            start_scheduler=functools.partial(actors.start_scheduler, settings),
            names=functools.partial(actors.names_of, settings),
            hosts=lambda: hosts.current,
        )

    def start(self) -> None:
        """Go on with it for as long as this process lives."""
        self._tasks = [
            background("keep step workers", self._keep_step_workers, self._clock),
            background("decide how many shared hosts there are", self._hosts.run, self._clock),
            background("start the shared hosts", self._start_hosts, self._clock),
            background(
                "look for unfinished work",
                self._keep_sweeping,
                self._clock,
                first_pause_s=_SWEEP_AGAIN_S,
                longest_pause_s=_SWEEP_S,
            ),
        ]

    async def prepare(self, functions: Sequence[FunctionEntry], providers: Sequence[ProviderEntry]) -> None:
        """Have what these need started: at once for exclusive retrievers, soon for what step workers run."""
        node = next((entry.node for entry in providers if entry.exclusive), None)
        if node is not None:
            await asyncio.to_thread(actors.start_retrievers, self._settings, node)
        if any(function.is_async for function in functions) or not all(provider.built_in for provider in providers):
            self._step_workers_wanted.set()

    async def _keep_sweeping(self) -> None:
        """Wake what was left unfinished: at once, as a lost cluster may have, and then every so often."""
        await self._hosts.known()
        while True:
            standing = self._reign.standing
            if self._reign.rules:
                await self._sweep.once(since=standing.number if standing.handover else 0)
            await self._reign.news(standing, _SWEEP_AGAIN_S if standing.handover else _SWEEP_S)

    async def _start_hosts(self) -> None:
        """Start all shared hosts, once: whoever needs one that is gone starts it."""
        await self._clock.sleep(_REST_AFTER_S)
        for index in range((await self._hosts.known()).count):
            try:
                await asyncio.to_thread(self._start_host, index)
            except (RayError, ValueError) as error:
                logger.warning("could not start host %d, its first caller will: %s", index, error)

    async def _keep_step_workers(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._step_workers_wanted.wait(), _REST_AFTER_S)
        while True:
            await self._place()
            await self._clock.sleep(_NODE_CHECK_S)

    async def _place(self) -> None:
        nodes = sorted(node["NodeID"] for node in await asyncio.to_thread(ray.nodes) if node["Alive"])
        names: list[str] = []
        for node in nodes:
            for index in range(self._settings.step_workers):
                name = step_worker_name(node, index)
                if name in self._step_workers or await self._started(name, node, index):
                    names.append(name)
        await self._placed(tuple(names))

    async def _started(self, name: str, node: str, index: int) -> bool:
        """Start a step worker. A node that is being lost keeps no other from having its own."""
        try:
            self._step_workers[name] = await asyncio.to_thread(actors.start_step_worker, self._settings, node, index)
        except (RayError, ValueError) as error:
            logger.warning("could not start %s, trying again: %s", name, error)
            return False
        return True
