"""What a parameter's annotation means, in a form whose schema and whose checks agree.

Python's annotations say more than pydantic reads of them, or other things: keys that a TypedDict may leave out where
annotations are postponed, enum members in a Literal, `Self`, iterables that are checked only when they are used.
"""

from __future__ import annotations

import collections.abc
import enum
import functools
import inspect
import operator
import re
import types
import typing
from collections.abc import Mapping, Set
from typing import Any, cast

import typing_extensions
from pydantic import Field

from rojak_ray.agents.choices import literal_pairs
from rojak_ray.agents.function import ToolContext
from rojak_ray.checks import reason_of
from rojak_ray.errors import InvalidAgent

CONTEXT_PARAMETER = "context_variables"

_TOOL_CONTEXT_IN_TEXT = re.compile(r"(?:[\w.]*Optional\[)?(?:\w+\.)*ToolContext(?:\]|\|None)?")
_ITERABLES = (
    collections.abc.Iterable,
    collections.abc.Iterator,
    collections.abc.Generator,
    collections.abc.Collection,
    collections.abc.Reversible,
)
_QUALIFIERS = {typing.Required: True, typing.NotRequired: False}
_OF_FIELDS = (typing.ClassVar, typing.Required, typing.NotRequired, typing_extensions.ReadOnly)
_NO_ELEMENTS = (list, dict, set, collections.abc.Sequence, collections.abc.Mapping)
_NO_KEYS = (None, type(None), tuple, frozenset, *_NO_ELEMENTS)
_ENDLESS = (
    "has an annotation that refers to itself without end. Make the recursive type a dataclass, a TypedDict or a "
    "pydantic model."
)


def parameter_types(
    name: str, parameters: Mapping[str, inspect.Parameter], namespace: dict[str, Any], owner: type | None
) -> dict[str, Any]:
    """The type of each parameter. Types that only we look at may be named in text without being importable.

    Args:
        name: The function.
        parameters: Those that are looked at.
        namespace: What text can mean.
        owner: What `Self` means: the class of a method.

    Raises:
        InvalidAgent: One cannot be read; the text names it and says what to write.
    """
    found: dict[str, Any] = {}
    for key, parameter in parameters.items():
        if is_tool_context(parameter.annotation):
            found[key] = ToolContext
        elif key == CONTEXT_PARAMETER and isinstance(parameter.annotation, str):
            found[key] = dict[str, Any]
        else:
            found[key] = _resolve(parameter.annotation, namespace, owner, f"Parameter {key!r} of function {name!r}")
    return found


def is_tool_context(annotation: Any) -> bool:
    """Whether the annotation is `ToolContext`, optional, annotated or in text; text need not be importable."""
    if isinstance(annotation, str):
        return _TOOL_CONTEXT_IN_TEXT.fullmatch(annotation.replace(" ", "")) is not None
    members = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return is_tool_context(members[0])
    if origin in (typing.Union, types.UnionType):
        return all(member is types.NoneType or is_tool_context(member) for member in members)
    return annotation is ToolContext


class _Unreadable(Exception):
    """The annotation means nothing here; the text goes behind the name of its parameter."""


def _resolve(annotation: Any, namespace: dict[str, Any], owner: type | None, subject: str) -> Any:
    """The type that an annotation means; `Parameter.empty` stays."""
    if annotation is inspect.Parameter.empty:
        return annotation
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        resolved = typing.get_type_hints(holder, namespace, namespace, include_extras=True)["it"]
        return _Reader(owner).read(resolved)
    except _Unreadable as error:
        raise InvalidAgent(f"{subject} {error}") from error
    except NameError as error:
        raise InvalidAgent(
            f"{subject} has an annotation that cannot be resolved: {error}. Types named in text must be importable "
            "from the function's module."
        ) from error
    except RecursionError as error:
        raise InvalidAgent(f"{subject} {_ENDLESS}") from error
    except BaseException as error:  # noqa: BLE001  (what a user wrote as an annotation can raise anything)
        raise InvalidAgent(
            f"{subject} has an annotation that cannot be read: {reason_of(error)}. Write a type that JSON can hold: "
            "str, int, float, bool, a list or dict of them, an Enum, a dataclass, a TypedDict or a pydantic model."
        ) from None


