"""A conversation folded from its events: frozen values, no behaviour beyond questions about themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from rojak_ray.agents.scheduled import ScheduledRun
from rojak_ray.agents.spec import AgentSpec
from rojak_ray.core.events import DEFAULT_MODEL_CALLS, CodeKind, PlannedCall, RunStatus
from rojak_ray.core.kept import KeptResult
from rojak_ray.core.taken import Taken
from rojak_ray.messages import Content, Message, Record, Usage

KEPT_TIMERS = 16
"""Each is one object in storage, and goes when it rings; more than a few to come are rare."""

KEPT_BURIED = 64
"""Deleted incarnations remembered per session; one is forgotten once as many were deleted after it."""

KEPT_OUTCOMES = 16
"""Outcomes remembered whole per session, so that a caller whose reply was lost can ask again. Of those before them
the ids are remembered, and the journal has the rest."""


class ContextPatch(Record):
    """Changes to context variables."""

    set: dict[str, JsonValue] = Field(default_factory=dict)
    deleted: tuple[str, ...] = ()

    def then(self, later: ContextPatch) -> ContextPatch:
        """Both changes, the later one winning."""
        if not later.set and not later.deleted:
            return self
        kept = {key: value for key, value in self.set.items() if key not in later.deleted}
        deleted = [key for key in self.deleted if key not in later.set]
        deleted += [key for key in later.deleted if key not in deleted and key not in later.set]
        return ContextPatch(set={**kept, **later.set}, deleted=tuple(deleted))

    def apply(self, context: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """The context with these changes."""
        return {**{key: value for key, value in context.items() if key not in self.deleted}, **self.set}


class AwaitedAnswer(Record):
    """What a call waits for."""

    question: str = ""
    options: tuple[str, ...] = ()
    until: datetime | None = None


class SettledCall(Record):
    """A call that waited for somebody outside, and what became of it."""

    call_id: str
    tool_call_id: str
    how: Literal["answered", "expired"]
    answer_id: str | None = None
    answer_digest: str | None = None


class AwaitedCode(Record):
    """What a step waits for: a worker that registers it."""

    what: CodeKind
    name: str
    agent: str
    """Name of the agent that needs it."""


class CallState(Record):
    """A function call of the current turn and, once it returned, its result."""

    planned: PlannedCall
    output: Content | None = None
    awaited: AwaitedAnswer | None = None
    """Set while somebody outside has yet to give the result."""

    agent: str | None = None
    patch: ContextPatch = Field(default_factory=ContextPatch)

    @property
    def done(self) -> bool:
        """Whether its result is recorded."""
        return self.output is not None


class Attempts(Record):
    """How often a pending step was tried without a recorded result."""

    failures: int = 0
    interruptions: int = 0
    """Times a host was lost while the step may have been running."""

    retry_in_s: float = 0.0
    """Wait before the next attempt, counted from the last failure."""

    retry_at: datetime | None = None
    """When that wait is over."""

    losses: int = 0
    """Failures in which the process running it was lost."""

    last_error: str | None = None


class QueuedRun(Record):
    """An accepted run that waits for its turn."""

    run_id: str
    input_digest: str
    messages: tuple[Message, ...]
    agent: str | None = None
    providers: dict[str, str] = Field(default_factory=dict)


class RunState(Record):
    """The run in progress."""

    run_id: str
    input_digest: str
    input_length: int
    messages: tuple[Message, ...]
    """The input, then what was appended."""

    agent: str
    """Digest of the agent whose turn it is."""

    providers: dict[str, str] = Field(default_factory=dict)
    """What names the providers of the program that asked, by agent type."""

    turn: int = 0
    """Model answers so far."""

    paused: bool = False
    """Whether the last answer goes on when its model is asked again."""

    instructions: str | None = Field(default=None, repr=False)
    """Rendered for this turn, where the agent's instructions are a function."""

    found: dict[str, str | None] = Field(default_factory=dict)
    """What retrievers found for the run's last user message, by their digest; None where one failed."""

    calls: tuple[CallState, ...] = ()
    """Function calls of this turn, in the model's order."""

    patch: ContextPatch = Field(default_factory=ContextPatch)
    """Changes to the context so far; they become the session's when the run completes."""

    attempts: dict[str, Attempts] = Field(default_factory=dict)
    awaited_code: dict[str, AwaitedCode] = Field(default_factory=dict)
    """What steps wait for, by their ids."""

    recovered: bool = False
    """Whether a host was lost while it ran: what it needs may be registered later than usual."""

    recoveries: int = 0
    """Hosts that took over since the last recorded result."""

    rested: bool = False
    """Whether its last host let it go because nothing was to be done: then no step was under way."""

    answers: tuple[str, ...] = ()
    """Ids of the answers from outside that were taken; format 3 keeps them in `settled`."""

    settled: tuple[SettledCall, ...] = ()
    """The calls that waited, and do not any more."""

    called: tuple[str, ...] = ()
    """Names of the agents whose functions ran in this run."""

    usage: Usage = Usage()
    finish_reason: str | None = None
    """Of the last answer: one of `FinishReason`."""

    raw_finish_reason: str | None = None

    @property
    def appended(self) -> int:
        """Messages added to the input so far."""
        return len(self.messages) - self.input_length


