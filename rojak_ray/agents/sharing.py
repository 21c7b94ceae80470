"""Whether a function shares the context variables: then its calls run in the model's order, one after another."""

from __future__ import annotations

import dataclasses
import dis
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from types import CodeType
from typing import Any

from rojak_ray.agents.annotations import CONTEXT_PARAMETER
from rojak_ray.agents.function import ToolContext
from rojak_ray.agents.schema import FunctionDefinition

_TELLING = frozenset(field.name for field in dataclasses.fields(ToolContext)) - {CONTEXT_PARAMETER}
"""What a `ToolContext` tells and nobody can change: who reads only that shares nothing."""

_BY_OTHER_WAYS = frozenset({"locals", "vars", "eval", "exec", "f_locals", "currentframe", "_getframe"})
"""Names by which code may reach a parameter without naming it."""

_UNIMPORTANT = frozenset({"CACHE", "NOP", "RESUME", "PUSH_NULL", "PRECALL", "EXTENDED_ARG"})
_NOT_READING = ("MAKE_CELL", "STORE_FAST", "STORE_DEREF", "DELETE_FAST", "DELETE_DEREF")


def shares_context(definition: FunctionDefinition) -> bool:
    """Whether its calls may see or change what other calls of the same answer do to the context variables.

    A parameter `context_variables` says so. A `ToolContext` has them as well, but most functions want its idempotency
    key alone and lose nothing by running at the same time. That is believed of a function that does nothing with its
    `ToolContext` but read the other fields, by name. One that hands it to a helper, keeps it, asks for an attribute by
    a text or cannot be looked into shares the context: calls that run in order without need only take longer, and
    calls that should have run in order lose what was changed.
    """
    if definition.context_parameter is not None:
        return True
    names = definition.tool_context_parameters
    return bool(names) and not _only_reads(definition.fn, frozenset(names))


def _only_reads(fn: Callable[..., Any], names: frozenset[str]) -> bool:
    """Whether a function, with what it is wrapped in, only reads what cannot be changed of the parameters `names`."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    target: Any = fn
    seen: set[int] = set()
    while (inner := getattr(target, "__wrapped__", None)) is not None:
        code = _code_of(target)
        if id(target) in seen or code is None or not _passes_on(target, code, inner):
            return False
        seen.add(id(target))
        target = inner
    code = _code_of(target)
    return code is not None and names <= set(_named_parameters(code)) and _reads_fields_only(code, names)


def _code_of(target: Any) -> CodeType | None:
    """The code of a function, method or callable object; None if there is none in Python."""
    if not hasattr(target, "__code__"):
        target = getattr(target, "__func__", None) or inspect.getattr_static(type(target), "__call__", None)
    code = getattr(target, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _named_parameters(code: CodeType) -> tuple[str, ...]:
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _reads_fields_only(code: CodeType, names: frozenset[str]) -> bool:
    """Whether each mention of `names` is followed by the name of a field that tells, here and in functions within."""
    if _BY_OTHER_WAYS.intersection(code.co_names):
        return False
    steps = _steps(code)
    for step, after in zip(steps, [*steps[1:], None], strict=True):
        named = names.intersection(_variables(step))
        if not named or step.opname in _NOT_READING or _hands_to_inner(step, code):
            continue
        last = _variables(step)[-1]
        is_field = after is not None and after.opname in ("LOAD_ATTR", "LOAD_METHOD") and after.argval in _TELLING
        if named != {last} or _variables(step).count(last) > 1 or not is_field:
            return False
    return all(_reads_fields_only(inner, names) for inner in _within(code) if names.intersection(inner.co_freevars))


def _hands_to_inner(step: dis.Instruction, code: CodeType) -> bool:
    """Whether it gives a function within the variable itself; what that one does with it is looked at there."""
    closed = step.argval in code.co_cellvars or step.argval in code.co_freevars
    return step.opname == "LOAD_CLOSURE" or (step.opname.startswith("LOAD_FAST") and closed)


def _passes_on(outer: Any, code: CodeType, inner: Any) -> bool:
    """Whether a wrapper does nothing with its arguments but call the function it wraps: `fn(*args, **kwargs)`."""
    if _named_parameters(code) or not code.co_flags & inspect.CO_VARKEYWORDS:
        return False
    positional = code.co_varnames[: bool(code.co_flags & inspect.CO_VARARGS)]
    keywords = code.co_varnames[len(positional)]
    starred = {*positional, keywords}
    if starred.intersection(code.co_cellvars) or _BY_OTHER_WAYS.intersection(code.co_names):
        return False
    steps = _steps(code)
    uses = [at for at, step in enumerate(steps) if starred.intersection(_variables(step))]
    called = [at for at in uses if keywords in _variables(steps[at])]
    allowed = {at - back for at in called for back in (0, 2)}
    return allowed.issuperset(uses) and all(_calls_with_all(steps, at, outer, inner) for at in called)


def _calls_with_all(steps: list[dis.Instruction], at: int, outer: Any, inner: Any) -> bool:
    """Whether the keywords that are loaded at `at` go to the wrapped function, together with nothing or the rest."""
    if at < 3 or [step.opname for step in steps[at + 1 : at + 3]] != ["DICT_MERGE", "CALL_FUNCTION_EX"]:
        return False
    callee, rest, empty = steps[at - 3 : at]
    given = rest.argval == () or rest.opname.startswith("LOAD_FAST")
    if not given or empty.opname != "BUILD_MAP" or callee.opname != "LOAD_DEREF":
        return False
    cells = dict(zip(outer.__code__.co_freevars, outer.__closure__ or (), strict=True))
    try:
        return cells[callee.argval].cell_contents is inner
    except (KeyError, ValueError):  # a variable of the wrapper's own, or one without a value
        return False


def _steps(code: CodeType) -> list[dis.Instruction]:
    return [step for step in dis.get_instructions(code) if step.opname not in _UNIMPORTANT]


def _variables(step: dis.Instruction) -> tuple[Any, ...]:
    """The variables a step names; newer interpreters load two at once."""
    if not any(kind in step.opname for kind in ("FAST", "DEREF", "CLOSURE", "CELL")):
        return ()
    return tuple(_flat(step.argval))


def _flat(value: Any) -> Iterable[Any]:
    return value if isinstance(value, tuple) else (value,)


def _within(code: CodeType) -> Iterator[CodeType]:
    return (constant for constant in code.co_consts if isinstance(constant, CodeType))
