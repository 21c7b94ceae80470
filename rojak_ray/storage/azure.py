"""Azure Blob Storage, through Azure's own client.

Not through adlfs, which turns answers into Python's errors and drops their reasons.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator, Mapping
from typing import Any, ClassVar

from aiohttp import ClientError, ClientSession, DummyCookieJar, TCPConnector
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.core.pipeline.transport import AioHttpTransport
from azure.identity.aio import ClientSecretCredential, DefaultAzureCredential
from azure.storage.blob.aio import BlobPrefix, BlobServiceClient

from rojak_ray.redaction import of_headers
from rojak_ray.storage.drivers import (
    CONNECT_TIMEOUT_S,
    CONNECTIONS,
    READ_TIMEOUT_S,
    Expect,
    NotTheVendor,
    Outcome,
    Page,
    close_with,
    foreign_outcome,
    silence_bounded_socket,
    status_outcome,
)
from rojak_ray.storage.options import AzureOptions
from rojak_ray.storage.proxies import proxy_for
from rojak_ray.storage.sent import secrets_of_signature
from rojak_ray.storage.threads import in_thread

_ONE_REQUEST = 5000 << 20
"""Azure's limit for a blob in one request; parts that were never put together would stay for a week."""

_PART = 4 << 20
_OUTCOMES = {
    "BlobAlreadyExists": Outcome.TAKEN,
    "ConditionNotMet": Outcome.TAKEN,
    "UnauthorizedBlobOverwrite": Outcome.TAKEN,  # to a signature that may only create
    "BlobNotFound": Outcome.MISSING,
    "ContainerNotFound": Outcome.NO_BUCKET,
    "ResourceNotFound": Outcome.NO_BUCKET,
    "BlobImmutableDueToPolicy": Outcome.REFUSED,  # these with status 409, which else asks to come back
    "ContainerDisabled": Outcome.REFUSED,
    "LeaseIdMissing": Outcome.REFUSED,  # with 412
    "InsufficientAccountPermissions": Outcome.REFUSED,
    "AccountIsDisabled": Outcome.REFUSED,
}


class AzureSettingsMissing(Exception):
    """Nothing says which account to use, or what says it cannot be read."""


class AzureDriver:
    """A container of Azure Blob Storage."""

    failures: ClassVar[tuple[type[Exception], ...]] = (
        OSError,
        AzureError,
        ClientError,
        AzureSettingsMissing,
        NotTheVendor,
    )
    credentials: ClassVar[str] = (
        "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY or a login"
    )

    def __init__(
        self,
        service: BlobServiceClient,
        credential: Any,
        container: str,
        options: AzureOptions,
        transport: _Transport | None = None,
    ) -> None:
        self._service = service
        self._transport = transport
        self._credential = credential
        self._container = service.get_container_client(container)
        self._encryption: dict[str, Any] = (
            {"encryption_scope": options.encryption_scope} if options.encryption_scope else {}
        )

    @classmethod
    async def open(cls, bucket: str, options: AzureOptions) -> AzureDriver:
        """Find the credentials, in a thread, and connect on the running event loop."""
        environ = dict(os.environ)
        session = ClientSession(
            connector=TCPConnector(limit=CONNECTIONS, socket_factory=silence_bounded_socket),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
        )
        transport = _Transport(session)
        settings = {
            "transport": transport,
            "retry_total": 0,  # the object store retries, within its own deadline
            "max_single_put_size": _ONE_REQUEST,
            "max_single_get_size": _PART,
        }
        try:
            credential = await in_thread(lambda: _credential(environ, transport))
            driver = cls(_service(environ, credential, options, settings), credential, bucket, options, transport)
        except BaseException:
            await session.close()
            raise
        close_with(driver, lambda: [session])
        return driver

    async def create(self, name: str, data: bytes) -> None:
        """Put Blob with `If-None-Match: *`, in one request."""
        with _azures_own_errors():
            async with self._container.get_blob_client(name) as blob:
                answer = await blob.upload_blob(data, length=len(data), overwrite=False, **self._encryption)
        if not answer.get("etag"):
            raise NotTheVendor(201, "it has no ETag")

    async def read(self, name: str, expect: Expect) -> bytes:
        """Get Blob, in parts of one version."""
        with _azures_own_errors():
            async with self._container.get_blob_client(name) as blob:
                try:
                    stream = await blob.download_blob(max_concurrency=1)
                except ValueError as error:  # no Content-Range, which Azure always sends
                    raise NotTheVendor(200, "it is no blob") from error
                if not stream.properties.etag:
                    raise NotTheVendor(200, "it has no ETag")
                expect(stream.size)
                return await stream.readall()

    async def remove(self, name: str) -> None:
        """Delete Blob."""
        with _azures_own_errors():
            await self._container.delete_blob(name)

    async def page(self, prefix: str, after: str, start: str | None) -> Page:
        """All of List Blobs: it can start only where a former answer ended, and need not be in byte order."""
        with _azures_own_errors():
            blobs = self._container.list_blobs(
                name_starts_with=prefix, include=["metadata"], raw_response_hook=_expect_listing
            )
            return Page([blob.name async for blob in blobs if not _is_folder(blob.metadata)])

    async def folders(self, prefix: str, start: str | None) -> Page:
        """All of List Blobs with a delimiter."""
        with _azures_own_errors():
            found = self._container.walk_blobs(
                name_starts_with=prefix, delimiter="/", raw_response_hook=_expect_listing
            )
            return Page([item.name async for item in found if isinstance(item, BlobPrefix)])

    def secrets(self) -> Iterator[str]:
        """What the last request was signed with."""
        if self._transport is not None:
            yield from self._transport.secrets()

    async def close(self) -> None:
        """Close the client."""
        await self._service.close()
        if hasattr(self._credential, "close"):
            await self._credential.close()
        if self._transport is not None:
            await self._transport.end()

    @staticmethod
    def outcome(error: Exception) -> Outcome:
        """By Azure's own code, else by the status."""
        match error:
            case NotTheVendor():
                return foreign_outcome(error.status)
            case AzureSettingsMissing():
                return Outcome.NOT_ALLOWED
            case HttpResponseError() if _code(error):
                return _OUTCOMES.get(_code(error)) or status_outcome(error.status_code or 0)
            case ClientAuthenticationError():  # from the login
                return Outcome.NOT_ALLOWED
            case _:
                return Outcome.UNKNOWN


