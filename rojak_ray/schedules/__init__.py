"""When to start a run: specs and their times, policies, and the service that acts on them."""

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

__all__ = [
    "ScheduleBackfill",
    "ScheduleCalendarSpec",
    "ScheduleIntervalSpec",
    "ScheduleOverlapPolicy",
    "SchedulePolicy",
    "ScheduleRange",
    "ScheduleSpec",
    "ScheduleState",
    "matching_times",
]
