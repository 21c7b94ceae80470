"""A program on one of two clusters that share a storage: `python -m support.rival SETTINGS`, told what to do by lines.

Each line of its standard input is a JSON list: a word, and arguments. It answers each with a line of JSON that begins
with the number of the line, when it is done, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from support.effects import make_steps
from support.plan import PlanActivities, PlanAgent

from rojak_ray import Rojak
from rojak_ray.errors import RojakError, StandsBy
from rojak_ray.types import RetryOptions


class Rival:
    """The running program, as the test sees it."""

    def __init__(self, environment: dict[str, str], log: Path, **settings: Any) -> None:
        """Start it. Settings: address, storage, namespace, effects."""
        command = [sys.executable, "-m", "support.rival", json.dumps(settings)]
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True
            )
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[Any]] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    def tell(self, *words: Any) -> asyncio.Future[Any]:
        """Have something done; the future holds what came of it."""
        number = next(self._numbers)
        self._waiting[number] = Future()
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([number, *words]) + "\n")
        self.process.stdin.flush()
        return asyncio.wrap_future(self._waiting[number])

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("["):  # Ray prints there too
                number, result = json.loads(line)
                self._waiting[number].set_result(result)

    def stop(self) -> None:
        """Let it leave."""
        if self.process.poll() is None:
            assert self.process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)


class _Doer:
    def __init__(self, rojak: Rojak, agent: PlanAgent) -> None:
        self._rojak = rojak
        self._agent = agent

    async def standing(self) -> list[Any]:
        standing = await self._rojak.standing()
        return [standing.duty, standing.number, standing.ruler]

    async def take_over(self) -> None:
        await self._rojak.take_over()

    async def send(self, name: str, message: str) -> list[Any]:
        """Send until it is taken, as a program does that was told to ask again; how long that took, and the answer."""
        began = time.monotonic()
        while True:
            try:
                session = await self._rojak.create_session(name, self._agent)
                response = await session.send_messages(message)
            except StandsBy:
                await asyncio.sleep(0.2)
            else:
                results = [each.content for each in response.messages if each.role == "tool"]
                return [round(time.monotonic() - began, 2), response.messages[-1].content, results]

    async def try_to_send(self, name: str, message: str) -> list[Any]:
        try:
            session = await self._rojak.create_session(name, self._agent)
            response = await session.send_messages(message)
        except RojakError as error:
            return [type(error).__name__, str(error)]
        return ["answered", response.messages[-1].content]

    async def history(self, name: str) -> list[Any]:
        session = await self._rojak.get_session(name)
        return [[message.role, message.content] for message in await session.history()]


async def _main(settings: dict[str, Any]) -> None:
    functions = make_steps(settings["effects"])
    names = [function.__name__ for function in functions]
    agent = PlanAgent(name="A", functions=names, retry_options=RetryOptions(timeout_in_seconds=3600))
    known = {key: settings[key] for key in ("address", "storage", "namespace", "placement") if key in settings}
    async with Rojak(**known) as rojak:
        await rojak.create_worker([PlanActivities()], functions=functions)
        doer, tasks = _Doer(rojak, agent), set[asyncio.Task[None]]()

        async def do(number: int, word: str, *arguments: Any) -> None:
            try:
                result = await getattr(doer, word)(*arguments)
            except Exception as error:  # noqa: BLE001  (the test is told)
                result = ["failed", f"{type(error).__name__}: {error}"]
            print(json.dumps([number, result]), flush=True)

        while line := await asyncio.to_thread(sys.stdin.readline):
            task = asyncio.create_task(do(*json.loads(line)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(_main(json.loads(sys.argv[1])))
