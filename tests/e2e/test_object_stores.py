"""The bucket store over a real S3 server, with s3fs as it is."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import boto3
import pytest

from rojak_ray.errors import ObjectExists, ObjectNotFound, StoreRefused, StoreUnavailable
from rojak_ray.storage import s3
from rojak_ray.storage.base import Store
from rojak_ray.storage.objects import ObjectStore
from rojak_ray.storage.open import open_store
from rojak_ray.storage.probe import check_durable
from rojak_ray.testing.store_contract import CHECKS, Check, MakeStore

BUCKET = "rojak-test"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server ended at once"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the server did not start")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    port = free_port()
    moto = Path(sys.executable).with_name("moto_server")
    server = subprocess.Popen(
        [moto, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for_port(port, server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def s3_environment(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=BUCKET)


@pytest.fixture
async def make_store(s3_environment: None) -> AsyncIterator[MakeStore]:
    url = f"s3://{BUCKET}/{uuid4().hex}"
    opened: list[Store] = []

    def make() -> Store:
        opened.append(open_store(url))
        return opened[-1]

    yield make
    for store in opened:
        await store.aclose()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_s3_keeps_the_contract(check: Check, make_store: MakeStore) -> None:
    await check(make_store)


async def test_prefixes_are_separate_and_foreign_names_invisible(
    make_store: MakeStore, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "PAGE_SIZE", 2)
    store, client = make_store(), boto3.client("s3", endpoint_url=endpoint)
    folder = store.url.rpartition("/")[2]
    for name in ("a folder/", ".hidden", "a//b", "with space"):
        client.put_object(Bucket=BUCKET, Key=f"{folder}/{name}", Body=b"")
    client.put_object(Bucket=BUCKET, Key=f"{folder}-other/key", Body=b"x")
    keys = [f"k{number}" for number in range(7)]
    for key in keys:
        await store.put_new(key, b"x")
    assert await store.list("") == keys
    assert await store.list("", limit=3) == keys[:3]
    assert await store.list("", after="k4") == keys[5:]


async def test_whole_bucket_as_a_store(s3_environment: None, endpoint: str) -> None:
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="whole-bucket")
    store = open_store("s3://whole-bucket")
    await store.put_new("a/b", b"x")
    assert await store.list("") == ["a/b"]
    await check_durable(store)
    await store.aclose()


async def test_missing_bucket_is_named(s3_environment: None) -> None:
    store = open_store("s3://no-such-bucket/prefix")
    for call in (store.put_new("key", b"x"), store.get("key"), store.list(""), store.delete("key")):
        with pytest.raises(StoreRefused, match="no-such-bucket"):
            await call
    with pytest.raises(StoreRefused, match="no-such-bucket"):
        await check_durable(store)
    await store.aclose()


async def test_without_credentials_says_which(s3_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    store = open_store(f"s3://{BUCKET}/none")
    with pytest.raises(StoreRefused, match="AWS_ACCESS_KEY_ID"):
        await store.put_new("key", b"x")
    await store.aclose()


async def test_dead_server_is_unavailable_within_patience(
    s3_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    store = ObjectStore(f"s3://{BUCKET}/dead", patience_s=1.0)
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match=f"s3://{BUCKET}/dead"):
        await store.put_new("key", b"x")
    assert time.monotonic() - started < 10
    await store.aclose()


class Relay:
    """A TCP relay in front of the server that can swallow replies: the request lands, the answer is lost."""

    def __init__(self, endpoint: str) -> None:
        self.swallow = 0
        self._target = ("127.0.0.1", int(endpoint.rpartition(":")[2]))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
        forward = asyncio.create_task(self._forward(reader, upstream_writer))
        while chunk := await upstream_reader.read(65536):
            if self.swallow and not chunk.startswith(b"HTTP/1.1 100"):
                self.swallow -= 1
                break
            writer.write(chunk)
        for each in (writer, upstream_writer):
            each.close()
        forward.cancel()

    @staticmethod
    async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            writer.write(chunk)


async def test_lost_reply_shows_as_exists_and_reads_back(
    s3_environment: None, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = Relay(endpoint)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    store = ObjectStore(f"s3://{BUCKET}/{uuid4().hex}")
    with pytest.raises(ObjectNotFound):
        await store.get("key")
    relay.swallow = 1
    with pytest.raises(ObjectExists):
        await store.put_new("key", b"mine")
    assert await store.get("key") == b"mine"
    relay.swallow = 2
    assert await store.list("") == ["key"], "reads are simply repeated"
    await store.aclose()
    server.close()


async def test_processes_agree_on_the_winners(s3_environment: None, tmp_path: Path) -> None:
    url = f"s3://{BUCKET}/{uuid4().hex}"
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
        subprocess.Popen([sys.executable, "-c", program, url, name], stdout=subprocess.PIPE, text=True)
        for name in names
    ]
    won = {name: set(racer.communicate(timeout=100)[0].split()) for name, racer in zip(names, racers, strict=True)}
    assert sorted(number for each in won.values() for number in each) == sorted(str(number) for number in range(20))
    store = open_store(url)
    for name in names:
        for number in won[name]:
            assert await store.get(f"key/{number}") == name.encode()
    await store.aclose()


def test_one_store_on_several_event_loops(s3_environment: None) -> None:
    store = open_store(f"s3://{BUCKET}/{uuid4().hex}")

    async def use(key: str) -> list[str]:
        await store.put_new(key, b"x")
        try:
            return await store.list("")
        finally:
            await store.aclose()

    assert asyncio.run(use("a")) == ["a"]
    assert asyncio.run(use("b")) == ["a", "b"]
