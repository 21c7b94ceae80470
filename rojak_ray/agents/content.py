"""What a callable is and reaches, as a digest: the same in every process, and none where something cannot be read.

Two functions with one digest have the same code, defaults and annotations, captured the same values and see the same
in the globals they name, all the way down. Where that cannot be said (a connection, a lock, an object of an extension
module, more than is sensible to read) there is no digest, and the function is known by its identity or path alone.

Nothing of the user's runs: attributes are read as they are stored, not through properties, `__getattr__` or
`__reduce__`, which may leave out the very thing in which two objects differ.
"""

from __future__ import annotations

import collections
import copyreg
import datetime
import decimal
import enum
import fractions
import functools
import hashlib
import inspect
import ipaddress
import logging
import pathlib
import re
import sys
import types
import uuid
import zoneinfo
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from pydantic_core import PydanticUndefined

from rojak_ray.agents.layout import NotReadable, attributes, is_written_in_python, solid_base
from rojak_ray.agents.modules import is_installed_name
from rojak_ray.agents.unnamed import brought_in, reaches_anything, reaches_by_text

_MOST_PARTS = 20_000
_MOST_BYTES = 1 << 20
_MAX_DEPTH = 60

_SCALARS = (int, float, complex, str, bytes, bytearray)
_SEQUENCES = (list, tuple, collections.deque)
_SETS = (set, frozenset)
_MAPPINGS = (collections.OrderedDict, collections.defaultdict, dict)
_CONTAINERS = (*_SEQUENCES, *_SETS, *_MAPPINGS)
_READABLE_BASES = (object, *_SCALARS, *_CONTAINERS)
_VALUES = (
    datetime.date,
    datetime.time,
    datetime.datetime,
    datetime.timedelta,
    datetime.timezone,
    zoneinfo.ZoneInfo,
    decimal.Decimal,
    fractions.Fraction,
    uuid.UUID,
    re.Pattern,
    range,
    slice,
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
    *(kind for kind in vars(pathlib).values() if isinstance(kind, type) and issubclass(kind, pathlib.PurePath)),
)
"""Types without attributes of their own that pickle as a whole; they never change."""

_BY_VALUE = frozenset({tuple, frozenset, types.CodeType, *_VALUES})

_TYPING = frozenset({"typing", "types", "typing_extensions"})
_HELD_BY_TYPES = ("__origin__", "__args__", "__metadata__", "__forward_arg__", "__supertype__", "__bound__")
_OF_A_MODEL_FIELD = ("annotation", "default_factory", "alias", "title", "description", "metadata", "json_schema_extra")
_OF_A_CLASS_ITSELF = frozenset(
    {
        "__dict__",
        "__weakref__",
        "__module__",
        "__qualname__",
        "__abstractmethods__",
        "_abc_impl",
        "__dataclass_fields__",  # what they say is in the methods made from them
        "__dataclass_params__",
        "__match_args__",
        "__firstlineno__",
        "__static_attributes__",
        "__signature__",
        "__parameters__",
    }
)


@dataclass(frozen=True)
class Content:
    """The digest of a callable."""

    digest: str
    """32 hex digits."""

    fixed: bool
    """Nothing in it can change or be told apart by identity: any callable of this digest may stand for any other."""


def content_of(fn: Callable[..., Any]) -> Content | None:
    """The digest of a callable and all it reaches, or None if something of it cannot be read whole.

    Bounded: what is too much to read quickly counts as what cannot be read. Raises nothing, whatever objects there are.
    """
    reader = _Reader()
    try:
        for text in reader.parts(fn, 0):
            reader.add(text)
    except BaseException:  # noqa: BLE001  (a hostile object, or NotReadable: there is no digest)
        return None
    return Content(reader.hasher.hexdigest()[:32], reader.fixed)


