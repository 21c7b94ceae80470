"""Google Cloud Storage, over its JSON API.

Not through gcsfs, which looks for credentials and renews them in blocking calls on the event loop, and drops what an
answer says of its reasons.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast
from urllib.parse import quote

import google.auth
import requests
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
from google.auth.transport.requests import Request

from rojak_ray.storage.drivers import (
    CONNECT_TIMEOUT_S,
    CONNECTIONS,
    PAGE_SIZE,
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
from rojak_ray.storage.options import GcsOptions
from rojak_ray.storage.proxies import proxy_for
from rojak_ray.storage.threads import in_thread

_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_HOME = "https://storage.googleapis.com"
_MARKS = ("x-guploader-uploadid", "x-goog-generation", "x-goog-hash", "x-goog-metageneration")
_COME_BACK = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "backendError", "internalError"})
_OBJECT = "No such object"
_NO_BUCKET = "The specified bucket does not exist."
_LOOK_AGAIN_S = (0.5, 1.0)
_BOUNDARY = "==rojak=="


class GcsError(Exception):
    """An answer of Google's that is an error."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}" if reason else f"{status}: {message}")
        self.status = status
        self.reason = reason
        self.message = message

    @property
    def names_what(self) -> bool:
        """Whether a 404 says what is missing."""
        return _OBJECT in self.message or _NO_BUCKET in self.message


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body if it is a JSON object, else {}."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return cast("dict[str, Any]", value) if isinstance(value, dict) else {}

    @property
    def marked(self) -> bool:
        """Whether a header is one that Google's storage sends."""
        return any(mark in self.headers for mark in _MARKS)


class GcsDriver:
    """A bucket of Google Cloud Storage. `STORAGE_EMULATOR_HOST` leads to an emulator, without credentials."""

    failures: ClassVar[tuple[type[Exception], ...]] = (OSError, GcsError, GoogleAuthError, ClientError, NotTheVendor)
    credentials: ClassVar[str] = "GOOGLE_APPLICATION_CREDENTIALS or Google's default credentials"

    def __init__(
        self, session: ClientSession, credentials: Credentials, home: str, bucket: str, options: GcsOptions
    ) -> None:
        self._session = session
        self._credentials = credentials
        self._renewing: asyncio.Future[None] | None = None
        self._home = home
        self._bucket = quote(bucket, safe="")
        self._payer = {"userProject": options.requester_pays} if options.requester_pays else {}
        self._encryption = {"kmsKeyName": options.kms_key_name} if options.kms_key_name else {}

    @classmethod
    async def open(cls, bucket: str, options: GcsOptions) -> GcsDriver:
        """Find the credentials, in a thread, and connect on the running event loop."""
        emulator = os.environ.get("STORAGE_EMULATOR_HOST", "")
        home = options.endpoint_url or emulator or _HOME
        home = (home if "://" in home else f"http://{home}").rstrip("/")
        credentials = AnonymousCredentials() if emulator and not options.endpoint_url else await in_thread(_credentials)
        session = ClientSession(
            connector=TCPConnector(limit=CONNECTIONS, socket_factory=silence_bounded_socket),
            timeout=ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S),
            proxy=proxy_for(home),
        )
        driver = cls(session, credentials, home, bucket, options)
        close_with(driver, lambda: [session])
        return driver

    async def create(self, name: str, data: bytes) -> None:
        """Upload with `ifGenerationMatch=0`, in one request of any size."""
        about = json.dumps({"name": name})
        head = f"--{_BOUNDARY}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{about}\r\n--{_BOUNDARY}\r\n"
        body = f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + data + f"\r\n--{_BOUNDARY}--".encode()
        query = {"uploadType": "multipart", "ifGenerationMatch": "0", **self._encryption}
        headers = {"Content-Type": f'multipart/related; boundary="{_BOUNDARY}"'}
        with _of_the_bucket():
            answer = await self._ask("POST", f"/upload/storage/v1/b/{self._bucket}/o", query, body, headers)
        if answer.json.get("name") != name:
            raise NotTheVendor(answer.status, "it does not describe the object")

    async def read(self, name: str, expect: Expect) -> bytes:
        """One GET."""
        path = f"/download/storage/v1/b/{self._bucket}/o/{quote(name, safe='')}"
        try:
            answer = await self._ask("GET", path, {"alt": "media"}, expect=expect)
        except (GcsError, NotTheVendor) as error:
            await self._explain(error, name)
            raise
        if not answer.marked and "etag" not in answer.headers:
            raise NotTheVendor(answer.status, "it has no mark of Google's (x-goog-generation)")
        return answer.body

    async def remove(self, name: str) -> None:
        """One DELETE."""
        try:
            answer = await self._ask("DELETE", f"/storage/v1/b/{self._bucket}/o/{quote(name, safe='')}", {})
        except (GcsError, NotTheVendor) as error:
            await self._explain(error, name)
            raise
        if answer.status != 204 and not answer.marked and await self._lists(name):
            raise NotTheVendor(answer.status, "a deletion is answered with 204")

    async def _explain(self, error: GcsError | NotTheVendor, name: str) -> None:
        """Raise what a 404 means that does not say so: a listing tells whether it is the object or the bucket.

        Google says which; its emulators do not.
        """
        clear = error.status != 404 or (isinstance(error, GcsError) and error.names_what)
        if not clear and not await self._lists(name):
            raise GcsError(404, "notFound", f"{_OBJECT}: {name}") from error

    async def _lists(self, name: str) -> bool:
        """Whether an object is there. Where other names begin with its own, it comes first; pages may be empty."""
        page = await self.page(name, "", None)
        while not page.names and page.next is not None:
            page = await self.page(name, "", page.next)
        return name in page.names

    async def page(self, prefix: str, after: str, start: str | None) -> Page:
        """Objects: list, which is in byte order. Google may send empty pages before the last."""
        answer = await self._page(prefix, "items(name)", start, {"startOffset": after} if after else {})
        return Page([item["name"] for item in answer.get("items", ())], answer.get("nextPageToken"))

    async def folders(self, prefix: str, start: str | None) -> Page:
        """Objects: list with a delimiter."""
        answer = await self._page(prefix, "prefixes", start, {"delimiter": "/"})
        return Page(list(answer.get("prefixes", ())), answer.get("nextPageToken"))

    async def _page(self, prefix: str, fields: str, token: str | None, query: dict[str, str]) -> dict[str, Any]:
        about = {"prefix": prefix, "maxResults": str(PAGE_SIZE), "fields": f"kind,{fields},nextPageToken", **query}
        if token:
            about["pageToken"] = token
        with _of_the_bucket():
            answer = await self._ask("GET", f"/storage/v1/b/{self._bucket}/o", about)
        page = answer.json
        if page.get("kind") != "storage#objects":
            raise NotTheVendor(answer.status, "it is no list of objects")
        return page

    async def _ask(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        expect: Expect | None = None,
    ) -> _Answer:
        sent = {"Accept-Encoding": "gzip", **(headers or {})} | await self._identity()
        url = f"{self._home}{path}"
        async with self._session.request(
            method, url, params={**query, **self._payer}, data=body, headers=sent
        ) as response:
            if expect is not None and response.status == 200:
                expect(response.content_length or 0)
            lower = {name.lower(): value for name, value in response.headers.items()}
            answer = _Answer(response.status, lower, await response.read())
        if answer.status >= 300:
            raise _error(answer)
        return answer

    async def _identity(self) -> dict[str, str]:
        """The header that says who we are; a token that is near its end is renewed before, once for all calls."""
        if isinstance(self._credentials, AnonymousCredentials):
            return {}
        if not self._credentials.valid:
            if self._renewing is None or self._renewing.done():
                self._renewing = asyncio.ensure_future(in_thread(lambda: _renew(self._credentials)))
            await asyncio.shield(self._renewing)
        headers: dict[str, str] = {}
        self._credentials.apply(headers)
        return headers

    def secrets(self) -> Iterator[str]:
        """The token of the moment."""
        if isinstance(token := getattr(self._credentials, "token", None), str):
            yield token

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    @staticmethod
    def outcome(error: Exception) -> Outcome:
        """By the status, and by Google's reason where the status may mean several things."""
        match error:
            case NotTheVendor():
                return foreign_outcome(error.status)
            case GcsError(reason=reason) if reason in _COME_BACK:
                return Outcome.UNKNOWN
            case GcsError(status=412):
                return Outcome.TAKEN
            case GcsError(status=404):
                return Outcome.MISSING if _OBJECT in error.message else Outcome.NO_BUCKET
            case GcsError():
                return status_outcome(error.status)
            case TransportError():
                return Outcome.UNKNOWN
            case GoogleAuthError():
                return Outcome.UNKNOWN if error.retryable else Outcome.NOT_ALLOWED
            case _:
                return Outcome.UNKNOWN


