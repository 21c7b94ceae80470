"""Google Cloud Storage, through gcsfs."""

from __future__ import annotations

from json import JSONDecodeError
from typing import Any, ClassVar

from aiohttp import ClientError, ClientTimeout
from gcsfs.core import GCSFileSystem  # not the package's: that one asks for the kind of bucket over gRPC first
from gcsfs.retry import HttpError
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError

from rojak_ray.storage.drivers import (
    CONNECT_TIMEOUT_S,
    PAGE_SIZE,
    READ_TIMEOUT_S,
    Outcome,
    Page,
    status_outcome,
)


class GcsDriver:
    """A bucket of Google Cloud Storage. gcsfs repeats requests by itself; the object store's deadline bounds that."""

    failures: ClassVar[tuple[type[Exception], ...]] = (OSError, HttpError, GoogleAuthError, ClientError, ValueError)
    credentials: ClassVar[str] = "GOOGLE_APPLICATION_CREDENTIALS or Google's default credentials"

    def __init__(self, filesystem: Any, bucket: str) -> None:
        self._fs = filesystem
        self._bucket = bucket

    @classmethod
    async def open(cls, bucket: str) -> GcsDriver:
        """Connect on the running event loop."""
        filesystem: Any = GCSFileSystem(
            asynchronous=True,
            skip_instance_cache=True,
            use_listings_cache=False,
            requests_timeout=ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S),
        )
        await filesystem._set_session()
        return cls(filesystem, bucket)

    async def create(self, name: str, data: bytes) -> None:
        """Upload with `ifGenerationMatch=0`."""
        try:
            await self._fs._pipe_file(f"{self._bucket}/{name}", data, mode="create")
        except FileNotFoundError as error:
            raise _BucketMissing(self._bucket) from error

    async def read(self, name: str) -> bytes:
        """One GET."""
        return await self._fs._cat_file(f"{self._bucket}/{name}")

    async def remove(self, name: str) -> None:
        """One DELETE."""
        await self._fs._rm_file(f"{self._bucket}/{name}")

    async def page(self, prefix: str, after: str, start: str | None) -> Page:
        """Objects: list, which is in byte order. Google may send empty pages before the last."""
        answer = await self._ask_page(prefix, "items(name)", start, startOffset=after or None)
        return Page([item["name"] for item in answer.get("items", ())], answer.get("nextPageToken"))

    async def folders(self, prefix: str, start: str | None) -> Page:
        """Objects: list with a delimiter."""
        answer = await self._ask_page(prefix, "prefixes", start, delimiter="/")
        return Page(list(answer.get("prefixes", ())), answer.get("nextPageToken"))

    async def _ask_page(self, prefix: str, fields: str, token: str | None, **query: str | None) -> dict[str, Any]:
        try:
            return await self._fs._call(
                "GET",
                "b/{}/o",
                self._bucket,
                prefix=prefix,
                pageToken=token,
                maxResults=PAGE_SIZE,
                fields=f"{fields},nextPageToken",
                json_out=True,
                **query,
            )
        except FileNotFoundError as error:
            raise _BucketMissing(self._bucket) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._fs.session.close()

    @staticmethod
    def outcome(error: Exception) -> Outcome:
        """By the status where gcsfs keeps it, else by the class it made of it."""
        match error:
            case _BucketMissing():
                return Outcome.NO_BUCKET
            case FileExistsError():
                return Outcome.TAKEN
            case FileNotFoundError():
                return Outcome.MISSING
            case HttpError():
                return status_outcome(int(error.code or 0))
            case JSONDecodeError():
                return Outcome.UNKNOWN
            case DefaultCredentialsError() | ValueError():
                return Outcome.REFUSED
            case OSError() if str(error).startswith("Forbidden"):
                return Outcome.REFUSED
            case _:
                return Outcome.UNKNOWN


class _BucketMissing(OSError):
    """404 where the request named no object."""
