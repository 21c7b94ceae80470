"""What servers on OpenAI's wire want back with an answer: reasoning, signatures, parts of thought.

    {"message": {fields beside the content}, "calls": [{fields beside the function} for each call], "content": [parts]}

Fields go back as they came, under the name they came by. `content` is there if the answer came in parts of which some
are no text; text itself is not kept twice: a part of text is the number of its characters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from rojak_ray.providers.history import storable
from rojak_ray.providers.wire import entries, mapping, text_of

PLAIN_REASONING = ("reasoning_content", "reasoning")
"""Reasoning as mere text. It goes back only where functions are called: DeepSeek demands it there and takes it nowhere
else; what others sign stands in the other fields."""

MESSAGE_FIELDS = (*PLAIN_REASONING, "reasoning_details", "extra_content", "thinking_blocks", "provider_specific_fields")
CALL_FIELDS = ("extra_content", "provider_specific_fields", "thought_signature")


def state_of(reply: Any) -> dict[str, Any] | None:
    """What to keep of a chat completion; None if there is nothing that must go back."""
    choices = entries(mapping(reply).get("choices"))
    message = mapping(choices[0].get("message")) if choices else {}
    fields = _kept(message, MESSAGE_FIELDS)
    if "reasoning_details" in fields or fields.get("reasoning") == fields.get("reasoning_content"):
        fields.pop("reasoning", None)  # the same once more, unsigned
    calls = entries(message.get("tool_calls"))
    extras = [_kept(call, CALL_FIELDS) for call in calls]
    state: dict[str, Any] = {}
    if fields:
        state["message"] = fields
    if any(extras):
        state["calls"] = extras
    if (parts := _thought_parts(message.get("content"))) is not None:
        state["content"] = parts
    return storable(state) if state else None


def message_fields(state: Mapping[str, Any] | None) -> dict[str, Any]:
    """What stands beside a message's content."""
    return _kept(mapping(state.get("message")), MESSAGE_FIELDS) if state else {}


def call_fields(state: Mapping[str, Any] | None, place: int) -> Mapping[str, Any]:
    """What stands beside a call's function."""
    calls = entries(state.get("calls")) if state else []
    return _kept(calls[place], CALL_FIELDS) if place < len(calls) else {}


def message_content(state: Mapping[str, Any] | None, text: str) -> Any:
    """The text, or the parts in which it came if some were thoughts."""
    kept = state.get("content") if state else None
    if not isinstance(kept, list):
        return text
    parts: list[Any] = []
    rest = text
    for part in cast("list[Any]", kept):
        if isinstance(part, int):
            said, rest = rest[:part], rest[part:]
            if said.strip():
                parts.append({"type": "text", "text": said})
        else:
            parts.append(part)
    if rest.strip():
        parts.append({"type": "text", "text": rest})
    return parts


def _kept(given: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: given[name] for name in names if given.get(name)}


def _thought_parts(content: Any) -> list[Any] | None:
    parts = entries(content)
    kept = [len(text) if (text := text_of(part.get("text"))) else dict(part) for part in parts]
    return kept if any(isinstance(part, dict) and part.get("type") not in (None, "text") for part in kept) else None


class StreamedState:
    """What must go back, put together from the pieces of a stream."""

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._parts: list[dict[str, Any]] = []
        self._in_parts = False

    def add(self, delta: Mapping[str, Any]) -> None:
        """Take a piece of the message."""
        for name in MESSAGE_FIELDS:
            if delta.get(name):
                self._fields[name] = grown(self._fields.get(name), delta[name])
        content = delta.get("content")
        if isinstance(content, list):
            self._in_parts = True
            self._parts = grown(self._parts, content)
        elif text_of(content):
            self._parts = grown(self._parts, [{"type": "text", "text": content}])

    def fields(self) -> dict[str, Any]:
        """The fields of the whole message; its content, if it came in parts."""
        return {**self._fields, **({"content": self._parts} if self._in_parts else {})}


def grown(before: Any, piece: Any) -> Any:
    """A value with a further piece of it: texts grow, objects are merged, entries of lists are continued.

    An entry continues the one of its `index`, or else the last one, if that is of the same `type` and `id`.
    """
    if before is None:
        before = [] if isinstance(piece, list) else None
    if isinstance(before, str) and isinstance(piece, str):
        return before + piece
    if isinstance(before, Mapping) and isinstance(piece, Mapping):
        merged = dict(cast("Mapping[str, Any]", before))
        for name, value in cast("Mapping[str, Any]", piece).items():
            if value is not None:
                merged[name] = value if name in _NAMES else grown(merged.get(name), value)
        return merged
    if isinstance(before, list) and isinstance(piece, list):
        entries_so_far = list(cast("list[Any]", before))
        for entry in cast("list[Any]", piece):
            place = _continued(entries_so_far, entry)
            if place is None:
                entries_so_far.append(entry)
            else:
                entries_so_far[place] = grown(entries_so_far[place], entry)
        return entries_so_far
    return piece


_NAMES = ("type", "id", "index", "format", "closed")
"""What names an entry; said again with each piece, not continued."""


def _continued(before: list[Any], entry: Any) -> int | None:
    if not before or not isinstance(entry, Mapping):
        return None
    piece = cast("Mapping[str, Any]", entry)
    last = mapping(before[-1])
    if last.get("type") != piece.get("type"):
        return None
    index, last_index = piece.get("index"), last.get("index")
    if index is not None and last_index is not None and index != last_index:
        return None
    ids = (piece.get("id"), last.get("id"))
    return len(before) - 1 if None in ids or ids[0] == ids[1] else None
