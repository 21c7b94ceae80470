"""How a question becomes a vector: any callable, an OpenAI-compatible endpoint, or fastembed in this process."""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar, TypeAlias, cast

from rojak_ray.errors import MissingExtra, MissingKey, RetrieverRejected, RetrieverUnavailable
from rojak_ray.redaction import url_to_show
from rojak_ray.retrievers.failures import said, status_failure, tidy
from rojak_ray.retrievers.per_loop import PerLoop
from rojak_ray.retrievers.settings import key_of, secrets_of

Embedder: TypeAlias = "Callable[[str], Awaitable[Sequence[float]]] | Callable[[str], Sequence[float]]"
"""From a text to its vector. One that is not asynchronous runs in a thread; it may be shipped to other processes."""

_OPENAI_URL = "https://api.openai.com/v1"
_OPENAI_TIMEOUT_S = 10.0
_OUT_OF_QUOTA = "insufficient_quota"


async def embed(embedder: Embedder, text: str) -> list[float]:
    """The vector of a text.

    Raises:
        RetrieverRejected: The embedder returned something else.
    """
    call: Any = embedder
    if inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__):
        found = await call(text)
    else:
        found = await asyncio.to_thread(call, text)
        found = await found if inspect.isawaitable(found) else found
    return _vector(found)


def _vector(found: Any) -> list[float]:
    values: Any = found.tolist() if hasattr(found, "tolist") else found
    if isinstance(values, list | tuple) and len(cast("Any", values)) == 1 and isinstance(values[0], list | tuple):
        values = values[0]  # libraries that embed many texts at once return a table of one row for one
    if not isinstance(values, list | tuple) or not values:
        raise RetrieverRejected(f"The embedder returned {type(found).__name__}; it must return a list of numbers.")
    numbers = cast("Sequence[Any]", values)
    if not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
        raise RetrieverRejected("The embedder returned a list with something else than finite numbers in it.")
    return [float(number) for number in numbers]


