"""With links and without: the same answers, the same losses, the same cancellations."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.plan import PlanActivities, PlanAgent, plan
from support.waiting import lines, until

from rojak_ray import Rojak, ToolContext, errors, function

pytestmark = pytest.mark.ray

_THROUGH_RAY = {"env_vars": {"ROJAK_LINKS": "off"}}


@pytest_asyncio.fixture(autouse=True)
async def worker(rojak: Rojak) -> AsyncIterator[None]:
    async with await rojak.create_worker([PlanActivities()]):
        yield


@function(runtime_env=_THROUGH_RAY)
def links() -> str:
    """Say what this process was told about links."""
    return os.environ.get("ROJAK_LINKS", "on")


async def test_a_function_process_without_a_link_takes_its_calls_through_ray(rojak: Rojak) -> None:
    story = plan([["links", {}]], [["links", {}], ["links", {}]], "done")
    response = await rojak.run(agent=PlanAgent(name="A", functions=[links]), messages=story)
    assert [m.content for m in response.messages if m.role == "tool"] == ["off"] * 3
    assert response.messages[-1].content == "done"


async def test_a_process_lost_without_a_link_makes_its_function_run_again(rojak: Rojak, effects: Path) -> None:
    path = str(effects)

    @function(runtime_env=_THROUGH_RAY)
    def die_once(context: ToolContext) -> str:
        with open(path, "a") as file:
            file.write(f"{context.idempotency_key} {context.attempt}\n")
        if context.attempt == 1:
            os._exit(1)
        return "alive"

    response = await rojak.run(
        agent=PlanAgent(name="A", functions=[die_once]), messages=plan([["die_once", {}]], "done")
    )
    assert [m.content for m in response.messages if m.role == "tool"] == ["alive"]
    keys = [line.split()[0] for line in lines(effects)]
    assert len(keys) == 2
    assert len(set(keys)) == 1


async def test_cancelling_stops_a_function_that_is_called_through_ray(rojak: Rojak, unique: str, effects: Path) -> None:
    path = str(effects)

    @function(runtime_env=_THROUGH_RAY)
    def forever() -> str:
        import time

        with open(path, "a") as file:
            file.write(f"{os.getpid()}\n")
        while True:
            time.sleep(0.05)

    handle = await rojak.start_run(unique, PlanAgent(name="A", functions=[forever]), plan([["forever", {}]], "done"))
    await until(lambda: len(lines(effects)) == 1, "the function runs")
    await handle.cancel()
    with pytest.raises(errors.RunCancelled, match="cancel"):
        await handle.result()
    pid = int(lines(effects)[0])
    await until(lambda: not Path(f"/proc/{pid}").exists(), "its process was ended")


async def test_a_client_without_links_works_like_one_with_them(
    installation: dict[str, str], unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = PlanAgent(name="A")
    async with Rojak(**installation) as linked:
        session = await linked.create_session(unique, agent)
        for text in ("one", "two"):
            assert (await session.send_messages(plan(text))).messages[-1].content == text
        monkeypatch.setenv("ROJAK_LINKS", "off")
        async with Rojak(**installation) as plain:
            same = await plain.get_session(unique)
            for text in ("three", "four"):
                assert (await same.send_messages(plan(text))).messages[-1].content == text
        assert (await session.send_messages(plan("five"))).messages[-1].content == "five"


async def test_cancelling_stops_an_async_function_on_a_linked_step_worker(
    rojak: Rojak, unique: str, effects: Path
) -> None:
    path = str(effects)

    async def quick() -> str:
        return "quick"

    async def long() -> str:
        with open(path, "a") as file:
            file.write("begun\n")
        try:
            await asyncio.sleep(600)
        finally:
            with open(path, "a") as file:
                file.write("stopped\n")
        return "never"

    session = await rojak.create_session(unique, PlanAgent(name="A", functions=[quick, long]))
    for _ in range(3):  # by now the session's actor has a link
        await session.send_messages(plan([["quick", {}]], "done"))
    asking = asyncio.create_task(session.send_messages(plan([["long", {}]], "done")))
    await until(lambda: lines(effects) == ["begun"], "the function runs")
    await session.cancel()
    with pytest.raises(errors.RunCancelled, match="cancel"):
        await asking
    await until(lambda: lines(effects) == ["begun", "stopped"], "the function was stopped")
