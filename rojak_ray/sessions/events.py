"""What a follower of a conversation sees: one union of small, JSON-safe records.

    RunStartedEvent       a run's turn came
    AgentEvent            who speaks from here on
    RetrievalEvent        what a retriever found before the answer
    TextDeltaEvent        a piece of an answer
    MessageEvent          the answer, complete
    FunctionCallEvent     the model wants a function called
    FunctionResultEvent   what the function returned, or its error for the model
    HandoffEvent          one agent handed over to another
    ContextChangeEvent    context variables changed
    RetryEvent            an attempt failed and is made again; text of it is void
    WaitingEvent          nothing happens until something else does
    RunEndedEvent         a run has its outcome

All but live pieces of text come from the journal: whoever follows from a `seq` gets every one behind it, once and in
order, whatever process died meanwhile. `seq` rises strictly through everything a follower sees, and each is a place to
go on from.

Pieces of one answer, joined, are its text, whether it was streamed or not: what was not seen live comes in one piece
with the complete answer. Live pieces of an attempt that failed are void; a RetryEvent (or a RunEndedEvent without a
MessageEvent) says so.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, JsonValue

from rojak_ray.core.events import CodeKind, RunStatus
from rojak_ray.core.kept import KeptResult
from rojak_ray.messages import Content, Message, Record, Usage

_PER_NUMBER = 1_000_000
_FIRST_TEXT = 100_000
_END = _PER_NUMBER - 1
_LONGEST_LIVE_TEXT = _END - _FIRST_TEXT - 1


class EventBase(Record):
    """What every event has."""

    seq: int
    """Rises through everything that one conversation tells; `events(after=seq)` goes on behind it."""

    run_id: str | None
    """The run it belongs to; None for what concerns the whole conversation."""


class RunStartedEvent(EventBase):
    """A run's turn came.

    Example:
        async for event in handle.events():
            if event.kind == "run_started":
                print([message.content for message in event.messages])
    """

    kind: Literal["run_started"] = "run_started"
    messages: tuple[Message, ...]
    """What was asked."""


class AgentEvent(EventBase):
    """Who speaks from here on.

    Example:
        async for event in handle.events():
            if event.kind == "agent":
                print(f"{event.agent} speaks, with the model {event.model}")
    """

    kind: Literal["agent"] = "agent"
    agent: str
    model: str


class RetrievalEvent(EventBase):
    """What a retriever found for the coming answer; `found` is None if it failed, and the run goes on without.

    Example:
        async for event in handle.events():
            if event.kind == "retrieval":
                print(event.found or f"nothing, because of {event.error}")
    """

    kind: Literal["retrieval"] = "retrieval"
    agent: str
    retriever: str = ""
    """Its type."""

    found: str | None
    error: str | None = None


class TextDeltaEvent(EventBase):
    """A piece of an answer.

    Example:
        async for event in handle.events():
            if event.kind == "text_delta":
                print(event.text, end="", flush=True)
    """

    kind: Literal["text_delta"] = "text_delta"
    agent: str
    step_id: str
    """Which answer: the same for all its pieces and its MessageEvent."""

    attempt: int
    """Which attempt at it; the text of one that failed is void."""

    offset: int
    """Where in the answer's text the piece begins."""

    text: str


class MessageEvent(EventBase):
    """The answer, complete. Its text was told in pieces before.

    Example:
        async for event in handle.events():
            if event.kind == "message":
                print(f"{event.agent}: {event.content}")
    """

    kind: Literal["message"] = "message"
    agent: str
    step_id: str
    content: str
    usage: Usage
    finish_reason: str | None = None
    """Why it stopped: one of `FinishReason`."""

    raw_finish_reason: str | None = None
    """The vendor's word."""


class FunctionCallEvent(EventBase):
    """The model wants a function called.

    Example:
        async for event in handle.events():
            if event.kind == "function_call":
                print(f"{event.name} is called with {event.arguments}")
    """

    kind: Literal["function_call"] = "function_call"
    agent: str
    call_id: str
    """Ours, unique for as long as the conversation lives."""

    tool_call_id: str = ""
    """The vendor's, as in the messages."""

    name: str
    arguments: str
    """The model's JSON text, unchecked."""


class FunctionResultEvent(EventBase):
    """What a function returned; with `failed`, the error text that the model is told.

    Example:
        async for event in handle.events():
            if event.kind == "function_result":
                print(f"{event.name} failed" if event.failed else event.output)
    """

    kind: Literal["function_result"] = "function_result"
    agent: str
    call_id: str
    """As in the call's FunctionCallEvent."""

    tool_call_id: str = ""
    name: str
    output: Content
    failed: bool = False
    kept: KeptResult | None = None
    """Set if the output is a part and the whole was kept: `Session.whole_result` gives it back."""


