"""`pending(state)`: all outstanding work, from state alone, so recovery is asking again."""

from __future__ import annotations

import hashlib
import itertools
import json
from typing import Any

from pydantic import JsonValue

from rojak_ray.agents.spec import AgentSpec, FunctionRef
from rojak_ray.core.state import Attempts, ContextPatch, RunState, SessionState
from rojak_ray.core.steps import CallFunction, CallModel, RenderInstructions, Retrieve, Step
from rojak_ray.errors import InternalError
from rojak_ray.messages import content_text, plain_content

RETRIEVED_PREFIX = "\nHere is the context to use to answer the user's question:\n"


def pending(state: SessionState) -> tuple[Step, ...]:
    """The steps whose results the run in progress waits for; empty if there is none."""
    run = state.run
    if run is None or state.set_aside is not None:
        return ()
    if run.calls:
        return _pending_calls(state, run)
    agent = state.agents[run.agent]
    before: list[Step] = []
    if isinstance(agent.instructions, FunctionRef) and run.instructions is None:
        before.append(
            RenderInstructions(
                **_common(state, run, f"{run.turn}/instructions"),
                function=agent.instructions,
                context_variables=current_context(state, run),
                schedule=state.schedule,
            )
        )
    before.extend(_retrievals(state, run, agent))
    if before:
        return tuple(before)
    instructions = run.instructions if isinstance(agent.instructions, FunctionRef) else agent.instructions
    found = _found(run, agent)
    return (
        CallModel(
            **_common(state, run, f"{run.turn}/model", asked=_new_to_the_model(run, found)),
            instructions=(instructions or "") + (RETRIEVED_PREFIX + found if found else ""),
            messages=(*state.history, *run.messages),
            release_tool_choice=agent.reset_tool_choice and agent.name in run.called,
        ),
    )


def _retrievals(state: SessionState, run: RunState, agent: AgentSpec) -> list[Step]:
    """What the agent's retrievers have yet to look up: the last user message, once, whoever's retriever it was."""
    query = _retrieval_query(run) if agent.retrievers else None
    if query is None:
        return []
    return [
        Retrieve(**_common(state, run, _retrieval_place(run, index)), retriever=retriever, text=query)
        for index, retriever in enumerate(agent.retrievers)
        if retriever.digest() not in run.found
    ]


def _retrieval_query(run: RunState) -> str | None:
    """The last user message that has a text; what functions return is not looked up."""
    asked = (content_text(message.content) for message in reversed(run.messages) if message.role == "user")
    return next((text for text in asked if text), None)


def _retrieval_place(run: RunState, index: int) -> str:
    return f"{run.turn}/retrieve/{index}" if index else f"{run.turn}/retrieve"


def retriever_index(step_id: str) -> int:
    """Which of the agent's retrievers a step id names."""
    last = step_id.rsplit("/", 1)[1]
    return 0 if last == "retrieve" else int(last)


def _found(run: RunState, agent: AgentSpec) -> str | None:
    """What the agent's retrievers found, in their order; None if that is nothing."""
    texts = [run.found.get(retriever.digest()) for retriever in agent.retrievers]
    return "\n".join(text for text in texts if text) or None


def _pending_calls(state: SessionState, run: RunState) -> tuple[Step, ...]:
    """Calls that may run now: all independent ones, and the first open one of those that share the context."""
    steps: list[Step] = []
    context = ContextPatch()
    sequential_open = False
    for index, call in enumerate(run.calls):
        sequential = call.planned.plan.sequential
        if call.done:
            context = context.then(call.patch) if sequential else context
            continue
        if call.awaited:
            sequential_open = sequential_open or sequential
            continue
        if sequential and sequential_open:
            continue
        sequential_open = sequential_open or sequential
        seen = run.patch.then(context) if sequential else run.patch
        steps.append(
            CallFunction(
                **_common(state, run, call_id_of(run, index).removeprefix(f"{run.run_id}/")),
                call_id=public_call_id(state, call_id_of(run, index)),
                call=call.planned.call,
                plan=call.planned.plan,
                context_variables=seen.apply(state.context_variables),
                schedule=state.schedule,
            )
        )
    return tuple(steps)


def _new_to_the_model(run: RunState, found: str | None) -> str:
    """What this turn's question adds to the one before.

    It is part of the idempotency key, because a question may be asked before the results in it are durable. A crash
    then lets a function run again with another result, and the vendor must not take the new question for the old.
    """
    results = itertools.takewhile(lambda message: message.role == "tool", reversed(run.messages))
    return json.dumps([run.instructions, found, *(plain_content(message.content) for message in results)])


def _common(state: SessionState, run: RunState, place: str, asked: str = "") -> dict[str, Any]:
    step_id = f"{run.run_id}/{place}"
    attempts = run.attempts.get(step_id, Attempts())
    agent: AgentSpec = state.agents[run.agent]
    key = hashlib.sha256(f"{state.incarnation}/{step_id}{asked}".encode("utf-8", "replace")).hexdigest()
    return {
        "step_id": step_id,
        "idempotency_key": key[:32],
        "attempt": 1 + attempts.failures + attempts.interruptions,
        "wait_s": attempts.retry_in_s,
        "due": attempts.retry_at,
        "recovered": run.recovered,
        "provider": run.providers.get(agent.type),
        "awaits_code": step_id in run.awaited_code,
        "run_id": run.run_id,
        "session_id": state.owner_id if state.owner_kind == "session" else None,
        "agent": agent,
    }


def active_run(state: SessionState) -> RunState:
    """The run in progress; a journal that says otherwise was not written by us."""
    if state.run is None:
        raise InternalError(f"An event of {state.owner_id!r} belongs to a run, but none is in progress.")
    return state.run


def call_id_of(run: RunState, index: int) -> str:
    """Step id of a call of the current turn."""
    return f"{run.run_id}/{run.turn - 1}/call/{index}"


def public_call_id(state: SessionState, step_id: str) -> str:
    """What people and programs call the call that a step runs: unique as long as anybody may remember it.

    A conversation that was deleted and begun anew under its id repeats its step ids, so it adds which one it is: an
    answer to a question of the deleted one must not reach one of the new.
    """
    return f"{step_id}@{state.incarnation[:12]}" if state.buried else step_id


def call_index(run: RunState, step_id: str) -> int:
    """Position of the call that a step id names."""
    return int(step_id.rsplit("/", 1)[1])


def current_context(state: SessionState, run: RunState) -> dict[str, JsonValue]:
    """The context variables as the run sees them now."""
    return run.patch.apply(state.context_variables)
