"""A model without latency: an HTTP server on loopback that speaks OpenAI's chat wire and does as little as possible.

Asks for the function on a user's message and answers in text on a function's result. Its own process, so that it does
not share an event loop with what is measured: `python -m benchmarks.model_server [delay_s]` prints its port.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_USAGE = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}


def _reply(message: dict[str, object], finish: str) -> bytes:
    choice = {"index": 0, "finish_reason": finish, "message": message}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "bench", "choices": [choice]}
    content = json.dumps({**body, "usage": _USAGE}).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


_CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}
CALL = _reply({"role": "assistant", "content": None, "tool_calls": [_CALL]}, "tool_calls")
TEXT = _reply({"role": "assistant", "content": "The sum is 3."}, "stop")


class ModelServer(asyncio.Protocol):
    """One connection."""

    def __init__(self, delay_s: float) -> None:
        """Answer each request after `delay_s`."""
        self._delay_s = delay_s
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
            start = head.find(b"content-length:") + len(b"content-length:")
            length = int(head[start:].split(b"\r\n", 1)[0])
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            answer = TEXT if _last(body, b"tool") > _last(body, b"user") else CALL
            if self._delay_s:
                asyncio.get_running_loop().call_later(self._delay_s, self._transport.write, answer)
            else:
                self._transport.write(answer)


def _last(body: bytes, role: bytes) -> int:
    return max(body.rfind(b'"role":"' + role + b'"'), body.rfind(b'"role": "' + role + b'"'))


async def serve(delay_s: float) -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(lambda: ModelServer(delay_s), "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def running(delay_s: float = 0.0) -> Iterator[str]:
    """The base URL of a server in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.model_server", str(delay_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.terminate()
        process.wait(10)


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]) if len(sys.argv) > 1 else 0.0))
