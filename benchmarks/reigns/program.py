"""A program on one of the two clusters: `python -m benchmarks.reigns.program SETTINGS`, told what to do by lines.

Each line of its standard input is a JSON list: a number, a word, arguments. It answers each with a line of JSON that
begins with the number, when it is done, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from rojak_ray import Rojak, ToolContext, function
from rojak_ray.agents import Agent, AgentActivities, AgentCallParams, AgentResponse, AgentToolCall, ToolCallFunction
from rojak_ray.errors import RojakError, StandsBy
from rojak_ray.types import RetryOptions

FUNCTIONS = ("wait", "compute", "pay")
LIMIT_S = 600.0


class ReignAgent(Agent):
    """Calls all functions for as many seconds as the message says; for none, only talks."""

    type: str = "reigns"
    model: str = "reigns-1"


class ReignActivities(AgentActivities):
    """Answers from the messages alone, so that it may be asked again after any change of ruler."""

    type = "reigns"

    async def call(self, params: AgentCallParams) -> AgentResponse:
        """The calls, then a text; a message is a number and seconds."""
        asked = str(next(message for message in reversed(params.messages) if message.role == "user").content)
        seconds = float(asked.split()[1])
        if params.messages[-1].role == "tool" or not seconds:
            return AgentResponse(type="text", content=f"did {asked}")
        arguments = json.dumps({"seconds": seconds})
        calls = [AgentToolCall(id=name, function=ToolCallFunction(name, arguments)) for name in FUNCTIONS]
        return AgentResponse(type="tool", tool_calls=calls)


def make_functions(path: str) -> list[Callable[..., Any]]:
    """One that waits, one that computes, one that runs at most once; what they do is noted when they begin and end."""

    def write(word: str, key: str, attempt: int) -> None:
        with open(path, "a") as file:
            file.write(f"{word} {key} {attempt} {os.getpid()} {time.time():.2f}\n")

    async def wait(seconds: float, context: ToolContext) -> str:
        write("begins", context.idempotency_key, context.attempt)
        await asyncio.sleep(seconds)
        write("ends", context.idempotency_key, context.attempt)
        return "waited"

    @function(num_cpus=0.05)
    def compute(seconds: float, context: ToolContext) -> str:
        write("begins", context.idempotency_key, context.attempt)
        time.sleep(seconds)
        write("ends", context.idempotency_key, context.attempt)
        return "computed"

    @function(at_most_once=True)
    async def pay(seconds: float, context: ToolContext) -> str:
        write("begins", context.idempotency_key, context.attempt)
        await asyncio.sleep(seconds)
        write("ends", context.idempotency_key, context.attempt)
        return "paid"

    return [wait, compute, pay]


class Doer:
    """What the lines ask for."""

    def __init__(self, rojak: Rojak) -> None:
        """`rojak` leads to this program's cluster."""
        self._rojak = rojak
        self._agent = ReignAgent(name="Worker", functions=list(FUNCTIONS))
        self._agent.retry_options = RetryOptions(timeout_in_seconds=LIMIT_S)

    async def standing(self) -> list[Any]:
        """Where its cluster stands."""
        standing = await self._rojak.standing()
        return [standing.duty, standing.number, standing.ruler]

    async def take_over(self, request_id: str) -> str:
        """Have its cluster rule."""
        await self._rojak.take_over(request_id=request_id)
        return "told"

    async def create(self, name: str) -> str:
        """Begin a session."""
        await self._rojak.create_session(name, self._agent, history_size=math.inf)
        return "created"

    async def send(self, name: str, message: str, request_id: str) -> list[Any]:
        """Send; when it was answered, how, and the results. Nothing where another cluster rules."""
        session = await self._rojak.get_session(name)
        try:
            response = await session.send_messages(message, request_id=request_id)
        except StandsBy:
            return []
        told = [part.text for part in response.messages if part.role == "tool"]
        return [time.time(), response.output, told]

    async def try_to_send(self, name: str, message: str) -> list[Any]:
        """Send once; how long it took to be refused, and by what."""
        session, began = await self._rojak.get_session(name), time.time()
        try:
            await session.send_messages(message)
        except StandsBy as refused:
            return [time.time() - began, type(refused).__name__, refused.ruler]
        return [time.time() - began, "answered", ""]

    async def history(self, name: str) -> list[str]:
        """What a session remembers."""
        session = await self._rojak.get_session(name)
        return [message.text for message in await session.history()]


async def main(settings: dict[str, Any]) -> None:
    """Do what the lines say until there are no more."""
    where = {key: settings[key] for key in ("address", "storage", "namespace")}
    async with Rojak(**where, placement="shared") as rojak:
        await rojak.create_worker([ReignActivities()], functions=make_functions(settings["effects"]))
        doer, tasks = Doer(rojak), set[asyncio.Task[None]]()

        async def do(number: int, word: str, *arguments: Any) -> None:
            try:
                result = await getattr(doer, word)(*arguments)
            except RojakError as error:
                result = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps([number, result]), flush=True)

        print(json.dumps([-1, "ready"]), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            task = asyncio.create_task(do(*json.loads(line)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