class _Reader:
    """One walk. Each object is read once; where it comes again, its number stands for it."""

    def __init__(self) -> None:
        self.hasher = hashlib.sha256()
        self.fixed = True
        self._seen: dict[int, tuple[int, Any]] = {}
        self._bytes = 0
        self._parts = 0

    def add(self, text: str) -> None:
        raw = text.encode("utf-8", "surrogatepass")
        self._bytes += len(raw)
        self._parts += 1
        if self._bytes > _MOST_BYTES or self._parts > _MOST_PARTS:
            raise NotReadable
        self.hasher.update(f"{len(raw)}:".encode())
        self.hasher.update(raw)

    def parts(self, value: Any, depth: int) -> Iterator[str]:
        """Text that differs if the value does."""
        kind = type(value)
        if value is None or value is Ellipsis or value is NotImplemented or kind is bool:
            yield repr(value)
            return
        if kind in _SCALARS:
            yield self._scalar(value, kind)
            return
        if depth > _MAX_DEPTH or len(self._seen) > _MOST_PARTS:
            raise NotReadable
        if kind not in _BY_VALUE:  # whether equal values are one object or two is up to the interpreter
            if (known := self._seen.get(id(value))) is not None:
                yield f"again={known[0]}"
                return
            self._seen[id(value)] = (len(self._seen), value)  # held, so that its id cannot pass to another object
        reading = _READERS.get(kind, _Reader._special)
        yield from reading(self, value, depth + 1)

    def _scalar(self, value: Any, kind: type) -> str:
        if kind in (str, bytes, bytearray) and len(value) > _MOST_BYTES:
            raise NotReadable
        if kind is bytearray:
            self.fixed = False
        return f"{kind.__name__}={value!r}"

    def each(self, values: Iterable[Any], depth: int) -> Iterator[str]:
        for value in values:
            yield from self.parts(value, depth)
        yield "end"

    def named(self, pairs: Iterable[tuple[str, Any]], depth: int) -> Iterator[str]:
        for name, value in pairs:
            yield f".{name}"
            yield from self.parts(value, depth)
        yield "end"

    # Code

    def code(self, code: types.CodeType, depth: int) -> Iterator[str]:
        yield f"code={code.co_code.hex()} {code.co_exceptiontable.hex()}"
        yield f"names={code.co_names} {code.co_varnames} {code.co_freevars} {code.co_cellvars} {code.co_name}"
        yield f"shape={code.co_argcount} {code.co_posonlyargcount} {code.co_kwonlyargcount} {code.co_flags}"
        yield from self.each(code.co_consts, depth)

    def function(self, fn: types.FunctionType, depth: int) -> Iterator[str]:
        yield f"function={fn.__module__}:{fn.__qualname__}"
        if reaches_by_text(fn):
            raise NotReadable
        if _installed_as(fn, fn.__module__, fn.__qualname__):
            return  # a library's: the same wherever that library is
        yield from self.code(fn.__code__, depth)
        yield from self.named(fn.__annotations__.items(), depth)
        yield from self.each(fn.__defaults__ or (), depth)
        yield from self.named((fn.__kwdefaults__ or {}).items(), depth)
        if fn.__closure__:
            self.fixed = False  # a variable of the enclosing function may be set anew by whoever shares it
        for cell in fn.__closure__ or ():
            yield from self._cell(cell, depth)
        yield from self.parts(fn.__doc__, depth)
        yield from self.named(sorted(fn.__dict__.items()), depth)
        yield from self._globals(fn, depth)

    def _cell(self, cell: Any, depth: int) -> Iterator[str]:
        try:
            value = cell.cell_contents
        except ValueError:  # a variable of the enclosing function that has no value yet
            yield "empty cell"
            return
        yield from self.parts(value, depth)

    def _globals(self, fn: types.FunctionType, depth: int) -> Iterator[str]:
        """What the names in its code mean where it was written. Names of attributes are among them: no harm done."""
        names = sorted(set(_names_in(fn.__code__)))
        named = [(name, fn.__globals__[name]) for name in names if name in fn.__globals__]
        brought = list(brought_in(fn.__code__, names, fn.__globals__))
        if reaches_anything(fn, names, [value for _, value in (*named, *brought)]):
            raise NotReadable
        for name, value in (*named, *brought):
            yield f"global {name}"
            if isinstance(value, types.ModuleType) and not is_installed_name(value.__name__):
                self.fixed = False
                yield f"module={value.__name__}"
                inner = vars(value)
                yield from self.named(((each, inner[each]) for each in names if each in inner), depth)
            else:
                yield from self.parts(value, depth)

    def method(self, method: types.MethodType, depth: int) -> Iterator[str]:
        yield from self.each((method.__func__, method.__self__), depth)

    def partial(self, partial: functools.partial[Any], depth: int) -> Iterator[str]:
        yield "partial"
        yield from self.each((partial.func, partial.args, partial.keywords, vars(partial)), depth)

    def builtin(self, fn: types.BuiltinFunctionType, depth: int) -> Iterator[str]:
        if reaches_by_text(fn):
            raise NotReadable
        yield f"builtin={fn.__module__}:{fn.__qualname__}"
        if fn.__self__ is not None and not isinstance(fn.__self__, types.ModuleType):
            yield from self.parts(fn.__self__, depth)

    # Classes

    def cls(self, cls: type, depth: int) -> Iterator[str]:
        yield f"class={cls.__module__}:{cls.__qualname__}"
        if _installed_as(cls, cls.__module__, cls.__qualname__):
            return
        if not is_written_in_python(cls):
            raise NotReadable
        yield from self.each(cls.__bases__, depth)
        if type(cls) is not type:
            yield from self.parts(type(cls), depth)
        yield from self._fields(cls, depth)
        own = ((name, value) for name, value in vars(cls).items() if _tells(name))
        yield from self.named(own, depth)

    def _fields(self, cls: type, depth: int) -> Iterator[str]:
        """What the fields of a dataclass or a pydantic model say beyond the methods that are made from them."""
        for name, field in dict(vars(cls).get("__dataclass_fields__") or {}).items():
            if metadata := dict(getattr(field, "metadata", None) or {}):
                yield f"field={name}"
                yield from self.parts(metadata, depth)
        for name, field in dict(vars(cls).get("__pydantic_fields__") or {}).items():
            yield f"field={name}"
            default = getattr(field, "default", None)
            told = {about: getattr(field, about, None) for about in _OF_A_MODEL_FIELD}
            yield from self.each((*told.values(), None if default is PydanticUndefined else [default]), depth)

    def wrapped(self, value: Any, depth: int) -> Iterator[str]:
        yield type(value).__name__
        yield from self.parts(value.__func__, depth)

    def prop(self, value: property, depth: int) -> Iterator[str]:
        yield "property"
        yield from self.each((value.fget, value.fset, value.fdel), depth)

    def cached_prop(self, value: functools.cached_property[Any], depth: int) -> Iterator[str]:
        yield f"cached_property={value.attrname}"
        yield from self.parts(value.func, depth)

    def descriptor(self, value: Any, depth: int) -> Iterator[str]:
        del depth
        yield f"descriptor={value.__name__}"

    # Values

    def module(self, module: types.ModuleType, depth: int) -> Iterator[str]:
        del depth
        if not is_installed_name(module.__name__) or reaches_by_text(module):
            raise NotReadable
        yield f"module={module.__name__}"

    def logger(self, logger: logging.Logger, depth: int) -> Iterator[str]:
        del depth
        yield f"logger={logger.name}"

    def alias(self, value: Any, depth: int) -> Iterator[str]:
        yield type(value).__name__
        yield from self.each((getattr(value, "__origin__", None), value.__args__), depth)

    def proxy(self, value: types.MappingProxyType[Any, Any], depth: int) -> Iterator[str]:
        yield "mappingproxy"
        yield from self.parts(dict(value), depth)

    def _special(self, value: Any, depth: int) -> Iterator[str]:
        kind = type(value)
        if isinstance(value, type):
            yield from self.cls(value, depth)
        elif kind in _VALUES:
            reduce = copyreg.dispatch_table.get(kind)
            made: Any = reduce(value) if reduce is not None else value.__reduce_ex__(4)
            yield f"value={kind.__module__}:{kind.__qualname__}"
            yield from self.each(made[1:3], depth)
        elif isinstance(value, enum.Enum):
            yield f"member={value._name_}"
            yield from self.each((kind, value._value_), depth)
        elif kind.__module__ in _TYPING:
            yield from self._typing(value, depth)
        elif (name := _name_of_singleton(value)) is not None:
            yield f"singleton={kind.__module__}:{name}"
        else:
            yield from self._instance(value, kind, depth)

    def _typing(self, value: Any, depth: int) -> Iterator[str]:
        """An annotation: generic types and their arguments, type variables, special forms."""
        yield f"typing={type(value).__qualname__} {getattr(value, '__name__', None) or getattr(value, '_name', '')}"
        held = [getattr(value, name, None) for name in _HELD_BY_TYPES]
        if held == [None] * len(held):
            yield repr(value)
        yield from self.each(held, depth)

    def _instance(self, value: Any, kind: type, depth: int) -> Iterator[str]:
        base = solid_base(kind)
        if base not in _READABLE_BASES or kind is object:  # a bare object() means nothing but itself
            raise NotReadable
        self.fixed = self.fixed and kind in (tuple, frozenset)
        yield from self.parts(kind, depth)
        if base in _SCALARS:
            yield from self.parts(_plain(value, base), depth)
        elif base in _CONTAINERS:
            yield from self._contained(value, base, depth)
        yield from self.named(attributes(value, kind), depth)

    def _contained(self, value: Any, base: type, depth: int) -> Iterator[str]:
        if len(value) > _MOST_PARTS:
            raise NotReadable
        if base in _SETS:
            yield from self._unordered(value, base, depth)
        elif base in _SEQUENCES:
            yield from self.each(cast("Any", base).__iter__(value), depth)
        else:
            if isinstance(value, collections.defaultdict):
                yield from self.parts(cast("Any", value).default_factory, depth)
            for key, item in dict.items(value):
                yield from self.each((key, item), depth)
        yield "end"

    def _unordered(self, value: Any, base: type, depth: int) -> Iterator[str]:
        """A set's elements have no order that stays: those that are plain are sorted, others cannot be numbered."""
        elements: list[str] = []
        for element in cast("Any", base).__iter__(value):
            if type(element) not in (*_SCALARS, bool, types.NoneType) and not _is_plain_tuple(element):
                raise NotReadable
            elements.append(repr(element))
        del depth
        yield from sorted(elements)


