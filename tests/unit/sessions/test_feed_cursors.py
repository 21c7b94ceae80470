"""Whoever follows, from wherever and however often it is cut off, sees the same items once and in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from support.journals import InstantClock
from support.stories import TRANSIENT, Story, agent, call, running, start_run

from rojak_ray.core.commands import CancelRun, Recover
from rojak_ray.core.evolve import evolve
from rojak_ray.core.state import SessionState
from rojak_ray.core.steps import CallModel
from rojak_ray.sessions.batches import Follow, cut
from rojak_ray.sessions.events import MessageEvent, SessionEvent, TextDeltaEvent
from rojak_ray.sessions.feed import Feed
from rojak_ray.sessions.publish import publish

Draw = Callable[[st.SearchStrategy[int]], int]


class Telling:
    """A host's feed, what it ever told, and the storage behind it."""

    def __init__(self, ring: int) -> None:
        self.feed = Feed(InstantClock(), most_events=ring)
        self.feed.want()
        self.feed.advance(None, 0, None, idle=True, set_aside=None)
        self.stored: list[SessionEvent] = []
        self.state = SessionState()
        self.number = 0

    def goes_on(self, story: Story) -> None:
        """The events that the last command of a story led to become durable."""
        told: list[SessionEvent] = []
        for event in story.history[self.number :]:
            self.number += 1
            before, self.state = self.state, evolve(self.state, event)
            told += publish(before, event, self.state, self.number)
        self.stored += told
        speaking = next((step for step in story.steps if isinstance(step, CallModel)), None)
        self.feed.advance(told, self.number, speaking, idle=story.state.idle, set_aside=None)


class Follower:
    """Reads now and then, and is cut off at any event, remembering its `seq` alone."""

    def __init__(self, telling: Telling) -> None:
        self.telling = telling
        self.after = 0
        self.seen: int | None = None
        self.events: list[SessionEvent] = []
        self.texts: dict[tuple[str, int], str] = {}

    def reads(self, draw: Draw, *, may_be_cut: bool = True) -> None:
        follow = Follow(after=self.after, seen=self.seen)
        batch = self.telling.feed.read(follow)
        if batch is None:
            behind = [event for event in self.telling.stored if event.seq > self.after]
            batch = cut(behind, follow, idle=False, set_aside=None)
        self.after, self.seen = batch.after, batch.seen
        kept = batch.events
        if kept and may_be_cut and draw(st.integers(0, 1)):
            kept = kept[: draw(st.integers(1, len(kept)))]
            self.after, self.seen = kept[-1].seq, None
        for event in kept:
            self.takes(event)

    def takes(self, event: SessionEvent) -> None:
        assert not self.events or event.seq > self.events[-1].seq, "seq must rise"
        self.events.append(event)
        if isinstance(event, TextDeltaEvent):
            text = self.texts.setdefault((event.step_id, event.attempt), "")
            assert event.offset <= len(text), "a piece is missing"
            self.texts[event.step_id, event.attempt] = text[: event.offset] + event.text

    @property
    def items(self) -> list[SessionEvent]:
        return [event for event in self.events if not isinstance(event, TextDeltaEvent)]


def conversation(draw: Draw) -> Iterable[tuple[Story, str]]:
    """A conversation after each of its commands, with the words that are spoken before the next one."""
    text = "the quick brown fox"
    story = running(agent("A"))
    yield story, ""
    for turn in range(draw(st.integers(1, 3))):
        for _ in range(draw(st.integers(0, 1))):  # an attempt that fails half-way
            yield story, text[: draw(st.integers(0, len(text)))]
            story = story.fails("model", TRANSIENT) if draw(st.integers(0, 1)) else story.when(Recover())
            yield story, ""
        if draw(st.integers(0, 1)):  # somebody else comes into the middle of the answer, and goes again
            yield story, text[:7]
            story = story.when(start_run(f"other-{turn}"))
            yield story, text[7:9]
            story = story.when(CancelRun(run_id=f"other-{turn}"))
            yield story, text[9:12]
            story = story.asks(call(f"c{turn}"), content=text)
        else:
            yield story, text[: draw(st.integers(0, len(text)))]
            story = story.asks(call(f"c{turn}"), content=text)
        yield story, ""
        story = story.returns(f"c{turn}", to=agent("B"), sets={"turn": turn})
        yield story, ""
    yield story, text
    yield story.says(text), ""


@settings(max_examples=40, deadline=None)
@given(data=st.data(), ring=st.sampled_from([0, 1, 3, 1000]))
def test_any_cut_points_give_the_same_items_and_the_whole_text(data: st.DataObject, ring: int) -> None:
    draw: Draw = data.draw
    telling = Telling(ring)
    followers = [Follower(telling) for _ in range(3)]
    for story, words in conversation(draw):
        if story.history[telling.number :]:
            telling.goes_on(story)
        step = next((step for step in story.steps if isinstance(step, CallModel)), None)
        if step is not None and words:
            hear = telling.feed.listener(step)
            for word in words:
                hear(word)
                for follower in followers[:2]:
                    if draw(st.integers(0, 3)) == 0:
                        follower.reads(draw)
        for follower in followers[:2]:
            if draw(st.integers(0, 1)):
                follower.reads(draw)
    for follower in followers:
        for _ in range(200):
            before = follower.after
            follower.reads(draw, may_be_cut=False)
            if follower.after == before:
                break

    items = [event for event in telling.stored if not isinstance(event, TextDeltaEvent)]
    answers = {event.step_id: event.content for event in items if isinstance(event, MessageEvent)}
    for follower in followers:
        assert follower.items == items
        for step_id, content in answers.items():
            last_attempt = max(attempt for step, attempt in follower.texts if step == step_id)
            assert follower.texts[step_id, last_attempt] == content
