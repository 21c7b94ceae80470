"""How objects lie in memory: which attributes they have stored, and whether there is more to them than that."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, cast

_POINTER = 8
_HEAP_TYPE = 1 << 9


class NotReadable(Exception):
    """Something cannot be read whole."""


def is_written_in_python(kind: type) -> bool:
    """Whether a class was made by a class statement, or in another way at run time."""
    return bool(kind.__flags__ & _HEAP_TYPE)


def solid_base(kind: type) -> type:
    """The first base that was not written in Python alone: what it stores in an object is more than attributes."""
    while is_written_in_python(kind):
        base = kind.__base__
        if base is None or kind.__basicsize__ - base.__basicsize__ != _size_of_own(kind, base):
            return kind
        kind = base
    return kind


def _size_of_own(kind: type, base: type) -> int:
    """The bytes that a class's slots, dictionary and weak references add to an object."""
    slots = [name for name in _slots_of(kind) if name not in ("__dict__", "__weakref__")]
    own = len(slots)
    own += kind.__dictoffset__ > 0 and base.__dictoffset__ == 0
    own += kind.__weakrefoffset__ > 0 and base.__weakrefoffset__ == 0
    return own * _POINTER


def _slots_of(kind: type) -> tuple[str, ...]:
    slots: Any = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def attributes(value: Any, kind: type) -> Iterator[tuple[str, Any]]:
    """Every attribute as it is stored, in its dictionary and in slots of any class."""
    for cls in kind.__mro__:
        for name, descriptor in sorted(vars(cls).items(), key=lambda pair: pair[0]):
            if isinstance(descriptor, types.MemberDescriptorType) and is_written_in_python(cls):
                try:
                    yield f"{cls.__qualname__}.{name}", descriptor.__get__(value, kind)
                except AttributeError:
                    continue  # never set
    if kind.__dictoffset__:
        stored: Any = object.__getattribute__(value, "__dict__")
        if type(stored) is not dict:
            raise NotReadable
        yield from sorted(cast("dict[str, Any]", stored).items())
