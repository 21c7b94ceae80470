"""`ScheduleHandle`: one schedule, from a program. Light: an id and the way to ask."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeAlias

from rojak_ray.checks import shown
from rojak_ray.errors import InternalError, InvalidSchedule, ScheduleChanged
from rojak_ray.schedules.commands import (
    BackfillSchedule,
    CancelBackfills,
    Command,
    DeleteSchedule,
    PauseSchedule,
    Request,
    TriggerSchedule,
    UnpauseSchedule,
    UpdateSchedule,
)
from rojak_ray.schedules.definitions import describe, encode, read_span
from rojak_ray.schedules.edges import check_text
from rojak_ray.schedules.ports import Scheduler
from rojak_ray.schedules.requests import NamedRequest, ScheduleAsk, ScheduleView
from rojak_ray.schedules.spec import (
    ScheduleBackfill,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    check_overlap,
)
from rojak_ray.schedules.types import (
    Schedule,
    ScheduleActionStartRun,
    ScheduleDescription,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from rojak_ray.sessions.caller import Caller
from rojak_ray.sessions.naming import callables

Updater: TypeAlias = Callable[[ScheduleUpdateInput], "ScheduleUpdate | Awaitable[ScheduleUpdate | None] | None"]

_MOST_UPDATES = 10


class ScheduleHandle:
    """A schedule. Any number of programs may hold one.

    Example:
        schedule = await rojak.create_schedule("daily", ScheduleSpec(cron_expressions=["@daily"]), agent, "Hello!")
        await schedule.pause(note="closed for the summer")
    """

    def __init__(self, caller: Caller, scheduler: Scheduler, schedule_id: str) -> None:
        """Made by `create_schedule`, `get_schedule` and `list_schedules`."""
        self.id = schedule_id
        self._caller = caller
        self._scheduler = scheduler

    async def describe(self) -> ScheduleDescription:
        """The schedule as it stands.

        Raises:
            ScheduleNotFound: It was deleted.

        Example:
            description = await schedule.describe()
            assert description.spec.cron_expressions == ["@yearly"]
            assert len(description.info.next_action_times) == 10
        """
        return describe(self._caller, await self._look())

    async def pause(self, *, note: str | None = None, request_id: str | None = None) -> None:
        """Take no times into account until it is unpaused; what passes meanwhile is forgotten. Runs go on.

        Args:
            note: Why, for people.
            request_id: Names this request, here and in the other methods. It is taken once, however often and however
                late it is repeated: after an error of the storage, a restart, or other requests.

        Raises:
            RequestConflict: The request id was used with other arguments.

        Example:
            await schedule.pause(note="closed for today")
            assert (await schedule.describe()).state.paused
        """
        check_text(note, "note")
        await self._tell(PauseSchedule(note=note, request=self._named(request_id, note=note)))

    async def unpause(self, *, note: str | None = None, request_id: str | None = None) -> None:
        """Go on with the next time. See `pause`.

        Example:
            await schedule.pause()
            await schedule.unpause(note="open again")
            assert not (await schedule.describe()).state.paused
        """
        check_text(note, "note")
        await self._tell(UnpauseSchedule(note=note, request=self._named(request_id, note=note)))

    async def trigger(self, *, overlap: ScheduleOverlapPolicy | None = None, request_id: str | None = None) -> None:
        """Start a run now, also of a paused schedule.

        Args:
            overlap: What to do if one is running; None: the schedule's policy.
            request_id: See `pause`.

        Crash safety:
            When it returns, the start is durable.

        Example:
            await schedule.trigger(overlap=ScheduleOverlapPolicy.ALLOW_ALL)
        """
        if overlap is not None:
            check_overlap(overlap, "overlap")
        request = Request.named(request_id, overlap=overlap)
        await self._tell(TriggerSchedule(request_id=self._caller.ids.new_id(), overlap=overlap, request=request))

    async def backfill(self, *backfill: ScheduleBackfill, request_id: str | None = None) -> None:
        """Go through spans of time as if they passed now, one after another.

        A run at a time that had one already, or is still to have one, gets the same id with a number after it.

        Args:
            backfill: The spans.
            request_id: See `pause`.

        Raises:
            InvalidSchedule: A span makes no sense.

        Example:
            from datetime import UTC, datetime

            last_year = ScheduleBackfill(datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 12, 31, tzinfo=UTC))
            await schedule.backfill(last_year)
        """
        if not backfill:
            raise InvalidSchedule("Pass at least one ScheduleBackfill.")
        spans = tuple(read_span(one, f"backfill[{index}]") for index, one in enumerate(backfill))
        request = Request.named(request_id, spans=spans)
        await self._tell(BackfillSchedule(request_id=self._caller.ids.new_id(), spans=spans, request=request))

    async def cancel_backfills(self, *, request_id: str | None = None) -> None:
        """Call off what is left of the backfills, also what waits to be started. Runs that they started go on.

        Example:
            await schedule.cancel_backfills()
        """
        await self._tell(CancelBackfills(request=self._named(request_id)))

    async def update(
        self,
        updater: Updater | None = None,
        *,
        action: ScheduleActionStartRun | None = None,
        spec: ScheduleSpec | None = None,
        policy: SchedulePolicy | None = None,
        state: ScheduleState | None = None,
        request_id: str | None = None,
    ) -> None:
        """Change what the schedule does or when. Times before the update are not made up for.

        What is not changed stays as it was recorded: functions of the agent that this program does not know, which
        the description has by name, go on being the ones that were given when it was created.

        Args:
            updater: Given a description, answers with the whole new schedule, or None to change nothing. It may be a
                coroutine function, and is asked again when somebody else changes the schedule meanwhile.
            action: What to do from now on.
            spec: When.
            policy: How to deal with runs that overlap, come late or fail.
            state: Whether to act.
            request_id: See `pause`.

        Raises:
            InvalidSchedule: It cannot be followed; nothing changed.
            ScheduleChanged: Others keep changing it.

        Example:
            await schedule.update(spec=ScheduleSpec(cron_expressions=["@monthly"]))
            assert (await schedule.describe()).spec.cron_expressions == ["@monthly"]
        """
        given = {"action": action, "spec": spec, "policy": policy, "state": state}
        changes = {name: value for name, value in given.items() if value is not None}
        # An agent is a matter of this program's code, which may be another's by the time the request is repeated.
        asked = {name: value for name, value in changes.items() if name != "action"}
        request = Request.named(request_id, **asked, names=sorted(changes), updated=updater is not None)
        if request is not None and await self._was_taken(request):
            return
        for attempt in range(_MOST_UPDATES):
            view = await self._look()
            wanted = await _updated(describe(self._caller, view), changes, updater)
            if wanted is None:
                return
            definition, state_then = await encode(self._caller, wanted, view.schedule)
            await self._caller.gateway.keep(holder_of(self.id), callables([definition.action.agent]))
            try:
                await self._tell(
                    UpdateSchedule(definition=definition, state=state_then, token=view.schedule.token, request=request)
                )
            except ScheduleChanged:
                if attempt == _MOST_UPDATES - 1:
                    raise
            else:
                return

    async def delete(self, *, request_id: str | None = None) -> None:
        """Delete the schedule. Runs that are going go on, and those it started stay listed.

        Args:
            request_id: See `pause`. A repetition deletes no other schedule that has got the id meanwhile.

        Example:
            await schedule.delete()
            assert [one async for one in rojak.list_schedules()] == []
        """
        await self._tell(DeleteSchedule(request=self._named(request_id)))
        await self._caller.gateway.release(holder_of(self.id))

    def _named(self, request_id: str | None, **content: object) -> Request:
        """A request under its caller's name, else under one of ours: what is repeated on the way is taken once."""
        return Request.named(request_id, **content) or Request(id=self._caller.ids.new_id())

    async def _look(self) -> ScheduleView:
        reply = await self._scheduler.ask(ScheduleAsk(schedule_id=self.id, view=True))
        if reply.view is None:
            raise InternalError(f"No view of schedule {self.id!r} came back.")
        return reply.view

    async def _was_taken(self, request: Request) -> bool:
        ask = ScheduleAsk(schedule_id=self.id, asked_before=NamedRequest(kind="update", request=request))
        return (await self._scheduler.ask(ask)).asked_before

    async def _tell(self, command: Command) -> None:
        await self._scheduler.ask(ScheduleAsk(schedule_id=self.id, command=command))


async def _updated(
    description: ScheduleDescription, changes: dict[str, Any], updater: Updater | None
) -> Schedule | None:
    """The schedule with the changes, and with those that the updater makes; None if it wants none."""
    wanted = replace(description.schedule, **changes)
    if updater is None:
        return wanted
    if not callable(updater):
        raise InvalidSchedule(f"The updater must be a function, not {type(updater).__name__}.")
    answer = updater(ScheduleUpdateInput(replace(description, schedule=wanted)))
    update = await answer if inspect.isawaitable(answer) else answer
    if update is None:
        return None
    if not isinstance(update, ScheduleUpdate):
        raise InvalidSchedule(f"The updater must return a ScheduleUpdate or None, not {type(update).__name__}.")
    if not isinstance(update.schedule, Schedule):
        raise InvalidSchedule(f"schedule of the ScheduleUpdate must be a Schedule, not {shown(update.schedule)}.")
    return update.schedule


def holder_of(schedule_id: str) -> str:
    """For whom the functions of a schedule are kept."""
    return f"schedule {schedule_id}"
