"""Functions that leave evidence outside any storage of ours, and a story that waits in the middle until it is told."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.plan import plan

from rojak_ray import ToolContext, function


def make_steps(path: str) -> list[Any]:
    """Functions that append what they did to a file, and some that wait until a file beside it exists.

    A line is: a word, the idempotency key, the attempt, the process, the Ray node.
    """

    # Only what the context says is handed on: functions that hand on the context itself run one after another.
    def write(word: str, key: str, attempt: int) -> None:
        import ray

        node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else "-"
        with open(path, "a") as file:
            file.write(f"{word} {key} {attempt} {os.getpid()} {node}\n")

    def told_to_go() -> bool:
        return Path(path + ".go").exists()

    async def note(text: str, context: ToolContext) -> str:
        write(text, context.idempotency_key, context.attempt)
        return text

    async def wait_for_go(context: ToolContext) -> str:
        write("waiting", context.idempotency_key, context.attempt)
        while not told_to_go():
            await asyncio.sleep(0.02)
        return "went"

    @function(num_cpus=0.1)
    def work_until_go(context: ToolContext) -> str:
        write("working", context.idempotency_key, context.attempt)
        while not told_to_go():
            time.sleep(0.02)
        return "worked"

    @function(at_most_once=True)
    async def pay(context: ToolContext) -> str:
        write("paying", context.idempotency_key, context.attempt)
        while not told_to_go():
            await asyncio.sleep(0.02)
        return "paid"

    @function(at_most_once=True, num_cpus=0.1)
    def pay_in_a_task(context: ToolContext) -> str:
        write("paying", context.idempotency_key, context.attempt)
        while not told_to_go():
            time.sleep(0.02)
        return "paid"

    return [note, wait_for_go, work_until_go, pay, pay_in_a_task]


def story(*waiting: str) -> str:
    """A message: one function, then those that wait, then one more."""
    return plan([["note", {"text": "first"}]], [[name, {}] for name in waiting], [["note", {"text": "last"}]], "done")


@dataclass(frozen=True)
class Effect:
    """One line of evidence."""

    word: str
    key: str
    attempt: int
    pid: int
    node: str


def effects_in(path: Path) -> list[Effect]:
    """What functions have done so far."""
    found = [line.split() for line in path.read_text().splitlines()]
    return [Effect(word, key, int(attempt), int(pid), node) for word, key, attempt, pid, node in found]


def count(path: Path, word: str) -> int:
    """How often functions wrote a word."""
    return sum(effect.word == word for effect in effects_in(path))
