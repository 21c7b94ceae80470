"""What a schedule makes of time and of what people ask, in virtual minutes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.plans import EVERY_MINUTE, MONDAY, Plan, minute

from rojak_ray.errors import InvalidSchedule, ScheduleChanged, ScheduleExists, ScheduleNotFound
from rojak_ray.schedules import (
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
)
from rojak_ray.schedules.commands import Advance, BackfillSchedule, CreateSchedule, PauseSchedule, RecordEnd
from rojak_ray.schedules.decide import decide
from rojak_ray.schedules.events import ClockBehind, Span
from rojak_ray.schedules.passing import IDLE_FOR_GOOD
from rojak_ray.schedules.story import MOST_WAITING

SKIP, BUFFER_ONE, BUFFER_ALL = (
    ScheduleOverlapPolicy.SKIP,
    ScheduleOverlapPolicy.BUFFER_ONE,
    ScheduleOverlapPolicy.BUFFER_ALL,
)
CANCEL_OTHER, TERMINATE_OTHER, ALLOW_ALL = (
    ScheduleOverlapPolicy.CANCEL_OTHER,
    ScheduleOverlapPolicy.TERMINATE_OTHER,
    ScheduleOverlapPolicy.ALLOW_ALL,
)
DAY = 24 * 60


def stops(plan: Plan) -> list[str | None]:
    return [run.stop for run in plan.now.runs]


# Times and identity


def test_time_that_comes_leads_to_one_run_named_after_it():
    plan = Plan().advance(0.5)
    assert plan.events[1:] == []
    plan.advance(1.01)
    assert [run.plan.run_id for run in plan.now.runs] == ["s-2026-06-01T08:01:00Z"]
    assert plan.advance(1.5).told == []
    assert plan.wakes(1.5) == 2


def test_time_of_creation_is_excluded():
    assert Plan().advance(0).running == []


def test_jitter_puts_the_run_off_but_not_its_name():
    plan = Plan(ScheduleSpec(intervals=EVERY_MINUTE.intervals, jitter=timedelta(minutes=1)))
    due = plan.wakes(0)
    assert due is not None
    assert 1 < due < 2
    plan.advance(due - 0.001)
    assert plan.running == []
    plan.advance(due)
    (run,) = plan.now.runs
    assert (run.plan.run_id, run.plan.start.due) == ("s-2026-06-01T08:01:00Z", minute(due))


def test_clock_that_is_set_back_starts_nothing_twice_and_loses_nothing():
    plan = Plan(overlap=ALLOW_ALL).advance(3)
    for back in (2, -500, 2.9, 1):
        assert not [event for event in plan.advance(back).told if not isinstance(event, ClockBehind)]
    assert plan.advance(4).running == ["01", "02", "03", "04"]


def test_clock_that_jumps_ahead_goes_through_the_catchup_window():
    policy = SchedulePolicy(ALLOW_ALL, catchup_window=timedelta(minutes=2))
    plan = Plan(policy=policy).advance(10)
    assert plan.running == ["08", "09", "10"]
    assert plan.counts == {"missed": 7}


def test_catchup_window_is_a_year_unless_given_and_never_under_ten_seconds():
    assert Plan(overlap=ALLOW_ALL).advance(100).counts == {}
    plan = Plan(policy=SchedulePolicy(ALLOW_ALL, catchup_window=timedelta(0))).advance(1 + 9 / 60).advance(2 + 11 / 60)
    assert plan.running == ["01"]
    assert plan.counts == {"missed": 1}


def test_long_absence_is_caught_up_in_parts_and_counts_everything():
    plan = Plan(policy=SchedulePolicy(BUFFER_ALL, catchup_window=timedelta(minutes=5))).advance(9 * DAY)
    assert len(plan.told) <= 3
    assert plan.now.missed + len(plan.now.waiting) + len(plan.now.runs) == 9 * DAY


def test_start_at_and_end_at_are_times_too():
    plan = Plan(ScheduleSpec(intervals=EVERY_MINUTE.intervals, start_at=minute(3), end_at=minute(4)), overlap=ALLOW_ALL)
    assert plan.wakes(0) == 3
    assert plan.advance(9).running == ["03", "04"]


# Overlap


def test_skip_drops_what_comes_while_one_runs_and_goes_on_with_the_next_time():
    plan = Plan(overlap=SKIP).advance(1).advance(2).advance(3)
    assert plan.running == ["01"]
    assert plan.counts == {"skipped": 2}
    assert plan.end(3.5).running == []
    assert plan.advance(4).running == ["04"]


def test_skip_when_several_are_late_starts_the_first_of_them():
    plan = Plan(overlap=SKIP).advance(3)
    assert plan.running == ["01"]
    assert plan.counts == {"skipped": 2}


def test_buffer_one_keeps_the_first_that_waits():
    plan = Plan(overlap=BUFFER_ONE).advance(1).advance(2).advance(3)
    assert (plan.running, plan.waiting, plan.counts) == (["01"], ["02"], {"skipped": 1})
    plan.end(3.5)
    assert (plan.running, plan.waiting) == (["02"], [])


def test_buffer_all_runs_one_after_another():
    plan = Plan(overlap=BUFFER_ALL).advance(1).advance(3)
    assert (plan.running, plan.waiting) == (["01"], ["02", "03"])
    assert plan.end(3.1).running == ["02"]
    assert plan.end(3.2).running == ["03"]
    assert plan.end(3.3).running == []


def test_buffer_takes_a_thousand_and_counts_the_rest_as_dropped():
    plan = Plan(overlap=BUFFER_ALL).advance(1).start(1).advance(MOST_WAITING + 6)
    assert len(plan.now.waiting) == MOST_WAITING
    assert plan.counts == {"started": 1, "dropped": 5}
    assert plan.trigger(MOST_WAITING + 6.5).counts == {"started": 1, "dropped": 6}


@pytest.mark.parametrize(("overlap", "stop"), [(CANCEL_OTHER, "cancel"), (TERMINATE_OTHER, "terminate")])
def test_other_is_stopped_and_the_latest_starts_when_it_has_ended(overlap, stop):
    plan = Plan(overlap=overlap).advance(1).start(1)
    assert stops(plan) == [None]
    plan.advance(2)
    assert (plan.running, plan.waiting, stops(plan)) == (["01"], ["02"], [stop])
    plan.advance(3)
    assert (plan.waiting, stops(plan)) == (["02", "03"], [stop])
    plan.end(3.1, "cancelled")
    assert (plan.running, plan.waiting) == (["03"], [])
    assert [result.status for result in plan.now.recent] == ["terminated" if stop == "terminate" else "cancelled"]


def test_terminating_wins_over_cancelling():
    plan = Plan(overlap=CANCEL_OTHER).advance(1).start(1).advance(2)
    assert stops(plan) == ["cancel"]
    assert stops(plan.trigger(2.5, TERMINATE_OTHER)) == ["terminate"]


def test_allow_all_starts_at_once_holds_nobody_back_and_hands_on_nothing():
    plan = Plan(overlap=ALLOW_ALL).advance(1).advance(2)
    assert plan.running == ["01", "02"]
    assert plan.trigger(2.5, SKIP).running == ["01", "02", "02"]
    plan.end(2.6, result="first")
    assert plan.now.last_result is None


def test_policy_that_is_changed_holds_for_what_waits_already():
    plan = Plan(overlap=BUFFER_ALL).advance(1).advance(3)
    plan.update(3.5, policy=SchedulePolicy(overlap=ALLOW_ALL))
    assert (plan.running, plan.waiting) == (["01", "02", "03"], [])


# Failures and results


@pytest.mark.parametrize("status", ["failed", "timed_out"])
def test_pause_on_failure_pauses_with_a_note(status):
    plan = Plan(policy=SchedulePolicy(pause_on_failure=True)).advance(1).end(1.5, status, error="boom")
    assert plan.now.state.paused
    assert "s-2026-06-01T08:01:00Z: boom" in (plan.now.state.note or "")
    assert plan.advance(5).running == []


@pytest.mark.parametrize("status", ["cancelled", "completed"])
def test_other_endings_do_not_pause(status):
    plan = Plan(policy=SchedulePolicy(pause_on_failure=True)).advance(1).end(1.5, status)
    assert not plan.now.state.paused


def test_failure_without_the_policy_goes_on():
    assert Plan().advance(1).end(1.5, "failed").advance(2).running == ["02"]


def test_what_waits_when_a_failure_pauses_is_forgotten():
    plan = Plan(policy=SchedulePolicy(BUFFER_ALL, pause_on_failure=True)).advance(1).advance(3).end(3.5, "failed")
    assert (plan.running, plan.waiting) == ([], [])


def test_last_result_is_that_of_the_last_completed_run_and_a_failure_is_kept_beside_it():
    plan = Plan().advance(1).end(1.5, result="one")
    assert (plan.now.last_result, plan.now.last_failure) == ("one", None)
    plan.advance(2).end(2.5, "failed", error="boom")
    assert (plan.now.last_result, plan.now.last_failure) == ("one", "boom")
    plan.advance(3).end(3.5, result="three")
    assert (plan.now.last_result, plan.now.last_failure) == ("three", None)


def test_recent_results_are_the_last_ten():
    plan = Plan()
    for number in range(1, 13):
        plan.advance(number).end(number + 0.5, "failed" if number == 12 else "completed", error="boom")
    assert [f"{result.scheduled_at:%M}" for result in plan.now.recent] == [f"{number:02}" for number in range(3, 13)]
    assert plan.now.recent[-1].status == "failed"
    assert plan.counts == {"started": 12}


def test_run_that_could_not_start_is_missed_or_failed_and_the_next_one_comes():
    plan = Plan().advance(1).fail_to_start(1.5, missed=True)
    assert plan.counts == {"missed": 1}
    plan.advance(2).fail_to_start(2.5, missed=False)
    assert [(result.status, result.error) for result in plan.now.recent] == [("failed", "taken")]
    assert plan.advance(3).running == ["03"]


def test_news_of_a_run_counts_once():
    plan = Plan().advance(1).start(1)
    number = plan.now.runs[0].plan.start.number
    end = RecordEnd(number=number, status="completed", result="ok")
    assert len(plan.when(end, 1.2).told) == 1
    assert plan.when(end, 1.3).told == []


# Pausing and limits


def test_times_while_paused_are_forgotten_and_not_missed():
    plan = Plan(overlap=ALLOW_ALL).pause(0.5, "holiday")
    assert (plan.now.state.note, plan.wakes(0.5)) == ("holiday", None)
    assert plan.advance(5).told == []
    plan.unpause(5.5, "back")
    assert (plan.now.state.note, plan.running, plan.counts) == ("back", [], {})
    assert plan.advance(6).running == ["06"]


def test_time_that_came_before_pausing_counts():
    assert Plan(overlap=ALLOW_ALL).pause(1.5).running == ["01"]


def test_created_paused_and_paused_twice():
    plan = Plan(state=ScheduleState(paused=True, note="later"))
    assert plan.advance(3).running == []
    assert plan.pause(3, "later").told == []


def test_waiting_starts_are_forgotten_if_their_turn_comes_while_paused():
    plan = Plan(overlap=BUFFER_ALL).advance(1).advance(3).pause(3.5)
    assert plan.waiting == ["02", "03"]
    plan.end(4)
    assert (plan.running, plan.waiting) == ([], [])


def test_limited_actions_count_what_is_started_by_time_alone():
    plan = Plan(overlap=ALLOW_ALL, state=ScheduleState(limited_actions=True, remaining_actions=2))
    plan.trigger(0.5).advance(1)
    assert plan.now.state.remaining_actions == 1
    plan.advance(2)
    assert (plan.now.state.remaining_actions, len(plan.running)) == (0, 3)
    assert plan.advance(5).told == []
    assert len(plan.trigger(5.5).running) == 4
    assert plan.wakes(5.5) is None


def test_skipped_times_use_up_no_action():
    plan = Plan(overlap=SKIP, state=ScheduleState(limited_actions=True, remaining_actions=2)).advance(1).advance(3)
    assert plan.now.state.remaining_actions == 1


def test_late_times_beyond_the_limit_are_forgotten():
    plan = Plan(overlap=ALLOW_ALL, state=ScheduleState(limited_actions=True, remaining_actions=2)).advance(5)
    assert (plan.running, plan.waiting, plan.counts) == (["01", "02"], [], {})


def test_more_actions_start_from_the_update_on():
    plan = Plan(overlap=ALLOW_ALL, state=ScheduleState(limited_actions=True, remaining_actions=1)).advance(3)
    plan.update(5.5, state=ScheduleState(limited_actions=True, remaining_actions=5))
    assert plan.advance(6).running == ["01", "06"]


# What people ask


def test_trigger_starts_now_also_while_paused_and_follows_the_overlap_policy():
    plan = Plan(state=ScheduleState(paused=True)).trigger(0.75)
    assert [run.plan.run_id for run in plan.now.runs] == ["s-2026-06-01T08:00:45Z"]
    assert plan.trigger(0.8).counts == {"skipped": 1}
    assert plan.trigger(0.9, BUFFER_ALL).waiting == ["00"]


def test_trigger_whose_reply_was_lost_counts_once():
    plan = Plan(overlap=ALLOW_ALL).trigger(0.5, request="r").trigger(0.6, request="r")
    assert len(plan.running) == 1


def test_backfill_includes_both_ends_and_ignores_pause_and_catchup_window():
    policy = SchedulePolicy(ALLOW_ALL, catchup_window=timedelta(seconds=10))
    plan = Plan(policy=policy, state=ScheduleState(paused=True, limited_actions=True))
    plan.backfill(0.5, -10, -8)
    assert (plan.running, plan.counts) == (["50", "51", "52"], {})
    assert all(run.plan.start.manual for run in plan.now.runs)


def test_backfill_has_an_overlap_policy_of_its_own():
    plan = Plan(overlap=ALLOW_ALL).backfill(0.5, -3, -1, BUFFER_ALL)
    assert (plan.running, plan.waiting) == (["57"], ["58", "59"])


def test_backfill_goes_on_in_parts_and_each_time_comes_once():
    plan = Plan().backfill(0.5, -25, -1, ALLOW_ALL)
    assert len(plan.running) == 10
    assert plan.wakes(0.5) == pytest.approx(0.5 + 1 / 60)
    plan.advance(0.6).advance(0.7)
    assert plan.running == [f"{number:02}" for number in range(35, 60)]
    assert plan.now.backfills == ()


def test_large_backfill_leaves_room_for_times_that_come():
    plan = Plan(overlap=BUFFER_ALL).backfill(0.5, -3000, -1)
    assert len(plan.now.waiting) == MOST_WAITING // 2
    assert plan.advance(1).counts == {}
    plan.end(1.2).end(1.3).drain(1.3)
    assert len(plan.now.waiting) == MOST_WAITING // 2


def test_several_spans_are_gone_through_in_order():
    plan = Plan(overlap=ALLOW_ALL)
    spans = tuple(Span(after=minute(start), until=minute(start + 2)) for start in (-30, -10))
    plan.when(BackfillSchedule(request_id="b", spans=spans), 0.5).advance(0.5).advance(0.6)
    assert plan.running == ["31", "32", "51", "52"]


def test_too_many_spans_are_refused():
    span = Span(after=minute(-2), until=minute(-1))
    with pytest.raises(InvalidSchedule, match="backfills"):
        Plan().when(BackfillSchedule(request_id="b", spans=(span,) * 1001), 0)


def test_update_replaces_everything_and_times_before_it_are_not_made_up_for():
    plan = Plan(overlap=ALLOW_ALL).pause(0.5)
    spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(minutes=5))])
    plan.update(11, spec=spec, state=ScheduleState(note="new"))
    assert plan.advance(14).running == []
    assert plan.advance(15).running == ["15"]
    assert (plan.now.updated_at, plan.now.state.note) == (minute(11), "new")


def test_update_keeps_a_time_that_jitter_still_holds_back():
    spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(hours=1))], jitter=timedelta(hours=1))
    plan = Plan(spec)
    due = plan.wakes(0)
    assert due is not None
    plan.update(due - 0.1, policy=SchedulePolicy(overlap=ALLOW_ALL))
    assert plan.wakes(due - 0.1) == due
    assert plan.advance(due).running == ["00"]
    assert plan.update(due + 0.1).advance(due + 0.2).running == ["00"]


def test_update_with_an_old_token_is_refused():
    plan = Plan()
    token = plan.now.token
    plan.update(1, token=token)
    with pytest.raises(ScheduleChanged):
        plan.update(2, token=token)


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": ScheduleSpec(cron_expressions=["nonsense"])},
        {"policy": SchedulePolicy(catchup_window=timedelta(seconds=-1))},
        {"state": ScheduleState(remaining_actions=1)},
    ],
)
def test_what_cannot_be_followed_changes_nothing(changes):
    plan = Plan()
    with pytest.raises(InvalidSchedule):
        plan.update(1, **changes)
    assert plan.now.updated_at is None


def test_id_in_use_is_refused_unless_it_is_the_same_request():
    plan = Plan()
    again = CreateSchedule(schedule_id="s", incarnation="i", definition=plan.definition)
    assert plan.when(again, 1).told == []
    with pytest.raises(ScheduleExists, match="'s'"):
        plan.when(again.model_copy(update={"incarnation": "other"}), 1)


def test_deleted_schedule_is_gone_and_news_of_its_runs_lead_to_nothing():
    plan = Plan().advance(1).delete(1.5)
    assert plan.schedule is None
    assert decide(None, RecordEnd(number=1, status="completed", at=MONDAY)) == []
    assert decide(None, Advance(at=MONDAY)) == []
    with pytest.raises(ScheduleNotFound):
        decide(None, PauseSchedule(at=MONDAY))


def test_schedule_with_nothing_left_to_do_goes_after_a_week_unless_paused():
    once = ScheduleSpec(intervals=EVERY_MINUTE.intervals, end_at=minute(1))
    week = IDLE_FOR_GOOD / timedelta(minutes=1)
    plan = Plan(once).advance(1)
    assert plan.wakes(1) is None
    plan.end(2)
    assert plan.wakes(2) == 2 + week
    assert plan.advance(1 + week).schedule is not None
    paused = Plan(once).advance(1).end(2).pause(3)
    assert paused.wakes(3) is None
    assert paused.advance(9 * week).schedule is not None
    assert plan.advance(2 + week).schedule is None


def test_days_of_a_calendar_go_through_storage_with_everything_else():
    spec = ScheduleSpec(
        cron_expressions=["0 9 * * 1-5 # work"], jitter=timedelta(seconds=3), time_zone_name="Asia/Tokyo"
    )
    assert ScheduleRange(3).end == 3
    assert Plan(spec).now.definition.spec == spec
