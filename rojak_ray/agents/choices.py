"""One of some values: what is written in JSON, and what a function gets for it. `true` is no 1."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Collection
from typing import Any

from pydantic_core import PydanticCustomError, to_jsonable_python

_JSON_NAMES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def is_text_enum(kind: type[enum.Enum]) -> bool:
    """Whether all members' values are texts, which pydantic reads as we do."""
    values = [member.value for member in kind]
    return bool(values) and all(isinstance(value, str) for value in values)


def member_pairs(kind: type[enum.Enum]) -> list[tuple[Any, Any]]:
    """An enum's members by their values; by their names where JSON cannot hold the values."""
    members = list(kind)
    try:
        told = [json.loads(json.dumps(to_jsonable_python(member.value), allow_nan=False)) for member in members]
    except Exception:  # noqa: BLE001  (values are of whatever classes)
        told = [member.name for member in members]
    return list(zip(told, members, strict=True))


def literal_pairs(members: Collection[Any]) -> list[tuple[Any, Any]]:
    """A Literal's choices.

    Raises:
        ValueError: One is of a kind that JSON cannot hold; the text goes behind the name of a parameter.
    """
    return [(_told(member), member) for member in members]


def _told(member: Any) -> Any:
    if isinstance(member, enum.Enum):
        member = member.value
    if isinstance(member, bytes):
        return member.decode("utf-8", "replace")
    if type(member) not in _JSON_NAMES:
        raise ValueError(f"has a Literal of {member!r:.60}, which JSON cannot hold. Use texts or numbers.")
    return member


def picker(pairs: list[tuple[Any, Any]]) -> Callable[[Any], Any]:
    """Reads a choice; raises pydantic's kind of error for anything else. A member itself is taken as it is."""

    def pick(given: Any) -> Any:
        for told, meant in pairs:
            if _is_same(given, told) or (given is meant and isinstance(meant, enum.Enum)):
                return meant
        expected = " or ".join(json.dumps(told, ensure_ascii=False) for told, _ in pairs)
        raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})

    return pick


def schema_of_choices(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    """The JSON schema of what can be written."""
    told = [value for value, _ in pairs]
    names = {_JSON_NAMES.get(type(value)) for value in told}
    schema: dict[str, Any] = {"enum": told}
    if len(names) == 1 and None not in names:
        schema["type"] = names.pop()
    return schema


def _is_same(given: Any, told: Any) -> bool:
    if isinstance(given, bool) or isinstance(told, bool):
        return given is told
    if isinstance(given, list) and isinstance(told, list):
        return len(given) == len(told) and all(map(_is_same, given, told))
    if isinstance(given, dict) and isinstance(told, dict):
        return given.keys() == told.keys() and all(_is_same(given[key], told[key]) for key in told)
    return given == told
