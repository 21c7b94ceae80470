"""`QdrantRetriever`: what an agent names, and the activities that look things up in a Qdrant collection."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from rojak_ray.agents.agent import Retriever
from rojak_ray.retrievers.base import RetrieverActivities
from rojak_ray.retrievers.embedders import Embedder, FastEmbedder, embed
from rojak_ray.retrievers.per_loop import PerLoop
from rojak_ray.retrievers.qdrant_database import LocalDatabase, search, server_client
from rojak_ray.retrievers.qdrant_options import Passage, QdrantRetrieverOptions


@dataclass
class QdrantRetriever(Retriever):
    """Looks things up with `QdrantRetrieverActivities`; several of them are told apart by their `type`."""

    type: str = "qdrant"


class QdrantRetrieverActivities(RetrieverActivities):
    """Asks one Qdrant collection. What it opens stays in its process: only the options travel."""

    type = "qdrant"

    def __init__(self, options: QdrantRetrieverOptions, *, type: str | None = None) -> None:
        """Keep the options, and the retriever type to answer for (None: "qdrant").

        Raises:
            TypeError: The options are another retriever's.
        """
        if not isinstance(options, QdrantRetrieverOptions):
            raise TypeError(f"{self.__class__.__name__} takes QdrantRetrieverOptions, not {options!r}.")
        super().__init__(options)
        if type is not None:
            # A class variable to the type checker; several collections differ by this instance attribute.
            vars(self)["type"] = type
        self.timeout_s = options.timeout_s
        self.exclusive = options.is_local
        self._embedder: Embedder = options.embedder or FastEmbedder()
        self._connect()

    def _connect(self) -> None:
        options: QdrantRetrieverOptions = self.options
        self._server: PerLoop[Any] = PerLoop(lambda: server_client(options))
        self._local = LocalDatabase(options) if options.is_local else None

    async def retrieve(self, text: str) -> list[Passage]:
        """The passages that are most like a text, the best first.

        Raises:
            RetrieverUnavailable, TimeoutError: The embedder or the database does not answer; it may later.
            RetrieverRejected: They cannot answer as they are asked; the text says what to correct.
            ConfigError: A package or key is missing, or an option makes no sense.
        """
        options: QdrantRetrieverOptions = self.options
        try:
            async with asyncio.timeout(self.timeout_s):
                client = await self._local.client(self._embedder) if self._local is not None else self._server.get()
                vector = await embed(self._embedder, text)
                return list(await search(client, options, vector))
        except TimeoutError as error:
            raise TimeoutError(
                str(error) or f"{options.place} did not answer in time ({self.timeout_s:g} s)."
            ) from None

    async def retrieve_and_combine_results(self, text: str) -> str:
        """The passages as one text, each as the template says. Raises what `retrieve` does."""
        return self.options.write(await self.retrieve(text))

    async def aclose(self) -> None:
        """Close the connections of this event loop, or the folder. The next question opens them again."""
        client = self._server.take()
        if client is not None:
            await client.close()
        if self._local is not None:
            await self._local.aclose()
        close = getattr(self._embedder, "aclose", None)
        if close is not None:
            await close()

    def __getstate__(self) -> dict[str, Any]:
        """See the class."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_server", "_local")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open here what the other process had opened there, when it is needed."""
        vars(self).update(state)
        self._connect()

    def __repr__(self) -> str:
        """Type and options, without secrets."""
        return f"{self.__class__.__name__}(type={self.type!r}, options={self.options!r})"
