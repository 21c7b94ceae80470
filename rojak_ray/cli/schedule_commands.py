"""What `rojak schedules` does, over any client; the words it prints are made here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from rojak_ray.cli.models import ModelChoice
from rojak_ray.cli.output import Voice, as_json
from rojak_ray.display import json_line
from rojak_ray.errors import InvalidAgent, InvalidSchedule
from rojak_ray.schedules import (
    ScheduleBackfill,
    ScheduleCalendarSpec,
    ScheduleDescription,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
)
from rojak_ray.schedules.client import SchedulingClient
from rojak_ray.schedules.cron import read_cron, read_duration
from rojak_ray.schedules.spec import DEFAULT_CATCHUP_WINDOW


@dataclass(frozen=True, kw_only=True)
class NewSchedule:
    """What a person wrote after `create`."""

    message: str
    cron: tuple[str, ...] = ()
    every: tuple[str, ...] = ()
    zone: str | None = None
    jitter: str | None = None
    model: str = "offline"
    name: str = "Agent"
    instructions: str = ""
    functions: tuple[str, ...] = ()
    overlap: str | None = None
    catchup: str | None = None
    pause_on_failure: bool = False
    paused: bool = False
    note: str | None = None


async def list_all(client: SchedulingClient, *, as_json: bool = False, voice: Voice | None = None) -> None:
    """A line for each schedule."""
    voice = voice or Voice()
    found = 0
    async for handle in client.list_schedules():
        found += 1
        description = await handle.describe()
        if as_json:
            voice.say(json_line(summary(description)))
            continue
        times = description.info.next_action_times
        state = "paused" if description.state.paused else f"next {_shown(times[0], description)}" if times else "done"
        if description.info.set_aside:
            state = f"set aside ({description.info.set_aside})"
        voice.say(f"{description.id}  {state}  {describe_spec(description.spec)}")
    if not found and not as_json:
        voice.note("There are no schedules; `rojak schedules create` makes one.")


async def show(
    client: SchedulingClient, schedule_id: str, *, as_json: bool = False, voice: Voice | None = None
) -> None:
    """Everything about one schedule."""
    voice = voice or Voice()
    description = await (await client.get_schedule(schedule_id)).describe()
    if as_json:
        voice.say(json_line(summary(description)))
        return
    info, state, policy = description.info, description.state, description.policy
    voice.say(description.id, "bold")
    voice.say(f"  acts     {describe_spec(description.spec)}")
    limit = f", {state.remaining_actions} times more" if state.limited_actions else ""
    voice.say(f"  state    {'paused' if state.paused else 'active'}{limit}{f' ({state.note})' if state.note else ''}")
    if info.stands_by:
        voice.say(f"  acts     at another cluster, while this one stands by: {info.stands_by}")
    if info.set_aside:
        voice.say(f"  aside    set aside, so that it does not act: {info.set_aside}", "red")
    window = policy.catchup_window or DEFAULT_CATCHUP_WINDOW
    failing = ", pauses on failure" if policy.pause_on_failure else ""
    voice.say(f"  policy   {policy.overlap.name}, catches up {window}{failing}")
    voice.say(f"  agent    {description.action.agent.name} ({description.action.agent.model})")
    voice.say(
        f"  counts   {info.num_actions} started, {info.num_actions_missed_catchup_window} missed, "
        f"{info.num_actions_skipped_overlap} skipped, {info.num_actions_dropped_buffer} dropped, "
        f"{info.num_actions_buffered} waiting"
    )
    for span in info.backfills:
        voice.say(f"  backfill {_shown(span.start_at, description)} to {_shown(span.end_at, description)}")
    for moment in info.next_action_times:
        voice.say(f"  next     {_shown(moment, description)}")
    for result in reversed(info.recent_actions):
        error = f": {result.error}" if result.error else ""
        voice.say(
            f"  run      {_shown(result.started_at, description)}  {result.status}  {result.action.run_id}{error}"
        )


async def create(client: SchedulingClient, schedule_id: str, new: NewSchedule, voice: Voice | None = None) -> None:
    """Create a schedule and say when it acts."""
    try:
        choice = ModelChoice.parse(new.model)
    except ValueError as error:
        raise InvalidAgent(str(error)) from error
    spec = ScheduleSpec(
        cron_expressions=[*new.cron, *(f"@every {duration}" for duration in new.every)],
        time_zone_name=new.zone,
        jitter=_duration(new.jitter, "--jitter"),
    )
    if not spec.cron_expressions:
        raise InvalidSchedule("Say when: pass --cron or --every.")
    policy = SchedulePolicy(
        overlap=_overlap(new.overlap) or ScheduleOverlapPolicy.SKIP,
        catchup_window=_duration(new.catchup, "--catchup"),
        pause_on_failure=new.pause_on_failure,
    )
    agent = choice.make_agent(name=new.name, instructions=new.instructions, functions=list(new.functions))
    state = ScheduleState(note=new.note, paused=new.paused)
    handle = await client.create_schedule(schedule_id, spec, agent, new.message, policy=policy, state=state)
    description = await handle.describe()
    times = description.info.next_action_times
    when = f"acts next at {_shown(times[0], description)}" if times else "never acts: nothing matches"
    (voice or Voice()).say(f"{schedule_id} {'is paused and ' if new.paused else ''}{when}.")


async def pause(client: SchedulingClient, schedule_id: str, note: str | None, voice: Voice | None = None) -> None:
    """Pause a schedule."""
    await (await client.get_schedule(schedule_id)).pause(note=note)
    (voice or Voice()).say(f"{schedule_id} is paused.")


async def unpause(client: SchedulingClient, schedule_id: str, note: str | None, voice: Voice | None = None) -> None:
    """Unpause a schedule."""
    handle = await client.get_schedule(schedule_id)
    await handle.unpause(note=note)
    description = await handle.describe()
    times = description.info.next_action_times
    when = f"acts next at {_shown(times[0], description)}" if times else "has nothing left to do"
    (voice or Voice()).say(f"{schedule_id} {when}.")


async def trigger(client: SchedulingClient, schedule_id: str, overlap: str | None, voice: Voice | None = None) -> None:
    """Start a run now."""
    await (await client.get_schedule(schedule_id)).trigger(overlap=_overlap(overlap))
    (voice or Voice()).say(f"{schedule_id} was triggered.")


async def backfill(
    client: SchedulingClient,
    schedule_id: str,
    start: str,
    end: str,
    overlap: str | None,
    voice: Voice | None = None,
) -> None:
    """Go through a span of time."""
    handle = await client.get_schedule(schedule_id)
    zone = _zone((await handle.describe()).spec)
    span = ScheduleBackfill(_moment(start, zone), _moment(end, zone), _overlap(overlap))
    await handle.backfill(span)
    (voice or Voice()).say(f"{schedule_id} goes through the time from {span.start_at} to {span.end_at}.")


async def cancel_backfills(client: SchedulingClient, schedule_id: str, voice: Voice | None = None) -> None:
    """Call off what is left of the backfills."""
    handle = await client.get_schedule(schedule_id)
    left = len((await handle.describe()).info.backfills)
    await handle.cancel_backfills()
    (voice or Voice()).say(f"{schedule_id} goes through no times any more ({left} backfills were left).")


async def delete(client: SchedulingClient, schedule_id: str, voice: Voice | None = None) -> None:
    """Delete a schedule."""
    await (await client.get_schedule(schedule_id)).delete()
    (voice or Voice()).say(f"{schedule_id} is deleted.")


def summary(description: ScheduleDescription) -> dict[str, Any]:
    """A schedule as JSON; times in its zone."""
    zone, info, policy = _zone(description.spec), description.info, description.policy

    def shown(moment: datetime | None) -> str | None:
        return moment.astimezone(zone).isoformat() if moment else None

    window = policy.catchup_window or DEFAULT_CATCHUP_WINDOW
    return {
        "id": description.id,
        "acts": describe_spec(description.spec),
        "time_zone": str(zone),
        "paused": description.state.paused,
        "note": description.state.note,
        "set_aside": info.set_aside,
        "stands_by": info.stands_by,
        "remaining_actions": description.state.remaining_actions if description.state.limited_actions else None,
        "overlap": policy.overlap.name,
        "catchup_window_s": window.total_seconds(),
        "pause_on_failure": policy.pause_on_failure,
        "agent": description.action.agent.name,
        "started": info.num_actions,
        "missed": info.num_actions_missed_catchup_window,
        "skipped": info.num_actions_skipped_overlap,
        "dropped": info.num_actions_dropped_buffer,
        "waiting": info.num_actions_buffered,
        "next": [shown(moment) for moment in info.next_action_times],
        "recent": [
            {
                "run_id": result.action.run_id,
                "scheduled_at": shown(result.scheduled_at),
                "started_at": shown(result.started_at),
                "status": result.status,
                "error": result.error,
            }
            for result in info.recent_actions
        ],
        "created_at": shown(info.created_at),
        "updated_at": shown(info.last_updated_at),
    }


def describe_spec(spec: ScheduleSpec) -> str:
    """When a schedule acts, in a line."""
    parts = [*spec.cron_expressions]
    parts += [f"every {one.every}" + (f" from {one.offset}" if one.offset else "") for one in spec.intervals]
    parts += [_describe_calendar(one) for one in spec.calendars]
    text = " or ".join(parts) or "never"
    if spec.skip:
        text += " except " + " or ".join(_describe_calendar(one) for one in spec.skip)
    if spec.start_at:
        text += f" from {spec.start_at}"
    if spec.end_at:
        text += f" until {spec.end_at}"
    if spec.jitter:
        text += f" within {spec.jitter}"
    return f"{text} ({_zone(spec)})"


def _describe_calendar(calendar: ScheduleCalendarSpec) -> str:
    """The fields that differ from midnight of every day, and the comment."""
    plain = ScheduleCalendarSpec()
    names = ("year", "month", "day_of_month", "day_of_week", "hour", "minute", "second")
    fields = [
        f"{name} {','.join(map(_describe_range, getattr(calendar, name)))}"
        for name in names
        if list(getattr(calendar, name)) != list(getattr(plain, name))
    ]
    comment = f" # {calendar.comment}" if calendar.comment else ""
    return (" ".join(fields) or "midnight") + comment


def _describe_range(one: ScheduleRange) -> str:
    span = str(one.start) if one.end == one.start else f"{one.start}-{one.end}"
    return span if one.step == 1 else f"{span}/{one.step}"


def _zone(spec: ScheduleSpec) -> ZoneInfo:
    """The schedule's zone; UTC where this machine does not know it, which may be why the schedule is set aside."""
    try:
        named = (read_cron(text, "cron_expressions").zone_name for text in spec.cron_expressions)
        return ZoneInfo(spec.time_zone_name or next(filter(None, named), None) or "UTC")
    except (ValueError, KeyError, OSError):
        return ZoneInfo("UTC")


def _shown(moment: datetime, description: ScheduleDescription) -> str:
    return f"{moment.astimezone(_zone(description.spec)):%Y-%m-%d %H:%M:%S %Z}"


def _overlap(name: str | None) -> ScheduleOverlapPolicy | None:
    if name is None:
        return None
    try:
        return ScheduleOverlapPolicy[name.upper().replace("-", "_")]
    except KeyError:
        names = ", ".join(policy.name for policy in ScheduleOverlapPolicy)
        raise InvalidSchedule(f"{name!r} is no overlap policy; there are {names}.") from None


def _duration(text: str | None, option: str) -> timedelta | None:
    return read_duration(text, option) if text is not None else None


def _moment(text: str, zone: ZoneInfo) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidSchedule(f"{text!r} is no time; write it like {as_json('2026-06-01T08:00')}.") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
