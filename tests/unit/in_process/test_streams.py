"""Streams on one process: the same run, watched; followed from anywhere, live or from storage."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.journals import Operation, TamperedStore
from support.plan import PlanAgent, plan
from support.waiting import HANG_S, until
from support.worlds import WatchedPlan, world

from rojak_ray import errors
from rojak_ray.agents import AgentCallParams, AgentResponse, WaitForAnswer
from rojak_ray.journal.paths import Owner, OwnerKind, Paths
from rojak_ray.journal.replay import read_records
from rojak_ray.messages import Usage
from rojak_ray.sessions.events import SessionEvent
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.storage.base import Store
from rojak_ray.storage.memory import MemoryStore

TWO_AGENTS = plan([["note", {"text": "a"}], ["to_b", {}]], "done and done")


class StreamingPlan(WatchedPlan):
    """Says its texts word by word to whoever watches; waits before the word "wait" until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def call(self, params: AgentCallParams) -> AgentResponse:
        response = await super().call(params)
        if params.on_delta is not None and response.content:
            for word in response.content.split(" "):
                if word == "wait":
                    await self.go_on.wait()
                params.on_delta(word + " ")
        response.content = response.content + " " if response.content else response.content
        return response


def make_agents() -> PlanAgent:
    agent_b = PlanAgent(name="B")

    def note(text: str, context_variables: dict[str, Any]) -> str:
        context_variables["noted"] = text
        return text

    def to_b() -> PlanAgent:
        return agent_b

    return PlanAgent(name="A", functions=[note, to_b])


async def told(events: AsyncIterator[SessionEvent]) -> list[SessionEvent]:
    async with asyncio.timeout(HANG_S):
        return [event async for event in events]


async def collect(events: AsyncIterator[SessionEvent], into: list[SessionEvent]) -> None:
    """What was told before an error is there too."""
    async for event in events:
        into.append(event)


def kinds(events: list[SessionEvent]) -> list[str]:
    return [event.kind for event in events]


def text_of(events: list[SessionEvent]) -> str:
    return "".join(event.text for event in events if event.kind == "text_delta")


async def journal_of(store: Store, kind: OwnerKind, id: str) -> list[Any]:
    records = await read_records(store, Paths("rojak"), Owner(kind, id))
    return [event.model_dump(mode="json") for record in records for event in record.events]


async def test_a_run_is_told_from_its_start_to_its_end() -> None:
    async with world() as w:
        await w.rojak.create_worker([StreamingPlan()])
        events = await told(w.rojak.stream("r", make_agents(), TWO_AGENTS))

    assert kinds([event for event in events if event.kind != "text_delta"]) == [
        "run_started",
        "agent",
        "function_call",
        "function_call",
        "function_result",
        "function_result",
        "context_change",
        "handoff",
        "agent",
        "message",
        "run_ended",
    ]
    assert text_of(events) == "done and done "
    assert [event.seq for event in events] == sorted({event.seq for event in events})
    ended = events[-1]
    assert ended.kind == "run_ended"
    assert (ended.status, ended.agent, ended.usage.requests) == ("completed", "B", 2)
    assert all(json.loads(event.model_dump_json())["kind"] == event.kind for event in events)


async def test_a_streamed_and_a_plain_run_write_the_same_journal_and_answer() -> None:
    responses: list[Any] = []
    journals: list[list[Any]] = []
    agent = make_agents()
    for streamed in (False, True):
        store = MemoryStore()
        async with world(store) as w:
            await w.rojak.create_worker([StreamingPlan()])
            if streamed:
                await told(w.rojak.stream("r", agent, TWO_AGENTS))
            else:
                await w.rojak.run("r", agent, TWO_AGENTS)
            responses.append(await w.rojak.get_run_result("r"))
        journals.append(await journal_of(store, "run", "r"))

    assert responses[0].messages == responses[1].messages
    assert responses[0].context_variables == responses[1].context_variables
    for journal in journals:
        for event in journal:
            event.pop("incarnation", None)
    assert sorted(journals[0], key=json.dumps) == sorted(journals[1], key=json.dumps)


