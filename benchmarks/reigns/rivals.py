"""The two clusters, each with a program that is told what to do."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from benchmarks.chaos.nodes import ROOT, Cluster

NAMESPACE = "reigns"
_LEAVE_S = 60.0


class Rival:
    """A cluster of one node and a program on it."""

    def __init__(self, name: str, folder: Path) -> None:
        """Nothing runs yet; storage and effects are in `folder`."""
        self.name = name
        self.cluster = Cluster()
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[Any]] = {}

    async def start(self) -> None:
        """Start both, and wait until the program has registered what it has."""
        await asyncio.to_thread(self.cluster.start_head, 2)
        settings = {
            "address": self.cluster.address,
            "storage": str(self._folder / "storage"),
            "namespace": NAMESPACE,
            "effects": str(self._folder / "effects.txt"),
        }
        self._waiting[-1] = ready = Future[Any]()
        command = [sys.executable, "-m", "benchmarks.reigns.program", json.dumps(settings)]
        with (self._folder / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.cluster.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        await asyncio.wrap_future(ready)

    async def ask(self, *words: Any) -> Any:
        """Have something done; what came of it.

        Raises:
            RuntimeError: It failed, or the program has ended.
        """
        number, answer = next(self._numbers), Future[Any]()
        self._waiting[number] = answer
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([number, *words]) + "\n")
        self._process.stdin.flush()
        result = await asyncio.wrap_future(answer)
        if isinstance(result, dict) and "error" in result:
            raise RuntimeError(f"{words} at {self.name}: {result['error']}")
        return result

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("["):  # Ray prints there too
                number, result = json.loads(line)
                self._waiting.pop(number).set_result(result)
        for answer in list(self._waiting.values()):
            answer.set_result({"error": "the program has ended"})

    def stop(self) -> None:
        """End both."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            try:
                process.wait(_LEAVE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        self.cluster.stop()
