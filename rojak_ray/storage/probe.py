"""A test of a place before it is trusted: does it keep the promises that ownership and recovery are built on?"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime

from rojak_ray.clock import SystemClock
from rojak_ray.errors import InvalidStorage, ObjectExists, ObjectNotFound, StorageError, StoreRefused, StoreUnavailable
from rojak_ray.ids import IdSource, RandomIds
from rojak_ray.storage.base import Store
from rojak_ray.storage.keys import MAX_KEY_LENGTH

PROBE_PREFIX = "probe/"
VERDICT_PREFIX = f"{PROBE_PREFIX}kept/"
PROBE_VERSION = 1
"""Grows with the promises that are tested: a verdict about fewer does not count."""

_VERDICT = b"This place keeps the promises that rojak-ray needs.\n"

_RACERS = 8
_LARGE = 2 << 20
"""Bytes of the large object: what stands before a bucket (a proxy, a gateway) often takes one MiB by default."""

_LONGEST_SEGMENT = 122
"""Characters of the longest part of a key that we write: an encoded id. Some disks take no more than 143."""


@dataclass(frozen=True)
class ProbeCheck:
    """One promise, and what came of it. `error` is set if the store did not let us find out."""

    name: str
    ok: bool
    words: str
    error: StorageError | None = None
    why: str = ""
    """What it is for."""


@dataclass(frozen=True)
class ProbeReport:
    """What a probe of the store at `url` found."""

    url: str
    checks: tuple[ProbeCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not self.failures

    @property
    def failures(self) -> tuple[ProbeCheck, ...]:
        """The promises that were not kept, or not tested."""
        return tuple(check for check in self.checks if not check.ok)


class _Broken(Exception):
    """The store answered, and wrongly."""


async def probe(store: Store, *, ids: IdSource | None = None) -> ProbeReport:
    """Try every promise of `Store` that can be tried from one process, below `probe/`, and remove what it wrote.

    One process cannot show that data survives a power cut, or that no cache sits between two machines.
    """
    folder = f"{PROBE_PREFIX}{(ids or RandomIds()).new_id()}/"
    checks = [await _run(name, check, store, folder) for name, check in _CHECKS.items()]
    checks.append(await _run("clean up", _clean_up, store, folder))
    return ProbeReport(store.url, tuple(replace(check, why=_WHY[check.name]) for check in checks))


async def check_durable(store: Store, now: datetime | None = None) -> None:
    """Refuse a store that cannot hold what must survive.

    A good verdict is kept in the store for the rest of the week, under the name of its URL: whoever starts next, in
    any process, reads one object in place of a test with some forty requests. A store that was copied elsewhere has
    another URL, and is tested there.

    Args:
        store: The store.
        now: For the week; the machine's clock by default. A wrong one costs a test.

    Raises:
        InvalidStorage: Other processes would not see its data.
        StoreUnavailable: It did not answer, so nothing is known yet.
        StoreRefused: It does not keep its promises; the text says which.
    """
    if not store.shared:
        words = f"{store.url} lives in one process and cannot be shared. Use a directory or a bucket."
        raise InvalidStorage(words)
    verdict = _verdict_key(store, now or SystemClock().now())
    if await _kept(store, verdict):
        return
    report = await probe(store)
    if report.ok:
        await _keep(store, verdict)
        return
    words = f"{store.url} cannot be used as storage. " + " ".join(check.words for check in report.failures)
    if any(isinstance(check.error, StoreUnavailable) for check in report.failures):
        raise StoreUnavailable(words)
    raise StoreRefused(words)


def _verdict_key(store: Store, now: datetime) -> str:
    """Where a good verdict of this week is kept."""
    year, week, _ = now.isocalendar()
    url = hashlib.sha256(store.url.encode("utf-8", "replace")).hexdigest()[:32]
    return f"{VERDICT_PREFIX}{url}/{PROBE_VERSION}-{year:04}-{week:02}"


async def _kept(store: Store, verdict: str) -> bool:
    try:
        return await store.get(verdict) == _VERDICT
    except StorageError:
        return False  # the test will tell what is wrong


async def _keep(store: Store, verdict: str) -> None:
    """Keep a good verdict, and forget those of earlier weeks; whether it can be kept is no part of it."""
    folder = verdict.rsplit("/", 1)[0] + "/"
    with contextlib.suppress(StorageError):
        await store.put_new(verdict, _VERDICT)
        for key in await store.list(folder):
            if key < verdict:
                await store.delete(key)


async def _run(name: str, check: Callable[[Store, str], Awaitable[str]], store: Store, folder: str) -> ProbeCheck:
    try:
        return ProbeCheck(name, ok=True, words=await check(store, folder))
    except _Broken as broken:
        return ProbeCheck(name, ok=False, words=str(broken))
    except StorageError as error:
        return ProbeCheck(name, ok=False, words=f"Could not {name}: {error}", error=error)


async def _create(store: Store, folder: str) -> str:
    key, data = f"{folder}first", b"first"
    await _put(store, key, data)
    if await store.get(key) != data:
        raise _Broken("An object read back right after it was written had other content.")
    return "A new object could be read back at once."


async def _refuse_second(store: Store, folder: str) -> str:
    key, data = f"{folder}second", b"the one that counts"
    await _put(store, key, data)
    for _ in range(2):
        try:
            await store.put_new(key, b"too late")
        except ObjectExists:
            continue
        raise _Broken("A second write to the same key was accepted: this store has no atomic create.")
    if await store.get(key) != data:
        raise _Broken("A second write to the same key was refused, and changed the object all the same.")
    return "A second write to the same key was refused."


async def _race(store: Store, folder: str) -> str:
    key = f"{folder}race"
    entries = [f"racer {number}".encode() for number in range(_RACERS)]
    won = await asyncio.gather(*(_wins(store, key, entry) for entry in entries))
    winners = [entry for entry, wins in zip(entries, won, strict=True) if wins]
    content = await store.get(key)
    if len(winners) > 1:
        raise _Broken(f"{len(winners)} of {_RACERS} concurrent writers believe that they created the same key.")
    # No winner at all is no fault: the winner's reply may have been lost, and its second attempt refused.
    if content not in (winners or entries):
        raise _Broken("A race for one key ended with content that is not the winner's.")
    return f"Of {_RACERS} concurrent writers one created the key."


async def _list(store: Store, folder: str) -> str:
    inner = f"{folder}list/"
    keys = [inner + name for name in ("a", "a-b", "a.b", "b/c", "b/d", "ba")]
    for key in reversed(keys):
        await _put(store, key, b"x")
        if key not in await store.list(inner):
            raise _Broken("A listing right after a write does not have the new key: listings are cached or delayed.")
    if await store.list(inner) != keys:
        raise _Broken("A listing is not in the byte order of its keys, or not complete.")
    if await store.list(inner, after=keys[2], limit=2) != keys[3:5]:
        raise _Broken("A listing does not start and end where it was asked to.")
    return "Listings are current and in order."


async def _delete(store: Store, folder: str) -> str:
    key = f"{folder}gone/object"
    await _put(store, key, b"x")
    await store.delete(key)
    await store.delete(key)
    try:
        await store.get(key)
    except ObjectNotFound:
        if await store.list(f"{folder}gone/"):
            raise _Broken("A deleted object is still in the listing.") from None
        return "A deleted object is gone at once."
    raise _Broken("A deleted object can still be read.")


async def _keep_large(store: Store, folder: str) -> str:
    key, data = f"{folder}large", (b"a large object that must come back as it is; " * (_LARGE // 45 + 1))[:_LARGE]
    await _put(store, key, data)
    if await store.get(key) != data:
        raise _Broken("A large object read back right after it was written had other content.")
    return f"An object of {_LARGE >> 20} MiB could be read back."


async def _take_longest_key(store: Store, folder: str) -> str:
    segment = "k" * _LONGEST_SEGMENT
    rest = MAX_KEY_LENGTH - len(folder)
    whole, last = divmod(rest, _LONGEST_SEGMENT + 1)
    key = folder + f"{segment}/" * whole + "k" * last
    key = key.removesuffix("/")
    await _put(store, key, b"x")
    if await store.get(key) != b"x" or key not in await store.list(folder):
        raise _Broken("An object with a long name is not found again.")
    return f"A key of {len(key)} characters is taken."


async def _clean_up(store: Store, folder: str) -> str:
    await asyncio.gather(*(store.delete(key) for key in await store.list(folder)))
    if await store.list(folder):
        raise _Broken(f"The objects of this test are still below {folder}.")
    return "The test's objects are removed."


_CHECKS: dict[str, Callable[[Store, str], Awaitable[str]]] = {
    "create an object": _create,
    "refuse a second write": _refuse_second,
    "decide a race": _race,
    "list keys": _list,
    "delete an object": _delete,
    "keep a large object": _keep_large,
    "take the longest key": _take_longest_key,
}


_WHY = {
    "create an object": "what was acknowledged must be there for the next process",
    "refuse a second write": "nothing that was recorded may be overwritten",
    "decide a race": "a conversation has one writer, also when two processes believe that they are it",
    "list keys": "whoever takes over must see everything that was written before",
    "delete an object": "a deleted session must be gone",
    "keep a large object": "what functions and models return can be large",
    "take the longest key": "names of sessions and namespaces become part of keys",
    "clean up": "a test must leave nothing behind",
}


async def _put(store: Store, key: str, data: bytes) -> None:
    """Create a key of our own; finding it there with our data is the same."""
    if not await _wins(store, key, data) and await store.get(key) != data:
        raise _Broken(f"The fresh key {key} was taken.")


async def _wins(store: Store, key: str, data: bytes) -> bool:
    try:
        await store.put_new(key, data)
    except ObjectExists:
        return False
    return True
