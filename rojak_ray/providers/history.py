"""A recorded history as a request can say it: what both wires share.

The record is never changed; what a vendor refuses is mended on the way out, each time in the same way, so that the
beginning of two requests of one conversation is the same text. Everything here is linear in the history.

What holds behind `turns`:

    every call has one result, right behind it, whatever stood between: another message, another call of the same id
    a result without a call, and a second result of one call, are left out
    a call that was never answered has a result that says so
    system messages stand apart, joined, for both wires put them first

The rules of each wire, with their sources, are in docs/histories.md.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import JsonValue

from rojak_ray.agents.activities import FunctionSchema
from rojak_ray.errors import InvalidContext
from rojak_ray.messages import (
    ConversationMessage,
    FilePart,
    VendorState,
    clean_text,
    has_lone_surrogate,
    join_halves,
    read_json,
)

EARLIER_LEFT_OUT = "[Earlier messages are left out.]"
EMPTY_MESSAGE = "[This message is empty.]"
GO_ON = "[Go on.]"
NO_RESULT = "No result: the call was interrupted."

_FORBIDDEN = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_NAME = 64


@dataclass(frozen=True)
class Origin:
    """Whom a question goes to. What a vendor wants back goes to the same server and model, and to nobody else."""

    vendor: str
    """The wire and the server's address."""

    model: str

    @property
    def address(self) -> str:
        """The server's host, and its port if it has one of its own."""
        return self.vendor.partition("/")[2]

    def keep(self, state: JsonValue) -> VendorState | None:
        """The state to store with this origin's answer; None if there is nothing to keep."""
        return VendorState(vendor=self.vendor, model=self.model, state=state) if state else None

    def own(self, message: ConversationMessage) -> Mapping[str, Any] | None:
        """What this origin wants back with a message; None if the message is somebody else's or has nothing."""
        kept = message.vendor
        if kept is None or kept.vendor != self.vendor or kept.model != self.model:
            return None
        return kept.state if isinstance(kept.state, dict) else None


def storable(state: dict[str, Any]) -> dict[str, Any] | None:
    """A state as the journal can hold it; a vendor that sends what no JSON text holds gets nothing back."""
    try:
        return cast("dict[str, Any]", read_json(_whole_characters(state), "state"))
    except (InvalidContext, RecursionError):
        return None


def _whole_characters(value: Any) -> Any:
    if isinstance(value, str):
        return join_halves(value)
    if isinstance(value, list):
        return [_whole_characters(item) for item in cast("list[Any]", value)]
    if isinstance(value, Mapping):
        return {name: _whole_characters(item) for name, item in cast("Mapping[str, Any]", value).items()}
    return value


@dataclass
class Call:
    """One call of an answer, with its result."""

    id: str
    name: str
    arguments: str
    result: ConversationMessage | None = None


@dataclass
class Turn:
    """One message of a user or an assistant, with its calls and their results."""

    message: ConversationMessage
    calls: list[Call] = field(default_factory=list[Call])
    answered: list[Call] = field(default_factory=list[Call])
    """The calls in the order in which their results were recorded."""

    @property
    def by_result(self) -> Iterator[Call]:
        """The calls in the order of their results; those without one come last."""
        yield from self.answered
        yield from (call for call in self.calls if call.result is None)


def turns(messages: Iterable[ConversationMessage]) -> tuple[list[str], list[Turn]]:
    """The texts of the system messages, and the rest with every result beside its call."""
    system: list[str] = []
    spoken: list[Turn] = []
    waiting: dict[str, deque[tuple[Turn, Call]]] = {}
    """The calls of the latest answer that has calls of this id, without a result so far."""

    for message in messages:
        if message.role == "system":
            if message.text.strip():
                system.append(clean_text(message.text))
        elif message.role == "tool":
            calls = waiting.get(message.tool_call_id or "")
            if calls:
                turn, call = calls.popleft()
                call.result = message
                turn.answered.append(call)
        else:
            turn = Turn(message, list(_calls_of(message)))
            for call in turn.calls:
                waiting[call.id] = deque()
            for call in turn.calls:
                waiting[call.id].append((turn, call))
            spoken.append(turn)
    return system, spoken


