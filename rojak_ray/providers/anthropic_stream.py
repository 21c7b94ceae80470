"""Events of a streamed message, put together as the message they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rojak_ray.messages import join_halves
from rojak_ray.providers.anthropic_state import add_piece
from rojak_ray.providers.wire import mapping, text_of


class MessageAssembly:
    """One message in the making. `complete` once its stop event came."""

    asking: ClassVar[Mapping[str, Any]] = {"stream": True}

    def __init__(self) -> None:
        self.complete = False
        self._blocks: dict[Any, dict[str, Any]] = {}
        self._inputs: dict[Any, list[str]] = {}
        self._stop_reason: str | None = None
        self._usage: dict[str, Any] = {}

    def add(self, piece: Any) -> str | None:
        """Take an event; the text it adds."""
        event = mapping(piece)
        match event.get("type"):
            case "message_start":
                self._count(mapping(event.get("message")).get("usage"))
            case "content_block_start":
                block = dict(mapping(event.get("content_block")))
                self._blocks[event.get("index")] = block
                return text_of(block.get("text")) if block.get("type") == "text" else None
            case "content_block_delta":
                return self._add_delta(event.get("index"), mapping(event.get("delta")))
            case "message_delta":
                self._stop_reason = text_of(mapping(event.get("delta")).get("stop_reason")) or self._stop_reason
                self._count(event.get("usage"))
            case "message_stop":
                self.complete = True
            case _:
                pass
        return None

    def _add_delta(self, index: Any, delta: Mapping[str, Any]) -> str | None:
        block = self._blocks.setdefault(index, {"type": "text", "text": ""})
        if delta.get("type") == "text_delta":
            text = text_of(delta.get("text"))
            block["text"] = text_of(block.get("text")) + text
            return text if block.get("type") == "text" else None
        add_piece(block, delta)
        if delta.get("type") == "input_json_delta":
            self._inputs.setdefault(index, []).append(text_of(delta.get("partial_json")))
        return None

    def _count(self, usage: Any) -> None:
        """Later events repeat what changed; a count that is missing or null stays as it was."""
        self._usage |= {name: value for name, value in mapping(usage).items() if value is not None}

    def reply(self) -> dict[str, Any]:
        """The message."""
        content: list[dict[str, Any]] = []
        for index, block in self._blocks.items():
            whole = dict(block)
            if whole.get("type") == "text":
                whole["text"] = join_halves(text_of(whole.get("text")))
            if index in self._inputs:
                whole["input"] = join_halves("".join(self._inputs[index]))
            content.append(whole)
        return {"content": content, "stop_reason": self._stop_reason, "usage": self._usage}
