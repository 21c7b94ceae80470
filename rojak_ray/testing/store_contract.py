"""The contract of a store, as functions to run against any implementation.

With pytest: `@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)`, and in the test
`await check(make_store)`, where `make_store` returns another handle on one place that is empty at first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from rojak_ray.errors import ObjectExists, ObjectNotFound, StorageError
from rojak_ray.storage.base import Store
from rojak_ray.storage.probe import probe

MakeStore = Callable[[], Store]
"""Each call opens the same place once more, as another process would. The caller closes what was opened."""

Check = Callable[[MakeStore], Awaitable[None]]

_BIG = bytes(range(256)) * 8192
_RACERS = 16


async def reads_back_what_was_written(make_store: MakeStore) -> None:
    """Any bytes come back whole, at once, also through another handle."""
    store, other = make_store(), make_store()
    for key, data in {"one": b"\x00", "a/b/c=1/d_e-f.json": b"text \xff\x00 bytes", "big": _BIG}.items():
        await store.put_new(key, data)
        assert await store.get(key) == data, f"{key} came back changed"
        assert await other.get(key) == data, f"{key} is not the same through another handle"


async def missing_object_is_not_found(make_store: MakeStore) -> None:
    """Reading what is not there names the key; so does a folder's name."""
    store = make_store()
    await store.put_new("folder/object", b"x")
    for key in ("nothing", "folder/nothing", "no/such/folder", "folder"):
        error = await _error(ObjectNotFound, store.get(key))
        assert error.key == key, f"the error names {error.key!r}, not {key!r}"


async def taken_key_is_refused(make_store: MakeStore) -> None:
    """A second write is refused, from any handle and with any data, and changes nothing."""
    store, other = make_store(), make_store()
    await store.put_new("a/key", b"first")
    for handle in (store, other):
        for data in (b"first", b"second", _BIG):
            error = await _error(ObjectExists, handle.put_new("a/key", data))
            assert error.key == "a/key", f"the error names {error.key!r}"
    assert await other.get("a/key") == b"first", "a refused write changed the object"


async def race_has_one_winner(make_store: MakeStore) -> None:
    """Of many writers of one key exactly one succeeds, and its data is what everyone reads."""
    handles = [make_store() for _ in range(4)]

    async def race(key: str) -> None:
        entries = [f"{key} racer {number}".encode() for number in range(_RACERS)]
        writes = (_wins(handles[number % 4], key, entry) for number, entry in enumerate(entries))
        won = await asyncio.gather(*writes)
        assert sum(won) == 1, f"{sum(won)} writers created {key}"
        assert await handles[0].get(key) == entries[won.index(True)], "the content is not the winner's"

    await asyncio.gather(*(race(f"race/{number}") for number in range(3)))


async def reader_sees_all_or_nothing(make_store: MakeStore) -> None:
    """While a big object is written it is not found, or whole."""
    writer, reader = make_store(), make_store()
    writing = asyncio.ensure_future(writer.put_new("half/written", _BIG))
    while not writing.done():
        for key in await reader.list("half/"):
            assert await reader.get(key) == _BIG, "a listed object was not whole"
        await asyncio.sleep(0)
    await writing
    assert await reader.get("half/written") == _BIG


async def lists_in_byte_order(make_store: MakeStore) -> None:
    """Keys come back in full, in the order of their bytes, whatever the folders."""
    store = make_store()
    keys = ["A", "a-b", "a.b", "a/-", "a/b/c", "a/b/d/e", "a/b0", "a0", "a=", "aa/a", "b/x", "b0"]
    for key in keys[::2] + keys[1::2]:
        await store.put_new(key, b"x")
    await _lists(store, "", keys)
    await _lists(store, "a/", ["a/-", "a/b/c", "a/b/d/e", "a/b0"])
    await _lists(store, "a/b/", ["a/b/c", "a/b/d/e"])
    await _lists(store, "aa/", ["aa/a"])
    await _lists(store, "no/such/", [])


async def lists_from_and_up_to(make_store: MakeStore) -> None:
    """`after` is not included and need not exist; `limit` takes the first ones."""
    store = make_store()
    keys = ["f/1", "f/2/a", "f/2/b", "f/3", "g/1"]
    for key in keys:
        await store.put_new(key, b"x")
    for start in ("", "a", "f/", "f/1", "f/2", "f/2/", "f/2/a", "f/2/aa", "f/2/b", "f/25", "f/3", "g/1", "z"):
        expected = [key for key in keys if key > start]
        await _lists(store, "", expected, after=start)
        await _lists(store, "f/", [key for key in expected if key.startswith("f/")], after=start)
        assert await store.list("", after=start, limit=2) == expected[:2], f"limit 2 after {start!r}"
    assert await store.list("", limit=0) == []
    assert await store.list("f/", limit=100) == keys[:4]
    await _error(ValueError, store.list("", limit=-1))


async def lists_what_was_just_written(make_store: MakeStore) -> None:
    """A listing is never stale, also one that another handle has made before."""
    writer, reader = make_store(), make_store()
    expected: list[str] = []
    for number in range(12):
        await _lists(reader, "log/", expected)
        await writer.put_new(f"log/{number:02}", b"x")
        expected.append(f"log/{number:02}")
    await _lists(reader, "log/", expected)
    await writer.delete(expected.pop(3))
    await _lists(reader, "log/", expected)