def _calls_of(message: ConversationMessage) -> Iterator[Call]:
    """The calls of an assistant's message; nobody else makes any."""
    if message.role != "assistant":
        return
    for call in cast("Sequence[Mapping[str, Any]]", message.tool_calls or ()):
        function = cast("Mapping[str, Any]", call["function"])
        yield Call(id=str(call["id"]), name=str(function["name"]), arguments=as_text(function.get("arguments")))


def as_text(arguments: Any) -> str:
    """Arguments of a call as JSON text, however they were kept."""
    if arguments is None or arguments == "":
        return "{}"
    return clean_text(arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False))


def arguments_object(text: str) -> dict[str, Any]:
    """The arguments as the object that every vendor wants; the text itself under a telling key where it is none."""
    given = _object_in(text)
    return given if given is not None else {"_invalid_json": text}


def arguments_text(text: str) -> str:
    """The same as JSON text: as the model wrote it, if that is an object."""
    return text if _object_in(text) is not None else json.dumps({"_invalid_json": text})


def _object_in(text: str) -> dict[str, Any] | None:
    try:
        given: Any = json.loads(text)
        # Written out again to find what JSON can spell but not send: NaN, and half characters.
        sendable = not has_lone_surrogate(json.dumps(given, ensure_ascii=False, allow_nan=False))
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", given) if sendable and isinstance(given, dict) else None


def sendable_name(name: str) -> str:
    """A function's name in the alphabet of every vendor: models invent names that cannot be sent back."""
    cleaned = _FORBIDDEN.sub("_", name)[:_LONGEST_NAME]
    return cleaned if cleaned[:1].isalpha() or cleaned.startswith("_") else f"_{cleaned}"[:_LONGEST_NAME]


def file_text(part: FilePart) -> str | None:
    """What a text file says; None if it is no text, or only its address is known."""
    kind = part.media_type or ""
    if part.data is None or not (
        kind.startswith("text/") or kind.endswith(("/json", "+json", "/xml", "+xml", "/yaml"))
    ):
        return None
    return clean_text(base64.b64decode(part.data).decode("utf-8", "replace"))


def not_offered(name: str) -> FunctionSchema:
    """A function as it is defined to a vendor that wants those of a history defined, and is not to call it."""
    text = "Called earlier in this conversation; it cannot be called now."
    return FunctionSchema(name, text, {"type": "object", "properties": {}})


class CallIds:
    """Ids of calls as one request spells them: in the vendor's alphabet and length, and each used once.

    An id stays as it is if it can. The same history gets the same ids every time.
    """

    def __init__(self, longest: int, exact: int | None = None, *, by_name: bool = False) -> None:
        """`exact`: every id is that many letters and digits; `by_name`: it is `functions.NAME:NUMBER`."""
        self._longest = longest
        self._exact = exact
        self._by_name = by_name
        self._used: set[str] = set()
        self._numbers: dict[str, int] = {}
        """How often each id was asked for: a thousand answers may all say "call_0"."""

    def give(self, call: Call) -> str:
        """The id for the next call."""
        if self._by_name:
            self._used.add(given := f"functions.{sendable_name(call.name)}:{len(self._used)}")
            return given
        first = self._fitting(call.id)
        given = first
        while given in self._used:
            number = self._numbers[first] = self._numbers.get(first, 1) + 1
            given = self._another(first, number)
        self._used.add(given)
        return given

    def _fitting(self, call_id: str) -> str:
        if self._exact is None:
            return _FORBIDDEN.sub("_", call_id)[: self._longest] or "call"
        if len(call_id) == self._exact and call_id.isascii() and call_id.isalnum():
            return call_id
        return hashlib.sha256(call_id.encode("utf-8", "replace")).hexdigest()[: self._exact]

    def _another(self, first: str, number: int) -> str:
        if self._exact is None:
            suffix = f"_{number}"
            return first[: self._longest - len(suffix)] + suffix
        return hashlib.sha256(f"{first}/{number}".encode("utf-8", "replace")).hexdigest()[: self._exact]
