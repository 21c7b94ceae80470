"""`StepRunner`: does in this process what a step asks for, and turns whatever happens into plain data.

This is the step boundary: user code and vendor clients run inside it, and every exception they raise ends here.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from rojak_ray.agents.activities import AgentActivities, AgentCallParams, FunctionSchema, OnDelta
from rojak_ray.agents.choice import released
from rojak_ray.agents.finish import is_closed, is_whole, read_finish_reason
from rojak_ray.agents.function import ToolContext
from rojak_ray.agents.invoke import build_arguments, invoke, invoke_sync, read_result, render_instructions
from rojak_ray.agents.results import AgentResponse
from rojak_ray.agents.schema import FunctionDefinition
from rojak_ray.agents.spec import FunctionRef, PolicySpec, Refer, encode_agent
from rojak_ray.core.events import CallPlan, PlannedCall
from rojak_ray.core.steps import (
    CallFunction,
    CallModel,
    FunctionResult,
    ModelResult,
    RenderInstructions,
    Retrieve,
    Step,
    StepError,
    StepResult,
    TextResult,
    WaitingResult,
)
from rojak_ray.errors import (
    FunctionNotFound,
    ModelCutShort,
    ModelMisbehaved,
    ModelUnavailable,
    RetrieverUnavailable,
    RojakError,
)
from rojak_ray.messages import ConversationMessage, ToolCall, Usage, clean_text, to_public
from rojak_ray.sessions.pieces import Pace, Pieces
from rojak_ray.sessions.providers import ProviderSource

_TRANSIENT_NAMES = frozenset({"ConnectionError", "TimeoutError", "Timeout", "TimeoutException", "NetworkError"})
"""Base classes by which clients that do not derive from Python's own errors tell a passing failure."""

_LONGEST_ERROR = 4000


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


@dataclass(frozen=True, slots=True)
class PreparedCall:
    """A function call whose arguments are checked."""

    definition: FunctionDefinition
    arguments: Any
    context: dict[str, Any]
    """The function's own copy of the context variables, to be compared afterwards."""

    timeout_s: float


class StepRunner:
    """Runs one step at a time for each caller; many callers at once."""

    def __init__(
        self, functions: FunctionSource, providers: ProviderSource, refer: Refer, pace: Pace | None = None
    ) -> None:
        """`refer` names the callables of agents that functions hand over to; `pace` is that of the process."""
        self._functions = functions
        self._providers = providers
        self._refer = refer
        self._pace = pace or Pace()

    async def execute(self, step: Step, on_delta: OnDelta | None = None) -> StepResult:
        """See `StepExecutor.execute`. Synchronous functions run in a thread: one that never returns keeps it."""
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
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return StepError(error_type="CancelledError", message="it cancelled itself")
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001  (the step boundary)
            return error_of(error)

    async def _call_model(self, step: CallModel, on_delta: OnDelta | None) -> ModelResult:
        agent = step.agent
        offers = [await self._functions.offer(ref) for ref in agent.functions]
        activities = await self._providers.agent_activities(agent.type)
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
        )
        async with contextlib.AsyncExitStack() as held:
            async with _limit(agent.retry.timeout_s, f"Waiting for a place among the calls of {agent.type!r} models"):
                await held.enter_async_context(activities.slot())
            async with _limit(agent.retry.timeout_s, f"The model call of agent {agent.name!r}"):
                response = await self._ask(activities, params, on_delta)
        return read_response(response, {offer.schema.name: offer.plan for offer in offers})

    async def _ask(
        self, activities: AgentActivities, params: AgentCallParams, on_delta: OnDelta | None
    ) -> AgentResponse:
        if on_delta is None:
            return await activities.call(params)
        with Pieces(on_delta, self._pace) as pieces:
            params.on_delta = pieces.add
            return await activities.call(params)

    async def _call_function(self, step: CallFunction) -> FunctionResult | WaitingResult:
        prepared = prepare_call(step, await self._functions.resolve(named_function(step)))
        async with _limit(prepared.timeout_s, step.call.name):
            if prepared.definition.is_async:
                value = await invoke(prepared.definition, prepared.arguments)
            else:
                value = await asyncio.to_thread(invoke_sync, prepared.definition, prepared.arguments)
        return finish_call(step, prepared, value, self._refer)

    async def _render(self, step: RenderInstructions) -> TextResult:
        write = await self._functions.writer(step.function)
        async with _limit(step.agent.retry.timeout_s, f"The instructions of agent {step.agent.name!r}"):
            return TextResult(text=await render_instructions(write, copy.deepcopy(step.context_variables)))

    async def _retrieve(self, step: Retrieve) -> TextResult:
        activities = await self._providers.retriever_activities(step.retriever.type)
        limit = min(step.agent.retry.timeout_s, activities.timeout_s)
        async with _limit(limit, f"Retriever {activities.type!r}"):
            found: Any = await activities.retrieve_and_combine_results(step.text)
        return TextResult(text=clean_text(str(found)) if found is not None else "")


