"""Processes are killed with SIGKILL while conversations run: nothing is lost, no recorded step runs twice."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.actors import kill_actor, shared_host_of
from support.plan import PlanActivities, PlanAgent, plan
from support.waiting import HANG_S, lines, until

from rojak_ray import Rojak, ToolContext
from rojak_ray.agents import AgentActivities, AgentCallParams, AgentResponse
from rojak_ray.runtime.outbox import MOST_HELD
from rojak_ray.runtime.settings import CATALOG, session_name
from rojak_ray.testing.clock import FakeClock

pytestmark = pytest.mark.ray


@pytest_asyncio.fixture(autouse=True)
async def worker(rojak: Rojak) -> AsyncIterator[None]:
    async with await rojak.create_worker([PlanActivities()]):
        yield


def make_steps(path: str) -> Any:
    """Functions that write what they did, and one that waits until it is told to go on."""

    async def note(text: str, context: ToolContext) -> str:
        with open(path, "a") as file:
            file.write(f"{text} {context.idempotency_key} {context.attempt}\n")
        return text

    async def wait_for_go(context: ToolContext) -> str:
        with open(path, "a") as file:
            file.write(f"waiting {context.idempotency_key} {context.attempt}\n")
        while not Path(path + ".go").exists():
            await asyncio.sleep(0.02)
        return "went"

    return [note, wait_for_go]


STORY = plan([["note", {"text": "first"}]], [["wait_for_go", {}]], [["note", {"text": "last"}]], "done")


async def finished(path: Path, answering: "asyncio.Task[Any]") -> dict[str, list[list[str]]]:
    """Let the story end; what each function wrote, by its first word."""
    Path(f"{path}.go").touch()
    async with asyncio.timeout(HANG_S):
        assert (await answering).messages[-1].content == "done"
    written: dict[str, list[list[str]]] = {}
    for line in lines(path):
        word, *rest = line.split()
        written.setdefault(word, []).append(rest)
    return written


def waiting_lines(path: Path) -> int:
    return sum(line.startswith("waiting") for line in lines(path))


def running(rojak: Rojak, kind: str) -> list[str]:
    """The names of the actors of a class."""
    from rojak_ray.runtime import actors

    return sorted(name for name in actors.names_of(rojak.settings) if name.startswith(kind))


def step_workers(rojak: Rojak) -> list[str]:
    return running(rojak, "StepWorkerActor")


async def attempts(rojak: Rojak) -> int:
    """How many steps the step workers had since they were started; none while they are on their way back."""
    from ray.exceptions import RayError

    from rojak_ray.runtime import actors

    handles: list[Any] = [actors.find(name, rojak.settings) for name in step_workers(rojak)]
    try:
        return sum([(await handle.statistics.remote()).finished for handle in handles if handle is not None])
    except RayError:
        return 0


async def test_session_actor_killed_mid_run_goes_on_where_it_stopped(rojak: Rojak, unique: str, effects: Path) -> None:
    session = await rojak.create_session(unique, PlanAgent(name="A", functions=make_steps(str(effects))))
    answering = asyncio.create_task(session.send_messages(STORY))
    await until(lambda: waiting_lines(effects) == 1, "the second function waits")

    kill_actor(rojak, session_name(unique))
    await until(lambda: waiting_lines(effects) == 2, "the unfinished step runs again")
    written = await finished(effects, answering)

    assert len(written["first"]) == 1, "a recorded step ran again"
    keys = {key for key, _ in written["waiting"]}
    assert len(keys) == 1, "the step ran again under another key"
    assert [attempt for _, attempt in written["waiting"]] == ["1", "2"]
    assert len(written["last"]) == 1


async def test_shared_host_killed_mid_run_goes_on_without_any_caller(rojak: Rojak, unique: str, effects: Path) -> None:
    handle = await rojak.start_run(unique, PlanAgent(name="A", functions=make_steps(str(effects))), STORY)
    await until(lambda: waiting_lines(effects) == 1, "the second function waits")

    kill_actor(rojak, shared_host_of(rojak, "run", unique))
    await until(lambda: waiting_lines(effects) == 2, "the run is taken up again by itself")
    written = await finished(effects, asyncio.create_task(handle.result()))

    assert {word: len(found) for word, found in written.items()} == {"first": 1, "waiting": 2, "last": 1}


@pytest.mark.parametrize("links", ["on", "off"])
async def test_shared_host_killed_answers_a_crowd_of_callers(
    rojak: Rojak, unique: str, effects: Path, links: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROJAK_LINKS", links)
    for _ in range(6):  # a client has links once it was answered
        await rojak.run(agent=PlanAgent(name="A"), messages=plan("hello"))
    crowd = 6 * MOST_HELD  # so that without links most of them have only a ticket, on every host
    agent = PlanAgent(name="A", functions=make_steps(str(effects)))
    story = plan([["wait_for_go", {}]], "done")
    answering = [asyncio.create_task(rojak.run(f"{unique}-{n}", agent, story)) for n in range(crowd)]
    await until(lambda: waiting_lines(effects) >= crowd, "everybody's function waits")

    kill_actor(rojak, shared_host_of(rojak, "run", f"{unique}-0"))
    Path(f"{effects}.go").touch()
    async with asyncio.timeout(HANG_S):
        answers = await asyncio.gather(*answering)
    assert [answer.id for answer in answers] == [f"{unique}-{n}" for n in range(crowd)]
    assert {answer.messages[-1].content for answer in answers} == {"done"}


async def test_step_worker_killed_runs_its_steps_again(rojak: Rojak, unique: str, effects: Path) -> None:
    answering = asyncio.create_task(rojak.run(unique, PlanAgent(name="A", functions=make_steps(str(effects))), STORY))
    await until(lambda: waiting_lines(effects) == 1, "the second function waits")
    for name in step_workers(rojak):
        kill_actor(rojak, name)
    await until(lambda: waiting_lines(effects) == 2, "the lost step runs again")
    written = await finished(effects, answering)

    assert {word: len(found) for word, found in written.items()} == {"first": 1, "waiting": 2, "last": 1}


async def test_worker_registers_again_when_the_catalog_is_lost(rojak: Rojak, unique: str) -> None:
    def by_name() -> str:
        return "found"

    await rojak.create_worker([PlanActivities()], functions=[by_name])
    for name in (CATALOG, *running(rojak, "SessionHostActor")):  # a host would remember the old directory
        kill_actor(rojak, name)

    response = await rojak.run(unique, PlanAgent(name="A", functions=["by_name"]), plan([["by_name", {}]]))

    assert response.messages[-1].content == "found"


async def test_catalog_and_code_lost_at_once_come_back_with_whoever_registers(
    rojak: Rojak, installation: dict[str, str], unique: str, effects: Path
) -> None:
    """As on a lost node. Another program has the functions, but of another build: to other bytes."""
    async with Rojak(**installation) as earlier:
        await earlier.create_worker(functions=make_steps(str(effects)))
        handle = await earlier.start_run(unique, PlanAgent(name="A", functions=["note", "wait_for_go"]), STORY)
        await until(lambda: waiting_lines(effects) == 1, "the second function waits")

    for name in (CATALOG, *step_workers(rojak)):
        kill_actor(rojak, name)
    await until(lambda: attempts(rojak), "a new step worker was asked to run code that nobody has")
    async with Rojak(**installation) as later:
        await later.create_worker(functions=make_steps(f"{effects.parent}/./{effects.name}"))
        written = await finished(effects, asyncio.create_task(later.get_run(handle.id).result()))

    assert {word: len(found) for word, found in written.items()} == {"first": 1, "waiting": 2, "last": 1}


async def test_client_waits_while_the_catalog_is_on_its_way_back(rojak: Rojak) -> None:
    """On a lost node it is away for as long as Ray takes to notice that, and nobody is told of an error."""
    import ray

    from rojak_ray.runtime import actors
    from rojak_ray.runtime.catalog_access import CatalogAccess

    clock = FakeClock()
    ray.kill(ray.get_actor(CATALOG, rojak.settings.ray_namespace), no_restart=True)
    await until(lambda: CATALOG not in actors.names_of(rojak.settings), "it is gone")
    joining = asyncio.create_task(CatalogAccess(rojak.settings.ray_namespace, clock).call("join", rojak.settings))
    for _ in range(60):
        await clock.advance(1.0)
        await asyncio.sleep(0)
    assert not joining.done()

    actors.start_catalog(rojak.settings)

    async def joined() -> bool:
        await clock.advance(0.25)
        return joining.done()

    await until(joined, "it is found again")
    assert (await joining)[0] == rojak.settings


async def test_new_cluster_on_the_same_storage_goes_on_when_a_worker_starts(
    rojak: Rojak, installation: dict[str, str], unique: str, effects: Path
) -> None:
    """Every actor is gone for good, as with a lost cluster; nobody asks for the run or the session again."""
    import ray

    agent = PlanAgent(name="A", functions=make_steps(str(effects)))
    await rojak.start_run(f"{unique}-run", agent, STORY)
    session = await rojak.create_session(unique, agent)
    sending = asyncio.create_task(session.send_messages(STORY))
    await until(lambda: waiting_lines(effects) == 2, "both wait in their second function")
    await rojak.close()
    namespace = rojak.settings.ray_namespace
    for actor in ray.util.list_named_actors(all_namespaces=True):
        if actor["namespace"] == namespace:
            ray.kill(ray.get_actor(actor["name"], namespace), no_restart=True)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)

    async with Rojak(**installation) as later:
        note, wait_for_go = agent.functions
        await later.create_worker([PlanActivities()], functions=[note, wait_for_go])
        await until(lambda: waiting_lines(effects) == 4, "both run again by themselves")
        written = await finished(effects, asyncio.create_task(later.get_run_result(f"{unique}-run")))
        again = await later.get_session(unique)
        await until(lambda: _answered(again), "the session has its answer")

    assert {word: len(found) for word, found in written.items()}["first"] == 2
    assert len({key for key, _ in written["waiting"]}) == 2


async def _answered(session: Any) -> bool:
    return any(message.content == "done" for message in await session.history())


CANARY = "sk-canary-4f1d7c2e9b"


async def test_key_given_to_a_worker_is_nowhere_on_disk(
    rojak: Rojak, unique: str, installation: dict[str, str]
) -> None:
    import ray

    class KeyedActivities(AgentActivities):
        type = "keyed"

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

        async def call(self, params: AgentCallParams) -> AgentResponse:
            if params.messages[-1].content == "fail":
                raise ValueError("no such luck")
            return AgentResponse(type="text", content=f"key of {len(self.key)} characters")

    class KeyedAgent(PlanAgent):
        type: str = "keyed"

    await rojak.create_worker([KeyedActivities(CANARY)])
    response = await rojak.run(unique, KeyedAgent(name="A"), "hello")
    with pytest.raises(Exception, match="no such luck"):
        await rojak.run(agent=KeyedAgent(name="A"), messages="fail")

    assert response.messages[-1].content == f"key of {len(CANARY)} characters"
    session_dir = Path(ray._private.worker._global_node.get_session_dir_path())
    searched = 0
    for root in (Path(installation["storage"]), session_dir):
        for path in root.rglob("*"):
            if path.is_file():
                searched += 1
                assert CANARY.encode() not in path.read_bytes(), path
    assert searched > 10
