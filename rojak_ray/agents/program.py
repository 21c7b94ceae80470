"""`Program`: which object is which while this process lives.

Every callable that an agent brings gets a token of its own: two objects never share one, however alike they look, and
an object keeps its token as long as it lives. The program holds nothing alive: an object that is gone is forgotten.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import os
import types
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from rojak_ray.agents.content import content_of
from rojak_ray.agents.reference import origin_of, path_of
from rojak_ray.agents.schema import FunctionDefinition, define_function, name_of
from rojak_ray.agents.spec import FunctionRef
from rojak_ray.checks import kind_of, reason_of
from rojak_ray.errors import InvalidAgent
from rojak_ray.ids import RandomIds

_MOST_HELD = 256
"""Callables that cannot be referred to weakly, such as objects with slots: the latest are held."""

_PLAIN = frozenset({type(None), bool, int, float, str, bytes})

_Key = tuple[int, int, bool]


@dataclass(frozen=True, eq=False)
class Implementation:
    """A function and how it is referred to. Whoever has it holds the function alive."""

    ref: FunctionRef
    origin: str
    fn: Callable[..., Any]
    writes_instructions: bool = False
    """It writes an agent's instructions: no model calls it, so it needs neither a schema nor a proper name."""

    fixed: bool = False
    """See `Content.fixed`."""

    shape: FunctionDefinition | None = field(default=None, repr=False)
    """The definition but for the function, if it is at hand."""

    @property
    def token(self) -> str:
        """What tells this function from every other."""
        return self.ref.ref or ""

    @property
    def identity(self) -> tuple[int, int]:
        """The same for two that are one object, while it is held."""
        return _key_of(self.fn, False)[:2]

    @cached_property
    def definition(self) -> FunctionDefinition:
        """What a model sees of it; raises InvalidAgent if no schema can be made."""
        return replace(self.shape, fn=self.fn) if self.shape is not None else define_function(self.fn)


@dataclass(frozen=True, eq=False)
class _Known:
    """What is remembered of a callable, without holding it."""

    key: _Key
    ref: FunctionRef
    origin: str
    fixed: bool
    shape: FunctionDefinition | None
    alive: Callable[[], Callable[..., Any] | None]


