"""The functions one process knows: by reference for callables, by name for those that a worker registered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rojak_ray.agents.reference import fingerprint, origin_of
from rojak_ray.agents.schema import FunctionDefinition, define_function
from rojak_ray.agents.spec import FunctionRef
from rojak_ray.errors import DuplicateName, FunctionNotFound


@dataclass(frozen=True)
class Implementation:
    """A function and how it is referred to."""

    ref: FunctionRef
    origin: str
    definition: FunctionDefinition


def implementation_of(fn: Callable[..., Any]) -> Implementation:
    """Describe a callable.

    Raises:
        InvalidAgent: It has no usable name, or a parameter for which no schema can be made.
    """
    definition = define_function(fn)
    ref = FunctionRef(name=definition.name, ref=fingerprint(fn))
    return Implementation(ref=ref, origin=origin_of(fn), definition=definition)


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


class FunctionRegistry:
    """Resolves references to functions.

    A callable's own reference wins. A worker's registration of a name serves those who use the name, and replaces
    the callable of the same origin, so that new code reaches conversations that began with the old.
    """

    def __init__(self) -> None:
        """Know nothing."""
        self._by_ref: dict[str, Implementation] = {}
        self._by_name: dict[str, Implementation] = {}
        self._by_callable: dict[int, tuple[Callable[..., Any], Implementation]] = {}

    def refer(self, fn: Callable[..., Any]) -> FunctionRef:
        """Name a callable and remember it."""
        known = self._by_callable.get(id(fn))
        if known is not None and known[0] is fn:
            return known[1].ref
        implementation = implementation_of(fn)
        # The callable is kept beside its id, so that the id cannot pass to another object.
        self._by_callable[id(fn)] = (fn, implementation)
        self._by_ref[implementation.ref.ref or ""] = implementation
        return implementation.ref

    def register(self, implementations: Iterable[Implementation]) -> None:
        """Make functions known by name, replacing what had the name."""
        for implementation in implementations:
            self._by_name[implementation.ref.name] = implementation
            self._by_ref[implementation.ref.ref or ""] = implementation

    def find(self, ref: FunctionRef) -> Implementation | None:
        """The function a reference stands for, if it is known here."""
        named = self._by_name.get(ref.name)
        if ref.ref is None:
            return named
        exact = self._by_ref.get(ref.ref)
        if exact is None or (named is not None and named.origin == exact.origin and "<locals>" not in exact.origin):
            return named or exact
        return exact

    def resolve(self, ref: FunctionRef) -> FunctionDefinition:
        """The function a reference stands for.

        Raises:
            FunctionNotFound: It is not known here.
        """
        found = self.find(ref)
        if found is None:
            raise FunctionNotFound(f"Function {ref.name} not found")
        return found.definition

    def restore(self, ref: FunctionRef) -> Any:
        """The callable behind a reference, or its name if the callable is not known here."""
        known = self._by_ref.get(ref.ref or "")
        return known.definition.fn if known else ref.name