class RunOutcome(Record):
    """How a run ended. `messages` holds its input and what it appended."""

    run_id: str
    input_digest: str
    status: RunStatus
    messages: tuple[Message, ...] = ()
    input_length: int = 0
    """How many of the messages are its input; 0 in formats 1 and 2, which do not say."""

    agent: str | None = None
    context_variables: dict[str, JsonValue] = Field(default_factory=dict)
    usage: Usage = Usage()
    error_type: str | None = None
    error: str | None = None
    finish_reason: str | None = None
    raw_finish_reason: str | None = None
    settled: tuple[SettledCall, ...] = ()


class SessionState(Record):
    """Everything about one conversation, or one run outside any session."""

    owner_kind: Literal["session", "run"] = "session"
    owner_id: str = ""
    buried: tuple[str, ...] = ()
    """Incarnations that were deleted lately: a request that opened one and is repeated must not open it again."""

    incarnation: str = ""
    """Empty until it is opened."""

    agents: dict[str, AgentSpec] = Field(default_factory=dict)
    agent: str = ""
    """Digest of the agent that spoke last."""

    context_variables: dict[str, JsonValue] = Field(default_factory=dict)
    max_turns: float | None = None
    max_model_calls: int | None = DEFAULT_MODEL_CALLS
    history_size: int | None = None
    debug: bool = False
    schedule: ScheduledRun | None = None
    history: tuple[Message, ...] = ()
    queue: tuple[QueuedRun, ...] = ()
    run: RunState | None = None
    outcomes: tuple[RunOutcome, ...] = ()
    """The latest, oldest first."""

    taken: Taken = Taken()
    """Requests whose outcomes are forgotten, and those that have none."""

    created_by: str | None = None
    """What its caller called the request that made it."""

    lives: Taken = Taken()
    """Creations and deletions of this id, which outlast each conversation that has it."""

    kept: tuple[KeptResult, ...] = ()
    """The latest whole results that are stored beside the conversation, oldest first."""

    timers: tuple[datetime, ...] = ()
    """The latest times at which it was to be woken from storage, so that whoever deletes it finds its timers."""

    set_aside: str | None = None
    """Why nothing of this conversation is run until somebody resumes it."""

    @property
    def opened(self) -> bool:
        """Whether the conversation exists."""
        return bool(self.incarnation)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do: nothing runs or waits, or it was set aside."""
        return (self.run is None and not self.queue) or self.set_aside is not None

    @property
    def awaited(self) -> tuple[CallState, ...]:
        """The calls that wait for an answer from outside."""
        return tuple(call for call in self.run.calls if call.awaited and not call.done) if self.run else ()

    @property
    def named_agents(self) -> frozenset[str]:
        """Digests of the agents that something names."""
        run = self.run
        calls = run.calls if run is not None else ()
        every = (
            self.agent,
            run.agent if run is not None else None,
            *(call.agent for call in calls),
            *(queued.agent for queued in self.queue),
            *(outcome.agent for outcome in self.outcomes),
        )
        return frozenset(digest for digest in every if digest)

    def outcome(self, run_id: str) -> RunOutcome | None:
        """The remembered outcome of a run."""
        return next((outcome for outcome in reversed(self.outcomes) if outcome.run_id == run_id), None)

    def knows(self, run_id: str) -> bool:
        """Whether a run of this id was ever accepted."""
        return self.status(run_id) is not None or self.taken.content("run", run_id) is not None

    def status(self, run_id: str) -> RunStatus | None:
        """Where a run stands; None if it is not known (any more)."""
        if self.run is not None and self.run.run_id == run_id:
            return RunStatus.RUNNING
        if any(queued.run_id == run_id for queued in self.queue):
            return RunStatus.QUEUED
        outcome = self.outcome(run_id)
        return outcome.status if outcome else None
