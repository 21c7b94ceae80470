"""`Feed`: what a host tells its followers, kept for as long as somebody follows, in bounded memory.

Events wait in a ring; whoever is further behind than the ring reaches back reads the journal instead. Of the answer in
progress only the text so far is kept: each follower gets, when it asks, the piece it has not seen. So a slow follower
costs nothing and holds nobody up, and many followers share one set of events.

Nothing is told before it is durable. Text of a question that was asked early is kept back until the events it follows
are written.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import takewhile

from rojak_ray.clock import Clock
from rojak_ray.core.steps import CallModel
from rojak_ray.errors import RojakError
from rojak_ray.sessions.batches import Batch, Follow, cut
from rojak_ray.sessions.events import SessionEvent, TextDeltaEvent, end_of, seq_of_text, told_of

RING_EVENTS = 1024
RING_BYTES = 1024 * 1024

_WANTED_S = 60.0
"""A follower asks again well within this time; after it nobody is following any more."""


@dataclass(slots=True)
class _Answer:
    """Text of a model's answer in progress."""

    step: CallModel
    text: list[str] = field(default_factory=list[str])
    length: int = 0


StepKey = tuple[str, int]


class Feed:
    """One host's followers, and what they have to know."""

    def __init__(self, clock: Clock, *, most_events: int = RING_EVENTS, most_bytes: int = RING_BYTES) -> None:
        """Nobody follows."""
        self._clock = clock
        self._most_events = most_events
        self._most_bytes = most_bytes
        self._number = 0
        self._floor = 0
        """Everything behind this `seq` is in the ring."""

        self._ring: deque[tuple[SessionEvent, int]] = deque()
        self._bytes = 0
        self._answers: dict[StepKey, _Answer] = {}
        self._speaking: StepKey | None = None
        self._idle = True
        self._set_aside: str | None = None
        self._followers = 0
        self._wanted_until = float("-inf")
        self._news = asyncio.Event()
        self._failure: RojakError | None = None

    @property
    def wanted(self) -> bool:
        """Whether anybody follows, or did a moment ago."""
        return self._followers > 0 or self._clock.monotonic() < self._wanted_until

    @property
    def position(self) -> int:
        """The `seq` behind everything that is durable."""
        return end_of(self._number)

    def want(self) -> None:
        """Somebody follows, and will ask again soon."""
        self._wanted_until = self._clock.monotonic() + _WANTED_S

    def statistics(self) -> tuple[int, int, int]:
        """Events and bytes in the ring, and characters of the answer in progress."""
        return len(self._ring), self._bytes, sum(answer.length for answer in self._answers.values())

    def advance(
        self,
        told: Iterable[SessionEvent] | None,
        number: int,
        speaking: CallModel | None,
        *,
        idle: bool,
        set_aside: str | None,
    ) -> None:
        """The journal has grown up to event `number`.

        Args:
            told: What `publish` made of its new events; None if nobody followed when they were decided.
            number: The last journal event.
            speaking: The question to the model that is outstanding now: its text may be told.
            idle: Whether nothing runs or waits.
            set_aside: See `Batch`.
        """
        grown = number != self._number
        self._number, self._idle, self._set_aside = number, idle, set_aside
        self._speaking = (speaking.step_id, speaking.attempt) if speaking is not None else None
        self._answers = {key: answer for key, answer in self._answers.items() if key == self._speaking}
        if told is None or not self.wanted:
            self._ring.clear()
            self._bytes = 0
            self._floor = told_of(number) if number else 0
        else:
            self._keep(told)
        if grown or self._answers:
            self._tell()

    def _keep(self, told: Iterable[SessionEvent]) -> None:
        for event in told:
            size = len(event.model_dump_json())
            self._ring.append((event, size))
            self._bytes += size
        while self._bytes > self._most_bytes or len(self._ring) > self._most_events:
            event, size = self._ring.popleft()
            self._bytes -= size
            self._floor = event.seq

    def listener(self, step: CallModel) -> Callable[[str], None]:
        """Where the text of one attempt at an answer goes while it comes."""
        answer = self._answers.setdefault((step.step_id, step.attempt), _Answer(step))

        def listen(text: str) -> None:
            if seq_of_text(0, answer.length + len(text)) is None:
                return  # longer than is told live; the rest comes with the complete answer
            answer.text.append(text)
            answer.length += len(text)
            if self._speaking == (step.step_id, step.attempt):
                self._tell()

        return listen

    def end(self, error: RojakError) -> None:
        """The host has ended: followers ask elsewhere."""
        self._failure = error
        self._ring.clear()
        self._answers.clear()
        self._bytes = 0
        self._tell()

    async def follow(self, follow: Follow) -> Batch | None:
        """What is behind the follower, waiting for it as long as asked; None: it is so far behind, read the journal.

        Raises:
            StorageError: The host has ended; whatever it told is in the journal.
        """
        self._followers += 1
        try:
            async with asyncio.timeout(follow.wait_s):
                while True:
                    news = self._news
                    batch = self.read(follow)
                    if batch is None or batch.concerns(follow):
                        return batch
                    await news.wait()
        except TimeoutError:
            return self.read(follow)
        finally:
            self._followers -= 1
            self.want()

    def read(self, follow: Follow) -> Batch | None:
        """What is behind the follower now; None: more than is kept here."""
        if self._failure is not None:
            raise self._failure
        after = follow.after or 0
        if after < self._floor:
            return None
        fresh = [event for event, _ in takewhile(lambda kept: kept[0].seq > after, reversed(self._ring))]
        batch = cut(fresh[::-1], follow, idle=self._idle, set_aside=self._set_aside)
        piece = self._piece(batch.seen, follow.run_id)
        if piece is None or piece.seq <= batch.after:
            return batch
        seen = piece.offset + len(piece.text)
        return batch.model_copy(update={"events": (*batch.events, piece), "after": piece.seq, "seen": seen})

    def _piece(self, seen: int, run_id: str | None) -> TextDeltaEvent | None:
        """The rest of the answer in progress, as far as it has come."""
        answer = self._answers.get(self._speaking) if self._speaking is not None else None
        if answer is None or answer.length <= seen or run_id not in (None, answer.step.run_id):
            return None
        seq = seq_of_text(self._number, answer.length) or 0
        if len(answer.text) > 1:
            answer.text = ["".join(answer.text)]
        step = answer.step
        return TextDeltaEvent(
            seq=seq,
            run_id=step.run_id,
            agent=step.agent.name,
            step_id=step.step_id,
            attempt=step.attempt,
            offset=seen,
            text=answer.text[0][seen:],
        )

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
