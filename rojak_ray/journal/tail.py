"""Tail marks: a small object that says which record was the last when a journal fell silent.

Every record but the last is witnessed by the one after it. A mark witnesses the last, so that its removal, too, is
noticed and does not read as a shorter conversation. Marks are written when nobody waits, and one is kept.
"""

from __future__ import annotations

import contextlib

from rojak_ray.errors import ObjectExists
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.records import damaged, listed_number, seal
from rojak_ray.journal.schema import SCHEMA_VERSION
from rojak_ray.storage.base import Store


async def mark_tail(store: Store, paths: Paths, owner: Owner, slot: int, previous: int) -> None:
    """Mark a record as the last so far, in place of the mark before (0: there is none).

    Crash safety:
        Dying in between leaves both marks; the later one counts.
    """
    document = {"version": SCHEMA_VERSION, "owner_kind": owner.kind, "owner_id": owner.id, "slot": slot}
    with contextlib.suppress(ObjectExists):  # ours, from a try whose reply was lost
        await store.put_new(paths.tail(owner, slot), seal(document)[0])
    if previous:
        await store.delete(paths.tail(owner, previous))


async def marked_slot(store: Store, paths: Paths, owner: Owner) -> int:
    """The last marked record; 0 if there is no mark. Raises JournalDamaged if there is something else among them."""
    return max((listed_number(key) for key in await store.list(paths.tails(owner))), default=0)


def check_tail(paths: Paths, owner: Owner, marked: int, last: int) -> None:
    """Compare a mark with the last record that was found later.

    Raises:
        JournalDamaged: Records up to the mark were written and are gone.
    """
    if marked > last:
        raise damaged(paths.slot(owner, last + 1), f"it is missing, although record {marked} was written")
