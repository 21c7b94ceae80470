"""The functions one process knows: by reference for callables, by name for those that a worker registered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar

from rojak_ray.agents.reference import fingerprint, origin_of
from rojak_ray.agents.schema import FunctionDefinition, define_function, name_of
from rojak_ray.agents.spec import FunctionRef
from rojak_ray.errors import DuplicateName, FunctionNotFound


@dataclass(frozen=True)
class Implementation:
    """A function and how it is referred to."""

    ref: FunctionRef
    origin: str
    fn: Callable[..., Any]
    writes_instructions: bool = False
    """It writes an agent's instructions: no model calls it, so it needs neither a schema nor a proper name."""

    @cached_property
    def definition(self) -> FunctionDefinition:
        """What a model sees of it; raises InvalidAgent if no schema can be made."""
        return define_function(self.fn)


def implementation_of(fn: Callable[..., Any], *, writes_instructions: bool = False) -> Implementation:
    """Describe a callable.

    Raises:
        InvalidAgent: A model is to call it, and it has no usable name or a parameter no schema can be made for.
    """
    name = "instructions" if writes_instructions else name_of(fn)
    ref = FunctionRef(name=name, ref=fingerprint(fn))
    found = Implementation(ref=ref, origin=origin_of(fn), fn=fn, writes_instructions=writes_instructions)
    if not writes_instructions:
        found.definition  # noqa: B018  (refused here, where the program can see it, not when a model calls it)
    return found


def distinct(functions: Iterable[Callable[..., Any]]) -> list[Implementation]:
    """Describe a worker's functions; the same callable twice counts once.

    Raises:
        DuplicateName: Two different functions share a name.
    """
    found: dict[str, Implementation] = {}
    for fn in functions:
        implementation = implementation_of(fn)
        known = found.setdefault(implementation.ref.name, implementation)
        if known.ref != implementation.ref:
            raise DuplicateName(
                f"Two different functions are named {known.ref.name!r} ({known.origin} and {implementation.origin}); "
                "rename one of them."
            )
    return list(found.values())


class Described(Protocol):
    """A function by its reference and the place of its definition."""

    @property
    def ref(self) -> FunctionRef:
        """Name and fingerprint."""
        ...

    @property
    def origin(self) -> str:
        """`module:qualified.name`."""
        ...


Known = TypeVar("Known", bound=Described)


def meant(ref: FunctionRef, by_ref: Mapping[str, Known], by_name: Mapping[str, Known]) -> Known | None:
    """Which function a reference means: the one it was made from, or the one a worker registered by its name.

    A callable's own reference wins. A worker's registration serves those who use the name, and replaces the callable
    of the same origin, so that new code reaches conversations that began with the old; closures share an origin
    without being the same, so they are never replaced. Where the very callable is not known (its program was started
    again with other code, or captured something that changed), the latest one of its name stands in.
    """
    named = by_name.get(ref.name)
    if ref.ref is None:
        return named
    exact = by_ref.get(ref.ref)
    if exact is None:
        return named or next((known for known in reversed(list(by_ref.values())) if known.ref.name == ref.name), None)
    replaced = named is not None and named.origin == exact.origin and "<locals>" not in exact.origin
    return named if replaced else exact


class FunctionRegistry:
    """Resolves references to functions; `meant` is the rule."""

    def __init__(self) -> None:
        """Know nothing."""
        self._by_ref: dict[str, Implementation] = {}
        self._by_name: dict[str, Implementation] = {}
        self._by_callable: dict[tuple[int, bool], Implementation] = {}

    def refer(self, fn: Callable[..., Any], *, writes_instructions: bool = False) -> FunctionRef:
        """Name a callable and remember it."""
        return self.describe(fn, writes_instructions=writes_instructions).ref

    def describe(self, fn: Callable[..., Any], *, writes_instructions: bool = False) -> Implementation:
        """Describe a callable and remember it."""
        key = (id(fn), writes_instructions)
        known = self._by_callable.get(key)
        # What is remembered holds the callable, so its id cannot pass to another object. A bound method is made anew
        # at each access, hence the comparison.
        if known is None or known.fn is not fn:
            known = implementation_of(fn, writes_instructions=writes_instructions)
            self._by_callable[key] = known
            self._by_ref[known.ref.ref or ""] = known
        return known

    def register(self, implementations: Iterable[Implementation]) -> None:
        """Make functions known by name, replacing what had the name."""
        for implementation in implementations:
            self._by_name[implementation.ref.name] = implementation
            self._by_ref[implementation.ref.ref or ""] = implementation

    def find(self, ref: FunctionRef) -> Implementation | None:
        """The function a reference stands for, if it is known here."""
        return meant(ref, self._by_ref, self._by_name)

    def resolve(self, ref: FunctionRef) -> Implementation:
        """The function a reference stands for.

        Raises:
            FunctionNotFound: It is not known here.
        """
        found = self.find(ref)
        if found is None:
            raise FunctionNotFound(f"Function {ref.name} not found")
        return found

    def restore(self, ref: FunctionRef) -> Any:
        """The callable behind a reference, or its name if the callable is not known here."""
        known = self._by_ref.get(ref.ref or "")
        return known.fn if known else ref.name
