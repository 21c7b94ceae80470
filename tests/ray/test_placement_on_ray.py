"""The default placement: a crowd of sessions is served without an actor for each, and each stays where it works."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support.actors import kill_actor, shared_host_of
from support.effects import count, effects_in, make_steps, story
from support.plan import PlanActivities, PlanAgent, plan
from support.waiting import until

from rojak_ray import Rojak
from rojak_ray.runtime import actors
from rojak_ray.runtime.settings import SESSION_ACTOR, session_name
from rojak_ray.sessions.pool_settings import PoolSettings

pytestmark = pytest.mark.ray


def own_actors(rojak: Rojak) -> set[str]:
    return {name for name in actors.names_of(rojak.settings) if name.startswith(SESSION_ACTOR)}


@pytest.fixture
def place(local_ray: None, tmp_path: Path, unique: str) -> dict[str, Any]:
    return {"storage": str(tmp_path), "namespace": unique}


async def test_a_crowd_is_served_by_a_few_processes(place: dict[str, Any]) -> None:
    async with Rojak(**place) as rojak:
        await rojak.create_worker([PlanActivities()])
        agent = PlanAgent(name="A")

        async def talk(number: int) -> str | None:
            session = await rojak.create_session(f"s{number}", agent)
            return (await session.send_messages(plan("hello"))).messages[-1].content

        answers = await asyncio.gather(*(talk(number) for number in range(60)))
        assert len(answers) == 60
        assert set(answers) == {"hello"}
        assert 1 <= len(own_actors(rojak)) <= 4, "two for each CPU"

        async with Rojak(**place) as other:  # another program finds every session where it is
            sessions = [await other.get_session(f"s{number}") for number in range(60)]
            again = await asyncio.gather(*(session.send_messages(plan("more")) for session in sessions))
        assert all(len(response.messages) == 2 for response in again)
        assert len(own_actors(rojak)) <= 4


async def test_a_session_on_a_shared_host_stays_there_while_it_works(place: dict[str, Any], effects: Path) -> None:
    """Those that had the room go to storage, and another program asks for the one that shares a host."""
    functions = make_steps(str(effects))
    agent = PlanAgent(name="A", functions=[each.__name__ for each in functions])
    place["pool"] = PoolSettings(session_idle_s=2.0, sweep_s=0.2)
    async with Rojak(**place) as rojak, Rojak(**place) as other:
        await rojak.create_worker([PlanActivities()], functions=functions)
        await asyncio.gather(*(rojak.create_session(f"early{number}", agent) for number in range(4)))
        late = await rojak.create_session("late", agent)
        working = asyncio.create_task(late.send_messages(story("wait_for_go")))
        await until(lambda: count(effects, "waiting") == 1, "it works")
        assert session_name("late") not in own_actors(rojak)
        await until(lambda: not own_actors(rojak), "there is room")

        queued = asyncio.create_task((await other.get_session("late")).send_messages(plan("also")))
        new = await rojak.create_session("new", agent)
        assert own_actors(rojak) == {session_name("new")}
        Path(f"{effects}.go").touch()
        await working
        assert (await queued).messages[-1].content == "also"
        assert [effect.word for effect in effects_in(effects)] == ["first", "waiting", "last"]
        assert {effect.attempt for effect in effects_in(effects)} == {1}, "nothing was interrupted"
        await new.send_messages(plan("hello"))


async def test_shared_hosts_go_on_with_what_a_lost_host_had(place: dict[str, Any], effects: Path) -> None:
    functions = make_steps(str(effects))
    agent = PlanAgent(name="A", functions=[each.__name__ for each in functions])
    async with Rojak(**place) as rojak:
        await rojak.create_worker([PlanActivities()], functions=functions)
        await asyncio.gather(*(rojak.create_session(f"early{number}", agent) for number in range(4)))
        late = await rojak.create_session("late", agent)
        working = asyncio.create_task(late.send_messages(story("wait_for_go")))
        await until(lambda: count(effects, "waiting") == 1, "it works")
        kill_actor(rojak, shared_host_of(rojak, "session", "late"))
        await until(lambda: count(effects, "waiting") == 2, "it goes on")
        Path(f"{effects}.go").touch()
        await working
        assert session_name("late") not in own_actors(rojak)
