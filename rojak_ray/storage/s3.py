"""Amazon S3 and what speaks its protocol, through Amazon's own client (aiobotocore).

Not through s3fs, which drops the answers' headers and maps errors to Python's: what was said, and whether the vendor
said it, could not be told any more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, ClassVar, cast

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from aiohttp import ClientError as ConnectionFailed
from aiohttp import ClientSession
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
)
from botocore.handlers import add_expect_header
from botocore.parsers import ResponseParserError

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
    is_page,
    silence_bounded_socket,
    status_outcome,
)
from rojak_ray.storage.options import S3Options

_OUTCOMES = {
    "PreconditionFailed": Outcome.TAKEN,
    "NoSuchKey": Outcome.MISSING,
    "NoSuchBucket": Outcome.NO_BUCKET,
    "ConditionalRequestConflict": Outcome.UNKNOWN,
    "OperationAborted": Outcome.UNKNOWN,
    "RequestTimeout": Outcome.UNKNOWN,  # sent with status 400
    "SlowDown": Outcome.UNKNOWN,
    "ExpiredToken": Outcome.NOT_ALLOWED,  # these with status 400 too
    "ExpiredTokenException": Outcome.NOT_ALLOWED,
    "InvalidToken": Outcome.NOT_ALLOWED,
    "TokenRefreshRequired": Outcome.NOT_ALLOWED,
}
_NO_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    CredentialRetrievalError,
    TokenRetrievalError,
)
_MARKS = ("x-amz-request-id", "x-amz-id-2")


class S3Driver:
    """A bucket of S3. `AWS_ENDPOINT_URL` leads to another server, and so does the option `endpoint_url`."""

    failures: ClassVar[tuple[type[Exception], ...]] = (
        OSError,
        BotoCoreError,
        ClientError,
        ConnectionFailed,
        ResponseParserError,
        NotTheVendor,
    )
    credentials: ClassVar[str] = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or an AWS profile or role"

    def __init__(self, client: Any, bucket: str, options: S3Options) -> None:
        self._client = client
        self._bucket = bucket
        self._payer = {"RequestPayer": "requester"} if options.requester_pays else {}
        self._encryption = {
            name: value
            for name, value in (
                ("ServerSideEncryption", options.server_side_encryption),
                ("SSEKMSKeyId", options.sse_kms_key_id),
            )
            if value
        }

    @classmethod
    async def open(cls, bucket: str, options: S3Options) -> S3Driver:
        """Connect on the running event loop. Does not ask the bucket anything."""
        config = AioConfig(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            max_pool_connections=CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": 1},  # the object store retries, within its own deadline
            s3={"addressing_style": options.addressing_style} if options.addressing_style else None,
            connector_args={"socket_factory": silence_bounded_socket},
            warm_up_loader_caches=True,  # in threads: it stands still for a third of a second otherwise
        )
        settings = {"region_name": options.region, "endpoint_url": options.endpoint_url, "config": config}
        client: Any = await AioSession().create_client("s3", **settings).__aenter__()
        # To ask whether a body is wanted costs each write a trip more, and behind some proxies the whole patience.
        client.meta.events.unregister("before-call.s3", add_expect_header)
        driver = cls(client, bucket, options)
        http = client._endpoint.http_session
        close_with(driver, lambda: cast("dict[str, ClientSession]", getattr(http, "_sessions", None) or {}).values())
        return driver

    async def create(self, name: str, data: bytes) -> None:
        """PUT with `If-None-Match: *`, in one request: unfinished parts of an upload would stay in the bucket."""
        about = {"Key": name, "Body": data, "IfNoneMatch": "*"}
        answer = await self._ask(self._client.put_object, **about, **self._encryption, **self._payer)
        _expect_mark(answer, "ETag" in answer)

    async def read(self, name: str, expect: Expect) -> bytes:
        """One GET."""
        answer = await self._ask(self._client.get_object, Key=name, **self._payer)
        async with answer["Body"] as body:
            _expect_mark(answer, "ETag" in answer)
            expect(answer.get("ContentLength") or 0)
            return await body.read()

    async def remove(self, name: str) -> None:
        """DELETE, which S3 answers alike whether or not the object was there."""
        answer = await self._ask(self._client.delete_object, Key=name, **self._payer)
        _expect_mark(answer, answer["ResponseMetadata"]["HTTPStatusCode"] == 204)

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
        answer = await self._ask(self._client.list_objects_v2, MaxKeys=PAGE_SIZE, **query, **token, **self._payer)
        following = answer.get("NextContinuationToken")
        whole = "IsTruncated" in answer and bool(following) >= bool(answer["IsTruncated"])
        if not whole or answer.get("Prefix", query["Prefix"]) not in {query["Prefix"], ""}:
            raise NotTheVendor(_status(answer), "it is no ListBucketResult")
        _expect_mark(answer, marked=True)
        return Page([item[field] for item in answer.get(part, ())], following)

    async def _ask(self, method: Callable[..., Awaitable[dict[str, Any]]], **about: Any) -> dict[str, Any]:
        try:
            return await method(Bucket=self._bucket, **about)
        except ClientError as error:
            answer = _answer(error)
            code = _code(answer)
            if not code or code.isdigit():  # made from the status: the body was no error of S3's
                raise NotTheVendor(_status(answer), "it has no error code of S3's") from error
            raise

    def secrets(self) -> Iterator[str]:
        """The secret key and the token of the moment."""
        credentials = getattr(getattr(self._client, "_request_signer", None), "_credentials", None)
        for name in ("_secret_key", "secret_key", "_token", "token"):  # those that expire keep both behind properties
            value = getattr(credentials, "__dict__", {}).get(name)
            if isinstance(value, str):
                yield value

    async def close(self) -> None:
        """Close the client."""
        await self._client.close()

    @staticmethod
    def outcome(error: Exception) -> Outcome:
        """By S3's own code, else by the status."""
        match error:
            case NotTheVendor():
                return foreign_outcome(error.status)
            case ClientError():
                answer = _answer(error)
                return _OUTCOMES.get(_code(answer)) or status_outcome(_status(answer))
            case ParamValidationError():
                return Outcome.REFUSED
            case _ if isinstance(error, _NO_CREDENTIALS):
                return Outcome.NOT_ALLOWED
            case _:
                return Outcome.UNKNOWN


def _answer(error: ClientError) -> Mapping[str, Any]:
    return dict(error.response)


def _code(answer: Mapping[str, Any]) -> str:
    return str(answer.get("Error", {}).get("Code") or "")


def _status(answer: Mapping[str, Any]) -> int:
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)


def _expect_mark(answer: Mapping[str, Any], marked: bool) -> None:
    """Raise unless the answer is S3's: a proxy, a login page or a page of maintenance also answers with 200."""
    headers = answer["ResponseMetadata"].get("HTTPHeaders", {})
    if any(mark in headers for mark in _MARKS):
        return
    status = _status(answer)
    has_body = status != 204 and headers.get("content-length") != "0"
    if not marked or (has_body and is_page(headers.get("content-type", ""))):
        raise NotTheVendor(status, "it has no mark of S3's (x-amz-request-id, ETag)")


def _just_before(name: str) -> str:
    """A text that is smaller than `name`, with no key of ours in between."""
    return f"{name[:-1]}{chr(ord(name[-1]) - 1)}~"
