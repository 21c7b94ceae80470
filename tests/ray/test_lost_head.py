"""The head is killed, with a Redis that keeps its tables and without: conversations go on by themselves."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.effects import count, effects_in, story
from support.optional import skip
from support.program import Program
from support.waiting import until

from benchmarks.chaos.nodes import Cluster, redis_server

pytestmark = pytest.mark.ray


@pytest.fixture
def start(tmp_path: Path, effects: Path) -> Iterator[Any]:
    """Start programs that share one installation."""
    programs: list[Program] = []

    def start_one(cluster: Cluster, **settings: Any) -> Program:
        common = {"storage": str(tmp_path / "storage"), "namespace": "lost", "effects": str(effects)}
        program = Program(
            cluster.environment, tmp_path / "program.log", address=cluster.address, **{**common, **settings}
        )
        programs.append(program)
        return program

    yield start_one
    for program in programs:
        program.stop()


@pytest.fixture(params=[True, False], ids=["with-redis", "without"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A head and a worker node."""
    if request.param and redis_server() is None:
        skip("No Redis: install a redis-server, for which this Python has no package")
    made = Cluster(redis=request.param)
    try:
        made.start_head()
        made.add_node("one", num_cpus=2)
        yield made
    finally:
        made.stop()


async def test_head_killed_mid_run_and_started_again(start: Any, cluster: Cluster, effects: Path) -> None:
    """With Redis only the head dies and comes back; without, the whole cluster is gone and another one is started."""
    stories = {f"s-{n}": story("wait_for_go", "work_until_go", "pay") for n in range(3)}
    stories["run-1"] = story("wait_for_go")
    driver = start(cluster, send=stories, step_workers=2)

    def in_the_middle() -> bool:
        return (count(effects, "waiting"), count(effects, "working"), count(effects, "paying")) == (4, 3, 3)

    await until(in_the_middle, "all are in the middle")
    before = effects_in(effects)

    cluster.kill("head")
    driver.kill()
    later = cluster
    if not cluster.keeps_head_tables:
        cluster.kill("one")
        later = Cluster()
    try:
        later.start_head()
        if later is not cluster:
            later.add_node("one", num_cpus=2)
        Path(f"{effects}.go").touch()
        start(later)  # a worker, and nobody who asks for anything
        await until(lambda: count(effects, "last") == 4, "everything goes on by itself")
        asking = start(later, results=["run-1"], histories=["s-0", "s-1", "s-2"])
        await until(lambda: asking.has_said("finished"), "the answers are found")
    finally:
        if later is not cluster:
            later.stop()

    assert asking.answers == dict.fromkeys(stories, "done")
    after = effects_in(effects)
    words = Counter(effect.word for effect in after)
    assert (words["first"], words["last"]) == (4, 4), "a recorded step ran again"
    assert words["paying"] == 3, "what may run at most once ran again"
    known = {effect.key for effect in before if effect.word in {"waiting", "working"}}
    assert {effect.key for effect in after if effect.word in {"waiting", "working"}} == known, "another key"
