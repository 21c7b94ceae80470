"""`Caller`: what a client and its handles share: preparing agents, waiting for outcomes, reading them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from rojak_ray.agents.agent import Agent
from rojak_ray.agents.spec import AgentSpec, decode_agent, encode_agent
from rojak_ray.checks import check_flag, check_number
from rojak_ray.core.commands import Command
from rojak_ray.core.events import DEFAULT_MODEL_CALLS, RunStatus
from rojak_ray.errors import (
    InternalError,
    InvalidAgent,
    InvalidLimit,
    RunCancelled,
    RunError,
    RunFailed,
    RunTimedOut,
)
from rojak_ray.ids import IdSource, digest
from rojak_ray.journal.paths import Owner
from rojak_ray.messages import Message, to_public
from rojak_ray.sessions.ports import Gateway
from rojak_ray.sessions.requests import Ask, Reply, RunView
from rojak_ray.sessions.types import OrchestratorResponse

_POLL_S = 20.0
"""A wait for an outcome is cut into asks of this length, so that none can hang on a lost reply."""

_ENDED = {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.TIMED_OUT}


class Caller:
    """One program's way of asking."""

    def __init__(self, gateway: Gateway, ids: IdSource) -> None:
        """Cheap; nothing is connected."""
        self.gateway = gateway
        self.ids = ids
        self._classes: dict[str, type[Agent]] = {}

    async def ask(self, owner: Owner, ask: Ask) -> Reply:
        """Connect if need be and ask."""
        await self.gateway.connect()
        return await self.gateway.ask(owner, ask)

    async def prepare(self, agent: Agent | None) -> AgentSpec:
        """Make an agent ready to be named in a command: encoded, its callables known where steps run."""
        if agent is None:
            raise InvalidAgent("Pass an agent.")
        spec = encode_agent(agent, self.gateway.refer)
        self._classes[agent.type] = type(agent)
        await self.gateway.connect()
        await self.gateway.publish(spec)
        return spec

    def restore(self, spec: AgentSpec) -> Agent:
        """The agent behind a record, with the callables that this program knows."""
        return decode_agent(spec, self._classes, self.gateway.restore)

    async def answer(self, owner: Owner, run_id: str, commands: tuple[Command, ...] = ()) -> OrchestratorResponse:
        """Send commands, wait for a run to end and give its answer, or raise what it ended in."""
        reply = await self.ask(owner, Ask(commands=commands, await_run=run_id, wait_s=_POLL_S))
        while reply.run is None or reply.run.status not in _ENDED:
            reply = await self.gateway.ask(owner, Ask(await_run=run_id, wait_s=_POLL_S))
        return self.read_outcome(reply.run)

    def read_outcome(self, view: RunView) -> OrchestratorResponse:
        """The answer an outcome stands for; raises what it ended in."""
        if view.status is RunStatus.COMPLETED:
            agent = self.restore(view.agent) if view.agent else None
            messages = [to_public(message) for message in view.messages]
            answers = (message for message in reversed(messages[view.input_length :]) if message.role == "assistant")
            last = next(answers, None)
            return OrchestratorResponse(
                messages=messages,
                agent=agent,
                context_variables=dict(view.context_variables),
                id=view.run_id,
                status=str(view.status),
                usage=view.usage,
                output=last.text if last is not None else "",
                finish_reason=view.finish_reason,
                raw_finish_reason=view.raw_finish_reason,
            )
        if view.status not in _ENDED:
            raise InternalError(f"Run {view.run_id!r} has no outcome yet ({view.status}).")
        raise run_error(view.status, view.error, view.run_id, view.error_type, view.finish_reason)


def run_error(
    status: RunStatus, text: str | None, run_id: str, error_type: str | None, finish_reason: str | None = None
) -> RunError:
    """The error for a run that ended without an answer."""
    kinds = {RunStatus.CANCELLED: RunCancelled, RunStatus.TIMED_OUT: RunTimedOut}
    return kinds.get(status, RunFailed)(
        text or "", run_id=run_id, error_type=error_type or "", finish_reason=finish_reason or ""
    )


_NO_LIMIT = 10**15
"""Nobody counts so far, and not everything that stores numbers takes longer ones."""


def read_limit(given: int | float | None, what: str, *, least: int = 0) -> int | None:
    """A count, or None for no limit.

    Raises:
        InvalidLimit: It is no number, or below `least`.
    """
    if given is None or (isinstance(given, float) and given == math.inf):
        return None
    number = check_number(given, what, InvalidLimit, least=least, why='float("inf") means no limit.')
    return int(number) if number < _NO_LIMIT else None


def read_flag(given: object, what: str) -> bool:
    """A setting that is on or off.

    Raises:
        InvalidLimit: It is neither True nor False.
    """
    return check_flag(given, what, InvalidLimit)


def read_cursor(given: object) -> int:
    """The `seq` of the last event that somebody saw.

    Raises:
        InvalidLimit: It is no count.
    """
    why = "It is the seq of the last event seen."
    return int(check_number(given, "after", InvalidLimit, most=_NO_LIMIT, whole=True, why=why))


def messages_identity(messages: Iterable[Message]) -> list[Any]:
    """What makes the messages of two requests the same: all that a caller wrote.

    It goes into digests that are stored: a field that a later format adds must not change those of older requests.
    """
    return [message.model_dump(mode="json", exclude={"vendor"}) for message in messages]


def read_model_calls(given: int | float | None) -> int | None:
    """`max_model_calls` as it is stored: a count, or None for no limit. A run that may ask no model is refused."""
    return read_limit(given, "max_model_calls", least=1)


def agent_identity(spec: AgentSpec) -> dict[str, Any]:
    """What makes two agents the same to a request: functions count by name, so that new code may join an old run."""
    agent = spec.identity()
    agent["functions"] = [function.name for function in spec.functions]
    if not isinstance(spec.instructions, str):
        agent["instructions"] = spec.instructions.name
    return agent


def input_digest(
    spec: AgentSpec, messages: list[Any], context: dict[str, Any], limit: int | None, model_calls: int | None
) -> str:
    """What makes two requests the same: functions count by name, so that new code may join an old run.

    Requests from before `max_model_calls` existed are the same as those that leave it at its default.
    """
    agent = agent_identity(spec)
    request = {"agent": agent, "messages": messages, "context": context, "max_turns": limit}
    if model_calls != DEFAULT_MODEL_CALLS:
        request["max_model_calls"] = model_calls
    return digest(request)
