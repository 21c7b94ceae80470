"""What a client asks of a host and what it hears back, as plain data that crosses processes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, JsonValue

from rojak_ray.agents.spec import AgentSpec
from rojak_ray.core.commands import Command
from rojak_ray.core.events import DEFAULT_MODEL_CALLS, RunStatus
from rojak_ray.core.kept import KeptResult
from rojak_ray.core.pending import call_id_of, public_call_id
from rojak_ray.core.state import RunOutcome, SessionState
from rojak_ray.messages import Message, Record, Usage
from rojak_ray.sessions.batches import Batch, Follow
from rojak_ray.sessions.order import Place


class Ask(Record):
    """Commands for one owner, then perhaps a wait for one of its runs."""

    commands: tuple[Annotated[Command, Field(discriminator="kind")], ...] = ()
    await_run: str | None = None
    wait_s: float = 0.0
    """Answer after this time even if the run has no outcome yet."""

    view: bool = False
    """Include the configuration and history."""

    follow: Follow | None = None
    """Tell what happens; models asked from here on are asked to stream."""

    place: Place | None = None
    """Where it stands among its client's requests, if the transport may overtake."""

    @property
    def longest_wait_s(self) -> float:
        """How long the answer may be held back."""
        return max(self.wait_s, self.follow.wait_s if self.follow else 0.0)

    @property
    def only_follows(self) -> bool:
        """Whether it changes nothing and waits for no run."""
        return self.follow is not None and not self.commands and not self.await_run and not self.view


class AwaitedCall(Record):
    """A function call that waits for somebody outside to give its result."""

    call_id: str
    """What an answer names: ours, unique for as long as the conversation lives."""

    tool_call_id: str
    """The vendor's id of the call, as in the messages. Some vendors repeat theirs."""

    name: str
    arguments: str
    question: str
    options: tuple[str, ...] = ()
    """Answers to choose from; empty where any is as good."""

    until: datetime | None
    """When the model will be told that nobody answered."""


class RunView(Record):
    """A run as its caller sees it."""

    run_id: str
    status: RunStatus
    messages: tuple[Message, ...] = ()
    input_length: int = 0
    """How many of the messages are its input; 0 where an old record does not say."""

    agent: AgentSpec | None = None
    context_variables: dict[str, JsonValue] = {}
    usage: Usage = Usage()
    error_type: str | None = None
    error: str | None = None
    finish_reason: str | None = None
    raw_finish_reason: str | None = None


class SessionView(Record):
    """A session's configuration, history and latest outcome."""

    agent: AgentSpec
    context_variables: dict[str, JsonValue]
    max_turns: float | None
    max_model_calls: int | None = DEFAULT_MODEL_CALLS
    history_size: int | None
    debug: bool
    history: tuple[Message, ...]
    latest: RunView | None
    set_aside: str | None = None
    """Why nothing of it is run until somebody resumes it."""

    awaited: tuple[AwaitedCall, ...] = ()
    kept: tuple[KeptResult, ...] = ()


class Reply(Record):
    """The answer to an `Ask`. Everything it says is durable."""

    created: bool = False
    """Whether the conversation that is there is the one this request began, now or when it came for the first time."""

    run: RunView | None = None
    """The awaited run; its status says whether it ended."""

    view: SessionView | None = None
    batch: Batch | None = None
    """What there is to follow."""


def view_run(state: SessionState, run_id: str) -> RunView | None:
    """A run as it stands; None if this conversation does not know it."""
    outcome = state.outcome(run_id)
    if outcome is not None:
        return view_outcome(state, outcome)
    status = state.status(run_id)
    return RunView(run_id=run_id, status=status) if status else None


def view_outcome(state: SessionState, outcome: RunOutcome) -> RunView:
    """A run that ended."""
    return RunView(
        run_id=outcome.run_id,
        status=outcome.status,
        messages=outcome.messages,
        input_length=outcome.input_length,
        agent=state.agents.get(outcome.agent or ""),
        context_variables=outcome.context_variables,
        usage=outcome.usage,
        error_type=outcome.error_type,
        error=outcome.error,
        finish_reason=outcome.finish_reason,
        raw_finish_reason=outcome.raw_finish_reason,
    )


def view_session(state: SessionState) -> SessionView:
    """A session as it stands. The latest outcome is the latest answer: failed and cancelled runs left none."""
    answered = [outcome for outcome in state.outcomes if outcome.status == RunStatus.COMPLETED]
    return SessionView(
        agent=state.agents[state.agent],
        context_variables=state.context_variables,
        max_turns=state.max_turns,
        max_model_calls=state.max_model_calls,
        history_size=state.history_size,
        debug=state.debug,
        history=state.history,
        latest=view_outcome(state, answered[-1]) if answered else None,
        set_aside=state.set_aside,
        awaited=view_awaited(state),
        kept=state.kept,
    )


def view_awaited(state: SessionState) -> tuple[AwaitedCall, ...]:
    """The calls that wait for an answer, in the model's order."""
    run = state.run
    return tuple(
        AwaitedCall(
            call_id=public_call_id(state, call_id_of(run, index)),
            tool_call_id=call.planned.call.id,
            name=call.planned.call.name,
            arguments=call.planned.call.arguments,
            question=call.awaited.question,
            options=call.awaited.options,
            until=call.awaited.until,
        )
        for index, call in enumerate(run.calls if run is not None else ())
        if run is not None and call.awaited is not None and not call.done
    )
