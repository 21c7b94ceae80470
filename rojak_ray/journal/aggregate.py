"""What a journal is about: the events it holds, and the state they fold to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import TypeAdapter

from rojak_ray.core.events import Event
from rojak_ray.core.evolve import evolve
from rojak_ray.core.state import SessionState
from rojak_ray.journal.paths import Owner
from rojak_ray.messages import Record

StateT = TypeVar("StateT", bound=Record)
EventT = TypeVar("EventT", bound=Record)


@dataclass(frozen=True)
class Aggregate(Generic[StateT, EventT]):
    """One kind of journal. Events and state are records, so that storage holds JSON only."""

    events: TypeAdapter[tuple[EventT, ...]]
    """Reads a record's events back, whatever their kinds."""

    state: type[StateT]
    begin: Callable[[Owner], StateT]
    """The state before the first event."""

    evolve: Callable[[StateT, EventT], StateT]
    """Pure and total: old events must fold for ever."""


def _nothing_yet(owner: Owner) -> SessionState:
    if owner.kind == "scheduler":
        raise ValueError(f"{owner} is no conversation.")
    return SessionState(owner_kind=owner.kind, owner_id=owner.id)


CONVERSATION: Aggregate[SessionState, Event] = Aggregate(
    TypeAdapter(tuple[Event, ...]), SessionState, _nothing_yet, evolve
)
"""Sessions, and runs outside any session."""
