"""What code may reach without a name that says so: by a text, through the interpreter, by an import of its own.

Two functions with equal code may do different things if it looks up a global by a text. Whoever compares functions by
what they name must know where names are not all there is.
"""

from __future__ import annotations

import builtins
import contextlib
import dis
import importlib
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rojak_ray.agents.modules import is_installed_name

_BY_TEXT = frozenset(map(id, (eval, exec, globals, __import__, importlib.import_module)))
_OF_THE_INTERPRETER = frozenset(
    {"__subclasses__", "__globals__", "__builtins__", "f_globals", "f_builtins", "get_objects", "get_referrers"}
)
"""Attributes through which everything can be reached."""

_OF_MODULES_BY_TEXT = frozenset({"getattr", "vars", "__dict__", "attrgetter", "import_module"})
_WAYS_OF_MODULES = (
    (sys, frozenset({"modules", "_getframe", "_current_frames"})),
    (importlib, frozenset({"import_module", "reload", "__import__"})),
)
_OTHER_NAMES = {"IOError": OSError, "EnvironmentError": OSError}


def reaches_by_text(value: Any) -> bool:
    """Whether a value gives whoever has it any global by a text: `eval`, `globals`, the module of builtins."""
    return id(value) in _BY_TEXT or value is builtins


def reaches_anything(fn: types.FunctionType, names: Iterable[str], values: Iterable[Any]) -> bool:
    """Whether a function, with those within it, may look at what it does not name.

    Args:
        fn: The function.
        names: All names in its code, also of attributes.
        values: What those of globals mean.
    """
    mentioned = {*names, *_texts_in(fn.__code__)}
    modules = [value for value in (*values, *_captured(fn)) if type(value) is types.ModuleType]
    if mentioned & _OF_THE_INTERPRETER:
        return True
    for module, ways in _WAYS_OF_MODULES:
        if mentioned & ways and (module.__name__ in mentioned or any(each is module for each in modules)):
            return True
    has_own = any(not is_installed_name(module.__name__) for module in modules)
    return has_own and bool(_OF_MODULES_BY_TEXT.intersection(names))


def brought_in(code: types.CodeType, names: Iterable[str], scope: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What code reaches that is not in its globals: the program's modules it imports, what was put into builtins.

    Args:
        code: The code.
        names: All names in it, sorted.
        scope: Its globals.
    """
    for name in names:
        module = sys.modules.get(name)
        if module is not None and (module is builtins or not is_installed_name(name)) and _does(code, "IMPORT_", name):
            yield name, module
        if name in scope or name not in vars(builtins):
            continue
        value = vars(builtins)[name]
        if (reaches_by_text(value) or not _is_of_python(name, value)) and _does(code, "LOAD_GLOBAL LOAD_NAME", name):
            yield name, value


def _is_of_python(name: str, value: Any) -> bool:
    """Whether the builtin of this name is the interpreter's own."""
    if name.startswith("__") or value is _OTHER_NAMES.get(name):
        return True
    if type(value) in (type, types.BuiltinFunctionType):
        return value.__name__ == name and value.__module__ in ("builtins", "_io", "io")
    return type(value).__module__ == "_sitebuiltins" or name in ("NotImplemented", "Ellipsis")


def _does(code: types.CodeType, operations: str, name: str) -> bool:
    """Whether one of the operations is done with a name: most names are of attributes."""
    wanted = operations.split()
    if any(step.argval == name and step.opname.startswith(tuple(wanted)) for step in dis.get_instructions(code)):
        return True
    return any(_does(inner, operations, name) for inner in _within(code))


def _captured(fn: types.FunctionType) -> Iterator[Any]:
    for cell in fn.__closure__ or ():
        with contextlib.suppress(ValueError):  # a variable without a value yet
            yield cell.cell_contents


def _texts_in(code: types.CodeType) -> Iterator[str]:
    yield from (constant for constant in code.co_consts if type(constant) is str)
    for inner in _within(code):
        yield from _texts_in(inner)


def _within(code: types.CodeType) -> Iterator[types.CodeType]:
    return (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
