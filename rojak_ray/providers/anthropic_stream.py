"""Events of a streamed message, put together as the message they stand for.

Nothing is read here: what cannot be joined is handed on as it came, and refused where whole messages are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rojak_ray.agents.finish import is_closed
from rojak_ray.messages import join_halves
from rojak_ray.providers.anthropic_state import add_piece
from rojak_ray.providers.wire import GrowingText, call_arguments, highest, is_nothing, mapping, word_of


@dataclass
class _Block:
    index: Any
    began: Any
    """As its first event has it."""

    text: GrowingText = field(default_factory=GrowingText)
    input: list[str] = field(default_factory=list[str])
    given: Any = None
    """An input that came whole in the place of a piece."""

    @property
    def is_text(self) -> bool:
        return mapping(self.began).get("type") == "text"

    @property
    def is_closed(self) -> bool:
        """Whether the input of a tool use came, and to its end. The empty one of the first event only holds a place."""
        block = mapping(self.whole())
        return block.get("type") != "tool_use" or is_closed(call_arguments(block.get("input")))

    def add_input(self, piece: Any) -> None:
        """Take a piece of the input."""
        if isinstance(piece, str):
            self.input.append(piece)
        elif not is_nothing(piece):
            self.given = piece

    def whole(self) -> Any:
        if not isinstance(self.began, Mapping):
            return self.began
        block = dict(mapping(self.began))
        if self.is_text:
            block["text"] = self.text.whole()
        told = join_halves("".join(self.input))
        if self.given is not None:
            block["input"] = self.given
        elif told.strip():  # else some servers give the whole input with the first event
            block["input"] = told
        return block


class MessageAssembly:
    """One message in the making."""

    asking: ClassVar[Mapping[str, Any]] = {"stream": True}

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._begun: Mapping[str, Any] = {}
        """What the first event has: where no block follows, a server may have begun with the whole message."""

        self._stop_reason: str | None = None
        self._usage: dict[str, Any] = {}
        self._container: Any = None
        self._stopped = False
        self._ended = False

    @property
    def complete(self) -> bool:
        """Whether the server said that nothing is missing: by a stop reason, its stop event, or the stream's end.

        An end without a reason does not say so of a tool use whose input did not come.
        """
        if self._stop_reason is not None or not (self._stopped or (self._ended and self._blocks)):
            return self._stop_reason is not None
        return all(block.is_closed for block in self._blocks)

    @property
    def ended(self) -> bool:
        """Whether the server's last event came."""
        return self._stopped or self._ended

    def end(self) -> None:
        """The server's last event came, as those send it that speak OpenAI's protocol as well."""
        self._ended = True

    def add(self, piece: Any) -> str | None:
        """Take an event; the text it adds."""
        event = mapping(piece)
        match event.get("type"):
            case "message_start":
                message = mapping(event.get("message"))
                self._begun = message or self._begun
                self._container = message.get("container") or self._container
                if message.get("content"):
                    self._stop_reason = word_of(message.get("stop_reason")) or self._stop_reason
                self._count(message.get("usage"))
            case "content_block_start":
                return self._begin(event.get("index"), event.get("content_block"))
            case "content_block_delta":
                return self._add_delta(event.get("index"), mapping(event.get("delta")))
            case "message_delta":
                delta = mapping(event.get("delta"))
                self._stop_reason = word_of(delta.get("stop_reason")) or self._stop_reason
                self._container = delta.get("container") or self._container
                self._count(event.get("usage"))
            case "message_stop":
                self._stopped = True
            case _:
                pass
        return None

    def _begin(self, index: Any, given: Any) -> str | None:
        began: Any = dict(mapping(given)) if isinstance(given, Mapping) else given
        block = _Block(index, began)
        self._blocks.append(block)
        return block.text.add(mapping(began).get("text")) if block.is_text else None

    def _add_delta(self, index: Any, delta: Mapping[str, Any]) -> str | None:
        block = self._block(index)
        if delta.get("type") == "text_delta":
            text = block.text.add(delta.get("text"))
            return text if block.is_text else None
        if isinstance(block.began, dict):
            add_piece(block.began, delta)
        if delta.get("type") == "input_json_delta":
            block.add_input(delta.get("partial_json"))
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
        content: Any = [block.whole() for block in self._blocks]
        reason = self._stop_reason
        if not content:
            content, reason = self._begun.get("content") or [], reason or self._begun.get("stop_reason")
        message = {"content": content, "stop_reason": reason, "usage": self._usage}
        return {**message, "container": self._container} if self._container else message
