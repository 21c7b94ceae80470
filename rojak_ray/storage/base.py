"""What every store promises: objects that are written once, found by name, and survive what kills us.

Put-if-absent is the only way to write. Ownership, ordering and recovery are built on it, one room up, in the journal.
"""

from __future__ import annotations

from typing import Protocol


class Store(Protocol):
    """Objects of bytes under keys (`rojak_ray.storage.keys`), shared by every process that opens the same URL.

    Every method may raise `StoreUnavailable` (try again later) and `StoreRefused` (a person has to act). A cancelled
    call is like one without an answer: it may still take effect.
    """

    @property
    def url(self) -> str:
        """Where the objects are, for messages. It opens the same store again, and holds no secret."""
        ...

    @property
    def shared(self) -> bool:
        """Whether another process that opens the URL sees the same objects."""
        ...

    async def get(self, key: str) -> bytes:
        """Read a whole object.

        Crash safety: an object is there whole or not at all, whatever happened to its writer. Reading sees every
        `put_new` and `delete` that returned before it began, by whomever.

        Raises:
            ObjectNotFound: Nothing is stored under the key.
        """
        ...

    async def put_new(self, key: str, data: bytes) -> None:
        """Create an object, unless the key is taken.

        Crash safety: of any number of writers, in any number of processes, at most one succeeds. When this returns,
        the object survives the loss of power (or of a zone, in a bucket). When the process dies before that, the whole
        object is there or nothing is.

        Two answers leave open who wrote the object, and the caller resolves them by reading the key back: data must
        say who wrote it.

        Raises:
            ObjectExists: The key is taken, and what is there is as durable as a finished write. It may be this very
                write: a reply was lost and the attempt repeated.
            StoreUnavailable: Unknown outcome. The write landed, did not land, or lands later.
            StoreRefused: Not written: no permission, disk full, read-only.
            ValueError: The key is malformed, or data is empty (some object stores treat empty objects specially).
        """
        ...

    async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """Keys under a folder (a prefix that ends in `/`) or all keys (an empty one), in ascending byte order.

        Args:
            prefix: The folder, at any depth; keys come back in full, not relative to it.
            after: Only keys greater than this one, itself not included.
            limit: At most so many keys, the first ones.

        Crash safety: nothing is cached. The answer holds every object whose `put_new` returned before the call began
        and none whose `delete` did; what changes during the call may be in it or not.
        """
        ...

    async def folders(self, prefix: str) -> list[str]:
        """The folders right under a folder (or, with an empty prefix, under the root), in ascending byte order.

        Each comes back in full and ends in `/`, as `list` takes it. For looking around; nothing is built on it.

        Crash safety: nothing is cached. The answer holds every folder with an object whose `put_new` returned before
        the call began. It may also hold folders whose last object was deleted.
        """
        ...

    async def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error.

        Crash safety: when this returns, the object is gone and stays gone. A writer whose `put_new` has no answer yet
        may create it again.
        """
        ...

    async def aclose(self) -> None:
        """Wait for what is under way and let go of connections and threads. Never loses what was promised."""
        ...