@dataclass(repr=False, eq=False)
class OpenAIEmbedder:
    """Asks OpenAI's embeddings endpoint, or any server that offers the same one."""

    model: str = "text-embedding-3-small"
    api_key: str | None = None
    """Wins over OPENAI_API_KEY. A server of your own may need none."""

    base_url: str | None = None
    """With `/v1`; wins over OPENAI_BASE_URL."""

    dimensions: int | None = None
    """Shorter vectors, from models that can make them."""

    _sealed: ClassVar[bool] = False
    """Whether it came from another process: what that one's environment did not say stays unsaid."""

    def __post_init__(self) -> None:
        self._http: PerLoop[Any] = PerLoop(_http_client)

    async def __call__(self, text: str) -> list[float]:
        """Ask once.

        Raises:
            RetrieverUnavailable, TimeoutError: No answer, or a status that may pass.
            RetrieverRejected: Any other error status, or an answer that has no vector.
            MissingKey, MissingExtra: The endpoint cannot even be asked.
        """
        ready = self._completed()
        who = f"The embeddings endpoint at {url_to_show(ready.base_url or '')}"
        secrets = secrets_of(ready.api_key, ready.base_url or "")
        http = _import_http()
        body: dict[str, Any] = {"model": self.model, "input": text}
        if self.dimensions is not None:
            body["dimensions"] = self.dimensions
        headers = {"Authorization": f"Bearer {ready.api_key}"} if ready.api_key else {}
        try:
            reply = await self._http.get().post(f"{ready.base_url}/embeddings", json=body, headers=headers)
        except http.TimeoutException:
            raise TimeoutError(f"{who} did not answer in time ({_OPENAI_TIMEOUT_S:g} s).") from None
        except (http.HTTPError, http.InvalidURL) as error:
            words = tidy(str(error) or type(error).__name__, secrets)
            raise RetrieverUnavailable(
                f"{who} cannot be reached: {words}. Is base_url right, and does it run?"
            ) from None
        if reply.status_code != 200:
            words = said(reply.text, secrets)
            if _OUT_OF_QUOTA in reply.text:
                raise RetrieverRejected(f"{who} answered {reply.status_code}: {words} [{_OUT_OF_QUOTA}]")
            remedy = _REMEDIES.get(reply.status_code)
            after = reply.headers.get("retry-after")
            raise status_failure(who, reply.status_code, words, retry_after=after, remedy=remedy)
        try:
            return _vector(reply.json()["data"][0]["embedding"])
        except (ValueError, LookupError, TypeError):
            began = tidy(reply.text, secrets)[:100]
            raise RetrieverRejected(f"{who} gave an answer without a vector. It began: {began!r}") from None

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        client = self._http.take()
        if client is not None:
            await client.aclose()

    def _completed(self) -> OpenAIEmbedder:
        environ = {} if self._sealed else os.environ
        base_url = (self.base_url or environ.get("OPENAI_BASE_URL", "")).strip().rstrip("/")
        ready = replace(self, api_key=key_of(self.api_key, "OPENAI_API_KEY", environ), base_url=base_url or _OPENAI_URL)
        if ready.api_key is None and ready.base_url == _OPENAI_URL:
            raise MissingKey(
                "There is no API key for the embeddings: set OPENAI_API_KEY in the environment, or pass api_key to "
                "OpenAIEmbedder."
            )
        return ready

    def __getstate__(self) -> dict[str, Any]:
        """What travels: with the key and address of this process's environment, as the other one may have none.

        Where there is one of them, the other is not taken there: this program's key is not for the node's address, nor
        the node's key for this program's.
        """
        environ = {} if self._sealed else os.environ
        key, url = self.api_key or environ.get("OPENAI_API_KEY"), self.base_url or environ.get("OPENAI_BASE_URL")
        return {**self.__dict__, "api_key": key, "base_url": url, "_sealed": self._sealed or bool(key or url)}

    def __repr__(self) -> str:
        """The settings without the key."""
        url = url_to_show(self.base_url) if self.base_url else None
        key = "'***'" if self.api_key else None
        return f"OpenAIEmbedder({self.model!r}, api_key={key}, base_url={url!r}, dimensions={self.dimensions})"


_REMEDIES = {
    401: "Correct api_key of OpenAIEmbedder, or OPENAI_API_KEY.",
    403: "Correct api_key of OpenAIEmbedder, or OPENAI_API_KEY.",
    404: "Correct base_url (it usually ends in /v1) or model of OpenAIEmbedder.",
}


def _import_http() -> ModuleType:
    try:
        return import_module("httpx2")
    except ImportError as error:
        raise MissingExtra(
            f"The package 'httpx2' cannot be imported ({error}). Install it where retrievers are asked: "
            "pip install 'rojak-ray[qdrant]'"
        ) from None


def _http_client() -> Any:
    return _import_http().AsyncClient(timeout=_OPENAI_TIMEOUT_S)


@dataclass
class FastEmbedder:
    """Embeds in this process with the package fastembed, which fetches the model when it is first used."""

    model: str = "BAAI/bge-small-en-v1.5"

    async def __call__(self, text: str) -> list[float]:
        """Embed in a thread.

        Raises:
            MissingExtra: fastembed is not installed.
        """
        return await asyncio.to_thread(self._embed, text)

    def _embed(self, text: str) -> list[float]:
        return _vector(next(iter(self._loaded.query_embed(text))))

    @functools.cached_property
    def _loaded(self) -> Any:
        try:
            fastembed = import_module("fastembed")
        except ImportError as error:
            raise MissingExtra(
                f"Nothing turns questions into vectors: the package 'fastembed' cannot be imported ({error}). Install "
                "it where retrievers are asked (pip install fastembed), or pass another embedder."
            ) from None
        return fastembed.TextEmbedding(model_name=self.model)

    def __getstate__(self) -> dict[str, Any]:
        """The name travels, the model does not."""
        return {"model": self.model}
