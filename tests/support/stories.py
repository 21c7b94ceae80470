"""Given these events, when this command, then these events and this pending work.

A `Story` is an immutable point in a conversation: its state, and the events the last command led to. Verbs that stand
for the outside world (`says`, `asks`, `returns`, `fails`) find the pending step they answer, so a test reads like the
conversation it describes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from rojak_ray.agents.spec import AgentSpec, FunctionRef, PolicySpec, RetrieverSpec, RetrySpec
from rojak_ray.core.commands import Command, OpenSession, RecordStep, StartRun
from rojak_ray.core.decide import decide
from rojak_ray.core.events import CallPlan, Event, PlannedCall
from rojak_ray.core.evolve import fold
from rojak_ray.core.pending import pending
from rojak_ray.core.state import RunOutcome, SessionState
from rojak_ray.core.steps import CallModel, FunctionResult, ModelResult, Step, StepError, StepResult, TextResult
from rojak_ray.messages import Message, ToolCall, Usage

AnyEvent = TypeVar("AnyEvent")

TRANSIENT = StepError(error_type="ModelUnavailable", message="overloaded, says the vendor", transient=True)
BROKEN = StepError(error_type="ValueError", message="bad")
UNREACHABLE = StepError(error_type="ConnectionError", message="no route", transient=True)
LOST = StepError(error_type="ProcessLost", message="the worker died", lost=True)


def jittered(*waits: float) -> list[Any]:
    """What waits of these lengths may be in truth: up to a quarter is added, so that not all come back at once."""
    return [pytest.approx(1.125 * wait, abs=0.125 * wait) for wait in waits]


def agent(name: str = "A", *, policy: PolicySpec | None = None, retriever: Any = None, **fields: Any) -> AgentSpec:
    """An agent as stored; `retriever=True` gives it one, a text one of that type, a list of texts several."""
    known: dict[str, Any] = {"type": "openai", "model": "m", "instructions": f"Be {name}."}
    if isinstance(retriever, list):
        known["retriever"] = tuple(RetrieverSpec(type=one) for one in retriever)
    elif retriever:
        known["retriever"] = RetrieverSpec(type="qdrant" if retriever is True else retriever)
    return AgentSpec(name=name, retry=RetrySpec(policy=policy), **{**known, **fields})


def rendered_agent(name: str = "A", **fields: Any) -> AgentSpec:
    """An agent whose instructions a function writes."""
    return agent(name, instructions=FunctionRef(name="write_instructions"), **fields)


def user(content: str) -> Message:
    """What the caller says."""
    return Message(role="user", content=content)


def assistant(content: str | None = None, *calls: PlannedCall, sender: str = "A") -> Message:
    """What an agent said."""
    asked = tuple(planned.call for planned in calls)
    return Message(role="assistant", content=content, tool_calls=asked, sender=sender)


def tool(call_id: str, content: str, sender: str = "A") -> Message:
    """What a function returned."""
    return Message(role="tool", content=content, tool_call_id=call_id, sender=sender)


def call(call_id: str, name: str = "f", arguments: str = "{}", **plan: Any) -> PlannedCall:
    """A function call the model asks for."""
    return PlannedCall(call=ToolCall(id=call_id, name=name, arguments=arguments), plan=CallPlan(**plan))


def open_session(spec: AgentSpec | None = None, *, incarnation: str = "i1", **settings: Any) -> OpenSession:
    """The command every conversation begins with."""
    known: dict[str, Any] = {"owner_kind": "session", "owner_id": "s"}
    return OpenSession(agent=spec or agent(), incarnation=incarnation, **{**known, **settings})


def start_run(run_id: str = "r1", *messages: str, spec: AgentSpec | None = None, digest: str | None = None) -> StartRun:
    """A request; its digest follows from its text."""
    texts = messages or ("hi",)
    return StartRun(run_id=run_id, input_digest=digest or "|".join(texts), messages=tuple(map(user, texts)), agent=spec)


@dataclass(frozen=True)
class Story:
    """A conversation so far, and what the last command added."""

    state: SessionState = field(default_factory=SessionState)
    history: tuple[Event, ...] = ()
    told: tuple[Event, ...] = ()

    def when(self, *commands: Command) -> Story:
        """The story after these commands; `told` has the events of all of them."""
        story, told = self, ()
        for command in commands:
            events = tuple(decide(story.state, command))
            story = Story(fold(story.state, events), story.history + events)
            told += events
        return Story(story.state, story.history, told)

    def answered(self, step_id: str, result: StepResult, *, attempt: int | None = None) -> Story:
        """A step of this id reports back, by default for the attempt that is pending."""
        number = self.step(step_id).attempt if attempt is None else attempt
        return self.when(RecordStep(step_id=step_id, attempt=number, result=result))

    def says(self, content: str | None, *, usage: Usage | None = None) -> Story:
        """The model answers with text."""
        return self.answered(self.model_step.step_id, ModelResult(content=content, usage=usage or Usage(requests=1)))

    def asks(self, *calls: PlannedCall, content: str | None = None, usage: Usage | None = None) -> Story:
        """The model wants functions called."""
        result = ModelResult(content=content, calls=calls, usage=usage or Usage(requests=1))
        return self.answered(self.model_step.step_id, result)

    def returns(
        self,
        call_id: str,
        output: str = "ok",
        *,
        to: AgentSpec | None = None,
        sets: dict[str, Any] | None = None,
        deletes: Iterable[str] = (),
    ) -> Story:
        """A pending call has its result."""
        result = FunctionResult(output=output, agent=to, context_set=sets or {}, context_deleted=tuple(deletes))
        return self.answered(self.call_step(call_id).step_id, result)

    def renders(self, text: str) -> Story:
        """The instruction function has written."""
        return self.answered(self._only("instructions").step_id, TextResult(text=text))

    def retrieves(self, text: str) -> Story:
        """The retriever has found."""
        return self.answered(self._only("retrieve").step_id, TextResult(text=text))

    def fails(self, ending: str, error: StepError) -> Story:
        """The pending step whose id has this ending (or the pending call with this id) fails."""
        return self.answered(self._only(ending).step_id, error)

    def then(self, *events: Event) -> Story:
        """Exactly these events were told."""
        assert self.told == events
        return self

    def then_kinds(self, *kinds: str) -> Story:
        """Events of exactly these kinds were told."""
        assert tuple(event.kind for event in self.told) == kinds
        return self

    def pending(self, *step_ids: str) -> Story:
        """Exactly these steps are outstanding, in this order."""
        assert tuple(step.step_id for step in self.steps) == step_ids
        return self

    def pending_calls(self, *call_ids: str) -> Story:
        """Exactly these function calls are outstanding, in this order."""
        assert tuple(step.call.id for step in self.steps if step.kind == "call_function") == call_ids
        return self

    @property
    def steps(self) -> tuple[Step, ...]:
        """All outstanding work."""
        return pending(self.state)

    @property
    def model_step(self) -> CallModel:
        """The outstanding question to the model."""
        (step,) = self.steps
        assert isinstance(step, CallModel)
        return step

    def step(self, step_id: str) -> Step:
        """An outstanding step."""
        return next(step for step in self.steps if step.step_id == step_id)

    def call_step(self, call_id: str) -> Step:
        """The outstanding function call with this id."""
        return next(step for step in self.steps if step.kind == "call_function" and step.call.id == call_id)

    def outcome(self, run_id: str = "r1") -> RunOutcome:
        """How a run ended; it did."""
        found = self.state.outcome(run_id)
        assert found is not None, f"{run_id} has no outcome"
        return found

    def told_one(self, kind: type[AnyEvent]) -> AnyEvent:
        """The only event of this class among those told last."""
        (found,) = [event for event in self.told if isinstance(event, kind)]
        return found

    def _only(self, ending: str) -> Step:
        (step,) = [
            step
            for step in self.steps
            if step.step_id.endswith("/" + ending) or (step.kind == "call_function" and step.call.id == ending)
        ]
        return step


def given(*events: Event) -> Story:
    """The story after these events."""
    return Story(fold(SessionState(), events), events)


def session(spec: AgentSpec | None = None, **settings: Any) -> Story:
    """An open session in which nothing has been asked yet."""
    return Story().when(open_session(spec, **settings))


def running(spec: AgentSpec | None = None, *messages: str, **settings: Any) -> Story:
    """An open session with run `r1` in progress."""
    return session(spec, **settings).when(start_run("r1", *messages))
