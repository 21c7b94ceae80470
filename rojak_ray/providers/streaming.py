"""Answers that come in pieces: how they are asked for, received, and when it is better to ask for the whole instead."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, ClassVar, Protocol

from rojak_ray.agents.activities import OnDelta
from rojak_ray.errors import ModelRejected, ModelUnavailable
from rojak_ray.providers.sse import BYTE_ORDER_MARK, EventReader, StreamEvent
from rojak_ray.providers.wire import VendorRequest, error_in, mapping

_OF_THE_SDK = "application/vnd.amazon.eventstream"
"""A framing that is the vendor's own (Bedrock's) is the SDK's business."""

_OPENS_JSON = (b"{", b"[")
_LINGER_S = 10.0
"""How long a stream that has its answer may go on: counts of tokens, or a filter's notes, may follow."""

_LAST_S = 1.0
"""How long we wait for the server to close a stream after its last event, so that the connection can be used again."""

_ABOUT_FIELDS = frozenset({400, 403, 404, 405, 406, 415, 422, 500, 501})
"""Statuses with which servers refuse a field that they do not know or have; llama.cpp says 500."""

_UNREADABLE_FIELD = 422
_EVENT = re.compile(r"\ufeff?\s*(?:data|event|id|retry)?:")
_STREAMING = re.compile(r"\bstream(ing|ed)?\b")


class Assembly(Protocol):
    """Puts one answer together from the events of a stream."""

    asking: ClassVar[Mapping[str, Any]]
    """What a request for a streamed answer has in its body."""

    @property
    def complete(self) -> bool:
        """Whether the server said that nothing is missing."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the server's last event came."""
        ...

    def add(self, piece: Any) -> str | None:
        """Take an event; the text it adds to the answer, if any."""
        ...

    def end(self) -> None:
        """The server said that no other event comes."""
        ...

    def reply(self) -> Any:
        """What the vendor would have answered without streaming."""
        ...


class Telling:
    """Passes the pieces of an answer's text on, and knows whether there were any."""

    def __init__(self, on_delta: OnDelta) -> None:
        self._on_delta = on_delta
        self.has_told = False
        self.is_open = False
        """Whether the server was asked and has neither ended its answer nor said why it gives none: it fell silent, or
        the connection was lost."""

    def tell(self, text: str | None) -> None:
        """Pass a piece on."""
        if text:
            self.has_told = True
            self._on_delta(text)


class ErrorEvent(Exception):
    """The vendor broke its answer off and says why. `body` is what it says."""

    def __init__(self, body: Any) -> None:
        super().__init__("an error event")
        self.body = body


def streaming_body(request: VendorRequest, asking: Mapping[str, Any], left_out: frozenset[str]) -> dict[str, Any]:
    """The body that asks for a streamed answer, without what the user or the server does not want in it."""
    wanted = {**asking, **request.streaming}
    kept = {name: value for name, value in wanted.items() if value is not None and name not in left_out}
    return {**kept, **request.body}


def refused_field(error: ModelRejected | ModelUnavailable, sent: Mapping[str, Any]) -> str | None:
    """Which of the fields that ask for a stream a server refused: "stream_options", "stream", or None of them."""
    if error.status is not None and error.status not in _ABOUT_FIELDS:
        return None  # without one, it is an error in the place of the answer, which need not name its status
    words = error.message.lower()
    about_options = "stream_options" in words or "include_usage" in words
    if about_options and "stream_options" in sent:
        return "stream_options"
    if about_options or _STREAMING.search(words):
        return "stream"
    if "stream_options" in sent and error.status == _UNREADABLE_FIELD:
        return "stream_options"  # servers that check a body against a schema do not all say what was wrong with it
    return None


def wants_stream(error: Exception) -> bool:
    """Whether a server refuses a question for not being asked as a stream, as some do for single models."""
    about = isinstance(error, ModelRejected | ModelUnavailable) and error.status in _ABOUT_FIELDS
    return about and bool(_STREAMING.search(str(error).lower()))


def text_of_body(body: bytes) -> str:
    """The text of an answer. JSON says by its first bytes how it is encoded, whatever the headers say."""
    return body.decode(json.detect_encoding(body), "replace")


def is_stream(text: str) -> bool:
    """Whether an answer is one of events, whatever its headers say."""
    return bool(_EVENT.match(text))


def take(body: bytes, assembly: Assembly) -> None:
    """Take the events of a stream that came at once; raises what `receive` raises."""
    reader = EventReader()
    for event in (*reader.feed(body), *reader.finish()):
        _take(event, assembly, lambda _: None)


async def receive(stream: Any, telling: Telling, assembly: Assembly) -> str | None:
    """Take the events of a stream up to its end.

    What is JSON from its first character on is no stream, and what begins otherwise is none of JSON: servers say the
    wrong type. A stream that has its answer is not waited for long.

    Args:
        stream: The SDK's. Its bytes are read here, because SDKs keep back how a stream ended and which events have no
            name.
        telling: Told of each piece of text.
        assembly: Takes the pieces.

    Returns:
        The body, where the server answered with a whole one; None behind events.

    Raises:
        ErrorEvent: The vendor broke it off.
        ValueError: An event is not JSON.
    """
    if stream.response.headers.get("content-type", "").startswith(_OF_THE_SDK):
        async for piece in stream:
            telling.tell(assembly.add(_checked(piece)))
        return None
    chunks = _in_time(stream.response.aiter_bytes(), assembly)
    begun = b""
    async for chunk in chunks:
        begun += chunk
        if begun.removeprefix(BYTE_ORDER_MARK).strip():
            break
    if begun.removeprefix(BYTE_ORDER_MARK).lstrip().startswith(_OPENS_JSON):
        return text_of_body(b"".join([begun, *[chunk async for chunk in chunks]]))
    reader = EventReader()
    for event in reader.feed(begun):
        _take(event, assembly, telling.tell)
    async for chunk in chunks:
        for event in reader.feed(chunk):
            _take(event, assembly, telling.tell)
    for event in reader.finish():
        _take(event, assembly, telling.tell)
    return None


async def _in_time(chunks: AsyncIterator[bytes], assembly: Assembly) -> AsyncIterator[bytes]:
    """The bytes of a stream; once it has its answer, only those that come soon."""
    loop = asyncio.get_running_loop()
    until: float | None = None
    has_ended = False
    while True:
        if assembly.ended and not has_ended:
            has_ended, until = True, loop.time() + _LAST_S
        elif assembly.complete and until is None:
            until = loop.time() + _LINGER_S
        try:
            if until is None:
                chunk = await anext(chunks)
            else:
                async with asyncio.timeout_at(until):
                    chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError:
            if until is None:
                raise
            return
        yield chunk


def _take(event: StreamEvent, assembly: Assembly, tell: Callable[[str | None], None]) -> None:
    if event.is_end:
        assembly.end()
        return
    if event.name == "error":
        raise ErrorEvent(_error_of(event))
    for piece in event.pieces() if not event.is_idle else ():
        tell(assembly.add(_checked(piece)))


def _checked(piece: Any) -> Any:
    """The piece, unless it is an error in the place of an answer."""
    if error := error_in(piece):
        raise ErrorEvent(error)
    return piece


def _error_of(event: StreamEvent) -> Any:
    try:
        body: Any = event.pieces()[0]
    except (ValueError, IndexError):
        return event.data
    return mapping(body).get("error") or body
