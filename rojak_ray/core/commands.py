"""What the outside may ask of a conversation, in the imperative; a finished step reports back the same way."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

from pydantic import JsonValue

from rojak_ray.agents.scheduled import ScheduledRun
from rojak_ray.agents.spec import AgentSpec
from rojak_ray.core.events import DEFAULT_MODEL_CALLS, Limit
from rojak_ray.core.steps import StepResult
from rojak_ray.messages import Content, Message, Record


class OpenSession(Record):
    """Begin the conversation; no effect if it exists."""

    kind: Literal["open"] = "open"
    owner_kind: Literal["session", "run"]
    owner_id: str
    incarnation: str
    agent: AgentSpec
    context_variables: dict[str, JsonValue] = {}
    max_turns: float | None = None
    max_model_calls: int | None = DEFAULT_MODEL_CALLS
    history_size: int | None = None
    debug: bool = False
    schedule: ScheduledRun | None = None
    request_id: str | None = None
    """The same again is the same creation: it neither creates nor finds what came after a deletion."""

    input_digest: str = ""
    """What makes two creations the same; empty where no request id is given."""


class StartRun(Record):
    """Answer these messages. The same `run_id` again is the same request, not a second one."""

    kind: Literal["start_run"] = "start_run"
    run_id: str
    input_digest: str
    messages: tuple[Message, ...]
    agent: AgentSpec | None = None
    providers: dict[str, str] = {}
    """What names the providers that the program which asks brought, by agent type; nothing of what they are."""


class UpdateConfig(Record):
    """Change settings; None leaves one as it is."""

    kind: Literal["update_config"] = "update_config"
    messages: tuple[Message, ...] | None = None
    context_variables: dict[str, JsonValue] | None = None
    max_turns: float | None = None
    max_model_calls: int | None = None
    history_size: int | None = None
    debug: bool | None = None
    unlimited: tuple[Limit, ...] = ()
    request_id: str | None = None
    """The same again is the same change, not a second one."""


class CancelRun(Record):
    """Stop a run, or everything that is running or waiting."""

    kind: Literal["cancel"] = "cancel"
    run_id: str | None = None
    request_id: str | None = None
    """The same again is the same request: what began since then goes on."""


class Resume(Record):
    """Go on with a conversation that was set aside; no effect on others."""

    kind: Literal["resume"] = "resume"
    request_id: str | None = None
    """The same again is the same request: a conversation that was set aside anew stays so."""


class Delete(Record):
    """Cancel what runs and forget the conversation; no effect if it is gone."""

    kind: Literal["delete"] = "delete"
    request_id: str | None = None
    """The same again is the same deletion: a conversation that was made since then stays."""

    lasting: bool = False
    """Whether its caller chose the id, and may come again in a year: then it is remembered also if nothing was there
    to be deleted."""


class Recover(Record):
    """A new host took over after replaying the journal."""

    kind: Literal["recover"] = "recover"
    most_recoveries: int = 6
    """After so many without progress the conversation is set aside."""


class PassProbation(Record):
    """The host that took over has lived long enough."""

    kind: Literal["pass_probation"] = "pass_probation"


class RecordStep(Record):
    """An attempt of a step finished."""

    kind: Literal["record_step"] = "record_step"
    step_id: str
    attempt: int
    result: StepResult
    at: datetime | None = None
    """When it finished; waits are counted from here."""


class AnswerCall(Record):
    """The result of a call that waits for it. The same `answer_id` again is the same answer."""

    kind: Literal["answer_call"] = "answer_call"
    call_id: str
    """Ours, or the vendor's while it names one call only."""

    answer_id: str
    output: Content


class CheckTimers(Record):
    """Time has passed; no effect if nothing was due."""

    kind: Literal["check_timers"] = "check_timers"
    at: datetime


class Rest(Record):
    """Nothing is to be done before `until`: the host is about to let the conversation go."""

    kind: Literal["rest"] = "rest"
    until: datetime | None = None
    leaves: bool = False
    """What is to be done is done by somebody else: nothing of it has begun here, so none of it was interrupted."""


Command: TypeAlias = (
    OpenSession
    | StartRun
    | UpdateConfig
    | CancelRun
    | Resume
    | Delete
    | Recover
    | PassProbation
    | RecordStep
    | AnswerCall
    | CheckTimers
    | Rest
)
