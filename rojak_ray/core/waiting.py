"""Calls that wait for somebody outside: how they end, and how a conversation rests meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from rojak_ray.core.commands import AnswerCall, CheckTimers, Rest
from rojak_ray.core.events import FunctionReturned
from rojak_ray.core.pending import call_id_of, pending
from rojak_ray.core.state import SessionState
from rojak_ray.errors import CallNotWaiting


def answer(state: SessionState, command: AnswerCall) -> list[FunctionReturned]:
    """What an answer leads to; nothing if it was taken before.

    Raises:
        CallNotWaiting: No such call waits.
    """
    run = state.run
    if run is not None and command.answer_id in run.answers:
        return []
    for index, call in enumerate(run.calls if run else ()):
        if run and call.awaited and not call.done and call.planned.call.id == command.call_id:
            step_id = call_id_of(run, index)
            return [FunctionReturned(step_id=step_id, output=command.output, answer_id=command.answer_id)]
    raise CallNotWaiting(
        f"No call {command.call_id!r} of {state.owner_kind} {state.owner_id!r} waits for an answer: it has not got so "
        "far yet (then try again), was answered, or its time is over."
    )


def overdue(state: SessionState, command: CheckTimers) -> list[FunctionReturned]:
    """The calls nobody answered in time, as the model is told of them."""
    run = state.run
    return [
        FunctionReturned(
            step_id=call_id_of(run, index),
            output=f"TimeoutError: nobody answered {call.planned.call.name} in time.",
            failed=True,
        )
        for index, call in enumerate(run.calls if run else ())
        if run and call.awaited and not call.done and call.awaited.until and call.awaited.until <= command.at
    ]


def may_rest(state: SessionState, command: Rest) -> bool:
    """Whether a run is in progress and nothing of it is to be done before the time a host names."""
    if state.run is None or state.run.rested or state.set_aside is not None:
        return False
    times = (next_deadline(state), *(step.due for step in pending(state)))
    waiting = bool(state.awaited) or len(times) > 1
    every_step_waits = all(step.due is not None for step in pending(state))
    return waiting and every_step_waits and all(time is None or later(time, command.until) for time in times)


def later(time: datetime, than: datetime | None) -> bool:
    """Whether an instant is not before another; none is not before for ever."""
    return than is not None and time >= than


def next_deadline(state: SessionState) -> datetime | None:
    """When the first call's time to be answered is over."""
    return earliest(call.awaited.until for call in state.awaited if call.awaited)


def next_due(state: SessionState) -> datetime | None:
    """When the next thing is to be done, if everything outstanding waits: an attempt, or giving up on an answer."""
    return earliest((next_deadline(state), *(step.due for step in pending(state))))


def earliest(times: Iterable[datetime | None]) -> datetime | None:
    """The first of some instants; None if there is none."""
    return min((time for time in times if time is not None), default=None)
