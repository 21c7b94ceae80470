"""Answers that come in pieces: how they are asked for, received, and when it is better to ask for the whole instead."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar, Protocol

from rojak_ray.agents.activities import OnDelta
from rojak_ray.errors import ModelRejected, ModelUnavailable
from rojak_ray.providers.sse import EventReader, StreamEvent
from rojak_ray.providers.wire import VendorRequest, mapping

_JSON_EVENTS = "text/event-stream"
_ABOUT_FIELDS = frozenset({400, 403, 404, 405, 406, 415, 422, 500, 501})
"""Statuses with which servers refuse a field that they do not know or have; llama.cpp says 500."""

_UNREADABLE_FIELD = 422
_STREAMING = re.compile(r"\bstream(ing|ed)?\b")


class Assembly(Protocol):
    """Puts one answer together from the events of a stream."""

    asking: ClassVar[Mapping[str, Any]]
    """What a request for a streamed answer has in its body."""

    @property
    def complete(self) -> bool:
        """Whether the server said that nothing is missing."""
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
        self.is_whole = False
        """Whether the server answered without streaming: there is nothing to ask for instead."""

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
    if error.status not in _ABOUT_FIELDS:
        return None
    words = error.message.lower()
    if "stream_options" in sent and ("stream_options" in words or "include_usage" in words):
        return "stream_options"
    if _STREAMING.search(words):
        return "stream"
    if "stream_options" in sent and error.status == _UNREADABLE_FIELD:
        return "stream_options"  # servers that check a body against a schema do not all say what was wrong with it
    return None


async def receive(stream: Any, telling: Telling, assembly: Assembly) -> None:
    """Take the events of a stream up to its end.

    Args:
        stream: The SDK's. Its bytes are read here, because SDKs keep back how a stream ended and which events have no
            name; a framing that is the vendor's own (Bedrock's) is the SDK's business.
        telling: Told of each piece of text.
        assembly: Takes the pieces.

    Raises:
        ErrorEvent: The vendor broke it off.
        ValueError: An event is not JSON.
    """
    if not stream.response.headers.get("content-type", "").startswith(_JSON_EVENTS):
        async for piece in stream:
            telling.tell(assembly.add(_checked(piece)))
        return
    async for event in _events(stream.response.aiter_bytes()):
        if event.is_end:
            assembly.end()
            continue
        if event.name == "error":
            raise ErrorEvent(_error_of(event))
        for piece in event.pieces() if event.data.strip() else ():
            telling.tell(assembly.add(_checked(piece)))


async def _events(chunks: AsyncIterator[bytes]) -> AsyncIterator[StreamEvent]:
    reader = EventReader()
    async for chunk in chunks:
        for event in reader.feed(chunk):
            yield event
    for event in reader.finish():
        yield event


def _checked(piece: Any) -> Any:
    """The piece, unless it is an error in the place of an answer."""
    error = mapping(piece).get("error")
    if error:
        raise ErrorEvent(error)
    return piece


def _error_of(event: StreamEvent) -> Any:
    try:
        body: Any = event.pieces()[0]
    except (ValueError, IndexError):
        return event.data
    return mapping(body).get("error") or body
