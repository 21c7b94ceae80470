"""The first part: processes of one Ray are killed, each of which Ray starts again."""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path

import ray
from rich.console import Console

from benchmarks.chaos.audit import Report, audit
from benchmarks.chaos.killer import Killer
from benchmarks.chaos.load import Load, conversations
from benchmarks.chaos.trace import Trace
from benchmarks.chaos.watch import watch
from rojak_ray import Rojak
from rojak_ray.runtime import cluster

LOSS = "process"
_DRAIN_S = 120.0


async def kill_processes(options: argparse.Namespace, seconds: float, folder: Path, console: Console) -> Report:
    """Load, kill, wait until all is answered, audit."""
    cluster.prepare_environment()
    ray.init(**cluster.start_options({"num_cpus": 2, "logging_level": "ERROR", "log_to_driver": False}))
    try:
        return await _kill_processes(options, seconds, folder, console)
    finally:
        ray.shutdown()


async def _kill_processes(options: argparse.Namespace, seconds: float, folder: Path, console: Console) -> Report:
    storage = options.storage or str(folder / "storage")
    effects = folder / "effects.txt"
    effects.touch()
    report = Report(seed=options.seed)
    names = {placement: f"chaos-{placement}-{options.seed}-{time.time_ns()}" for placement in ("shared", "dedicated")}
    async with (
        Rojak(storage, namespace=names["shared"], placement="shared") as shared,
        Rojak(storage, namespace=names["dedicated"], placement="dedicated") as dedicated,
    ):
        clients = {"shared": shared, "dedicated": dedicated}
        load = Load(clients, conversations(list(clients), options.sessions), effects)
        await load.prepare()
        trace = Trace(storage, effects)
        killer = Killer(clients, load.conversations, effects, options.seed, trace)
        stop_killing, stop_sending = asyncio.Event(), asyncio.Event()
        sending = asyncio.create_task(load.run(stop_sending))
        killing = asyncio.create_task(killer.run(stop_killing, options.every))

        def so_far() -> str:
            answered = sum(len(one.acknowledged) for one in load.conversations)
            return f"{answered} answered, {killer.kills.total()} kills"

        await watch("processes", console, seconds, so_far, sending)
        stop_killing.set()
        await killing
        stop_sending.set()
        try:
            async with asyncio.timeout(_DRAIN_S):
                await sending
        except TimeoutError:
            report.faults["hangs"] = [one.under_way for one in load.conversations if one.under_way]
        report.kills = dict(killer.kills)
        await trace.end()
        answered = [(cut, at) for cut in trace.cuts if (at := cut.answered) is not None]
        report.recovery_s[LOSS] = [(at - cut.at) / 1e9 for cut, at in answered]
        for cut, _ in answered:
            for mark, seconds in cut.parts().items():
                report.parts_s.setdefault(mark, []).append(seconds)
        report.slowest = [str(cut) for cut, _ in sorted(answered, key=lambda each: each[1] - each[0].at)[-5:]]
        await audit(report, load.conversations, clients, (await asyncio.to_thread(effects.read_text)).splitlines())
    return report
