"""Calls that wait for somebody outside: how they end, and how a conversation rests meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from rojak_ray.core.commands import AnswerCall, CheckTimers, Rest
from rojak_ray.core.events import FunctionReturned
from rojak_ray.core.pending import call_id_of, pending, public_call_id
from rojak_ray.core.state import CallState, RunState, SessionState, SettledCall
from rojak_ray.core.taken import content_digest
from rojak_ray.errors import CallNotWaiting, RequestConflict
from rojak_ray.ids import digest
from rojak_ray.messages import plain_content


def answer(state: SessionState, command: AnswerCall) -> list[FunctionReturned]:
    """What an answer leads to; nothing if it was taken before.

    Raises:
        CallNotWaiting: No such call waits, or it is not certain which one is meant; the text and `reason` say which.
        RequestConflict: The id of this answer belongs to another answer.
    """
    if _taken_before(state, command):
        return []
    run = state.run
    index = _waiting_call(state, run, command.call_id) if run is not None else None
    if run is None or index is None:
        raise _not_waiting(state, command.call_id)
    return [FunctionReturned(step_id=call_id_of(run, index), output=command.output, answer_id=command.answer_id)]


def _taken_before(state: SessionState, command: AnswerCall) -> bool:
    if state.run is not None and command.answer_id in state.run.answers:
        return True
    forgotten = state.taken.content("answer", command.answer_id)
    if forgotten is not None:
        if forgotten != content_digest(digest(command.output)):
            raise RequestConflict(f"The answer id {command.answer_id!r} belongs to another answer; choose another.")
        return True
    taken = next((call for call in _settled(state) if call.answer_id == command.answer_id), None)
    if taken is None:
        return False
    same = digest(plain_content(command.output)) == taken.answer_digest
    if command.call_id not in (taken.call_id, taken.tool_call_id) or not same:
        raise RequestConflict(
            f"The answer id {command.answer_id!r} belongs to another answer, to call {taken.call_id!r}; choose another."
        )
    return True


def _waiting_call(state: SessionState, run: RunState, call_id: str) -> int | None:
    """The call that waits under our id, or under the vendor's where that can mean no other call.

    Vendors repeat ids. A late answer under an id of theirs may be meant for a call that does not wait any more, so the
    id counts only if no such call is remembered.
    """
    waiting = [index for index, call in enumerate(run.calls) if call.awaited and not call.done]
    for index in waiting:
        if public_call_id(state, call_id_of(run, index)) == call_id:
            return index
    named = [index for index in waiting if run.calls[index].planned.call.id == call_id]
    if not named:
        return None
    if len(named) > 1 or any(call.tool_call_id == call_id for call in _settled(state)):
        raise CallNotWaiting(
            f"Several calls of {state.owner_kind} {state.owner_id!r} have the vendor's id {call_id!r}, so it is not "
            "certain which one is meant; answer with the `call_id` that open_questions() gives.",
            reason="ambiguous",
        )
    return named[0]


def _settled(state: SessionState) -> Iterable[SettledCall]:
    """The calls that waited in this run and in those that are remembered, the latest first."""
    if state.run is not None:
        yield from reversed(state.run.settled)
    for outcome in reversed(state.outcomes):
        yield from reversed(outcome.settled)


def _not_waiting(state: SessionState, call_id: str) -> CallNotWaiting:
    """The error that says why a call does not wait."""
    call = f"Call {call_id!r} of {state.owner_kind} {state.owner_id!r}"
    settled = next((one for one in _settled(state) if call_id in (one.call_id, one.tool_call_id)), None)
    if settled is not None and settled.how == "answered":
        return CallNotWaiting(f"{call} was answered before; the first answer counts.", reason="answered")
    if settled is not None:
        return CallNotWaiting(f"{call} waits no more: its time to be answered is over.", reason="expired")
    for outcome in reversed(state.outcomes):
        if call_id.startswith(f"{outcome.run_id}/"):
            text = f"{call} waits no more: its run {outcome.run_id!r} has ended ({outcome.status})."
            return CallNotWaiting(text, reason="run_ended")
    known = _known_call(state, call_id)
    if known is None and not state.run and not state.queue:
        return CallNotWaiting(f"{call} is not waiting for an answer: no run is in progress.", reason="unknown")
    if known is None:
        return CallNotWaiting(
            f"{call} is not waiting for an answer: it is unknown, or its run has not got so far yet.", reason="unknown"
        )
    if known.done:
        return CallNotWaiting(f"{call} does not wait: its function returned a result.", reason="answered")
    return CallNotWaiting(
        f"{call} is not waiting for an answer yet: its function has not returned. Try again.", reason="not_yet"
    )


def _known_call(state: SessionState, call_id: str) -> CallState | None:
    run = state.run
    for index, call in enumerate(run.calls if run is not None else ()):
        if run and call_id in (public_call_id(state, call_id_of(run, index)), call.planned.call.id):
            return call
    return None


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
    if command.leaves:
        return True
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


def timers_of(state: SessionState) -> tuple[datetime, ...]:
    """When a conversation was or is to be woken from storage: where its timers may be."""
    due = next_due(state)
    return state.timers if due is None else (*state.timers, due)


def next_due(state: SessionState) -> datetime | None:
    """When the next thing is to be done, if everything outstanding waits: an attempt, or giving up on an answer."""
    return earliest((next_deadline(state), *(step.due for step in pending(state))))


def earliest(times: Iterable[datetime | None]) -> datetime | None:
    """The first of some instants; None if there is none."""
    return min((time for time in times if time is not None), default=None)
