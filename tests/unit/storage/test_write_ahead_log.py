"""The log of a process: group commits, segments that break or vanish, checkpoints, and where none is kept."""

import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest
from support.logged import FIRST, SECOND, die, logged, opened, segments

from rojak_ray.clock import SystemClock
from rojak_ray.errors import StoreUnavailable
from rojak_ray.ids import RandomIds
from rojak_ray.storage import wal
from rojak_ray.storage.frames import Frame, Op, decode
from rojak_ray.storage.local import LocalStore
from rojak_ray.storage.machine import LogSettings, Place, find_place
from rojak_ray.testing.clock import FakeClock


async def reopened(root: Path) -> LocalStore:
    return LocalStore(root, log=LogSettings(SECOND))


async def test_a_write_is_placed_then_logged_then_has_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = await opened(tmp_path)
    await store.put_new("first", b"x")
    names: list[str] = []
    for name in ("write", "fsync", "link", "pwrite", "fdatasync", "unlink"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real, **k: (names.append(name), real(*a, **k))[1])
    await store.put_new("second", b"x")
    assert names == ["write", "link", "pwrite", "fdatasync", "unlink"]
    monkeypatch.undo()
    await store.aclose()


async def test_the_first_writes_and_the_large_ones_go_without_a_log(tmp_path: Path):
    store = logged(tmp_path, after_writes=3)
    for number in range(3):
        await store.put_new(f"k{number}", b"x")
    assert not (tmp_path / ".wal").exists()
    await store.put_new("k3", b"x")
    while store._log is None:
        await store.list("")
    await store.put_new("small", b"s")
    await store.put_new("large", bytes(64 * 1024 + 1))
    assert [frame.key for frame in decode(segments(tmp_path)[0].read_bytes())] == ["small"]
    await store.aclose()


async def test_writes_that_come_at_once_share_their_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = await opened(tmp_path, clock=FakeClock())  # by which no write but the first comes alone
    calls: list[int] = []
    gathered = threading.Event()
    real = os.fdatasync

    def slow_sync(file: int) -> None:
        calls.append(file)
        if threading.current_thread() is not threading.main_thread():
            assert gathered.wait(10)
        real(file)

    monkeypatch.setattr(os, "fdatasync", slow_sync)
    writing = [asyncio.create_task(store.put_new(f"k/{number}", b"x" * 100)) for number in range(50)]
    await asyncio.sleep(0)  # every one of them has been placed, and waits
    gathered.set()
    await asyncio.gather(*writing)
    assert len(calls) <= 3  # the first alone, one while the others gathered, and theirs
    assert all(os.stat(path).st_nlink == 1 for path in (tmp_path / "k").iterdir())
    die(store)
    for path in (tmp_path / "k").iterdir():
        path.write_bytes(b"")
    after = await reopened(tmp_path)
    assert [await after.get(f"k/{number}") for number in range(50)] == [b"x" * 100] * 50
    await after.aclose()


async def test_a_cancelled_write_takes_nobody_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = await opened(tmp_path, clock=FakeClock())  # on which no write is alone, once there was one
    gate, reached = threading.Event(), threading.Event()
    real = os.fdatasync

    def held(file: int) -> None:
        reached.set()
        assert gate.wait(10)
        real(file)

    await store.put_new("first", b"x")
    monkeypatch.setattr(os, "fdatasync", held)
    writes = [asyncio.ensure_future(store.put_new(f"k/{number}", b"x")) for number in range(3)]
    await asyncio.to_thread(reached.wait, 10)
    writes[1].cancel()
    gate.set()
    done = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(answer) for answer in done] == [type(None), asyncio.CancelledError, type(None)]
    assert await store.list("k/") == ["k/0", "k/1", "k/2"]
    assert all(os.stat(path).st_nlink == 1 for path in (tmp_path / "k").iterdir()), "the listing settled it"
    await store.aclose()


async def test_several_event_loops_share_one_log(tmp_path: Path):
    store = await opened(tmp_path)

    async def write(name: str) -> None:
        await asyncio.gather(*(store.put_new(f"{name}/{number}", b"x") for number in range(30)))

    await asyncio.gather(*(asyncio.to_thread(asyncio.run, write(f"loop{number}")) for number in range(3)))
    assert len(await store.list("")) == 90
    await store.aclose()


