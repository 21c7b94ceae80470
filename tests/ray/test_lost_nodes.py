"""A worker node and a driver are killed on a cluster of several nodes: what they held goes on elsewhere by itself."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.effects import count, effects_in, story
from support.program import Program
from support.waiting import until

from benchmarks.chaos.nodes import Cluster

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head without CPUs and two worker nodes."""
    made = Cluster()
    try:
        made.start_head()
        made.add_node("one")
        made.add_node("two")
        yield made
    finally:
        made.stop()


@pytest.fixture
def start(cluster: Cluster, tmp_path: Path, effects: Path) -> Iterator[Any]:
    """Start programs that share one installation."""
    programs: list[Program] = []
    common = {"storage": str(tmp_path / "storage"), "namespace": "lost", "effects": str(effects)}

    def start_one(**settings: Any) -> Program:
        program = Program(
            cluster.environment, tmp_path / "program.log", address=cluster.address, **{**common, **settings}
        )
        programs.append(program)
        return program

    yield start_one
    for program in programs:
        program.stop()


async def test_driver_killed_mid_run_leaves_its_conversations_running(start: Any, effects: Path) -> None:
    driver = start(send={"run-1": story("wait_for_go"), "s-1": story("work_until_go")})
    await until(lambda: count(effects, "waiting") and count(effects, "working"), "both are in the middle")

    driver.kill()
    Path(f"{effects}.go").touch()
    await until(lambda: count(effects, "last") == 2, "both go on without anybody")
    later = start(results=["run-1"], histories=["s-1"])
    await until(lambda: later.has_said("finished"), "another program finds the answers")

    assert later.answers == {"run-1": "done", "s-1": "done"}
    assert Counter(effect.word for effect in effects_in(effects)) == {"first": 2, "waiting": 1, "working": 1, "last": 2}


async def test_worker_node_killed_moves_its_actors_steps_and_tasks(start: Any, cluster: Cluster, effects: Path) -> None:
    """Six sessions on three nodes; the node that dies holds actors, a step worker with steps, and running tasks."""
    stories = {f"s-{n}": story("wait_for_go", "wait_for_go", "wait_for_go", "work_until_go") for n in range(6)}
    driver = start(send=stories, step_workers=3)
    await until(lambda: count(effects, "waiting") == 18 and count(effects, "working") == 6, "all are in the middle")
    await until(lambda: driver.homes, "their actors are found")
    before = effects_in(effects)
    homes = Counter(driver.homes.values())
    tasks = {effect.node for effect in before if effect.word == "working"}
    waiting = {effect.node for effect in before if effect.word == "waiting"}
    victim = next(name for name in ("one", "two") if _node_of(cluster, name) in set(homes) & tasks & waiting)
    lost = _node_of(cluster, victim)

    cluster.kill(victim)
    cut = {effect.key for effect in before if effect.node == lost or effect.word in {"waiting", "working"}}
    await until(lambda: _again(effects, before, lost), "what ran there runs again elsewhere")
    Path(f"{effects}.go").touch()
    await until(lambda: driver.has_said("finished"), "every session has its answer")

    assert set(driver.answers.values()) == {"done"}
    after = effects_in(effects)
    words = Counter(effect.word for effect in after)
    assert words["first"] == words["last"] == 6, "a recorded step ran again"
    assert {effect.key for effect in after if effect.word in {"waiting", "working"}} <= cut, "another key"
    attempts = [(effect.key, effect.attempt) for effect in after]
    assert len(attempts) == len(set(attempts)), "one attempt ran twice"


def _again(effects: Path, before: list[Any], lost: str) -> bool:
    cut = {effect.key for effect in before if effect.node == lost and effect.word in {"waiting", "working"}}
    moved = {effect.key for effect in effects_in(effects)[len(before) :] if effect.node != lost}
    return cut <= moved


def _node_of(cluster: Cluster, name: str) -> str:
    return cluster.nodes[name].node_id
