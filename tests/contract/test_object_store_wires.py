"""The drivers of Google's and Azure's buckets, against loopback servers that speak as much of the wire as they use.

S3: test_misbehaving_s3. Real servers of all of them: tests/e2e/test_object_stores.
"""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import formatdate
from xml.sax.saxutils import escape

import pytest
from aiohttp import ClientConnectionError, web
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceExistsError, ServiceRequestError
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError

from rojak_ray.errors import StoreRefused, StoreUnavailable
from rojak_ray.storage import gcs
from rojak_ray.storage.azure import AzureDriver, AzureSettingsMissing
from rojak_ray.storage.base import Store
from rojak_ray.storage.drivers import Driver, NotTheVendor, Outcome
from rojak_ray.storage.gcs import GcsDriver, GcsError
from rojak_ray.storage.objects import ObjectStore
from rojak_ray.storage.s3 import S3Driver
from rojak_ray.testing.store_contract import CHECKS, Check, MakeStore

BUCKET = "bucket"


class Wire:
    """Objects of one bucket, and a status that the next requests answer with."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.answers: list[int | web.Response] = []
        self.requests = 0
        self.seen: list[dict[str, str]] = []
        """The query or the headers of each write."""

    @web.middleware
    async def trouble(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.requests += 1
        if self.answers:
            answer = self.answers.pop(0)
            return self.refusal(answer) if isinstance(answer, int) else answer
        return await handler(request)

    def refusal(self, status: int) -> web.Response:
        raise NotImplementedError

    def application(self) -> web.Application:
        raise NotImplementedError


class GoogleWire(Wire):
    def application(self) -> web.Application:
        app = web.Application(middlewares=[self.trouble], client_max_size=2**26)
        app.router.add_post("/upload/storage/v1/b/{bucket}/o", self.upload)
        app.router.add_get("/download/storage/v1/b/{bucket}/o/{name:.+}", self.download)
        app.router.add_delete("/storage/v1/b/{bucket}/o/{name:.+}", self.delete)
        app.router.add_get("/storage/v1/b/{bucket}/o", self.list)
        return app

    @staticmethod
    def problem(status: int, reason: str, message: str) -> web.Response:
        error = {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
        return web.json_response({"error": error}, status=status)

    def refusal(self, status: int) -> web.Response:
        return self.problem(status, {401: "authError", 403: "forbidden"}.get(status, "backendError"), "trouble")

    def missing(self, request: web.Request) -> web.Response | None:
        """The answer for another bucket than ours."""
        if request.match_info["bucket"] == BUCKET:
            return None
        return self.problem(404, "notFound", "The specified bucket does not exist.")

    async def upload(self, request: web.Request) -> web.Response:
        if missing := self.missing(request):
            return missing
        parts = [await part.read(decode=False) async for part in await request.multipart()]
        name = json.loads(parts[0])["name"]
        if request.query.get("ifGenerationMatch") == "0" and name in self.objects:
            return self.problem(
                412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold."
            )
        self.objects[name] = bytes(parts[1])
        self.seen.append({**request.query})
        return web.json_response({"kind": "storage#object", "name": name})

    async def download(self, request: web.Request) -> web.Response:
        if missing := self.missing(request):
            return missing
        name = request.match_info["name"]
        if name not in self.objects:
            return web.Response(status=404, text=f"No such object: {BUCKET}/{name}", content_type="text/html")
        return web.Response(body=self.objects[name], headers={"x-goog-generation": "1"})

    async def delete(self, request: web.Request) -> web.Response:
        if missing := self.missing(request):
            return missing
        name = request.match_info["name"]
        if self.objects.pop(name, None) is None:
            return self.problem(404, "notFound", f"No such object: {BUCKET}/{name}")
        return web.Response(status=204)

    async def list(self, request: web.Request) -> web.Response:
        """With an empty page in front, and an inclusive `startOffset`, as Google may answer."""
        if missing := self.missing(request):
            return missing
        token = request.query.get("pageToken")
        if token is None:
            return web.json_response({"kind": "storage#objects", "nextPageToken": "first"})
        start = request.query.get("startOffset", "") if token == "first" else token
        prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter")
        every = {_cut(name, prefix, delimiter) for name in self.objects if name.startswith(prefix)}
        names = sorted(name for name in every if name >= start)
        size = int(request.query["maxResults"])
        items = [{"name": name} for name in names[:size] if name in self.objects]
        prefixes = [name for name in names[:size] if name not in self.objects]
        page = {"kind": "storage#objects", "items": items, "prefixes": prefixes}
        return web.json_response(page | ({"nextPageToken": names[size]} if len(names) > size else {}))


def _cut(name: str, prefix: str, delimiter: str | None) -> str:
    """A name as a listing with a delimiter has it."""
    head, found, _ = name.removeprefix(prefix).partition(delimiter) if delimiter else ("", "", "")
    return f"{prefix}{head}{found}" if found else name


class AzureWire(Wire):
    def application(self) -> web.Application:
        app = web.Application(middlewares=[self.trouble], client_max_size=2**26)
        app.router.add_put("/account/{container}/{name:.+}", self.put)
        app.router.add_get("/account/{container}/{name:.+}", self.get)
        app.router.add_delete("/account/{container}/{name:.+}", self.delete)
        app.router.add_get("/account/{container}", self.list)
        return app

    def refusal(self, status: int) -> web.Response:
        codes = {401: "NoAuthenticationInformation", 403: "AuthenticationFailed"}
        return self.problem(status, codes.get(status, "ServerBusy"))

    @staticmethod
    def problem(status: int, code: str) -> web.Response:
        text = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
        return web.Response(status=status, text=text, content_type="application/xml", headers={"x-ms-error-code": code})

    async def put(self, request: web.Request) -> web.Response:
        name, data = request.match_info["name"], await request.read()
        if request.match_info["container"] != BUCKET:
            return self.problem(404, "ContainerNotFound")
        if request.headers.get("If-None-Match") == "*" and name in self.objects:
            return self.problem(409, "BlobAlreadyExists")
        self.objects[name] = data
        self.seen.append({**request.headers})
        return web.Response(status=201, headers={"ETag": '"1"', "Last-Modified": formatdate(0, usegmt=True)})

    async def get(self, request: web.Request) -> web.Response:
        data = self.objects.get(request.match_info["name"])
        if data is None:
            return self.problem(404, "BlobNotFound")
        headers = {
            "ETag": '"1"',
            "Last-Modified": formatdate(0, usegmt=True),
            "x-ms-blob-type": "BlockBlob",
            "Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}",
        }
        return web.Response(status=206, body=data, headers=headers)

    async def delete(self, request: web.Request) -> web.Response:
        if self.objects.pop(request.match_info["name"], None) is None:
            return self.problem(404, "BlobNotFound")
        return web.Response(status=202)

    async def list(self, request: web.Request) -> web.Response:
        """In no order, and with the folders that an account with a hierarchy lists."""
        if request.match_info["container"] != BUCKET:
            return self.problem(404, "ContainerNotFound")
        prefix = request.query.get("prefix", "")
        names = sorted((name for name in self.objects if name.startswith(prefix)), reverse=True)
        if delimiter := request.query.get("delimiter"):
            cut = {_cut(name, prefix, delimiter) for name in names}
            blobs = "".join(
                self.entry(name) if name in self.objects else f"<BlobPrefix><Name>{escape(name)}</Name></BlobPrefix>"
                for name in cut
            )
        else:
            folders = sorted({name.rpartition("/")[0] for name in names if "/" in name})
            blobs = "".join(map(self.entry, names)) + "".join(self.entry(name, folder=True) for name in folders)
        text = f'<?xml version="1.0"?><EnumerationResults><Blobs>{blobs}</Blobs><NextMarker/></EnumerationResults>'
        return web.Response(text=text, content_type="application/xml")

    @staticmethod
    def entry(name: str, folder: bool = False) -> str:
        metadata = "<hdi_isfolder>true</hdi_isfolder>" if folder else ""
        properties = (
            f"<Last-Modified>{formatdate(0, usegmt=True)}</Last-Modified><Etag>1</Etag><BlobType>BlockBlob</BlobType>"
        )
        return (
            f"<Blob><Name>{escape(name)}</Name><Properties>{properties}</Properties>"
            f"<Metadata>{metadata}</Metadata></Blob>"
        )


@pytest.fixture(params=["gs", "az"])
async def wire(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[str, Wire]]:
    served: Wire = GoogleWire() if request.param == "gs" else AzureWire()
    runner = web.AppRunner(served.application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", endpoint)
    monkeypatch.setenv(
        "AZURE_STORAGE_CONNECTION_STRING",
        f"DefaultEndpointsProtocol=http;AccountName=account;AccountKey=a2V5;BlobEndpoint={endpoint}/account;",
    )
    yield request.param, served
    await runner.cleanup()


@pytest.fixture
async def make_store(wire: tuple[str, Wire]) -> AsyncIterator[MakeStore]:
    opened: list[Store] = []

    def make() -> Store:
        opened.append(ObjectStore(f"{wire[0]}://{BUCKET}/some/prefix"))
        return opened[-1]

    yield make
    for store in opened:
        await store.aclose()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_keeps_the_contract(check: Check, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcs, "PAGE_SIZE", 50)
    await check(make_store)


async def test_a_missing_bucket_is_named(wire: tuple[str, Wire]) -> None:
    store = ObjectStore(f"{wire[0]}://nobodys-bucket/prefix")
    for call in (store.put_new("key", b"x"), store.list("")):
        with pytest.raises(StoreRefused, match="nobodys-bucket"):
            await call
    await store.aclose()


async def test_a_busy_vendor_is_asked_again(wire: tuple[str, Wire], make_store: MakeStore) -> None:
    store = make_store()
    await store.put_new("first", b"x")
    wire[1].answers, before = [503, 503], wire[1].requests
    await store.put_new("key", b"x")
    assert wire[1].requests - before == 4, "the object and the look at the place, twice"
    assert await store.get("key") == b"x"


@pytest.mark.parametrize("status", [401, 403])
async def test_no_access_is_refused_at_once(wire: tuple[str, Wire], make_store: MakeStore, status: int) -> None:
    store = make_store()
    wire[1].answers = [status] * 100
    for call in (store.put_new("key", b"x"), store.get("key"), store.list(""), store.delete("key")):
        before = wire[1].requests
        with pytest.raises(StoreRefused, match="credentials"):
            await call
        assert wire[1].requests - before <= 2


async def test_a_server_that_is_gone_is_unavailable(wire: tuple[str, Wire]) -> None:
    wire[1].answers = [503] * 1000
    store = ObjectStore(f"{wire[0]}://{BUCKET}/prefix", patience_s=1.0)
    with pytest.raises(StoreUnavailable):
        await store.put_new("key", b"x")
    await store.aclose()


def s3_error(code: str, status: int) -> ClientError:
    answer = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "PutObject")  # type: ignore[arg-type]


def azure_error(kind: type[HttpResponseError], status: int, code: str | None) -> HttpResponseError:
    error = kind(code)
    error.status_code, error.error_code = status, code  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("driver", "error", "outcome"),
    [
        (S3Driver, s3_error("PreconditionFailed", 412), Outcome.TAKEN),
        (S3Driver, s3_error("ConditionalRequestConflict", 409), Outcome.UNKNOWN),
        (S3Driver, s3_error("SlowDown", 503), Outcome.UNKNOWN),
        (S3Driver, s3_error("InternalError", 500), Outcome.UNKNOWN),
        (S3Driver, s3_error("TooManyRequests", 429), Outcome.UNKNOWN),
        (S3Driver, s3_error("RequestTimeout", 400), Outcome.UNKNOWN),
        (S3Driver, s3_error("NoSuchBucket", 404), Outcome.NO_BUCKET),
        (S3Driver, s3_error("NoSuchKey", 404), Outcome.MISSING),
        (S3Driver, s3_error("NoSuchUpload", 404), Outcome.UNKNOWN),
        (S3Driver, s3_error("AccessDenied", 403), Outcome.NOT_ALLOWED),
        (S3Driver, s3_error("ExpiredToken", 400), Outcome.NOT_ALLOWED),
        (S3Driver, s3_error("InvalidAccessKeyId", 403), Outcome.NOT_ALLOWED),
        (S3Driver, s3_error("PermanentRedirect", 301), Outcome.REFUSED),
        (S3Driver, s3_error("EntityTooLarge", 400), Outcome.REFUSED),
        (S3Driver, s3_error("NotImplemented", 501), Outcome.REFUSED),
        (S3Driver, s3_error("HTTPVersionNotSupported", 505), Outcome.REFUSED),
        (S3Driver, NoCredentialsError(), Outcome.NOT_ALLOWED),
        (S3Driver, EndpointConnectionError(endpoint_url="x"), Outcome.UNKNOWN),
        (S3Driver, ClientConnectionError(), Outcome.UNKNOWN),
        (S3Driver, TimeoutError(), Outcome.UNKNOWN),
        (GcsDriver, GcsError(412, "conditionNotMet", "no"), Outcome.TAKEN),
        (GcsDriver, GcsError(404, "", "No such object: bucket/key"), Outcome.MISSING),
        (GcsDriver, GcsError(404, "notFound", "The specified bucket does not exist."), Outcome.NO_BUCKET),
        (GcsDriver, GcsError(429, "rateLimitExceeded", "slower"), Outcome.UNKNOWN),
        (GcsDriver, GcsError(403, "rateLimitExceeded", "slower"), Outcome.UNKNOWN),
        (GcsDriver, GcsError(403, "forbidden", "no"), Outcome.NOT_ALLOWED),
        (GcsDriver, GcsError(503, "backendError", "later"), Outcome.UNKNOWN),
        (GcsDriver, GcsError(401, "authError", "Invalid Credentials"), Outcome.NOT_ALLOWED),
        (GcsDriver, GcsError(400, "invalid", "Bad Request"), Outcome.REFUSED),
        (GcsDriver, DefaultCredentialsError("none"), Outcome.NOT_ALLOWED),
        (GcsDriver, RefreshError("invalid_grant"), Outcome.NOT_ALLOWED),
        (GcsDriver, RefreshError("busy", retryable=True), Outcome.UNKNOWN),
        (GcsDriver, TransportError("down"), Outcome.UNKNOWN),
        (GcsDriver, TimeoutError(), Outcome.UNKNOWN),
        (AzureDriver, azure_error(ResourceExistsError, 409, "BlobAlreadyExists"), Outcome.TAKEN),
        (AzureDriver, azure_error(ResourceExistsError, 409, "ContainerBeingDeleted"), Outcome.UNKNOWN),
        (AzureDriver, azure_error(ResourceExistsError, 409, "BlobImmutableDueToPolicy"), Outcome.REFUSED),
        (AzureDriver, azure_error(HttpResponseError, 412, "ConditionNotMet"), Outcome.TAKEN),
        (AzureDriver, azure_error(HttpResponseError, 404, "ContainerNotFound"), Outcome.NO_BUCKET),
        (AzureDriver, azure_error(HttpResponseError, 404, "BlobNotFound"), Outcome.MISSING),
        (AzureDriver, azure_error(HttpResponseError, 404, None), Outcome.UNKNOWN),
        (AzureDriver, azure_error(ResourceExistsError, 409, None), Outcome.UNKNOWN),
        (AzureDriver, azure_error(HttpResponseError, 503, "ServerBusy"), Outcome.UNKNOWN),
        (AzureDriver, azure_error(HttpResponseError, 403, "AuthorizationFailure"), Outcome.NOT_ALLOWED),
        (AzureDriver, ClientAuthenticationError("no login"), Outcome.NOT_ALLOWED),
        (AzureDriver, ServiceRequestError("down"), Outcome.UNKNOWN),
        (AzureDriver, AzureSettingsMissing("no account"), Outcome.NOT_ALLOWED),
        *[
            (driver, NotTheVendor(status, "a page"), outcome)
            for driver in (S3Driver, GcsDriver, AzureDriver)
            for status, outcome in [
                (200, Outcome.UNKNOWN),
                (404, Outcome.UNKNOWN),
                (412, Outcome.UNKNOWN),
                (502, Outcome.UNKNOWN),
                (403, Outcome.NOT_ALLOWED),
                (407, Outcome.REFUSED),
                (413, Outcome.REFUSED),
                (501, Outcome.REFUSED),
            ]
        ],
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_what_an_error_means(driver: type[Driver], error: Exception, outcome: Outcome) -> None:
    assert isinstance(error, driver.failures)
    assert driver.outcome(error) is outcome


PAGE = "<html><body>We are back soon.</body></html>"


@pytest.mark.parametrize("kind", ["text/html", "application/xml", "application/json"])
@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 404, 409, 412, 502])
async def test_what_something_else_answers_is_not_taken_for_the_vendors(
    wire: tuple[str, Wire], make_store: MakeStore, status: int, kind: str
) -> None:
    """A proxy, a page of maintenance, a login: each call is made again, and has the vendor's answer then."""
    store = make_store()
    await store.put_new("there", b"x")
    calls: dict[str, tuple[Callable[[], Awaitable[object]], object]] = {
        "get": (lambda: store.get("there"), b"x"),
        "list": (lambda: store.list(""), ["a/b", "there"]),
        "folders": (lambda: store.folders(""), ["a/"]),
        "delete": (lambda: store.delete("there"), None),
    }
    if (wire[0], status) not in {("az", 201), ("gs", 204)}:  # these mean nothing without the rest of the call
        wire[1].answers = [page(status, kind), page(status, kind)]
    await store.put_new("a/b", b"y")
    assert await store.get("a/b") == b"y"
    for name, (call, expected) in calls.items():
        if (wire[0], name, status) not in {("gs", "delete", 204), ("az", "delete", 202)}:
            wire[1].answers = [page(status, kind)]
        assert await call() == expected, name
    assert await store.list("") == ["a/b"]


