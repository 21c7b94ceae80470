"""`FunctionFinder`: the functions that a host's conversations mean, asked of the catalog and remembered for a while."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Protocol

from rojak_ray.agents.spec import FunctionRef
from rojak_ray.runtime.catalog import Version
from rojak_ray.runtime.shipping import FunctionEntry

_MOST_REMEMBERED = 1024


class Finds(Protocol):
    """A catalog."""

    async def find(self, refs: Sequence[FunctionRef]) -> list[FunctionEntry | None]:
        """The functions that references mean."""
        ...


class FunctionFinder:
    """Remembers what was found until the catalog says that something changed.

    What the catalog knew is not unknown because the catalog was lost: its programs tell the new one.
    """

    def __init__(self, catalog: Finds) -> None:
        """Nothing is known."""
        self._catalog = catalog
        self._found: OrderedDict[str, tuple[FunctionEntry, Version]] = OrderedDict()

    async def find(self, refs: Sequence[FunctionRef], version: Version) -> list[FunctionEntry | None]:
        """The functions that these references mean, None for those that are not known; `version` is the catalog's.

        Raises:
            StoreUnavailable: The catalog does not answer.
        """
        old = [ref for ref in refs if self._found.get(_key(ref), (None, None))[1] != version]
        if old:
            for ref, entry in zip(old, await self._catalog.find(old), strict=True):
                self._remember(_key(ref), entry, version)
        return [self.known(ref) for ref in refs]

    def known(self, ref: FunctionRef) -> FunctionEntry | None:
        """What was found last."""
        key = _key(ref)
        found = self._found.get(key)
        if found is None:
            return None
        self._found.move_to_end(key)
        return found[0]

    def forget(self, parcel: str) -> None:
        """A parcel is gone: ask again for what was in it."""
        for key in [key for key, (entry, _) in self._found.items() if entry.key == parcel]:
            del self._found[key]

    def _remember(self, key: str, entry: FunctionEntry | None, version: Version) -> None:
        before = self._found.get(key)
        if entry is not None:
            self._found[key] = (entry, version)
        elif before is not None and before[1][0] == version[0]:
            del self._found[key]
        elif before is not None:
            return  # only an earlier life of the catalog knew it
        while len(self._found) > _MOST_REMEMBERED:
            self._found.popitem(last=False)


def _key(ref: FunctionRef) -> str:
    return f"{ref.name}/{ref.ref or ''}"


def keys_of(entries: Iterable[FunctionEntry]) -> list[str]:
    """The parcels of these functions."""
    return [entry.key for entry in entries]
