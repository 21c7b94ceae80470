"""Schedules as storage has them, for whoever only looks: nothing is opened, claimed or started."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping
from datetime import datetime

from pydantic import TypeAdapter

from rojak_ray.errors import ScheduleNotFound
from rojak_ray.journal.aggregate import Aggregate
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.replay import exists, replay
from rojak_ray.schedules.batch import reason_of, was_taken
from rojak_ray.schedules.events import Event
from rojak_ray.schedules.passing import next_ticks
from rojak_ray.schedules.requests import ScheduleAsk, ScheduleReply, ScheduleView
from rojak_ray.schedules.state import ScheduleRecord, SchedulerState, evolve_all
from rojak_ray.storage.base import Store

SCHEDULER = Owner("scheduler", "schedules")
"""All schedules of a namespace share a journal: what comes due together is written together."""

SCHEDULES: Aggregate[SchedulerState, Event] = Aggregate(
    TypeAdapter(tuple[Event, ...]), SchedulerState, lambda owner: SchedulerState(), evolve_all
)

_LISTED_TIMES = 10


async def read_schedules(store: Store, paths: Paths, ask: ScheduleAsk, now: datetime) -> ScheduleReply:
    """Answer a look from storage.

    Raises:
        ScheduleNotFound: There is none of this id.
        JournalDamaged: A record is missing or cannot be trusted.
    """
    state = SchedulerState()
    if await exists(store, paths, SCHEDULER):
        state = (await replay(store, paths, SCHEDULER, SCHEDULES)).state
    if ask.asked_before is not None:
        named = ask.asked_before
        return ScheduleReply(asked_before=was_taken(state.requests, ask.schedule_id, named.kind, named.request))
    views = views_of(state, ask.list_after, ask.limit, now) if ask.list_after is not None else ()
    return ScheduleReply(view=view_of(state, ask.schedule_id, now) if ask.view else None, schedules=views)


def view_of(
    state: SchedulerState, schedule_id: str, now: datetime, set_aside: Mapping[str, str] | None = None
) -> ScheduleView:
    """A schedule as it stands; `set_aside` has what is known about schedules whose times cannot be told.

    Raises:
        ScheduleNotFound: There is none of this id.
    """
    schedule = state.schedules.get(schedule_id)
    if schedule is None:
        raise ScheduleNotFound(f"The schedule {schedule_id!r} does not exist; create it with create_schedule.")
    return _view(schedule, now, (set_aside or {}).get(schedule_id))


def views_of(
    state: SchedulerState, after: str, limit: int, now: datetime, set_aside: Mapping[str, str] | None = None
) -> tuple[ScheduleView, ...]:
    """The schedules whose ids come after one, in order. See `view_of`."""
    ids = heapq.nsmallest(limit, (one for one in state.schedules if one > after))
    return tuple(_view(state.schedules[one], now, (set_aside or {}).get(one)) for one in ids)


def _view(schedule: ScheduleRecord, now: datetime, reason: str | None) -> ScheduleView:
    most = _LISTED_TIMES
    if schedule.state.limited_actions:
        most = min(most, schedule.state.remaining_actions)
    times: tuple[datetime, ...] = ()
    try:
        ticks = next_ticks(schedule, now) if reason is None else ()
        times = tuple(tick.due for tick in itertools.islice(ticks, most))
    except Exception as error:  # noqa: BLE001  (whoever looks is told)
        reason = reason_of(error)
    shown = schedule.model_copy(update={"last_result": None})  # its runs are told; it may be long
    return ScheduleView(schedule=shown, next_times=times, set_aside=reason)
