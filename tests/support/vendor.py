"""A model vendor on loopback that speaks OpenAI's and Anthropic's wire, answers from a script and remembers everything.

    async with Vendor([Text("hi"), Status(429, headers={"retry-after": "7"})]) as vendor:
        ... base_url=vendor.openai_url or vendor.anthropic_url ...
        vendor.requests[0].body["messages"]

`with Vendor(...)` (no async) serves from a thread of its own, for tests whose loop is busy or elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from aiohttp import web
from support.vendor_streams import anthropic_events, error_event, openai_events
from support.waiting import HANG_S

Wire = Literal["openai", "anthropic"]

"""Nothing in a test takes longer; waiting for it ends with an error."""

_PATHS: tuple[tuple[str, Wire], ...] = (
    ("/chat/completions", "openai"),  # Azure puts the deployment before it
    ("/v1/messages", "anthropic"),
    ("/invoke", "anthropic"),  # Bedrock
)


@dataclass
class Request:
    """What the vendor was asked."""

    wire: Wire
    path: str
    headers: Mapping[str, str]
    """With case-insensitive lookup."""

    body: Any
    connection: int
    """Which connection it came by; two requests of one number shared it."""

    dropped: threading.Event = field(default_factory=threading.Event)
    """Set when the client hung up before it had its answer."""


@dataclass
class Text:
    """Plain words."""

    text: str = "Hello."
    finish: str | None = None
    usage: Mapping[str, Any] | None = None
    delay: float = 0.0

    def body(self, wire: Wire, model: str) -> Any:
        if wire == "openai":
            message = {"role": "assistant", "content": self.text}
            return openai_body(message, self.finish or "stop", self.usage, model)
        return anthropic_body([{"type": "text", "text": self.text}], self.finish or "end_turn", self.usage, model)


@dataclass
class Calls:
    """Function calls, as (name, arguments); arguments may be any text on OpenAI's wire, malformed too."""

    calls: list[tuple[str, Any]]
    text: str | None = None
    ids: list[str | None] | None = None
    finish: str | None = None
    usage: Mapping[str, Any] | None = None
    delay: float = 0.0

    def body(self, wire: Wire, model: str) -> Any:
        ids = self.ids or [f"call_{name}_{index}" for index, (name, _) in enumerate(self.calls)]
        made = [(id_, name, arguments) for id_, (name, arguments) in zip(ids, self.calls, strict=True)]
        if wire == "openai":
            calls = [
                {"type": "function", "function": {"name": name, "arguments": _text(arguments)}}
                | ({"id": id_} if id_ else {})
                for id_, name, arguments in made
            ]
            message = {"role": "assistant", "content": self.text, "tool_calls": calls}
            return openai_body(message, self.finish or "tool_calls", self.usage, model)
        blocks: list[dict[str, Any]] = [{"type": "text", "text": self.text}] if self.text else []
        blocks += [
            {"type": "tool_use", "name": name, "input": arguments} | ({"id": id_} if id_ else {})
            for id_, name, arguments in made
        ]
        return anthropic_body(blocks, self.finish or "tool_use", self.usage, model)


@dataclass
class Status:
    """An error status, in the vendor's form unless `payload` says otherwise."""

    status: int
    message: str = "scripted error"
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    payload: Any = None
    delay: float = 0.0

    def body(self, wire: Wire, model: str) -> Any:
        if self.payload is not None:
            return self.payload
        if wire == "openai":
            return {"error": {"message": self.message, "type": "scripted", "param": None, "code": self.code}}
        return {"type": "error", "error": {"type": self.code or "scripted", "message": self.message}}


@dataclass
class Raw:
    """Any bytes at all with status 200, e.g. a wrong shape, plain text or JSON cut short."""

    payload: bytes | str | dict[str, Any] | list[Any]
    content_type: str = "application/json"
    delay: float = 0.0


@dataclass
class Drop:
    """Hang up: before the answer, or after `after` bytes of one that promised more."""

    after: int | None = None


@dataclass
class Drip:
    """Never done: a byte now and then, so that no single read takes long."""

    every: float = 0.02


@dataclass
class Hold:
    """Keep the client waiting until `vendor.release()`, then give the answer."""

    then: Text | Calls | Status | Raw = field(default_factory=Text)


@dataclass
class Stream:
    """An answer whose stream misbehaves (an answer that is asked for as a stream behaves by itself).

    After `after` events the stream is `cut` (ends as if it were whole), `dropped` (hung up), `stalled` (silent until
    the vendor is released), or has an `error` event of the kind `error`; without `after` it only keeps its pace.
    """

    then: Text | Calls = field(default_factory=Text)
    after: int | None = None
    ending: Literal["cut", "dropped", "stalled", "error"] = "cut"
    error: str = "overloaded_error"
    every: float = 0.0
    """Seconds between two events."""


Reply = Text | Calls | Status | Raw | Drop | Drip | Hold | Stream
Script = Iterable[Reply] | Callable[[Request], Reply]


