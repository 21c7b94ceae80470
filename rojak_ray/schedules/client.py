"""`SchedulingClient`: a client that also schedules runs. Base of `Rojak` and `InProcessRuntime`."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence

from rojak_ray.agents.agent import Agent
from rojak_ray.checks import check_list, check_number, shown
from rojak_ray.core.events import DEFAULT_MODEL_CALLS, RunStatus
from rojak_ray.errors import InvalidAgent, InvalidId, InvalidLimit, InvalidSchedule, RunNotFound
from rojak_ray.ids import MAX_ID_LENGTH, IdSource, check_id
from rojak_ray.journal.paths import Owner
from rojak_ray.messages import ContextVariables, MessageInput
from rojak_ray.schedules.commands import CreateSchedule, Request
from rojak_ray.schedules.definitions import encode
from rojak_ray.schedules.handle import ScheduleHandle, holder_of
from rojak_ray.schedules.index import place_of
from rojak_ray.schedules.ports import Scheduler
from rojak_ray.schedules.requests import ListedRun, ScheduleAsk
from rojak_ray.schedules.spec import SchedulePolicy, ScheduleSpec, ScheduleState
from rojak_ray.schedules.state import Status
from rojak_ray.schedules.types import Schedule, ScheduleActionStartRun
from rojak_ray.sessions.client import Client
from rojak_ray.sessions.naming import callables
from rojak_ray.sessions.ports import Gateway
from rojak_ray.sessions.requests import Ask

_PAGE = 100
_LONGEST_ID = MAX_ID_LENGTH - 30
"""Leaves room for the time in a run's id."""

_STATUSES: dict[str, Status] = {
    "running": "running",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
    "canceled": "cancelled",
    "terminated": "terminated",
    "timedout": "timed_out",
}


