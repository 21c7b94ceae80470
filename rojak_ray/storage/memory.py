"""A store in a dictionary: for tests and for trying things out. It ends with its process."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping

from rojak_ray.errors import ObjectExists, ObjectNotFound
from rojak_ray.storage.keys import check_data, check_key, check_limit, check_prefix


class MemoryStore:
    """The exact semantics of a store without its durability; whoever holds this object sees its data."""

    def __init__(self, objects: Mapping[str, bytes] | None = None) -> None:
        self._objects: dict[str, bytes] = {check_key(key): data for key, data in (objects or {}).items()}
        self._sorted = sorted(self._objects)

    @property
    def url(self) -> str:
        """Always the same: it opens an empty store, not this one."""
        return "memory://"

    @property
    def shared(self) -> bool:
        """False: another process has its own memory."""
        return False

    def snapshot(self) -> dict[str, bytes]:
        """A copy of everything stored."""
        return dict(self._objects)

    async def get(self, key: str) -> bytes:
        """The bytes under `key`."""
        try:
            return self._objects[check_key(key)]
        except KeyError:
            raise ObjectNotFound(f"{key} is not in memory.", key=key) from None

    async def put_new(self, key: str, data: bytes) -> None:
        """Create an object. Atomic because nothing is awaited.

        Crash safety: none; the data ends with the process.
        """
        check_data(key, data)
        if check_key(key) in self._objects:
            raise ObjectExists(f"{key} exists already.", key=key)
        self._objects[key] = bytes(data)
        insort(self._sorted, key)

    async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """Keys under a folder in ascending order."""
        below = self._below(check_prefix(prefix))
        return below[bisect_right(below, after) :][: check_limit(limit)]

    async def folders(self, prefix: str) -> list[str]:
        """Folders right under a folder."""
        below = (key.removeprefix(prefix) for key in self._below(check_prefix(prefix)))
        return sorted({f"{prefix}{rest.partition('/')[0]}/" for rest in below if "/" in rest})

    async def delete(self, key: str) -> None:
        """Remove an object if it is there."""
        if self._objects.pop(check_key(key), None) is not None:
            del self._sorted[bisect_left(self._sorted, key)]

    async def aclose(self) -> None:
        """Nothing to let go of: the objects stay with this object."""

    def _below(self, prefix: str) -> list[str]:
        """Keys under a folder: "0" is what comes after "/"."""
        keys = self._sorted
        return keys[bisect_left(keys, prefix) : bisect_left(keys, f"{prefix[:-1]}0")] if prefix else keys
