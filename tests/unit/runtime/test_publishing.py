"""What a program brings is told to the catalog until the catalog has it, whatever fails or comes late."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rojak_ray import OpenAIAgent
from rojak_ray.agents.spec import FunctionRef, encode_agent
from rojak_ray.errors import StoreUnavailable
from rojak_ray.runtime.catalog import Catalog
from rojak_ray.runtime.publishing import Publisher
from rojak_ray.runtime.settings import RuntimeSettings
from rojak_ray.testing.clock import FakeClock


class Access:
    """The way to a catalog that may be lost, or fail a number of times."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        """Methods that fail once each, in this order."""

        self.begin()

    def begin(self) -> None:
        self.catalog = Catalog(RuntimeSettings(namespace="n", storage="file:///x"), FakeClock())

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        if self.failures and self.failures[0] == method:
            self.failures.pop(0)
            raise StoreUnavailable("the catalog is away")
        return await getattr(self.catalog, method)(*args, **kwargs)

    async def tell(self, method: str, *args: Any, within_s: float) -> None:
        await self.call(method, *args)

    @property
    def functions(self) -> int:
        return len(self.catalog._functions)

    async def by_name(self) -> list[bool]:
        """Which of the registered functions are found by their names."""
        refs = [FunctionRef(name=fn.__name__) for fn in (named_one, named_two)]
        return [entry is not None for entry in await self.catalog.find(refs)]


@pytest.fixture
def access() -> Access:
    return Access()


@pytest.fixture
async def publisher(access: Access) -> AsyncIterator[Publisher]:
    publisher = Publisher(access, "n")  # type: ignore[arg-type]
    publisher.heard(access.catalog.directory.version)
    yield publisher
    await publisher.close()


def named_one() -> str:
    """One."""
    return "1"


def named_two() -> str:
    """Two."""
    return "2"


async def brought(publisher: Publisher) -> OpenAIAgent:
    def own() -> str:
        """Mine."""
        return "mine"

    agent = OpenAIAgent(name="A", functions=[own])
    await publisher.publish(encode_agent(agent, publisher.refer))
    return agent


@pytest.mark.parametrize("failures", [["register"], ["stay", "register"], ["register", "register", "register"]])
async def test_catalog_that_was_lost_is_told_everything_though_telling_it_fails(
    access: Access, publisher: Publisher, failures: list[str]
) -> None:
    await publisher.register([], [named_one])
    await publisher.register([], [named_two])
    agent = await brought(publisher)
    before = access.functions
    access.begin()
    access.failures = list(failures)
    for _ in failures:
        with pytest.raises(StoreUnavailable):
            await publisher._beat()
    await publisher._beat()
    assert access.functions == before
    assert agent.functions


async def test_a_part_that_was_told_is_not_taken_for_all(access: Access, publisher: Publisher) -> None:
    await publisher.register([], [named_one])
    await publisher.register([], [named_two])
    agent = await brought(publisher)
    access.begin()
    calls, call = [0], access.call

    async def failing_at_the_second(method: str, *args: Any, **kwargs: Any) -> Any:
        calls[0] += method == "register"
        if method == "register" and calls[0] == 2:
            raise StoreUnavailable("the catalog is away")
        return await call(method, *args, **kwargs)

    access.call = failing_at_the_second  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await publisher._beat()
    assert access.functions
    assert not any(await access.by_name())
    await publisher._beat()
    assert all(await access.by_name())
    assert agent.functions


async def test_version_never_goes_back_and_an_earlier_life_is_not_believed(publisher: Publisher) -> None:
    publisher.heard(("one", 5))
    publisher.heard(("one", 4))
    assert publisher.version == ("one", 5)
    publisher.heard(("two", 1))
    publisher.heard(("one", 6))
    assert publisher.version == ("two", 1)


async def test_what_is_gone_is_told_though_a_beat_fails(access: Access, publisher: Publisher) -> None:
    agent = await brought(publisher)
    assert access.functions == 1
    del agent
    gc.collect()
    told: list[list[str]] = []
    call = access.call

    async def noting(method: str, *args: Any, **kwargs: Any) -> Any:
        if method == "stay":
            told.append(list(args[1]))
        return await call(method, *args, **kwargs)

    access.call = noting  # type: ignore[method-assign]
    access.failures = ["stay"]
    with pytest.raises(StoreUnavailable):
        await publisher._beat()
    await publisher._beat()
    await publisher._beat()
    assert [len(tokens) for tokens in told] == [1, 1, 0]


async def test_two_first_uses_at_once_both_wait_until_all_is_told(access: Access, publisher: Publisher) -> None:
    agent, other = await asyncio.gather(brought(publisher), brought(publisher))
    assert access.functions == 2
    assert agent.functions
    assert other.functions


async def test_key_of_the_environment_is_shipped_before_any_of_the_first_runs_and_again_if_that_fails(
    access: Access, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    access.failures = ["register"]
    with pytest.raises(StoreUnavailable):
        await publisher.providers()

    async def first_run() -> bool:
        named = await publisher.providers()
        return named["openai"] in access.catalog.directory.captured

    assert await asyncio.gather(first_run(), first_run()) == [True, True]
