"""`StepRunner`: does in this process what a step asks for, and turns whatever happens into plain data.

This is the step boundary: user code and vendor clients run inside it, and every exception they raise ends here.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from rojak_ray.agents.activities import AgentCallParams, FunctionSchema, OnDelta
from rojak_ray.agents.choice import released
from rojak_ray.agents.function import ToolContext
from rojak_ray.agents.instructions import instructions_call, read_instructions
from rojak_ray.agents.invoke import (
    FunctionOutcome,
    build_arguments,
    read_result,
    result_content,
    whole_value,
)
from rojak_ray.agents.schema import FunctionDefinition, is_async
from rojak_ray.agents.sharing import shares_context
from rojak_ray.agents.spec import FunctionRef, PolicySpec, Refer, encode_agent
from rojak_ray.concurrency import ONE_AT_A_TIME, cancelled_by_us
from rojak_ray.core.events import CallPlan
from rojak_ray.core.retrying import is_last_attempt
from rojak_ray.core.steps import (
    CallFunction,
    CallModel,
    FunctionResult,
    ModelResult,
    RenderInstructions,
    Retrieve,
    Step,
    StepResult,
    TextResult,
    WaitingResult,
)
from rojak_ray.errors import FunctionNotFound
from rojak_ray.messages import (
    RESULT_BYTES,
    ConversationMessage,
    bounded_text,
    clean_text,
    content_text,
    to_public,
    weighs_more,
)
from rojak_ray.sessions.failures import describe, error_of
from rojak_ray.sessions.keeping import Keeper, keep_whole
from rojak_ray.sessions.pieces import Pace, Pieces
from rojak_ray.sessions.providers import ProviderSource
from rojak_ray.sessions.responses import read_response
from rojak_ray.sessions.user_code import StepFailed, UserCode, in_time

_LONGEST_LOADING_S = 120.0
"""A cold machine under load takes many seconds to import an SDK."""

_HEAVY_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Offer:
    """A function as it is offered to a model, and how its calls are run."""

    schema: FunctionSchema
    plan: CallPlan


class FunctionSource(Protocol):
    """Finds the function behind a reference."""

    async def offer(self, ref: FunctionRef) -> Offer:
        """What a model is shown; raises FunctionNotFound."""
        ...

    async def resolve(self, ref: FunctionRef) -> FunctionDefinition:
        """A function that models call; raises FunctionNotFound."""
        ...

    async def writer(self, ref: FunctionRef) -> Callable[..., Any]:
        """A function that writes instructions; raises FunctionNotFound."""
        ...


class StepRunner:
    """Runs one step at a time for each caller; many callers at once."""

    def __init__(
        self,
        functions: FunctionSource,
        providers: ProviderSource,
        refer: Refer,
        pace: Pace | None = None,
        user_code: UserCode | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        """`refer` names the callables of agents that functions hand over to; the others are those of the process.

        Without a keeper nothing is kept of results but what the model is given.
        """
        self._functions = functions
        self._providers = providers
        self._refer = refer
        self._pace = pace or Pace()
        self._user_code = user_code or UserCode()
        self._keeper = keeper

    async def execute(self, step: Step, on_delta: OnDelta | None = None) -> StepResult:
        """See `StepExecutor.execute`. Synchronous code runs in a thread: one that never returns keeps it."""
        try:
            match step:
                case CallModel():
                    return await self._call_model(step, on_delta)
                case CallFunction():
                    return await self._call_function(step)
                case RenderInstructions():
                    return await self._render(step)
                case Retrieve():
                    return await self._retrieve(step)
        except StepFailed as failed:
            return failed.error
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and cancelled_by_us():
                raise
            return error_of(error)

    async def _call_model(self, step: CallModel, on_delta: OnDelta | None) -> ModelResult:
        agent = step.agent
        offers = [await self._functions.offer(ref) for ref in agent.functions]
        activities = await self._providers.agent_activities(agent.type, step.provider)
        params = AgentCallParams(
            messages=[
                ConversationMessage(role="system", content=step.instructions),
                *(to_public(message) for message in step.messages),
            ],
            model=agent.model,
            function_names=[offer.schema.name for offer in offers],
            inference_config=dict(agent.inference_config) if agent.inference_config is not None else None,
            parallel_tool_calls=agent.parallel_tool_calls,
            tool_choice=released(agent.tool_choice) if step.release_tool_choice else agent.tool_choice,
            release_tool_choice=step.release_tool_choice,
            functions=[offer.schema for offer in offers],
            idempotency_key=step.idempotency_key,
            timeout_s=agent.retry.timeout_s,
            is_last_attempt=is_last_attempt(step),
        )
        plans = {offer.schema.name: offer.plan for offer in offers}
        limit_s, what = agent.retry.timeout_s, f"The model call of agent {agent.name!r}"
        ready_s = max(limit_s, _LONGEST_LOADING_S)
        await in_time(activities.make_ready(), ready_s, f"Loading what {activities.type!r} models need")
        async with contextlib.AsyncExitStack() as held:
            place = held.enter_async_context(activities.slot())  # waiting for it is not the call's time
            await in_time(place, limit_s, f"Waiting for a place among the calls of {activities.type!r} models")
            if on_delta is not None:
                params.on_delta = held.enter_context(Pieces(on_delta, self._pace)).add
            if type(activities).__module__.startswith("rojak_ray.providers."):
                return read_response(await in_time(activities.call(params), limit_s, what), plans)
            return await self._user_code.run(
                lambda: activities.call(params),
                lambda response: read_response(response, plans),
                waits=is_async(activities.call),
                limit_s=limit_s,
                what=what,
            )

    async def _call_function(self, step: CallFunction) -> FunctionResult | WaitingResult:
        call = FunctionCall(step, await self._functions.resolve(named_function(step)))
        outcome = await self._user_code.run(
            call.make, call.read, waits=call.definition.is_async, limit_s=call.limit_s, what=step.call.name
        )
        result = finished(outcome, self._refer)
        if outcome.whole is None or self._keeper is None or not isinstance(result, FunctionResult):
            return result
        return await keep_whole(self._keeper, step, outcome.whole, result)

    async def _render(self, step: RenderInstructions) -> TextResult:
        write = await self._functions.writer(step.function)
        context = copy.deepcopy(step.context_variables)
        about = ToolContext(
            run_id=step.run_id,
            session_id=step.session_id,
            agent_name=step.agent.name,
            tool_call_id="",
            idempotency_key=step.idempotency_key,
            attempt=step.attempt,
            context_variables=context,
            schedule=step.schedule,
        )
        text = await self._user_code.run(
            lambda: instructions_call(write, context, about)(),
            lambda value: read_instructions(write, value),
            waits=is_async(write),
            limit_s=step.agent.retry.timeout_s,
            what=f"The instructions of agent {step.agent.name!r}",
        )
        return TextResult(text=text)

    async def _retrieve(self, step: Retrieve) -> TextResult:
        activities = await self._providers.retriever_activities(step.retriever.type)
        ask = activities.retrieve_and_combine_results
        text = await self._user_code.run(
            lambda: ask(step.text),
            lambda found: read_passage(activities.type, found),
            waits=is_async(ask),
            limit_s=min(step.agent.retry.timeout_s, activities.timeout_s),
            what=f"Retriever {activities.type!r}",
        )
        return TextResult(text=text)


def read_passage(kind: str, found: Any) -> str:
    """What a retriever found, as text.

    Raises:
        TypeError: It is something that is not there yet, or an image or file, which no instructions can show.
    """
    if found is None:
        return ""
    content = result_content(whole_value(f"Retriever {kind!r}: retrieve_and_combine_results", found))
    if not isinstance(content, str):
        raise TypeError(f"Retriever {kind!r} returned an image or file; retrievers return text.")
    return bounded_text(content, RESULT_BYTES, "passage")


def named_function(step: CallFunction) -> FunctionRef:
    """The function a model asked for, if it is one of the agent's."""
    for ref in step.agent.functions:
        if ref.name == step.call.name:
            return ref
    raise FunctionNotFound(f"Function {step.call.name} not found")