def page(status: int, kind: str) -> web.Response:
    return web.Response(status=status, text="" if status == 204 else PAGE, content_type=kind)


@pytest.mark.parametrize("status", [413, 501])
async def test_what_cannot_change_is_refused_at_once_whoever_says_it(
    wire: tuple[str, Wire], make_store: MakeStore, status: int
) -> None:
    store = make_store()
    await store.put_new("first", b"x")
    for call in (lambda: store.put_new("key", b"x"), lambda: store.get("first")):
        wire[1].answers, before = [page(status, "text/html"), page(status, "text/html")], wire[1].requests
        with pytest.raises(StoreRefused, match=rf"Trying again cannot help.*{status}"):
            await call()
        assert wire[1].requests - before <= 2, "the object's, and the look at the place"


async def test_an_emptied_bucket_is_noticed_by_those_who_use_it(wire: tuple[str, Wire], make_store: MakeStore) -> None:
    store, reader = make_store(), make_store()
    await store.put_new("key", b"x")
    kept = dict(wire[1].objects)
    wire[1].objects.clear()
    for call in (store.get, store.list, store.folders, lambda _: store.put_new("next", b"y")):
        with pytest.raises(StoreRefused, match="emptied"):
            await call("key" if call == store.get else "")
    assert await reader.list("") == ["next"], "who comes new takes what is there"
    wire[1].objects.clear()
    wire[1].objects.update(kept)
    await store.put_new("after", b"z")
    assert await store.get("key") == b"x", "put back, it goes on"