async def test_words_come_before_the_answer_is_complete() -> None:
    model = StreamingPlan()
    async with world() as w:
        await w.rojak.create_worker([model])
        session = await w.rojak.create_session("s", PlanAgent(name="A"))
        events: list[SessionEvent] = []
        async for event in session.stream_messages(plan("first wait last")):
            events.append(event)
            if event.kind == "text_delta" and text_of(events) == "first ":
                assert not (await session.history())
                model.go_on.set()

    assert text_of(events) == "first wait last "
    assert kinds(events)[-2:] == ["message", "run_ended"]


async def test_the_vendor_is_asked_to_stream_only_for_those_who_watch() -> None:
    model = StreamingPlan()
    async with world() as w:
        await w.rojak.create_worker([model])
        session = await w.rojak.create_session("s", PlanAgent(name="A"))
        await session.send_messages(plan("plain"))
        await told(session.stream_messages(plan("watched")))

    assert [params.on_delta is not None for params in model.asked] == [False, True]


async def test_only_events_of_the_request_are_told_to_who_made_it() -> None:
    async with world() as w:
        await w.rojak.create_worker([StreamingPlan()])
        session = await w.rojak.create_session("s", PlanAgent(name="A"))
        first, second = await asyncio.gather(
            told(session.stream_messages(plan("one"))), told(session.stream_messages(plan("two")))
        )

    assert (text_of(first), text_of(second)) == ("one ", "two ")
    assert len({event.run_id for event in first}) == len({event.run_id for event in second}) == 1
    assert "waiting" in kinds(second)


async def test_a_failed_run_says_so_and_raises_what_run_raises() -> None:
    async with world() as w:
        events: list[SessionEvent] = []
        with pytest.raises(errors.RunFailed, match="status 503"):
            await collect(w.rojak.stream("r", PlanAgent(name="A"), plan(503)), events)
        handle_events = await told((await w.rojak.start_run("r", PlanAgent(name="A"), plan(503))).events())

    assert kinds(events) == ["run_started", "agent", *["retry"] * 4, "run_ended"]
    assert [event.reset for event in events if event.kind == "retry"] == [True] * 4
    assert events[-1].status == "failed"
    assert handle_events == events, "whoever only looks on is told and not raised at"


async def test_text_of_a_failed_attempt_is_taken_back_before_the_next_one() -> None:
    class Faltering(StreamingPlan):
        async def call(self, params: AgentCallParams) -> AgentResponse:
            if len(self.asked) == 0 and params.on_delta:
                self.asked.append(params)
                params.on_delta("half an ans")
                await asyncio.sleep(0)
                raise errors.ModelMisbehaved("cut short")
            return await super().call(params)

    async with world() as w:
        await w.rojak.create_worker([Faltering()])
        events = await told(w.rojak.stream("r", PlanAgent(name="A"), plan("whole")))

    assert kinds(events) == ["run_started", "agent", "text_delta", "retry", "text_delta", "message", "run_ended"]
    spoiled, again = (event for event in events if event.kind == "text_delta")
    assert (spoiled.text, spoiled.attempt, spoiled.offset) == ("half an ans", 1, 0)
    assert (again.text, again.attempt, again.offset) == ("whole ", 2, 0)


async def test_a_cancelled_run_ends_its_stream() -> None:
    async with world() as w:
        await w.rojak.create_worker([StreamingPlan()])
        session = await w.rojak.create_session("s", PlanAgent(name="A"))
        events: list[SessionEvent] = []
        streaming = asyncio.create_task(collect(session.stream_messages(plan("first wait last")), events))
        await until(lambda: text_of(events), "it speaks")
        await session.cancel()
        with pytest.raises(errors.RunCancelled):
            await streaming

    assert events[-1].kind == "run_ended"
    assert events[-1].status == "cancelled"


async def test_bad_requests_raise_before_any_event() -> None:
    async with world() as w:
        with pytest.raises(errors.InvalidMessage):
            await anext(w.rojak.stream("r", PlanAgent(name="A"), []))
        with pytest.raises(errors.RunNotFound):
            await w.rojak.get_run_result("r")
        await told(w.rojak.stream("r", PlanAgent(name="A"), plan("x")))
        with pytest.raises(errors.RequestConflict):
            await anext(w.rojak.stream("r", PlanAgent(name="A"), plan("y")))