class FunctionCall:
    """One attempt of a function call. Whoever has the thread or the loop for it makes it, then reads it, there."""

    def __init__(self, step: CallFunction, definition: FunctionDefinition) -> None:
        """Nothing runs yet."""
        self._step = step
        self.definition = definition
        self.limit_s = step.plan.timeout_s or step.agent.retry.timeout_s
        self._context = copy.deepcopy(step.context_variables)
        """The function's own copy, to be compared afterwards."""

    def arguments(self) -> dict[str, Any]:
        """The model's arguments, checked, which may run code of their types, and what we fill in.

        Raises:
            TypeError, ValueError: They do not fit; the text is for the model.
        """
        step = self._step
        tool_context = ToolContext(
            run_id=step.run_id,
            session_id=step.session_id,
            agent_name=step.agent.name,
            tool_call_id=step.call.id,
            idempotency_key=step.idempotency_key,
            attempt=step.attempt,
            context_variables=self._context,
            call_id=step.call_id,
            schedule=step.schedule,
        )
        return build_arguments(self.definition, step.call.arguments, self._context, tool_context)

    def make(self) -> Any:
        """Call the function; what it returned, which may have to be awaited."""
        return self.definition.call(self.arguments())

    def read(self, value: Any) -> FunctionOutcome:
        """What it did.

        Raises:
            TypeError: It returned a generator, so it did nothing.
        """
        whole = whole_value(self.definition.name, value)
        settings, agent = self.definition.settings, self._step.agent
        most = min(settings.max_result_bytes, agent.max_result_bytes or settings.max_result_bytes)
        before = self._step.context_variables
        with ONE_AT_A_TIME if weighs_more(whole, _HEAVY_BYTES) else contextlib.nullcontext():
            return read_result(whole, before, self._context, most, keep=settings.keep_result)


def finished(outcome: FunctionOutcome, refer: Refer) -> FunctionResult | WaitingResult:
    """What a function did, as a record. If its agent cannot be handed over to, that is told and the rest stands."""
    changes: dict[str, Any] = {"context_set": outcome.context_set, "context_deleted": outcome.context_deleted}
    if outcome.waits is not None:
        return WaitingResult(
            question=content_text(outcome.output),
            options=tuple(clean_text(option) for option in outcome.waits.options),
            timeout_s=outcome.waits.timeout_in_seconds,
            **changes,
        )
    try:
        agent = encode_agent(outcome.agent, refer) if outcome.agent is not None else None
    except BaseException as error:  # noqa: BLE001  (an agent's class may do anything when it is looked at)
        return FunctionResult(output=not_handed_over(describe(error)), **changes)
    return FunctionResult(output=outcome.output, agent=agent, **changes)


def not_handed_over(reason: str) -> str:
    """What the model is told of a function that ran, but whose agent cannot answer."""
    return f"{reason} The function ran to its end, but nothing was handed over."


def offer_of(definition: FunctionDefinition) -> Offer:
    """A function as a model is offered it."""
    settings = definition.settings
    plan = CallPlan(
        sequential=shares_context(definition),
        at_most_once=settings.at_most_once,
        keep_result=settings.keep_result,
        timeout_s=settings.timeout_s,
        policy=PolicySpec.of(settings.retry_policy) if settings.retry_policy else None,
    )
    return Offer(definition.schema, plan)
