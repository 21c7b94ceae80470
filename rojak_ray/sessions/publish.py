"""From a journal event to what followers see of it: pure, so that a live host and a reader of storage tell the same."""

from __future__ import annotations

from typing import Any

from pydantic import JsonValue

from rojak_ray.core.events import (
    AnswerAwaited,
    CodeAwaited,
    ConfigUpdated,
    Event,
    FunctionReturned,
    ModelResponded,
    Opened,
    Recovered,
    Resumed,
    Retrieved,
    RunAccepted,
    RunEnded,
    RunStarted,
    SetAside,
    StepFailed,
)
from rojak_ray.core.pending import (
    active_run,
    call_id_of,
    call_index,
    current_context,
    pending,
    public_call_id,
    retriever_index,
)
from rojak_ray.core.state import Attempts, SessionState
from rojak_ray.core.steps import CallModel
from rojak_ray.sessions.events import (
    AgentEvent,
    ContextChangeEvent,
    EventBase,
    FunctionCallEvent,
    FunctionResultEvent,
    HandoffEvent,
    MessageEvent,
    RetrievalEvent,
    RetryEvent,
    RunEndedEvent,
    RunStartedEvent,
    SessionEvent,
    TextDeltaEvent,
    WaitingEvent,
    seq_of,
)

_PROCESS_LOST = "the process that held the conversation was lost, and another one goes on"


def publish(before: SessionState, event: Event, after: SessionState, number: int) -> list[SessionEvent]:
    """What followers see of journal event `number`, which led from one state to the other."""
    telling = _Telling(before, number)
    match event:
        case RunAccepted():
            if before.run is not None or before.queue:
                telling.tell(WaitingEvent, reason="queue", run_id=event.run_id)
        case RunStarted():
            telling.tell(RunStartedEvent, messages=active_run(after).messages, run_id=event.run_id)
            _tell_agent(telling, after)
        case Retrieved():
            run = active_run(before)
            kind = before.agents[run.agent].retrievers[retriever_index(event.step_id)].type
            telling.tell(RetrievalEvent, agent=telling.agent, retriever=kind, found=event.text, error=event.error)
        case ModelResponded():
            _tell_answer(telling, event, after)
        case FunctionReturned():
            _tell_result(telling, event, after)
        case AnswerAwaited() | CodeAwaited() | SetAside():
            _tell_wait(telling, event)
        case StepFailed():
            telling.tell(
                RetryEvent,
                agent=telling.agent,
                step_id=event.step_id,
                attempt=event.attempt,
                error_type=event.error_type,
                error=event.error,
                retry_in_s=event.retry_in_s,
                reset=is_answer(event.step_id),
            )
        case Recovered() if event.interrupted:
            _tell_recovery(telling)
        case Resumed() if after.run is not None:
            _tell_agent(telling, after)
        case RunEnded():
            _tell_context(telling, after)
            _tell_end(telling, event, after)
        case Opened() | ConfigUpdated():
            _tell_context(telling, after)
        case _:
            pass
    return telling.events


def _tell_wait(telling: _Telling, event: AnswerAwaited | CodeAwaited | SetAside) -> None:
    if isinstance(event, SetAside):
        telling.tell(WaitingEvent, reason="set_aside", detail=event.reason)
    elif isinstance(event, CodeAwaited):
        detail = f"{event.what} {event.name} of agent {telling.agent}"
        telling.tell(
            WaitingEvent, reason="worker", detail=detail, what=event.what, name=event.name, agent=telling.agent
        )
    else:
        run = active_run(telling.before)
        call = run.calls[call_index(run, event.step_id)].planned.call
        telling.tell(
            WaitingEvent,
            reason="answer",
            detail=event.question,
            call_id=public_call_id(telling.before, event.step_id),
            tool_call_id=call.id,
            options=event.options,
            until=event.until,
        )


def is_answer(step_id: str) -> bool:
    """Whether a step asks a model."""
    return step_id.endswith("/model")


