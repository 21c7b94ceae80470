"""Function calls out of the pieces in which servers that speak like OpenAI stream them.

OpenAI itself names a call in its first piece, with an `index` that all its pieces repeat. Others send every call under
index 0, or none; repeat id or name in every piece; send a call whole, or its arguments as an object; begin with the
arguments `{}` and send the true ones afterwards. What is read here is what the same server answers without streaming.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rojak_ray.agents.finish import is_closed
from rojak_ray.messages import join_halves
from rojak_ray.providers.history import as_text
from rojak_ray.providers.openai_state import CALL_FIELDS, last_said
from rojak_ray.providers.wire import mapping, text_of


@dataclass
class _Call:
    index: Any
    id: str = ""
    name: str = ""
    arguments: str = ""
    beside: dict[str, Any] = field(default_factory=dict[str, Any])
    """What must go back with the call unread."""


@dataclass(frozen=True)
class _Piece:
    index: Any
    id: str
    name: str
    arguments: str
    beside: Mapping[str, Any]

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> _Piece:
        function = mapping(given.get("function"))
        arguments = function.get("arguments")
        index = given.get("index")
        return cls(
            index=index if isinstance(index, int | str) else None,
            id=text_of(given.get("id")),
            name=text_of(function.get("name")),
            arguments="" if arguments is None or arguments == {} else as_text(arguments) if arguments != "" else "",
            beside={name: given[name] for name in CALL_FIELDS if given.get(name)},
        )


class CallPieces:
    """The calls of one answer in the making."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    def add(self, given: Mapping[str, Any]) -> None:
        """Take a piece: it goes on with a call, or begins the next one."""
        piece = _Piece.of(given)
        call = self._meant(piece)
        if call is None or _begins_another(call, piece):
            self._calls.append(_Call(piece.index, piece.id, piece.name, piece.arguments, dict(piece.beside)))
            return
        if _repeats(call, piece):
            return
        for name, value in piece.beside.items():
            call.beside[name] = last_said([call.beside[name], value]) if name in call.beside else value
        call.id = call.id or piece.id
        _add_name(call, piece)
        if call.arguments.strip() == "{}" and piece.arguments.lstrip().startswith("{"):
            call.arguments = ""  # it held the place for the true ones
        call.arguments += piece.arguments

    def calls(self) -> list[dict[str, Any]]:
        """The calls in OpenAI's form, in the order in which they began."""
        return [
            {
                "id": join_halves(call.id) or None,
                "type": "function",
                "function": {"name": join_halves(call.name) or None, "arguments": join_halves(call.arguments)},
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
        is_nameless = not piece.id and not piece.name
        return latest[0] if latest and is_nameless else None


def _begins_another(call: _Call, piece: _Piece) -> bool:
    if piece.id and call.id and piece.id != call.id:
        return True
    if not piece.name or not call.arguments:
        return False
    if piece.name != call.name:
        return True
    return bool(piece.arguments.strip()) and is_closed(call.arguments) and not _repeats(call, piece)


def _repeats(call: _Call, piece: _Piece) -> bool:
    """Whether a piece is a call over again, as some servers send it whole at the end."""
    return bool(piece.id) and piece.id == call.id and is_closed(call.arguments) and piece.arguments == call.arguments


def _add_name(call: _Call, piece: _Piece) -> None:
    if not piece.name or piece.name == call.name:
        return
    is_longer = piece.name.startswith(call.name)
    call.name = piece.name if is_longer else call.name + piece.name
