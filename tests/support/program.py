"""A program of a user, in a process of its own: `python -m support.program SETTINGS`, and what starts it.

It registers the functions of `support.effects`, sends stories, prints what comes back as lines of JSON, and stays until
its standard input is closed.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from support.effects import make_steps
from support.plan import PlanActivities, PlanAgent

from rojak_ray import Rojak


class Program:
    """A running program."""

    def __init__(self, environment: dict[str, str], log: Path, **settings: Any) -> None:
        """Start it. Settings: address, storage, namespace, effects, and `send`: stories by id ("run-..." is a run)."""
        command = [sys.executable, "-m", "support.program", json.dumps(settings)]
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True
            )
        self.said: list[dict[str, Any]] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):  # Ray prints there too
                self.said.append(json.loads(line))

    def has_said(self, word: str) -> bool:
        return any(word in line for line in self.said)

    @property
    def answers(self) -> dict[str, str]:
        """The last message of every conversation that has ended."""
        return {line["id"]: line["answer"] for line in self.said if "answer" in line}

    @property
    def homes(self) -> dict[str, str]:
        """The node of every session's actor when its story was sent."""
        return next((line["homes"] for line in self.said if "homes" in line), {})

    def kill(self) -> None:
        """End it as a lost machine would."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        """Let it leave."""
        if self.process.poll() is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


def _say(**line: Any) -> None:
    print(json.dumps(line), flush=True)


async def _send(rojak: Rojak, agent: PlanAgent, name: str, message: str) -> None:
    if name.startswith("run-"):
        response = await rojak.run(name, agent, message)
    else:
        session = await rojak.create_session(name, agent)
        response = await session.send_messages(message)
    results = [message.content for message in response.messages if message.role == "tool"]
    _say(id=name, answer=response.messages[-1].content, results=results)


async def _step_workers(rojak: Rojak) -> int:
    from rojak_ray.runtime import actors

    return sum(name.startswith("StepWorker") for name in actors.names_of(rojak.settings))


async def _homes(rojak: Rojak, names: list[str]) -> dict[str, str]:
    import ray

    from rojak_ray.runtime import actors
    from rojak_ray.runtime.settings import session_name

    homes: dict[str, str] = {}
    for name in names:
        while (handle := actors.find(session_name(name), rojak.settings)) is None:
            await asyncio.sleep(0.05)
        homes[name] = await handle.__ray_call__.remote(lambda _: ray.get_runtime_context().get_node_id())
    return homes


async def _main(settings: dict[str, Any]) -> None:
    functions = make_steps(settings["effects"])
    agent = PlanAgent(name="A", functions=[function.__name__ for function in functions])
    stories: dict[str, str] = settings.get("send", {})
    names = ("address", "storage", "namespace", "placement", "hosts")
    known = {"placement": "dedicated", **{key: settings[key] for key in names if key in settings}}
    async with Rojak(**known) as rojak:
        await rojak.create_worker([PlanActivities()], functions=functions)
        while await _step_workers(rojak) < settings.get("step_workers", 1):
            await asyncio.sleep(0.1)
        sending = [asyncio.create_task(_send(rojak, agent, *story)) for story in stories.items()]
        if settings.get("placement") != "shared":
            _say(homes=await _homes(rojak, [name for name in stories if not name.startswith("run-")]))
        _say(ready=True)
        stay = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await asyncio.gather(*sending)
        for name in settings.get("results", []):
            response = await rojak.get_run_result(name)
            _say(id=name, answer=response.messages[-1].content)
        for name in settings.get("histories", []):
            history = await (await rojak.get_session(name)).history()
            _say(id=name, answer=history[-1].content, messages=len(history))
        _say(finished=True)
        await stay


if __name__ == "__main__":
    asyncio.run(_main(json.loads(sys.argv[1])))
