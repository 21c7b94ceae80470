"""A program and its Ray are gone; the next one on the same storage goes on: with its own instructions, with what the
vendor must get back, and with the provider of its environment."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.vendor import Hold, Raw, Reply, Request, Text, Vendor, anthropic_body

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

KEY = "sk-of-this-program-" + "k" * 20
THINKING = {"type": "thinking", "thinking": "They ask for a look.", "signature": "c2lnbmVkIGJ5IHRoZSB2ZW5kb3I="}
REDACTED = {"type": "redacted_thinking", "data": "bm90IGZvciB5b3VyIGV5ZXM="}
LOOK = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}

PROGRAM = """
import asyncio, sys
from rojak_ray import AnthropicAgent, OpenAIAgent, Rojak

def made_for(owner):
    def instructions():
        return f"You serve {owner}."

    def look() -> str:
        return f"seen by {owner}"

    return AnthropicAgent(name="Thinker", instructions=instructions, functions=[look])

async def main(place, life):
    options = {"_temp_dir": f"{place}/ray", "num_cpus": 2, "log_to_driver": False}
    async with Rojak(f"{place}/storage", address="local", placement="shared", ray_options=options) as rojak:
        if life == "first":
            for owner in ("alice", "bob"):
                session = await rojak.create_session(owner, made_for(owner))
                print((await session.send_messages(f"Look, {owner}.")).output, flush=True)
            await rojak.start_run("held", OpenAIAgent(name="Held"), "Take your time.")
            await asyncio.to_thread(sys.stdin.readline)
            return
        for owner in ("bob", "alice"):  # what has their content is here again
            await rojak.create_session(f"again-{owner}", made_for(owner))
            session = await rojak.get_session(owner)
            print((await session.send_messages(f"Look again, {owner}.")).output, flush=True)
        print((await rojak.get_run_result("held")).output, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """Short, because Ray puts sockets below it."""
    with tempfile.TemporaryDirectory(prefix="rj", ignore_cleanup_errors=True) as made:
        yield Path(made)


def start(place: Path, life: str, vendor: Vendor) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
        "ANTHROPIC_API_KEY": KEY,
        "ANTHROPIC_BASE_URL": vendor.anthropic_url,
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": vendor.openai_url,
    }
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(PROGRAM), str(place), life]
    with (place / f"{life}.log").open("wb") as errors:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )


def answer(request: Request) -> Reply:
    """Anthropic's wire thinks, looks and tells; OpenAI's keeps its client waiting."""
    if request.wire == "openai":
        return Hold(Text("at last"))
    last = request.body["messages"][-1]["content"]
    if isinstance(last, list) and last[-1]["type"] == "tool_result":
        seen = last[-1]["content"]
        return Text(seen if isinstance(seen, str) else seen[0]["text"])
    return Raw(anthropic_body([THINKING, REDACTED, LOOK], "tool_use", None, request.body["model"]))


def asked(vendor: Vendor, owner: str) -> list[dict[str, Any]]:
    """The bodies of what was asked for one of them, in order."""
    bodies = [request.body for request in vendor.requests if request.wire == "anthropic"]
    return [body for body in bodies if owner in str(body["messages"][0])]


def test_next_program_goes_on_with_instructions_vendor_state_and_providers(place: Path) -> None:
    with Vendor(answer) as vendor:
        first = start(place, "first", vendor)
        try:
            assert [first.stdout.readline().strip() for _ in range(2)] == ["seen by alice", "seen by bob"], (  # type: ignore[union-attr]
                (place / "first.log").read_text()
            )
            vendor.wait_for_requests(5)
        finally:
            first.communicate("\n")
        second = start(place, "second", vendor)
        try:
            told = [second.stdout.readline().strip() for _ in range(2)]  # type: ignore[union-attr]
            assert told == ["seen by bob", "seen by alice"], (place / "second.log").read_text()
            vendor.release()
            assert second.stdout.readline().strip() == "at last"  # type: ignore[union-attr]
        finally:
            vendor.release()
            second.communicate()

    for owner in ("alice", "bob"):
        bodies = asked(vendor, owner)
        assert {str(body["system"]).count(f"You serve {owner}.") for body in bodies} == {1}
        assert len(bodies) == 4
        for body in bodies[1:]:  # before the restart and after it, in each request that has the answer in it
            thought = next(message["content"] for message in body["messages"] if message["role"] == "assistant")
            assert thought[:2] == [THINKING, REDACTED]
            assert thought[2]["type"] == "tool_use"
    held = [request for request in vendor.requests if request.wire == "openai"]
    assert len(held) >= 2, "the run that was under way is asked again"
    assert {request.headers["Authorization"] for request in held} == {f"Bearer {KEY}"}
