"""Streaming: how much later than through the vendor's own client the first word is seen, and what words cost.

A model server on loopback says a word every few milliseconds. One run at a time, then 50 and 500 at once; the same
streams are read by the vendor's own client (the floor) in the same process and the same run. CPU is that of this
process and of Ray's, without the server's, for every 1,000 words.

Budget: with one run the first word at most 30 ms (p50) later than through the raw client.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import ray
from rich.console import Console
from rich.table import Table

from benchmarks import command
from rojak_ray import OpenAIAgent, Rojak
from rojak_ray.agents import OpenAIAgentActivities, OpenAIAgentOptions

WORDS = 100
GAP_S = 0.005
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

Stream = Callable[[], AsyncIterator[str]]


@dataclass(frozen=True)
class Measured:
    """What came of some streams at once."""

    first_s: float
    """Median seconds to the first piece."""

    wall_s: float
    cpu_s_per_1000: float


def _chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "bench", "choices": [choice]}
    return _framed(f"data: {json.dumps(body)}\n\n".encode())


def _framed(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def _speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request on a connection with the same words."""
    while head := await reader.readuntil(b"\r\n\r\n"):
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        writer.write(_HEAD + _chunk({"role": "assistant", "content": ""}))
        for _ in range(WORDS):
            writer.write(_chunk({"content": " word"}))
            await asyncio.sleep(GAP_S)
        usage = {"prompt_tokens": 1, "completion_tokens": WORDS, "total_tokens": WORDS + 1}
        last = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "bench", "choices": []}
        writer.write(_chunk({}, "stop") + _framed(f"data: {json.dumps({**last, 'usage': usage})}\n\n".encode()))
        writer.write(_framed(b"data: [DONE]\n\n") + b"0\r\n\r\n")


async def serve() -> None:
    """Serve until the process is ended."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _speak(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def speaking() -> Iterator[tuple[str, int]]:
    """The base URL and the pid of a server in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.streaming", "--serve"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1", process.pid
    finally:
        process.terminate()
        process.wait(10)


def _cpu_s(without: int) -> float:
    """CPU seconds of this process and all below it, except one."""
    ticks = os.sysconf("SC_CLK_TCK")
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(folder.name)] = int(fields[1])
            used[int(folder.name)] = (int(fields[11]) + int(fields[12])) / ticks
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(used[pid] for pid in ours - {without} if pid in used)


def raw(client: openai.AsyncOpenAI) -> Stream:
    """The vendor's own client."""

    async def stream() -> AsyncIterator[str]:
        chunks: Any = await client.chat.completions.create(
            model="bench", messages=[{"role": "user", "content": "Speak."}], stream=True
        )
        async for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content

    return stream


def ours(rojak: Rojak) -> Stream:
    """One-shot runs on Ray."""
    agent = OpenAIAgent(name="A", model="bench", instructions="Speak.")

    async def stream() -> AsyncIterator[str]:
        async for event in rojak.stream(agent=agent, messages="Speak."):
            if event.kind == "text_delta":
                yield event.text

    return stream


async def measure(stream: Stream, at_once: int, repeats: int, server: int) -> Measured:
    """Read some streams at once, a few times."""
    firsts: list[float] = []

    async def read() -> None:
        began = time.perf_counter()
        words = 0
        async for piece in stream():
            if not words:
                firsts.append(time.perf_counter() - began)
            words += piece.count("word")
        assert words == WORDS, f"{words} of {WORDS} words came"

    await read()
    firsts.clear()
    cpu, began = _cpu_s(server), time.perf_counter()
    for _ in range(repeats):
        await asyncio.gather(*(read() for _ in range(at_once)))
    wall = (time.perf_counter() - began) / repeats
    spent = (_cpu_s(server) - cpu) / (repeats * at_once * WORDS) * 1000
    return Measured(statistics.median(firsts), wall, spent)


async def bench(crowds: list[int], folder: Path) -> dict[str, dict[int, Measured]]:
    """Everything, in one run."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    found: dict[str, dict[int, Measured]] = {"raw": {}, "shared": {}}
    with speaking() as (url, server):
        client = openai.AsyncOpenAI(api_key="bench", base_url=url, max_retries=0)
        async with Rojak(str(folder)) as rojak:
            await rojak.create_worker([OpenAIAgentActivities(OpenAIAgentOptions(api_key="bench", base_url=url))])
            kinds: dict[str, Stream] = {"raw": raw(client), "shared": ours(rojak)}
            for at_once in crowds:
                for name, stream in kinds.items():
                    found[name][at_once] = await measure(stream, at_once, 20 if at_once == 1 else 1, server)
        await client.close()
    ray.shutdown()
    return found


def report(found: dict[str, dict[int, Measured]], console: Console) -> None:
    """The table for people."""
    table = Table("at once", "who", "first word ms", "later ms", "all s", "CPU s per 1,000 words", title="Streaming")
    for at_once, floor in found["raw"].items():
        for name, by_crowd in found.items():
            one = by_crowd[at_once]
            later = "" if name == "raw" else f"{(one.first_s - floor.first_s) * 1e3:+.1f}"
            cells = (f"{one.first_s * 1e3:.1f}", later, f"{one.wall_s:.2f}", f"{one.cpu_s_per_1000:.3f}")
            table.add_row(str(at_once), name, *cells)
    console.print(table)
    console.print(
        f"{WORDS} words, one every {GAP_S * 1e3:g} ms: {WORDS * GAP_S:.2f} s at best. Budget: one at a time, first "
        f"word at most 30 ms later. Python {platform.python_version()}, Ray {ray.__version__}."
    )


def figures(found: dict[str, dict[int, Measured]]) -> dict[str, dict[int, dict[str, object]]]:
    """For JSON."""
    return {name: {n: vars(one) for n, one in by.items()} for name, by in found.items()}


def main() -> None:
    """Measure and print."""
    parser = command.parser(__doc__)
    parser.add_argument("--crowds", type=int, nargs="+", default=[1, 50, 500])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(bench(options.crowds, Path(folder)))
    command.tell(found, options.json, report, figures)


if __name__ == "__main__":
    main()
