"""`@function(keep_result=True)`: the model is given a part, the user gets the whole, and no host ever carries it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from support.plan import PlanActivities, PlanAgent, plan

from rojak_ray import function
from rojak_ray.agents.spec import AgentSpec
from rojak_ray.core.kept import KeptResult
from rojak_ray.errors import InvalidAgent, InvalidId, JournalDamaged, ResultNotKept, StoreRefused
from rojak_ray.ids import RandomIds
from rojak_ray.journal import kept as kept_results
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.messages import ImagePart, TextPart
from rojak_ray.sessions.events import FunctionResultEvent
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.runtime import InProcessRuntime
from rojak_ray.testing.stores import Call, FailAfter, FailBefore, Fault, FaultyStore

LOG = "".join(f"line {number} of the log: nasi lemak ü\n" for number in range(20_000))
OWNER = Owner("session", "s")
PNG = b"\x89PNG\r\n\x1a\n"


@function(keep_result=True, max_result_bytes=2048)
def read_log() -> str:
    """Read the log."""
    return LOG


@function(keep_result=True, max_result_bytes=2048)
async def read_log_later() -> str:
    """Read the log."""
    return LOG


@function(keep_result=True, max_result_bytes=2048)
def read_table() -> list[dict[str, Any]]:
    """Read the table."""
    return [{"dish": "laksa", "row": number} for number in range(1000)]


@function(keep_result=True, max_result_bytes=2048)
def look() -> list[Any]:
    """Show a picture and the log."""
    return [ImagePart(data=PNG, media_type="image/png"), TextPart(text=LOG)]


@function(keep_result=True)
def say_little() -> str:
    """Say little."""
    return "Two portions."


def read_log_unkept() -> str:
    """Read the log."""
    return LOG


FUNCTIONS = [read_log, read_log_later, read_table, look, say_little, read_log_unkept]


def asking(*names: str) -> str:
    return plan([[name, {}] for name in names])


async def asked(runtime: InProcessRuntime, *names: str) -> tuple[Any, list[FunctionResultEvent]]:
    await runtime.create_worker([PlanActivities()])
    session = await runtime.create_session("s", PlanAgent(name="Clerk", functions=FUNCTIONS))
    await session.send_messages(asking(*names))
    events = [event async for event in session.events(until_idle=True)]
    return session, [event for event in events if isinstance(event, FunctionResultEvent)]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_results, "_PIECE", 100_000)


@pytest.mark.parametrize("fn", [read_log, read_log_later], ids=["sync", "async"])
async def test_the_whole_is_given_back_and_only_a_part_goes_through_the_host(fn: Callable[..., Any]) -> None:
    store = MemoryStore()
    async with InProcessRuntime(store) as runtime:
        session, (result,) = await asked(runtime, fn.__name__)
        assert len(result.output) < 3000
        assert result.kept is not None
        assert await session.whole_result(result.call_id) == LOG
        assert await session.whole_result(result.kept) == LOG
        assert await session.kept_results() == [result.kept]
        data = LOG.encode()
        expected = (fn.__name__, len(data), hashlib.sha256(data).hexdigest())
        assert (result.kept.name, result.kept.size, result.kept.sha256) == expected
        rest = [key for key, value in store.snapshot().items() if "/kept/" not in key and len(value) > 20_000]
        assert rest == []


async def test_it_is_there_for_the_next_process() -> None:
    store = MemoryStore()
    async with InProcessRuntime(store) as runtime:
        await asked(runtime, "read_log", "read_table")
    async with InProcessRuntime(store) as runtime:
        session = await runtime.get_session("s")
        kept = {one.name: one.call_id for one in await session.kept_results()}
        assert await session.whole_result(kept["read_log"]) == LOG
        assert str(await session.whole_result(kept["read_table"])).startswith('[{"dish": "laksa", "row": 0}, {"dish"')


async def test_of_a_run_outside_sessions() -> None:
    async with InProcessRuntime() as runtime:
        await runtime.create_worker([PlanActivities()])
        await runtime.run("r", agent=PlanAgent(functions=[read_log]), messages=asking("read_log"))
        run = runtime.get_run("r")
        (kept,) = await run.kept_results()
        assert await run.whole_result(kept.call_id) == LOG


async def test_parts_come_back_as_parts() -> None:
    async with InProcessRuntime() as runtime:
        session, (result,) = await asked(runtime, "look")
        image, text = await session.whole_result(result.call_id)
        assert (image["type"], text["text"]) == ("image", LOG)


async def test_what_was_given_whole_or_not_asked_for_is_not_kept() -> None:
    store = MemoryStore()
    async with InProcessRuntime(store) as runtime:
        session, results = await asked(runtime, "say_little", "read_log_unkept")
        assert [result.kept for result in results] == [None, None]
        assert not [key for key in store.snapshot() if "/kept/" in key]
        for call_id in (results[0].call_id, "nobody's"):
            with pytest.raises(ResultNotKept, match="kept_results"):
                await session.whole_result(call_id)
        with pytest.raises(InvalidId):
            await session.whole_result(5)


async def test_it_goes_with_its_conversation() -> None:
    store = MemoryStore()
    async with InProcessRuntime(store) as runtime:
        session, (result,) = await asked(runtime, "read_log")
        await runtime.delete_session("s")
        assert not [key for key in store.snapshot() if "/kept/" in key]
        with pytest.raises(ResultNotKept, match="gone"):
            await session.whole_result(result.kept)


def on_pieces(fault: Fault, number: int) -> Callable[[Call], Fault | None]:
    seen: list[str] = []

    def script(call: Call) -> Fault | None:
        if call.operation != "put" or "/kept/" not in call.key:
            return None
        seen.append(call.key)
        return fault if len(seen) == number else None

    return script


async def test_where_it_cannot_be_kept_the_model_is_told_and_the_run_goes_on(caplog: Any) -> None:
    store = FaultyStore(MemoryStore(), on_pieces(FailBefore(StoreRefused), 2))
    async with InProcessRuntime(store) as runtime:
        _, (result,) = await asked(runtime, "read_log")
        assert result.kept is None
        assert "The whole is not kept" in str(result.output)
        assert "is not kept" in caplog.text


async def test_more_than_is_ever_kept_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_results, "MOST_KEPT_BYTES", len(LOG) - 1)
    async with InProcessRuntime() as runtime:
        _, (result,) = await asked(runtime, "read_log")
        assert result.kept is None
        assert "The whole is not kept" in str(result.output)


@pytest.mark.parametrize("harm", ["altered", "missing"])
async def test_a_harmed_piece_is_not_passed_off_as_the_whole(harm: str) -> None:
    store = MemoryStore()
    async with InProcessRuntime(store) as runtime:
        session, (result,) = await asked(runtime, "read_log")
        last = max(key for key in store.snapshot() if "/kept/" in key)
        await store.delete(last)
        if harm == "altered":
            await store.put_new(last, b"forged")
        with pytest.raises(JournalDamaged, match="/kept/"):
            await session.whole_result(result.kept)


async def test_an_agent_has_a_bound_of_its_own() -> None:
    async with InProcessRuntime() as runtime:
        await runtime.create_worker([PlanActivities()])
        small = PlanAgent(name="Small", functions=[read_log_unkept, say_little], max_result_bytes=1024)
        session = await runtime.create_session("s", small)
        await session.send_messages(asking("read_log_unkept", "say_little"))
        told = [message.text for message in await session.history() if message.role == "tool"]
        assert 1024 < len(told[0] or "") < 1400
        assert told[1] == "Two portions."
        answer = await session.send_messages(plan("hi"))
        assert answer.agent.max_result_bytes == 1024
        for wrong in (0, 60 << 20, "1024", True):
            with pytest.raises(InvalidAgent, match=r"'Small'.*max_result_bytes"):
                await session.send_messages("hi", dataclasses.replace(small, max_result_bytes=wrong))


def test_a_bound_that_is_not_set_changes_no_agents_identity() -> None:
    plain = AgentSpec(type="plan", name="A", model="m", instructions="")
    assert "max_result_bytes" not in plain.identity()
    assert plain.model_copy(update={"max_result_bytes": 1024}).digest() != plain.digest()


async def test_a_lost_reply_of_a_piece_is_no_loss() -> None:
    store = FaultyStore(MemoryStore(), on_pieces(FailAfter(), 1))
    kept = kept_results.KeptResults(store, Paths("n"), RandomIds())
    about = KeptResult(call_id="c", name="f", size=0, write_id="", pieces=0, sha256="")
    written = await kept.write(OWNER, about, LOG)
    assert await kept.read(OWNER, written) == LOG