_READERS: dict[Any, Any] = {
    types.CodeType: _Reader.code,
    types.FunctionType: _Reader.function,
    types.MethodType: _Reader.method,
    types.BuiltinFunctionType: _Reader.builtin,
    functools.partial: _Reader.partial,
    staticmethod: _Reader.wrapped,
    classmethod: _Reader.wrapped,
    property: _Reader.prop,
    functools.cached_property: _Reader.cached_prop,
    types.MemberDescriptorType: _Reader.descriptor,
    types.GetSetDescriptorType: _Reader.descriptor,
    types.ModuleType: _Reader.module,
    logging.Logger: _Reader.logger,
    types.GenericAlias: _Reader.alias,
    types.UnionType: _Reader.alias,
    types.MappingProxyType: _Reader.proxy,
}


def _names_in(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_in(constant)


def _installed_as(value: Any, module: Any, qualname: str) -> bool:
    """Whether a value is what an installed module has under this name."""
    return isinstance(module, str) and is_installed_name(module) and lookup(module, qualname) is value


def lookup(module: str, qualname: str) -> Any:
    """What a loaded module has under a qualified name; None if there is nothing. Nothing is imported."""
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        if isinstance(found, types.ModuleType):
            found = vars(found).get(name)
        elif isinstance(found, type):
            found = inspect.getattr_static(found, name, None)
        else:
            return None
    return cast("Any", found).__func__ if isinstance(found, staticmethod) else found


def _plain(value: Any, base: type) -> Any:
    """The value of a scalar of a subclass, without asking the subclass what it is."""
    if base is str:
        return str.__str__(value)
    if base is float:
        return float.__float__(value)
    if base is int:
        return int.__int__(value)
    if base is bytes:
        return bytes.__getitem__(value, slice(None))
    raise NotReadable


def _tells(name: str) -> bool:
    return name not in _OF_A_CLASS_ITSELF and not name.startswith("__pydantic_")


def _name_of_singleton(value: Any) -> str | None:
    """The name under which the module of its class has a value that pickles as that name, such as a sentinel's."""
    kind = type(value)
    if not is_installed_name(kind.__module__) or "__reduce__" not in vars(kind):
        return None
    name = value.__reduce__()
    return name if isinstance(name, str) and lookup(kind.__module__, name) is value else None


def _is_plain_tuple(value: Any) -> bool:
    return type(value) is tuple and all(
        type(item) in (*_SCALARS, bool, types.NoneType) or _is_plain_tuple(item) for item in cast("Any", value)
    )
