"""A user's program on a cluster: `python -m benchmarks.chaos.driver SETTINGS`. It may be killed and started again.

What it knows is in its diary, so the next one goes on where it was. It sends until its standard input is closed, waits
for the answers, and ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import ray

from benchmarks.chaos.audit import Report, audit
from benchmarks.chaos.diary import Diary
from benchmarks.chaos.load import Conversation, Load, conversations
from rojak_ray import Rojak
from rojak_ray.runtime.settings import Placement


@dataclass(frozen=True, kw_only=True)
class Driver:
    """What a program is told."""

    address: str
    node_ip: str | None = None
    """The machine it runs on; None lets Ray choose, which prefers the head."""

    storage: str
    namespaces: dict[Placement, str]
    effects: str
    diary: str
    sessions: int
    """Over all placements of the run; this program has those of its own namespaces."""

    work_s: float
    task: Literal["send", "serve", "audit"] = "send"
    """Send messages; only be a worker, and ask for nothing; or check what all programs have noted."""

    placements: Sequence[Placement] = ("shared", "dedicated")
    """Those of the whole run."""

    def command(self) -> list[str]:
        """How it is started."""
        return [sys.executable, "-m", "benchmarks.chaos.driver", json.dumps(asdict(self))]

    def known(self) -> list[Conversation]:
        """The conversations of its namespaces, as the diary tells them."""
        found = {
            one.name: one for one in conversations(self.placements, self.sessions) if one.placement in self.namespaces
        }
        for note in Diary(Path(self.diary)).read():
            if note.conversation in found:
                found[note.conversation].take(note)
        return list(found.values())


async def _main(driver: Driver) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def listen() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(stop.set)

    warnings.simplefilter("ignore", UserWarning)  # sessions exist if an earlier program made them
    threading.Thread(target=listen, daemon=True).start()
    clients = {
        placement: Rojak(driver.storage, address=driver.address, namespace=name, placement=placement)
        for placement, name in driver.namespaces.items()
    }
    where = {"_node_ip_address": driver.node_ip} if driver.node_ip else {}
    ray.init(address=driver.address, logging_level="ERROR", log_to_driver=False, **where)
    load = Load(
        dict(clients), driver.known(), Path(driver.effects), work_s=driver.work_s, diary=Diary(Path(driver.diary))
    )
    try:
        await load.prepare()
        match driver.task:
            case "send":
                await load.run(stop)
            case "serve":
                await stop.wait()
            case "audit":
                report = Report(seed=0)
                lines = await asyncio.to_thread(Path(driver.effects).read_text)
                await audit(report, load.conversations, dict(clients), lines.splitlines())
                print(json.dumps(report.as_json()), flush=True)
    finally:
        for client in clients.values():
            await client.close()


if __name__ == "__main__":
    asyncio.run(_main(Driver(**json.loads(sys.argv[1]))))