async def test_the_same_id_again_is_told_from_the_first_event_on() -> None:
    async with world() as w:
        await w.rojak.create_worker([StreamingPlan()])
        first = await told(w.rojak.stream("r", make_agents(), TWO_AGENTS))
        again = await told(w.rojak.stream("r", make_agents(), TWO_AGENTS))

    items = [event for event in first if event.kind != "text_delta"]
    assert [event for event in again if event.kind != "text_delta"] == items
    assert text_of(again) == text_of(first)


async def test_a_run_that_ended_is_told_from_any_place() -> None:
    async with world() as w:
        await w.rojak.create_worker([StreamingPlan()])
        handle = await w.rojak.start_run("r", make_agents(), TWO_AGENTS)
        await handle.result()
        every = await told(handle.events())
        for place, event in enumerate(every):
            assert await told(handle.events(after=event.seq)) == every[place + 1 :]


async def test_a_session_in_storage_is_told_without_waking_it() -> None:
    store = MemoryStore()
    async with world(store, PoolSettings(session_idle_s=5, sweep_s=1)) as w:
        session = await w.rojak.create_session("s", make_agents())
        await session.send_messages(TWO_AGENTS)
        live = await told(session.events(until_idle=True))
        await until(lambda: w.rojak.statistics().open_hosts == 0, "the session goes to storage")
        before = store.snapshot()
        stored = await told(session.events(until_idle=True))
        assert await told(session.events(after=stored[3].seq, until_idle=True)) == stored[4:]
        assert w.rojak.statistics().open_hosts == 0
        assert store.snapshot() == before, "reading writes nothing"

    assert stored == live


async def test_following_goes_on_when_a_sleeping_session_is_spoken_to() -> None:
    async with world() as w:
        await w.rojak.create_worker([StreamingPlan()])
        session = await w.rojak.create_session("s", PlanAgent(name="A"))
        await session.send_messages(plan("one"))
    async with world(w.store) as later:
        await later.rojak.create_worker([StreamingPlan()])
        session = await later.rojak.get_session("s")
        events: list[SessionEvent] = []

        following = asyncio.create_task(collect(session.events(), events))
        await until(lambda: kinds(events).count("run_ended") == 1, "the past is told")
        await session.send_messages(plan("two"))
        await until(lambda: kinds(events).count("run_ended") == 2, "the present is told")
        following.cancel()

    assert text_of(events) == "one two "


async def test_following_does_not_keep_a_session_in_memory() -> None:
    async with world(settings=PoolSettings(session_idle_s=5, sweep_s=1)) as w:
        session = await w.rojak.create_session("s", PlanAgent(name="A"))
        await session.send_messages(plan("one"))
        following = asyncio.create_task(told(session.events()))
        await until(lambda: w.rojak.statistics().open_hosts == 0, "the session goes to storage")
        following.cancel()


async def test_a_follower_goes_on_when_the_store_fails_under_the_host() -> None:
    broken = False

    async def handler(operation: Operation) -> Any:
        nonlocal broken
        if broken and operation.name == "put_new" and "/log/" in operation.key:
            broken = False
            raise errors.StoreRefused("disk full")
        return await operation.run()

    async with world(TamperedStore(MemoryStore(), handler)) as w:
        model = StreamingPlan()
        await w.rojak.create_worker([model])
        session = await w.rojak.create_session("s", PlanAgent(name="A"))
        events: list[SessionEvent] = []

        sending = asyncio.create_task(collect(session.stream_messages(plan("first wait last")), events))
        await until(lambda: text_of(events) == "first ", "it speaks")
        broken = True
        model.go_on.set()
        async with asyncio.timeout(HANG_S):
            await sending

    items = [event for event in events if event.kind != "text_delta"]
    assert kinds(items) == ["run_started", "agent", "retry", "message", "run_ended"]
    after_retry = events[kinds(events).index("retry") :]
    assert text_of(after_retry) == "first wait last "
    assert len({event.seq for event in events}) == len(events)


