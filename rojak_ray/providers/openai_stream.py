"""Chunks of a streamed chat completion, put together as the completion they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rojak_ray.messages import join_halves
from rojak_ray.providers.openai_calls import CallPieces
from rojak_ray.providers.openai_state import StreamedState
from rojak_ray.providers.wire import entries, highest, join_parts, mapping, text_of, word_of


class ChunkAssembly:
    """One completion in the making."""

    asking: ClassVar[Mapping[str, Any]] = {"stream": True, "stream_options": {"include_usage": True}}

    def __init__(self) -> None:
        self._content: list[str] = []
        self._refusal: list[str] = []
        self._calls = CallPieces()
        self._older_call = CallPieces()
        """A `function_call`, which some servers send beside the same call in `tool_calls`: those count."""

        self._state = StreamedState()
        self._finish_reason: str | None = None
        self._error: Any = None
        self._usage: dict[str, Any] = {}
        self._answers = False
        self._ended = False

    @property
    def complete(self) -> bool:
        """Whether the server said that nothing is missing: by a finish reason, or by its last event."""
        return self._finish_reason is not None or (self._ended and self._answers)

    def end(self) -> None:
        """The server's last event came."""
        self._ended = True

    def add(self, piece: Any) -> str | None:
        """Take a chunk; the text it adds. A refusal is not told in pieces: only its end says whether it is one."""
        chunk = mapping(piece)
        self._count(chunk.get("usage"))
        text = "".join(self._add_choice(choice) for choice in entries(chunk.get("choices")) if not choice.get("index"))
        self._content.append(text)
        return text

    def _add_choice(self, choice: Mapping[str, Any]) -> str:
        """Take the one answer that was asked for; where servers end with the whole message, it tells nothing new."""
        self._answers = True
        self._finish_reason = word_of(choice.get("finish_reason")) or self._finish_reason
        self._error = choice.get("error") or self._error
        self._count(choice.get("usage"))
        delta = mapping(choice.get("delta")) or self._not_told(mapping(choice.get("message")))
        self._state.add(delta)
        self._refusal.append(text_of(delta.get("refusal")))
        for call in entries(delta.get("tool_calls")):
            self._calls.add(call)
        if function := mapping(delta.get("function_call")):
            self._older_call.add({"index": 0, "function": function})
        return text_of(join_parts(delta.get("content")))

    def _not_told(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        told = bool("".join(self._content)) or bool(self._calls.calls()) or bool(self._older_call.calls())
        return {} if told else message

    def _count(self, usage: Any) -> None:
        self._usage = highest(self._usage, mapping(usage))

    def reply(self) -> dict[str, Any]:
        """The completion."""
        message = {
            "role": "assistant",
            "content": join_halves("".join(self._content)),
            "refusal": join_halves("".join(self._refusal)) or None,
            "tool_calls": self._calls.calls() or self._older_call.calls() or None,
            **self._state.fields(),
        }
        choice = {"index": 0, "message": message, "finish_reason": self._finish_reason, "error": self._error}
        return {"choices": [choice], "usage": self._usage}
