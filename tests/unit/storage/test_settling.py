"""An object with two names is settled by whoever meets it; one with one name is left alone."""

import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from support.logged import FIRST, SECOND, die, logged, opened, segments

from rojak_ray.errors import ObjectExists, ObjectNotFound
from rojak_ray.storage import local
from rojak_ray.storage import settle as settling
from rojak_ray.storage.frames import decode
from rojak_ray.storage.local import LocalStore
from rojak_ray.storage.settle import logged_name

DATA = b"the whole content"


@pytest.fixture(params=["plain", "logged"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LocalStore]:
    made = await opened(tmp_path) if request.param == "logged" else LocalStore(tmp_path)
    (tmp_path / "f").mkdir(exist_ok=True)
    yield made
    await made.aclose()


def place(folder: Path, name: str, temp: str, content: bytes) -> Path:
    (folder / temp).write_bytes(content)
    os.link(folder / temp, folder / name)
    return folder / temp


async def by_get(store: LocalStore) -> bool:
    try:
        assert await store.get("f/k") == DATA
    except ObjectNotFound:
        return False
    return True


async def by_list(store: LocalStore) -> bool:
    return await store.list("f/") == ["f/k"]


async def by_put(store: LocalStore) -> bool:
    try:
        await store.put_new("f/k", b"new")
    except ObjectExists:
        return True
    assert await store.get("f/k") == b"new"
    await store.delete("f/k")
    return False


MEETING = pytest.mark.parametrize("meet", [by_get, by_list, by_put])
Meet = Callable[[LocalStore], Awaitable[bool]]


@MEETING
async def test_whole_content_is_synced_and_kept(
    store: LocalStore, tmp_path: Path, meet: Meet, monkeypatch: pytest.MonkeyPatch
):
    temp = place(tmp_path / "f", "k", logged_name(DATA, "x"), DATA)
    inode = os.stat(temp).st_ino
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(os.fstat(file).st_ino), real(file))[1])
    assert await meet(store)
    assert not temp.exists()
    assert synced.index(inode) < len(synced) - synced[::-1].index(os.stat(tmp_path / "f").st_ino), "file, then folder"
    assert await store.get("f/k") == DATA


@MEETING
@pytest.mark.parametrize("torn", [b"", bytes(len(DATA)), DATA[:5], DATA + b"x", DATA[:-1] + b"\0"])
async def test_torn_content_is_removed(store: LocalStore, tmp_path: Path, meet: Meet, torn: bytes):
    place(tmp_path / "f", "k", logged_name(DATA, "x"), torn)
    assert not await meet(store)
    assert list((tmp_path / "f").iterdir()) == []


@MEETING
async def test_plain_write_is_kept_whatever_it_is(store: LocalStore, tmp_path: Path, meet: Meet):
    temp = place(tmp_path / "f", "k", ".tmp-x", DATA)
    assert await meet(store)
    assert not temp.exists()


@MEETING
async def test_backup_by_hard_links_is_left_alone(store: LocalStore, tmp_path: Path, meet: Meet):
    (tmp_path / "backup").mkdir()
    (tmp_path / "f" / "k").write_bytes(DATA)
    os.link(tmp_path / "f" / "k", tmp_path / "backup" / "k")
    assert await meet(store)
    assert os.stat(tmp_path / "f" / "k").st_nlink == 2


async def test_a_write_that_was_removed_and_written_anew_is_not_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its stamp would come after the newer one's, and recovery would put back the older content."""
    slow, quick = await opened(tmp_path), await opened(tmp_path)
    real = os.link
    stalled: list[str] = []

    def stall(old: str, new: str, **options: int) -> None:
        real(old, new, **options)
        if new == "k" and not stalled:
            stalled.append(new)
            quick._delete("k")
            log = quick._log
            assert log is not None
            placed = quick._place(log, "k", b"newer")
            assert placed is not None
            log.commit([placed.frame])
            os.unlink(placed.temp)

    monkeypatch.setattr(os, "link", stall)
    await slow.put_new("k", b"older")
    assert stalled
    die(slow)
    die(quick)
    (tmp_path / "k").write_bytes(b"")
    after = logged(tmp_path, SECOND)
    assert await after.get("k") == b"newer"
    await after.aclose()