def _error(answer: _Answer) -> Exception:
    """The error an answer stands for. Google's are JSON; those of a download are one line of text."""
    told = answer.json.get("error")
    if isinstance(told, dict):
        about = cast("dict[str, Any]", told)
        every: Any = about.get("errors") or [{}]
        reason = str(every[0].get("reason", "")) if isinstance(every, list) and isinstance(every[0], dict) else ""
        return GcsError(answer.status, reason, str(about.get("message", "")))
    text = answer.body[:500].decode("utf-8", "replace").strip()
    if answer.marked or (answer.status == 404 and text.startswith(_OBJECT)):
        return GcsError(answer.status, "", text)
    return NotTheVendor(answer.status, "it is no error of Google's")


@contextlib.contextmanager
def _of_the_bucket() -> Generator[None]:
    """Where a request names no object that could be missing, a 404 is of the bucket."""
    try:
        yield
    except GcsError as error:
        if error.status == 404 and not error.names_what:
            raise GcsError(404, "notFound", _NO_BUCKET) from error
        raise


def _credentials() -> Credentials:
    """Google's default credentials. May ask the network (a metadata server) and take its time.

    In the first seconds of a pod its metadata server may not be there yet, so not finding any is not believed at once.
    """
    for pause_s in _LOOK_AGAIN_S:
        try:
            return google.auth.default(scopes=[_SCOPE], request=Request(_Session()))[0]
        except DefaultCredentialsError:
            threading.Event().wait(pause_s)
    return google.auth.default(scopes=[_SCOPE], request=Request(_Session()))[0]


def _renew(credentials: Credentials) -> None:
    with _Session() as session:
        credentials.refresh(Request(session))


class _Session(requests.Session):
    """Asks for tokens through the environment's proxies, and adds nothing of `~/.netrc` (see `proxies`)."""

    def __init__(self) -> None:
        super().__init__()
        self.auth = _as_it_is

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Send no header of ours elsewhere after a redirection, and none of a file's either."""
        if self.should_strip_auth(str(response.request.url), str(prepared_request.url)):
            prepared_request.headers.pop("Authorization", None)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
