"""What happened, in the past tense. These records are the journal; everything else is folded from them.

A message is stored once, in the event that brought it: the caller's in `RunAccepted`, the model's in `ModelResponded`,
a function's in `FunctionReturned`.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, JsonValue

from rojak_ray.agents.scheduled import ScheduledRun
from rojak_ray.agents.spec import AgentSpec, PolicySpec
from rojak_ray.core.kept import KeptResult
from rojak_ray.messages import Content, Message, Record, ToolCall, Usage, VendorState

DEFAULT_MODEL_CALLS = 100
"""Answers of a model that one run may take unless it is told otherwise, so that no loop goes on for ever."""

Limit: TypeAlias = Literal["max_turns", "max_model_calls", "history_size"]
"""A setting that can be lifted."""

CodeKind: TypeAlias = Literal["function", "provider", "retriever"]
"""What a step may wait for."""


class RunStatus(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class CallPlan(Record):
    """How one function call is to be run; fixed when the model asks for it, so that recovery does the same."""

    sequential: bool = False
    """It takes the context variables, so it waits for the sequential calls before it."""

    at_most_once: bool = False
    keep_result: bool = False
    """Whether the whole of a result is stored that the model is given a part of."""

    timeout_s: float | None = None
    policy: PolicySpec | None = None


class PlannedCall(Record):
    """A function call the model asked for."""

    call: ToolCall
    plan: CallPlan = CallPlan()


class Opened(Record):
    """The conversation began."""

    kind: Literal["opened"] = "opened"
    owner_kind: Literal["session", "run"]
    owner_id: str
    incarnation: str
    """Differs between two owners that used the same id one after the other."""

    agent: str
    context_variables: dict[str, JsonValue] = Field(default_factory=dict)
    max_turns: float | None = None
    """Messages a run may append; None means no limit."""

    max_model_calls: int | None = DEFAULT_MODEL_CALLS
    """Answers a run may take from models; None means no limit. Conversations of older formats have the default."""

    history_size: int | None = None
    """Messages kept between runs; None means all."""

    debug: bool = False
    schedule: ScheduledRun | None = None
    """Of a run that a schedule started: what it can know about it."""

    request_id: str | None = None
    input_digest: str = ""
    """Of a creation that its caller named."""


class AgentAdded(Record):
    """An agent became known; later events name it by its digest."""

    kind: Literal["agent_added"] = "agent_added"
    digest: str
    spec: AgentSpec
    forgets: tuple[str, ...] = ()
    """Digests of agents that nothing names any more."""


class RunAccepted(Record):
    """A request was taken: it will be answered, whatever dies."""

    kind: Literal["run_accepted"] = "run_accepted"
    run_id: str
    input_digest: str
    messages: tuple[Message, ...]
    agent: str | None = None
    """Who is asked; None: the agent that spoke last when the run starts."""

    providers: dict[str, str] = Field(default_factory=dict)
    """What names the providers of the program that asked, by agent type."""


class RunStarted(Record):
    """A queued run's turn came."""

    kind: Literal["run_started"] = "run_started"
    run_id: str
    agent: str


class InstructionsRendered(Record):
    """An instruction function wrote the system message of this turn."""

    kind: Literal["instructions_rendered"] = "instructions_rendered"
    step_id: str
    text: str


class Retrieved(Record):
    """A retriever answered, or gave up (`text` is None) and the run goes on without it.

    The step's id tells which of the agent's retrievers: see `retriever_index`.
    """

    kind: Literal["retrieved"] = "retrieved"
    step_id: str
    text: str | None
    error: str | None = None


class ModelResponded(Record):
    """The model answered."""

    kind: Literal["model_responded"] = "model_responded"
    step_id: str
    content: str | None = None
    calls: tuple[PlannedCall, ...] = ()
    usage: Usage = Usage()
    finish_reason: str | None = None
    """One of `FinishReason`; in formats 1 and 2 the vendor's word."""

    raw_finish_reason: str | None = None
    """The vendor's word."""

    vendor: VendorState | None = None
    paused: bool = False
    """The vendor stopped in the midst of its work and goes on when it is asked again."""