async def test_a_bucket_that_became_another_store_is_noticed(wire: tuple[str, Wire], make_store: MakeStore) -> None:
    store, other = make_store(), make_store()
    await store.put_new("key", b"x")
    wire[1].objects.clear()
    await other.put_new("key", b"y")
    with pytest.raises(StoreRefused, match="another store"):
        await store.put_new("next", b"x")


async def test_options_are_sent_with_each_write(wire: tuple[str, Wire]) -> None:
    scheme, served = wire
    options = {
        "gs": {"requester_pays": "payer", "kms_key_name": "projects/p/locations/l/keyRings/r/cryptoKeys/k"},
        "az": {"encryption_scope": "ours"},
    }[scheme]
    store = ObjectStore(f"{scheme}://{BUCKET}/prefix", options=options)
    await store.put_new("key", b"x")
    if scheme == "gs":
        assert {(query["userProject"], query["kmsKeyName"]) for query in served.seen} == {
            ("payer", "projects/p/locations/l/keyRings/r/cryptoKeys/k")
        }
    else:
        assert {headers["x-ms-encryption-scope"] for headers in served.seen} == {"ours"}
    await store.aclose()


@pytest.mark.parametrize("end", ["close", "leave open"])
def test_python_ends_without_a_word_from_the_vendors_packages(wire: tuple[str, Wire], end: str) -> None:
    program = (
        "import asyncio, sys\n"
        "from rojak_ray.errors import StoreUnavailable\n"
        "from rojak_ray.storage.objects import ObjectStore\n"
        "async def main():\n"
        "    store = ObjectStore(sys.argv[1], patience_s=0.1)\n"
        "    try: await store.get('key')\n"
        "    except StoreUnavailable: print('unavailable')\n"
        "    if sys.argv[2] == 'close': await store.aclose()\n"
        "asyncio.run(main())\n"
    )
    environ = os.environ | {
        "STORAGE_EMULATOR_HOST": "http://127.0.0.1:9",
        "AZURE_STORAGE_CONNECTION_STRING": os.environ["AZURE_STORAGE_CONNECTION_STRING"],
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, f"{wire[0]}://{BUCKET}/x", end],
        capture_output=True,
        text=True,
        check=True,
        env=environ,
    )
    assert (done.stdout, done.stderr) == ("unavailable\n", "")
