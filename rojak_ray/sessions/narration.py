"""Events as lines for a person who asked for `debug=True`: the only place where contents are logged."""

from __future__ import annotations

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
    Resumed,
    Retrieved,
    RunAccepted,
    RunEnded,
    RunStarted,
    SetAside,
    StepFailed,
)
from rojak_ray.core.pending import retriever_index
from rojak_ray.core.state import SessionState
from rojak_ray.journal.paths import Owner
from rojak_ray.logs import get_logger
from rojak_ray.messages import describe_content

logger = get_logger(__name__)

_LONGEST = 500


def log_event(owner: Owner, state: SessionState, event: Event) -> None:
    """Log what people asked to hear about a conversation, and what they should; `state` is the one before the event."""
    if state.debug and (line := narrate(state, event)):
        logger.info("%s: %s", owner, line)
    if warning := warn(state, event):
        logger.warning("%s: %s", owner, warning)


def narrate(state: SessionState, event: Event) -> str | None:
    """One line for an event, as seen from the state before it; None if there is nothing to tell."""
    text = _line(state, event)
    return text if text is None or len(text) <= _LONGEST else text[:_LONGEST] + "…"


def warn(state: SessionState, event: Event) -> str | None:
    """What a person should hear of without having asked for it: what a run does without, or waits for."""
    if isinstance(event, CodeAwaited) and state.run is not None:
        agent = state.agents[state.run.agent].name
        return f"run {state.run.run_id} waits for a worker: {event.what} {event.name!r} of agent {agent!r} is not known"
    if not isinstance(event, Retrieved) or event.error is None or state.run is None:
        return None
    retriever = state.agents[state.run.agent].retrievers[retriever_index(event.step_id)]
    return f"run {state.run.run_id} goes on without retriever {retriever.type!r}: {event.error}"


def _line(state: SessionState, event: Event) -> str | None:
    run = state.run
    agent = state.agents[run.agent].name if run is not None else "?"
    match event:
        case RunAccepted():
            last = event.messages[-1]
            return f"run {event.run_id} accepted: {last.role}: {describe_content(last.content)}"
        case RunStarted():
            return f"run {event.run_id} started with {state.agents[event.agent].name}"
        case InstructionsRendered():
            return f"{agent} is instructed: {event.text}"
        case Retrieved():
            return f"{agent} looked up: {event.text if event.error is None else event.error}"
        case ModelResponded():
            calls = ", ".join(f"{planned.call.name}({planned.call.arguments})" for planned in event.calls)
            return f"{agent} calls {calls}" if calls else f"{agent}: {event.content}"
        case FunctionReturned():
            handed = f", handing over to {state.agents[event.agent].name}" if event.agent else ""
            return f"{event.step_id} returned {describe_content(event.output)}{handed}"
        case AnswerAwaited():
            return f"{event.step_id} waits for an answer: {event.question}"
        case CodeAwaited():
            return f"{event.step_id} waits for a worker that has {event.what} {event.name!r}"
        case StepFailed():
            return f"{event.step_id} failed ({event.error}); again in {event.retry_in_s:g} s"
        case RunEnded():
            return f"run {event.run_id} {event.status}" + (f": {event.error}" if event.error else "")
        case SetAside():
            return f"set aside: {event.reason}"
        case _:
            return _about_the_conversation(state, event)


def _about_the_conversation(state: SessionState, event: Event) -> str | None:
    match event:
        case Opened():
            return f"began with {state.agents[event.agent].name}"
        case AgentAdded():
            return f"{event.spec.name} is known"
        case ConfigUpdated():
            changed = event.model_dump(mode="json", exclude={"kind"}, exclude_none=True, exclude_defaults=True)
            return f"settings changed: {', '.join(changed)}"
        case Recovered():
            return "taken over by a new process; what was under way may have run"
        case ProbationPassed():
            return "lived on after it was taken over"
        case Resumed():
            return "resumed"
        case Deleted():
            return "deleted"
        case _:
            return None
