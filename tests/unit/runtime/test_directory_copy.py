"""A host's copy of the directory: an older answer in flight never hides what a client has registered since."""

from __future__ import annotations

import asyncio

import pytest

from rojak_ray.errors import StoreUnavailable
from rojak_ray.runtime.catalog import Directory, Version
from rojak_ray.runtime.directory_copy import DirectoryCopy
from rojak_ray.testing.clock import FakeClock


class SlowCatalog:
    """Says what it has when it is asked, and answers when it is let."""

    def __init__(self) -> None:
        self.directory = Directory(version=("life", 4))
        self.on_their_way: list[tuple[Directory | None, asyncio.Future[None]]] = []

    async def directory_after(self, version: Version) -> Directory | None:
        found = None if version == self.directory.version else self.directory
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_their_way.append((found, gate))
        await gate
        return found

    async def answer(self, number: int) -> None:
        while len(self.on_their_way) <= number:
            await asyncio.sleep(0)
        self.on_their_way[number][1].set_result(None)

    def change(self, life: str = "life") -> None:
        number = self.directory.version[1] + 1 if life == self.directory.version[0] else 1
        self.directory = Directory(version=(life, number))


async def test_fetch_under_way_does_not_count_for_what_was_registered_since() -> None:
    catalog = SlowCatalog()
    copy = DirectoryCopy(catalog, FakeClock())
    early = asyncio.create_task(copy.refresh(1.0))
    while not catalog.on_their_way:
        await asyncio.sleep(0)
    catalog.change()
    copy.expect(("life", 5))
    late = asyncio.create_task(copy.refresh(1.0))
    await asyncio.sleep(0)
    await catalog.answer(0)
    await early
    assert copy.known.version == ("life", 4)
    await catalog.answer(1)
    await late
    assert copy.known.version == ("life", 5)


async def test_those_who_ask_while_one_is_under_way_share_the_next() -> None:
    catalog = SlowCatalog()
    copy = DirectoryCopy(catalog, FakeClock())
    first = asyncio.create_task(copy.refresh(0.0))
    while not catalog.on_their_way:
        await asyncio.sleep(0)
    crowd = [asyncio.create_task(copy.refresh(0.0)) for _ in range(50)]
    await asyncio.sleep(0)
    await catalog.answer(0)
    await catalog.answer(1)
    await asyncio.gather(first, *crowd)
    assert len(catalog.on_their_way) == 2


async def test_what_is_young_enough_is_taken_as_it_is_and_age_counts_from_the_question() -> None:
    catalog, clock = SlowCatalog(), FakeClock()
    copy = DirectoryCopy(catalog, clock)
    asking = asyncio.create_task(copy.refresh(1.0))
    while not catalog.on_their_way:
        await asyncio.sleep(0)
    await clock.advance(0.9)
    await catalog.answer(0)
    await asking
    await copy.refresh(1.0)
    assert len(catalog.on_their_way) == 1
    await clock.advance(0.2)
    asking = asyncio.create_task(copy.refresh(1.0))
    await catalog.answer(1)
    await asking


@pytest.mark.parametrize("heard_late", [False, True], ids=["from a program of an earlier life", "of a life to come"])
async def test_another_life_of_the_catalog_is_asked_for_once(heard_late: bool) -> None:
    catalog = SlowCatalog()
    copy = DirectoryCopy(catalog, FakeClock())
    if not heard_late:
        copy.expect(("before", 9))
    asking = asyncio.create_task(copy.refresh(1.0))
    while not catalog.on_their_way:
        await asyncio.sleep(0)
    if heard_late:
        catalog.change("next")
        copy.expect(("next", 1))  # while the answer of the life before is on its way
    await catalog.answer(0)
    await asking
    asking = asyncio.create_task(copy.refresh(1.0))
    if heard_late:
        await catalog.answer(1)
    await asking
    assert copy.known.version == catalog.directory.version
    await copy.refresh(1.0)
    assert len(catalog.on_their_way) == 1 + heard_late


async def test_failed_fetch_counts_for_nobody() -> None:
    class Failing(SlowCatalog):
        failures = 1

        async def directory_after(self, version: Version) -> Directory | None:
            self.failures -= 1
            if self.failures >= 0:
                raise StoreUnavailable("the catalog is away")
            return self.directory

    copy = DirectoryCopy(Failing(), FakeClock())
    with pytest.raises(StoreUnavailable):
        await copy.refresh(1.0)
    await copy.refresh(1.0)
    assert copy.known.version == ("life", 4)
