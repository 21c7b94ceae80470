"""Programs of users in processes of their own, started again whenever they are gone, as a supervisor would."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.chaos.driver import Driver
from benchmarks.chaos.nodes import ROOT, Cluster
from rojak_ray.runtime.settings import Placement

_LOOK_S = 0.5
_AGAIN_S = 1.0
_LEAVE_S = 120.0


@dataclass(frozen=True)
class _Running:
    process: subprocess.Popen[bytes]
    node: str
    """Whose machine it is on."""


class Programs:
    """One for each placement: that of the shared ones on the head's machine, the other on a worker node's."""

    def __init__(self, cluster: Cluster, driver: Driver, log: Path) -> None:
        """Nothing is started yet; `driver` is what all of them have in common."""
        self._cluster = cluster
        self._driver = driver
        self._log = log
        self._running: dict[Placement, _Running] = {}
        self.ends: Counter[str] = Counter()
        """Those that ended although nobody ended them, by the machine they were on."""

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncGenerator[None]:
        """They run, again and again, inside this block; behind it those that run are left alone."""
        keeper = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    async def _keep(self) -> None:
        while True:
            for placement in self._driver.namespaces:
                running = self._running.get(placement)
                if running is None:
                    self._start(placement)
                elif running.process.poll() is not None:
                    self.ends[running.node] += 1
                    del self._running[placement]
                    await asyncio.sleep(_AGAIN_S)
            await asyncio.sleep(_LOOK_S)

    def _start(self, placement: Placement) -> None:
        nodes = self._cluster.nodes.copy()
        on_head = placement == "shared"
        node = next((node for name, node in nodes.items() if (name == "head") == on_head), None)
        if node is None or "head" not in nodes:
            return  # there is no machine to start it on, or nobody to join
        namespaces = {placement: self._driver.namespaces[placement]}
        driver = replace(self._driver, address=self._cluster.address, node_ip=node.ip, namespaces=namespaces)
        self._running[placement] = _Running(self._open(driver), node.name)

    def _open(self, driver: Driver) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                driver.command(), cwd=ROOT, env=self._cluster.environment, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if driver.task == "audit" else log, stderr=log,
            )  # fmt: skip

    def kill(self, placement: Placement) -> bool:
        """End one as a lost machine would; false if it is not there."""
        running = self._running.pop(placement, None)
        if running is None or running.process.poll() is not None:
            return False
        running.process.kill()
        running.process.wait(10)
        return True

    def kill_on(self, node: str) -> None:
        """End those on the machine of a node."""
        for placement, running in list(self._running.items()):
            if running.node == node:
                self.kill(placement)

    def kill_all(self) -> None:
        """End all."""
        for placement in list(self._running):
            self.kill(placement)

    async def finish(self) -> bool:
        """Start all, let them find the answers of what earlier ones had asked, and end; false if one does not."""
        for placement in self._driver.namespaces:
            self._start(placement)
        try:
            for running in self._running.values():
                await asyncio.to_thread(running.process.communicate, None, _LEAVE_S)
        except subprocess.TimeoutExpired:
            return False
        finally:
            self.kill_all()
        return True

    async def audit(self) -> bytes:
        """What a program that checks everything prints."""
        process = self._open(replace(self._driver, address=self._cluster.address, task="audit"))
        try:
            printed, _ = await asyncio.to_thread(process.communicate, None, _LEAVE_S)
        finally:
            process.kill()
        return printed
