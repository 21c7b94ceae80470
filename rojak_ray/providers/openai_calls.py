"""Function calls out of the pieces in which servers that speak like OpenAI stream them.

OpenAI itself names a call in its first piece, with an `index` that all its pieces repeat. Others send every call under
index 0, or none; repeat id or name in every piece; send a call whole, or its arguments as an object; begin with the
arguments `{}` and send the true ones afterwards. What is read here is what the same server answers without streaming.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rojak_ray.agents.finish import is_closed
from rojak_ray.messages import join_halves
from rojak_ray.providers.openai_state import last_said
from rojak_ray.providers.wire import call_id, is_nothing, mapping, piece_of_arguments, text_of

_READ = frozenset({"index", "id", "type", "function"})
_IN_FUNCTION = frozenset({"name", "arguments"})


@dataclass
class _Call:
    index: Any
    message: int
    """In which piece of the message it began."""

    id: str = ""
    name: str = ""
    arguments: str = ""
    odd: Any = None
    """A function that is none, or what is in one besides; a name that is none is kept there too."""

    beside: dict[str, Any] = field(default_factory=dict[str, Any])
    """What must go back with the call unread, and what nobody knows: something was said, if only that."""

    in_pieces: bool = False
    """Whether its arguments came in more than one piece, or behind its name."""

    named_again: bool = False
    """Whether its head came once more behind its arguments: what comes then may be another call like it."""


@dataclass(frozen=True)
class _Piece:
    index: Any
    id: str
    name: str
    arguments: str
    odd: Any
    beside: Mapping[str, Any]

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> _Piece:
        function = given.get("function")
        held = mapping(function)
        name, index = held.get("name"), given.get("index")
        odd: Any = None if isinstance(function, Mapping) or is_nothing(function) else function
        if held.keys() - _IN_FUNCTION or not isinstance(name, str | None):
            odd = {key: held[key] for key in held if key != "arguments" and not is_nothing(held[key])}
            odd = {key: value for key, value in odd.items() if key != "name" or not isinstance(value, str)}
        beside = given.keys() - _READ
        return cls(
            index=index if isinstance(index, int | float | str) else None,
            id=call_id(given.get("id")) or "",
            name=text_of(name),
            arguments=piece_of_arguments(held.get("arguments")),
            odd=odd or None,
            beside={name: given[name] for name in beside if not is_nothing(given[name])} if beside else {},
        )


class CallPieces:
    """The calls of one answer in the making."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._messages = 0

    def add_all(self, pieces: Sequence[Mapping[str, Any]]) -> None:
        """Take what one piece of the message has of calls."""
        self._messages += 1
        for piece in pieces:
            self._add(_Piece.of(piece))

    def _add(self, piece: _Piece) -> None:
        """Take a piece: it goes on with a call, or begins the next one."""
        call = self._meant(piece)
        if call is not None and call.message < self._messages and _repeats(call, piece):
            return
        if call is None or _begins_another(call, piece) or self._stands_beside(call, piece):
            self._begin(call, piece)
            return
        call.in_pieces = call.in_pieces or bool(piece.arguments)
        call.named_again = call.named_again or (bool(piece.name) and is_closed(call.arguments))
        for name, value in piece.beside.items():
            call.beside[name] = last_said([call.beside[name], value]) if name in call.beside else value
        call.id = call.id or piece.id
        call.odd = piece.odd if piece.odd is not None else call.odd
        _add_name(call, piece)
        if call.arguments.strip() == "{}" and piece.arguments.lstrip().startswith("{"):
            call.arguments = ""  # it held the place for the true ones
        call.arguments += piece.arguments

    def _stands_beside(self, call: _Call, piece: _Piece) -> bool:
        """Whether a list has a head for the call and one for the piece: those are two calls, also where they are alike.

        A server that batches pieces may go on with a call in the list in which it began, but then it says its place.
        """
        if call.message != self._messages or not call.name or not piece.name:
            return False
        return piece.index is None or not piece.id or piece.id != call.id or is_closed(call.arguments)

    def _begin(self, like: _Call | None, piece: _Piece) -> None:
        """Begin a call; one whose head came before its arguments is named as the one before it."""
        call_id, name = piece.id, piece.name
        if like is not None and not name and call_id in ("", like.id):
            call_id, name = like.id, like.name
        begun = _Call(piece.index, self._messages, call_id, name, piece.arguments, piece.odd, dict(piece.beside))
        self._calls.append(begun)

    @property
    def all_closed(self) -> bool:
        """Whether the arguments of each came, and to their end."""
        return all(is_closed(call.arguments) for call in self._calls)

    def calls(self) -> list[dict[str, Any]]:
        """The calls in OpenAI's form, in the order in which they began."""
        return [
            {
                "id": join_halves(call.id) or None,
                "type": "function",
                "function": _function(call),
                **call.beside,
            }
            for call in self._calls
        ]

    def _meant(self, piece: _Piece) -> _Call | None:
        """The call that a piece may go on with: of its id, else of its place, else the last one."""
        latest = self._calls[::-1]
        placed = latest if piece.index is None else [call for call in latest if call.index == piece.index]
        if piece.id:
            named = next((call for call in placed if call.id == piece.id), None)
            if named is not None:
                return named
        if placed:
            return placed[0]
        if not latest or piece.id or piece.name:
            return None
        is_behind = piece.index is None or (bool(piece.arguments) and not _is_full(latest[0], piece))
        return latest[0] if is_behind else None


def _function(call: _Call) -> Any:
    if call.odd is not None and not isinstance(call.odd, Mapping):
        return call.odd
    named = {"name": join_halves(call.name), "arguments": join_halves(call.arguments)}
    return {**named, **mapping(call.odd)}


def _begins_another(call: _Call, piece: _Piece) -> bool:
    if piece.id and call.id and piece.id != call.id:
        return True
    if call.named_again and piece.arguments.lstrip().startswith("{"):
        return True
    if not piece.name or not call.arguments:
        return False
    if call.name and piece.name != call.name:
        return True
    return bool(piece.arguments.strip()) and is_closed(call.arguments)


def _is_full(call: _Call, piece: _Piece) -> bool:
    """Whether what a piece has cannot belong to a call, since that has its arguments already."""
    return piece.arguments.lstrip().startswith("{") and is_closed(call.arguments) and call.arguments.strip() != "{}"


def _repeats(call: _Call, piece: _Piece) -> bool:
    """Whether a piece is a call over again, as some servers send it at the end, whole, when it came in pieces before.

    Two calls that came whole are two, however alike: so the same server answers without streaming.
    """
    is_same = bool(piece.id and piece.name) and piece.id == call.id and piece.arguments == call.arguments
    return is_same and call.in_pieces and is_closed(call.arguments)


def _add_name(call: _Call, piece: _Piece) -> None:
    if not piece.name or piece.name == call.name:
        return
    is_longer = piece.name.startswith(call.name)
    call.name = piece.name if is_longer else call.name + piece.name