class Vendor:
    """The server. A script that has run out answers 400, which no client tries again."""

    def __init__(self, script: Script = ()) -> None:
        self.requests: list[Request] = []
        self._answer = script if callable(script) else None
        self._queue: deque[Reply] = deque() if callable(script) else deque(script)
        self._arrived = threading.Condition()
        self._connections: dict[Any, int] = {}
        self._thread: threading.Thread | None = None

    def enqueue(self, *replies: Reply) -> None:
        """Add to the script."""
        self._queue.extend(replies)

    def release(self) -> None:
        """Let go of every client held now or later."""
        self._loop.call_soon_threadsafe(self._released.set)

    def wait_for_requests(self, count: int) -> list[Request]:
        """Block until this many requests have arrived (from a thread other than the server's)."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.requests) >= count, HANG_S):
                raise TimeoutError(f"{len(self.requests)} of {count} requests arrived")
        return self.requests

    async def arrived(self, count: int = 1) -> list[Request]:
        """Wait until this many requests have arrived."""
        return await asyncio.to_thread(self.wait_for_requests, count)

    async def dropped(self, request: Request) -> bool:
        """Wait for the client of this request to hang up; whether it did."""
        return await asyncio.to_thread(request.dropped.wait, HANG_S)

    @property
    def connections(self) -> int:
        """How many connections were ever opened."""
        return len(self._connections)

    @property
    def open_connections(self) -> int:
        """How many of them are still open."""
        return sum(not transport.is_closing() for transport in self._connections)

    async def closed_down_to(self, count: int) -> None:
        """Wait until no more than this many connections are open (on the server's loop)."""
        async with asyncio.timeout(HANG_S):
            while self.open_connections > count:
                await asyncio.sleep(0.005)

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        return self.url

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._released = asyncio.Event()
        app = web.Application(client_max_size=2**28)
        app.router.add_route("*", "/{path:.*}", self._serve)
        # A client that hangs up cancels its handler: that is how we learn of it.
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, backlog=4096)
        await site.start()
        port: int = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._released.set()
        await self._runner.cleanup()

    def __enter__(self) -> Self:
        ready, self._stop = threading.Event(), threading.Event()

        async def serve() -> None:
            async with self:
                ready.set()
                await asyncio.to_thread(self._stop.wait)

        self._thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
        self._thread.start()
        if not ready.wait(HANG_S):
            raise TimeoutError("the vendor did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join(HANG_S)

    async def _serve(self, http: web.Request) -> web.StreamResponse:
        wire = next((wire for ending, wire in _PATHS if http.path.endswith(ending)), None)
        if wire is None or http.method != "POST":
            return web.json_response({"error": {"message": f"no such path: {http.path}"}}, status=404)
        body = await http.json()
        connection = self._connections.setdefault(http.transport, len(self._connections))
        request = Request(wire, http.path, http.headers, body, connection)
        reply = self._next(request)
        try:
            self._record(request)
            if isinstance(reply, Hold):
                await self._released.wait()
                reply = reply.then
            await asyncio.sleep(getattr(reply, "delay", 0.0))
            return await self._respond(http, request, reply)
        except (asyncio.CancelledError, ConnectionError):
            request.dropped.set()
            raise

    def _next(self, request: Request) -> Reply:
        if self._answer is not None:
            return self._answer(request)
        return self._queue.popleft() if self._queue else Status(400, "the script has run out")

    def _record(self, request: Request) -> None:
        with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()

    async def _respond(self, http: web.Request, request: Request, reply: Reply) -> web.StreamResponse:
        match reply:
            case Drop():
                return await _hang_up(http, reply.after)
            case Drip():
                return await _drip(http, reply.every)
            case Raw():
                payload = reply.payload if isinstance(reply.payload, bytes | str) else json.dumps(reply.payload)
                payload = payload.encode() if isinstance(payload, str) else payload
                return web.Response(body=payload, content_type=reply.content_type)
            case Status():
                answer = reply.body(request.wire, "")
                if isinstance(answer, str):
                    return web.Response(text=answer, status=reply.status, headers=reply.headers)
                return web.json_response(answer, status=reply.status, headers=reply.headers)
            case Text() | Calls():
                if request.body.get("stream"):
                    return await self._stream(http, request, Stream(reply))
                return web.json_response(reply.body(request.wire, request.body.get("model", "")))
            case Stream():
                return await self._stream(http, request, reply)
            case Hold():
                raise TypeError("a Hold cannot hold a Hold")

    async def _stream(self, http: web.Request, request: Request, reply: Stream) -> web.StreamResponse:
        if not request.body.get("stream"):
            raise TypeError("the client did not ask for a stream")
        body = reply.then.body(request.wire, request.body.get("model", ""))
        events = openai_events(body) if request.wire == "openai" else anthropic_events(body)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(http)
        for event in events[: reply.after]:
            await response.write(event)
            await asyncio.sleep(reply.every)
        if reply.after is None:
            return response
        if reply.ending == "stalled":
            await self._released.wait()
            for event in events[reply.after :]:
                await response.write(event)
        elif reply.ending == "dropped":
            assert http.transport is not None
            http.transport.abort()
        elif reply.ending == "error":
            await response.write(error_event(request.wire, reply.error, f"broken off for {request.headers}"))
        return response


def openai_body(message: dict[str, Any], finish: str | None, usage: Mapping[str, Any] | None, model: str) -> Any:
    """A chat completion."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": usage or {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }


def anthropic_body(blocks: list[Any], stop: str | None, usage: Mapping[str, Any] | None, model: str) -> Any:
    """A message."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": blocks,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": usage or {"input_tokens": 5, "output_tokens": 2},
    }


async def _hang_up(http: web.Request, after: int | None) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-length": "100000", "content-type": "application/json"})
    if after is not None:
        await response.prepare(http)
        await response.write(b"{" + b" " * (after - 1))
    assert http.transport is not None
    http.transport.close()
    return response


async def _drip(http: web.Request, every: float) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "application/json"})
    await response.prepare(http)
    while True:
        await response.write(b" ")
        await asyncio.sleep(every)


def _text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)
