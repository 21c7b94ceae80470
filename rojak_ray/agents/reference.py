"""How a callable is named: where it was defined, and under which import path every process finds this very object."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any

from rojak_ray.agents.content import content_of, lookup
from rojak_ray.agents.modules import is_installed_name


def origin_of(fn: Callable[..., Any]) -> str:
    """Where a callable was defined, for people: `module:qualified.name`. It says nothing of what it captured."""
    target: Any = fn.func if isinstance(fn, functools.partial) else fn
    with contextlib.suppress(ValueError):  # wrappers in a circle
        target = inspect.unwrap(target)
    named = target if isinstance(getattr(target, "__qualname__", None), str) else type(target)
    return f"{getattr(named, '__module__', '?')}:{getattr(named, '__qualname__', '?')}"


def path_of(fn: Callable[..., Any]) -> str | None:
    """The import path of a function, or None if importing it would not give this very function.

    Methods of an object, partials, callable objects and functions made by functions have none: they carry what they
    are bound to or captured. What a program has in `__main__` has none either: every program has one.
    """
    if isinstance(fn, types.MethodType):
        return _path_of_class_method(fn)
    if not isinstance(fn, types.FunctionType | types.BuiltinFunctionType) and not hasattr(fn, "cache_info"):
        return None
    module, name = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    return f"{module}:{name}" if _is_there(fn, module, name) else None


def _path_of_class_method(method: types.MethodType) -> str | None:
    owner = method.__self__
    if not isinstance(owner, type) or not _is_there(owner, owner.__module__, owner.__qualname__):
        return None
    name = method.__func__.__name__
    if getattr(inspect.getattr_static(owner, name, None), "__func__", None) is not method.__func__:
        return None
    return f"{owner.__module__}:{owner.__qualname__}.{name}"


def _is_there(value: Any, module: Any, name: Any) -> bool:
    named = isinstance(module, str) and isinstance(name, str) and module != "__main__"
    return named and lookup(module, name) is value


def found_in_main(name: str, content: str) -> Callable[..., Any] | None:
    """The function that the program's script has under a name, if it has this content."""
    found = getattr(sys.modules.get("__main__"), name, None)
    if not isinstance(found, types.FunctionType):
        return None
    digest = content_of(found)
    return found if digest is not None and digest.digest == content else None


def loaded_from(path: str) -> Callable[..., Any] | None:
    """The function that one of the program's own modules has under an import path, if that module is loaded.

    Nothing is imported, and nothing of the standard library or an installed package is found: a path comes from
    storage, and must not lead to what nobody ever meant to be called.
    """
    module, _, name = path.partition(":")
    if is_installed_name(module):
        return None
    found = lookup(module, name)
    return found if callable(found) and path_of(found) == path else None
