"""Events of a streamed message, put together as the message they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rojak_ray.messages import join_halves
from rojak_ray.providers.anthropic_state import add_piece
from rojak_ray.providers.wire import highest, mapping, text_of


@dataclass
class _Block:
    index: Any
    began: dict[str, Any]
    """As its first event has it; the text grows with the deltas."""

    input: list[str] = field(default_factory=list[str])

    def whole(self) -> dict[str, Any]:
        block = dict(self.began)
        if block.get("type") == "text":
            block["text"] = join_halves(text_of(block.get("text")))
        told = join_halves("".join(self.input))
        if told.strip():  # else some servers give the whole input with the first event
            block["input"] = told
        return block


class MessageAssembly:
    """One message in the making."""

    asking: ClassVar[Mapping[str, Any]] = {"stream": True}

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._stop_reason: str | None = None
        self._usage: dict[str, Any] = {}
        self._container: Any = None
        self._stopped = False
        self._ended = False

    @property
    def complete(self) -> bool:
        """Whether the server said that nothing is missing: by a stop reason, its stop event, or the stream's end."""
        return self._stopped or self._stop_reason is not None or (self._ended and bool(self._blocks))

    def end(self) -> None:
        """The server's last event came, as those send it that speak OpenAI's protocol as well."""
        self._ended = True

    def add(self, piece: Any) -> str | None:
        """Take an event; the text it adds."""
        event = mapping(piece)
        match event.get("type"):
            case "message_start":
                self._count(mapping(event.get("message")).get("usage"))
                self._container = mapping(event.get("message")).get("container") or self._container
            case "content_block_start":
                block = dict(mapping(event.get("content_block")))
                self._blocks.append(_Block(event.get("index"), block))
                return text_of(block.get("text")) if block.get("type") == "text" else None
            case "content_block_delta":
                return self._add_delta(event.get("index"), mapping(event.get("delta")))
            case "message_delta":
                self._stop_reason = text_of(mapping(event.get("delta")).get("stop_reason")) or self._stop_reason
                self._container = mapping(event.get("delta")).get("container") or self._container
                self._count(event.get("usage"))
            case "message_stop":
                self._stopped = True
            case _:
                pass
        return None

    def _add_delta(self, index: Any, delta: Mapping[str, Any]) -> str | None:
        block = self._block(index)
        if delta.get("type") == "text_delta":
            text = text_of(delta.get("text"))
            block.began["text"] = text_of(block.began.get("text")) + text
            return text if block.began.get("type") == "text" else None
        add_piece(block.began, delta)
        if delta.get("type") == "input_json_delta":
            block.input.append(text_of(delta.get("partial_json")))
        return None

    def _block(self, index: Any) -> _Block:
        """The latest block of an index, or the latest of all where there is none; a text where none began."""
        latest = self._blocks[::-1]
        found = next((block for block in latest if block.index == index), None)
        if found is None and index is None and latest:
            found = latest[0]
        if found is None:
            found = _Block(index, {"type": "text", "text": ""})
            self._blocks.append(found)
        return found

    def _count(self, usage: Any) -> None:
        """Later events repeat what changed, and some say zero or nothing of what was counted before."""
        self._usage = highest(self._usage, mapping(usage))

    def reply(self) -> dict[str, Any]:
        """The message."""
        content = [block.whole() for block in self._blocks]
        message = {"content": content, "stop_reason": self._stop_reason, "usage": self._usage}
        return {**message, "container": self._container} if self._container else message
