"""The least that a turn on Ray costs: driver to actor, actor to model, a task for the function, the model again.

No loop, no checks, no retries; with records on disk, in either of two ways, or without. It is the floor of whatever
sends a turn to an actor and its function to a task, as the raw client is that of a program which does everything
itself. What this project adds to a turn is the distance from here.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
from typing import Any, Literal, TypeAlias

import openai
import ray

from rojak_ray.storage.local import LocalStore

_RECORD = b"x" * 1500
"""As large as a record of the turn that is measured."""

_REPLY = b"x" * 1000
Request = list[dict[str, Any]]
Keep: TypeAlias = Literal["nothing", "files", "log"]
"""Where records go: nowhere, a file for each as local storage does it, or appended to one file that is theirs."""


@ray.remote(max_retries=0)
def call_function(arguments: str) -> str:
    """The function of the turn, in a task."""
    given = json.loads(arguments)
    return str(given["a"] + given["b"])


class BareActor:
    """An actor that answers a message, and keeps nothing unless told to."""

    def __init__(self, url: str, folder: str) -> None:
        """Speak to the model at `url`; write records to `folder`."""
        gc.set_threshold(50_000, 20, 100)  # as our hosts
        http: Any = openai.DefaultAioHttpClient()
        self._client = openai.AsyncOpenAI(api_key="bench", base_url=url, max_retries=0, http_client=http)
        self._store = LocalStore(folder)
        self._number = itertools.count(1)
        os.makedirs(folder, exist_ok=True)
        self._log = os.open(f"{folder}/records", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def turn(self, messages: Request, tools: list[dict[str, Any]], keep: Keep = "nothing") -> bytes:
        """Two completions and the function, with four records, each durable before what follows is done or told.

        A question changes nothing outside: it is asked while what leads to it is being written.
        """
        first, _ = await asyncio.gather(self._ask(messages, tools), self._write(keep))
        await self._write(keep)
        second = await self._call(messages, first)
        await asyncio.gather(self._ask(second, tools), self._write(keep))
        await self._write(keep)
        return _REPLY

    async def _call(self, messages: Request, reply: Any) -> Request:
        message = reply.choices[0].message
        call = message.tool_calls[0]
        result = await call_function.remote(call.function.arguments)
        return [*messages, message, {"role": "tool", "tool_call_id": call.id, "content": result}]

    async def _ask(self, messages: Request, tools: list[dict[str, Any]]) -> Any:
        create: Any = self._client.chat.completions.create
        return await create(model="bench", messages=messages, tools=tools)

    async def _write(self, keep: Keep) -> None:
        if keep == "files":
            await self._store.put_new(f"log/{next(self._number):08d}", _RECORD)
        elif keep == "log":
            os.write(self._log, _RECORD)
            os.fdatasync(self._log)


def start(url: str, folder: str) -> Any:
    """The actor, on the Ray that is running."""
    return ray.remote(BareActor).options(num_cpus=0, max_concurrency=1000).remote(url, folder)
