"""Whatever the outside does, in whatever order: what must hold after every command."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from support.stories import (
    LOST,
    TRANSIENT,
    UNREACHABLE,
    Story,
    agent,
    call,
    open_session,
    rendered_agent,
    start_run,
    user,
)

from rojak_ray.agents.spec import PolicySpec
from rojak_ray.core.commands import (
    AnswerCall,
    CancelRun,
    CheckTimers,
    Command,
    Delete,
    PassProbation,
    RecordStep,
    Recover,
    Rest,
    Resume,
    UpdateConfig,
)
from rojak_ray.core.events import Event, FunctionReturned, Recovered, Retrieved, RunAccepted, RunEnded
from rojak_ray.core.evolve import fold
from rojak_ray.core.pending import pending
from rojak_ray.core.state import SessionState
from rojak_ray.core.steps import (
    CallFunction,
    CallModel,
    FunctionResult,
    MissingCode,
    ModelResult,
    Retrieve,
    Step,
    StepError,
    StepResult,
    TextResult,
    WaitingResult,
)
from rojak_ray.core.waiting import next_due
from rojak_ray.errors import SessionNotFound, SessionSetAside
from rojak_ray.messages import Message, Usage

EVENT: TypeAdapter[Event] = TypeAdapter(Event)
AGENTS = (
    agent("A"),
    agent("B", retriever=True),
    rendered_agent("C", retriever=["other", "qdrant"]),
    rendered_agent("D", policy=PolicySpec(maximum_attempts=3, non_retryable_error_types=("Odd",))),
)
ERRORS = (
    TRANSIENT,
    UNREACHABLE,
    LOST,
    StepError(error_type="Odd", message="no", transient=True, retry_after_s=0.5),
    StepError(error_type="KeyError", message="'k'"),
)
TEXTS = ("", "hi", "ünï©ode 🦉", 'quo"te\\', "\x00\u2028")


class Scheduler:
    """Drives one conversation with random commands and results, checking it after each."""

    def __init__(self) -> None:
        self.recorded: set[str] = set()
        self.looked_up: set[tuple[str, str]] = set()
        self.keys: dict[str, str] = {}
        self.attempts: dict[str, int] = {}
        self.accepted: list[str] = []
        self.ended: list[str] = []
        self.openings = 0
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.story = Story()

    def tell(self, command: Command) -> None:
        asked = {step.step_id: step for step in self.story.steps if isinstance(step, Retrieve)}
        self.story = self.story.when(command)
        for event in self.story.told:
            if isinstance(event, RunAccepted):
                self.accepted.append(event.run_id)
            if isinstance(event, RunEnded):
                self.ended.append(event.run_id)
            if event.kind in {"instructions_rendered", "retrieved", "model_responded", "function_returned"}:
                assert event.step_id not in self.recorded, "a step has two recorded results"
                self.recorded.add(event.step_id)
            if isinstance(event, Retrieved):
                step = asked[event.step_id]
                assert (step.run_id, step.retriever.type) not in self.looked_up, "a message was looked up twice"
                self.looked_up.add((step.run_id, step.retriever.type))
        self.check()

    def check(self) -> None:
        state = self.story.state
        steps = pending(state)
        runs = state.run is not None and state.set_aside is None
        waits = bool(steps) or bool(state.awaited)
        assert waits == runs or state.set_aside, "a run in progress waits for something, and only that does"
        assert not (state.queue and state.run is None), "nobody waits for an idle conversation"
        assert len({step.step_id for step in steps}) == len(steps)
        for step in steps:
            assert step.step_id not in self.recorded, "a step with a result is pending"
            assert self.keys.setdefault(step.step_id, step.idempotency_key) == step.idempotency_key
            assert step.attempt >= self.attempts.get(step.step_id, 1)
            self.attempts[step.step_id] = step.attempt
            if isinstance(step, CallModel):
                assert_vendors_accept(step.messages)
        assert_vendors_accept(state.history)
        assert len(self.ended) == len(set(self.ended)), "a run ended twice"

    def act(self, number: int, random: Random) -> None:
        """One random thing happens."""
        steps = self.story.steps
        if not self.story.state.opened:
            for buried in self.story.state.buried:
                with pytest.raises(SessionNotFound):
                    self.tell(open_session(random.choice(AGENTS), incarnation=buried))
            self.openings += 1
            self.tell(open_session(random.choice(AGENTS), incarnation=f"again{self.openings}"))
        elif self.story.state.set_aside is not None and number < 12:
            with pytest.raises(SessionSetAside):
                self.tell(start_run("refused", "hi"))
        elif self.story.state.set_aside is not None and number < 50:
            self.tell(random.choice((Resume(), Recover(), PassProbation(), CancelRun())))
        elif number < 12:
            self.tell(start_run(f"r{len(self.accepted)}", random.choice(TEXTS), spec=random.choice((None, *AGENTS))))
        elif number < 14:
            self.tell(Recover())
        elif number < 16:
            self.tell(Recover())
            self.tell(random.choice((Recover(most_recoveries=1), PassProbation(), Delete())))
        elif number < 20:
            named = random.choice((None, f"cancel {len(self.story.history)}"))
            self.tell(CancelRun(run_id=random.choice((None, *self.accepted)), request_id=named))
        elif number < 25:
            self.tell(random_update(random))
        elif number < 28 and self.story.state.awaited:
            self.wait_outside(random)
        elif number < 30 and self.keys:  # a late, doubled or wrong report
            step_id = random.choice(sorted(self.keys))
            stale = RecordStep(step_id=step_id, attempt=random.randint(0, 3), result=TextResult(text="late"))
            if step_id in self.recorded or all(step.step_id != step_id for step in steps):
                self.tell(stale)
                assert self.story.told == ()
        elif steps:
            self.outside(number, random)

    def outside(self, number: int, random: Random) -> None:
        """A step comes back from the outside."""
        steps = self.story.steps
        if number == 99:
            self.report(steps[0], MissingCode(what="function", name="f"))
            assert self.story.steps[0].awaits_code
        else:
            step = random.choice(steps)
            self.report(step, random.choice(ERRORS) if number < 55 else random_result(step, random))

    def report(self, step: Step, result: StepResult) -> None:
        self.now += timedelta(seconds=1)
        self.tell(RecordStep(step_id=step.step_id, attempt=step.attempt, result=result, at=self.now))

    def wait_outside(self, random: Random) -> None:
        """Time passes, somebody answers, or the host lets the conversation go."""
        awaited = random.choice(self.story.state.awaited)
        deadline = awaited.awaited.until if awaited.awaited else None
        earliest = next_due(self.story.state)
        match random.randrange(3):
            case 0:
                self.now = max(self.now, deadline or self.now)
                self.tell(CheckTimers(at=self.now))
            case 1:
                answer = AnswerCall(call_id=awaited.planned.call.id, answer_id=f"a{self.now}", output="yes")
                self.tell(answer)
                self.tell(answer)
                assert self.story.told == (), "an answer counts once"
            case _:
                self.tell(Rest(until=earliest))
                rested = bool(self.story.told)
                self.tell(Recover())
                interrupted = [event for event in self.story.told if event != Recovered(interrupted=False)]
                assert not (rested and interrupted), "a host that found it resting interrupted nothing"

    def finish(self) -> None:
        """The outside answers everything from here on; so every run must end."""
        if self.story.state.set_aside is not None:
            self.tell(Resume())
        for _ in range(1000):
            for waiting in self.story.state.awaited:
                self.now += timedelta(seconds=1)
                self.tell(AnswerCall(call_id=waiting.planned.call.id, answer_id=f"a{self.now}", output="at last"))
            if not self.story.steps:
                break
            step = self.story.steps[-1]
            self.report(step, plain_result(step))
        assert self.story.state.idle
        assert sorted(self.accepted) == sorted(self.ended)


def plain_result(step: Step) -> StepResult:
    if isinstance(step, CallModel):
        return ModelResult(content="done")
    return FunctionResult(output="ok") if isinstance(step, CallFunction) else TextResult(text="text")


def random_result(step: Step, random: Random) -> StepResult:
    if isinstance(step, CallModel):
        plans = ({}, {}, {"sequential": True}, {"at_most_once": True}, {"policy": PolicySpec(maximum_attempts=2)})
        calls = tuple(
            call(f"{step.step_id}#{number}", random.choice("fgh"), random.choice(TEXTS), **random.choice(plans))
            for number in range(random.choice((0, 1, 2, 4)))
        )
        usage = Usage(requests=1, input_tokens=random.randint(0, 99))
        return ModelResult(content=random.choice((None, *TEXTS)), calls=calls, usage=usage, finish_reason="stop")
    if isinstance(step, CallFunction) and random.random() < 0.3:
        waiting = random.choice((None, 0.5, 60.0))
        return WaitingResult(question="?", timeout_s=waiting, context_set=random.choice(({}, {"w": 1})))
    if isinstance(step, CallFunction):
        return FunctionResult(
            output=random.choice(TEXTS),
            agent=random.choice((None, None, *AGENTS)),
            context_set=random.choice(({}, {"a": random.random()}, {"b": [None, {"c": [1, "x", True]}]})),
            context_deleted=random.choice(((), ("a",), ("a", "b"))),
        )
    return TextResult(text=random.choice(TEXTS))


def random_update(random: Random) -> UpdateConfig:
    return random.choice(
        (
            UpdateConfig(max_turns=random.choice((0, 1, 2.5, 8))),
            UpdateConfig(history_size=random.choice((0, 1, 2, 5))),
            UpdateConfig(unlimited=("max_turns", "history_size")),
            UpdateConfig(messages=(user("in short"),), context_variables={"z": 0}),
            UpdateConfig(messages=(), debug=True),
        )
    )


def assert_vendors_accept(messages: tuple[Message, ...]) -> None:
    """Every tool message answers a call of the assistant message before it; all are answered before others speak."""
    unanswered: list[str] = []
    for message in messages:
        if message.role == "tool":
            assert message.tool_call_id in unanswered, "a tool message answers nothing"
            unanswered.remove(message.tool_call_id)
        else:
            assert not unanswered, f"{message.role} speaks before the calls {unanswered} are answered"
            unanswered = [call.id for call in message.tool_calls]
    assert not unanswered


scripts = st.lists(st.tuples(st.integers(0, 99), st.integers(0, 2**32)), max_size=60)
limits = st.tuples(st.sampled_from((None, 0, 1, 3, 7)), st.sampled_from((None, 0, 1, 4)))


@for_all(st.sampled_from(AGENTS), limits, scripts)
@settings(max_examples=150, derandomize=True, deadline=None, database=None)
def test_random_story_keeps_every_promise(first, limits, script):
    max_turns, history_size = limits
    scheduler = Scheduler()
    scheduler.tell(open_session(first, max_turns=max_turns, history_size=history_size, context_variables={"a": 0}))
    for number, seed in script:
        scheduler.act(number, Random(seed))
    scheduler.finish()
    story = scheduler.story
    assert fold(SessionState(), story.history) == story.state
    for event in story.history:
        assert EVENT.validate_json(EVENT.dump_json(event)) == event
        stored = json.dumps(event.model_dump(mode="json"), ensure_ascii=True, allow_nan=False)
        assert EVENT.validate_python(json.loads(stored)) == event
    assert SessionState.model_validate_json(story.state.model_dump_json()) == story.state


def test_random_scheduler_reaches_every_kind_of_event_and_status():
    """The property above is worth what its scheduler reaches."""
    kinds: set[str] = set()
    statuses: set[str] = set()
    interrupted = 0
    for seed in range(50):
        random = Random(seed)
        scheduler = Scheduler()
        scheduler.tell(open_session(AGENTS[seed % len(AGENTS)]))
        for _ in range(60):
            scheduler.act(random.randrange(100), random)
        scheduler.finish()
        kinds |= {event.kind for event in scheduler.story.history}
        statuses |= {event.status for event in scheduler.story.history if isinstance(event, RunEnded)}
        interrupted += sum(
            "interrupted" in event.output for event in scheduler.story.history if isinstance(event, FunctionReturned)
        )
    assert kinds == set(EVENT.json_schema()["discriminator"]["mapping"])
    assert statuses == {"completed", "failed", "cancelled"}
    assert interrupted
