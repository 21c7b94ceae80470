"""What runs while processes are killed: conversations whose every message causes two side effects outside storage."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rojak_ray import Rojak, ToolContext, function
from rojak_ray.agents import Agent, AgentActivities, AgentCallParams, AgentResponse, AgentToolCall, ToolCallFunction
from rojak_ray.errors import RojakError

FUNCTIONS = ("apply", "compute")


class ChaosAgent(Agent):
    """Asks for both functions, then says what it did."""

    type: str = "chaos"
    model: str = "chaos-1"


class ChaosActivities(AgentActivities):
    """Answers from the messages alone, so that it may be asked again after any crash."""

    type = "chaos"

    async def call(self, params: AgentCallParams) -> AgentResponse:
        """Two calls after a user's message, a text after their results."""
        asked = next(message for message in reversed(params.messages) if message.role == "user")
        if params.messages[-1].role == "tool":
            return AgentResponse(type="text", content=f"did {asked.content}")
        arguments = json.dumps({"message": asked.content})
        calls = [AgentToolCall(id=name, function=ToolCallFunction(name, arguments)) for name in FUNCTIONS]
        return AgentResponse(type="tool", tool_calls=calls)


def make_functions(path: str) -> list[Callable[..., Any]]:
    """One that waits and one that computes; a line is: function, message, key, attempt, process, time in ns."""

    def write(name: str, message: str, context: ToolContext) -> None:
        line = f"{name} {message} {context.idempotency_key} {context.attempt} {os.getpid()} {time.time_ns()}\n"
        with open(path, "a") as file:
            file.write(line)

    async def apply(message: str, context: ToolContext) -> str:
        write("apply", message, context)
        await asyncio.sleep(0.05)
        return f"applied {message}"

    @function(num_cpus=0.1)
    def compute(message: str, context: ToolContext) -> str:
        write("compute", message, context)
        time.sleep(0.05)
        return f"computed {message}"

    return [apply, compute]


@dataclass
class Conversation:
    """One session, or a row of runs, and what its client knows."""

    name: str
    placement: str
    is_session: bool
    sent: list[str] = field(default_factory=list)
    acknowledged: dict[str, int] = field(default_factory=dict)
    """Messages whose answer arrived, with the time."""

    unknown: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    under_way: str | None = None


class Load:
    """Clients that send one message after another, each to its own conversation."""

    def __init__(self, clients: dict[str, Rojak], effects: Path, sessions: int) -> None:
        """`clients` by placement; as many conversations of runs as of sessions, half as many."""
        self._clients = clients
        self._functions = make_functions(str(effects))
        self.conversations = [
            Conversation(f"{placement[0]}{kind}{number}", placement, kind == "s")
            for placement in clients
            for kind, share in (("s", 1.0), ("r", 0.5))
            for number in range(max(1, round(sessions * share / len(clients))))
        ]

    async def prepare(self) -> None:
        """Register with every installation."""
        for client in self._clients.values():
            await client.create_worker([ChaosActivities()], functions=self._functions)

    async def run(self, stop: asyncio.Event) -> None:
        """Send until told to stop; what is under way is waited for."""
        async with asyncio.TaskGroup() as group:
            for conversation in self.conversations:
                group.create_task(self._converse(conversation, stop))

    async def _converse(self, conversation: Conversation, stop: asyncio.Event) -> None:
        client = self._clients[conversation.placement]
        agent = ChaosAgent(name="A", functions=list(FUNCTIONS))
        session = None
        while conversation.is_session and session is None:
            try:
                session = await client.create_session(conversation.name, agent, history_size=float("inf"))
            except RojakError:
                continue
        for number in itertools.count():
            if stop.is_set():
                return
            message = f"{conversation.name}-{number}"
            conversation.sent.append(message)
            conversation.under_way = message
            try:
                if session is not None:
                    response = await session.send_messages(message)
                else:
                    response = await _run_until_answered(client, agent, message)
            except RojakError:
                conversation.unknown.append(message)
            else:
                conversation.acknowledged[message] = time.time_ns()
                if response.messages[-1].content != f"did {message}":
                    conversation.wrong.append(f"{message}: {response.messages[-1].content}")
            conversation.under_way = None


async def _run_until_answered(client: Rojak, agent: Agent, run_id: str) -> Any:
    """A run of a given id may be asked for again, whatever happened to the question."""
    while True:
        try:
            return await client.run(run_id, agent, run_id)
        except RojakError as error:
            if not error.retryable:
                raise
