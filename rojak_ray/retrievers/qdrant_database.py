"""Qdrant's client: opening a database, asking it, and what it raises turned into errors of ours."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import threading
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from rojak_ray.errors import ConfigError, MissingExtra, RetrieverRejected, RetrieverUnavailable
from rojak_ray.redaction import NO_SECRETS, Secrets
from rojak_ray.retrievers.embedders import Embedder, embed
from rojak_ray.retrievers.failures import said, status_failure, tidy
from rojak_ray.retrievers.qdrant_options import KEY_VARIABLE, MEMORY, Passage, QdrantRetrieverOptions


def import_qdrant(module: str = "qdrant_client") -> ModuleType:
    """Import Qdrant's client.

    Raises:
        MissingExtra: It is not installed (or something it needs is not); the text says what to install.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"The package 'qdrant-client' cannot be imported ({error}). Install it where retrievers are asked: "
            "pip install 'rojak-ray[qdrant]'"
        ) from None


class Folder:
    """A database in a folder. Qdrant lets one client of one process open it, so all retrievers share that."""

    def __init__(self, path: str) -> None:
        """Nothing is opened yet."""
        self._path = path
        self._lock = threading.Lock()
        self._users: set[object] = set()
        self._client: Any = None

    def open(self, user: object, *, create: bool) -> Any:
        """The client, until this user closes it. Opening reads the whole folder: call it in a thread.

        Raises:
            RetrieverRejected: There is no database, and none is to be created.
            RetrieverUnavailable: Another process has opened it.
        """
        qdrant = import_qdrant()
        with self._lock:
            if self._client is None:
                if not create and not (Path(self._path) / "meta.json").exists():
                    raise RetrieverRejected(
                        f"There is no Qdrant database in {self._path} on this machine. Fill one there "
                        "(AsyncQdrantClient(path=...), or documents=[...] in the options), or correct url."
                    )
                try:
                    self._client = qdrant.AsyncQdrantClient(path=self._path)
                except (RuntimeError, OSError, ValueError) as error:
                    raise RetrieverUnavailable(
                        f"The Qdrant database in {self._path} cannot be opened: {tidy(str(error))}. If another "
                        "program has it open, close it there, or run a Qdrant server and give its URL to both."
                    ) from None
            self._users.add(user)
            return self._client

    def close(self, user: object) -> None:
        """One user less; the last one frees the folder for other processes. It may wait for an `open`: use a thread."""
        with self._lock:
            self._users.discard(user)
            if self._client is not None and not self._users:
                asyncio.run(self._client.close())  # within the lock, so that nobody finds the folder half closed
                self._client = None


@functools.cache
def folder_at(path: str) -> Folder:
    """The one handle of this process: Qdrant's lock is the process's, whoever asks."""
    return Folder(path)


class LocalDatabase:
    """A database in this process, in a folder or in memory, opened and filled before the first question."""

    def __init__(self, options: QdrantRetrieverOptions) -> None:
        """Nothing is opened yet."""
        self._options = options
        self._folder = None if options.url == MEMORY else folder_at(options.url)
        self._opening = asyncio.Lock()
        self._client: Any = None
        self._filled = False

    async def client(self, embedder: Embedder) -> Any:
        """The client of a database that has the documents of the options.

        Crash safety:
            What was added stays in a folder; whoever comes next adds what is missing.
        """
        async with self._opening:
            if self._client is None:
                if self._folder is None:
                    self._client = import_qdrant().AsyncQdrantClient(MEMORY)
                else:
                    create = bool(self._options.documents)
                    self._client = await asyncio.to_thread(self._folder.open, self, create=create)
            if not self._filled:
                await _fill(self._client, self._options, embedder)
                self._filled = True
            return self._client

    async def aclose(self) -> None:
        """Free the folder; what is in memory alone is gone. The next question opens it again."""
        async with self._opening:
            client, self._client, self._filled = self._client, None, False
            if self._folder is not None:
                await asyncio.to_thread(self._folder.close, self)
            elif client is not None:
                await client.close()


async def _fill(client: Any, options: QdrantRetrieverOptions, embedder: Embedder) -> None:
    payloads = options.payloads()
    if not payloads:
        return
    models = import_qdrant().models
    name = options.collection_name
    if not await client.collection_exists(name):
        size = len(await embed(embedder, next(iter(payloads.values()))[options.payload_key]))
        params = models.VectorParams(size=size, distance=models.Distance.COSINE)
        if not await client.collection_exists(name):  # another retriever may have made it meanwhile
            await client.create_collection(
                name, vectors_config={options.vector_name: params} if options.vector_name else params
            )
    there = {str(point.id) for point in await client.retrieve(name, ids=list(payloads), with_payload=False)}
    for id, payload in payloads.items():
        if id not in there:
            vector = await embed(embedder, payload[options.payload_key])
            point = models.PointStruct(
                id=id, payload=payload, vector={options.vector_name: vector} if options.vector_name else vector
            )
            try:
                await client.upsert(name, points=[point])
            except ValueError as error:
                raise await _failure(client, options, len(vector), error, NO_SECRETS) from None


