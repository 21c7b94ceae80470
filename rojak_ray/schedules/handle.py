"""`ScheduleHandle`: one schedule, from a program. Light: an id and the way to ask."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeAlias

from pydantic import TypeAdapter

from rojak_ray.errors import InternalError, InvalidContext, InvalidSchedule, ScheduleChanged
from rojak_ray.messages import read_context, read_messages, to_public
from rojak_ray.schedules.commands import (
    BackfillSchedule,
    Command,
    DeleteSchedule,
    PauseSchedule,
    TriggerSchedule,
    UnpauseSchedule,
    UpdateSchedule,
)
from rojak_ray.schedules.edges import check_text, in_utc, since_1970
from rojak_ray.schedules.events import Action, Definition, Span
from rojak_ray.schedules.ports import Scheduler
from rojak_ray.schedules.requests import ScheduleAsk, ScheduleView
from rojak_ray.schedules.runs import CONTEXT_KEY
from rojak_ray.schedules.spec import (
    ScheduleBackfill,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    check_overlap,
    check_policy,
    check_state,
)
from rojak_ray.schedules.times import compile_spec
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
from rojak_ray.sessions.caller import Caller, read_flag, read_limit, read_model_calls

Updater: TypeAlias = Callable[[ScheduleUpdateInput], "ScheduleUpdate | Awaitable[ScheduleUpdate | None] | None"]

_MOST_UPDATES = 10
_DEFINITION = TypeAdapter(Definition)


class ScheduleHandle:
    """A schedule. Any number of programs may hold one."""

    def __init__(self, caller: Caller, scheduler: Scheduler, schedule_id: str) -> None:
        """Made by `create_schedule`, `get_schedule` and `list_schedules`."""
        self.id = schedule_id
        self._caller = caller
        self._scheduler = scheduler

    async def describe(self) -> ScheduleDescription:
        """The schedule as it stands.

        Raises:
            ScheduleNotFound: It was deleted.
        """
        reply = await self._scheduler.ask(ScheduleAsk(schedule_id=self.id, view=True))
        if reply.view is None:
            raise InternalError(f"No view of schedule {self.id!r} came back.")
        return describe(self._caller, reply.view)

    async def pause(self, *, note: str | None = None) -> None:
        """Take no times into account until it is unpaused; what passes meanwhile is forgotten. Runs go on."""
        check_text(note, "note")
        await self._tell(PauseSchedule(note=note))

    async def unpause(self, *, note: str | None = None) -> None:
        """Go on with the next time."""
        check_text(note, "note")
        await self._tell(UnpauseSchedule(note=note))

    async def trigger(self, *, overlap: ScheduleOverlapPolicy | None = None) -> None:
        """Start a run now, also of a paused schedule.

        Args:
            overlap: What to do if one is running; None: the schedule's policy.

        Crash safety:
            When it returns, the start is durable.
        """
        if overlap is not None:
            check_overlap(overlap, "overlap")
        await self._tell(TriggerSchedule(request_id=self._caller.ids.new_id(), overlap=overlap))

    async def backfill(self, *backfill: ScheduleBackfill) -> None:
        """Go through spans of time as if they passed now, one after another.

        A run at a time that had one already gets the same id with a number after it.

        Raises:
            InvalidSchedule: A span makes no sense.
        """
        if not backfill:
            raise InvalidSchedule("Pass at least one ScheduleBackfill.")
        spans = tuple(_read_span(one, index) for index, one in enumerate(backfill))
        await self._tell(BackfillSchedule(request_id=self._caller.ids.new_id(), spans=spans))

    async def update(
        self,
        updater: Updater | None = None,
        *,
        action: ScheduleActionStartRun | None = None,
        spec: ScheduleSpec | None = None,
        policy: SchedulePolicy | None = None,
        state: ScheduleState | None = None,
    ) -> None:
        """Change what the schedule does or when. Times before the update are not made up for.

        Args:
            updater: Given a description, answers with the whole new schedule, or None to change nothing. It may be a
                coroutine function, and is asked again when somebody else changes the schedule meanwhile.
            action: What to do from now on.
            spec: When.
            policy: How to deal with runs that overlap, come late or fail.
            state: Whether to act.

        Raises:
            InvalidSchedule: It cannot be followed; nothing changed.
            ScheduleChanged: Others keep changing it.
        """
        given = {"action": action, "spec": spec, "policy": policy, "state": state}
        changes = {name: value for name, value in given.items() if value is not None}
        for attempt in range(_MOST_UPDATES):
            description = await self.describe()
            wanted = replace(description.schedule, **changes)
            if updater is not None:
                current = replace(description, schedule=wanted)
                answer = updater(ScheduleUpdateInput(current))
                update = await answer if inspect.isawaitable(answer) else answer
                if update is None:
                    return
                wanted = update.schedule
            definition, state_then = await encode(self._caller, wanted)
            try:
                await self._tell(UpdateSchedule(definition=definition, state=state_then, token=description.token))
            except ScheduleChanged:
                if attempt == _MOST_UPDATES - 1:
                    raise
            else:
                return

    async def delete(self) -> None:
        """Delete the schedule. Runs that are going go on, and those it started stay listed."""
        await self._tell(DeleteSchedule())

    async def _tell(self, command: Command) -> None:
        await self._scheduler.ask(ScheduleAsk(schedule_id=self.id, command=command))


async def encode(caller: Caller, schedule: Schedule) -> tuple[Definition, ScheduleState]:
    """Check everything a person says about a schedule, and turn it into records of its own.

    Raises:
        RequestError: Something cannot be followed or stored; the text says what.
    """
    compile_spec(schedule.spec)
    check_policy(schedule.policy)
    check_state(schedule.state)
    action = schedule.action
    messages = read_messages(action.messages)
    context = read_context(action.context_variables)
    if CONTEXT_KEY in context:
        raise InvalidContext(
            f"In the context variable {CONTEXT_KEY!r} a scheduled run finds out about itself; name yours otherwise."
        )
    record = Action(
        agent=await caller.prepare(action.agent),
        messages=messages,
        context_variables=context,
        max_turns=read_limit(action.max_turns, "max_turns"),
        max_model_calls=read_model_calls(action.max_model_calls),
        debug=read_flag(action.debug, "debug"),
    )
    definition = Definition(action=record, spec=schedule.spec, policy=schedule.policy)
    # Through JSON, so that what the caller holds and may change is not what is stored.
    return _DEFINITION.validate_json(_DEFINITION.dump_json(definition)), replace(schedule.state)


def describe(caller: Caller, view: ScheduleView) -> ScheduleDescription:
    """A view as callers see it."""
    record = view.schedule
    action = record.definition.action
    schedule = Schedule(
        action=ScheduleActionStartRun(
            agent=caller.restore(action.agent),
            messages=[to_public(message) for message in action.messages],
            context_variables=dict(action.context_variables),
            max_turns=float("inf") if action.max_turns is None else action.max_turns,
            max_model_calls=float("inf") if action.max_model_calls is None else action.max_model_calls,
            debug=action.debug,
        ),
        spec=replace(record.definition.spec),
        policy=replace(record.definition.policy),
        state=replace(record.state),
    )
    results = [
        ScheduleActionResult(
            result.scheduled_at,
            result.started_at,
            ScheduleActionExecution(result.run_id),
            result.status,
            result.error,
        )
        for result in record.recent
    ]
    running = [run for run in record.runs if run.plan.tracked and run.started_at is not None]
    info = ScheduleInfo(
        num_actions=record.started,
        num_actions_missed_catchup_window=record.missed,
        num_actions_skipped_overlap=record.skipped,
        num_actions_dropped_buffer=record.dropped,
        num_actions_buffered=len(record.waiting),
        running_actions=[ScheduleActionExecution(run.plan.run_id) for run in running],
        recent_actions=results,
        next_action_times=list(view.next_times),
        created_at=record.created_at,
        last_updated_at=record.updated_at,
    )
    return ScheduleDescription(record.schedule_id, schedule, info, record.token)


def _read_span(given: ScheduleBackfill, index: int) -> Span:
    name = f"backfill[{index}]"
    if not isinstance(given, ScheduleBackfill):
        raise InvalidSchedule(f"{name} must be a ScheduleBackfill, not {type(given).__name__}.")
    start, end = since_1970(given.start_at, f"{name}.start_at"), in_utc(given.end_at, f"{name}.end_at")
    if end < start:
        raise InvalidSchedule(f"{name}.end_at is before its start_at.")
    if given.overlap is not None:
        check_overlap(given.overlap, f"{name}.overlap")
    return Span(after=start - timedelta(microseconds=1), until=end, overlap=given.overlap)
