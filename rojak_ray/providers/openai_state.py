"""What servers on OpenAI's wire want back with an answer: reasoning, signatures, parts of thought.

    {"message": {fields beside the content}, "calls": [{fields beside the function} for each call], "content": [parts]}

Fields go back as they came, under the name they came by. `content` is there if the answer came in parts of which some
are no text; text itself is not kept twice: a part of text is the number of its characters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from rojak_ray.providers.history import storable
from rojak_ray.providers.openai_fields import call_list, first_choice, part_text, parts_of
from rojak_ray.providers.wire import entries, mapping, text_of

PLAIN_REASONING = ("reasoning_content", "reasoning")
"""Reasoning as mere text. It goes back only where functions are called: DeepSeek demands it there and takes it nowhere
else; what others sign stands in the other fields."""

MESSAGE_FIELDS = (*PLAIN_REASONING, "reasoning_details", "extra_content", "thinking_blocks", "provider_specific_fields")
CALL_FIELDS = ("extra_content", "provider_specific_fields", "thought_signature")


def state_of(reply: Any) -> dict[str, Any] | None:
    """What to keep of a chat completion that could be read; None if there is nothing that must go back."""
    message = mapping(mapping(first_choice(mapping(reply).get("choices"))).get("message"))
    fields = _kept(message, MESSAGE_FIELDS)
    if "reasoning_details" in fields or fields.get("reasoning") == fields.get("reasoning_content"):
        fields.pop("reasoning", None)  # the same once more, unsigned
    calls = call_list(message.get("tool_calls"))
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
    kept: list[Any] = []
    for part in parts_of(content) or ():
        if text := part_text(part):
            is_behind_text = bool(kept) and isinstance(kept[-1], int)
            kept[-1:] = [kept[-1] + len(text)] if is_behind_text else [*kept[-1:], len(text)]
        elif isinstance(part, Mapping):
            kept.append(dict(cast("Mapping[str, Any]", part)))
    return kept if any(isinstance(part, dict) and part.get("type") not in (None, "text") for part in kept) else None


class StreamedState:
    """What must go back, put together from the pieces of a stream."""

    def __init__(self) -> None:
        self._fields: dict[str, list[Any]] = {}
        self._content: list[Any] = []
        self._in_parts = False

    def add(self, delta: Mapping[str, Any]) -> None:
        """Take a piece of the message."""
        for name in MESSAGE_FIELDS:
            if delta.get(name):
                self._fields.setdefault(name, []).append(delta[name])
        content = delta.get("content")
        if (parts := parts_of(content)) is not None:
            self._in_parts = self._in_parts or bool(parts)
            self._content.append(parts)
        elif text_of(content):
            self._content.append([{"type": "text", "text": content}])

    def fields(self) -> dict[str, Any]:
        """The fields of the whole message; its content, if it came in parts."""
        whole = {
            name: last_said(pieces) if name in CALL_FIELDS else joined(pieces) for name, pieces in self._fields.items()
        }
        return {**whole, "content": joined(self._content)} if self._in_parts else whole


_NAMES = ("type", "id", "index", "format", "closed", "signature")
"""What names or seals an entry; said whole, perhaps with each piece."""


def last_said(pieces: Sequence[Any]) -> Any:
    """A value that is said whole, perhaps several times, or in objects that each say a part of it."""
    if len(pieces) > 1 and all(isinstance(piece, Mapping) for piece in pieces):
        return {name: last_said(values) for name, values in _by_name(pieces).items()}
    return pieces[-1]


def joined(pieces: Sequence[Any]) -> Any:
    """A value that is said in pieces: texts grow, objects are merged, entries of lists are continued."""
    if len(pieces) == 1:
        return pieces[0]
    if all(isinstance(piece, str) for piece in pieces):
        return "".join(pieces)
    if all(isinstance(piece, Mapping) for piece in pieces):
        return {name: values[-1] if name in _NAMES else joined(values) for name, values in _by_name(pieces).items()}
    if all(isinstance(piece, list) for piece in pieces):
        return [joined(group) for group in _entries_in(pieces)]
    return pieces[-1]


def _by_name(pieces: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    values: dict[str, list[Any]] = {}
    for piece in pieces:
        for name, value in piece.items():
            if value is not None:
                values.setdefault(name, []).append(value)
    return values


def _entries_in(pieces: Sequence[list[Any]]) -> list[list[Any]]:
    """The pieces of each entry. One continues the last entry if that is of its type, and of its index and id if any."""
    groups: list[list[Any]] = []
    last: dict[str, Any] = {}
    for entry in (entry for piece in pieces for entry in piece):
        named = (
            {name: entry[name] for name in ("type", "index", "id") if entry.get(name) is not None}
            if isinstance(entry, Mapping)
            else {}
        )
        continues = bool(groups) and bool(named) and last.get("type") == named.get("type")
        if continues and all(last.get(name, value) == value for name, value in named.items()):
            groups[-1].append(entry)
            last |= named
        else:
            groups.append([entry])
            last = dict(named)
    return groups
