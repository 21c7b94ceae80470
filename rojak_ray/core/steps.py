"""What must be done outside, as plain data, and what came of it. Whoever runs a step needs nothing else."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, JsonValue

from rojak_ray.agents.scheduled import ScheduledRun
from rojak_ray.agents.spec import AgentSpec, FunctionRef, RetrieverSpec
from rojak_ray.core.events import CallPlan, CodeKind, PlannedCall
from rojak_ray.core.kept import KeptResult
from rojak_ray.messages import Content, Message, Record, ToolCall, Usage, VendorState


class StepBase(Record):
    """What every step has."""

    step_id: str
    """Fixed by where the step stands in the run: the same after any crash."""

    idempotency_key: str
    attempt: int = 1
    wait_s: float = 0.0
    """Wait before this attempt."""

    due: datetime | None = None
    """When that wait is over."""

    recovered: bool = False
    """Whether the run outlived a host: its code may be registered again only after the step is due."""

    provider: str | None = None
    """What names the provider that the program which asked brought for its agent's type; None: it brought none."""

    awaits_code: bool = False
    """Whether it is recorded that what runs it is waited for."""

    run_id: str
    session_id: str | None
    agent: AgentSpec


class RenderInstructions(StepBase):
    """Let an instruction function write the system message."""

    kind: Literal["render_instructions"] = "render_instructions"
    function: FunctionRef
    context_variables: dict[str, JsonValue]
    schedule: ScheduledRun | None = None


class Retrieve(StepBase):
    """Look `text` up with one of the agent's retrievers."""

    kind: Literal["retrieve"] = "retrieve"
    retriever: RetrieverSpec
    text: str


class CallModel(StepBase):
    """Ask the model."""

    kind: Literal["call_model"] = "call_model"
    instructions: str = Field(repr=False)
    messages: tuple[Message, ...]
    release_tool_choice: bool = False
    """Whether a forced choice of function has been obeyed and the model may answer in text."""


class CallFunction(StepBase):
    """Run a function the model asked for."""

    kind: Literal["call_function"] = "call_function"
    call_id: str = ""
    """Names the call for as long as the conversation lives, whatever id the vendor gave it."""

    call: ToolCall
    plan: CallPlan
    context_variables: dict[str, JsonValue]
    schedule: ScheduledRun | None = None


Step: TypeAlias = RenderInstructions | Retrieve | CallModel | CallFunction


class TextResult(Record):
    """Rendered instructions, or what a retriever found."""

    kind: Literal["text"] = "text"
    text: str


class ModelResult(Record):
    """A model's answer, with how its calls are to be run."""

    kind: Literal["model"] = "model"
    content: str | None = None
    calls: tuple[PlannedCall, ...] = ()
    usage: Usage = Usage()
    finish_reason: str | None = None
    """One of `FinishReason`."""

    raw_finish_reason: str | None = None
    """The vendor's word."""

    vendor: VendorState | None = None
    """What must go back unread with this answer."""

    paused: bool = False
    """The vendor stopped in the midst of its work and goes on when it is asked again."""


class FunctionResult(Record):
    """What a function returned."""

    kind: Literal["function"] = "function"
    output: Content
    kept: KeptResult | None = None
    agent: AgentSpec | None = None
    context_set: dict[str, JsonValue] = Field(default_factory=dict)
    context_deleted: tuple[str, ...] = ()


class WaitingResult(Record):
    """A function returned without a result: somebody outside will give it."""

    kind: Literal["waiting"] = "waiting"
    question: str = ""
    options: tuple[str, ...] = ()
    timeout_s: float | None = None
    context_set: dict[str, JsonValue] = Field(default_factory=dict)
    context_deleted: tuple[str, ...] = ()


class MissingCode(Record):
    """Nothing was run: nobody has what runs the step. It is to be executed again, and then waits for it."""

    kind: Literal["missing_code"] = "missing_code"
    what: CodeKind
    name: str


class StepError(Record):
    """Why an attempt has no result."""

    kind: Literal["error"] = "error"
    error_type: str
    """Class name, as the model and `non_retryable_error_types` know it."""

    message: str
    transient: bool = False
    """Connection, timeout, overload: another attempt may succeed."""

    lost: bool = False
    """The process running it is gone; whether the work was done is unknown."""

    began: bool = True
    """Whether the work may have begun; what has not took no effect and can be repeated whatever it does."""

    retry_after_s: float | None = None
    finish_reason: str | None = None
    """How the answer ended that cannot be used; one of `FinishReason`. None: there was none."""

    missing_code: str | None = None
    """Nothing was run, because nobody has this: a function's name, or the type of a provider or retriever."""


StepResult: TypeAlias = Annotated[
    TextResult | ModelResult | FunctionResult | WaitingResult | MissingCode | StepError, Field(discriminator="kind")
]
