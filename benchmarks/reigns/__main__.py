"""Two real Rays on one storage, under load.

For some minutes the first one works on steps of 75 s and answers short messages, while the second stands by, is read
from, and refuses what would change something. Then `takeover` there and back, with steps of 20 s under way. Nothing
may run twice, be interrupted, lost or set aside, and each pause between two answers must be shorter than 10 s.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import shutil
import sys
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.reigns.audit import Report, Sent, audit
from benchmarks.reigns.rivals import Rival

LONGEST_PAUSE_S = 10.0
_PULSE_S = 0.5
_AGAIN_S = 0.1
_SETTLE_S = 120.0


@dataclass
class Load:
    """Messages that are sent to whichever cluster is to work, and what came of them."""

    at: Rival
    sent: list[Sent] = field(default_factory=list[Sent])
    answers: list[float] = field(default_factory=list[float])
    """When short messages were answered."""

    async def pulse(self, name: str, until: asyncio.Event) -> None:
        """Short messages, one after another; each goes to the cluster that is meant at that moment."""
        number = 0
        while not until.is_set():
            number += 1
            await self._send(Sent(name, f"{number} 0", 0.0))
            await asyncio.sleep(_PULSE_S)

    async def steps(self, name: str, seconds: float, until: float) -> None:
        """Messages with long steps, one after another, as long as another one ends in time."""
        number = 0
        while time.monotonic() + seconds < until:
            number += 1
            await self._send(Sent(name, f"{number} {seconds:g}", seconds))

    async def _send(self, message: Sent) -> None:
        """Ask until it is answered, under one name; whoever is told that another cluster rules asks there."""
        self.sent.append(message)
        request_id = f"{message.session}-{message.text}"
        try:
            while not (answer := await self.at.ask("send", message.session, message.text, request_id)):
                await asyncio.sleep(_AGAIN_S)
        except RuntimeError as error:
            message.error = str(error)
            return
        when, message.output, message.results = answer
        if not message.seconds:
            self.answers.append(when)

    def pause_s(self, told_at: float) -> float:
        """The longest time without an answer since the order to take over, as far as answers have come."""
        times = sorted(self.answers)
        return max(
            (later - earlier for earlier, later in itertools.pairwise(times) if later > told_at),
            default=float("inf"),
        )


@dataclass
class Outcome:
    """What the run showed."""

    report: Report
    pauses_s: list[float]
    refused_s: float
    refused_by: str
    stands_by: str

    @property
    def ok(self) -> bool:
        """Whether everything is as it must be."""
        refused = self.refused_by == "StandsBy" and bool(self.stands_by)
        return not self.report.faults and refused and max(self.pauses_s) < LONGEST_PAUSE_S


async def run(options: argparse.Namespace, folder: Path, console: Console) -> Outcome:
    """Play it; both clusters are gone when it returns."""
    first, second = Rival("first", folder), Rival("second", folder)
    try:
        return await _play(options, folder, console, first, second)
    finally:
        await asyncio.to_thread(first.stop)
        await asyncio.to_thread(second.stop)


async def _play(options: Any, folder: Path, console: Console, first: Rival, second: Rival) -> Outcome:
    load, over = Load(first), asyncio.Event()
    long = [f"long-{number}" for number in range(options.sessions)]
    short = [f"short-{number}" for number in range(options.sessions)]
    pulses = [f"pulse-{number}" for number in range(3)]
    await first.start()
    for name in (*long, *short, *pulses):
        await first.ask("create", name)
    ends_at = time.monotonic() + 60 * options.minutes
    working = [asyncio.create_task(load.steps(name, options.step, ends_at)) for name in long]
    pulsing = [asyncio.create_task(load.pulse(name, over)) for name in pulses]
    await second.start()
    console.print(f"both clusters are up; {options.minutes:g} minutes with steps of {options.step:g} s", markup=False)
    duty, _, ruler = await second.ask("standing")
    while time.monotonic() < ends_at:
        assert await second.ask("history", pulses[0])
        await asyncio.sleep(5.0)
    refused_s, refused_by, _ = await second.ask("try_to_send", short[0], "1 0")
    await asyncio.gather(*working)

    pauses = []
    for taker in (second, first):
        ends_at = time.monotonic() + _SETTLE_S
        working = [asyncio.create_task(load.steps(name, options.short_step, time.monotonic() + 30)) for name in short]
        await asyncio.sleep(options.short_step / 2)
        told_at, load.at = time.time(), taker
        await taker.ask("take_over", f"to {taker.name}")
        while (await taker.ask("standing"))[0] != "rules" and time.monotonic() < ends_at:
            await asyncio.sleep(0.5)
        await asyncio.gather(*working)
        pauses.append(load.pause_s(told_at))
        console.print(f"{taker.name} took over: longest pause {pauses[-1]:.1f} s", markup=False)
        short = [f"{name}-back" for name in short]
        if taker is second:
            for name in short:
                await taker.ask("create", name)
    over.set()
    await asyncio.gather(*pulsing)
    report = await audit(load.sent, folder)
    return Outcome(report, pauses, refused_s, refused_by, f"{duty}: {ruler}" if duty == "stands by" else "")


def show(outcome: Outcome, console: Console) -> None:
    """The words for people."""
    report = outcome.report
    console.print(f"the second one {outcome.stands_by or 'did not stand by'}", markup=False)
    console.print(f"a change there: {outcome.refused_by} after {outcome.refused_s:.1f} s", markup=False)
    console.print(f"{report.sent} messages sent, {report.answered} answered; {report.calls} calls, each once")
    for pause, way in zip(outcome.pauses_s, ("there", "back"), strict=True):
        console.print(f"takeover {way}: longest pause {pause:.1f} s (budget: {LONGEST_PAUSE_S:g})")
    for fault, cases in report.faults.items():
        console.print(f"{fault}: {len(cases)}")
        for case in cases[:10]:
            console.print(f"  {case}", markup=False)
    console.print("ok" if outcome.ok else "NOT ok")


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0, help="in which the second one stands by")
    parser.add_argument("--step", type=float, default=75.0, help="seconds of a step in that time")
    parser.add_argument("--short-step", type=float, default=20.0, help="likewise while one takes over from the other")
    parser.add_argument("--sessions", type=int, default=6, help="with steps")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    console = Console(file=sys.stderr if options.json else sys.stdout)
    folder = Path(tempfile.mkdtemp(prefix="rojak-reigns-"))
    with redirect_stdout(sys.stderr):
        outcome = asyncio.run(run(options, folder, console))
    if outcome.ok:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        console.print(f"storage, effects and logs are kept in {folder}", markup=False)
    if options.json:
        json.dump({**asdict(outcome), "ok": outcome.ok}, sys.stdout)
    else:
        show(outcome, console)
    raise SystemExit(not outcome.ok)


if __name__ == "__main__":
    main()
