"""`evolve(state, event)`: the only fold. Total over the events `decide` writes; it refuses nothing and does no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, assert_never, get_args

from rojak_ray.agents.finish import FinishReason, read_finish_reason
from rojak_ray.core.events import (
    AgentAdded,
    AnswerAwaited,
    CodeAwaited,
    ConfigUpdated,
    Deleted,
    Event,
    FunctionReturned,
    InstructionsRendered,
    ModelResponded,
    Opened,
    ProbationPassed,
    Recovered,
    RequestTaken,
    Rested,
    Resumed,
    Retrieved,
    RunAccepted,
    RunEnded,
    RunStarted,
    RunStatus,
    SetAside,
    StepFailed,
)
from rojak_ray.core.handovers import told_outputs
from rojak_ray.core.kept import MOST_REMEMBERED
from rojak_ray.core.pending import active_run, call_index, pending, public_call_id, retriever_index
from rojak_ray.core.state import (
    KEPT_BURIED,
    KEPT_OUTCOMES,
    KEPT_TIMERS,
    Attempts,
    AwaitedAnswer,
    AwaitedCode,
    CallState,
    ContextPatch,
    QueuedRun,
    RunOutcome,
    RunState,
    SessionState,
    SettledCall,
)
from rojak_ray.core.taken import Taken
from rojak_ray.ids import digest
from rojak_ray.messages import Message, plain_content


def fold(state: SessionState, events: Iterable[Event]) -> SessionState:
    """The state after all of these events."""
    for event in events:
        state = evolve(state, event)
    return state


def evolve(state: SessionState, event: Event) -> SessionState:
    """The state after this event."""
    if state.run is not None and state.run.rested:
        state = _with_run(state, state.run.model_copy(update={"rested": False}))
    return _evolve(state, event)


def _evolve(state: SessionState, event: Event) -> SessionState:
    match event:
        case Opened():
            return _opened(state, event)
        case AgentAdded():
            kept = {digest: spec for digest, spec in state.agents.items() if digest not in event.forgets}
            return state.model_copy(update={"agents": {**kept, event.digest: event.spec}})
        case RunAccepted():
            return _run_accepted(state, event)
        case RunStarted():
            return _run_started(state, event)
        case InstructionsRendered():
            return _with_run(state, _settled(active_run(state), event.step_id, instructions=event.text))
        case Retrieved():
            return _retrieved(state, event)
        case ModelResponded():
            return _model_responded(state, event)
        case FunctionReturned() | AnswerAwaited():
            return _call_moved(state, event)
        case StepFailed() | CodeAwaited():
            return _step_held_up(state, event)
        case Recovered():
            return _recovered(state, event)
        case ProbationPassed() | SetAside() | Resumed() | Deleted() | Rested():
            return _supervised(state, event)
        case ConfigUpdated() | RequestTaken():
            return _changed(state, event)
        case RunEnded():
            return _run_ended(state, event)
        case _:
            assert_never(event)


def _opened(state: SessionState, event: Opened) -> SessionState:
    return state.model_copy(
        update={
            "owner_kind": event.owner_kind,
            "owner_id": event.owner_id,
            "incarnation": event.incarnation,
            "agent": event.agent,
            "context_variables": event.context_variables,
            "max_turns": event.max_turns,
            "max_model_calls": event.max_model_calls,
            "history_size": event.history_size,
            "debug": event.debug,
            "schedule": event.schedule,
            "created_by": event.request_id,
            "lives": _lives(state, "creation", event.request_id, event.input_digest),
        }
    )


def _lives(state: SessionState, kind: Literal["creation", "deletion"], request_id: str | None, content: str) -> Taken:
    """What is remembered of an id's creations and deletions, with this one if it was named."""
    return state.lives.then(kind, request_id, content) if request_id is not None else state.lives


def _run_accepted(state: SessionState, event: RunAccepted) -> SessionState:
    queued = QueuedRun(
        run_id=event.run_id,
        input_digest=event.input_digest,
        messages=event.messages,
        agent=event.agent,
        providers=event.providers,
    )
    return state.model_copy(update={"queue": (*state.queue, queued)})


def _run_started(state: SessionState, event: RunStarted) -> SessionState:
    queued = next(queued for queued in state.queue if queued.run_id == event.run_id)
    run = RunState(
        run_id=queued.run_id,
        input_digest=queued.input_digest,
        input_length=len(queued.messages),
        messages=queued.messages,
        agent=event.agent,
        providers=queued.providers,
    )
    rest = tuple(other for other in state.queue if other is not queued)
    return state.model_copy(update={"queue": rest, "run": run})


def _with_run(state: SessionState, run: RunState) -> SessionState:
    return state.model_copy(update={"run": run})


