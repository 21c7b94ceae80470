"""`decide(state, command)`: which facts a command leads to. Late, doubled and foreign results lead to none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import assert_never

from rojak_ray.agents.spec import AgentSpec
from rojak_ray.core.commands import (
    AnswerCall,
    CancelRun,
    CheckTimers,
    Command,
    Delete,
    OpenSession,
    PassProbation,
    RecordStep,
    Recover,
    Rest,
    Resume,
    StartRun,
    UpdateConfig,
)
from rojak_ray.core.ending import answered, spent
from rojak_ray.core.events import (
    AgentAdded,
    AnswerAwaited,
    CodeAwaited,
    ConfigUpdated,
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
from rojak_ray.core.evolve import config_content, evolve
from rojak_ray.core.lives import created_before, creates_nothing, deletion
from rojak_ray.core.pending import pending
from rojak_ray.core.retrying import retry_wait
from rojak_ray.core.state import SessionState
from rojak_ray.core.steps import (
    CallFunction,
    CallModel,
    FunctionResult,
    MissingCode,
    ModelResult,
    RenderInstructions,
    Retrieve,
    Step,
    StepError,
    TextResult,
    WaitingResult,
)
from rojak_ray.core.taken import content_digest
from rojak_ray.core.waiting import answer, may_rest, overdue
from rojak_ray.errors import InternalError, RequestConflict, RunNotFound, SessionNotFound, SessionSetAside

Events = list[Event]

_CANCEL_ALL, _RESUME = "/cancel everything", "/resume"
"""What requests without arguments ask for; no run has such an id."""


def decide(state: SessionState, command: Command) -> Events:
    """The events a command leads to; none if it changes nothing.

    Raises:
        RequestConflict: The run id is taken by different input.
        SessionNotFound: The conversation was never opened, or deleted.
        SessionSetAside: Nothing new is taken until somebody resumes it.
        CallNotWaiting: An answer is for a call that does not wait.
    """
    if isinstance(command, StartRun | UpdateConfig | CancelRun | Resume | AnswerCall) and not state.opened:
        raise SessionNotFound(f"Session {state.owner_id!r} does not exist; create it with create_session first.")
    match command:
        case OpenSession():
            return _open(state, command)
        case StartRun():
            return _start_run(state, command)
        case UpdateConfig():
            return _update_config(state, command)
        case CancelRun():
            content = command.run_id or _CANCEL_ALL
            return _once(state, command.request_id, content, lambda: _cancel(state, command.run_id))
        case Resume():
            resumed: Events = [Resumed()] if state.set_aside is not None else []
            return _once(state, command.request_id, _RESUME, lambda: resumed)
        case Delete():
            return deletion(state, command, _cancel(state))
        case Recover():
            return _recover(state, command)
        case PassProbation():
            return _pass_probation(state)
        case RecordStep():
            return _record_step(state, command)
        case AnswerCall():
            return _after(state, answer(state, command))
        case CheckTimers():
            return _after(state, overdue(state, command))
        case Rest():
            return [Rested(until=command.until)] if may_rest(state, command) else []
        case _:
            assert_never(command)


class _Story:
    """Events in the making, with the state they lead to: later decisions see earlier ones."""

    def __init__(self, state: SessionState) -> None:
        self.state = state
        self.events: Events = []

    def tell(self, event: Event) -> None:
        self.events.append(event)
        self.state = evolve(self.state, event)

    def introduce(self, spec: AgentSpec) -> str:
        """Make an agent known, once."""
        digest = spec.digest()
        if digest not in self.state.agents:
            named = self.state.named_agents
            forgets = tuple(known for known in self.state.agents if known not in named)
            self.tell(AgentAdded(digest=digest, spec=spec, forgets=forgets))
        return digest


def _open(state: SessionState, command: OpenSession) -> Events:
    known = created_before(state, command)
    if state.opened:
        return creates_nothing(command, known=known)
    if known or command.incarnation in state.buried:
        # This very request opened it before. Its steps would have the keys of those that ran then.
        missing = SessionNotFound if state.owner_kind == "session" else RunNotFound
        raise missing(f"{state.owner_kind.capitalize()} {state.owner_id!r} was deleted after this had created it.")
    story = _Story(state)
    agent = story.introduce(command.agent)
    settings = command.model_dump(exclude={"kind", "agent"})
    story.tell(Opened(agent=agent, **settings))
    return story.events


def _start_run(state: SessionState, command: StartRun) -> Events:
    known = [*state.queue, *([state.run] if state.run else []), *state.outcomes]
    same = next((run for run in known if run.run_id == command.run_id), None)
    if same is not None:
        if same.input_digest != command.input_digest:
            raise _other_input(command.run_id)
        return []
    forgotten = state.taken.content("run", command.run_id)
    if forgotten is not None:
        if forgotten != content_digest(command.input_digest):
            raise _other_input(command.run_id)
        return []
    if state.set_aside is not None:
        raise SessionSetAside(set_aside_text(state))
    story = _Story(state)
    agent = story.introduce(command.agent) if command.agent else None
    story.tell(
        RunAccepted(
            run_id=command.run_id,
            input_digest=command.input_digest,
            messages=command.messages,
            agent=agent,
            providers=command.providers,
        )
    )
    _start_next(story)
    return story.events


def _other_input(run_id: str) -> RequestConflict:
    return RequestConflict(
        f"The id {run_id!r} belongs to a run with different input; choose another id, or pass the same agent and "
        "messages to join it."
    )


def _update_config(state: SessionState, command: UpdateConfig) -> Events:
    change = ConfigUpdated(**command.model_dump(exclude={"kind"}))
    taken = _changed_before(state, command.request_id, config_content(change)) if command.request_id else False
    return [] if taken else [change]


def _once(state: SessionState, request_id: str | None, content: str, events: Callable[[], Events]) -> Events:
    """What a request leads to, the first time: what came since then is not what was meant."""
    if request_id is None:
        return events()
    if _changed_before(state, request_id, content):
        return []
    return [*events(), RequestTaken(request_id=request_id, content=content)]


def _changed_before(state: SessionState, request_id: str, content: str) -> bool:
    """Whether this very change was taken before; raises RequestConflict if its id belongs to another."""
    known = state.taken.content("change", request_id)
    if known is not None and known != content_digest(content):
        raise RequestConflict(f"The request id {request_id!r} belongs to a request with other content; choose another.")
    return known is not None


def _start_next(story: _Story) -> None:
    """Give the turn to the first queued run, if the conversation is free; a run that may append nothing ends."""
    while story.state.run is None and story.state.queue:
        queued = story.state.queue[0]
        story.tell(RunStarted(run_id=queued.run_id, agent=queued.agent or story.state.agent))
        _end_if_spent(story)


def _end_if_spent(story: _Story) -> None:
    end = spent(story.state)
    if end is not None:
        story.tell(end)


def _pass_probation(state: SessionState) -> Events:
    suspected = state.run is not None and state.run.recoveries > 0 and state.set_aside is None
    return [ProbationPassed()] if suspected else []


def set_aside_text(state: SessionState) -> str:
    """For whoever asks something of a conversation that was set aside: why, and what to do."""
    kind = f"{state.owner_kind}s"
    return (
        f"{state.owner_kind.capitalize()} {state.owner_id!r} was set aside: {state.set_aside} Nothing of it is lost. "
        f"Look at it with `rojak {kind} show`, then `rojak {kind} resume`, cancel or delete it."
    )


def _cancel(state: SessionState, only: str | None = None) -> Events:
    story = _Story(state)
    open_runs = [queued.run_id for queued in state.queue] + ([state.run.run_id] if state.run else [])
    for run_id in open_runs:
        if only in (None, run_id):
            text = f"Run {run_id!r} was cancelled before it had an answer."
            story.tell(RunEnded(run_id=run_id, status=RunStatus.CANCELLED, error_type="RunCancelled", error=text))
    _start_next(story)
    return story.events


def _recover(state: SessionState, command: Recover) -> Events:
    """Steps found pending may have run: count the interruption, and report calls that must not run twice."""
    if state.run is None or state.set_aside is not None:
        return []
    if state.run.rested:
        return [Recovered(interrupted=False)]  # each time: what begins after this rest may be interrupted
    if not pending(state):
        return [] if state.run.recovered else [Recovered(interrupted=False)]
    if state.run.recoveries >= command.most_recoveries:
        steps = ", ".join(step.step_id for step in pending(state))
        reason = f"its process ended {state.run.recoveries} times without a result of {steps}."
        return [SetAside(reason=reason)]
    open_calls = [step for step in pending(state) if isinstance(step, CallFunction) and step.plan.at_most_once]
    story = _Story(state)
    story.tell(Recovered())
    for step in open_calls:
        text = _interrupted(step, "its host ended")
        story.tell(FunctionReturned(step_id=step.step_id, output=text, failed=True))
    _after_turn(story)
    return story.events


def _interrupted(step: CallFunction, reason: str) -> str:
    return (
        f"Interrupted: the call to {step.call.name} was interrupted ({reason.rstrip('.')}) and is not repeated, "
        "because it may run at most once. Whether it took effect is unknown."
    )


def _record_step(state: SessionState, command: RecordStep) -> Events:
    step = next((step for step in pending(state) if step.step_id == command.step_id), None)
    if step is None or step.attempt != command.attempt:
        return []
    story = _Story(state)
    match command.result:
        case StepError():
            _step_error(story, step, command.result, command.at)
        case MissingCode():
            if not step.awaits_code:
                story.tell(CodeAwaited(step_id=step.step_id, what=command.result.what, name=command.result.name))
        case TextResult():
            _text_result(story, step, command.result)
        case ModelResult() if isinstance(step, CallModel):
            result = command.result
            story.tell(
                ModelResponded(
                    step_id=step.step_id,
                    content=result.content,
                    calls=result.calls,
                    usage=result.usage,
                    finish_reason=result.finish_reason,
                    vendor=result.vendor,
                    paused=result.paused,
                    raw_finish_reason=result.raw_finish_reason,
                )
            )
        case FunctionResult() if isinstance(step, CallFunction):
            _function_result(story, step, command.result)
        case WaitingResult() if isinstance(step, CallFunction):
            _await_answer(story, step, command.result, command.at)
        case _:
            raise InternalError(f"Step {step.step_id!r} ({step.kind}) cannot end in a {command.result.kind} result.")
    _after_turn(story)
    return story.events


def _text_result(story: _Story, step: Step, result: TextResult) -> None:
    if isinstance(step, RenderInstructions):
        story.tell(InstructionsRendered(step_id=step.step_id, text=result.text))
    elif isinstance(step, Retrieve):
        story.tell(Retrieved(step_id=step.step_id, text=result.text))
    else:
        raise InternalError(f"Step {step.step_id!r} ({step.kind}) cannot end in text.")


def _function_result(story: _Story, step: Step, result: FunctionResult) -> None:
    agent = story.introduce(result.agent) if result.agent else None
    story.tell(
        FunctionReturned(
            step_id=step.step_id,
            output=result.output,
            kept=result.kept,
            agent=agent,
            context_set=result.context_set,
            context_deleted=result.context_deleted,
        )
    )


def _await_answer(story: _Story, step: CallFunction, result: WaitingResult, at: datetime | None) -> None:
    limited = result.timeout_s is not None and at is not None
    story.tell(
        AnswerAwaited(
            step_id=step.step_id,
            question=result.question,
            options=result.options,
            until=at + timedelta(seconds=result.timeout_s) if limited and at and result.timeout_s else None,
            context_set=result.context_set,
            context_deleted=result.context_deleted,
        )
    )


def _after(state: SessionState, events: Iterable[Event]) -> Events:
    """These events, and what follows from them for the run."""
    story = _Story(state)
    for event in events:
        story.tell(event)
    if story.events:
        _after_turn(story)
    return story.events


def _after_turn(story: _Story) -> None:
    """End the run if its last answer asked for nothing more, or it is at one of its bounds; then the next one."""
    end = answered(story.state.run) if story.state.run is not None else None
    if end is not None:
        story.tell(end)
    _end_if_spent(story)
    _start_next(story)


def _step_error(story: _Story, step: Step, error: StepError, at: datetime | None) -> None:
    if isinstance(step, CallFunction) and step.plan.at_most_once and error.lost and error.began:
        text = _interrupted(step, error.message)
        story.tell(FunctionReturned(step_id=step.step_id, output=text, failed=True))
        return
    wait = retry_wait(story.state, step, error)
    if wait is not None:
        story.tell(
            StepFailed(
                step_id=step.step_id,
                attempt=step.attempt,
                error_type=error.error_type,
                error=error.message,
                retry_in_s=wait,
                retry_at=at + timedelta(seconds=wait) if at else None,
                lost=error.lost,
            )
        )
    elif isinstance(step, CallFunction) and error.missing_code is None:
        text = f"{error.error_type}: {error.message}"
        story.tell(FunctionReturned(step_id=step.step_id, output=text, failed=True))
    elif isinstance(step, Retrieve):
        story.tell(Retrieved(step_id=step.step_id, text=None, error=f"{error.error_type}: {error.message}"))
    else:
        story.tell(
            RunEnded(
                run_id=step.run_id,
                status=RunStatus.FAILED,
                error_type=error.error_type,
                error=_what_failed(step, error),
                finish_reason=error.finish_reason,
            )
        )


def _what_failed(step: Step, error: StepError) -> str:
    what = "instructions" if isinstance(step, RenderInstructions) else "model call"
    what = f"call of {step.call.name}" if isinstance(step, CallFunction) else what
    tries = f" after {step.attempt} attempts" if step.attempt > 1 else ""
    return f"The {what} of agent {step.agent.name!r} failed{tries}: {error.error_type}: {error.message}"
