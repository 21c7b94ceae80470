"""Streams on real Ray: words cross processes, and followers go on when the processes they follow are killed."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.actors import kill_actor, shared_host_of
from support.plan import PlanAgent
from support.vendor import Request, Stream, Text, Vendor
from support.waiting import HANG_S, lines, until

from rojak_ray import OpenAIAgent, Rojak, SessionEvent
from rojak_ray.agents import (
    AgentActivities,
    AgentCallParams,
    AgentResponse,
    OpenAIAgentActivities,
    OpenAIAgentOptions,
)
from rojak_ray.runtime.settings import session_name
from rojak_ray.sessions.pool_settings import PoolSettings

pytestmark = pytest.mark.ray


class SpeakingActivities(AgentActivities):
    """Says what it is told to, word by word; at "wait" it writes that it waits, and goes on when it is let go."""

    type = "speaking"

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    async def call(self, params: AgentCallParams) -> AgentResponse:
        text = params.messages[-1].content or ""
        for word in text.split(" ") if params.on_delta else []:
            if word == "wait":
                with open(self.path, "a") as file:
                    file.write("waiting\n")
                while not Path(self.path + ".go").exists():
                    await asyncio.sleep(0.02)
            params.on_delta(word + " ")
        return AgentResponse(type="text", content=text + " ")


class SpeakingAgent(PlanAgent):
    """An agent of that provider."""

    type: str = "speaking"
    model: str = "speaking-1"


@pytest_asyncio.fixture(autouse=True)
async def worker(rojak: Rojak, effects: Path) -> AsyncIterator[None]:
    async with await rojak.create_worker([SpeakingActivities(str(effects))]):
        yield


@pytest.fixture(scope="module")
def vendor() -> Iterator[Vendor]:
    with Vendor() as running:
        yield running


class Listener:
    """Follows in the background."""

    def __init__(self, events: AsyncIterator[SessionEvent]) -> None:
        self.events: list[SessionEvent] = []
        self.task = asyncio.create_task(self._listen(events))

    async def _listen(self, events: AsyncIterator[SessionEvent]) -> None:
        async for event in events:
            self.events.append(event)

    def text(self) -> str:
        """What is said and was not taken back."""
        text = ""
        for event in self.events:
            if event.kind == "retry" and event.reset:
                text = ""
            if event.kind == "text_delta":
                text = text[: event.offset] + event.text
        return text

    @property
    def items(self) -> list[SessionEvent]:
        return [event for event in self.events if event.kind != "text_delta"]

    async def done(self) -> None:
        async with asyncio.timeout(HANG_S):
            await self.task
        seqs = [event.seq for event in self.events]
        assert seqs == sorted(set(seqs)), "seq must rise"


def names(rojak: Rojak, part: str) -> list[str]:
    import ray

    found = ray.util.list_named_actors(all_namespaces=True)
    return [one["name"] for one in found if one["namespace"] == rojak.settings.ray_namespace and part in one["name"]]


async def test_words_cross_from_step_workers_as_they_are_said(rojak: Rojak, unique: str, effects: Path) -> None:
    for stream in (
        rojak.stream(unique, SpeakingAgent(name="A"), "one wait two"),
        (await rojak.create_session(unique, SpeakingAgent(name="A"))).stream_messages("one wait two"),
    ):
        Path(f"{effects}.go").unlink(missing_ok=True)
        listener = Listener(stream)
        await until(lambda listener=listener: listener.text() == "one ", "the first word is there")
        Path(f"{effects}.go").touch()
        await listener.done()
        assert listener.text() == "one wait two "
        kinds = [event.kind for event in listener.items]
        assert kinds == ["run_started", "agent", "message", "run_ended"]


async def test_session_actor_killed_in_mid_stream(
    rojak: Rojak, installation: dict[str, str], unique: str, effects: Path
) -> None:
    session = await rojak.create_session(unique, SpeakingAgent(name="A"))
    speaker = Listener(session.stream_messages("one wait two"))
    await until(lambda: speaker.text() == "one ", "the first word is there")
    onlooker = Listener(session.events())
    await until(lambda: len(onlooker.items) == 2, "somebody else looks on")

    kill_actor(rojak, session_name(unique))
    # Others may go on unwatched: then nothing waits.
    await until(
        lambda: len(lines(effects)) == 2 or any(e.kind == "message" for e in speaker.events), "it is said again"
    )
    Path(f"{effects}.go").touch()
    await speaker.done()

    assert [event.kind for event in speaker.items] == ["run_started", "agent", "retry", "message", "run_ended"]
    assert speaker.text() == "one wait two "
    await until(lambda: onlooker.items == speaker.items, "the onlooker has seen the same")
    onlooker.task.cancel()
    async with Rojak(**installation) as elsewhere:
        same = await elsewhere.get_session(unique)
        cut = speaker.items[1].seq
        again = Listener(same.events(after=cut, until_idle=True))
        await again.done()
    assert again.items == speaker.items[2:]


async def test_step_worker_killed_in_mid_stream(rojak: Rojak, unique: str, effects: Path) -> None:
    listener = Listener(rojak.stream(unique, SpeakingAgent(name="A"), "one wait two"))
    await until(lambda: listener.text() == "one ", "the first word is there")

    for name in names(rojak, "StepWorker"):
        kill_actor(rojak, name)
    await until(lambda: len(lines(effects)) == 2, "it is said again")
    Path(f"{effects}.go").touch()
    await listener.done()

    retry = next(event for event in listener.items if event.kind == "retry")
    assert (retry.error_type, retry.attempt, retry.reset) == ("ProcessLost", 1, True)
    # Repeated at once, it may meet the worker that was killed once more before that one is back.
    kinds = [kind for kind, _ in itertools.groupby(event.kind for event in listener.items)]
    assert kinds == ["run_started", "agent", "retry", "message", "run_ended"]
    assert listener.text() == "one wait two "


async def test_shared_host_killed_in_mid_stream_of_a_vendor(rojak: Rojak, unique: str) -> None:
    def answer(request: Request) -> Any:
        first = len(vendor.requests) == 0
        return Stream(Text("one two three"), after=3, ending="stalled") if first else Text("one two three")

    with Vendor(answer) as vendor:
        await rojak.create_worker([OpenAIAgentActivities(OpenAIAgentOptions(api_key="k", base_url=vendor.openai_url))])
        listener = Listener(rojak.stream(unique, OpenAIAgent(name="A"), "go"))
        await until(lambda: listener.text() == "one two", "the first words are there")
        assert vendor.requests[0].body["stream"] is True

        kill_actor(rojak, shared_host_of(rojak, "run", unique))
        await listener.done()

    assert [event.kind for event in listener.items] == ["run_started", "agent", "retry", "message", "run_ended"]
    assert listener.text() == "one two three"
    first, second = (request.headers["Idempotency-Key"] for request in vendor.requests)
    assert first == second


async def test_cancelling_in_mid_stream_drops_the_vendor_connection(rojak: Rojak, unique: str) -> None:
    """From a shared host, and from a step worker through a dedicated session."""
    with Vendor(lambda request: Stream(Text("one two three"), after=3, ending="stalled")) as vendor:
        await rojak.create_worker([OpenAIAgentActivities(OpenAIAgentOptions(api_key="k", base_url=vendor.openai_url))])
        agent = OpenAIAgent(name="A")
        session = await rojak.create_session(unique, agent)
        for stream, cancel in (
            (lambda: rojak.stream(unique, agent, "go"), lambda: _cancel_run(rojak, unique)),
            (lambda: session.stream_messages("go"), session.cancel),
        ):
            listener = Listener(stream())  # one after the other, so that the vendor's last request is this one's
            await until(lambda listener=listener: listener.text() == "one two", "the first words are there")
            await cancel()
            with pytest.raises(Exception, match="cancelled"):
                await listener.done()
            assert listener.items[-1].kind == "run_ended"
            assert await vendor.dropped(vendor.requests[-1])


async def _cancel_run(rojak: Rojak, run_id: str) -> None:
    await (await rojak.start_run(run_id, OpenAIAgent(name="A"), "go")).cancel()


async def test_a_passivated_session_is_followed_without_being_started(
    local_ray: None, tmp_path: Path, unique: str, effects: Path
) -> None:
    pool = PoolSettings(session_idle_s=0.5, sweep_s=0.2)
    async with Rojak(str(tmp_path), namespace=unique, pool=pool, placement="dedicated") as rojak:
        await rojak.create_worker([SpeakingActivities(str(effects))])
        session = await rojak.create_session(unique, SpeakingAgent(name="A"))
        await session.send_messages("one")
        await until(lambda: not names(rojak, "SessionActor"), "its actor ends")

        listener = Listener(session.events())
        await until(lambda: len(listener.items) == 4, "its past is told from storage")
        assert not names(rojak, "SessionActor")

        await session.send_messages("two")
        await until(lambda: len(listener.items) == 8, "and its present, from the actor that came back")
        listener.task.cancel()

    assert [event.content for event in listener.items if event.kind == "message"] == ["one ", "two "]