class FunctionReturned(Record):
    """A function call has its result, which may be an error text for the model."""

    kind: Literal["function_returned"] = "function_returned"
    step_id: str
    output: Content
    agent: str | None = None
    """The agent it hands over to."""

    context_set: dict[str, JsonValue] = Field(default_factory=dict)
    context_deleted: tuple[str, ...] = ()
    failed: bool = False
    kept: KeptResult | None = None
    """Where the whole is, if the output is a part and the whole was kept."""

    answer_id: str | None = None
    """Of the answer from outside that this result is."""


class AnswerAwaited(Record):
    """A function returned without a result: somebody outside will give it."""

    kind: Literal["answer_awaited"] = "answer_awaited"
    step_id: str
    question: str = ""
    options: tuple[str, ...] = ()
    until: datetime | None = None
    """When the model is told that nobody answered."""

    context_set: dict[str, JsonValue] = Field(default_factory=dict)
    context_deleted: tuple[str, ...] = ()


class StepFailed(Record):
    """One attempt of a step failed and another will be made."""

    kind: Literal["step_failed"] = "step_failed"
    step_id: str
    attempt: int
    error_type: str
    error: str
    retry_in_s: float
    retry_at: datetime | None = None
    """When that time is over, so that a wait survives the loss of its host."""

    lost: bool = False
    """The process running it was lost."""


class CodeAwaited(Record):
    """A step waits for a worker to register what runs it. What it waits for is not known anywhere now."""

    kind: Literal["code_awaited"] = "code_awaited"
    step_id: str
    what: CodeKind
    name: str


class Recovered(Record):
    """A new host took over; steps it found pending may have run already."""

    kind: Literal["recovered"] = "recovered"
    interrupted: bool = True
    """False if nothing was under way: the run only waited."""


class Rested(Record):
    """Its host let the conversation go although a run is in progress: nothing is to be done for a while."""

    kind: Literal["rested"] = "rested"
    until: datetime | None = None


class ProbationPassed(Record):
    """A host that took over lived on while this conversation ran: it is not what ended the hosts before."""

    kind: Literal["probation_passed"] = "probation_passed"


class SetAside(Record):
    """Hosts kept dying while this conversation ran. It stays as it is until somebody resumes it."""

    kind: Literal["set_aside"] = "set_aside"
    reason: str


class Resumed(Record):
    """A conversation that was set aside goes on."""

    kind: Literal["resumed"] = "resumed"


class Deleted(Record):
    """The conversation is gone, or there was none; its id may be used again."""

    kind: Literal["deleted"] = "deleted"
    request_id: str | None = None


class ConfigUpdated(Record):
    """Settings of the session changed; None leaves a setting as it is, `unlimited` names those set to no limit."""

    kind: Literal["config_updated"] = "config_updated"
    messages: tuple[Message, ...] | None = None
    context_variables: dict[str, JsonValue] | None = None
    max_turns: float | None = None
    max_model_calls: int | None = None
    history_size: int | None = None
    debug: bool | None = None
    unlimited: tuple[Limit, ...] = ()
    request_id: str | None = None


class RequestTaken(Record):
    """A request was taken that may leave no other trace: if it comes again it does nothing."""

    kind: Literal["request_taken"] = "request_taken"
    request_id: str
    content: str
    """What it asks for, in a word."""

    creates: bool = False
    """Whether it was to create the conversation, which somebody else had done: it is remembered beyond its end."""


class RunEnded(Record):
    """The run has its outcome."""

    kind: Literal["run_ended"] = "run_ended"
    run_id: str
    status: RunStatus
    error_type: str | None = None
    error: str | None = None
    finish_reason: str | None = None
    """One of `FinishReason`: how its last answer ended, or which bound ended it. None: it had no answer."""

    raw_finish_reason: str | None = None
    """The vendor's word for it."""


Event: TypeAlias = Annotated[
    Opened
    | AgentAdded
    | RunAccepted
    | RunStarted
    | InstructionsRendered
    | Retrieved
    | ModelResponded
    | FunctionReturned
    | AnswerAwaited
    | StepFailed
    | CodeAwaited
    | Recovered
    | Rested
    | ProbationPassed
    | SetAside
    | Resumed
    | Deleted
    | ConfigUpdated
    | RequestTaken
    | RunEnded,
    Field(discriminator="kind"),
]