def named_function(step: CallFunction) -> FunctionRef:
    """The function a model asked for, if it is one of the agent's."""
    for ref in step.agent.functions:
        if ref.name == step.call.name:
            return ref
    raise FunctionNotFound(f"Function {step.call.name} not found")


def prepare_call(step: CallFunction, definition: FunctionDefinition) -> PreparedCall:
    """Check the model's arguments against the function.

    Raises:
        TypeError, ValueError: They do not fit; the text is for the model.
    """
    context = copy.deepcopy(step.context_variables)
    tool_context = ToolContext(
        run_id=step.run_id,
        session_id=step.session_id,
        agent_name=step.agent.name,
        tool_call_id=step.call.id,
        idempotency_key=step.idempotency_key,
        attempt=step.attempt,
        context_variables=context,
        call_id=step.call_id,
    )
    arguments = build_arguments(definition, step.call.arguments, context, tool_context)
    return PreparedCall(definition, arguments, context, step.plan.timeout_s or step.agent.retry.timeout_s)


def finish_call(step: CallFunction, prepared: PreparedCall, value: Any, refer: Refer) -> FunctionResult | WaitingResult:
    """Read what a function returned.

    Raises:
        InvalidContext, InvalidAgent: It left something that cannot be stored; the text is for the model.
    """
    outcome = read_result(value, dict(step.context_variables), prepared.context)
    if outcome.waits is not None:
        return WaitingResult(
            question=outcome.output,
            options=tuple(clean_text(option) for option in outcome.waits.options),
            timeout_s=outcome.waits.timeout_in_seconds,
            context_set=outcome.context_set,
            context_deleted=outcome.context_deleted,
        )
    return FunctionResult(
        output=outcome.output,
        agent=encode_agent(outcome.agent, refer) if outcome.agent is not None else None,
        context_set=outcome.context_set,
        context_deleted=outcome.context_deleted,
    )


def read_response(response: AgentResponse, plans: dict[str, CallPlan]) -> ModelResult:
    """A provider's answer as a record, with the plan of every call.

    Raises:
        ModelMisbehaved: A provider returned something else than an AgentResponse.
        ModelCutShort: A call was cut before its arguments were complete.
    """
    if not isinstance(response, AgentResponse):
        raise ModelMisbehaved(f"The provider returned {type(response).__name__} instead of AgentResponse.")
    word = clean_text(str(response.finish_reason)) if response.finish_reason is not None else None
    asked = response.tool_calls or ()
    if not is_whole(word) and not all(is_closed(call.function.arguments or "") for call in asked):
        text = f"The answer was cut (finish_reason {word!r}) before the arguments of a call were complete."
        raise ModelCutShort(text, finish_reason=read_finish_reason(word))
    calls = [
        PlannedCall(
            call=ToolCall(
                id=clean_text(str(call.id)),
                name=clean_text(str(call.function.name)),
                arguments=clean_text(call.function.arguments or ""),
            ),
            plan=plans.get(call.function.name, CallPlan()),
        )
        for call in asked
    ]
    return ModelResult(
        content=clean_text(response.content) if response.content is not None else None,
        calls=tuple(calls),
        usage=response.usage or Usage(requests=1),
        finish_reason="refusal" if response.refused else read_finish_reason(word, calls=bool(calls)),
        raw_finish_reason=word,
        vendor=response.vendor,
        paused=response.paused and not calls,
    )


def offer_of(definition: FunctionDefinition) -> Offer:
    """A function as a model is offered it."""
    settings = definition.settings
    plan = CallPlan(
        sequential=definition.context_parameter is not None,
        at_most_once=settings.at_most_once,
        timeout_s=settings.timeout_s,
        policy=PolicySpec.of(settings.retry_policy) if settings.retry_policy else None,
    )
    return Offer(definition.schema, plan)


def error_of(error: BaseException) -> StepError:
    """An exception as data, with what the retry rules need to know."""
    names = {base.__name__ for base in type(error).__mro__}
    text = error.message if isinstance(error, RojakError) else str(error)
    return StepError(
        error_type=type(error).__name__,
        message=clean_text(text or repr(error))[:_LONGEST_ERROR],
        transient=bool(names & _TRANSIENT_NAMES) or (isinstance(error, RojakError) and error.retryable),
        retry_after_s=_retry_after(error),
        finish_reason=error.finish_reason if isinstance(error, ModelCutShort) else None,
    )


def _retry_after(error: BaseException) -> float | None:
    """Seconds a provider or retriever says to wait; None where it says nothing that is a time."""
    given: Any = error.retry_after_s if isinstance(error, ModelUnavailable | RetrieverUnavailable) else None
    try:
        seconds = float(given) if given is not None else math.nan
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


class _limit:
    """`asyncio.timeout` whose error says what took too long."""

    def __init__(self, seconds: float, what: str) -> None:
        self._timeout = asyncio.timeout(seconds)
        self._text = f"{what} did not finish in time ({seconds:g} s)."

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *details: Any) -> None:
        try:
            await self._timeout.__aexit__(*details)
        except TimeoutError:
            raise TimeoutError(self._text) from None