async def test_words_of_an_early_question_wait_until_it_is_durable() -> None:
    written = asyncio.Event()

    async def handler(operation: Operation) -> Any:
        if operation.name == "put_new" and operation.key.endswith("/log/00000000000000000002"):
            await written.wait()
        return await operation.run()

    model = StreamingPlan()
    async with world(TamperedStore(MemoryStore(), handler)) as w:
        await w.rojak.create_worker([model])
        session = await w.rojak.create_session("s", PlanAgent(name="A"))
        sending = asyncio.create_task(told(session.stream_messages(plan("early wait"))))
        await until(lambda: model.asked, "the model is asked while the request is being written")
        early = asyncio.create_task(anext(session.events()))
        await asyncio.sleep(0.05)
        assert not early.done(), "told before it was durable"
        written.set()
        assert (await early).kind == "run_started"
        model.go_on.set()
        assert text_of(await sending) == "early wait "


async def test_two_followers_of_which_one_never_reads() -> None:
    words = " ".join(f"word{number}" for number in range(3000))
    async with world() as w:
        await w.rojak.create_worker([StreamingPlan()])
        session = await w.rojak.create_session("s", PlanAgent(name="A"))
        never_reads = session.events()
        sending = asyncio.create_task(told(session.stream_messages(plan(words))))
        assert (await anext(never_reads)).kind == "run_started"
        events = await sending
        assert text_of(events) == words + " "
        rest = [event async for event in session.events(after=events[0].seq, until_idle=True)]

    assert text_of(rest) == words + " "


async def test_context_changes_in_order_are_the_context() -> None:
    async with world() as w:
        session = await w.rojak.create_session("s", make_agents(), context_variables={"kept": 1})
        await session.send_messages(plan([["note", {"text": "a"}]], "done"))
        with pytest.raises(errors.RunFailed):
            await session.send_messages(plan([["note", {"text": "b"}]], 400, 400))
        context: dict[str, Any] = {}
        for event in await told(session.events(until_idle=True)):
            if event.kind == "context_change":
                context = {key: value for key, value in context.items() if key not in event.deleted} | event.set
        assert context == (await session.get_config()).context_variables == {"kept": 1, "noted": "a"}


async def test_usage_of_an_answer_and_of_a_run_are_told() -> None:
    class Counting(StreamingPlan):
        async def call(self, params: AgentCallParams) -> AgentResponse:
            response = await super().call(params)
            response.usage = Usage(requests=1, input_tokens=3, output_tokens=2)
            return response

    async with world() as w:
        await w.rojak.create_worker([Counting()])
        events = await told(w.rojak.stream("r", make_agents(), TWO_AGENTS))

    [message] = [event for event in events if event.kind == "message"]
    assert message.usage.total_tokens == 5
    assert events[-1].kind == "run_ended"
    assert events[-1].usage.total_tokens == 10


async def test_an_unknown_or_deleted_conversation_has_no_events() -> None:
    async with world() as w:
        session = await w.rojak.create_session("s", PlanAgent(name="A"))
        await w.rojak.delete_session("s")
        with pytest.raises(errors.SessionNotFound):
            await told(session.events(until_idle=True))


async def test_who_comes_late_to_a_run_that_waits_reads_it_once_and_then_waits_for_news() -> None:
    reads: list[str] = []

    class CountedStore(MemoryStore):
        async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
            reads.append(prefix)
            return await super().list(prefix, after=after, limit=limit)

    async def ask() -> WaitForAnswer:
        return WaitForAnswer("May I?")

    async with world(CountedStore()) as w:
        handle = await w.rojak.start_run("r", PlanAgent(name="A", functions=[ask]), plan([["ask", {}]], "done"))
        while not (questions := await handle.open_questions()):
            await asyncio.sleep(0)
        followers = [handle.events() for _ in range(3)]
        for events in followers:
            assert [(await anext(events)).kind for _ in range(4)][-1] == "waiting"
        news = [asyncio.create_task(told(events)) for events in followers]
        for _ in range(200):
            await asyncio.sleep(0)
        before = len(reads)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert len(reads) == before
        await handle.answer(questions[0].call_id, "yes")
        for task in news:
            assert [event.kind for event in await task][-1] == "run_ended"
