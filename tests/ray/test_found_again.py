"""A task's process is killed, and a session whose home is another than before is found by the sweep."""

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from support.effects import count, effects_in, make_steps, story
from support.plan import PlanActivities, PlanAgent
from support.waiting import until

from rojak_ray import Rojak
from rojak_ray.runtime import actors

pytestmark = pytest.mark.ray


async def test_process_of_a_running_task_killed_runs_the_function_again(
    rojak: Rojak, unique: str, effects: Path
) -> None:
    await rojak.create_worker([PlanActivities()])
    agent = PlanAgent(name="A", functions=make_steps(str(effects)))
    message = story("work_until_go", "pay_in_a_task")
    answering = asyncio.create_task(rojak.run(unique, agent, message))
    await until(lambda: count(effects, "working") == count(effects, "paying") == 1, "both tasks run")

    for effect in effects_in(effects):
        if effect.word in {"working", "paying"}:
            os.kill(effect.pid, signal.SIGKILL)
    await until(lambda: count(effects, "working") == 2, "the lost call runs again")
    Path(f"{effects}.go").touch()
    response = await answering

    told = [message.content for message in response.messages if message.role == "tool"]
    assert told[1] == "worked"
    assert "interrupted" in (told[2] or "").lower()
    assert Counter(effect.word for effect in effects_in(effects)) == {"first": 1, "working": 2, "paying": 1, "last": 1}
    assert len({effect.key for effect in effects_in(effects) if effect.word == "working"}) == 1


@pytest.mark.parametrize(("before", "after"), [("shared", "dedicated"), ("dedicated", "shared")])
async def test_session_that_lived_elsewhere_is_found_where_it_belongs_now(
    local_ray: None, tmp_path: Path, effects: Path, before: str, after: str
) -> None:
    """The cluster is lost; the next one has another placement and more shared hosts. Nobody asks for the session."""
    import ray

    functions = make_steps(str(effects))
    where = {"storage": str(tmp_path / "storage"), "namespace": "moved"}
    async with Rojak(**where, placement=before) as first:
        await first.create_worker([PlanActivities()])
        session = await first.create_session("s", PlanAgent(name="A", functions=functions))
        sending = asyncio.create_task(session.send_messages(story("wait_for_go")))
        await until(lambda: count(effects, "waiting") == 1, "it is in the middle")
    namespace = first.settings.ray_namespace
    for name in actors.names_of(first.settings):
        ray.kill(ray.get_actor(name, namespace), no_restart=True)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await until(lambda: not actors.names_of(first.settings), "everything is gone")

    async with Rojak(**where, placement=after, hosts=3) as later:
        await later.create_worker([PlanActivities()], functions=functions)
        await until(lambda: count(effects, "waiting") == 2, "it goes on by itself")
        Path(f"{effects}.go").touch()
        await until(lambda: count(effects, "last") == 1, "it comes to its end")

    assert len({effect.key for effect in effects_in(effects) if effect.word == "waiting"}) == 1
    assert count(effects, "first") == 1
