"""Keepers over one store, on clocks that a test moves: claims, renewals, take-overs, and storage that fails."""

import asyncio
from dataclasses import dataclass

import pytest

from rojak_ray.concurrency import background
from rojak_ray.errors import StandsBy, StoreUnavailable
from rojak_ray.ids import RandomIds
from rojak_ray.journal.paths import Paths
from rojak_ray.reign.keeper import ReignKeeper
from rojak_ray.reign.records import Claim, Witness
from rojak_ray.reign.reign import Duty
from rojak_ray.reign.succession import ReignSettings
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.clock import FakeClock
from rojak_ray.testing.stores import FailAfter, FailBefore, FaultyStore

PATHS = Paths("rojak")


def claim(name: str, witness: Witness | None = None) -> Claim:
    return Claim(number=0, cluster=name, mode="ray", place=f"{name}:6379", library="1.2.3", at="", witness=witness)


@dataclass
class Cluster:
    keeper: ReignKeeper
    task: asyncio.Task[None]

    @property
    def duty(self) -> Duty:
        return self.keeper.reign.standing.duty if not self.keeper.reign.rules else Duty.RULES

    def kill(self) -> None:
        """As a process dies: without a word."""
        self.keeper._memory = type(self.keeper._memory)()
        self.task.cancel()


class Scene:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.clock = FakeClock()
        self.clusters: list[Cluster] = []

    def start(self, name: str, store=None, *, ordered: bool = False, drained=None) -> Cluster:
        keeper = ReignKeeper(store or self.store, PATHS, claim(name), self.clock, ReignSettings(patience_s=0.01))
        if drained is not None:
            keeper.drained = drained
        if ordered:
            keeper.order()
        cluster = Cluster(keeper, background(f"keep the reign of {name}", keeper.run, self.clock))
        self.clusters.append(cluster)
        return cluster

    async def pass_s(self, seconds: float) -> None:
        await self.clock.advance(seconds)


@pytest.fixture
async def scene():
    made = Scene()
    yield made
    for cluster in made.clusters:
        cluster.task.cancel()
    await asyncio.gather(*(cluster.task for cluster in made.clusters), return_exceptions=True)


async def test_the_first_one_rules_and_the_second_stands_by_and_names_it(scene):
    first = scene.start("first")
    await scene.pass_s(1)
    second = scene.start("second")
    await scene.pass_s(600)
    assert (first.duty, second.duty) == (Duty.RULES, Duty.STANDS_BY)
    with pytest.raises(StandsBy, match=r"first:6379.*rojak_ray 1\.2\.3.*since 2026") as refused:
        await second.keeper.reign.admit()
    assert refused.value.retryable
    assert "first:6379" in refused.value.ruler


async def test_a_restarted_process_of_the_same_cluster_goes_on_ruling(scene):
    first = scene.start("first")
    await scene.pass_s(25)
    first.kill()
    await scene.pass_s(20)
    again = scene.start("first")
    await scene.pass_s(1)
    assert again.duty is Duty.RULES
    assert [key for key in scene.store.snapshot() if key.startswith(PATHS.reigns)] == [PATHS.reign(1)]


async def test_a_ruler_that_is_lost_is_followed_after_thirty_seconds_without_waiting_for_its_work(scene):
    first, second = scene.start("first"), None
    await scene.pass_s(14)
    second = scene.start("second")
    await scene.pass_s(6)
    first.kill()
    await scene.pass_s(28)
    assert second.duty is Duty.STANDS_BY
    await scene.pass_s(8)
    assert second.duty is Duty.RULES
    assert not second.keeper.reign.standing.handover


async def test_a_ruler_that_signed_off_is_followed_at_the_next_look(scene):
    first = scene.start("first")
    await scene.pass_s(1)
    second = scene.start("second")
    await scene.pass_s(1)
    first.task.cancel()
    await scene.pass_s(5)
    assert second.duty is Duty.RULES
    assert not second.keeper.reign.standing.handover


async def test_an_order_takes_over_and_the_old_one_lets_go_and_signs_off(scene):
    open_here = True

    async def drained(number: int) -> bool:
        return not open_here

    first = scene.start("first", drained=drained)
    await scene.pass_s(1)
    second = scene.start("second", ordered=True)
    await scene.pass_s(0.1)
    assert second.duty is not Duty.RULES, "the first may open a conversation until it has looked"
    await scene.pass_s(5)
    assert first.duty is Duty.YIELDS
    assert first.keeper.reign.standing.successor == 2
    assert 50 < first.keeper.reign.left_s <= 60
    await scene.pass_s(2)
    assert second.duty is Duty.RULES
    assert second.keeper.reign.standing.handover
    open_here = False
    await scene.pass_s(2)
    assert first.duty is Duty.STANDS_BY
    assert not second.keeper.reign.standing.handover
    first.keeper.order()
    await scene.pass_s(8)
    assert (first.duty, second.duty) == (Duty.RULES, Duty.STANDS_BY)


async def test_two_that_claim_at_once_agree_on_one(scene):
    clusters = [scene.start(f"c{number}") for number in range(5)]
    await scene.pass_s(6)
    assert sorted(cluster.duty for cluster in clusters) == [Duty.RULES, *[Duty.STANDS_BY] * 4]


