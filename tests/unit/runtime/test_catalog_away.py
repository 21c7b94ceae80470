"""What waits for a catalog that is on its way back, and what goes on without it."""

from __future__ import annotations

import asyncio

from support.waiting import until

from rojak_ray.errors import StoreUnavailable
from rojak_ray.runtime.catalog import Directory, Version
from rojak_ray.runtime.directory_copy import FRESH_S, DirectoryCopy
from rojak_ray.testing.clock import FakeClock


class Catalog:
    """Answers with what it knows when it is asked, as soon as it may."""

    def __init__(self) -> None:
        self.version: Version = ("life", 1)
        self.asked = 0
        self.there = asyncio.Event()
        self.there.set()
        self.error: StoreUnavailable | None = None

    async def directory_after(self, version: Version) -> Directory | None:
        self.asked += 1
        answer = None if version == self.version else Directory(version=self.version)
        await self.there.wait()
        if self.error is not None:
            raise self.error
        return answer


def copy_of(catalog: Catalog) -> tuple[DirectoryCopy, FakeClock]:
    clock = FakeClock()
    return DirectoryCopy(catalog, clock, patience_s=0.0), clock


async def test_step_goes_on_with_what_is_known_while_the_catalog_is_away() -> None:
    catalog = Catalog()
    copy, clock = copy_of(catalog)
    await copy.up_to_date()
    catalog.there.clear()
    for _ in range(3):
        await clock.advance(2 * FRESH_S)
        await copy.up_to_date()
    assert catalog.asked == 2, "one question for all of them"
    assert copy.known.version == ("life", 1)

    catalog.version, catalog.error = ("next life", 1), StoreUnavailable("gone for good")
    catalog.there.set()
    await until(lambda: copy._asking is not None and copy._asking.done(), "the question has failed")
    catalog.error = None
    await clock.advance(2 * FRESH_S)
    await copy.up_to_date()
    await until(lambda: copy.known.version == ("next life", 1), "it has been heard")


async def test_step_waits_if_nothing_is_known_or_its_client_knows_more() -> None:
    catalog = Catalog()
    copy, _ = copy_of(catalog)
    for version in (("life", 1), ("life", 2), ("another", 1)):
        catalog.there.clear()
        catalog.version = version
        if copy.known.version[0]:
            copy.expect(version)
        waiting = asyncio.create_task(copy.up_to_date())
        await until(lambda: catalog.asked, "it was asked")
        assert not waiting.done()
        catalog.asked = 0
        catalog.there.set()
        await waiting
        assert copy.known.version == version
