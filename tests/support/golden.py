"""Writes a golden journal: what this version stores for conversations of every kind, with the states they fold to.

    PYTHONPATH=.:tests python -m support.golden tests/data/golden/journal-vN.json

A golden file is written once, by the version that introduced its format, and never again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from support.plan import PlanAgent, plan
from support.worlds import NEVER_S, world

from rojak_ray import FilePart, ImagePart, RunFailed, TextPart
from rojak_ray.agents import AgentExecuteFnResult, function
from rojak_ray.journal import blobs as blobs_module
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.replay import replay
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.sessions.types import UpdateConfigParams
from rojak_ray.storage.memory import MemoryStore

PATHS = Paths("rojak")
OWNERS = (
    Owner("session", "golden"),
    Owner("session", "stopped"),
    Owner("run", "golden-run"),
    Owner("run", "golden-failed"),
    Owner("session", "large"),
    Owner("session", "deleted"),
    Owner("session", "shown"),
)


def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


def remember(context_variables: dict[str, Any], name: str) -> AgentExecuteFnResult:
    """Remember who is speaking; forget the draft."""
    context_variables.pop("draft", None)
    return AgentExecuteFnResult(output=f"Hello {name}", context_variables={"name": name})


def to_other() -> PlanAgent:
    """Hand over."""
    return PlanAgent(name="Other", instructions="You are the other.", functions=[add])


def draw() -> list[Any]:
    """Draw a dot."""
    return ["A dot:", ImagePart(data=b"\x89PNG\r\n\x1a\n")]


@function(at_most_once=True)
async def never_returns() -> str:
    """Wait for ever."""
    await asyncio.Event().wait()
    return "never"


async def write() -> dict[str, Any]:
    """Conversations with handoff, calls side by side, context, failure, settings, snapshots; one stops midway."""
    store = MemoryStore()
    first = PlanAgent(
        name="First", instructions="You are the first.", functions=[add, remember, to_other, never_returns, draw]
    )
    settings = PoolSettings(sweep_s=NEVER_S, snapshot_bytes=6_000)
    with mock.patch.object(blobs_module, "BLOB_BYTES", 900), mock.patch.object(blobs_module, "DATA_BYTES", 900):
        async with world(store, settings) as w:
            session = await w.rojak.create_session("golden", first, {"draft": "x", "list": [1, {"k": "ü\U0001f600"}]})
            calls = [["add", {"a": 1, "b": 2}], ["add", {"a": 3, "b": 4}], ["remember", {"name": "Zoë"}]]
            await session.send_messages(plan(calls, "done"))
            await session.send_messages(plan([["to_other", {}]], [["add", {"a": 5, "b": "six"}]], "handed"))
            with contextlib.suppress(RunFailed):
                await session.send_messages(plan(400))
            await session.update_config(UpdateConfigParams(max_turns=9, history_size=6))
            for number in range(6):
                await session.send_messages(plan([["add", {"a": number, "b": 1}]], f"turn {number}"))
            await w.rojak.run("golden-run", first, plan(calls, [["to_other", {}]], "ran"), {"draft": "y"})
            with contextlib.suppress(RunFailed):
                await w.rojak.run("golden-failed", first, plan(400))
            large = await w.rojak.create_session("large", first, {"table": ["x" * 90] * 20, "small": 1})
            await large.send_messages(plan([["add", {"a": 1, "b": 2}]], "y" * 1_500))
            for number in range(3):
                await large.send_messages(plan([["add", {"a": number, "b": 2}]], "z" * 800))
            deleted = await w.rojak.create_session("deleted", first)
            await deleted.send_messages(plan("secret"))
            await w.rojak.delete_session("deleted")
            await _show_and_think(w, first)
            stopped = await w.rojak.create_session("stopped", first)
            await stopped.update_config(UpdateConfigParams(debug=True, max_turns=math.inf))
            waiting = asyncio.create_task(
                stopped.send_messages(plan([["add", {"a": 1, "b": 1}], ["never_returns", {}]]))
            )
            queued = asyncio.create_task(stopped.send_messages(plan("second")))
            while not await _waits(store):
                await asyncio.sleep(0)
        for task in (waiting, queued):
            task.cancel()
        await asyncio.gather(waiting, queued, return_exceptions=True)
    objects = {key: (await store.get(key)).decode("ascii") for key in await store.list("")}
    states = [(await replay(store, PATHS, owner)).state.model_dump(mode="json") for owner in OWNERS]
    return {"objects": objects, "states": states}


async def _show_and_think(w: Any, agent: PlanAgent) -> None:
    """Parts of every kind, and what a vendor wants back, in history and snapshots."""
    session = await w.rojak.create_session("shown", agent)
    thought = {"say": "I think.", "state": {"blocks": [{"type": "thinking", "signature": "c2ln" * 200}]}}
    asked = [
        TextPart(text=plan({**thought, "paused": True}, [["add", {"a": 1, "b": 2}]], thought)),
        ImagePart(data=b"\x89PNG\r\n\x1a\n" + bytes(1_200)),
        ImagePart(url="https://example.com/a.png", detail="low"),
        FilePart(data=b"%PDF-1.7", name="a.pdf"),
    ]
    await session.send_messages([{"role": "user", "content": asked}])
    await session.send_messages(plan([["draw", {}]], "drawn"))
    for number in range(3):
        await session.send_messages(plan({"say": f"turn {number}", "state": number}))


async def _waits(store: MemoryStore) -> bool:
    state = (await replay(store, PATHS, OWNERS[1])).state
    return state.run is not None and any(call.done for call in state.run.calls) and bool(state.queue)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(asyncio.run(write()), indent=1) + "\n", encoding="ascii")
