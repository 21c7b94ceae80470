"""Following a conversation that nobody has open: the same events, read from storage, without waking it."""

from __future__ import annotations

from dataclasses import dataclass

from rojak_ray.core.decide import set_aside_text
from rojak_ray.core.evolve import evolve
from rojak_ray.errors import RequestError, RunNotFound, SessionNotFound
from rojak_ray.journal.aggregate import CONVERSATION
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.replay import exists, read_stretch
from rojak_ray.sessions.batches import Batch, Follow, cut
from rojak_ray.sessions.events import SessionEvent, number_of
from rojak_ray.sessions.publish import publish
from rojak_ray.storage.base import Store


@dataclass(frozen=True)
class Stored:
    """What storage had for a follower."""

    batch: Batch
    slot: int
    """Last record that was read: a later one is news."""


async def read_stored(store: Store, paths: Paths, owner: Owner, follow: Follow) -> Stored:
    """What is behind a follower in storage.

    Raises:
        SessionNotFound, RunNotFound: Nothing was ever written under this id, or it was deleted.
        JournalDamaged: A record is missing or cannot be trusted.
    """
    if not await exists(store, paths, owner):
        raise not_found(owner)
    after = follow.after or 0
    stretch = await read_stretch(store, paths, owner, CONVERSATION, number_of(after) - 1)
    state, number = stretch.state, stretch.position.seq
    events: list[SessionEvent] = []
    for record in stretch.records:
        for event in record.events:
            before, number = state, number + 1
            state = evolve(before, event)
            if number >= number_of(after):
                events += [told for told in publish(before, event, state, number) if told.seq > after]
    if not state.opened:
        raise not_found(owner)
    set_aside = set_aside_text(state) if state.set_aside is not None else None
    return Stored(cut(events, follow, idle=state.idle, set_aside=set_aside), stretch.end.slot)


def not_found(owner: Owner) -> RequestError:
    """The error for an owner that does not exist."""
    if owner.kind == "run":
        return RunNotFound(f"Run {owner.id!r} does not exist.")
    return SessionNotFound(f"Session with ID {owner.id} does not exist. Please create a session first.")