async def test_a_leftover_removal_is_no_object(tmp_path: Path):
    store = await opened(tmp_path, FIRST)
    await store.put_new("k", DATA)

    def dies(*_: object) -> None:
        raise OSError("killed")

    store._log_removal = dies
    with pytest.raises(Exception, match="did not confirm"):
        await store.delete("k")
    assert [path.name[:5] for path in tmp_path.iterdir() if path.name != ".wal"] == [".del-"]
    assert await store.list("") == []
    with pytest.raises(ObjectNotFound):
        await store.get("k")
    await store.aclose()


async def test_a_removal_that_began_before_a_write_does_not_remove_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It found nothing, so it has nothing to remove; else its stamp would be older than the write's."""
    writer, remover = await opened(tmp_path), await opened(tmp_path)
    real = settling.remove

    def remove(folder: int, name: str, boot: str) -> tuple[int, str | None]:
        answer = real(folder, name, boot)
        placed = writer._place(writer._log, name, DATA)  # type: ignore[arg-type]
        assert placed is not None
        writer._log.commit([placed.frame])  # type: ignore[union-attr]
        os.unlink(placed.temp)
        return answer

    monkeypatch.setattr(local, "remove", remove)
    await remover.delete("k")
    assert await writer.get("k") == DATA
    await writer.aclose()
    await remover.aclose()


async def test_a_write_that_is_being_removed_is_not_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    writer, remover = await opened(tmp_path), await opened(tmp_path)
    real = os.link

    def link(old: str, new: str, **options: int) -> None:
        real(old, new, **options)
        if new == "k":
            settling.announce(options["dst_dir_fd"], "k", "boot-1")

    monkeypatch.setattr(os, "link", link)
    await writer.put_new("k", DATA)
    assert os.stat(tmp_path / "k").st_nlink == 2, "settled in place"
    assert all(decode(path.read_bytes()) == [] for path in segments(tmp_path))
    await writer.aclose()
    await remover.aclose()


async def test_of_two_who_remove_an_object_each_announces_what_it_removes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Both have opened the first object; one waits for the lock while the other removes it, and it is written anew."""
    slow, quick = await opened(tmp_path), await opened(tmp_path)
    await slow.put_new("k", b"first")
    real_flock, real_announce = fcntl.flock, settling.announce
    waited: list[int] = []
    announced: list[bytes] = []

    def flock(file: int, how: int) -> None:
        if how == fcntl.LOCK_EX and not waited:
            waited.append(file)
            quick._delete("k")
            quick._write("k", b"second")
        real_flock(file, how)

    def announce(folder: int, name: str, boot: str) -> tuple[int, str]:
        announced.append((tmp_path / name).read_bytes())
        return real_announce(folder, name, boot)

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(settling, "announce", announce)
    await slow.delete("k")
    assert announced == [b"first", b"second"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".del-")]
    await slow.aclose()
    await quick.aclose()


async def test_a_removal_is_synced_also_if_somebody_else_was_quicker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = await opened(tmp_path)
    await store.put_new("k", DATA)
    real = settling.announce

    def announce(folder: int, name: str, boot: str) -> tuple[int, str]:
        answer = real(folder, name, boot)
        (tmp_path / "k").unlink()
        return answer

    synced: list[int] = []
    real_sync = os.fsync
    monkeypatch.setattr(settling, "announce", announce)
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(os.fstat(file).st_ino), real_sync(file))[1])
    await store.delete("k")
    assert os.stat(tmp_path).st_ino in synced
    await store.aclose()