class Program:
    """Tokens of this process."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._life, self._pid = RandomIds().new_id()[:16], os.getpid()
        self._numbers = itertools.count(1)
        self._by_key: dict[_Key, _Known] = {}
        self._by_token: dict[str, _Known] = {}
        self._held: OrderedDict[str, Any] = OrderedDict()
        self._watchers: weakref.WeakSet[_Gone] = weakref.WeakSet()

    @property
    def id(self) -> str:
        """Names this process; every token given here begins with it."""
        if self._pid != os.getpid():  # a copy made by fork: what it knows stays, what it gets to know is its own
            self._life, self._pid = RandomIds().new_id()[:16], os.getpid()
        return self._life

    def describe(self, fn: Callable[..., Any], *, writes_instructions: bool = False) -> Implementation:
        """A callable with its token, its path and its content.

        Raises:
            InvalidAgent: A model is to call it, and it has no usable name or a parameter no schema can be made for.
        """
        try:
            key = _key_of(fn, writes_instructions)
            known = self._by_key.get(key)
            if known is None or not _same(known.alive(), fn):
                return self._remember(key, fn)
        except InvalidAgent:
            raise
        except BaseException as error:  # noqa: BLE001  (each look at a user's object may run code of its class)
            raise InvalidAgent(
                f"A callable of the class {kind_of(fn)} cannot be read: {reason_of(error)}. Write a plain function."
            ) from None
        return _implementation(known, fn)

    def find(self, token: str) -> Implementation | None:
        """The function that has this token, if it is still alive."""
        known = self._by_token.get(token)
        fn = known.alive() if known is not None else None
        return _implementation(known, fn) if known is not None and fn is not None else None

    def watch(self) -> _Gone:
        """The tokens of functions that are gone, as they go."""
        watcher = _Gone()
        self._watchers.add(watcher)
        return watcher

    def _remember(self, key: _Key, fn: Callable[..., Any]) -> Implementation:
        # All of the user's objects are read before anything is kept: what cannot be described leaves nothing behind.
        writes = key[2]
        name = "instructions" if writes else name_of(fn)
        definition = None if writes else define_function(fn)
        content = content_of(fn)
        token = f"{self.id}.{next(self._numbers)}"
        ref = FunctionRef(name=name, ref=token, path=path_of(fn), content=content.digest if content else None)
        shape = replace(definition, fn=_nothing) if definition and _holds_nothing(definition) else None
        fixed = content is not None and content.fixed
        known = _Known(key, ref, origin_of(fn), fixed, shape, self._weakly(key, token, fn))
        self._by_key[key] = self._by_token[token] = known
        made = Implementation(ref, known.origin, fn, writes, fixed, shape)
        if definition is not None:
            vars(made)["definition"] = definition
        return made

    def _weakly(self, key: _Key, token: str, fn: Callable[..., Any]) -> Callable[[], Callable[..., Any] | None]:
        """How to get at the callable as long as it lives."""
        forget = functools.partial(_forget, weakref.ref(self), token)
        try:
            if isinstance(fn, types.MethodType):  # made anew at each access: what lives is the object it is bound to
                return functools.partial(_bound, weakref.ref(fn.__self__, forget), weakref.ref(fn.__func__, forget))
            return weakref.ref(fn, forget)
        except TypeError:
            self._held[token] = fn
            while len(self._held) > _MOST_HELD:
                self.forget(next(iter(self._held)))
            return functools.partial(self._held.get, token)

    def forget(self, token: str) -> None:
        """A callable is gone."""
        self._held.pop(token, None)
        known = self._by_token.pop(token, None)
        if known is None:
            return
        if self._by_key.get(known.key) is known:
            del self._by_key[known.key]
        for watcher in tuple(self._watchers):
            watcher.tokens.append(token)


class _Gone:
    """See `Program.watch`. Watched as long as somebody has it."""

    def __init__(self) -> None:
        self.tokens: deque[str] = deque()

    def take(self) -> list[str]:
        """The tokens since the last time."""
        return [self.tokens.popleft() for _ in range(len(self.tokens))]


@functools.cache
def this_program() -> Program:
    """The one of this process."""
    return Program()


def program_of(token: str) -> str:
    """The program that gave a token."""
    return token.partition(".")[0]


def _key_of(fn: Callable[..., Any], writes_instructions: bool) -> _Key:
    if isinstance(fn, types.MethodType):
        return id(fn.__self__), id(fn.__func__), writes_instructions
    return id(fn), 0, writes_instructions


def _same(known: Any, fn: Any) -> bool:
    """Whether an object that has a known key is the one that got it: ids are given again."""
    if isinstance(known, types.MethodType) and isinstance(fn, types.MethodType):
        return known.__self__ is fn.__self__ and known.__func__ is fn.__func__
    return known is fn


def _bound(owner: weakref.ref[Any], method: weakref.ref[Any]) -> Callable[..., Any] | None:
    bound, function = owner(), method()
    return types.MethodType(function, bound) if bound is not None and function is not None else None


def _forget(program: weakref.ref[Program], token: str, _: weakref.ref[Any]) -> None:
    found = program()
    if found is not None:
        found.forget(token)


def _implementation(known: _Known, fn: Callable[..., Any]) -> Implementation:
    return Implementation(known.ref, known.origin, fn, known.key[2], known.fixed, known.shape)


def _holds_nothing(definition: FunctionDefinition) -> bool:
    """Whether keeping a definition keeps no object of the user's: a default may lead back to the function."""
    defaults = (parameter.default for parameter in definition.signature.parameters.values())
    return all(default is inspect.Parameter.empty or type(default) in _PLAIN for default in defaults)


def _nothing() -> None:
    """Stands where a function is not to be held."""
