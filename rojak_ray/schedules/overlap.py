"""What becomes of the starts that wait while a run is going: the overlap policies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rojak_ray.errors import InternalError
from rojak_ray.schedules.events import PlannedRun, Start, StartsSettled, Stop
from rojak_ray.schedules.index import run_id_of
from rojak_ray.schedules.spec import ScheduleOverlapPolicy
from rojak_ray.schedules.state import ScheduleRecord
from rojak_ray.schedules.story import MOST_WAITING, Story

_STOPPING = (ScheduleOverlapPolicy.CANCEL_OTHER, ScheduleOverlapPolicy.TERMINATE_OTHER)


@dataclass
class _Sorted:
    """What is to become of the starts that wait."""

    beside: list[Start] = field(default_factory=list[Start])
    next: Start | None = None
    waiting: list[Start] = field(default_factory=list[Start])
    skipped: int = 0
    stop: Stop | None = None


def _sort(schedule: ScheduleRecord) -> _Sorted:
    """Apply the overlap policies to the starts that wait, in order."""
    running = any(run.plan.tracked for run in schedule.runs)
    found = _Sorted()
    for start in schedule.waiting:
        overlap = start.overlap or schedule.definition.policy.overlap
        if overlap is ScheduleOverlapPolicy.ALLOW_ALL:
            found.beside.append(start)
        elif not running and found.next is None:
            found.next = start
        else:
            _apply(found, start, overlap, running=running)
    if len(found.waiting) > MOST_WAITING:
        found.waiting = _without_replaced(found.waiting, schedule)
    return found


def _without_replaced(waiting: list[Start], schedule: ScheduleRecord) -> list[Start]:
    """Without the oldest of those that only the latest of their kind will start in the place of."""
    surplus = len(waiting) - MOST_WAITING
    stopping = [start for start in waiting if (start.overlap or schedule.definition.policy.overlap) in _STOPPING]
    replaced = {start.number for start in stopping[:-1][:surplus]}
    return [start for start in waiting if start.number not in replaced]


def _apply(found: _Sorted, start: Start, overlap: ScheduleOverlapPolicy, *, running: bool) -> None:
    match overlap:
        case ScheduleOverlapPolicy.SKIP:
            found.skipped += 1
        case ScheduleOverlapPolicy.BUFFER_ONE if found.waiting:
            found.skipped += 1
        case ScheduleOverlapPolicy.BUFFER_ONE | ScheduleOverlapPolicy.BUFFER_ALL:
            found.waiting.append(start)
        case ScheduleOverlapPolicy.CANCEL_OTHER | ScheduleOverlapPolicy.TERMINATE_OTHER if not running:
            found.next = start  # the one before has not begun: replace it
        case ScheduleOverlapPolicy.CANCEL_OTHER:
            found.stop = found.stop or "cancel"
            found.waiting.append(start)
        case ScheduleOverlapPolicy.TERMINATE_OTHER:
            found.stop = "terminate"
            found.waiting.append(start)
        case _:
            raise InternalError(f"{overlap!r} is applied before.")


def settle(story: Story) -> None:
    """Start what may start; once more if some of it is over, because the schedule does not act."""
    while story.schedule.waiting:
        schedule = story.schedule
        found = _sort(schedule)
        chosen = [*found.beside, *([found.next] if found.next else [])]
        taken = list(_takeable(schedule, chosen))
        runs = tuple(
            PlannedRun(start=start, run_id=run_id_of(story.id, start), tracked=start is found.next) for start in taken
        )
        stop = found.stop if any(run.stop != found.stop for run in schedule.runs if run.plan.tracked) else None
        if stop is None and len(found.waiting) == len(schedule.waiting):
            return
        story.tell(
            StartsSettled(
                schedule_id=story.id,
                runs=runs,
                waiting=tuple(start.number for start in found.waiting),
                skipped=found.skipped,
                stop=stop,
            )
        )
        if len(taken) == len(chosen):
            return


def _takeable(schedule: ScheduleRecord, starts: Iterable[Start]) -> Iterator[Start]:
    """Those that may be taken: of starts that nobody asked for, only while the schedule acts."""
    state = schedule.state
    left = state.remaining_actions if state.limited_actions else None
    for start in starts:
        if start.manual:
            yield start
        elif not state.paused and left != 0:
            left = left - 1 if left is not None else None
            yield start