async def test_storage_that_is_away_ends_the_right_to_begin_anything_before_somebody_follows(scene):
    faulty = FaultyStore(scene.store)
    first, second = scene.start("first", faulty), None
    await scene.pass_s(1)
    second = scene.start("second")
    await scene.pass_s(12)

    def away(call):
        raise StoreUnavailable("away")

    faulty.script = away
    followed_at = refused_at = None
    for second_now in range(60):
        await scene.pass_s(1)
        if refused_at is None and not first.keeper.reign.rules:
            refused_at = second_now
        if followed_at is None and second.keeper.reign.rules:
            followed_at = second_now
        assert not (first.keeper.reign.rules and second.keeper.reign.rules)
    assert refused_at is not None
    assert followed_at is not None
    assert refused_at < followed_at
    faulty.script = lambda call: None
    await scene.pass_s(20)
    assert (first.duty, second.duty) == (Duty.STANDS_BY, Duty.RULES)


async def test_a_claim_that_cannot_be_read_is_anothers_and_is_followed_when_it_falls_silent(scene):
    await scene.store.put_new(PATHS.reign(4), b"{}")
    newcomer = scene.start("newcomer")
    await scene.pass_s(29)
    assert newcomer.duty is Duty.STANDS_BY
    await scene.pass_s(8)
    assert newcomer.duty is Duty.RULES
    assert newcomer.keeper.reign.standing.number == 5


async def test_an_hour_of_ruling_costs_one_list_per_look_and_leaves_two_renewals(scene):
    faulty = FaultyStore(scene.store)
    calls: list[str] = []
    faulty.script = lambda call: calls.append(call.operation)
    scene.start("first", faulty)
    await scene.pass_s(3600)
    assert calls.count("list") <= 3600 / 5 + 5
    assert calls.count("put") <= 3600 / 10 + 2
    assert calls.count("get") <= 2
    assert len([key for key in scene.store.snapshot() if key.startswith(PATHS.renewals(1))]) <= 2


async def test_reigns_of_long_ago_are_forgotten(scene):
    for number in range(20):
        cluster = scene.start(f"c{number}")
        await scene.pass_s(1)
        cluster.task.cancel()
        await scene.pass_s(1)
    assert len([key for key in scene.store.snapshot() if key.startswith(PATHS.reigns)]) <= 20
    assert PATHS.reign(20) in scene.store.snapshot()
    assert PATHS.reign(3) not in scene.store.snapshot()


async def test_what_others_put_beside_the_claims_says_nothing(scene):
    await scene.store.put_new(f"{PATHS.reigns}README", b"hello")
    await scene.store.put_new(f"{PATHS.reigns}00000000000000000009.backup", b"hello")
    cluster = scene.start(RandomIds().new_id())
    await scene.pass_s(1)
    assert cluster.duty is Duty.RULES
    assert cluster.keeper.reign.standing.number == 1


async def test_an_order_with_a_name_is_carried_out_once_whoever_took_over_since(scene):
    first = scene.start("first")
    await scene.pass_s(1)
    second = scene.start("second")
    await scene.pass_s(1)
    second.keeper.order("monday")
    await scene.pass_s(90)
    assert (first.duty, second.duty) == (Duty.STANDS_BY, Duty.RULES)
    second.keeper.order("tuesday")  # it rules: nothing to do, for good
    await scene.pass_s(10)
    for number in range(12):  # long enough for the first claims to be forgotten
        (first, second)[number % 2].keeper.order(f"back and forth {number}")
        await scene.pass_s(90)
    first.keeper.order("back again")
    await scene.pass_s(90)
    for late in ("monday", "tuesday"):
        second.keeper.order(late)
        await scene.pass_s(90)
        assert (first.duty, second.duty) == (Duty.RULES, Duty.STANDS_BY), late
    second.keeper.order("wednesday")
    await scene.pass_s(90)
    assert (first.duty, second.duty) == (Duty.STANDS_BY, Duty.RULES)


@pytest.mark.parametrize("operation", ["put", "get", "list"])
@pytest.mark.parametrize("fault", [FailBefore(), FailAfter()], ids=["not done", "reply lost"])
async def test_an_order_whose_storage_fails_is_carried_out_and_not_again(scene, operation, fault):
    first = scene.start("first")
    await scene.pass_s(1)
    store = FaultyStore(scene.store)
    second = scene.start("second", store)
    await scene.pass_s(1)
    left = [fault] * 3
    store.script = lambda call: left.pop() if call.operation == operation and left else None
    second.keeper.order("monday")
    await scene.pass_s(120)
    assert (first.duty, second.duty) == (Duty.STANDS_BY, Duty.RULES)
    first.keeper.order("tuesday")
    await scene.pass_s(120)
    second.keeper.order("monday")
    await scene.pass_s(120)
    assert (first.duty, second.duty) == (Duty.RULES, Duty.STANDS_BY)


async def test_an_order_is_known_from_its_claim_though_its_note_was_never_written(scene):
    first = scene.start("first")
    await scene.pass_s(1)
    store = FaultyStore(scene.store)
    second = scene.start("second", store)
    await scene.pass_s(1)
    store.script = lambda call: FailBefore() if "/order/" in call.key and call.operation == "put" else None
    second.keeper.order("monday")
    await scene.pass_s(30)
    second.kill()
    await scene.pass_s(60)
    third = scene.start("second")
    third.keeper.order("monday")
    await scene.pass_s(120)
    assert (first.duty, third.duty) == (Duty.RULES, Duty.STANDS_BY)
