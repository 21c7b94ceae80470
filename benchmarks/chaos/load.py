"""What runs while processes are killed: conversations whose every message causes two side effects outside storage."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.chaos.diary import Diary, Note, Word
from rojak_ray import Rojak, Session, ToolContext, function
from rojak_ray.agents import Agent, AgentActivities, AgentCallParams, AgentResponse, AgentToolCall, ToolCallFunction
from rojak_ray.errors import RojakError

FUNCTIONS = ("apply", "compute")
_AGAIN_S = 0.5


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


def make_functions(path: str, work_s: float) -> list[Callable[..., Any]]:
    """One that waits and one that computes; a line is: function, message, key, attempt, process, time in ns."""

    def write(name: str, message: str, key: str, attempt: int) -> None:
        line = f"{name} {message} {key} {attempt} {os.getpid()} {time.time_ns()}\n"
        with open(path, "a") as file:
            file.write(line)

    async def apply(message: str, context: ToolContext) -> str:
        write("apply", message, context.idempotency_key, context.attempt)
        await asyncio.sleep(work_s)
        return f"applied {message}"

    @function(num_cpus=0.1)
    def compute(message: str, context: ToolContext) -> str:
        write("compute", message, context.idempotency_key, context.attempt)
        time.sleep(work_s)
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

    def take(self, note: Note) -> None:
        """One more thing is known. A message that a lost program had sent may be sent again by the next one."""
        match note.word:
            case "sent":
                if note.message not in self.sent:
                    self.sent.append(note.message)
                self.under_way = note.message
            case "answered":
                self.acknowledged[note.message] = note.at
                self.under_way = None
            case "unknown":
                self.unknown.append(note.message)
                self.under_way = None
            case "wrong":
                self.wrong.append(f"{note.message}: {note.text}")


def conversations(placements: Sequence[str], sessions: int) -> list[Conversation]:
    """As many sessions as asked for, over all placements, and half as many rows of runs."""
    return [
        Conversation(f"{placement[0]}{kind}{number}", placement, kind == "s")
        for placement in placements
        for kind, share in (("s", 1.0), ("r", 0.5))
        for number in range(max(1, round(sessions * share / len(placements))))
    ]


class Load:
    """Clients that send one message after another, each to its own conversation."""

    def __init__(
        self,
        clients: dict[str, Rojak],
        conversations: list[Conversation],
        effects: Path,
        *,
        work_s: float = 0.05,
        diary: Diary | None = None,
    ) -> None:
        """`clients` by placement. A `diary` outlives this process; `conversations` are as it leaves them."""
        self._clients = clients
        self._functions = make_functions(str(effects), work_s)
        self._diary = diary
        self.conversations = conversations

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
        session = await _session(client, conversation.name, agent) if conversation.is_session else None
        if session is not None and conversation.under_way is not None:
            found = await _find(session, conversation.under_way)
            self._note(conversation, "answered" if found else "unknown", conversation.under_way)
        while not stop.is_set() or conversation.under_way is not None:
            message = conversation.under_way or f"{conversation.name}-{len(conversation.sent)}"
            self._note(conversation, "sent", message)
            try:
                if session is not None:
                    response = await session.send_messages(message)
                else:
                    response = await _run_until_answered(client, agent, message)
            except RojakError:
                self._note(conversation, "unknown", message)
            else:
                self._note(conversation, "answered", message)
                if response.messages[-1].content != f"did {message}":
                    self._note(conversation, "wrong", message, str(response.messages[-1].content))

    def _note(self, conversation: Conversation, word: Word, message: str, text: str = "") -> None:
        note = Note(conversation.name, word, message, time.time_ns(), text)
        if self._diary is not None:
            self._diary.write(note)
        conversation.take(note)


async def _session(client: Rojak, name: str, agent: Agent) -> Session:
    """A session of this id, however long it takes."""
    while True:
        try:
            return await client.create_session(name, agent, history_size=float("inf"))
        except RojakError:
            await asyncio.sleep(_AGAIN_S)


async def _find(session: Session, message: str) -> bool:
    """Whether a message that an earlier program had sent was answered; what was taken is waited for.

    It is never sent again: whoever wants that gives a run an id.
    """
    while True:
        try:
            async for _ in session.events(until_idle=True):
                pass
            return any(one.role == "assistant" and one.content == f"did {message}" for one in await session.history())
        except RojakError:
            await asyncio.sleep(_AGAIN_S)


async def _run_until_answered(client: Rojak, agent: Agent, run_id: str) -> Any:
    """A run of a given id may be asked for again, whatever happened to the question."""
    while True:
        try:
            return await client.run(run_id, agent, run_id)
        except RojakError as error:
            if not error.retryable:
                raise
