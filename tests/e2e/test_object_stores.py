"""The bucket stores over real servers, with the vendors' packages as they are."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from support.bucket_life import live
from support.optional import skip
from support.servers import SERVERS, Relay, Server, free_ports, why_absent
from support.waiting import HANG_S, lines, until

from rojak_ray.errors import ObjectExists, ObjectNotFound, StoreRefused, StoreUnavailable
from rojak_ray.storage import s3
from rojak_ray.storage.base import Store
from rojak_ray.storage.objects import ObjectStore
from rojak_ray.storage.open import open_store
from rojak_ray.storage.probe import check_durable
from rojak_ray.testing.store_contract import CHECKS, Check, MakeStore

BUCKET = "rojak-test"


@pytest.fixture(scope="module", params=list(SERVERS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One after the other: a machine need not hold them all at once."""
    if reason := why_absent(request.param):
        skip(reason)
    with SERVERS[request.param](tmp_path_factory.mktemp(request.param)) as started:
        started.make_bucket(BUCKET)
        yield started


@pytest.fixture
def place(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a fresh place on the server; the environment leads there."""
    lead_to(server.environ(), monkeypatch)
    return f"{server.scheme}://{BUCKET}/{uuid4().hex}"


def lead_to(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
async def make_store(place: str) -> AsyncIterator[MakeStore]:
    opened: list[Store] = []

    def make() -> Store:
        opened.append(open_store(place))
        return opened[-1]

    yield make
    for store in opened:
        await store.aclose()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_keeps_the_contract(check: Check, make_store: MakeStore) -> None:
    await check(make_store)


async def test_a_killed_process_goes_on_from_the_bucket(place: str, tmp_path: Path) -> None:
    """Its recorded function is not run again; the one that was under way is, with the same idempotency key."""
    effects = tmp_path / "effects"
    effects.touch()
    code = "import sys, asyncio; from support.bucket_life import live; asyncio.run(live(*sys.argv[1:]))"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    first = subprocess.Popen([sys.executable, "-c", code, place, str(effects)], env=environ)
    try:
        await until(lambda: any(line.startswith("waiting") for line in lines(effects)), "the second function")
    finally:
        first.kill()
        first.wait()
    Path(f"{effects}.go").touch()

    answer = await live(place, str(effects))

    assert answer == "done"
    noted, *waited = [line.split() for line in lines(effects)]
    assert noted == ["noted", noted[1], "1"]
    assert [line[0] for line in waited] == ["waiting", "waiting"]
    assert {line[1] for line in waited} == {waited[0][1]}
    assert [line[2] for line in waited] == ["1", "2"]


@pytest.fixture
async def relay(place: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Relay]:
    """A relay that the environment leads to, instead of to the server."""
    made = Relay(server)
    listener = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    lead_to(server.environ(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"), monkeypatch)
    yield made
    listener.close()


async def test_lost_reply_shows_as_exists_and_reads_back(relay: Relay, place: str) -> None:
    store = open_store(place)
    with pytest.raises(ObjectNotFound):
        await store.get("key")
    await store.put_new("first", b"mine")
    relay.swallow, relay.swallows = 1, ("PUT", "POST")
    with pytest.raises(ObjectExists):
        await store.put_new("key", b"mine")
    assert await store.get("key") == b"mine"
    relay.swallow, relay.swallows = 2, ("GET",)
    assert await store.list("") == ["first", "key"], "reads are simply repeated"
    await store.aclose()


async def test_missing_bucket_is_named(server: Server, place: str) -> None:
    store = open_store(f"{server.scheme}://no-such-bucket/prefix")
    with pytest.raises(StoreRefused, match="no-such-bucket"):
        await check_durable(store)
    for call in (store.put_new("key", b"x"), store.list(""), store.folders("")):
        with pytest.raises(StoreRefused, match="no-such-bucket"):
            await call
    await store.aclose()


async def test_dead_server_is_unavailable_within_patience(
    server: Server, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead_to(server.environ(f"http://127.0.0.1:{free_ports(1)[0]}"), monkeypatch)
    store = ObjectStore(place, patience_s=1.0)
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match=place):
        await store.put_new("key", b"x")
    assert time.monotonic() - started < 10
    await store.aclose()


async def test_processes_agree_on_the_winners(place: str, request: pytest.FixtureRequest) -> None:
    if request.node.callspec.params["server"] == "moto":
        pytest.skip("moto looks whether the key is taken and then writes it, in threads: it has two winners at times")
    program = (
        "import asyncio, sys\n"
        "from rojak_ray.errors import ObjectExists\n"
        "from rojak_ray.storage.open import open_store\n"
        "async def main():\n"
        "    store = open_store(sys.argv[1])\n"
        "    for number in range(20):\n"
        "        try:\n"
        "            await store.put_new(f'key/{number}', sys.argv[2].encode())\n"
        "            print(number)\n"
        "        except ObjectExists: pass\n"
        "    await store.aclose()\n"
        "asyncio.run(main())\n"
    )
    names = ["one", "two", "three"]
    racers = [
        subprocess.Popen([sys.executable, "-c", program, place, name], stdout=subprocess.PIPE, text=True)
        for name in names
    ]
    won = {name: set(racer.communicate(timeout=HANG_S)[0].split()) for name, racer in zip(names, racers, strict=True)}
    assert sorted(number for each in won.values() for number in each) == sorted(str(number) for number in range(20))
    store = open_store(place)
    for name in names:
        for number in won[name]:
            assert await store.get(f"key/{number}") == name.encode()
    await store.aclose()


def test_one_store_on_several_event_loops(place: str) -> None:
    store = open_store(place)

    async def use(key: str) -> list[str]:
        await store.put_new(key, b"x")
        try:
            return await store.list("")
        finally:
            await store.aclose()

    assert asyncio.run(use("a")) == ["a"]
    assert asyncio.run(use("b")) == ["a", "b"]


on_s3 = pytest.mark.parametrize("server", ["moto", "seaweedfs"], indirect=True)


@on_s3
async def test_prefixes_are_separate_and_foreign_names_invisible(
    place: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "PAGE_SIZE", 2)
    store, client = open_store(place), server.s3()
    folder = place.rpartition("/")[2]
    for name in (".hidden", "with space", "b folder/x"):
        client.put_object(Bucket=BUCKET, Key=f"{folder}/{name}", Body=b"x")
    client.put_object(Bucket=BUCKET, Key=f"{folder}-other/key", Body=b"x")
    keys = [f"k{number}" for number in range(7)] + [f"m/{number}/x" for number in range(5)]
    for key in keys:
        await store.put_new(key, b"x")
    assert await store.list("") == keys
    assert await store.list("", limit=3) == keys[:3]
    assert await store.list("", after="k4") == keys[5:]
    assert await store.folders("") == ["m/"]
    assert await store.folders("m/") == [f"m/{number}/" for number in range(5)]
    await store.aclose()


@on_s3
async def test_whole_bucket_as_a_store(place: str, server: Server) -> None:
    bucket = f"whole-{uuid4().hex}"
    server.make_bucket(bucket)
    store = open_store(f"s3://{bucket}")
    await store.put_new("a/b", b"x")
    assert await store.list("") == ["a/b"]
    assert await store.folders("") == ["a/"]
    await check_durable(store)
    await store.aclose()


@on_s3
async def test_without_credentials_says_which(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    store = open_store(place)
    with pytest.raises(StoreRefused, match="AWS_ACCESS_KEY_ID"):
        await store.put_new("key", b"x")
    await store.aclose()


@on_s3
@pytest.mark.parametrize(
    ("status", "code"),
    [(409, "ConditionalRequestConflict"), (503, "SlowDown"), (500, "InternalError"), (400, "RequestTimeout")],
)
async def test_a_write_that_is_asked_to_come_back_comes_back(relay: Relay, place: str, status: int, code: str) -> None:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/xml\r\ncontent-length: {len(body)}\r\n"
    store = open_store(place)
    await store.put_new("first", b"mine")
    # The object's, and that of the look at the place beside it.
    relay.answers = [head.encode() + b"connection: close\r\n\r\n" + body] * 2
    await store.put_new("key", b"mine")
    assert relay.answers == []
    assert await store.get("key") == b"mine"
    await store.aclose()
