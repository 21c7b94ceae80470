"""Two Rays on one storage: one works, the other stands by, and each can take over from the other without loss."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.effects import count, effects_in, story
from support.plan import plan
from support.rival import Rival
from support.waiting import HANG_S, until

from benchmarks.chaos.nodes import Cluster

pytestmark = pytest.mark.ray

NAMESPACE = "reigns"
QUICK_STORY = plan([["note", {"text": "quick"}]], "quick answer")


class Two:
    """Two clusters, each with a program of its own, on one storage."""

    def __init__(self, folder: Path, effects: Path) -> None:
        self.storage = folder / "storage"
        self.effects = effects
        self.clusters: list[Cluster] = []
        self.rivals: list[Rival] = []
        self._folder = folder

    def start(self) -> Rival:
        cluster = Cluster()
        self.clusters.append(cluster)
        cluster.start_head(num_cpus=2)
        rival = Rival(
            cluster.environment,
            self._folder / f"program-{len(self.rivals)}.log",
            address=cluster.address,
            storage=str(self.storage),
            namespace=NAMESPACE,
            effects=str(self.effects),
            placement="shared",
        )
        self.rivals.append(rival)
        return rival

    def renewals(self) -> int:
        """How often the latest reign was renewed."""
        keys = sorted(path.name for path in self.storage.glob("v1/*/alive/*/*"))
        return int(keys[-1]) if keys else 0

    def stop(self) -> None:
        for rival in self.rivals:
            rival.stop()
        for cluster in self.clusters:
            cluster.stop()


@pytest.fixture
def two(tmp_path: Path, effects: Path) -> Iterator[Two]:
    made = Two(tmp_path, effects)
    yield made
    made.stop()


async def _is(rival: Rival, expected: str) -> bool:
    return (await rival.tell("standing"))[0] == expected


def repeated(effects: Path) -> dict[str, int]:
    """What ran more than once, by its key."""
    keys = Counter(f"{effect.word} {effect.key}" for effect in effects_in(effects))
    return {key: times for key, times in keys.items() if times > 1}


@pytest.mark.timeout(600)
async def test_the_second_leaves_the_first_ones_work_alone_and_takes_over_both_ways_without_loss(two, effects) -> None:
    first = two.start()
    stories = {f"s-{n}": first.tell("send", f"s-{n}", story("wait_for_go", "pay")) for n in range(3)}
    await until(lambda: count(effects, "waiting") == count(effects, "paying") == 3, "all are in the middle")
    assert (await first.tell("send", "idle", QUICK_STORY))[1] == "quick answer"

    second = two.start()
    await until(lambda: _is(second, "stands by"), "the second one stands by")
    renewed = two.renewals()
    await until(lambda: two.renewals() >= renewed + 2, "more than a sweep goes by")
    assert (await second.tell("history", "idle"))[-1] == ["assistant", "quick answer"]
    kind, text = await second.tell("try_to_send", "idle", QUICK_STORY)
    assert kind == "StandsBy"
    assert two.clusters[0].address in text
    assert repeated(effects) == {}
    assert count(effects, "waiting") == count(effects, "paying") == 3

    await second.tell("take_over")
    _, answer, _ = await second.tell("send", "idle", QUICK_STORY)
    assert answer == "quick answer"
    Path(f"{effects}.go").touch()
    for sent in stories.values():  # asked at the first one, and answered there whoever does the rest
        _, answer, results = await asyncio.wait_for(sent, HANG_S)
        assert answer == "done"
        assert results == ["first", "went", "paid", "last"]
    assert repeated(effects) == {}
    assert {effect.attempt for effect in effects_in(effects)} == {1}
    await until(lambda: _is(first, "stands by"), "the first one has let everything go")

    await first.tell("take_over")
    _, answer, _ = await first.tell("send", "idle", QUICK_STORY)
    assert answer == "quick answer"
    assert repeated(effects) == {}


@pytest.mark.timeout(600)
async def test_a_cluster_that_is_lost_is_followed_by_the_one_that_stands_by(two, effects) -> None:
    first = two.start()
    first.tell("send", "s", story("wait_for_go"))
    await until(lambda: count(effects, "waiting") == 1, "it is in the middle")
    second = two.start()
    await until(lambda: _is(second, "stands by"), "the second one stands by")
    first.process.kill()
    two.clusters[0].kill("head")
    Path(f"{effects}.go").touch()
    await until(lambda: _is(second, "rules"), "the second one follows")
    await until(lambda: count(effects, "last") == 1, "what was under way goes on by itself")