async def test_a_sync_that_failed_is_not_trusted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = await opened(tmp_path)
    await store.put_new("before", b"x")

    def fail(_file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(StoreUnavailable, match="did not confirm"):
            await store.put_new("unknown", b"content")
    assert os.stat(tmp_path / "unknown").st_nlink == 2
    monkeypatch.setattr(wal.Log, "chore", lambda _: None)  # the checkpoint that is due now
    await store.put_new("after", b"x")
    assert len({frame.key: path for path in segments(tmp_path) for frame in decode(path.read_bytes())}) == 3
    assert len(segments(tmp_path)) == 2, "a new segment, since the old one's next sync might lie"
    assert await store.get("unknown") == b"content"
    assert os.stat(tmp_path / "unknown").st_nlink == 1
    await store.aclose()
    assert segments(tmp_path) == []


async def test_a_log_removed_by_hand_is_noticed(tmp_path: Path):
    store = await opened(tmp_path)
    await store.put_new("before", b"x")
    for path in (tmp_path / ".wal").iterdir():
        path.unlink()
    (tmp_path / ".wal").rmdir()
    with pytest.raises(StoreUnavailable, match="removed the log"):
        await store.put_new("unknown", b"content")
    await store.put_new("after", b"x")
    die(store)  # with the checkpoint that was due at once: what the lost log held is on disk
    assert [name for name in os.listdir(tmp_path / ".wal") if name.startswith(".synced.")]
    after = await reopened(tmp_path)
    assert await after.list("") == ["after", "before", "unknown"]
    await after.aclose()


async def test_without_room_for_a_log_writes_are_synced_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = await opened(tmp_path, segment_bytes=256)
    monkeypatch.setattr(wal.Segment, "create", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    for number in range(6):
        await store.put_new(f"k{number}", b"x" * 60)
    assert all(os.stat(tmp_path / f"k{number}").st_nlink == 1 for number in range(6))
    await store.aclose()


async def test_a_full_segment_is_followed_by_another_and_a_close_removes_them(tmp_path: Path):
    store = await opened(tmp_path, segment_bytes=1024)
    for number in range(40):
        await store.put_new(f"k/{number:02}", b"x" * 100)
    assert len(segments(tmp_path)) > 3
    frames = [frame for path in segments(tmp_path) for frame in decode(path.read_bytes())]
    assert len(frames) == 40
    await store.aclose()
    assert list((tmp_path / ".wal").iterdir()) == []
    await store.put_new("again", b"x")
    await store.aclose()


async def test_a_checkpoint_removes_what_is_full_and_what_recovery_may_forget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = await opened(tmp_path, segment_bytes=1024)
    log = store._log
    assert log is not None
    for number in range(20):
        await store.put_new(f"k/{number:02}", b"x" * 100)
    await store.list("")
    log.checkpoint()
    assert len(segments(tmp_path)) <= 2
    await store.put_new("later", b"x")
    die(store)
    for key in ("k/19", "later"):
        (tmp_path / key).unlink()
    after = await reopened(tmp_path)
    found = await after.list("")
    assert "later" in found
    assert "k/19" not in found, "it was on disk at the checkpoint, so somebody has removed it since"
    await after.aclose()


async def test_a_checkpoint_is_due_half_a_minute_into_writing(tmp_path: Path):
    store = await opened(tmp_path)
    log = store._log
    assert log is not None
    await store.put_new("k", b"x")
    assert log.chore() is None
    log._due_at -= 31
    assert log.chore() == log.checkpoint
    assert log.chore() is None, "handed out once"
    await store.aclose()


async def test_segments_stay_if_the_disk_reports_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    store = await opened(tmp_path)
    await store.put_new("k", b"content")

    def fail(_folder: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(wal, "syncfs", fail)
        await store.aclose()
    assert "Could not clear the log" in caplog.text
    assert ".kept." in segments(tmp_path)[0].name
    other = await opened(tmp_path)
    await other.put_new("l", b"x")
    await other.aclose()
    assert len(segments(tmp_path)) == 1, "nobody takes it for an orphan"
    (tmp_path / "k").write_bytes(b"")
    after = await reopened(tmp_path)
    assert await after.get("k") == b"content", "also what is older than the last checkpoint"
    await after.aclose()


async def test_a_forked_process_does_not_write_to_its_parent_s_log(tmp_path: Path):
    store = await opened(tmp_path)
    log = store._log
    assert log is not None
    log.process += 1  # as a child sees it
    await store.put_new("k", b"x")
    assert store._log is not log
    assert decode(segments(tmp_path)[0].read_bytes()) == []
    await store.aclose()


async def test_what_is_not_ours_is_no_segment(tmp_path: Path):
    store = logged(tmp_path, after_writes=100)
    (tmp_path / ".wal").mkdir()
    for name in ("notes.txt", ".new-x", ".synced.boot-1.1.5"):
        (tmp_path / ".wal" / name).write_bytes(b"")
    await store.put_new("k", b"x")
    await store.delete("k")
    assert await store.list("") == []
    assert await store.folders("") == []
    assert store._log is None, "without a segment a removal needs no log"
    await store.aclose()


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """What the kernel says about a machine whose disk may have a log."""
    device = os.stat(tmp_path).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for name, text in {
        "proc/sys/kernel/random/boot_id": "b-1\n",
        "proc/sys/kernel/osrelease": "5.8.0-1-generic\n",
        "proc/self/mountinfo": f"27 1 {number} / / rw,relatime shared:1 - ext4 /dev/disk1 rw\n",
        "sys/fs/ext4/disk1/journal_task": "176\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "sys/devices/disk1").mkdir(parents=True)
    (tmp_path / "sys/dev/block").mkdir(parents=True)
    (tmp_path / "sys/dev/block" / number).symlink_to(tmp_path / "sys/devices/disk1")
    return tmp_path


def place(machine: Path, asked: str = "on") -> Place:
    environ = {"ROJAK_STORAGE_LOG": asked}
    return find_place(
        str(machine), proc=machine / "proc", sys=machine / "sys", shared=machine / "etab", environ=environ
    )


def test_a_log_is_kept_on_ext4_with_its_journal(machine: Path):
    found = place(machine)
    assert found.may_log
    assert found.era == f"b-1.{os.stat(machine / 'sys/fs/ext4/disk1').st_ino}"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("sys/fs/ext4/disk1/journal_task", "<none>\n"),
        ("proc/sys/kernel/osrelease", "5.7.19"),
        ("proc/sys/kernel/osrelease", "4.18.0-553.el8"),
        ("proc/self/mountinfo", ""),
        ("etab", "/home *(rw)\n"),
        ("proc/fs/nfsd/exports", "# Version 1.1\n/home *(rw)\n"),
    ],
)
def test_no_log_is_kept_where_a_fact_is_against_it(machine: Path, file: str, text: str):
    (machine / file).parent.mkdir(parents=True, exist_ok=True)
    (machine / file).write_text(text)
    assert not place(machine).may_log


@pytest.mark.parametrize(
    ("kind", "remote"),
    [("nfs", True), ("nfs4", True), ("fuse.sshfs", True), ("9p", True), ("tmpfs", False), ("overlay", False)],
)
def test_no_log_is_kept_on_other_file_systems(machine: Path, kind: str, remote: bool):
    mounts = machine / "proc/self/mountinfo"
    mounts.write_text(mounts.read_text().replace("ext4", kind))
    found = place(machine)
    assert (found.may_log, found.remote) == (False, remote)


def test_a_person_may_forbid_the_log(machine: Path):
    assert not place(machine, "off").may_log
    assert not place(machine, "").may_log


def test_which_logs_a_crash_has_left():
    here = Place("b", 7, ordered=True)
    assert [here.crashed(era) for era in ("b.7", "b.0", "b.6", "a.7", "a.0")] == [False, False, True, True, True]
    assert not Place("b").crashed("b.7"), "who cannot tell mounts apart leaves them alone"


async def test_a_store_that_may_not_log_logs_its_removals(tmp_path: Path):
    writer = await opened(tmp_path)
    await writer.put_new("k", b"x")
    remover = LocalStore(tmp_path, log=LogSettings(Place("boot-1")))
    await remover.delete("k")
    await remover.put_new("l", b"plain")
    await remover.aclose()
    die(writer)
    frames = [frame for path in segments(tmp_path) for frame in decode(path.read_bytes())]
    assert sorted(frame.op for frame in frames) == [Op.DELETE, Op.PUT], "the removal's stays for who knows the mount"
    after = await reopened(tmp_path)
    assert await after.list("") == ["l"]
    await after.aclose()


def test_frames_of_one_batch_may_need_several_segments(tmp_path: Path):
    log = wal.Log(str(tmp_path), LogSettings(FIRST, segment_bytes=512), SystemClock(), RandomIds())
    log.commit([Frame(Op.PUT, number, f"k{number}", b"x" * 100) for number in range(1, 20)])
    found = [frame.stamp for path in segments(tmp_path) for frame in decode(path.read_bytes())]
    assert sorted(found) == list(range(1, 20))
    log.close()
