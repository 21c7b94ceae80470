"""After a crash of the machine the first process puts in place what the logs say, and all of them wait for it."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.logged import FIRST, SECOND, die, logged, opened, segments

from rojak_ray.errors import ObjectNotFound, StoreRefused, StoreUnavailable
from rojak_ray.storage import recovery
from rojak_ray.storage.frames import Frame, Op
from rojak_ray.storage.local import LocalStore
from rojak_ray.storage.machine import LogSettings, Place


async def crashed(root: Path, **objects: bytes) -> None:
    """A store with these objects whose machine stops."""
    store = await opened(root)
    for key, data in objects.items():
        await store.put_new(key.replace("_", "/"), data)
    die(store)


@pytest.mark.parametrize("left", [None, b"", bytes(7), b"con", b"con\0\0\0\0"])
async def test_what_was_acknowledged_is_put_back(tmp_path: Path, left: bytes | None):
    await crashed(tmp_path, a_b_k=b"content", other=b"x")
    (tmp_path / "a/b/k").unlink()
    if left is None:
        (tmp_path / "a/b").rmdir()
    else:
        (tmp_path / "a/b/k").write_bytes(left)
    store = LocalStore(tmp_path, log=LogSettings(SECOND))
    assert await store.list("") == ["a/b/k", "other"]
    assert await store.get("a/b/k") == b"content"
    assert segments(tmp_path) == []
    await store.aclose()


@pytest.mark.parametrize("call", ["get", "list", "folders", "put_new", "delete"])
async def test_every_operation_comes_after_recovery(tmp_path: Path, call: str):
    await crashed(tmp_path, f_k=b"content")
    (tmp_path / "f/k").write_bytes(b"")
    store = LocalStore(tmp_path, log=LogSettings(SECOND))
    arguments = {"get": ["f/k"], "list": [""], "folders": [""], "put_new": ["f/new", b"x"], "delete": ["f/new"]}
    await getattr(store, call)(*arguments[call])
    assert (tmp_path / "f/k").read_bytes() == b"content"
    await store.aclose()


async def test_a_log_of_this_boot_is_not_replayed(tmp_path: Path):
    """Its writer may be about to log a removal."""
    await crashed(tmp_path, k=b"content")
    (tmp_path / "k").unlink()
    store = LocalStore(tmp_path, log=LogSettings(FIRST))
    assert await store.list("") == []
    assert len(segments(tmp_path)) == 1
    await store.aclose()


async def test_a_log_of_an_earlier_mount_in_this_boot_is_replayed(tmp_path: Path):
    await crashed(tmp_path, k=b"content")
    (tmp_path / "k").unlink()
    store = LocalStore(tmp_path, log=LogSettings(Place("boot-1", 2, ordered=True)))
    assert await store.get("k") == b"content"
    await store.aclose()


async def test_what_was_deleted_stays_gone_and_what_was_written_again_is_new(tmp_path: Path):
    store, other = await opened(tmp_path), await opened(tmp_path)
    for key in ("gone", "again"):
        await store.put_new(key, b"old")
        await other.delete(key)
    await store.put_new("again", b"new")
    die(store)
    die(other)
    (tmp_path / "again").write_bytes(b"old")  # the disk was not told yet
    after = LocalStore(tmp_path, log=LogSettings(SECOND))
    assert await after.list("") == ["again"]
    assert await after.get("again") == b"new"
    await after.aclose()


async def test_a_removal_outlives_the_write_in_another_process_s_log(tmp_path: Path):
    """The remover's log goes at its close, the writer's stays: recovery must know that it is out of date."""
    writer, remover = await opened(tmp_path), await opened(tmp_path)
    await writer.put_new("k", b"content")
    await remover.delete("k")
    await remover.aclose()
    die(writer)
    assert len(segments(tmp_path)) == 1
    after = LocalStore(tmp_path, log=LogSettings(SECOND))
    assert await after.list("") == []
    await after.aclose()


@pytest.mark.parametrize("told", [True, False])
async def test_a_removal_that_could_not_be_logged_frees_the_key_for_a_plain_write(
    tmp_path: Path, told: bool, monkeypatch: pytest.MonkeyPatch
):
    writer, remover = await opened(tmp_path), await opened(tmp_path)
    plain = LocalStore(tmp_path, log=LogSettings(Place("boot-1", 1)))
    await writer.put_new("k", b"logged and removed")

    def dies(*_: object) -> None:
        raise OSError("killed")

    remover._log_removal = dies
    with pytest.raises(Exception, match="did not confirm"):
        await remover.delete("k")
    await plain.put_new("k", b"without a log")
    die(writer)
    die(remover)
    if not told:
        monkeypatch.setattr(recovery, "removals", lambda *_: {})
    after = LocalStore(tmp_path, log=LogSettings(SECOND))
    assert (await after.get("k") == b"without a log") == told
    await after.aclose()


async def test_a_damaged_frame_ends_a_log(tmp_path: Path):
    await crashed(tmp_path, one=b"1" * 50, two=b"2" * 50, three=b"3" * 50)
    segment = segments(tmp_path)[0]
    content = bytearray(segment.read_bytes())
    content[content.index(b"2" * 50)] ^= 1
    segment.write_bytes(content)
    for key in ("one", "two", "three"):
        (tmp_path / key).unlink()
    store = LocalStore(tmp_path, log=LogSettings(SECOND))
    assert await store.list("") == ["one"]
    await store.aclose()


async def test_keys_that_leave_the_root_are_left_out(tmp_path: Path):
    root = tmp_path / "root"
    store = await opened(root)
    assert store._log is not None
    store._log.commit([Frame(Op.PUT, 1, key, b"x") for key in ("../out", "/out", "a/../../out", ".wal/x", "fine")])
    die(store)
    after = LocalStore(root, log=LogSettings(SECOND))
    assert await after.list("") == ["fine"]
    assert not (tmp_path / "out").exists()
    await after.aclose()


async def test_links_are_not_followed(tmp_path: Path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    await crashed(root, way_out=b"x")
    (root / "way/out").unlink()
    (root / "way").rmdir()
    (root / "way").symlink_to(outside)
    store = LocalStore(root, log=LogSettings(SECOND))
    with pytest.raises(StoreRefused, match="recover"):
        await store.list("")
    assert list(outside.iterdir()) == []
    assert len(segments(root)) == 1, "the log stays until it is in place"
    await store.aclose()


async def test_a_crash_in_recovery_repeats_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    await crashed(tmp_path, one=b"1", two=b"2")
    for key in ("one", "two"):
        (tmp_path / key).unlink()
    with monkeypatch.context() as patch:
        real = os.rename
        renames: list[str] = []

        def fail_second(old: str, new: str, **options: int) -> None:
            renames.append(new)
            if len(renames) == 2:
                raise OSError(5, "I/O error")
            real(old, new, **options)

        patch.setattr(os, "rename", fail_second)
        store = LocalStore(tmp_path, log=LogSettings(SECOND))
        with pytest.raises(Exception, match="recover"):
            await store.list("")
    assert await store.list("") == ["one", "two"], "the next operation tries again"
    await store.aclose()


@pytest.mark.parametrize("first", [0, 1])
async def test_a_recovery_cut_short_while_it_removes_the_logs_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int
):
    """Whichever of them goes first: the write's alone must not bring back what the other's removal took."""
    writer, remover = await opened(tmp_path), await opened(tmp_path)
    await writer.put_new("k", b"content")
    await remover.delete("k")
    die(writer)
    die(remover)
    with monkeypatch.context() as patch:
        real_find, real, gone = recovery.find_segments, os.unlink, []
        patch.setattr(recovery, "find_segments", lambda root: sorted(real_find(root), key=str)[:: 1 - 2 * first])

        def unlink(path: str, **options: int) -> None:
            if gone:
                raise OSError(5, "I/O error")
            real(path, **options)
            if path.startswith("boot-1"):
                gone.append(path)

        patch.setattr(os, "unlink", unlink)
        with pytest.raises(StoreUnavailable, match="recover"):
            await LocalStore(tmp_path, log=LogSettings(SECOND)).list("")
    assert len(segments(tmp_path)) == 1
    after = LocalStore(tmp_path, log=LogSettings(Place("boot-3", 1)))
    assert await after.list("") == []
    assert list((tmp_path / ".wal").iterdir()) == []
    await after.aclose()


def recover_in(root: Path) -> list[str]:
    import asyncio

    return asyncio.run(LocalStore(root, log=LogSettings(SECOND)).list(""))


async def test_processes_that_start_together_recover_once_and_agree(tmp_path: Path):
    await crashed(tmp_path, **{f"k{number}": b"x" * 100 for number in range(60)})
    for number in range(0, 60, 2):
        (tmp_path / f"k{number}").write_bytes(b"")
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        found = pool.map(recover_in, [tmp_path] * 6, chunksize=1)
    assert all(len(keys) == 60 for keys in found)
    assert all((tmp_path / f"k{number}").read_bytes() == b"x" * 100 for number in range(60))


@pytest.mark.parametrize("place", [Place("x", kind="nfs4", remote=True), Place(None)])
async def test_a_log_that_may_be_another_machine_s_is_not_touched(tmp_path: Path, place: Place):
    await crashed(tmp_path, k=b"x")
    store = LocalStore(tmp_path, log=LogSettings(place))
    with pytest.raises(StoreRefused, match="on that machine"):
        await store.get("k")
    assert len(segments(tmp_path)) == 1
    await store.aclose()


async def test_a_log_in_use_is_not_replayed(tmp_path: Path):
    writer, store = await opened(tmp_path), LocalStore(tmp_path, log=LogSettings(SECOND))
    with pytest.raises(StoreRefused, match="in use by another machine"):
        await store.get("k")
    await writer.aclose()
    with pytest.raises(ObjectNotFound):
        await store.get("k")
    await store.aclose()


KILLED = """
import asyncio, os, signal, sys
from support.logged import opened
from pathlib import Path

async def main():
    store = await opened(Path(sys.argv[1]))
    await store.put_new("k", b"content")
    print("done", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_a_killed_process_s_log_is_taken_over(tmp_path: Path):
    tests = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{tests}:{tests.parent}"}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert (done.stdout, done.returncode) == ("done\n", -9), done.stderr
    assert len(segments(tmp_path)) == 1
    store = logged(tmp_path)
    for number in range(3):
        await store.put_new(f"more/{number}", b"x")
    await store.aclose()
    assert segments(tmp_path) == []
    assert await LocalStore(tmp_path, log=LogSettings(SECOND)).get("k") == b"content"
