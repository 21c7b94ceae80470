"""Our S3 driver, with Amazon's own client, against an S3 that answers late, wrongly, or not at all."""

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from support.s3_wire import BUCKET, Asked, S3Wire, error, listing

from rojak_ray import OfflineAgent
from rojak_ray.errors import ObjectExists, ObjectNotFound, StorageError, StoreRefused, StoreUnavailable
from rojak_ray.storage import clients, s3
from rojak_ray.storage.base import Store
from rojak_ray.storage.objects import ObjectStore
from rojak_ray.testing.runtime import InProcessRuntime
from rojak_ray.testing.store_contract import CHECKS, Check, MakeStore

PAGE = "<html><body>We are back soon.</body></html>"


@pytest.fixture
async def wire(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[S3Wire]:
    async with S3Wire(monkeypatch) as served:
        yield served


@pytest.fixture
async def make_store(wire: S3Wire) -> AsyncIterator[MakeStore]:
    opened: list[Store] = []

    def make() -> Store:
        opened.append(ObjectStore(f"s3://{BUCKET}/some/prefix"))
        return opened[-1]

    yield make
    for store in opened:
        await store.aclose()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_keeps_the_contract(check: Check, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PAGE_SIZE", 50)
    await check(make_store)


def once(wire: S3Wire, answer: Callable[[], web.Response | None]) -> None:
    """Have the next request be answered so."""
    left = [answer]
    wire.before = lambda _: left.pop()() if left else None


def page(status: int, kind: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text="" if status == 204 else PAGE, content_type=kind, headers=headers)


@pytest.mark.parametrize(
    "answer",
    [
        *[lambda status=status: page(status, "text/html") for status in (200, 201, 202, 206, 404, 409, 412, 500, 502)],
        lambda: page(200, "application/xml"),
        lambda: page(200, "text/plain"),
        lambda: page(200, "text/html", {"ETag": '"of-a-file"', "Last-Modified": "Mon, 30 Nov 2026 10:00:00 GMT"}),
        lambda: web.json_response({"login": "required"}),
        lambda: web.json_response({"error": "not found"}, status=404),
        lambda: web.Response(status=404),
        lambda: web.Response(status=412),
        lambda: web.Response(text="<Error><Message>no code</Message></Error>", status=404),
        lambda: web.Response(text="<not xml", content_type="application/xml"),
        lambda: error(404, "NoSuchKeyOfMine"),
    ],
)
async def test_what_something_else_answers_is_not_taken_for_s3s(
    wire: S3Wire, make_store: MakeStore, answer: Callable[[], web.Response]
) -> None:
    store = make_store()
    await store.put_new("there", b"x")
    calls: list[tuple[Callable[[], Awaitable[object]], object]] = [
        (lambda: store.get("there"), b"x"),
        (lambda: store.list(""), ["there"]),
        (lambda: store.folders(""), ["there"]),
        (lambda: store.put_new("a/b", b"y"), None),
        (lambda: store.delete("there"), None),
        (lambda: store.list(""), ["a/b"]),
    ]
    for call, expected in calls:
        once(wire, answer)
        found = await call()
        assert expected in (found, None, ["there"]), expected
    with pytest.raises(ObjectNotFound):
        await store.get("there")


@pytest.mark.parametrize(
    "answer",
    [
        lambda: listing("<Contents><Key>some/prefix/a</Key></Contents>", truncated=True),
        lambda: listing("<Prefix>another/</Prefix>", truncated=False),
        lambda: web.Response(text="<ListBucketResult></ListBucketResult>", content_type="application/xml"),
    ],
    ids=["goes on nowhere", "of another folder", "does not say whether it is whole"],
)
async def test_a_listing_that_is_not_whole_is_asked_for_again(
    wire: S3Wire, make_store: MakeStore, answer: Callable[[], web.Response]
) -> None:
    store = make_store()
    for key in ("a", "b"):
        await store.put_new(key, b"x")
    once(wire, answer)
    assert await store.list("") == ["a", "b"]


@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (505, "HTTPVersionNotSupported")])
async def test_what_cannot_change_is_refused_at_once(
    wire: S3Wire, make_store: MakeStore, status: int, code: str
) -> None:
    store = make_store()
    wire.before = lambda asked: error(status, code) if asked.kind == "put" else None
    with pytest.raises(StoreRefused, match=code):
        await store.put_new("key", b"x")
    assert len([asked for asked in wire.asked if asked.kind == "put" and asked.of_an_object]) == 1


