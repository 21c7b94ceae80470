"""A follower's question and its answer: events behind a place, cut to what the follower has not seen."""

from __future__ import annotations

from collections.abc import Sequence

from rojak_ray.messages import Record
from rojak_ray.sessions.events import (
    FunctionCallEvent,
    MessageEvent,
    RetryEvent,
    RunEndedEvent,
    SessionEvent,
    TextDeltaEvent,
    characters_at,
)

MOST_EVENTS = 1024
"""In one batch."""


class Follow(Record):
    """A follower's question: what is there behind `after`?"""

    after: int | None = 0
    """The `seq` of the last event it has; None: begin with what the commands of this request lead to."""

    seen: int | None = None
    """How much of the answer in progress it has seen; None: as `after` says."""

    run_id: str | None = None
    """Only this run's events."""

    wait_s: float = 0.0
    """Answer after this time even if there is nothing."""

    until_idle: bool = False
    """Answer at once when there is nothing and nothing will come by itself."""


class Batch(Record):
    """The answer: what is there, and where the follower stands now."""

    events: tuple[SessionEvent, ...] = ()
    after: int = 0
    """Behind everything that was looked at, also what was left out."""

    seen: int = 0
    idle: bool = False
    """Nothing comes behind these events until somebody asks for something."""

    set_aside: str | None = None
    """What to tell whoever waits for a run, if the conversation was set aside."""

    def concerns(self, follow: Follow) -> bool:
        """Whether this answers `follow` now, rather than after a wait."""
        return bool(self.events) or (self.idle and follow.until_idle)


def cut(
    events: Sequence[SessionEvent], follow: Follow, *, idle: bool, set_aside: str | None, most: int = MOST_EVENTS
) -> Batch:
    """A follower's part of events that come behind it: only its run's, and only the text that it has not seen."""
    after = follow.after or 0
    seen = follow.seen if follow.seen is not None else characters_at(after)
    kept: list[SessionEvent] = []
    for event in events:
        if len(kept) == most:
            idle = False
            break
        unseen, seen = _unseen(event, seen)
        after = event.seq
        if unseen is not None and follow.run_id in (None, event.run_id):
            kept.append(unseen)
    return Batch(events=tuple(kept), after=after, seen=seen, idle=idle, set_aside=set_aside)


def _unseen(event: SessionEvent, seen: int) -> tuple[SessionEvent | None, int]:
    """What of an event is new to whoever has seen so much text, and how much that is afterwards."""
    match event:
        case TextDeltaEvent():
            end = event.offset + len(event.text)
            if end <= seen:
                return None, seen
            if seen > event.offset:
                event = event.model_copy(update={"offset": seen, "text": event.text[seen - event.offset :]})
            return event, end
        case MessageEvent() | FunctionCallEvent():  # that answer is complete
            return event, 0
        case RetryEvent() if event.reset:
            return event, 0
        case RunEndedEvent() if event.agent is not None:  # a run that never started leaves the text of another one
            return event, 0
        case _:
            return event, seen
