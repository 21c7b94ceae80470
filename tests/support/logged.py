"""Local stores that log whatever the disk is, and the end of one without a goodbye."""

from pathlib import Path

from rojak_ray.clock import Clock
from rojak_ray.storage.local import LocalStore
from rojak_ray.storage.machine import LogSettings, Place

FIRST, SECOND = Place("boot-1", 1, ordered=True), Place("boot-2", 1, ordered=True)


def logged(
    root: Path,
    place: Place = FIRST,
    *,
    segment_bytes: int = 64 * 1024,
    after_writes: int = 0,
    clock: Clock | None = None,
) -> LocalStore:
    """A store whose log is made by its first writes."""
    settings = LogSettings(place, segment_bytes=segment_bytes, after_writes=after_writes)
    return LocalStore(root, log=settings, clock=clock)


async def opened(
    root: Path, place: Place = FIRST, *, segment_bytes: int = 64 * 1024, clock: Clock | None = None
) -> LocalStore:
    """A store that has its log already."""
    store = logged(root, place, segment_bytes=segment_bytes, clock=clock)
    await store.list("")
    root.mkdir(exist_ok=True)
    store._open_log()  # pyright: ignore[reportPrivateUsage]
    return store


def die(store: LocalStore) -> None:
    """What a kill does: the locks go, everything else stays."""
    if store._pool is not None:  # pyright: ignore[reportPrivateUsage]
        store._pool.shutdown()  # pyright: ignore[reportPrivateUsage]
    log, store._log = store._log, None  # pyright: ignore[reportPrivateUsage]
    assert log is not None
    for segment in (log._current, log._spare, *log._full):  # pyright: ignore[reportPrivateUsage]
        if segment is not None:
            segment.close()


def segments(root: Path) -> list[Path]:
    """The segments of all processes."""
    return sorted(path for path in (root / ".wal").iterdir() if not path.name.startswith("."))
