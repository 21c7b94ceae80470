"""A server on loopback that speaks Qdrant's REST wire (and OpenAI's for embeddings), with Qdrant's own search behind.

async with QdrantServer(key="...") as server:
    await server.database.upsert(...)
    server.enqueue(Fault(503))          # what the next questions get instead of an answer
    ... url=server.url, base_url=server.embeddings_url ...
    server.requests[0].body
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web
from qdrant_client import AsyncQdrantClient
from qdrant_client.models import Filter
from support.embedding import word_vector


@dataclass
class Fault:
    """An error status in Qdrant's form, or any body at all."""

    status: int = 500
    message: str = "scripted error"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None


class HangUp:
    """The connection is closed without an answer."""


class Silence:
    """No answer, ever."""


@dataclass
class Request:
    """What the server was asked."""

    path: str
    headers: Mapping[str, str]
    body: Any


class QdrantServer:
    """The server; `database` is a local Qdrant to be filled by the test."""

    def __init__(self, key: str | None = None) -> None:
        self.requests: list[Request] = []
        self._key = key
        self._script: deque[Fault | HangUp | Silence] = deque()

    def enqueue(self, *faults: Fault | HangUp | Silence) -> None:
        """For the next questions, one each."""
        self._script.extend(faults)

    @property
    def questions(self) -> list[Any]:
        """Bodies of the searches so far."""
        return [request.body for request in self.requests if request.path.endswith("/points/query")]

    async def __aenter__(self) -> Self:
        self.database = AsyncQdrantClient(":memory:")
        app = web.Application()
        app.router.add_post("/v1/embeddings", self._embed)
        app.router.add_get("/collections/{name}/exists", self._exists)
        app.router.add_get("/collections/{name}", self._info)
        app.router.add_post("/collections/{name}/points/query", self._query)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self.embeddings_url = f"{self.url}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self.database.close()

    async def _embed(self, http: web.Request) -> web.StreamResponse:
        body = await self._take(http)
        refusal = await self._refusal(http, f"Bearer {self._key}", http.headers.get("Authorization"))
        if refusal is not None:
            return refusal
        vector = word_vector(body["input"], body.get("dimensions", 64))
        return web.json_response({"object": "list", "data": [{"index": 0, "embedding": vector}]})

    async def _exists(self, http: web.Request) -> web.StreamResponse:
        return _result({"exists": await self.database.collection_exists(http.match_info["name"])})

    async def _info(self, http: web.Request) -> web.StreamResponse:
        info = await self.database.get_collection(http.match_info["name"])
        return _result(info.model_dump(mode="json", exclude_none=True))

    async def _query(self, http: web.Request) -> web.StreamResponse:
        body = await self._take(http)
        refusal = await self._refusal(http, self._key, http.headers.get("api-key"))
        if refusal is not None:
            return refusal
        name = http.match_info["name"]
        if not await self.database.collection_exists(name):
            return _error(404, f"Not found: Collection `{name}` doesn't exist!")
        try:
            found = await self.database.query_points(
                name,
                query=body["query"]["nearest"] if isinstance(body["query"], dict) else body["query"],
                using=body.get("using"),
                query_filter=Filter.model_validate(body["filter"]) if "filter" in body else None,
                limit=body["limit"],
                score_threshold=body.get("score_threshold"),
            )
        except ValueError as error:
            return _error(400, f"Wrong input: {error}")
        return _result(found.model_dump(mode="json", exclude_none=True))

    async def _take(self, http: web.Request) -> Any:
        body = await http.json()
        self.requests.append(Request(http.path, http.headers, body))
        return body

    async def _refusal(self, http: web.Request, wanted: str | None, given: str | None) -> web.StreamResponse | None:
        fault = self._script.popleft() if self._script else None
        if isinstance(fault, Silence):
            await asyncio.Event().wait()
        if isinstance(fault, HangUp):
            assert http.transport is not None
            http.transport.close()
        if isinstance(fault, Fault):
            if fault.body is not None:
                return web.Response(text=fault.body, status=fault.status, content_type="application/json")
            return _error(fault.status, fault.message, fault.headers)
        if self._key is not None and wanted != given:
            return _error(401, f"Must provide an API key or an Authorization bearer token, not {given}")
        return None


def _result(result: Any) -> web.Response:
    return web.json_response({"result": result, "status": "ok", "time": 0.0})


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"status": {"error": message}, "time": 0.0}, status=status, headers=headers)
