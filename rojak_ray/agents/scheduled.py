"""What a run that a schedule started can know about it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rojak_ray.messages import Record


class ScheduledRun(Record):
    """What `ToolContext.schedule` tells; also read like a dictionary: `context.schedule["id"]`.

    Example:
        def report(call: ToolContext) -> str:
            '''Write the report.'''
            before = call.schedule.last_result if call.schedule is not None else None
            return f"Since the last one ({before or 'there was none'}) nothing happened."

        await rojak.run(agent=OfflineAgent(functions=[report]), messages="Write the report.")
    """

    id: str
    """The schedule's id."""

    scheduled_at: datetime
    """The time it was started for, with jitter; of a run that somebody asked for, when he did."""

    manual: bool = False
    """Whether somebody asked for it: by a trigger or a backfill."""

    last_result: str | None = None
    """What the last completed run answered, at most 64 Ki characters of it; None at first, and with ALLOW_ALL."""

    last_failure: str | None = None
    """What the last run ended in, if it failed."""

    def __getitem__(self, name: str) -> Any:
        """A field by its name."""
        if name not in type(self).model_fields:
            raise KeyError(name)
        return getattr(self, name)
