"""A small S3 on the test's own event loop that a test can make misbehave.

async with S3Wire(monkeypatch) as s3:    # leads the AWS tools of this process to it
    s3.before = lambda asked: ...        # an answer instead of the true one, or None
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

import pytest
from aiohttp import web

from rojak_ray.storage.presence import MARK

BUCKET = "bucket-of-a-test"


@dataclass(frozen=True)
class Asked:
    """A request."""

    method: str
    bucket: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def kind(self) -> str:
        """`list` for the bucket, else `get`, `put` or `delete`."""
        return "list" if self.method == "GET" and not self.key else self.method.lower()

    @property
    def access_key(self) -> str:
        """Whose signature it has."""
        found = re.search(r"Credential=([^/]+)/", self.headers.get("authorization", ""))
        return found[1] if found else ""

    @property
    def of_an_object(self) -> bool:
        """Whether it is about an object of the store, not about its mark."""
        return not self.key.endswith(MARK)


class S3Wire:
    """Objects of one bucket."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[Asked] = []
        self.before: Callable[[Asked], Any] = lambda _: None
        self.on_body: Callable[[int], Any] | None = None
        """Awaited with each piece of a body that came, and its size."""
        self._monkeypatch = monkeypatch

    async def __aenter__(self) -> S3Wire:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{rest:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.endpoint = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            self._monkeypatch.delenv(name)
        for name, value in {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "first",
            "AWS_SECRET_ACCESS_KEY": "canary-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }.items():
            self._monkeypatch.setenv(name, value)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        pieces: list[bytes] = []
        async for piece in request.content.iter_any():
            pieces.append(piece)
            if self.on_body is not None:
                await self.on_body(len(piece))
        bucket, _, key = unquote(request.raw_path.partition("?")[0]).lstrip("/").partition("/")
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Asked(request.method, bucket, key, {**request.query}, headers, b"".join(pieces))
        self.asked.append(asked)
        answer = self.before(asked)
        if hasattr(answer, "__await__"):
            answer = await answer
        return answer if answer is not None else self._answer(asked)

    def _answer(self, asked: Asked) -> web.Response:
        if asked.bucket != BUCKET:
            return error(404, "NoSuchBucket")
        match asked.kind:
            case "list":
                return self._list(asked.query)
            case "put":
                if asked.headers.get("if-none-match") == "*" and asked.key in self.objects:
                    return error(412, "PreconditionFailed")
                self.objects[asked.key] = asked.body
                return web.Response(headers={"ETag": '"e"'})
            case "get":
                if asked.key not in self.objects:
                    return error(404, "NoSuchKey")
                return web.Response(body=self.objects[asked.key], headers={"ETag": '"e"'})
            case "delete":
                self.objects.pop(asked.key, None)
                return web.Response(status=204)
            case _:
                return error(501, "NotImplemented")

    def _list(self, query: dict[str, str]) -> web.Response:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        begin, most = query.get("continuation-token") or query.get("start-after", ""), int(query["max-keys"])
        entries: dict[str, str] = {}
        for key in sorted(self.objects):
            if key.startswith(prefix):
                head, found, _ = key.removeprefix(prefix).partition(delimiter) if delimiter else ("", "", "")
                name = f"{prefix}{head}{found}" if found else key
                kind = "CommonPrefixes><Prefix" if found else "Contents><Key"
                if name > begin:
                    entries[name] = f"<{kind}>{escape(name)}</{kind.split('<')[1]}></{kind.split('>')[0]}>"
        names = sorted(entries)
        page, more = names[:most], len(names) > most
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        return listing("".join(entries[name] for name in page) + token, truncated=more)


def error(status: int, code: str) -> web.Response:
    """An error as S3 sends it."""
    text = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>said the test</Message></Error>'
    return web.Response(status=status, text=text, content_type="application/xml")


def listing(content: str, *, truncated: bool) -> web.Response:
    """A page of a listing as S3 sends it."""
    flag = f"<IsTruncated>{str(truncated).lower()}</IsTruncated>"
    text = f'<?xml version="1.0"?><ListBucketResult>{flag}{content}</ListBucketResult>'
    return web.Response(text=text, content_type="application/xml")