class _Transport(AioHttpTransport):
    """Azure's own, over a session that reads no `~/.netrc`: the proxy of each address is looked up here."""

    def __init__(self, session: ClientSession) -> None:
        """`session` is closed by `end` alone: several clients go through this."""
        timeouts = {"connection_timeout": CONNECT_TIMEOUT_S, "read_timeout": READ_TIMEOUT_S}
        super().__init__(session=session, session_owner=False, **timeouts)
        self._signed: tuple[dict[str, str], str] = {}, ""

    async def send(self, request: Any, *, stream: bool = False, proxies: Any = None, **config: Any) -> Any:
        """Send a request, through the proxy that the environment names for its address."""
        self._signed = dict(request.headers), str(request.url)
        proxy = config.pop("proxy", None) or proxy_for(request.url)
        return await super().send(request, stream=stream, proxies=proxies, proxy=proxy, **config)

    def secrets(self) -> Iterator[str]:
        """What the last request was signed with."""
        headers, url = self._signed
        yield from of_headers({name: value for name, value in headers.items() if name.lower() == "authorization"})
        yield from secrets_of_signature(url.partition("?")[2])

    async def end(self) -> None:
        """Close the connections."""
        if self.session is not None:
            await self.session.close()


def _credential(environ: Mapping[str, str], transport: _Transport) -> Any:
    """What proves who we are; None where a connection string says it all. Reads files."""
    if environ.get("AZURE_STORAGE_CONNECTION_STRING"):
        return None
    for name in ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN"):
        if environ.get(name):
            return environ[name]
    parts = [environ.get(f"AZURE_STORAGE_{part}") for part in ("TENANT_ID", "CLIENT_ID", "CLIENT_SECRET")]
    if all(parts):
        return ClientSecretCredential(*map(str, parts), transport=transport)
    return DefaultAzureCredential(transport=transport)


def _service(
    environ: Mapping[str, str], credential: Any, options: AzureOptions, settings: dict[str, Any]
) -> BlobServiceClient:
    text, account = environ.get("AZURE_STORAGE_CONNECTION_STRING"), environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    try:
        if text:
            return BlobServiceClient.from_connection_string(text, **settings)
        if options.endpoint_url or account:
            url = options.endpoint_url or f"https://{account}.blob.core.windows.net"
            return BlobServiceClient(url, credential, **settings)
    except ValueError:
        # Its words are not repeated: they may quote the connection string.
        raise AzureSettingsMissing("the connection string or the endpoint cannot be read") from None
    raise AzureSettingsMissing("neither AZURE_STORAGE_CONNECTION_STRING nor AZURE_STORAGE_ACCOUNT_NAME is set")


@contextlib.contextmanager
def _azures_own_errors() -> Generator[None]:
    """An error without a code of Azure's came from something in between."""
    try:
        yield
    except HttpResponseError as error:
        if _code(error) or not error.status_code:
            raise
        raise NotTheVendor(error.status_code, "it has no error code of Azure's") from error


def _code(error: HttpResponseError) -> str:
    code: Any = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def _expect_listing(response: Any) -> None:
    """Raise unless an answer of 200 is a listing: a page for people may be XML too, and would be an empty one."""
    http = response.http_response
    if http.status_code == 200 and b"<EnumerationResults" not in http.body()[:1000]:
        raise NotTheVendor(200, "it is no list of blobs")


def _is_folder(metadata: dict[str, str] | None) -> bool:
    """Accounts with a hierarchy list their folders as blobs."""
    return (metadata or {}).get("hdi_isfolder") == "true"
