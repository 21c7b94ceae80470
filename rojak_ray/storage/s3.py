"""Amazon S3 and what speaks its protocol, through s3fs."""

from __future__ import annotations

from typing import Any, ClassVar

from aiohttp import ClientError as ConnectionFailed
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)
from s3fs import S3FileSystem

from rojak_ray.storage.drivers import (
    CONNECT_TIMEOUT_S,
    CONNECTIONS,
    PAGE_SIZE,
    READ_TIMEOUT_S,
    Outcome,
    Page,
    status_outcome,
)

_OUTCOMES = {
    "PreconditionFailed": Outcome.TAKEN,
    "NoSuchKey": Outcome.MISSING,
    "NoSuchBucket": Outcome.NO_BUCKET,
    "ConditionalRequestConflict": Outcome.UNKNOWN,
    "OperationAborted": Outcome.UNKNOWN,
    "RequestTimeout": Outcome.UNKNOWN,  # sent with status 400
    "SlowDown": Outcome.UNKNOWN,
}
_SETTINGS_AT_FAULT = (NoCredentialsError, PartialCredentialsError, ProfileNotFound, ParamValidationError)


class S3Driver:
    """A bucket of S3. `AWS_ENDPOINT_URL` leads to another server."""

    failures: ClassVar[tuple[type[Exception], ...]] = (OSError, BotoCoreError, ClientError, ConnectionFailed)
    credentials: ClassVar[str] = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or an AWS profile or role"

    def __init__(self, filesystem: Any, bucket: str) -> None:
        self._fs = filesystem
        self._bucket = bucket

    @classmethod
    async def open(cls, bucket: str) -> S3Driver:
        """Connect on the running event loop."""
        filesystem = S3FileSystem(
            asynchronous=True,
            skip_instance_cache=True,
            use_listings_cache=False,
            config_kwargs={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "read_timeout": READ_TIMEOUT_S,
                "max_pool_connections": CONNECTIONS,
                "retries": {"mode": "standard", "total_max_attempts": 1},
            },
        )
        filesystem.retries = 1  # the object store retries, within its own deadline
        await filesystem.set_session()
        return cls(filesystem, bucket)

    async def create(self, name: str, data: bytes) -> None:
        """PUT with `If-None-Match: *`."""
        await self._fs._pipe_file(f"{self._bucket}/{name}", data, mode="create")

    async def read(self, name: str) -> bytes:
        """One GET: with more concurrency s3fs would ask for the size first."""
        return await self._fs._cat_file(f"{self._bucket}/{name}", max_concurrency=1)

    async def remove(self, name: str) -> None:
        """DELETE, which S3 answers alike whether or not the object was there."""
        await self._fs._rm_file(f"{self._bucket}/{name}")

    async def page(self, prefix: str, after: str, start: str | None) -> Page:
        """ListObjectsV2. Amazon's answer is in byte order.

        SeaweedFS orders what is in one folder, and to start after a name makes it skip all that is below a folder of
        that name, or comes before it in its own order. So the start is named only within one folder.
        """
        begins_within = after.startswith(prefix) and "/" not in after.removeprefix(prefix)
        begin = {"StartAfter": _just_before(after)} if begins_within and after != prefix else {}
        return await self._list("Contents", "Key", start, Prefix=prefix, **begin)

    async def folders(self, prefix: str, start: str | None) -> Page:
        """ListObjectsV2 with a delimiter."""
        return await self._list("CommonPrefixes", "Prefix", start, Prefix=prefix, Delimiter="/")

    async def _list(self, part: str, field: str, start: str | None, **query: str) -> Page:
        token = {"ContinuationToken": start} if start else {}
        answer = await self._fs._call_s3("list_objects_v2", Bucket=self._bucket, MaxKeys=PAGE_SIZE, **query, **token)
        return Page([item[field] for item in answer.get(part, ())], answer.get("NextContinuationToken"))

    async def close(self) -> None:
        """Close the client."""
        await self._fs._s3.close()

    @staticmethod
    def outcome(error: Exception) -> Outcome:
        """By S3's own code, which s3fs keeps in the cause: it maps some codes, and not every server's alike."""
        for each in (error, error.__cause__):
            if isinstance(each, _SETTINGS_AT_FAULT):
                return Outcome.REFUSED
            if isinstance(each, ClientError):
                answer: dict[str, Any] = dict(each.response)
                code = answer.get("Error", {}).get("Code", "")
                status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
                return _OUTCOMES.get(code) or status_outcome(status)
        return Outcome.TAKEN if isinstance(error, FileExistsError) else Outcome.UNKNOWN


def _just_before(name: str) -> str:
    """A text that is smaller than `name`, with no key of ours in between."""
    return f"{name[:-1]}{chr(ord(name[-1]) - 1)}~"
