"""Markers: the index of what some process has open, so that it is found after a loss."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from rojak_ray.concurrency import at_most
from rojak_ray.errors import ObjectExists, ObjectNotFound
from rojak_ray.journal.paths import Owner, Paths, marker_numbers
from rojak_ray.logs import get_logger
from rojak_ray.storage.base import Store

logger = get_logger(__name__)

_READS_AT_ONCE = 32


class Markers:
    """The markers of a namespace. Each says which owner is open, by its host's epoch, in which reign."""

    def __init__(self, store: Store, paths: Paths) -> None:
        """Nothing is read yet."""
        self._store = store
        self._paths = paths

    async def put(self, owner: Owner, epoch: int, reign: int) -> None:
        """Mark an owner as open. Repeating it changes nothing."""
        marker = json.dumps({"kind": owner.kind, "id": owner.id}, ensure_ascii=True).encode("ascii")
        with contextlib.suppress(ObjectExists):  # ours, from a try whose reply was lost
            await self._store.put_new(self._paths.marker(owner, epoch, reign), marker)

    async def remove(self, owner: Owner, epoch: int, reign: int, *, kept: int | None = None) -> None:
        """Remove a host's marker and those of hosts it fenced; a newer host's is not ours to remove, now or late.

        Args:
            owner: Whose.
            epoch: Of the host.
            reign: In which it was opened.
            kept: A reign to which it was handed over: that marker stays.
        """
        if epoch == 1 and kept is None:  # it fenced nobody
            await self._store.delete(self._paths.marker(owner, 1, reign))
            return
        for key in await self._store.list(self._paths.markers(owner)):
            of_epoch, of_reign = marker_numbers(key)
            if 0 < of_epoch <= epoch and of_reign != kept:
                await self._store.delete(key)

    async def hand_over(self, owner: Owner, epoch: int, successor: int) -> None:
        """Let the hosts of the next reign find what is unfinished.

        Crash safety:
            The new marker is there before the old one goes, so at no moment is there none.
        """
        await self.put(owner, epoch, successor)
        await self.remove(owner, epoch, 0, kept=successor)

    async def exist(self, owner: Owner) -> bool:
        """Whether some process had the owner open when it was last heard of."""
        return bool(await self._store.list(self._paths.markers(owner), limit=1))

    async def held_before(self, owner: Owner, reign: int) -> bool:
        """Whether a host of an earlier reign still has the owner open, as far as is known."""
        return any(marker_numbers(key)[1] < reign for key in await self._store.list(self._paths.markers(owner)))


async def any_of_reign(store: Store, paths: Paths, reign: int) -> bool:
    """Whether hosts of a reign still have something open."""
    return any(marker_numbers(key)[1] == reign for key in await store.list(paths.active))


async def left_in(store: Store, paths: Paths, reign: int) -> dict[Owner, int]:
    """Owners that only hosts of a reign, or of earlier ones, have open as far as is known, with the latest epoch."""
    numbers: dict[Owner, list[tuple[int, int]]] = {}

    async def note(key: str) -> None:
        owner = await _owner_of(store, paths, key)
        if owner is not None:
            numbers.setdefault(owner, []).append(marker_numbers(key))

    await at_most(_READS_AT_ONCE, note, await store.list(paths.active))
    return {
        owner: max(epoch for epoch, _ in pairs)
        for owner, pairs in numbers.items()
        if max(of_reign for _, of_reign in pairs) == reign
    }


async def active_owners(
    store: Store, paths: Paths, known: dict[str, Owner] | None = None, *, since: int = 0
) -> list[Owner]:
    """The owners that some process had open when it was last heard of.

    Args:
        store: Where.
        paths: Of the namespace.
        known: Owners by marker, from an earlier look; brought up to date. A marker never changes, so each is read once.
        since: Leave out what a host of an earlier reign has open.
    """
    before = {} if known is None else known
    found: dict[str, Owner] = {}

    async def read(key: str) -> None:
        owner = await _owner_of(store, paths, key)
        if owner is not None:
            found[key] = owner

    keys = await store.list(paths.active)
    found |= {key: owner for key in keys if (owner := before.get(key) or paths.marked(key)) is not None}
    await at_most(_READS_AT_ONCE, read, [key for key in keys if key not in found])
    before.clear()
    before |= found
    held = {found[key] for key in keys if key in found and marker_numbers(key)[1] < since}
    return [owner for owner in dict.fromkeys(found[key] for key in keys if key in found) if owner not in held]


async def _owner_of(store: Store, paths: Paths, key: str) -> Owner | None:
    """Whose marker it is: as its name says, else as it says itself; None if nothing can be made of it."""
    named = paths.marked(key)
    if named is not None:
        return named
    try:
        marker: Any = json.loads(await store.get(key))
        owner = Owner(marker["kind"], marker["id"])
        if not key.startswith(paths.markers(owner)):
            raise ValueError(f"it names {owner}")
    except ObjectNotFound:
        return None  # its host let it go meanwhile
    except (ValueError, KeyError, TypeError) as error:
        # One marker that cannot be read must not keep the others from being found.
        logger.error("the marker %s is damaged (%s); look at that conversation, then remove it", key, error)  # noqa: TRY400
        return None
    return owner