async def test_a_bucket_that_is_gone_is_never_a_missing_object(wire: S3Wire, make_store: MakeStore) -> None:
    store = make_store()
    await store.put_new("key", b"x")
    wire.before = lambda _: error(404, "NoSuchBucket")
    for call in (store.get("key"), store.put_new("next", b"x"), store.list(""), store.folders(""), store.delete("key")):
        with pytest.raises(StoreRefused, match="no bucket"):
            await call


async def test_nothing_is_acknowledged_while_a_proxy_answers(wire: S3Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole product: what was told to be sent is there after a restart, and the conversation is whole."""
    place = f"s3://{BUCKET}/p"
    sent = ["one"]
    store = ObjectStore(place)
    async with InProcessRuntime(store) as runtime:
        session = await runtime.create_session("s", OfflineAgent())
        await session.send_messages("one")
        wire.before = lambda _: page(200, "text/html")
        monkeypatch.setattr(store, "_patience_s", 0.2)
        with pytest.raises(StorageError):
            await session.send_messages("two")
        monkeypatch.setattr(store, "_patience_s", 30.0)
        wire.before = lambda _: None
        for text in ("three", "four"):
            await session.send_messages(text)
            sent.append(text)
    async with InProcessRuntime(place) as runtime:
        told = [message.content for message in await (await runtime.get_session("s")).history()]
    assert [text for text in told if text in sent] == sent


async def test_credentials_that_are_written_anew_are_taken_up(
    wire: S3Wire, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(clients, "RENEW_EVERY_S", 0.0)
    file, valid = tmp_path / "credentials", ["FIRST"]

    def write(key: str) -> None:
        file.write_text(f"[default]\naws_access_key_id={key}\naws_secret_access_key=x\naws_session_token=t\n")

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    refusals = [(400, "ExpiredToken"), (403, "InvalidAccessKeyId")]
    store = make_store()
    with pytest.raises(StoreRefused, match="AWS_ACCESS_KEY_ID"):
        await store.put_new("before", b"x")
    write("FIRST")
    await store.put_new("first", b"x")
    for number, (status, code) in enumerate(refusals):
        wire.before = lambda asked, status=status, code=code: None if asked.access_key in valid else error(status, code)
        valid[0] = f"KEY{number}"
        with pytest.raises(StoreRefused, match="AWS_ACCESS_KEY_ID") as told:
            await store.put_new(f"refused/{number}", b"x")
        assert code in str(told.value)
        write(f"KEY{number}")
        await store.put_new(f"taken/{number}", b"x")


async def test_a_large_value_on_a_slow_line_is_stored_in_one_request(wire: S3Wire) -> None:
    patience_s = 3.0
    store = ObjectStore(f"s3://{BUCKET}/p", patience_s=patience_s)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await store.put_new("first", b"x")
    slow_until = loop.time() + patience_s + 0.5

    async def hold(size: int) -> None:
        if size > 1000:
            await asyncio.sleep(max(slow_until - loop.time(), 0))

    wire.on_body = hold
    data = os.urandom(3 << 20)
    await store.put_new("large", data)
    assert loop.time() - began > patience_s
    wire.on_body = None
    assert await store.get("large") == data
    await store.put_new("larger", bytes(110 << 20))
    puts = [asked for asked in wire.asked if asked.kind == "put" and asked.key.endswith(("large", "larger"))]
    assert len(puts) == 2
    assert {asked.kind for asked in wire.asked} <= {"put", "get", "list"}, "no part of an upload that could stay"
    await store.aclose()


async def test_a_server_that_hangs_is_left_and_leaves_nothing(wire: S3Wire) -> None:
    store = ObjectStore(f"s3://{BUCKET}/p", patience_s=3)
    await store.put_new("first", b"x")
    wire.before = lambda asked: asyncio.sleep(3600) if asked.of_an_object else None
    with pytest.raises(StoreUnavailable):
        await store.put_new("key", b"x")
    wire.before = lambda _: None
    assert await store.list("") == ["first"]
    await store.aclose()


async def test_a_lost_reply_is_found_again(wire: S3Wire, make_store: MakeStore) -> None:
    store = make_store()

    def store_and_hide(asked: Asked) -> web.Response | None:
        if asked.kind == "put" and asked.of_an_object and asked.key not in wire.objects:
            wire.objects[asked.key] = asked.body
            return page(200, "text/html")
        return None

    wire.before = store_and_hide
    with pytest.raises(ObjectExists):
        await store.put_new("key", b"mine")
    assert await store.get("key") == b"mine"


async def test_an_emptied_bucket_is_noticed(wire: S3Wire) -> None:
    """Neither acknowledged nor taken for damage, and put back it goes on."""
    place = f"s3://{BUCKET}/p"
    async with InProcessRuntime(place) as runtime:
        session = await runtime.create_session("s", OfflineAgent())
        await session.send_messages("one")
        kept = dict(wire.objects)
        wire.objects.clear()
        for text in ("two", "three"):
            with pytest.raises(StoreRefused, match="emptied"):
                await session.send_messages(text)
        wire.objects.clear()
        wire.objects.update(kept)
        await session.send_messages("four")
        told = [message.content for message in await session.history()]
    assert "one" in told
    assert "four" in told


async def test_options_are_sent_and_secrets_are_not_shown(
    wire: S3Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    options = {
        "endpoint_url": wire.endpoint,
        "requester_pays": True,
        "server_side_encryption": "aws:kms",
        "sse_kms_key_id": "alias/ours",
    }
    store = ObjectStore(f"s3://{BUCKET}/p", options=options)
    await store.put_new("key", b"x")
    assert await store.get("key") == b"x"
    assert await store.list("") == ["key"]
    await store.delete("key")
    assert {asked.headers.get("x-amz-request-payer") for asked in wire.asked} == {"requester"}
    encrypted = [asked.headers for asked in wire.asked if asked.kind == "put"]
    assert {headers["x-amz-server-side-encryption"] for headers in encrypted} == {"aws:kms"}
    assert {headers["x-amz-server-side-encryption-aws-kms-key-id"] for headers in encrypted} == {"alias/ours"}
    wire.before = lambda asked: error(403, f"AccessDenied {json.dumps(dict(asked.headers))}")
    with pytest.raises(StoreRefused) as told:
        await store.get("key")
    assert "canary-secret" not in f"{told.value}{caplog.text}"
    await store.aclose()


async def test_a_write_asks_nobody_whether_its_body_is_wanted(wire: S3Wire, make_store: MakeStore) -> None:
    store = make_store()
    await store.put_new("key", b"x" * 100_000)
    assert [asked.headers.get("expect") for asked in wire.asked if asked.kind == "put"] == [None, None]


async def test_settings_of_other_libraries_change_nothing(
    wire: S3Wire, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FSSPEC_S3_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("FSSPEC_CONFIG_DIR", str(tmp_path))
    (tmp_path / "conf.json").write_text(json.dumps({"s3": {"endpoint_url": "http://127.0.0.1:9", "key": "theirs"}}))
    await make_store().put_new("key", b"x")
    assert {asked.access_key for asked in wire.asked} == {"first"}


async def test_making_a_client_leaves_the_loop_free(make_store: MakeStore) -> None:
    """Amazon's package reads a third of a second of JSON for it, which has to happen in a thread."""
    store = make_store()
    await store._driver_type()  # type: ignore[attr-defined]
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await store.list("")
    ticking.cancel()
    assert ticks > 100, "the loop went on"


@pytest.mark.parametrize("end", ["close", "leave open"])
async def test_python_ends_without_a_word(wire: S3Wire, end: str) -> None:
    program = (
        "import asyncio, sys\n"
        "from rojak_ray.storage.objects import ObjectStore\n"
        "async def main():\n"
        "    store = ObjectStore(sys.argv[1])\n"
        "    await store.put_new('key', b'x')\n"
        "    if sys.argv[2] == 'close': await store.aclose()\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", program, f"s3://{BUCKET}/x", end]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