class _Telling:
    """Numbers what it is told."""

    def __init__(self, before: SessionState, number: int) -> None:
        self.before = before
        self.number = number
        self.events: list[SessionEvent] = []

    @property
    def agent(self) -> str:
        run = active_run(self.before)
        return self.before.agents[run.agent].name

    def tell(self, kind: type[EventBase], **fields: Any) -> None:
        if "run_id" not in fields:
            fields["run_id"] = self.before.run.run_id if self.before.run is not None else None
        event: Any = kind(seq=seq_of(self.number, len(self.events)), **fields)
        self.events.append(event)


def _tell_agent(telling: _Telling, state: SessionState) -> None:
    run = active_run(state)
    agent = state.agents[run.agent]
    telling.tell(AgentEvent, agent=agent.name, model=agent.model, run_id=run.run_id)


def _tell_answer(telling: _Telling, event: ModelResponded, after: SessionState) -> None:
    run = active_run(telling.before)
    if event.content or not event.calls:
        tried = run.attempts.get(event.step_id, Attempts())
        content = event.content or ""
        if content:
            telling.tell(
                TextDeltaEvent,
                agent=telling.agent,
                step_id=event.step_id,
                attempt=1 + tried.failures + tried.interruptions,
                offset=0,
                text=content,
            )
        telling.tell(
            MessageEvent,
            agent=telling.agent,
            step_id=event.step_id,
            content=content,
            usage=event.usage,
            finish_reason=active_run(after).finish_reason,
            raw_finish_reason=active_run(after).raw_finish_reason,
        )
    for index, planned in enumerate(event.calls):
        call = planned.call
        telling.tell(
            FunctionCallEvent,
            agent=telling.agent,
            call_id=public_call_id(after, call_id_of(active_run(after), index)),
            tool_call_id=call.id,
            name=call.name,
            arguments=call.arguments,
        )


def _tell_result(telling: _Telling, event: FunctionReturned, after: SessionState) -> None:
    run = active_run(telling.before)
    call = run.calls[call_index(run, event.step_id)].planned.call
    telling.tell(
        FunctionResultEvent,
        agent=telling.agent,
        call_id=public_call_id(after, event.step_id),
        tool_call_id=call.id,
        name=call.name,
        output=event.output,
        failed=event.failed,
        kept=event.kept,
    )
    _tell_context(telling, after)
    next_agent = active_run(after).agent
    if next_agent != run.agent:
        telling.tell(HandoffEvent, from_agent=telling.agent, to_agent=after.agents[next_agent].name)
        _tell_agent(telling, after)


def _tell_recovery(telling: _Telling) -> None:
    for step in pending(telling.before):
        telling.tell(
            RetryEvent,
            agent=step.agent.name,
            step_id=step.step_id,
            attempt=step.attempt,
            error_type="ProcessLost",
            error=_PROCESS_LOST,
            reset=isinstance(step, CallModel),
        )


def _tell_end(telling: _Telling, event: RunEnded, after: SessionState) -> None:
    outcome = after.outcome(event.run_id)
    agent = after.agents.get(outcome.agent or "") if outcome else None
    telling.tell(
        RunEndedEvent,
        run_id=event.run_id,
        status=event.status,
        agent=agent.name if agent else None,
        usage=outcome.usage if outcome else {},
        error_type=event.error_type,
        error=event.error,
        finish_reason=event.finish_reason,
        raw_finish_reason=event.raw_finish_reason,
    )


def _tell_context(telling: _Telling, after: SessionState) -> None:
    """Told where it becomes true: results of one answer's calls are merged together, a failed run takes its back."""
    before = telling.before
    same_patch = (before.run.patch if before.run else None) is (after.run.patch if after.run else None)
    if not after.opened or (same_patch and before.context_variables is after.context_variables):
        return
    old, new = _context(before), _context(after)
    changed = {key: value for key, value in new.items() if key not in old or old[key] != value}
    deleted = tuple(key for key in old if key not in new)
    if changed or deleted:
        telling.tell(ContextChangeEvent, set=changed, deleted=deleted)


def _context(state: SessionState) -> dict[str, JsonValue]:
    return current_context(state, state.run) if state.run is not None else state.context_variables
