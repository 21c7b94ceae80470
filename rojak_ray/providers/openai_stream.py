"""Chunks of a streamed chat completion, put together as the completion they stand for.

Nothing is read here: what cannot be joined is handed on as it came, and refused where whole answers are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from rojak_ray.providers.openai_calls import CallPieces
from rojak_ray.providers.openai_fields import call_list, is_first, older_call, part_text, parts_of, side_text
from rojak_ray.providers.openai_state import StreamedState
from rojak_ray.providers.wire import GrowingText, entries, highest, is_nothing, mapping, word_of


class ChunkAssembly:
    """One completion in the making."""

    asking: ClassVar[Mapping[str, Any]] = {"stream": True, "stream_options": {"include_usage": True}}

    def __init__(self) -> None:
        self._content = GrowingText()
        self._refusal: list[str] = []
        self._calls = CallPieces()
        self._older_call = CallPieces()
        """A `function_call`, which some servers send beside the same call in `tool_calls`: those count."""

        self._odd: dict[str, Any] = {}
        """Fields of the message that cannot be joined, as they came."""

        self._odd_message: Any = None
        self._state = StreamedState()
        self._said: set[str] = set()
        """Fields of the message that were said in pieces."""

        self._finish_reason: str | None = None
        self._error: Any = None
        self._usage: dict[str, Any] = {}
        self._answers = False
        self._ended = False

    @property
    def complete(self) -> bool:
        """Whether the server said that nothing is missing: by a finish reason, or by its last event.

        A last event alone does not say so of a call whose arguments did not come: a proxy sends one whatever it lost.
        """
        if self._finish_reason is not None or not (self._ended and self._answers):
            return self._finish_reason is not None
        return self._calls.all_closed and self._older_call.all_closed

    @property
    def ended(self) -> bool:
        """Whether the server's last event came."""
        return self._ended

    def end(self) -> None:
        """The server's last event came."""
        self._ended = True

    def add(self, piece: Any) -> str | None:
        """Take a chunk; the text it adds. A refusal is not told in pieces: only its end says whether it is one."""
        chunk = mapping(piece)
        self._count(chunk.get("usage"))
        choice = next(filter(is_first, entries(chunk.get("choices"))), None)
        return self._add_choice(choice) if choice is not None else ""

    def _add_choice(self, choice: Mapping[str, Any]) -> str:
        """Take the one answer that was asked for; where servers end with the whole message, it tells nothing new."""
        self._finish_reason = word_of(choice.get("finish_reason")) or self._finish_reason
        self._error = choice.get("error") or self._error
        self._count(choice.get("usage"))
        said = self._add_message(self._piece(choice.get("delta")))
        if "message" not in choice:
            return said
        rest = {name: value for name, value in self._piece(choice["message"]).items() if name not in self._said}
        return said + self._add_message(rest)

    def _piece(self, given: Any) -> Mapping[str, Any]:
        if isinstance(given, Mapping):
            self._answers = True
        elif not is_nothing(given):
            self._odd_message = given
        return mapping(given)

    def _add_message(self, message: Mapping[str, Any]) -> str:
        self._state.add(message)
        for name, value in message.items():
            if value:
                self._said.add(name)
        if (refusal := message.get("refusal")) is not None:
            self._refusal.append(side_text(refusal) or "")
        if (calls := message.get("tool_calls")) is not None:
            try:
                self._calls.add_all(call_list(calls))
            except ValueError:
                self._odd["tool_calls"] = calls
        if (call := message.get("function_call")) is not None:
            self._add_older_call(call)
        return self._add_content(message.get("content"))

    def _add_older_call(self, call: Any) -> None:
        try:
            if (function := older_call(call)) is not None:
                self._older_call.add_all([{"index": 0, "function": function}])
        except ValueError:
            self._odd["function_call"] = call

    def _add_content(self, content: Any) -> str:
        parts = parts_of(content)
        return self._content.add(content) if parts is None else "".join(map(self._add_part, parts))

    def _add_part(self, part: Any) -> str:
        try:
            return self._content.add(part_text(part))
        except ValueError:
            self._content.add(cast("Any", [part]))
            return ""

    def _count(self, usage: Any) -> None:
        self._usage = highest(self._usage, mapping(usage))

    def reply(self) -> dict[str, Any]:
        """The completion."""
        content = self._content.whole()
        state = self._state.fields()
        message = {
            "role": "assistant",
            **state,
            "content": state.get("content", content) if isinstance(content, str) else content,
            "refusal": "".join(self._refusal),
            "tool_calls": self._calls.calls(),
            "function_call": next(iter(self._older_call.calls()), {}).get("function"),
            **self._odd,
        }
        choice = {
            "index": 0,
            "message": message if self._odd_message is None and self._answers else self._odd_message,
            "finish_reason": self._finish_reason,
            "error": self._error,
        }
        return {"choices": [choice], "usage": self._usage}
