"""A model without latency: an HTTP server on loopback that speaks OpenAI's chat wire and does as little as possible.

Asks for the function on a user's message and answers in text on a function's result. Its own process, so that it does
not share an event loop with what is measured: `python -m benchmarks.model_server [delay_s]` prints its port.

`GET /stats` tells what was asked; with `--hold-s` the first answer in text comes late, so that its asker can be killed
while it waits; with `--trace` the arrival of every first question is kept, with the words of the user.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_USAGE = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}


def _http(content: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


def _reply(message: dict[str, object], finish: str) -> bytes:
    choice = {"index": 0, "finish_reason": finish, "message": message}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "bench", "choices": [choice]}
    return _http(json.dumps({**body, "usage": _USAGE}).encode())


_CALL_ID = "call_00000000"
_CALL = {"id": _CALL_ID, "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}
CALL = _reply({"role": "assistant", "content": None, "tool_calls": [_CALL]}, "tool_calls")
TEXT = _reply({"role": "assistant", "content": "The sum is 3."}, "stop")


class Asked:
    """What the server was asked so far."""

    def __init__(self, delay_s: float, hold_s: float, trace: bool) -> None:
        """Answer after `delay_s`, the first text after `hold_s` if that is set."""
        self._delay_s = delay_s
        self._hold_s = hold_s
        self._trace = trace
        self.calls = 0
        self.texts = 0
        self.arrivals: list[tuple[float, str]] = []

    def answer(self, body: bytes) -> tuple[bytes, float]:
        """The answer to a request, and the seconds until it."""
        if _last(body, b"tool") > _last(body, b"user"):
            self.texts += 1
            return TEXT, self._hold_s if self._hold_s and self.texts == 1 else self._delay_s
        self.calls += 1
        if self._trace:
            users = [each for each in json.loads(body)["messages"] if each["role"] == "user"]
            self.arrivals.append((time.time(), str(users[-1]["content"])))
        return CALL.replace(_CALL_ID.encode(), b"call_%08d" % self.calls), self._delay_s

    def stats(self) -> bytes:
        """For `GET /stats`."""
        return _http(json.dumps({"calls": self.calls, "texts": self.texts, "arrivals": self.arrivals}).encode())


class ModelServer(asyncio.Protocol):
    """One connection."""

    def __init__(self, asked: Asked) -> None:
        """Count what arrives in `asked`."""
        self._asked = asked
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            if head.startswith(b"get "):
                self._buffer = self._buffer[end + 4 :]
                self._transport.write(self._asked.stats())
                continue
            start = head.find(b"content-length:") + len(b"content-length:")
            length = int(head[start:].split(b"\r\n", 1)[0])
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            answer, delay_s = self._asked.answer(body)
            if delay_s:
                asyncio.get_running_loop().call_later(delay_s, self._transport.write, answer)
            else:
                self._transport.write(answer)


def _last(body: bytes, role: bytes) -> int:
    return max(body.rfind(b'"role":"' + role + b'"'), body.rfind(b'"role": "' + role + b'"'))


async def serve(asked: Asked) -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(lambda: ModelServer(asked), "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def running(delay_s: float = 0.0, *options: str) -> Iterator[str]:
    """The base URL of a server in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.model_server", str(delay_s), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.terminate()
        process.wait(10)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("delay_s", type=float, nargs="?", default=0.0)
    parser.add_argument("--hold-s", type=float, default=0.0)
    parser.add_argument("--trace", action="store_true")
    options = parser.parse_args()
    asyncio.run(serve(Asked(options.delay_s, options.hold_s, options.trace)))


if __name__ == "__main__":
    main()
