"""A run is answered by the provider of the program that asked, also over restarts and in schedules."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from support.vendor import Status, Text, Vendor
from support.worlds import NEVER_S

from rojak_ray import OpenAIAgent, RunFailed
from rojak_ray.agents import OpenAIAgentActivities, OpenAIAgentOptions
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.replay import replay
from rojak_ray.schedules import ScheduleSpec
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.runtime import InProcessRuntime
from rojak_ray.types import RetryOptions, RetryPolicy

HANG_S = 30
QUICK = PoolSettings(sweep_s=NEVER_S, timers_s=NEVER_S, code_wait_s=0.05, code_wait_after_loss_s=0.2)
AGENT = OpenAIAgent(name="A", model="m", retry_options=RetryOptions(retry_policy=RetryPolicy(maximum_attempts=9)))


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Go on as a program whose environment leads to this vendor, or to none."""

    def change(vendor: Vendor | None) -> None:
        for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        if vendor is not None:
            monkeypatch.setenv("OPENAI_API_KEY", f"sk-{id(vendor)}")
            monkeypatch.setenv("OPENAI_BASE_URL", vendor.openai_url)

    return change


def key_in(vendor: Vendor) -> str:
    return str(vendor.requests[-1].headers["Authorization"]).removeprefix("Bearer ")


async def test_each_run_of_a_session_is_answered_for_whoever_asked(environment: Any) -> None:
    store = MemoryStore()
    with Vendor() as one, Vendor() as other:
        for number, vendor in enumerate((one, other, one)):
            environment(vendor)
            vendor.enqueue(Text(f"answer {number}"))
            async with InProcessRuntime(store, settings=QUICK) as rojak:
                session = await (rojak.create_session("s", AGENT) if number == 0 else rojak.get_session("s"))
                assert (await session.send_messages("hi")).messages[-1].content == f"answer {number}"
            assert key_in(vendor) == f"sk-{id(vendor)}"
        assert (len(one.requests), len(other.requests)) == (2, 1)
        found = (await replay(store, Paths("rojak"), Owner("session", "s"))).state.model_dump_json()
        assert str(id(one)) not in found
        assert one.openai_url not in found


async def test_run_under_way_waits_for_its_own_provider_and_asks_no_other(environment: Any) -> None:
    store = MemoryStore()
    with Vendor() as mine, Vendor() as hers:
        environment(mine)
        mine.enqueue(*[Status(503)] * 50)
        async with InProcessRuntime(store, settings=QUICK) as rojak:
            handle = await rojak.start_run("r", AGENT, "confidential")
            async with asyncio.timeout(HANG_S):
                async for event in handle.events():
                    if event.kind == "retry":
                        break
        environment(hers)
        async with InProcessRuntime(store, settings=QUICK) as rojak:
            options = OpenAIAgentOptions(api_key="sk-worker", base_url=hers.openai_url)
            await rojak.create_worker([OpenAIAgentActivities(options)])
            async with asyncio.timeout(HANG_S):
                with pytest.raises(RunFailed, match="brought its own provider for agents of type 'openai'"):
                    await rojak.get_run_result("r")
                events = [event async for event in rojak.get_run("r").events()]
        assert hers.requests == []
    waiting = next(event for event in events if event.kind == "waiting")
    assert (waiting.reason, waiting.what, waiting.name, waiting.agent) == ("worker", "provider", "openai", "A")


async def test_program_started_again_with_its_environment_goes_on(environment: Any) -> None:
    store = MemoryStore()
    with Vendor() as mine:
        environment(mine)
        mine.enqueue(*[Status(503)] * 2)
        async with InProcessRuntime(store, settings=QUICK) as rojak:
            handle = await rojak.start_run("r", AGENT, "hi")
            async with asyncio.timeout(HANG_S):
                async for event in handle.events():
                    if event.kind == "retry":
                        break
        mine.enqueue(Text("at last"))
        async with InProcessRuntime(store, settings=QUICK) as rojak:
            async with asyncio.timeout(HANG_S):
                assert (await rojak.run("r", AGENT, "hi")).messages[-1].content == "at last"


async def test_own_registration_wins_over_own_environment(environment: Any) -> None:
    with Vendor() as mine, Vendor() as given:
        environment(mine)
        given.enqueue(Text("given"))
        async with InProcessRuntime(settings=QUICK) as rojak:
            options = OpenAIAgentOptions(api_key="sk-given", base_url=given.openai_url)
            await rojak.create_worker([OpenAIAgentActivities(options)])
            assert (await rojak.run(agent=AGENT, messages="hi")).messages[-1].content == "given"
        assert key_in(given) == "sk-given"
        assert mine.requests == []


async def test_scheduled_run_is_answered_for_the_program_that_made_the_schedule(environment: Any) -> None:
    store = MemoryStore()
    with Vendor() as mine, Vendor() as hers:
        environment(mine)
        mine.enqueue(Text("mine"))
        async with InProcessRuntime(store, settings=QUICK) as rojak:
            never = ScheduleSpec(start_at=datetime(2099, 1, 1, tzinfo=UTC))
            schedule = await rojak.create_schedule("s", never, AGENT, "hi")
            environment(hers)
            await schedule.trigger()
            async with asyncio.timeout(HANG_S):
                while not mine.requests:
                    await asyncio.sleep(0.01)
        assert hers.requests == []
