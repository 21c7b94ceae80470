"""What the simulated agents do: messages that are plans, a model that follows them, functions whose effects are kept.

A plan is a list of turns, each a list of calls. The model keeps nothing and gives the same answer when it is asked
again. Every execution of a function is an effect outside the store, with the key and the attempt it was given.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from rojak_ray.agents.spec import AgentSpec, FunctionRef, PolicySpec, RetrieverSpec
from rojak_ray.core.events import CallPlan, PlannedCall
from rojak_ray.core.steps import (
    CallFunction,
    CallModel,
    FunctionResult,
    ModelResult,
    Step,
    StepError,
    StepResult,
    TextResult,
    WaitingResult,
)
from rojak_ray.messages import Message, ToolCall

PLANS = {
    "pay": CallPlan(),
    "once": CallPlan(at_most_once=True),
    "count": CallPlan(sequential=True),
    "flaky": CallPlan(policy=PolicySpec(initial_interval_s=0.2, maximum_attempts=8)),
    "hand_over": CallPlan(),
    "write": CallPlan(),
    "approve": CallPlan(),
    "poison": CallPlan(),
}
ANSWER_WITHIN_S = 90.0
LARGE = "x" * 70_000

_FUNCTIONS = tuple(FunctionRef(name=name) for name in PLANS)
PLAIN = AgentSpec(type="t", name="Plain", model="m", instructions="Be plain.", functions=_FUNCTIONS)
ELABORATE = AgentSpec(
    type="t",
    name="Elaborate",
    model="m",
    instructions=FunctionRef(name="instruct"),
    retriever=RetrieverSpec(type="r"),
    functions=_FUNCTIONS,
)


def message(run_id: str, turns: list[list[str]]) -> Message:
    """A request for these calls, turn by turn."""
    return Message(role="user", content=json.dumps({"run": run_id, "turns": turns}))


@dataclass(frozen=True, slots=True)
class Execution:
    """An attempt of a step that was started."""

    number: int
    at: float
    lane: str
    step: Step

    @property
    def name(self) -> str:
        return self.step.call.name if isinstance(self.step, CallFunction) else self.step.kind


class Outside:
    """The world the steps act on; it outlives every process."""

    def __init__(self, random: Random, time: Callable[[], float]) -> None:
        self.executions: list[Execution] = []
        self.tries: Counter[str] = Counter()
        self._random = random
        self._time = time

    def begin(self, lane: str, step: Step) -> Execution:
        execution = Execution(len(self.executions) + 1, self._time(), lane, step)
        self.executions.append(execution)
        self.tries[step.idempotency_key] += 1
        return execution

    def duration(self) -> float:
        """Mostly short."""
        return self._random.choice((0.0, 0.01, 0.05, 0.3, self._random.uniform(0, 4.0)))


class Worker:
    """A process's step executor."""

    def __init__(self, outside: Outside, lane: str, die: Callable[[], Awaitable[None]]) -> None:
        self._outside = outside
        self._lane = lane
        self._die = die

    async def execute(self, step: Step) -> StepResult:
        execution = self._outside.begin(self._lane, step)
        if execution.name == "poison":
            await self._die()
        await asyncio.sleep(self._outside.duration())
        match step:
            case CallModel():
                return answer(step)
            case CallFunction():
                return self._call(step, execution.number)
            case _:
                return TextResult(text=f"{step.kind} {execution.number}")

    def _call(self, step: CallFunction, number: int) -> StepResult:
        output = f"{step.call.name} {number}"
        match step.call.name:
            case "count":
                count: Any = step.context_variables.get("count", 0)
                return FunctionResult(output=output, context_set={"count": count + 1})
            case "hand_over":
                other = ELABORATE if step.agent.name == PLAIN.name else PLAIN
                return FunctionResult(output=output, agent=other)
            case "write":
                return FunctionResult(output=f"{output} {LARGE}", context_set={"large": [number, LARGE]})
            case "approve":
                return WaitingResult(question=output, timeout_s=ANSWER_WITHIN_S)
            case "flaky" if self._outside.tries[step.idempotency_key] < 3:
                return StepError(error_type="ConnectionError", message=output, transient=True)
            case _:
                return FunctionResult(output=output)


def answer(step: CallModel) -> ModelResult:
    """What the model says: the next turn of the last plan."""
    last = max(index for index, said in enumerate(step.messages) if said.role == "user")
    plan = json.loads(step.messages[last].content or "")
    turn = sum(said.role == "assistant" for said in step.messages[last:])
    if turn >= len(plan["turns"]):
        return ModelResult(content=f"done {plan['run']}")
    return ModelResult(
        calls=tuple(
            PlannedCall(call=ToolCall(id=f"{plan['run']}-{turn}-{index}", name=name), plan=PLANS[name])
            for index, name in enumerate(plan["turns"][turn])
        )
    )