def _supervised(state: SessionState, event: ProbationPassed | SetAside | Resumed | Deleted | Rested) -> SessionState:
    if isinstance(event, Deleted):
        buried = (*state.buried, state.incarnation)[-KEPT_BURIED:] if state.opened else state.buried
        lives = _lives(state, "deletion", event.request_id, "")
        return SessionState(owner_kind=state.owner_kind, owner_id=state.owner_id, buried=buried, lives=lives)
    if isinstance(event, Rested):
        rested = _with_run(state, active_run(state).model_copy(update={"rested": True}))
        timers = rested.timers if event.until is None else (*rested.timers, event.until)[-KEPT_TIMERS:]
        return rested.model_copy(update={"timers": timers})
    if isinstance(event, SetAside):
        return state.model_copy(update={"set_aside": event.reason})
    run = state.run.model_copy(update={"recoveries": 0}) if state.run is not None else None
    return state.model_copy(update={"run": run, "set_aside": None})


def _settled(run: RunState, step_id: str, **changes: object) -> RunState:
    """The run with a step's result; what its failed attempts left behind is forgotten."""
    changes["recoveries"] = 0
    if step_id in run.attempts:
        changes["attempts"] = {key: value for key, value in run.attempts.items() if key != step_id}
    if step_id in run.awaited_code:
        changes["awaited_code"] = {key: value for key, value in run.awaited_code.items() if key != step_id}
    return run.model_copy(update=changes)


def _retrieved(state: SessionState, event: Retrieved) -> SessionState:
    run = active_run(state)
    retriever = state.agents[run.agent].retrievers[retriever_index(event.step_id)]
    return _with_run(state, _settled(run, event.step_id, found={**run.found, retriever.digest(): event.text}))


def _model_responded(state: SessionState, event: ModelResponded) -> SessionState:
    run = active_run(state)
    message = Message(
        role="assistant",
        content=event.content,
        tool_calls=tuple(planned.call for planned in event.calls),
        sender=state.agents[run.agent].name,
        vendor=event.vendor,
    )
    return _with_run(
        state,
        _settled(
            run,
            event.step_id,
            messages=(*run.messages, message),
            turn=run.turn + 1,
            paused=event.paused,
            instructions=None,
            calls=tuple(CallState(planned=planned) for planned in event.calls),
            usage=run.usage + event.usage,
            finish_reason=read_finish_reason(event.finish_reason, calls=bool(event.calls)),
            raw_finish_reason=_vendors_word(event),
        ),
    )


def _vendors_word(event: ModelResponded) -> str | None:
    """How the vendor said it; formats 1 and 2 have its word in the other field."""
    if event.raw_finish_reason is None and event.finish_reason not in get_args(FinishReason):
        return event.finish_reason
    return event.raw_finish_reason


def _call_moved(state: SessionState, event: FunctionReturned | AnswerAwaited) -> SessionState:
    run = active_run(state)
    index = call_index(run, event.step_id)
    if isinstance(event, AnswerAwaited):
        patch = ContextPatch(set=event.context_set, deleted=event.context_deleted)
        awaited = AwaitedAnswer(question=event.question, options=event.options, until=event.until)
        call = run.calls[index].model_copy(update={"awaited": awaited, "patch": patch})
        return _with_run(state, _settled(run, event.step_id, calls=_with_call(run, index, call)))
    if event.kept is not None:
        state = state.model_copy(update={"kept": (*state.kept, event.kept)[-MOST_REMEMBERED:]})
    if run.calls[index].awaited is not None:
        run = run.model_copy(update={"settled": (*run.settled, _settled_call(state, run.calls[index], event))})
    patch = run.calls[index].patch.then(ContextPatch(set=event.context_set, deleted=event.context_deleted))
    changes = {"output": event.output, "agent": event.agent, "patch": patch, "awaited": None}
    call = run.calls[index].model_copy(update=changes)
    calls = _with_call(run, index, call)
    if not all(call.done for call in calls):
        return _with_run(state, _settled(run, event.step_id, calls=calls))
    return _with_run(state, _turn_closed(state, _settled(run, event.step_id, calls=calls)))


def _settled_call(state: SessionState, call: CallState, event: FunctionReturned) -> SettledCall:
    answered = event.answer_id is not None
    return SettledCall(
        call_id=public_call_id(state, event.step_id),
        tool_call_id=call.planned.call.id,
        how="answered" if answered else "expired",
        answer_id=event.answer_id,
        answer_digest=digest(plain_content(event.output)) if answered else None,
    )


def _with_call(run: RunState, index: int, call: CallState) -> tuple[CallState, ...]:
    return (*run.calls[:index], call, *run.calls[index + 1 :])


def _turn_closed(state: SessionState, run: RunState) -> RunState:
    """All calls of the answer have results: append them in the model's order, merge the context, hand over."""
    sender = state.agents[run.agent].name
    results = tuple(
        Message(role="tool", content=output, tool_call_id=call.planned.call.id, sender=sender)
        for call, output in zip(run.calls, told_outputs(run.calls, state.agents), strict=True)
    )
    patch, agent = run.patch, run.agent
    for call in run.calls:
        patch = patch.then(call.patch)
        agent = call.agent or agent
    called = run.called if sender in run.called else (*run.called, sender)
    messages = (*run.messages, *results)
    return run.model_copy(update={"messages": messages, "patch": patch, "agent": agent, "calls": (), "called": called})


