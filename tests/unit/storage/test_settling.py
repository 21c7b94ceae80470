"""A file with two names may not be durable under its key yet: whoever meets one syncs the folder first."""

import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rojak_ray.clock import SystemClock
from rojak_ray.errors import ObjectExists, StoreRefused
from rojak_ray.storage.local import LOG_FOLDER, TEMP_PREFIX, LocalStore

DATA = b"the whole content"


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inodes of what was synced, in order."""
    seen: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (seen.append(os.fstat(file).st_ino), real(file))[1])
    return seen


def cut_short(folder: Path) -> Path:
    """What a writer leaves that died between the link to `k` and the sync of the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    temp = folder / f"{TEMP_PREFIX}of-a-dead-writer"
    temp.write_bytes(DATA)
    os.link(temp, folder / "k")
    return temp


async def by_get(store: LocalStore) -> None:
    assert await store.get("f/k") == DATA


async def by_list(store: LocalStore) -> None:
    assert await store.list("") == ["f/k"]


async def by_put(store: LocalStore) -> None:
    with pytest.raises(ObjectExists):
        await store.put_new("f/k", b"new")


@pytest.mark.parametrize("meet", [by_get, by_list, by_put])
async def test_whoever_meets_a_write_cut_short_syncs_its_folder_first(
    tmp_path: Path, synced: list[int], meet: Callable[[LocalStore], Awaitable[None]]
):
    cut_short(tmp_path / "f")
    store = LocalStore(tmp_path)
    await meet(store)
    assert os.stat(tmp_path / "f").st_ino in synced
    await store.aclose()


async def test_reading_what_has_one_name_costs_no_sync(tmp_path: Path, synced: list[int]):
    store = LocalStore(tmp_path)
    await store.put_new("f/k", DATA)
    (tmp_path / "f" / f"{TEMP_PREFIX}being-written").write_bytes(b"half")
    synced.clear()
    assert await store.get("f/k") == DATA
    assert await store.list("") == ["f/k"]
    assert synced == []
    await store.aclose()


async def test_a_temporary_name_goes_after_the_sync_and_when_it_is_old(tmp_path: Path, synced: list[int]):
    class Later(SystemClock):
        def now(self) -> datetime:
            return datetime.now(UTC) + timedelta(hours=2)

    temp = cut_short(tmp_path / "f")
    young, old = LocalStore(tmp_path), LocalStore(tmp_path, clock=Later())
    assert await young.list("f/") == ["f/k"]
    assert temp.exists(), "its writer may still be at it"
    synced.clear()
    assert await old.list("f/") == ["f/k"]
    assert not temp.exists()
    assert os.stat(tmp_path / "f").st_ino in synced
    assert await old.get("f/k") == DATA
    await young.aclose()
    await old.aclose()


async def test_an_unconfirmed_write_keeps_its_two_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = LocalStore(tmp_path)
    await store.put_new("f/first", DATA)
    folder, real = os.stat(tmp_path / "f").st_ino, os.fsync

    def fail(file: int) -> None:
        if os.fstat(file).st_ino == folder:
            raise OSError("the disk is away")
        real(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(Exception, match="did not confirm"):
            await store.put_new("f/k", DATA)
        with pytest.raises(Exception, match="the disk is away"):
            await store.get("f/k")
    assert os.stat(tmp_path / "f" / "k").st_nlink == 2
    assert await store.get("f/k") == DATA
    await store.aclose()


async def test_a_backup_by_hard_links_is_left_alone(tmp_path: Path):
    store = LocalStore(tmp_path / "root")
    await store.put_new("f/k", DATA)
    os.link(tmp_path / "root" / "f" / "k", tmp_path / "backup")
    assert await store.get("f/k") == DATA
    assert os.stat(tmp_path / "backup").st_nlink == 2
    await store.aclose()


@pytest.mark.parametrize("call", ["get", "put_new", "list", "folders", "delete"])
async def test_a_log_of_an_earlier_version_is_refused_by_the_name_of_the_version_that_reads_it(
    tmp_path: Path, call: str
):
    (tmp_path / LOG_FOLDER).mkdir()
    (tmp_path / LOG_FOLDER / "a-boot.7.123.an-id").write_bytes(bytes(100))
    store = LocalStore(tmp_path)
    calls = {
        "get": lambda: store.get("a"),
        "put_new": lambda: store.put_new("a", DATA),
        "list": lambda: store.list(""),
        "folders": lambda: store.folders(""),
        "delete": lambda: store.delete("a"),
    }
    for _ in range(2):
        with pytest.raises(StoreRefused, match="commit 808e6d8"):
            await calls[call]()
    await store.aclose()


async def test_a_log_that_was_closed_in_the_normal_way_is_no_obstacle(tmp_path: Path):
    (tmp_path / LOG_FOLDER).mkdir()
    (tmp_path / LOG_FOLDER / ".synced.a-boot.7.1").write_bytes(b"")
    store = LocalStore(tmp_path)
    await store.put_new("a", DATA)
    assert await store.list("") == ["a"]
    await store.aclose()
