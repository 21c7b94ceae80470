"""What a host tells the catalog of the functions its conversations name."""

import asyncio

import pytest
from support.journals import InstantClock

from rojak_ray.agents.spec import FunctionRef
from rojak_ray.errors import StoreUnavailable
from rojak_ray.journal.paths import Owner
from rojak_ray.runtime.finding import FunctionFinder
from rojak_ray.runtime.holding import Holding, number_of

SESSION, RUN = Owner("session", "s"), Owner("run", "r")


class Catalog:
    """What it was told, and what it therefore holds."""

    def __init__(self):
        self.life = "1"
        self.told = []
        self.held = set()
        self.down = False
        self.known = {}
        self.asked = []

    async def hold(self, added, dropped):
        await asyncio.sleep(0)
        if self.down:
            raise StoreUnavailable("down")
        self.told.append((sorted(added), sorted(dropped)))
        self.held = (self.held | set(added)) - set(dropped)
        return self.life

    async def find(self, refs):
        self.asked.append([ref.name for ref in refs])
        return [self.known.get(ref.name) for ref in refs]


class GatedClock(InstantClock):
    """Sleeps until the gate is opened."""

    def __init__(self):
        super().__init__()
        self.gate = asyncio.Event()

    async def sleep(self, seconds):
        await self.gate.wait()


def refs(*tokens):
    return [FunctionRef(name="f", ref=f"p.{token}") for token in tokens]


def pairs(owner, *tokens):
    return {(f"p.{token}", number_of(owner)) for token in tokens}


async def settled(holding):
    async with asyncio.timeout(10):
        while not holding.settled:
            await asyncio.sleep(0)


@pytest.fixture
def catalog():
    return Catalog()


async def test_what_conversations_name_is_held_and_let_go(catalog):
    holding = Holding(catalog, InstantClock())
    holding.needs(SESSION, refs(1, 2), "settled")
    holding.needs(RUN, refs(2), "working")
    await settled(holding)
    assert catalog.held == pairs(SESSION, 1, 2) | pairs(RUN, 2)
    holding.needs(SESSION, refs(2, 3), "settled")
    holding.needs(RUN, (), "settled")
    await settled(holding)
    assert catalog.held == pairs(SESSION, 2, 3)


async def test_run_that_comes_and_goes_is_never_told(catalog):
    clock = GatedClock()
    holding = Holding(catalog, clock)
    holding.needs(RUN, refs(1), "working")
    holding.needs(RUN, (), "settled")
    assert holding.settled
    clock.gate.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert catalog.told == []


async def test_conversation_that_goes_to_storage_names_what_it_named_and_costs_the_host_nothing(catalog):
    holding = Holding(catalog, InstantClock())
    holding.needs(SESSION, refs(1), "settled")
    holding.needs(SESSION, refs(1), "gone")
    await settled(holding)
    assert catalog.held == pairs(SESSION, 1)
    assert not holding._named
    assert not holding._told
    holding.needs(SESSION, refs(1), "found")  # opened again, and at once something else is named
    holding.needs(SESSION, refs(2), "working")
    await settled(holding)
    assert catalog.held == pairs(SESSION, 2)


async def test_what_changes_while_the_catalog_is_told_is_told_after_it(catalog):
    holding = Holding(catalog, InstantClock())
    original = catalog.hold
    changes = [(), refs(1), ()]

    async def hold(added, dropped):
        if changes:
            holding.needs(SESSION, changes.pop(), "working")
        return await original(added, dropped)

    catalog.hold = hold
    holding.needs(SESSION, refs(1, 2), "working")
    await settled(holding)
    assert len(catalog.told) > 2
    assert catalog.held == set()


async def test_catalog_that_does_not_answer_is_told_later_and_a_new_one_everything(catalog):
    holding = Holding(catalog, InstantClock())
    catalog.down = True
    holding.needs(SESSION, refs(1), "settled")
    for _ in range(20):
        await asyncio.sleep(0)
    assert not holding.settled
    catalog.down = False
    await settled(holding)
    assert catalog.held == pairs(SESSION, 1)
    catalog.life, catalog.held = "2", set()
    holding.needs(RUN, refs(2), "working")
    await settled(holding)
    assert catalog.held == pairs(SESSION, 1) | pairs(RUN, 2)


async def test_finder_asks_once_for_each_version_and_keeps_what_an_earlier_life_knew(catalog):
    finder = FunctionFinder(catalog)
    f, g = FunctionRef(name="f"), FunctionRef(name="g")
    catalog.known = {"f": "F"}
    assert await finder.find([f, g], ("1", 1)) == ["F", None]
    assert await finder.find([f, g], ("1", 1)) == ["F", None]
    assert catalog.asked == [["f", "g"], ["g"]], "what is not known is asked for each time"
    catalog.known = {"g": "G"}
    assert await finder.find([f, g], ("2", 0)) == ["F", "G"], "workers register again with a new catalog"
    catalog.known = {"f": "other"}
    assert await finder.find([f, g], ("2", 1)) == ["other", None]
