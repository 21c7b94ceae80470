"""What waits, what need not, and which ids runs get that somebody asked for."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.plans import EVERY_MINUTE, Plan, minute

from rojak_ray.schedules import ScheduleOverlapPolicy, ScheduleSpec, ScheduleState
from rojak_ray.schedules.commands import CancelBackfills
from rojak_ray.schedules.events import Start
from rojak_ray.schedules.state import ScheduleRecord
from rojak_ray.schedules.story import MOST_WAITING

SKIP, BUFFER_ONE, BUFFER_ALL, CANCEL_OTHER, TERMINATE_OTHER, ALLOW_ALL = ScheduleOverlapPolicy


def test_times_that_need_not_wait_are_never_dropped():
    plan = Plan(overlap=ALLOW_ALL).advance(1440)
    assert len(plan.now.runs) == 1440
    assert plan.counts == {}


@pytest.mark.parametrize("overlap", [SKIP, BUFFER_ONE])
def test_times_that_are_skipped_anyway_are_counted_as_skipped(overlap):
    plan = Plan(overlap=overlap).advance(1).start(1).advance(2500)
    assert "dropped" not in plan.counts
    assert plan.now.skipped + len(plan.now.waiting) == 2499


@pytest.mark.parametrize("overlap", [CANCEL_OTHER, TERMINATE_OTHER])
def test_latest_starts_however_many_wait_for_the_other_to_stop(overlap):
    plan = Plan(overlap=overlap).advance(1).start(1).advance(2500)
    assert len(plan.now.waiting) == MOST_WAITING
    assert plan.counts == {"started": 1}
    plan.end(2500.5, "cancelled")
    assert [run.plan.start.nominal for run in plan.now.runs] == [minute(2500)]


def test_queue_that_is_full_holds_back_no_trigger_that_need_not_wait():
    plan = Plan(overlap=BUFFER_ALL).advance(1).start(1).advance(MOST_WAITING + 1)
    assert len(plan.now.waiting) == MOST_WAITING
    plan.trigger(MOST_WAITING + 1.5, ALLOW_ALL)
    assert len(plan.now.runs) == 2
    assert plan.counts == {"started": 1}


def test_what_runs_beside_others_starts_while_one_is_being_stopped():
    plan = Plan(overlap=CANCEL_OTHER).advance(1).start(1).advance(2)
    assert plan.trigger(2.5, ALLOW_ALL).running == ["01", "02"]
    assert plan.waiting == ["02"]


def first_copies(plan: Plan) -> dict[str, int]:
    """By nominal minute, the first number that a run by hand may have."""
    starts = [*(run.plan.start for run in plan.now.runs), *plan.now.waiting]
    return {f"{start.nominal:%M:%S}": start.first_copy for start in starts if start.manual}


def test_start_by_hand_never_takes_the_id_of_a_time_that_is_still_to_come():
    late = ScheduleSpec(intervals=EVERY_MINUTE.intervals, jitter=timedelta(minutes=1))
    plan = Plan(late, overlap=ALLOW_ALL)
    due = plan.wakes(0)
    assert due is not None
    assert due > 1
    plan.trigger(1)  # at the very second, while jitter still holds its own run back
    assert first_copies(plan) == {"01:00": 2}
    plan = Plan(overlap=ALLOW_ALL).backfill(0.5, 1, 3)
    assert first_copies(plan) == {"01:00": 2, "02:00": 2, "03:00": 2}
    assert [run.plan.start.first_copy for run in plan.advance(3).now.runs if not run.plan.start.manual] == [1, 1, 1]


def test_start_by_hand_at_a_time_that_is_over_or_that_no_time_has_gets_the_plain_id():
    plan = Plan(overlap=ALLOW_ALL, state=ScheduleState(paused=True)).trigger(2).backfill(5, 3, 4)
    assert first_copies(plan) == {"02:00": 1, "03:00": 1, "04:00": 1}
    assert first_copies(Plan(overlap=ALLOW_ALL).trigger(1.5)) == {"01:30": 1}


def test_start_by_hand_waits_for_no_id_that_a_planned_run_has_not_taken_yet():
    plan = Plan(overlap=ALLOW_ALL).advance(1).backfill(1.5, 1, 1)
    assert first_copies(plan) == {"01:00": 2}
    plan = Plan(overlap=ALLOW_ALL).advance(1).start(1).backfill(1.5, 1, 1)
    assert first_copies(plan) == {"01:00": 1}  # it has its run, whose id is found taken


def test_backfills_are_called_off_with_what_waits_for_them_and_nothing_else():
    plan = Plan(overlap=BUFFER_ALL).advance(1).start(1).backfill(1.5, -5000, 0).advance(3)
    assert plan.now.backfills
    assert len(plan.waiting) > 400
    plan.when(CancelBackfills(), 3.5)
    assert (plan.now.backfills, plan.waiting) == ((), ["02", "03"])
    assert plan.when(CancelBackfills(), 3.6).told == []


def test_events_from_before_their_fields_were_added_still_fold():
    """A journal of format 2 has starts without copies, and schedules whose requests are numbers."""
    old = {"number": 1, "nominal": "2026-06-01T08:01:00Z", "due": "2026-06-01T08:01:00Z"}
    start = Start.model_validate(old)
    assert (start.first_copy, start.by_time, start.backfill) == (1, False, False)
    record = Plan().now.model_dump(mode="json")
    record.pop("behind_since")
    assert ScheduleRecord.model_validate(record).behind_since is None
