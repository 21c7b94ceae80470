"""gcsfs and adlfs as they are, against small loopback servers that speak as much of the vendors' wire as they use.

S3 runs against a real server in tests/e2e.
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
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ServiceRequestError
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from gcsfs.retry import HttpError
from google.auth.exceptions import DefaultCredentialsError, TransportError

from rojak_ray.errors import StoreRefused, StoreUnavailable
from rojak_ray.storage import gcs
from rojak_ray.storage.azure import AzureDriver
from rojak_ray.storage.base import Store
from rojak_ray.storage.drivers import Driver, Outcome
from rojak_ray.storage.gcs import GcsDriver
from rojak_ray.storage.objects import ObjectStore
from rojak_ray.storage.s3 import S3Driver
from rojak_ray.testing.store_contract import CHECKS, Check, MakeStore

BUCKET = "bucket"


class Wire:
    """Objects of one bucket, and a status that the next requests answer with."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.answers: list[int] = []
        self.requests = 0

    @web.middleware
    async def trouble(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.requests += 1
        if self.answers:
            return web.Response(status=self.answers.pop(0), text="trouble")
        return await handler(request)

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

    def known(self, request: web.Request) -> None:
        if request.match_info["bucket"] != BUCKET:
            raise web.HTTPNotFound

    async def upload(self, request: web.Request) -> web.Response:
        self.known(request)
        _, head, body = (await request.read()).split(b"--==0==", 2)
        name = json.loads(head.split(b"\n\n", 1)[1])["name"]
        if request.query.get("ifGenerationMatch") == "0" and name in self.objects:
            return web.json_response({"error": {"code": 412, "message": "conditionNotMet"}}, status=412)
        self.objects[name] = body.split(b"\n\n", 1)[1].removesuffix(b"\n--==0==--")
        return web.json_response({"name": name})

    async def download(self, request: web.Request) -> web.Response:
        try:
            return web.Response(body=self.objects[request.match_info["name"]])
        except KeyError:
            raise web.HTTPNotFound from None

    async def delete(self, request: web.Request) -> web.Response:
        if self.objects.pop(request.match_info["name"], None) is None:
            raise web.HTTPNotFound
        return web.Response(status=204)

    async def list(self, request: web.Request) -> web.Response:
        """With an empty page in front, and an inclusive `startOffset`, as Google may answer."""
        self.known(request)
        token = request.query.get("pageToken")
        if token is None:
            return web.json_response({"nextPageToken": "first"})
        start = request.query.get("startOffset", "") if token == "first" else token
        prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter")
        every = {_cut(name, prefix, delimiter) for name in self.objects if name.startswith(prefix)}
        names = sorted(name for name in every if name >= start)
        size = int(request.query["maxResults"])
        items = [{"name": name} for name in names[:size] if name in self.objects]
        page = {"items": items, "prefixes": [name for name in names[:size] if name not in self.objects]}
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
    wire[1].answers = [503]
    await store.put_new("key", b"x")
    assert wire[1].requests == 2
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


def s3_error(code: str, status: int) -> OSError:
    """As s3fs raises what it has no class for."""
    error = OSError(22, code)
    error.__cause__ = ClientError(
        {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "PutObject",
    )
    return error


def azure_error(kind: type[HttpResponseError], status: int, code: str) -> HttpResponseError:
    error = kind(code)
    error.status_code, error.error_code = status, code  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("driver", "error", "outcome"),
    [
        (S3Driver, s3_error("PreconditionFailed", 412), Outcome.TAKEN),
        (S3Driver, s3_error("412", 412), Outcome.TAKEN),
        (S3Driver, FileExistsError("key"), Outcome.TAKEN),
        (S3Driver, s3_error("ConditionalRequestConflict", 409), Outcome.UNKNOWN),
        (S3Driver, s3_error("SlowDown", 503), Outcome.UNKNOWN),
        (S3Driver, s3_error("InternalError", 500), Outcome.UNKNOWN),
        (S3Driver, s3_error("TooManyRequests", 429), Outcome.UNKNOWN),
        (S3Driver, s3_error("RequestTimeout", 400), Outcome.UNKNOWN),
        (S3Driver, s3_error("NoSuchBucket", 404), Outcome.NO_BUCKET),
        (S3Driver, s3_error("NoSuchKey", 404), Outcome.MISSING),
        (S3Driver, s3_error("AccessDenied", 403), Outcome.REFUSED),
        (S3Driver, s3_error("PermanentRedirect", 301), Outcome.REFUSED),
        (S3Driver, NoCredentialsError(), Outcome.REFUSED),
        (S3Driver, EndpointConnectionError(endpoint_url="x"), Outcome.UNKNOWN),
        (S3Driver, ClientConnectionError(), Outcome.UNKNOWN),
        (S3Driver, TimeoutError(), Outcome.UNKNOWN),
        (GcsDriver, FileExistsError("key"), Outcome.TAKEN),
        (GcsDriver, FileNotFoundError("key"), Outcome.MISSING),
        (GcsDriver, HttpError({"code": 429}), Outcome.UNKNOWN),
        (GcsDriver, HttpError({"code": 503}), Outcome.UNKNOWN),
        (GcsDriver, HttpError({"code": 401}), Outcome.REFUSED),
        (GcsDriver, OSError("Forbidden: key"), Outcome.REFUSED),
        (GcsDriver, ValueError("Bad Request: key"), Outcome.REFUSED),
        (GcsDriver, json.JSONDecodeError("not JSON", "", 0), Outcome.UNKNOWN),
        (GcsDriver, DefaultCredentialsError("none"), Outcome.REFUSED),
        (GcsDriver, TransportError("down"), Outcome.UNKNOWN),
        (GcsDriver, TimeoutError(), Outcome.UNKNOWN),
        (AzureDriver, FileExistsError("key"), Outcome.TAKEN),
        (AzureDriver, azure_error(ResourceExistsError, 409, "BlobAlreadyExists"), Outcome.TAKEN),
        (AzureDriver, azure_error(ResourceExistsError, 409, "ContainerBeingDeleted"), Outcome.UNKNOWN),
        (AzureDriver, azure_error(HttpResponseError, 412, "ConditionNotMet"), Outcome.TAKEN),
        (AzureDriver, azure_error(HttpResponseError, 404, "ContainerNotFound"), Outcome.NO_BUCKET),
        (AzureDriver, azure_error(HttpResponseError, 404, "BlobNotFound"), Outcome.MISSING),
        (AzureDriver, azure_error(HttpResponseError, 503, "ServerBusy"), Outcome.UNKNOWN),
        (AzureDriver, azure_error(HttpResponseError, 403, "AuthorizationFailure"), Outcome.REFUSED),
        (AzureDriver, ServiceRequestError("down"), Outcome.UNKNOWN),
        (AzureDriver, ValueError("unable to connect to account"), Outcome.REFUSED),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_what_an_error_means(driver: type[Driver], error: Exception, outcome: Outcome) -> None:
    assert isinstance(error, driver.failures)
    assert driver.outcome(error) is outcome


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
