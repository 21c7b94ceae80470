"""The functions one process knows, and which of them a reference means.

While the program that gave a callable lives, its reference means that very object. After that it means what has its
import path, or else the one callable that has its content; never what merely has its name. A name alone means what a
worker registered under it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from rojak_ray.agents.program import Implementation, this_program
from rojak_ray.agents.reference import found_in_main, loaded_from
from rojak_ray.agents.spec import FunctionRef
from rojak_ray.errors import DuplicateName, FunctionNotFound


def distinct(functions: Iterable[Callable[..., Any]]) -> list[Implementation]:
    """Describe a worker's functions; the same callable twice counts once.

    Raises:
        DuplicateName: Two different functions share a name.
    """
    found: dict[str, Implementation] = {}
    for fn in functions:
        implementation = this_program().describe(fn)
        known = found.setdefault(implementation.ref.name, implementation)
        if known.ref != implementation.ref:
            raise DuplicateName(
                f"Two different functions are named {known.ref.name!r} ({known.origin} and {implementation.origin}); "
                "rename one of them."
            )
    return list(found.values())


class FunctionRegistry:
    """Resolves references to functions.

    It holds what workers registered, and what conversations need: `pin` before one may name a function, `needs`
    whenever what one names has changed. Everything else lives as long as the user's own objects do.
    """

    def __init__(self) -> None:
        """Know nothing."""
        self._program = this_program()
        self._gone = self._program.watch()
        self._by_name: dict[str, Implementation] = {}
        self._met: dict[str, FunctionRef] = {}
        """What was referred to or registered here, by token."""

        self._alike: dict[str, dict[str, None]] = {}
        """Tokens by path, and by content."""

        self._needed: dict[Hashable, dict[str, Implementation]] = {}
        self._pinned: dict[Hashable, dict[str, Implementation]] = {}
        self._held: dict[str, Implementation] = {}
        self._holders: Counter[str] = Counter()

    def refer(self, fn: Callable[..., Any], *, writes_instructions: bool = False) -> FunctionRef:
        """Name a callable and remember it, as long as it lives."""
        return self.describe(fn, writes_instructions=writes_instructions).ref

    def describe(self, fn: Callable[..., Any], *, writes_instructions: bool = False) -> Implementation:
        """Describe a callable and remember it, as long as it lives."""
        found = self._program.describe(fn, writes_instructions=writes_instructions)
        self._meet(found)
        return found

    def register(self, implementations: Iterable[Implementation]) -> None:
        """Make functions known by name, replacing what had the name."""
        for implementation in implementations:
            self._meet(implementation)
            self._by_name[implementation.ref.name] = implementation

    def pin(self, holder: Hashable, refs: Iterable[FunctionRef]) -> None:
        """Hold functions for a conversation that is about to name them, until `needs` says that it does not."""
        pinned = self._pinned.setdefault(holder, {})
        for ref in refs:
            found = self.known(ref)
            if found is not None and found.token not in pinned:
                pinned[found.token] = found
                self._hold(found)
        if not pinned:
            del self._pinned[holder]

    def needs(self, holder: Hashable, refs: Iterable[FunctionRef], *, settled: bool) -> None:
        """Hold exactly what a conversation names.

        Args:
            holder: The conversation.
            refs: What it names.
            settled: Nothing of it is under way, so that what was pinned for it and it does not name is not needed.
        """
        found = [one for ref in refs if (one := self.known(ref)) is not None]
        needed = {one.token: one for one in found}
        for one in found:
            self._hold(one)
        self._let_go(self._needed.pop(holder, {}))
        if needed:
            self._needed[holder] = needed
        if settled:
            self._let_go(self._pinned.pop(holder, {}))

    def release_all(self) -> None:
        """Hold nothing any more, as at the end of a runtime."""
        for held in (self._by_name, self._needed, self._pinned, self._held, self._holders):
            held.clear()

    def find(self, ref: FunctionRef) -> Implementation | None:
        """The function a reference means, if it is known here."""
        if ref.by_name:
            return self._by_name.get(ref.name)
        own = self.known(ref)
        if own is not None:
            return own
        self._forget_what_is_gone()
        if ref.path is not None:
            found = self._only_one(ref.path)
            if found is not None:
                return found
            there = loaded_from(ref.path)
            if there is not None:
                return self.describe(there, writes_instructions=ref.name == "instructions")
        if ref.content is None:
            return None
        if ref.content in self._alike:
            return self._only_one(ref.content)
        there = found_in_main(ref.name, ref.content)
        return self.describe(there) if there is not None else None

    def known(self, ref: FunctionRef) -> Implementation | None:
        """The very object a reference was made from, if it is still there."""
        if ref.by_name or ref.ref is None:
            return None
        return self._held.get(ref.ref) or self._program.find(ref.ref)

    def resolve(self, ref: FunctionRef) -> Implementation:
        """The function a reference means.

        Raises:
            FunctionNotFound: It is not known here.
        """
        found = self.find(ref)
        if found is None:
            raise FunctionNotFound(not_found_text(ref), missing=ref.name)
        return found

    def restore(self, ref: FunctionRef) -> Any:
        """The callable behind a reference, or its name if the callable is not known here."""
        found = None if ref.by_name else self.find(ref)
        return found.fn if found else ref.name

    def _forget_what_is_gone(self) -> None:
        for token in self._gone.take():
            self._forget(token)

    def _meet(self, implementation: Implementation) -> None:
        self._forget_what_is_gone()
        ref = implementation.ref
        if implementation.token not in self._met:
            self._met[implementation.token] = ref
            for key in (ref.path, ref.content):
                if key is not None:
                    self._alike.setdefault(key, {})[implementation.token] = None

    def _forget(self, token: str) -> None:
        ref = self._met.pop(token, None)
        for key in (ref.path, ref.content) if ref is not None else ():
            alike = self._alike.get(key or "")
            if alike is not None:
                alike.pop(token, None)
                if not alike:
                    del self._alike[key or ""]

    def _only_one(self, key: str) -> Implementation | None:
        """The function that has a path or content, if there is exactly one."""
        found = {
            one.identity: one
            for token in self._alike.get(key, ())
            if (one := self._held.get(token) or self._program.find(token)) is not None
        }
        return next(iter(found.values())) if len(found) == 1 else None

    def _hold(self, implementation: Implementation) -> None:
        self._held[implementation.token] = implementation
        self._holders[implementation.token] += 1

    def _let_go(self, held: dict[str, Implementation]) -> None:
        for token in held:
            self._holders[token] -= 1
            if self._holders[token] <= 0:
                del self._holders[token]
                self._held.pop(token, None)


def not_found_text(ref: FunctionRef) -> str:
    """For whoever asked for a function that is not known: what would make it known."""
    if ref.by_name:
        return (
            f"Function {ref.name} not found: no worker has registered it. Start one with "
            f"create_worker(functions=[{ref.name}])."
        )
    where = (
        f"importable as {ref.path}" if ref.path else "with the same content" if ref.content else "known nowhere else"
    )
    return (
        f"Function {ref.name} not found: the program that brought it is gone, and no running program has one that is "
        f"{where}. Start that program again, or give the conversation its agent anew (send_messages(..., agent=...)); "
        "functions in a module of their own, or named and registered by a worker, are found after a restart."
    )
