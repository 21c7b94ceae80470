"""Between what a person says about a schedule and what is recorded of it, both ways.

What an update does not change stays as it was recorded, references to code included: a program that changes the times
of a schedule need not have the functions of its agent.
"""

from __future__ import annotations

import copy
from dataclasses import replace

from pydantic import TypeAdapter

from rojak_ray.agents.agent import Agent
from rojak_ray.agents.spec import AgentSpec, FunctionRef
from rojak_ray.errors import InvalidSchedule
from rojak_ray.messages import read_context, read_messages, to_public
from rojak_ray.schedules.edges import in_utc, since_1970
from rojak_ray.schedules.events import Action, Definition, Span
from rojak_ray.schedules.requests import ScheduleView
from rojak_ray.schedules.spec import (
    ScheduleBackfill,
    ScheduleState,
    check_overlap,
    check_policy,
    check_state,
)
from rojak_ray.schedules.state import ScheduleRecord
from rojak_ray.schedules.times import compile_spec
from rojak_ray.schedules.types import (
    Schedule,
    ScheduleActionExecution,
    ScheduleActionResult,
    ScheduleActionStartRun,
    ScheduleDescription,
    ScheduleInfo,
)
from rojak_ray.sessions.caller import Caller, read_flag, read_limit, read_model_calls

_DEFINITION = TypeAdapter(Definition)


async def encode(
    caller: Caller, schedule: Schedule, recorded: ScheduleRecord | None = None
) -> tuple[Definition, ScheduleState]:
    """Check everything a person says about a schedule, and turn it into records of its own.

    Args:
        caller: Makes the agent ready.
        schedule: What he says.
        recorded: The schedule that is changed: what is the same stays as it is there.

    Raises:
        RequestError: Something cannot be followed or stored; the text says what.
    """
    if not isinstance(schedule, Schedule):
        raise InvalidSchedule(f"A schedule must be a Schedule, not {type(schedule).__name__}.")
    compile_spec(schedule.spec)
    check_policy(schedule.policy)
    check_state(schedule.state)
    action = await _encode_action(caller, schedule.action, recorded.definition.action if recorded else None)
    definition = Definition(action=action, spec=schedule.spec, policy=schedule.policy)
    # Through JSON, so that what the caller holds and may change is not what is stored.
    return _DEFINITION.validate_json(_DEFINITION.dump_json(definition)), replace(schedule.state)


async def _encode_action(caller: Caller, action: ScheduleActionStartRun, recorded: Action | None) -> Action:
    if not isinstance(action, ScheduleActionStartRun):
        raise InvalidSchedule(f"action must be a ScheduleActionStartRun, not {type(action).__name__}.")
    if recorded is not None and action == _read_action(caller, recorded):
        return recorded
    agent = await _encode_agent(caller, action.agent, recorded.agent if recorded else None)
    # Whoever only changes what is said to an agent does not take its provider away.
    same = recorded is not None and agent == recorded.agent
    return Action(
        agent=agent,
        providers=recorded.providers if recorded is not None and same else await caller.gateway.providers(),
        messages=read_messages(action.messages),
        context_variables=read_context(action.context_variables),
        max_turns=read_limit(action.max_turns, "max_turns"),
        max_model_calls=read_model_calls(action.max_model_calls),
        debug=read_flag(action.debug, "debug"),
    )


async def _encode_agent(caller: Caller, agent: Agent, recorded: AgentSpec | None) -> AgentSpec:
    if recorded is not None and agent == caller.restore(recorded):
        return recorded
    spec = await caller.prepare(agent)
    if recorded is None:
        return spec
    # Where a callable was recorded that this program does not know, the description has its name: that is still it.
    known = {ref.name: ref for ref in recorded.functions}
    functions = tuple(known.get(ref.name, ref) if ref == FunctionRef(name=ref.name) else ref for ref in spec.functions)
    instructions, before = spec.instructions, recorded.instructions
    if isinstance(before, FunctionRef) and instructions == FunctionRef(name=before.name):
        instructions = before
    return spec.model_copy(update={"functions": functions, "instructions": instructions})


def _read_action(caller: Caller, action: Action) -> ScheduleActionStartRun:
    return ScheduleActionStartRun(
        agent=caller.restore(action.agent),
        messages=[to_public(message) for message in action.messages],
        context_variables=copy.deepcopy(action.context_variables),
        max_turns=float("inf") if action.max_turns is None else action.max_turns,
        max_model_calls=float("inf") if action.max_model_calls is None else action.max_model_calls,
        debug=action.debug,
    )


def describe(caller: Caller, view: ScheduleView) -> ScheduleDescription:
    """A view as callers see it; whatever they do to it changes no record."""
    record = view.schedule
    schedule = Schedule(
        action=_read_action(caller, record.definition.action),
        spec=copy.deepcopy(record.definition.spec),
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
        backfills=[ScheduleBackfill(span.after, span.until, span.overlap) for span in record.backfills],
        set_aside=view.set_aside,
        stands_by=view.stands_by,
    )
    return ScheduleDescription(record.schedule_id, schedule, info, record.token)


def read_span(given: ScheduleBackfill, name: str) -> Span:
    """A span of time to go through.

    Raises:
        InvalidSchedule: It makes no sense; the text names the field.
    """
    if not isinstance(given, ScheduleBackfill):
        raise InvalidSchedule(f"{name} must be a ScheduleBackfill, not {type(given).__name__}.")
    start, end = since_1970(given.start_at, f"{name}.start_at"), in_utc(given.end_at, f"{name}.end_at")
    if end < start:
        raise InvalidSchedule(f"{name}.end_at is before its start_at.")
    if given.overlap is not None:
        check_overlap(given.overlap, f"{name}.overlap")
    return Span.begin(start, end, given.overlap)