class SchedulingClient(Client):
    """Runs agents, holds sessions and schedules runs."""

    def __init__(self, gateway: Gateway, scheduler: Scheduler, ids: IdSource | None = None) -> None:
        """Cheap: nothing is connected before the first use."""
        super().__init__(gateway, ids)
        self._scheduler = scheduler

    async def delete_run(self, id: str, *, request_id: str | None = None) -> None:
        """Cancel a run outside sessions and remove what it stored. See `delete_session`.

        A run that a schedule started is listed no more.
        """
        await super().delete_run(id, request_id=request_id)
        if place_of(id) is not None and not await self._is_there(id):
            await self._scheduler.ask(ScheduleAsk(unlist=id))

    async def _is_there(self, run_id: str) -> bool:
        """Whether a run exists, as one does that got the id of a deleted one."""
        try:
            await self._caller.ask(Owner("run", run_id), Ask(view=True))
        except RunNotFound:
            return False
        return True

    async def create_schedule(
        self,
        schedule_id: str,
        schedule_spec: ScheduleSpec,
        agent: Agent | None = None,
        messages: MessageInput = (),
        context_variables: ContextVariables | None = None,
        max_turns: int | float = math.inf,
        debug: bool = False,
        policy: SchedulePolicy | None = None,
        state: ScheduleState | None = None,
        *,
        max_model_calls: int | float = DEFAULT_MODEL_CALLS,
        request_id: str | None = None,
    ) -> ScheduleHandle:
        """Start a run with these arguments whenever its time comes, whether or not this program is there.

        A run's id is the schedule id, a dash and the nominal time, such as `daily-2026-06-01T09:00:00Z`. Its functions
        and instructions learn about it from `ToolContext.schedule`.

        Args:
            schedule_id: Names the schedule.
            schedule_spec: When.
            agent: Who answers first.
            messages: A string, a message, or a list of messages.
            context_variables: What functions and instructions can read and change; plain JSON data.
            max_turns: Messages each run may append.
            debug: Log every step of its runs.
            policy: How to deal with runs that overlap, come late or fail.
            state: Whether to act from the start, and how often.
            max_model_calls: Answers each run may take from models before it fails.
            request_id: Names this request, so that it may be repeated at any time: after an error of the storage, a
                restart, or when the schedule has been deleted since. It is taken once.

        Raises:
            RequestError: Something cannot be followed or stored; the text names the field, and nothing was stored.
            ScheduleExists: The id is in use.
            RequestConflict: The request id was used with other arguments.

        Crash safety:
            When it returns, the schedule is durable: a new cluster on the same storage goes on with it.

        Example:
            weekdays = ScheduleSpec(cron_expressions=["0 9 * * 1-5"], time_zone_name="Asia/Singapore")
            schedule = await rojak.create_schedule("tables", weekdays, agent, "Book a table for 4 guests.")
            await schedule.trigger()  # and once now
        """
        check_id(schedule_id, "schedule")
        if len(schedule_id) > _LONGEST_ID:
            raise InvalidId(f"A schedule id has at most {_LONGEST_ID} characters, so that run ids have room for times.")
        if agent is None:
            raise InvalidAgent("Pass an agent.")
        action = ScheduleActionStartRun(
            agent,
            messages,
            {} if context_variables is None else context_variables,
            max_turns,
            debug,
            max_model_calls=max_model_calls,
        )
        schedule = Schedule(
            action,
            schedule_spec,
            SchedulePolicy() if policy is None else policy,
            ScheduleState() if state is None else state,
        )
        definition, stored_state = await encode(self._caller, schedule)
        await self._gateway.keep(holder_of(schedule_id), callables([definition.action.agent]))
        said = definition.action.model_dump(mode="json", exclude={"agent"})
        command = CreateSchedule(
            schedule_id=schedule_id,
            incarnation=self._new_id(),
            definition=definition,
            state=stored_state,
            request=Request.named(request_id, said=said, spec=definition.spec, policy=definition.policy, state=state),
        )
        await self._scheduler.ask(ScheduleAsk(schedule_id=schedule_id, command=command))
        return self._handle(schedule_id)

    async def get_schedule(self, schedule_id: str) -> ScheduleHandle:
        """An existing schedule.

        Raises:
            ScheduleNotFound: No schedule has this id.

        Example:
            assert (await rojak.get_schedule(schedule.id)).id == schedule.id
        """
        await self._scheduler.ask(ScheduleAsk(schedule_id=check_id(schedule_id, "schedule"), view=True))
        return self._handle(schedule_id)

    async def list_schedules(self) -> AsyncIterator[ScheduleHandle]:
        """Every schedule of the namespace, by id.

        Example:
            assert [one.id async for one in rojak.list_schedules()] == [schedule.id]
        """
        after = ""
        while True:
            reply = await self._scheduler.ask(ScheduleAsk(list_after=after, limit=_PAGE))
            for view in reply.schedules:
                after = view.schedule.schedule_id
                yield self._handle(after)
            if len(reply.schedules) < _PAGE:
                return

    async def list_scheduled_runs(
        self, schedule_id: str, statuses: Sequence[str] | None = None, limit: int = 10, page_size: int = _PAGE
    ) -> AsyncIterator[str]:
        """Ids of the runs that a schedule started, also a deleted one, the latest first.

        Args:
            schedule_id: Names the schedule.
            statuses: Only runs that are "Running", "Completed", "Failed", "Cancelled" (or "Canceled"), "Terminated" or
                "TimedOut"; None or empty: all.
            limit: At most so many.
            page_size: How many are looked up at a time.

        Raises:
            InvalidSchedule: There is no such status.

        Example:
            failed = [run_id async for run_id in rojak.list_scheduled_runs(schedule.id, ["Failed", "TimedOut"])]
            assert failed == []
        """
        check_id(schedule_id, "schedule")
        wanted = _read_statuses(statuses)
        for given, name, least in ((limit, "limit", 0), (page_size, "page_size", 1)):
            check_number(given, name, InvalidLimit, least=least, whole=True)
        found, after = 0, ""
        while found < limit:
            ask = ScheduleAsk(schedule_id=schedule_id, runs_after=after, limit=page_size)
            page = (await self._scheduler.ask(ask)).runs
            for run in page:
                after = run.place
                if found < limit and await self._status(run) in wanted:
                    found += 1
                    yield run.run_id
            if len(page) < page_size:
                return

    async def _status(self, run: ListedRun) -> Status | None:
        """Where a listed run stands: the scheduler does not follow the runs of deleted schedules to their end."""
        if run.status != "running":
            return run.status
        try:
            reply = await self._caller.ask(Owner("run", run.run_id), Ask(await_run=run.run_id))
        except RunNotFound:
            return None
        status = reply.run.status if reply.run else RunStatus.RUNNING
        return _STATUSES.get(str(status).replace("_", ""), "running")

    def _handle(self, schedule_id: str) -> ScheduleHandle:
        return ScheduleHandle(self._caller, self._scheduler, schedule_id)


def _read_statuses(given: Sequence[str] | None) -> frozenset[Status]:
    given = (given,) if isinstance(given, str) else given
    words = check_list(given, "statuses", InvalidSchedule, "words") if given is not None else []
    unknown = [word for word in words if not isinstance(word, str) or word.lower() not in _STATUSES]
    if unknown:
        raise InvalidSchedule(
            f"statuses has {shown(unknown[0])}, which is no status; there are Running, Completed, Failed, Cancelled, "
            "Terminated, TimedOut."
        )
    return frozenset(_STATUSES[word.lower()] for word in words or _STATUSES)
