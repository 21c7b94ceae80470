"""Which function is meant: a fingerprint that is the same in every process.

Two functions may share a name and mean different things (two closures of one factory, two programs' `__main__`), so a
callable is referred to by where it was defined, what its code does, and what it captured. The fingerprint reads code
objects, not pickles: pickling the same function twice need not give the same bytes.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import inspect
import logging
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from types import CodeType, ModuleType
from typing import Any

from rojak_ray.agents.agent import Agent

_MAX_DEPTH = 12


def origin_of(fn: Callable[..., Any]) -> str:
    """Where a callable was defined: `module:qualified.name`."""
    target = inspect.unwrap(fn.func if isinstance(fn, functools.partial) else fn)
    named = target if hasattr(target, "__qualname__") else type(target)
    return f"{getattr(named, '__module__', '?')}:{getattr(named, '__qualname__', '?')}"


def fingerprint(fn: Callable[..., Any]) -> str:
    """32 hex digits that identify what `fn` is and does."""
    seen: dict[int, Any] = {}
    hasher = hashlib.sha256()
    for part in _parts(fn, seen, 0):
        hasher.update(part.encode("utf-8", "replace"))
        hasher.update(b"\0")
    return hasher.hexdigest()[:32]


def _parts(value: Any, seen: dict[int, Any], depth: int) -> Iterator[str]:
    """Text that differs if the value does; cycles and depths end in the type's name."""
    if value is None or isinstance(value, bool | int | float | str | bytes):
        yield f"{type(value).__name__}={value!r}"
        return
    if id(value) in seen or depth > _MAX_DEPTH:
        yield f"again={type(value).__qualname__}"
        return
    seen[id(value)] = value  # kept alive, so that its id cannot pass to another object during the walk
    if isinstance(value, CodeType):
        yield from _code_parts(value, seen, depth)
    elif isinstance(value, functools.partial):
        for part in (value.func, value.args, value.keywords):
            yield from _parts(part, seen, depth + 1)
    elif inspect.isfunction(value):
        yield f"function={value.__module__}:{value.__qualname__}"
        cells = [_cell_value(cell) for cell in value.__closure__ or ()]
        for part in (value.__code__, value.__annotations__, value.__defaults__, value.__kwdefaults__, cells):
            yield from _parts(part, seen, depth + 1)
    elif inspect.ismethod(value):
        yield from _parts(value.__func__, seen, depth + 1)
        yield from _parts(value.__self__, seen, depth + 1)
    else:
        yield from _object_parts(value, seen, depth)


def _code_parts(code: CodeType, seen: dict[int, Any], depth: int) -> Iterator[str]:
    yield f"code={code.co_code.hex()}"
    yield f"names={code.co_names} {code.co_varnames} {code.co_freevars}"
    yield f"shape={code.co_argcount} {code.co_posonlyargcount} {code.co_kwonlyargcount} {code.co_flags}"
    for constant in code.co_consts:
        yield from _parts(constant, seen, depth + 1)


def _object_parts(value: Any, seen: dict[int, Any], depth: int) -> Iterator[str]:
    yield f"{type(value).__module__}:{type(value).__qualname__}"
    if isinstance(value, ModuleType | logging.Logger):
        yield f"name={value.__name__ if isinstance(value, ModuleType) else value.name}"
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _parts(key, seen, depth + 1)
            yield from _parts(item, seen, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _parts(item, seen, depth + 1)
    elif isinstance(value, set | frozenset):
        yield from sorted(part for item in value for part in _parts(item, seen, depth + 1))
    elif isinstance(value, type):
        yield f"type={value.__module__}:{value.__qualname__}"
    elif isinstance(value, Agent) or (is_dataclass(value) and not isinstance(value, type)):
        for field in fields(value):
            yield from _parts(getattr(value, field.name), seen, depth + 1)
    elif isinstance(getattr(value, "__dict__", None), dict):
        yield from _parts(dict(vars(value)), seen, depth + 1)
    else:
        yield from _parts(_reduced(value), seen, depth + 1)


def _reduced(value: Any) -> Any:
    """What makes up a value without attributes (a path, a date, a pattern), as pickle and copy see it."""
    reduce = copyreg.dispatch_table.get(type(value))
    try:
        made = reduce(value) if reduce else value.__reduce_ex__(4)
    except Exception:  # noqa: BLE001  (locks, sockets, clients: only their type counts)
        return None
    return made if isinstance(made, str) else [part for part in made[:3] if not inspect.isbuiltin(part)]


def _cell_value(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a variable of the enclosing function that has no value yet
        return None
