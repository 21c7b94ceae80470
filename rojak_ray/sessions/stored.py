"""What storage alone tells of a conversation that nobody has open here: its events, its state, without waking it."""

from __future__ import annotations

from dataclasses import dataclass

from rojak_ray.core.commands import Command, Delete, OpenSession
from rojak_ray.core.decide import decide, set_aside_text
from rojak_ray.core.events import RunEnded
from rojak_ray.core.evolve import evolve
from rojak_ray.core.lives import began
from rojak_ray.core.state import SessionState
from rojak_ray.errors import RequestConflict, RequestError, RunNotFound, SessionNotFound
from rojak_ray.journal.aggregate import CONVERSATION
from rojak_ray.journal.burial import buried
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.replay import exists, read_stretch, replay
from rojak_ray.sessions.batches import Batch, Follow, cut
from rojak_ray.sessions.events import SessionEvent, number_of, told_of
from rojak_ray.sessions.publish import publish
from rojak_ray.sessions.requests import Ask, Reply, RunView, view_run, view_session
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
    batch = cut(events, follow, idle=state.idle, set_aside=set_aside)
    if not events or batch.after == events[-1].seq:  # all was looked at: nothing of it has to be read again
        batch = batch.model_copy(update={"after": max(batch.after, told_of(number))})
    return Stored(batch, stretch.end.slot)


@dataclass(frozen=True)
class StoredAnswer:
    """What storage alone says to somebody who asks."""

    reply: Reply | None = None
    """None: somebody has to open it."""

    new: bool = False
    """Whether nothing is there yet and it is to be created."""


async def answer_from_storage(store: Store, paths: Paths, owner: Owner, ask: Ask) -> StoredAnswer:
    """Answer for an owner that is not open here, if it need not be opened for that.

    Raises:
        SessionNotFound, RunNotFound: There is none, and this does not create it.
        RequestError: A run that has ended refuses it.
        JournalDamaged: A record is missing or cannot be trusted.
    """
    if not await exists(store, paths, owner):
        if any(isinstance(command, OpenSession) for command in ask.commands):
            return StoredAnswer(new=True)
        raise not_found(owner)
    looks = not ask.commands and not ask.await_run
    deletes = any(isinstance(command, Delete) for command in ask.commands)
    if deletes and len(ask.commands) == 1:
        left = await buried(store, paths, owner)
        if left is not None and not decide(left, ask.commands[0]):
            return StoredAnswer(Reply())
    if owner.kind == "session" and not looks:
        return StoredAnswer()
    state = (await replay(store, paths, owner)).state
    if looks:
        return StoredAnswer(Reply(view=view_session(_opened(owner, state))))
    if not ask.commands:
        _opened(owner, state)
    if not state.opened or not state.idle or state.set_aside is not None or deletes:
        return StoredAnswer()
    if any(decide(state, command) for command in ask.commands):
        return StoredAnswer()  # it changes something; what is refused is refused as a host would
    run = view_run(state, ask.await_run or owner.id)
    return StoredAnswer(Reply(run=run) if run else None)


async def recall_run(store: Store, paths: Paths, owner: Owner, run_id: str) -> RunView:
    """A run whose outcome the state has forgotten, out of the record.

    It reads the conversation from its beginning, which is as much work as the conversation is long: for a request
    that is repeated after many others, and seldom is.

    Raises:
        RunNotFound: The record does not have it.
        JournalDamaged: A record is missing or cannot be trusted.
    """
    stretch = await read_stretch(store, paths, owner, CONVERSATION, 0)
    state = stretch.state
    for record in stretch.records:
        for event in record.events:
            state = evolve(state, event)
            if isinstance(event, RunEnded) and event.run_id == run_id and (run := view_run(state, run_id)):
                return run
    raise RunNotFound(f"Run {run_id!r} is not known to {owner}.")


async def look_at_storage(store: Store, paths: Paths, owner: Owner, ask: Ask) -> Reply | None:
    """The answer where nothing may be opened: what is recorded, of a run as far as it has got.

    None: the ask would change something, so that it has to be taken by whoever may open the owner. What was taken
    before, and is asked again because the reply was lost, changes nothing.

    Raises:
        SessionNotFound, RunNotFound: There is none, and this does not create it.
        RequestConflict: An id is taken by a request with different content.
        JournalDamaged: A record is missing or cannot be trusted.
    """
    if not await exists(store, paths, owner):
        if any(isinstance(command, OpenSession) for command in ask.commands):
            return None
        raise not_found(owner)
    state = (await replay(store, paths, owner)).state
    if not all(_is_recorded(state, command) for command in ask.commands):
        return None
    state = _opened(owner, state)
    run = view_run(state, ask.await_run) if ask.await_run else None
    if ask.await_run and run is None and state.knows(ask.await_run):
        run = await recall_run(store, paths, owner, ask.await_run)
    if ask.await_run and run is None:
        raise RunNotFound(f"Run {ask.await_run!r} is not known to {owner}.")
    made = any(isinstance(command, OpenSession) and began(state, command) for command in ask.commands)
    return Reply(created=made, run=run, view=view_session(state) if ask.view or not ask.await_run else None)


def _is_recorded(state: SessionState, command: Command) -> bool:
    if isinstance(command, Delete) and not state.opened:
        return False  # what was stored may not have been removed yet
    try:
        return not decide(state, command)
    except RequestConflict:
        raise
    except RequestError:
        return False  # whoever has it open may know better by now


def _opened(owner: Owner, state: SessionState) -> SessionState:
    if not state.opened:
        missing = SessionNotFound if owner.kind == "session" else RunNotFound
        raise missing(f"{owner.kind.capitalize()} {owner.id!r} does not exist; it was deleted.")
    return state


def not_found(owner: Owner) -> RequestError:
    """The error for an owner that does not exist."""
    if owner.kind == "run":
        return RunNotFound(f"Run {owner.id!r} does not exist.")
    return SessionNotFound(f"Session with ID {owner.id} does not exist. Please create a session first.")
