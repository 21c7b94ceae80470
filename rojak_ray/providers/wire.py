"""What both vendors' wires share: a request, and how loosely an answer may be typed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import BaseModel, ConfigDict

from rojak_ray.agents.finish import FinishReason, is_closed
from rojak_ray.messages import clean_text, join_halves
from rojak_ray.providers.history import as_text
from rojak_ray.redaction import Secrets, all_of, of_headers, of_query

_PLACEHOLDERS = re.compile(r"\A(?:\s*\{\})+(?=\s*\{)")
"""Empty objects with which some servers begin the arguments, to send the true ones behind."""


class UnusableReply(Exception):
    """The vendor answered 200 with something that is no answer. The endpoint turns it into an error of ours."""


class CutReply(UnusableReply):
    """The answer ended before its calls were complete, so that there is nothing to run. `finish_reason` is ours."""

    def __init__(self, words: str, finish_reason: FinishReason) -> None:
        super().__init__(words)
        self.finish_reason: FinishReason = finish_reason


class FailedReply(UnusableReply):
    """The vendor says that it failed. `error` is what it says of it; None where it names no reason."""

    def __init__(self, words: str, error: Any = None) -> None:
        super().__init__(words)
        self.error = error


@dataclass(frozen=True)
class VendorRequest:
    """One request: the body, and what the user adds to headers and query."""

    body: dict[str, Any]
    headers: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    query: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    streaming: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the user says of the fields with which a streamed answer is asked for; None: that one is not sent."""

    def secrets(self) -> Secrets:
        """What in it shows who we are."""
        return Secrets(all_of(of_headers(self.headers), of_query(self.query)))


class WireModel(BaseModel):
    """Base of what we read: the fields we use are checked, the rest is the vendor's business."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def is_nothing(value: Any) -> bool:
    """Whether a field says nothing: null, false, or empty. Servers in PHP say `[]` where they mean `{}`."""
    return value is None or value is False or (isinstance(value, str | list | Mapping) and not value)


def error_in(reply: Any) -> Any:
    """The error that an answer or an event is in spite of its status; None if it is none."""
    given = mapping(reply)
    if error := given.get("error"):
        return error
    return given if given.get("object") == "error" or given.get("type") == "error" else None


class GrowingText:
    """A text that comes in pieces. What is no text is kept as it came, for the reader of whole answers to refuse."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._odd: Any = None

    def add(self, piece: Any) -> str:
        """Take a piece; what it says."""
        if isinstance(piece, str):
            self._pieces.append(piece)
            return piece
        if not is_nothing(piece):
            self._odd = piece
        return ""

    def whole(self) -> Any:
        """All of it."""
        return join_halves("".join(self._pieces)) if self._odd is None else self._odd


def call_id(value: Any) -> str | None:
    """A call's id; None if the server gives none that can be used. Some count them."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return clean_text(value) if isinstance(value, str) and value else None


def call_arguments(value: Any) -> str:
    """A call's arguments as text, however they are sent; those that a server sends twice, one behind the other, once.

    Nothing stays nothing, for in an answer that was cut something may have been lost.
    """
    if is_nothing(value):
        return ""
    text = _PLACEHOLDERS.sub("", as_text(value))
    half = len(text) // 2
    is_doubled = text.startswith("{") and text[:half] == text[half:] and is_closed(text[:half])
    return text[:half] if is_doubled else text


def piece_of_arguments(value: Any) -> str:
    """What a piece of a stream has of a call's arguments: of a text perhaps a few characters, of an object all."""
    if isinstance(value, str):
        return value
    return "" if is_nothing(value) else as_text(value)


def word_of(value: Any) -> str | None:
    """A finish reason: a word, or an object with one; None where nothing is said."""
    word = mapping(value).get("type") if isinstance(value, Mapping) else value
    return clean_text(word) if isinstance(word, str) and word else None


def highest(counted: Mapping[str, Any], usage: Mapping[str, Any]) -> dict[str, Any]:
    """Counts of a stream put together: each as high as any event has it, since servers repeat, sum up or blank them."""
    merged = dict(counted)
    for name, value in usage.items():
        before = merged.get(name)
        if isinstance(value, Mapping):
            merged[name] = highest(mapping(before), cast("Mapping[str, Any]", value))
        elif isinstance(value, int):
            merged[name] = max(before, value) if isinstance(before, int) else value
        elif value is not None and not isinstance(before, int | Mapping):
            merged[name] = value
    return merged


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def entries(value: Any) -> list[Mapping[str, Any]]:
    """The objects in a list; none if it is no list."""
    return [mapping(entry) for entry in cast("list[Any]", value)] if isinstance(value, list) else []


def text_of(value: Any) -> str:
    """The value if it is text, else none."""
    return value if isinstance(value, str) else ""


def merge_config(*configs: Mapping[str, Any] | None) -> dict[str, Any]:
    """The configs, later ones winning key by key; a key that ends up None is not sent."""
    merged = {name: value for config in configs for name, value in (config or {}).items()}
    return {name: value for name, value in merged.items() if value is not None}


def count(usage: Any, name: str) -> int:
    """A number of tokens; 0 where the vendor says nothing sensible."""
    value = cast("Mapping[str, Any]", usage).get(name) if isinstance(usage, Mapping) else None
    return value if isinstance(value, int) and value > 0 else 0
