"""What a returned value holds, looked at without trusting it: nothing here raises, whatever the objects do."""

from __future__ import annotations

from collections import deque
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from enum import Enum
from typing import Any

from pydantic import BaseModel

from rojak_ray.checks import is_kind
from rojak_ray.concurrency import Breath

_COLLECTIONS = (list, tuple, set, frozenset, deque, KeysView, ValuesView, ItemsView)
_PLAIN = frozenset({str, int, float, bool, type(None)})
_AT_ONCE = 256
_DEEPEST = 100
"""Text cannot be made of what is nested deeper."""


def all_within(value: Any) -> Iterator[Any]:
    """A value and everything it holds, each object once, however many ways lead to it."""
    breath = Breath()
    seen: dict[int, Any] = {}
    waiting: list[tuple[Any, int]] = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        if type(item) in _PLAIN:
            continue
        if id(item) in seen:
            continue
        seen[id(item)] = item  # held, so that its id cannot pass to another object meanwhile
        yield item
        if not len(seen) % _AT_ONCE:
            breath.take()
        if depth < _DEEPEST:
            waiting += [(inner, depth + 1) for inner in held_by(item) if type(inner) not in _PLAIN]


def held_by(value: Any) -> Iterable[Any]:
    """What a value is made of, where it is told by its parts."""
    try:
        return _held_by(value)
    except BaseException:  # noqa: BLE001  (its fields may be properties, and its class have a metaclass)
        return ()


def _held_by(value: Any) -> Iterable[Any]:
    if is_kind(value, type):
        return ()
    if is_kind(value, Enum):
        return (value.value,)
    if is_kind(value, Mapping):
        return list(value.values())
    if is_kind(value, BaseModel) or hasattr(type(value), "__dataclass_fields__"):
        names = getattr(type(value), "__dataclass_fields__", {})
        extra = getattr(value, "__pydantic_extra__", None) or {}
        inner = [*getattr(value, "__dict__", {}).values(), *(getattr(value, name, None) for name in names)]
        return [*inner, *extra.values()]
    return list(value) if is_kind(value, _COLLECTIONS) else ()
