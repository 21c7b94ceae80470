"""Chunks of a streamed chat completion, put together as the completion they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rojak_ray.messages import join_halves
from rojak_ray.providers.history import as_text
from rojak_ray.providers.openai_state import CALL_FIELDS, StreamedState, grown
from rojak_ray.providers.wire import entries, mapping, text_of


@dataclass
class _Call:
    id: str = ""
    name: str = ""
    arguments: str = ""
    extra: dict[str, Any] = field(default_factory=dict[str, Any])


def _content_text(content: Any) -> str:
    """The text in a piece of content; Mistral's models send parts, of which some are thoughts."""
    return text_of(content) or "".join(text_of(part.get("text")) for part in entries(content))


class ChunkAssembly:
    """One completion in the making. `complete` once a finish reason came; the usage may come behind it."""

    asking: ClassVar[Mapping[str, Any]] = {"stream": True, "stream_options": {"include_usage": True}}

    def __init__(self) -> None:
        self._content: list[str] = []
        self._refusal: list[str] = []
        self._calls: dict[Any, _Call] = {}
        self._state = StreamedState()
        self._finish_reason: str | None = None
        self._usage: Any = None

    @property
    def complete(self) -> bool:
        """Whether a finish reason came."""
        return self._finish_reason is not None

    def add(self, piece: Any) -> str | None:
        """Take a chunk; the text it adds. A refusal is not told in pieces: only its end says whether it is one."""
        chunk = mapping(piece)
        self._usage = chunk.get("usage") or self._usage
        text = ""
        for choice in entries(chunk.get("choices")):
            if choice.get("index"):
                continue  # one answer was asked for
            self._finish_reason = text_of(choice.get("finish_reason")) or self._finish_reason
            delta = mapping(choice.get("delta"))
            self._state.add(delta)
            text += _content_text(delta.get("content"))
            self._refusal.append(text_of(delta.get("refusal")))
            for call in entries(delta.get("tool_calls")):
                self._add_call(call)
        self._content.append(text)
        return text

    def _add_call(self, piece: Mapping[str, Any]) -> None:
        place = piece.get("index")
        if place is None:  # some servers send each call whole, without a place
            place = len(self._calls) if piece.get("id") or not self._calls else len(self._calls) - 1
        call = self._calls.setdefault(place, _Call())
        function = mapping(piece.get("function"))
        arguments = function.get("arguments")
        for name in CALL_FIELDS:
            if piece.get(name):
                call.extra[name] = grown(call.extra.get(name), piece[name])
        call.id = text_of(piece.get("id")) or call.id
        call.name += text_of(function.get("name"))
        call.arguments += arguments if isinstance(arguments, str) else as_text(arguments) if arguments else ""

    def reply(self) -> dict[str, Any]:
        """The completion."""
        calls = [
            {
                "id": join_halves(call.id) or None,
                "type": "function",
                "function": {"name": join_halves(call.name) or None, "arguments": join_halves(call.arguments)},
                **call.extra,
            }
            for call in self._calls.values()
        ]
        message = {
            "role": "assistant",
            "content": join_halves("".join(self._content)),
            "refusal": join_halves("".join(self._refusal)) or None,
            "tool_calls": calls or None,
            **self._state.fields(),
        }
        choice = {"index": 0, "message": message, "finish_reason": self._finish_reason}
        return {"choices": [choice], "usage": self._usage}
