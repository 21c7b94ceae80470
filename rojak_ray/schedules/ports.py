"""What the scheduler needs from outside, and what a client needs from the scheduler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rojak_ray.agents.scheduled import ScheduledRun
from rojak_ray.schedules.events import Action, EndStatus
from rojak_ray.schedules.requests import ScheduleAsk, ScheduleReply


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    status: EndStatus
    result: str | None = None
    """What it answered last."""

    error: str | None = None
    gone: bool = False
    """Whether it is not there any more."""


class Runs(Protocol):
    """Runs, wherever they are."""

    async def start(self, run_id: str, request: str, action: Action, schedule: ScheduledRun) -> None:
        """Start a run, unless this very request has started it before.

        Args:
            run_id: Names the run.
            request: Tells this request for the id from any other.
            action: What to start.
            schedule: What the run is to know about its schedule.

        Raises:
            RequestConflict: The id belongs to something else.
            StorageError: Whether it was started is unknown; the same call again finds out.

        Crash safety:
            When it returns, the run goes on whatever happens to this process.
        """
        ...

    async def outcome(self, run_id: str, wait_s: float) -> Outcome | None:
        """How a run ended, waiting for it at most so long; None: not yet.

        Raises:
            RunNotFound: It was deleted.
            StorageError: Ask again.
        """
        ...

    async def cancel(self, run_id: str) -> None:
        """Cancel a run; nothing happens to one that has ended. May raise StorageError: call again."""
        ...


class Scheduler(Protocol):
    """The way from a client to the scheduler of its namespace."""

    async def ask(self, ask: ScheduleAsk) -> ScheduleReply:
        """Bring a request to the scheduler, starting it if need be.

        Raises:
            RequestError: The command was refused.
            StoreUnavailable: The scheduler did not answer; the same request may be made again.
        """
        ...