async def long_listing_is_complete(make_store: MakeStore) -> None:
    """Hundreds of keys, more than a small page."""
    store = make_store()
    keys = [f"many/{number % 7}/{number:04}" for number in range(210)]
    await asyncio.gather(*(store.put_new(key, b"x") for key in keys))
    keys.sort()
    await _lists(store, "many/", keys)
    await _lists(store, "many/", keys[100:], after=keys[99])


async def finds_the_folders_right_below(make_store: MakeStore) -> None:
    """Folders come back in full and in order: each once, however much is below it, and no object among them."""
    writer, store = make_store(), make_store()
    for key in ("t/a/1", "t/a/2", "t/a/deep/er/3", "t/a-b/1", "t/b", "t/c=/d", "u/x"):
        await writer.put_new(key, b"x")
    for prefix, expected in {
        "": ["t/", "u/"],
        "t/": ["t/a-b/", "t/a/", "t/c=/"],
        "t/a/": ["t/a/deep/"],
        "t/a/deep/er/": [],
        "no/such/": [],
    }.items():
        found = await store.folders(prefix)
        assert found == expected, f"folders({prefix!r}) gave {found}, expected {expected}"
    await writer.put_new("t/new/1", b"x")
    assert "t/new/" in await store.folders("t/"), "a new folder is not seen at once"


async def finds_many_folders(make_store: MakeStore) -> None:
    """As many as there are in a namespace, more than a small page."""
    store = make_store()
    names = [f"{number:03}" for number in range(120)]
    await asyncio.gather(*(store.put_new(f"wide/{name}/object", b"x") for name in names))
    assert await store.folders("wide/") == [f"wide/{name}/" for name in names]


async def deleting_is_idempotent(make_store: MakeStore) -> None:
    """A deleted object is gone for everyone, deleting again is no error, and the key is free again."""
    store, other = make_store(), make_store()
    await store.delete("d/never")
    await store.put_new("d/key", b"first")
    await store.put_new("d/key2", b"stays")
    await store.delete("d/key")
    await other.delete("d/key")
    await _error(ObjectNotFound, other.get("d/key"))
    await _lists(other, "d/", ["d/key2"])
    await other.put_new("d/key", b"second")
    assert await store.get("d/key") == b"second"


async def malformed_arguments_are_refused(make_store: MakeStore) -> None:
    """No key leaves the root, no object is empty; every such call is a ValueError and writes nothing."""
    store = make_store()
    bad = ["", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.", ".tmp-1", "a b", "a\\b", "ä", "a\n", "a\0b"]
    for key in [*bad, "x" * 201, "/".join(["x" * 100] * 10)]:
        await _error(ValueError, store.put_new(key, b"x"))
        await _error(ValueError, store.get(key))
        await _error(ValueError, store.delete(key))
    for prefix in ("a", "/", "../", "a//", "a/../"):
        await _error(ValueError, store.list(prefix))
        await _error(ValueError, store.folders(prefix))
    await _error(ValueError, store.put_new("empty", b""))
    await _lists(store, "", [])


async def many_at_once(make_store: MakeStore) -> None:
    """Concurrent calls do not disturb each other."""
    store = make_store()
    data = {f"at/once/{number}": f"content {number}".encode() for number in range(64)}
    await asyncio.gather(*(store.put_new(key, content) for key, content in data.items()))
    assert await asyncio.gather(*(store.get(key) for key in data)) == list(data.values())


async def may_be_closed_and_used_again(make_store: MakeStore) -> None:
    """Closing loses nothing, twice is fine, and the handle opens itself again."""
    store = make_store()
    await store.put_new("kept", b"x")
    await store.aclose()
    await store.aclose()
    assert await store.get("kept") == b"x"


async def passes_the_probe(make_store: MakeStore) -> None:
    """The probe that runs at every start finds nothing wrong and leaves nothing behind."""
    store = make_store()
    report = await probe(store)
    assert report.ok, [check.words for check in report.failures]
    await _lists(store, "", [])


CHECKS: tuple[Check, ...] = (
    reads_back_what_was_written,
    missing_object_is_not_found,
    taken_key_is_refused,
    race_has_one_winner,
    reader_sees_all_or_nothing,
    lists_in_byte_order,
    lists_from_and_up_to,
    lists_what_was_just_written,
    long_listing_is_complete,
    finds_the_folders_right_below,
    finds_many_folders,
    deleting_is_idempotent,
    malformed_arguments_are_refused,
    many_at_once,
    may_be_closed_and_used_again,
    passes_the_probe,
)


async def _error(kind: type[Exception], call: Awaitable[object]) -> StorageError:
    """The error of a call that has to fail with exactly this one."""
    try:
        await call
    except kind as error:
        return error if isinstance(error, StorageError) else StorageError(str(error))
    raise AssertionError(f"the call went through; {kind.__name__} was due")


async def _lists(store: Store, prefix: str, expected: list[str], *, after: str = "") -> None:
    found = await store.list(prefix, after=after)
    assert found == expected, f"list({prefix!r}, after={after!r}) gave {found}, expected {expected}"


async def _wins(store: Store, key: str, data: bytes) -> bool:
    try:
        await store.put_new(key, data)
    except ObjectExists:
        return False
    return True