class _Reader:
    """Reads one annotation; types that refer to themselves are read once."""

    def __init__(self, owner: type | None) -> None:
        self._owner = owner
        self._typed_dicts: dict[Any, Any] = {}

    def read(self, annotation: Any) -> Any:
        """The annotation as pydantic is to see it."""
        if isinstance(annotation, str | typing.ForwardRef):  # left over where a name stands for what contains it
            raise _Unreadable(_ENDLESS)
        if annotation is typing.Self:
            if self._owner is None:
                raise _Unreadable("is annotated with Self, which means nothing outside of a class. Name the class.")
            return self.read(self._owner)
        qualifier = typing.get_origin(annotation) or annotation
        if any(qualifier is one for one in _OF_FIELDS):
            name = str(qualifier).rpartition(".")[2]
            raise _Unreadable(f"is annotated with {name}, which is for the fields of a class. Write the type alone.")
        if inspect.isroutine(annotation):
            raise _Unreadable(f"is annotated with the function {name_of_routine(annotation)}. Write a type.")
        if typing.is_typeddict(annotation) or typing.is_typeddict(typing.get_origin(annotation)):
            return self._typed_dict(annotation)
        if annotation in _ITERABLES:
            return list[Any]
        if isinstance(annotation, type) and not typing.get_args(annotation):
            return _of_class(annotation)
        return self._generic(annotation)

    def _generic(self, annotation: Any) -> Any:
        origin, members = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is None:
            return annotation
        if origin is typing.Literal:
            return _literal(annotation, members)
        if origin in _ITERABLES:
            return list[self.read(members[0])]
        _check_hashed(origin, members)
        if origin is typing.Annotated:
            return cast("Any", typing.Annotated)[self.read(members[0]), *_described(members[1:])]
        readable = tuple(self.read(member) for member in members)
        if all(new is old for new, old in zip(readable, members, strict=True)):
            return annotation
        if origin is types.UnionType:
            return functools.reduce(operator.or_, readable)
        return origin[readable]

    def _typed_dict(self, annotation: Any) -> Any:
        """A class that pydantic reads before Python 3.12, with the keys it needs, however they were spelled."""
        if annotation in self._typed_dicts:
            return self._typed_dicts[annotation]
        origin = typing.get_origin(annotation) or annotation
        made: Any = cast("Any", typing_extensions.TypedDict)(origin.__name__, {})
        self._typed_dicts[annotation] = made
        given = dict(zip(getattr(origin, "__parameters__", ()), typing.get_args(annotation), strict=False))
        hints = typing.get_type_hints(origin, localns={origin.__name__: origin}, include_extras=True)
        needed: set[str] = set()
        fields: dict[str, Any] = {}
        for name, hint in hints.items():
            bare, required = _without_qualifiers(hint)
            if required or (required is None and name in origin.__required_keys__):
                needed.add(name)
            fields[name] = self.read(_with_arguments(bare, given))
        made.__annotations__ = fields
        made.__required_keys__ = frozenset(needed)
        made.__optional_keys__ = frozenset(hints) - needed
        made.__doc__ = origin.__doc__
        return made


def name_of_routine(routine: Any) -> str:
    """The name of a function, for an error."""
    return repr(getattr(routine, "__qualname__", "?"))


def _check_hashed(origin: Any, members: tuple[Any, ...]) -> None:
    """Refuse keys that no JSON object has, and elements that no set can hold: every argument would be refused."""
    if not isinstance(origin, type) or not members:
        return
    if issubclass(origin, Mapping) and _is_one_of_these(members[0], _NO_KEYS):
        raise _Unreadable(
            f"has keys of {members[0]!r:.60}, and the keys of a JSON object are texts. Use dict[str, ...], or a list "
            "of a dataclass with the key as a field."
        )
    if issubclass(origin, Set) and _is_one_of_these(members[0], _NO_ELEMENTS):
        raise _Unreadable(f"is a set of {members[0]!r:.60}, which cannot be in a set. Use a list.")


def _is_one_of_these(annotation: Any, kinds: tuple[Any, ...]) -> bool:
    """Whether nothing that an annotation allows is of another kind."""
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return all(member is None for member in typing.get_args(annotation)) and type(None) in kinds
    if origin in (typing.Union, types.UnionType):
        return all(_is_one_of_these(member, kinds) for member in typing.get_args(annotation))
    if origin is typing.Annotated:
        return _is_one_of_these(typing.get_args(annotation)[0], kinds)
    return any((origin or annotation) is kind for kind in kinds)


def _without_qualifiers(hint: Any) -> tuple[Any, bool | None]:
    """A TypedDict's hint without `Required`, `NotRequired` and `ReadOnly`, and whether it says that it is required."""
    required: bool | None = None
    notes: tuple[Any, ...] = ()
    while True:
        origin = typing.get_origin(hint)
        if origin is typing.Annotated:
            hint, notes = typing.get_args(hint)[0], (*typing.get_args(hint)[1:], *notes)
        elif origin in _QUALIFIERS or origin is typing_extensions.ReadOnly:
            hint, required = typing.get_args(hint)[0], _QUALIFIERS.get(origin, required)
        else:
            return (cast("Any", typing.Annotated)[hint, *notes] if notes else hint), required


def _with_arguments(hint: Any, given: Mapping[Any, Any]) -> Any:
    """The hint with a generic's type variables replaced."""
    if isinstance(hint, typing.TypeVar):
        return given.get(hint, Any)
    variables = getattr(hint, "__parameters__", ())
    return hint[tuple(given.get(variable, Any) for variable in variables)] if variables and given else hint


def _described(notes: tuple[Any, ...]) -> tuple[Any, ...]:
    """The notes of an `Annotated`, with a text among them as the description. A Field's description comes first."""
    rest = tuple(note for note in notes if not isinstance(note, str))
    documents = [text for note in rest if isinstance(text := getattr(note, "documentation", None), str)]
    texts = [text.strip() for text in (*documents, *notes) if isinstance(text, str) and text.strip()]
    if not texts or any(getattr(note, "description", None) for note in rest):
        return rest or (None,)
    return (*rest, Field(description=texts[0]))


def _of_class(kind: type) -> Any:
    if issubclass(kind, enum.Enum) and not list(kind):
        raise _Unreadable(f"is of {kind.__name__}, an Enum without members. Give it some, or another type.")
    return kind


def _literal(annotation: Any, members: tuple[Any, ...]) -> Any:
    """A Literal whose choices JSON can hold."""
    try:
        literal_pairs(members)
    except ValueError as error:
        raise _Unreadable(str(error)) from None
    return annotation
