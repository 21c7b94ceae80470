import asyncio
import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.waiting import HANG_S

from rojak_ray.clock import SystemClock
from rojak_ray.errors import ObjectExists, ObjectNotFound, StoreRefused, StoreUnavailable
from rojak_ray.storage import folders
from rojak_ray.storage.folders import open_to_others
from rojak_ray.storage.local import TEMP_PREFIX, LocalStore
from rojak_ray.storage.pace import WritePace


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalStore]:
    opened = LocalStore(tmp_path / "root")
    yield opened
    await opened.aclose()


def files_below(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


async def test_files_and_folders_are_private(store: LocalStore, tmp_path: Path) -> None:
    await store.put_new("a/b/c", b"x")
    for path in (tmp_path / "root", *(tmp_path / "root").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert files_below(tmp_path) == [tmp_path / "root" / "a" / "b" / "c"]


class Calls:
    """The durable steps of a write, in order, as the kernel gets them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        for name in ("write", "fsync", "link", "unlink", "mkdir"):
            monkeypatch.setattr(os, name, self._counting(name, getattr(os, name)))

    def _counting(self, name: str, real):
        def call(*args: object, **options: object) -> object:
            if name == "fsync":
                mode = os.fstat(args[0]).st_mode  # type: ignore[arg-type]
                self.names.append("fsync folder" if stat.S_ISDIR(mode) else "fsync file")
            else:
                self.names.append(name)
            return real(*args, **options)

        return call


async def test_a_write_is_synced_before_and_after_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path / "root")
    await store.put_new("a/1", b"x")
    calls = Calls(monkeypatch)
    await store.put_new("a/2", b"x")
    assert calls.names == ["write", "fsync file", "link", "fsync folder", "unlink"]
    calls.names.clear()
    with pytest.raises(ObjectExists):
        await store.put_new("a/2", b"y")
    assert calls.names[-1] == "fsync folder", "what is found must be durable too"
    calls.names.clear()
    await store.delete("a/2")
    assert calls.names == ["unlink", "fsync folder"]
    await store.aclose()


async def test_new_folders_are_synced_into_their_parents_also_when_another_process_made_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path / "root")
    (tmp_path / "root" / "made" / "by").mkdir(parents=True)
    calls = Calls(monkeypatch)
    await store.put_new("made/by/another", b"x")
    before_writing = calls.names[: calls.names.index("write")]
    assert before_writing.count("fsync folder") == 3, "the root's, made's and by's entries"
    calls.names.clear()
    await store.put_new("made/by/us", b"x")
    assert calls.names.count("fsync folder") == 1, "what is known is not synced again"
    await store.aclose()


async def test_short_writes_are_continued(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, bytes(data)[:7]))
    await store.put_new("a", b"0123456789" * 10)
    assert await store.get("a") == b"0123456789" * 10


@pytest.mark.parametrize("call", ["write", "fsync", "open"])
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission"),
        (errno.EPERM, "permit"),
    ],
)
async def test_a_refusing_disk_leaves_nothing_and_says_what_to_do(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, words: str
) -> None:
    await store.put_new("a/first", b"x")

    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(StoreRefused, match=words) as caught:
            await store.put_new("a/second", b"y")
    assert caught.value.key == "a/second"
    assert str(tmp_path / "root") in str(caught.value)
    assert files_below(tmp_path) == [tmp_path / "root" / "a" / "first"]
    await store.put_new("a/second", b"y")


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS])
async def test_a_disk_without_hard_links_is_refused(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StoreRefused, match="link"):
        await store.put_new("a", b"x")
    assert files_below(tmp_path) == []


async def test_a_failing_disk_may_be_tried_again(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StoreUnavailable):
            await store.put_new("a", b"x")
    await store.put_new("a", b"x")


async def test_an_unconfirmed_write_is_neither_refused_nor_done(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put_new("a/first", b"x")
    real = os.fsync

    def full_for_folders(file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_for_folders)
        with pytest.raises(StoreUnavailable, match="did not confirm"):
            await store.put_new("a/second", b"y")
    with pytest.raises(ObjectExists):
        await store.put_new("a/second", b"y")


async def test_a_link_reported_as_taken_after_it_succeeded_is_ours(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.link

    def lose_reply(*args: str, **options: int) -> None:
        real(*args, **options)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    monkeypatch.setattr(os, "link", lose_reply)
    await store.put_new("a", b"x")
    assert await store.get("a") == b"x"


async def test_a_file_in_the_place_of_a_folder(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "root").write_bytes(b"x")
    for call in (store.put_new("a/b", b"x"), store.get("a/b"), store.list("a/"), store.delete("a/b")):
        with pytest.raises(StoreRefused, match="is a file"):
            await call


async def test_writes_do_not_follow_links_out_of_the_root(store: LocalStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "way").symlink_to(outside)
    (tmp_path / "root" / "object").symlink_to(outside / "target")
    with pytest.raises(StoreRefused):
        await store.put_new("way/out", b"x")
    with pytest.raises(ObjectExists):
        await store.put_new("object", b"x")
    assert files_below(outside) == []
    assert await store.list("") == []


class FixedClock:
    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"slept {seconds}")


async def test_only_old_leftovers_are_swept(tmp_path: Path) -> None:
    store = LocalStore(tmp_path, clock=FixedClock(datetime.now(UTC)))
    later = LocalStore(tmp_path, clock=FixedClock(datetime.now(UTC) + timedelta(hours=2)))
    await store.put_new("a/b", b"x")
    leftover = tmp_path / "a" / f"{TEMP_PREFIX}x"
    leftover.write_bytes(b"half")
    assert await store.list("") == ["a/b"]
    assert leftover.exists(), "a writer may still be at it"
    assert await later.list("other/") == []
    assert leftover.exists(), "a listing touches its folder only"
    assert await later.list("a/") == ["a/b"]
    assert not leftover.exists()
    await store.aclose()
    await later.aclose()


@pytest.mark.parametrize("gone", ["root", "root/a", "root/a/b", "above"])
async def test_a_folder_that_was_there_is_not_made_again(tmp_path: Path, gone: str) -> None:
    """What came before the next record is gone with it: acknowledging that would be a lie."""
    root = tmp_path / "above" / "root"
    store = LocalStore(root)
    await store.put_new("a/b/c", b"x")
    away = tmp_path / "above" / gone if gone != "above" else tmp_path / gone
    kept = away.rename(tmp_path / "kept")
    for _ in range(2):
        with pytest.raises(StoreRefused, match=r"was there and is gone.*Put it back"):
            await store.put_new("a/b/d", b"y")
    assert not away.exists()
    kept.rename(away)
    await store.put_new("a/b/d", b"y")
    assert await store.list("") == ["a/b/c", "a/b/d"]
    await store.aclose()


@pytest.mark.parametrize("emptied", [False, True])
async def test_nothing_is_said_to_be_missing_in_a_place_that_is_gone(tmp_path: Path, emptied: bool) -> None:
    """A root that is not mounted any more is either absent or the empty folder it was mounted on."""
    root = tmp_path / "root"
    writer = LocalStore(root)
    await writer.put_new("a/b/c", b"x")
    reader, lister = LocalStore(root), LocalStore(root)
    assert await reader.get("a/b/c") == b"x"
    assert await lister.list("a/b/") == ["a/b/c"]
    root.rename(tmp_path / "elsewhere")
    if emptied:
        root.mkdir()
    for store in (writer, reader, lister):
        for call in (
            store.get("a/b/c"),
            store.list("a/b/"),
            store.list(""),
            store.folders("a/"),
            store.delete("a/b/c"),
        ):
            with pytest.raises(StoreRefused, match="was there and is gone"):
                await call
        with pytest.raises(StoreRefused, match="was there and is gone"):
            await store.put_new("new/one", b"x")
        await store.aclose()
    fresh = LocalStore(root)
    await fresh.put_new("new/one", b"x")
    assert await fresh.list("") == ["new/one"], "a new process may begin anew"
    await fresh.aclose()


async def test_a_root_that_others_may_write_to_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "root"
    root.mkdir()
    root.chmod(0o777)
    store = LocalStore(root)
    for number in range(3):
        await store.put_new(f"{number}/x", b"x")
    assert [record.getMessage() for record in caplog.records] == [open_to_others(str(root))]
    assert f"chmod 700 {root}" in caplog.text
    root.chmod(0o755)
    assert open_to_others(str(root)) is None
    await store.aclose()


@pytest.mark.parametrize("kind", ["pipe", "socket"])
async def test_a_foreign_pipe_or_socket_in_an_objects_place_holds_nobody(tmp_path: Path, kind: str) -> None:
    store = LocalStore(tmp_path)
    await store.put_new("f/k", b"x")
    with socket.socket(socket.AF_UNIX) as listener:
        if kind == "pipe":
            os.mkfifo(tmp_path / "f" / "foreign")
        else:
            listener.bind(os.path.relpath(tmp_path / "f" / "foreign"))
        with pytest.raises(StoreRefused, match=r"socket or a pipe.*move it away"):
            await asyncio.wait_for(store.get("f/foreign"), 30)
    await store.aclose()


@pytest.mark.parametrize(("number", "words"), [(errno.EMFILE, "ulimit -n"), (errno.ENFILE, "file-max")])
async def test_too_many_open_files_pass_and_say_what_helps(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    await store.put_new("a/first", b"x")

    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(StoreUnavailable, match=words):
            await store.put_new("a/second", b"y")
        with pytest.raises(StoreUnavailable, match=words):
            await store.get("a/first")


async def test_a_lack_of_inodes_is_told_from_a_lack_of_space(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put_new("a/first", b"x")

    def full(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=1000, f_favail=0))
    with pytest.raises(StoreRefused, match="no inodes left"):
        await store.put_new("a/second", b"y")
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=1000, f_favail=5))
    with pytest.raises(StoreRefused, match="The disk is full"):
        await store.put_new("a/second", b"y")


async def test_forgetting_folders_is_harmless(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_KNOWN_FOLDERS", 3)
    for number in range(10):
        await store.put_new(f"a/{number}/x", b"x")
    assert len(await store.list("a/")) == 10


async def test_files_of_others_are_not_listed(store: LocalStore, tmp_path: Path) -> None:
    await store.put_new("a", b"x")
    for name in ("lost+found", ".DS_Store", "a b"):
        (tmp_path / "root" / name).write_bytes(b"x")
    assert await store.list("") == ["a"]


async def test_the_loop_runs_while_a_disk_that_was_slow_before_is_written(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def slow(file: int) -> None:
        time.sleep(0.1)
        real(file)

    monkeypatch.setattr(os, "fsync", slow)
    await store.put_new("learn", b"x")  # one slow write is enough to know the disk
    writing = asyncio.ensure_future(store.put_new("a", b"x"))
    ticks = 0
    while not writing.done():
        await asyncio.sleep(0.005)
        ticks += 1
    await writing
    assert ticks >= 10


RACER = """
import asyncio, sys
from rojak_ray.errors import ObjectExists
from rojak_ray.storage.local import LocalStore

async def main(root, name):
    store = LocalStore(root)
    async def write(key, entry):
        try:
            await store.put_new(f"race/{key % 5}/{key}", entry.encode())
            print(key, entry)
        except ObjectExists:
            pass
    print("ready", flush=True)
    sys.stdin.read()  # the parent closes it when all are ready
    for key in range(50):
        await asyncio.gather(*(write(key, f"{name}-{task}") for task in range(4)))
    await store.aclose()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_sixteen_writers_in_four_processes_have_one_winner_a_key(store: LocalStore, tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path / "root"), f"process{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.close()
        racer.stdin = None  # or communicate() would flush it
    won = [line.split() for racer in racers for line in racer.communicate(timeout=HANG_S)[0].splitlines()]
    assert sorted(int(key) for key, _ in won) == list(range(50)), "exactly one winner for each key"
    for key, entry in won:
        assert await store.get(f"race/{int(key) % 5}/{key}") == entry.encode()
    assert not [path for path in files_below(tmp_path) if path.name.startswith(TEMP_PREFIX)]


WRITER = """
import asyncio, sys
from rojak_ray.storage.local import LocalStore

async def main(root, first):
    store = LocalStore(root)
    async def write(task):
        number = int(first)
        while True:
            number += 1
            data = f"{task}-{number} ".encode() * 20_000
            await store.put_new(f"log/{task}/{number}", data)
            print(f"log/{task}/{number}", flush=True)
    await asyncio.gather(*(write(task) for task in range(4)))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("acknowledged", [5, 23, 40])
async def test_kill_9_leaves_only_whole_objects(store: LocalStore, tmp_path: Path, acknowledged: int) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "root"), "0"], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    replies = "".join(writer.stdout.readline() for _ in range(acknowledged))
    writer.send_signal(signal.SIGKILL)
    replies += writer.communicate()[0]
    keys = await store.list("log/")
    assert set(keys) >= set(replies.split("\n")[:-1]), "an acknowledged write is missing"
    for key in keys:
        _, task, number = key.split("/")
        assert await store.get(key) == f"{task}-{number} ".encode() * 20_000
    with pytest.raises(ObjectNotFound):
        await store.get("log/0/0")


def test_the_local_store_loads_no_cloud_package() -> None:
    program = (
        "import sys, rojak_ray.storage.local, rojak_ray.storage.open\n"
        "print([name for name in sys.modules if name.partition('.')[0] in "
        "('fsspec', 's3fs', 'gcsfs', 'adlfs', 'botocore', 'aiohttp', 'google', 'azure')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class HandClock(SystemClock):
    """Moves by hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def monotonic(self) -> float:
        return self.at


def test_pace_writes_that_stand_alone_are_made_on_the_calling_thread():
    clock = HandClock()
    pace = WritePace(clock)

    assert pace.inline()
    pace.wrote_inline(0.0005)
    assert not pace.inline()  # another one right behind it
    clock.at += 0.002
    assert pace.inline()


def test_pace_writes_beside_one_another_go_to_the_pool():
    clock = HandClock()
    pace = WritePace(clock)
    pace.wrote_beside()

    assert not pace.inline()


def test_pace_disk_that_was_slow_is_left_to_the_pool_for_a_while():
    clock = HandClock()
    pace = WritePace(clock)
    pace.wrote_inline(0.1)
    clock.at += 1.0

    assert not pace.inline()
    clock.at += 10.0
    assert pace.inline()
