"""When to start a run: specs and their times, policies, and the service that acts on them."""

from rojak_ray.schedules.handle import ScheduleHandle
from rojak_ray.schedules.spec import (
    ScheduleBackfill,
    ScheduleCalendarSpec,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
)
from rojak_ray.schedules.times import matching_times
from rojak_ray.schedules.types import (
    Schedule,
    ScheduleActionExecution,
    ScheduleActionResult,
    ScheduleActionStartRun,
    ScheduleDescription,
    ScheduleInfo,
    ScheduleUpdate,
    ScheduleUpdateInput,
)

__all__ = [
    "Schedule",
    "ScheduleActionExecution",
    "ScheduleActionResult",
    "ScheduleActionStartRun",
    "ScheduleBackfill",
    "ScheduleCalendarSpec",
    "ScheduleDescription",
    "ScheduleHandle",
    "ScheduleInfo",
    "ScheduleIntervalSpec",
    "ScheduleOverlapPolicy",
    "SchedulePolicy",
    "ScheduleRange",
    "ScheduleSpec",
    "ScheduleState",
    "ScheduleUpdate",
    "ScheduleUpdateInput",
    "matching_times",
]
