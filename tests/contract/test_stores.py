"""Every store keeps the store contract. (The bucket stores: tests/e2e/test_object_stores.py.)"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rojak_ray.storage.base import Store
from rojak_ray.storage.local import LocalStore
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.store_contract import CHECKS, Check, MakeStore
from rojak_ray.testing.stores import FaultyStore, RecordingStore


@pytest.fixture(params=["memory", "local", "faulty", "recording"])
async def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MakeStore]:
    memory = MemoryStore()
    kinds = {
        "memory": lambda: memory,
        "local": lambda: LocalStore(tmp_path / "below" / "root"),
        "faulty": lambda: FaultyStore(memory),
        "recording": lambda: RecordingStore(memory),
    }
    opened: list[Store] = []

    def make() -> Store:
        opened.append(kinds[request.param]())
        return opened[-1]

    yield make
    for store in opened:
        await store.aclose()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_keeps_the_contract(check: Check, make_store: MakeStore) -> None:
    await check(make_store)