def _step_held_up(state: SessionState, event: StepFailed | CodeAwaited) -> SessionState:
    run = active_run(state)
    if isinstance(event, CodeAwaited):
        awaited = AwaitedCode(what=event.what, name=event.name, agent=state.agents[run.agent].name)
        return _with_run(state, run.model_copy(update={"awaited_code": {**run.awaited_code, event.step_id: awaited}}))
    before = run.attempts.get(event.step_id, Attempts())
    after = before.model_copy(
        update={
            "failures": before.failures + 1,
            "losses": before.losses + event.lost,
            "retry_in_s": event.retry_in_s,
            "retry_at": event.retry_at,
            "last_error": event.error,
        }
    )
    return _with_run(state, run.model_copy(update={"attempts": {**run.attempts, event.step_id: after}}))


def _recovered(state: SessionState, event: Recovered) -> SessionState:
    if state.run is None:
        return state
    if not event.interrupted:
        return _with_run(state, state.run.model_copy(update={"recovered": True, "awaited_code": {}}))
    attempts = dict(state.run.attempts)
    for step in pending(state):
        before = attempts.get(step.step_id, Attempts())
        attempts[step.step_id] = before.model_copy(update={"interruptions": before.interruptions + 1})
    changes = {"attempts": attempts, "awaited_code": {}, "recovered": True, "recoveries": state.run.recoveries + 1}
    return _with_run(state, state.run.model_copy(update=changes))


def _changed(state: SessionState, event: ConfigUpdated | RequestTaken) -> SessionState:
    if isinstance(event, RequestTaken) and event.creates:
        lives = _lives(state, "creation", event.request_id, event.content)
        return state.model_copy(update={"lives": lives})
    if isinstance(event, RequestTaken):
        return state.model_copy(update={"taken": state.taken.then("change", event.request_id, event.content)})
    update: dict[str, Any] = dict.fromkeys(event.unlimited)
    if event.messages is not None:
        update["history"] = event.messages
    for name in ("context_variables", "max_turns", "max_model_calls", "history_size", "debug"):
        value = getattr(event, name)
        if value is not None:
            update[name] = value
    if event.request_id is not None:
        update["taken"] = state.taken.then("change", event.request_id, config_content(event))
    return state.model_copy(update=update)


def config_content(change: ConfigUpdated) -> str:
    """What makes two changes of settings the same."""
    return digest(change.model_dump(mode="json", exclude={"kind", "request_id"}))


def _run_ended(state: SessionState, event: RunEnded) -> SessionState:
    if state.run is None or state.run.run_id != event.run_id:
        return _queued_run_ended(state, event)
    run = state.run
    completed = event.status == RunStatus.COMPLETED
    context = run.patch.apply(state.context_variables) if completed else state.context_variables
    outcome = RunOutcome(
        run_id=run.run_id,
        input_digest=run.input_digest,
        status=event.status,
        messages=run.messages,
        input_length=run.input_length,
        agent=run.agent,
        context_variables=context,
        usage=run.usage,
        error_type=event.error_type,
        error=event.error,
        finish_reason=event.finish_reason,
        raw_finish_reason=event.raw_finish_reason,
        settled=run.settled,
    )
    update: dict[str, object] = {
        "run": None,
        **_with_outcome(state, outcome),
        "set_aside": None,
    }
    if completed:
        update["history"] = truncate((*state.history, *run.messages), state.history_size)
        update["context_variables"] = context
        update["agent"] = run.agent
    return state.model_copy(update=update)


def _queued_run_ended(state: SessionState, event: RunEnded) -> SessionState:
    queued = next(queued for queued in state.queue if queued.run_id == event.run_id)
    outcome = RunOutcome(
        run_id=queued.run_id,
        input_digest=queued.input_digest,
        status=event.status,
        messages=queued.messages,
        input_length=len(queued.messages),
        context_variables=state.context_variables,
        error_type=event.error_type,
        error=event.error,
    )
    rest = tuple(other for other in state.queue if other is not queued)
    return state.model_copy(update={"queue": rest, **_with_outcome(state, outcome)})


def _with_outcome(state: SessionState, outcome: RunOutcome) -> dict[str, Any]:
    """The outcomes with one more; of those that are forgotten for it the ids stay."""
    outcomes = (*state.outcomes, outcome)
    taken = state.taken
    for forgotten in outcomes[:-KEPT_OUTCOMES]:
        taken = taken.then("run", forgotten.run_id, forgotten.input_digest)
        for call in forgotten.settled:
            if call.answer_id is not None:
                taken = taken.then("answer", call.answer_id, call.answer_digest or "")
    return {"outcomes": outcomes[-KEPT_OUTCOMES:], "taken": taken}


def truncate(history: tuple[Message, ...], size: int | None) -> tuple[Message, ...]:
    """The last `size` messages, without tool messages whose call was cut off (vendors refuse those)."""
    if size is None or len(history) <= size:
        return history
    kept = history[len(history) - size :]
    start = 0
    while start < len(kept) and kept[start].role == "tool":
        start += 1
    return kept[start:]