class HandoffEvent(EventBase):
    """One agent handed over to another.

    Example:
        async for event in handle.events():
            if event.kind == "handoff":
                print(f"from {event.from_agent} to {event.to_agent}")
    """

    kind: Literal["handoff"] = "handoff"
    from_agent: str
    to_agent: str


class ContextChangeEvent(EventBase):
    """Context variables changed. Applied in order, these changes give the context as it stands.

    Example:
        async for event in handle.events():
            if event.kind == "context_change":
                print(f"set {event.set}, deleted {event.deleted}")
    """

    kind: Literal["context_change"] = "context_change"
    set: dict[str, JsonValue] = {}
    deleted: tuple[str, ...] = ()


class RetryEvent(EventBase):
    """An attempt of a step failed, or was lost with its process, and another one is made.

    Example:
        async for event in handle.events():
            if event.kind == "retry":
                print(f"again in {event.retry_in_s} s, because of {event.error_type}")
    """

    kind: Literal["retry"] = "retry"
    agent: str
    step_id: str
    attempt: int
    """The attempt that failed."""

    error_type: str
    error: str
    retry_in_s: float = 0.0
    reset: bool = False
    """Whether it was an answer: text told of it since the last MessageEvent is void."""


class WaitingEvent(EventBase):
    """Nothing happens until something else does.

    Example:
        async for event in handle.events():
            if event.kind == "waiting":
                print(f"{event.reason}: {event.detail}")
    """

    kind: Literal["waiting"] = "waiting"
    reason: Literal["queue", "answer", "worker", "set_aside"]
    """"queue": earlier runs of this conversation come first. "answer": a function asked somebody outside. "worker":
    nobody has registered what is to be run. "set_aside": the conversation kept ending its process, and somebody has to
    resume it."""

    detail: str = ""
    """What is asked, what a worker is to register, or why it was set aside."""

    call_id: str | None = None
    """The call that `Session.answer` is to name."""

    tool_call_id: str | None = None
    options: tuple[str, ...] = ()
    """Answers to choose from."""

    until: datetime | None = None
    """When the model is told that nobody answered."""

    what: CodeKind | None = None
    """What a worker is to register: a function, a provider (an agent type) or a retriever."""

    name: str | None = None
    """Its name: of the function, or of the agent or retriever type."""

    agent: str | None = None
    """The agent that needs it."""


class RunEndedEvent(EventBase):
    """A run has its outcome.

    Example:
        async for event in handle.events():
            if event.kind == "run_ended":
                assert event.status == "completed"
    """

    kind: Literal["run_ended"] = "run_ended"
    status: RunStatus
    agent: str | None
    """Who spoke last; None if the run never started."""

    usage: Usage = Usage()
    error_type: str | None = None
    error: str | None = None
    finish_reason: str | None = None
    """How its last answer ended, or which bound ended it: one of `FinishReason`. None: it had no answer."""

    raw_finish_reason: str | None = None


SessionEvent: TypeAlias = Annotated[
    RunStartedEvent
    | AgentEvent
    | RetrievalEvent
    | TextDeltaEvent
    | MessageEvent
    | FunctionCallEvent
    | FunctionResultEvent
    | HandoffEvent
    | ContextChangeEvent
    | RetryEvent
    | WaitingEvent
    | RunEndedEvent,
    Field(discriminator="kind"),
]
"""Everything a follower may see."""


def seq_of(number: int, place: int) -> int:
    """The `seq` of the event at a place (from 0) among those that tell journal event `number`."""
    return number * _PER_NUMBER + place


def seq_of_text(number: int, characters: int) -> int | None:
    """The `seq` of live text up to so many characters, told behind journal event `number`; None if it is too long."""
    if characters > _LONGEST_LIVE_TEXT:
        return None
    return number * _PER_NUMBER + _FIRST_TEXT + characters


def told_of(number: int) -> int:
    """A `seq` behind every event that tells journal event `number`, and before any text that is told behind it."""
    return number * _PER_NUMBER + _FIRST_TEXT - 1


def end_of(number: int) -> int:
    """A `seq` behind everything told of journal event `number`, and before the next one."""
    return number * _PER_NUMBER + _END


def number_of(seq: int) -> int:
    """The journal event that a `seq` belongs to."""
    return seq // _PER_NUMBER


def characters_at(seq: int) -> int:
    """How much of the answer in progress a follower at `seq` has seen."""
    place = seq % _PER_NUMBER
    return place - _FIRST_TEXT if _FIRST_TEXT <= place < _END else 0
