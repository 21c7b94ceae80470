"""What callers get from and give to a `ScheduleHandle`: Temporal's names where it has them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rojak_ray.agents.agent import Agent
from rojak_ray.core.events import DEFAULT_MODEL_CALLS
from rojak_ray.messages import ContextVariables, MessageInput
from rojak_ray.schedules.spec import ScheduleBackfill, SchedulePolicy, ScheduleSpec, ScheduleState
from rojak_ray.schedules.state import Status


@dataclass
class ScheduleActionStartRun:
    """What a schedule does: start a run. See `create_schedule`.

    Example:
        await schedule.update(action=ScheduleActionStartRun(agent, "Book a table for 6 guests."))
    """

    agent: Agent
    messages: MessageInput
    context_variables: ContextVariables = field(default_factory=dict[str, Any])
    max_turns: int | float = float("inf")
    max_model_calls: int | float = field(default=DEFAULT_MODEL_CALLS, kw_only=True)
    debug: bool = False


@dataclass
class Schedule:
    """What a person says about a schedule.

    Example:
        from dataclasses import replace

        before: Schedule = (await schedule.describe()).schedule
        after = replace(before, spec=ScheduleSpec(cron_expressions=["@monthly"]))
        await schedule.update(lambda given: ScheduleUpdate(after))
    """

    action: ScheduleActionStartRun
    spec: ScheduleSpec
    policy: SchedulePolicy = field(default_factory=SchedulePolicy)
    state: ScheduleState = field(default_factory=ScheduleState)


@dataclass(frozen=True)
class ScheduleActionExecution:
    """A run that a schedule started."""

    run_id: str

    @property
    def workflow_id(self) -> str:
        """The same, as Temporal's programs ask for it."""
        return self.run_id


@dataclass(frozen=True)
class ScheduleActionResult:
    """When a schedule acted, and what came of it."""

    scheduled_at: datetime
    """The time with jitter."""

    started_at: datetime
    action: ScheduleActionExecution
    status: Status
    error: str | None = None


@dataclass(frozen=True)
class ScheduleInfo:
    """What a schedule has done and will do.

    Example:
        info = (await schedule.describe()).info
        assert (info.num_actions, info.running_actions) == (0, [])
    """

    num_actions: int
    """Runs it has started."""

    num_actions_missed_catchup_window: int
    num_actions_skipped_overlap: int
    num_actions_dropped_buffer: int
    """Starts for which there was no room among those that wait."""

    num_actions_buffered: int
    """Starts that wait for a run to end."""

    running_actions: list[ScheduleActionExecution]
    """Runs that hold others back."""

    recent_actions: list[ScheduleActionResult]
    """The last ten, oldest first."""

    next_action_times: list[datetime]
    """The next ten, with jitter; of a paused schedule those it would have."""

    created_at: datetime
    last_updated_at: datetime | None
    backfills: list[ScheduleBackfill] = field(default_factory=list[ScheduleBackfill])
    """What is left of the backfills; `cancel_backfills` calls them off."""

    set_aside: str | None = None
    """Why its times cannot be told, so that it does not act. An update that mends it revives it."""

    stands_by: str | None = None
    """Who works on the storage, where the cluster that was asked stands by: that one starts the runs."""


@dataclass(frozen=True)
class ScheduleDescription:
    """A schedule as it stands.

    Example:
        description = await schedule.describe()
        assert (description.id, description.state.paused) == (schedule.id, False)
    """

    id: str
    schedule: Schedule
    info: ScheduleInfo
    token: int = 0
    """Tells whether it has changed since."""

    @property
    def action(self) -> ScheduleActionStartRun:
        """What it does."""
        return self.schedule.action

    @property
    def spec(self) -> ScheduleSpec:
        """When."""
        return self.schedule.spec

    @property
    def policy(self) -> SchedulePolicy:
        """How it deals with runs that overlap, come late or fail."""
        return self.schedule.policy

    @property
    def state(self) -> ScheduleState:
        """Whether it acts."""
        return self.schedule.state


@dataclass(frozen=True)
class ScheduleUpdateInput:
    """What an updater is given.

    Example:
        def only_pause(given: ScheduleUpdateInput) -> ScheduleUpdate | None:
            if given.description.state.paused:
                return None  # nothing to change
            given.description.schedule.state.paused = True
            return ScheduleUpdate(given.description.schedule)

        await schedule.update(only_pause)
    """

    description: ScheduleDescription


@dataclass
class ScheduleUpdate:
    """What an updater answers.

    Example:
        def once_a_month(given: ScheduleUpdateInput) -> ScheduleUpdate:
            given.description.schedule.spec = ScheduleSpec(cron_expressions=["@monthly"])
            return ScheduleUpdate(given.description.schedule)

        await schedule.update(once_a_month)
    """

    schedule: Schedule