def server_client(options: QdrantRetrieverOptions) -> Any:
    """A client of a server; nothing is sent yet."""
    secrets = options.secrets(os.environ)
    try:
        return import_qdrant().AsyncQdrantClient(
            url=options.url,
            api_key=options.key(os.environ),
            timeout=options.timeout_s,
            check_compatibility=False,  # it would ask the server from a thread of its own, and only ever warns
        )
    except ValueError as error:
        raise ConfigError(f"url of a Qdrant retriever cannot be used: {tidy(str(error), secrets)}") from None


async def search(client: Any, options: QdrantRetrieverOptions, vector: list[float]) -> Sequence[Passage]:
    """The passages most like a vector, the best first.

    Raises:
        RetrieverUnavailable, TimeoutError: No answer, or a status that may pass.
        RetrieverRejected: What is asked does not fit the collection, or the server refused; the text has the remedy.
    """
    query_filter = _filter(options.filter)
    secrets = options.secrets(os.environ)
    exceptions: Any = import_qdrant("qdrant_client.http.exceptions")
    common: Any = import_qdrant("qdrant_client.common.client_exceptions")
    try:
        answer = await client.query_points(
            options.collection_name,
            query=vector,
            using=options.vector_name,
            query_filter=query_filter,
            limit=options.limit,
            score_threshold=options.score_threshold,
            with_payload=True,
        )
    except (exceptions.ApiException, common.QdrantException, ValueError, RuntimeError, AssertionError) as error:
        raise await _failure(client, options, len(vector), error, secrets) from None
    return _passages(answer.points, options)


def _filter(given: Any) -> Any:
    if given is None or not isinstance(given, dict):
        return given
    try:
        return import_qdrant().models.Filter.model_validate(given)
    except ValueError as error:
        raise ConfigError(f"filter of a Qdrant retriever is not one of Qdrant's: {tidy(str(error))}") from None


def _passages(points: Sequence[Any], options: QdrantRetrieverOptions) -> list[Passage]:
    key = options.payload_key
    found = [
        Passage(point.payload[key], point.score, point.id, point.payload)
        for point in points
        if isinstance((point.payload or {}).get(key), str)
    ]
    if points and not found:
        keys = ", ".join(sorted(points[0].payload or {})) or "nothing"
        raise RetrieverRejected(
            f"The points of collection {options.collection_name!r} have no text under {key!r}; their payload has: "
            f"{keys}. Name the right one with payload_key=."
        )
    return found


async def _failure(
    client: Any, options: QdrantRetrieverOptions, size: int, error: Exception, secrets: Secrets
) -> Exception:
    """What Qdrant's client raised, as an error of ours; `size` is the asked vector's."""
    source: Exception | None = getattr(error, "source", None)
    if source is not None:
        return _no_answer(options, source, secrets)
    if isinstance(error, AssertionError | json.JSONDecodeError):  # how the client takes a reply without a result
        return _no_answer(options, error, secrets)
    status: int | None = getattr(error, "status_code", None)
    if isinstance(error, ValueError) or status in (400, 404, 422):
        misfit = await _misfit(client, options, size)
        if misfit is not None:
            return RetrieverRejected(misfit)
    if status is not None:
        answer: Any = error
        words = said(answer.content.decode("utf-8", "replace"), secrets)
        remedy = f"Correct api_key, or {KEY_VARIABLE}." if status in (401, 403) else None
        after = answer.headers.get("retry-after")
        return status_failure(options.place, status, words, retry_after=after, remedy=remedy)
    words = tidy(str(error), secrets)
    after_s: float | None = getattr(error, "retry_after_s", None)
    if after_s is not None:
        return RetrieverUnavailable(f"{options.place} is busy: {words}", retry_after_s=float(after_s))
    return RetrieverRejected(f"{options.place} refused: {words}")


def _no_answer(options: QdrantRetrieverOptions, source: Exception, secrets: Secrets) -> Exception:
    http: Any = import_qdrant("httpx")
    words = tidy(str(source) or type(source).__name__, secrets)
    if isinstance(source, http.TimeoutException):
        return TimeoutError(f"{options.place} did not answer in time ({options.timeout_s:g} s).")
    if isinstance(source, http.HTTPError):
        return RetrieverUnavailable(f"{options.place} cannot be reached: {words}. Is url right, and does it run?")
    return RetrieverRejected(f"{options.place} gave an answer that is not Qdrant's: {words}")


async def _misfit(client: Any, options: QdrantRetrieverOptions, size: int) -> str | None:
    """What in the options does not fit the collection, found out by looking at it; None if that tells nothing."""
    name, wanted = options.collection_name, options.vector_name
    exceptions: Any = import_qdrant("qdrant_client.http.exceptions")
    try:
        if not await client.collection_exists(name):
            return f"{options.place} has no collection {name!r}. Create and fill it, or correct collection_name."
        vectors: Any = (await client.get_collection(name)).config.params.vectors
    except (exceptions.ApiException, ValueError):
        return None
    named: dict[str, Any] = vectors if isinstance(vectors, dict) else {"": vectors} if vectors else {}
    params = named.get(wanted or "")
    if params is None:
        names = ", ".join(repr(known) for known in named if known) or ("one without a name" if named else "none")
        asked = f"vector {wanted!r}" if wanted else "vector without a name"
        return f"Collection {name!r} has no {asked}, but {names}. Correct vector_name of the options."
    if params.size != size:
        return (
            f"The vectors of collection {name!r} have {params.size} numbers, the embedder's have {size}. Embed "
            "questions with the model that embedded the documents."
        )
    return None
