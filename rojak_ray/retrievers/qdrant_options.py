"""What a Qdrant retriever is told: where the database is, what to look for, and how to write down what was found."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any, ClassVar, cast

from rojak_ray.errors import ConfigError
from rojak_ray.redaction import NO_SECRETS, Secrets, url_to_show
from rojak_ray.retrievers.embedders import Embedder
from rojak_ray.retrievers.settings import key_of, secrets_of

MEMORY = ":memory:"
KEY_VARIABLE = "QDRANT_API_KEY"


@dataclass(frozen=True)
class Passage:
    """A point of a collection that belongs to a question."""

    text: str
    score: float
    id: int | str
    payload: Mapping[str, Any]


@dataclass(repr=False)
class QdrantRetrieverOptions:
    """Where to look and for what."""

    url: str
    """A server (`http://` or `https://`; Qdrant's port 6333 unless it names one), a folder of this machine, or
    `:memory:`. Only one process may open a folder; see `RetrieverActivities.exclusive`."""

    collection_name: str

    api_key: str | None = None
    """The server's; wins over QDRANT_API_KEY."""

    embedder: Embedder | None = None
    """Makes vectors of questions, with the model that made those of the collection. None: fastembed, if installed."""

    limit: int = 10
    """Passages at most."""

    score_threshold: float | None = None
    """Leave out what is less like the question than this."""

    filter: Any | None = None
    """One of Qdrant's, or the same as JSON data: `{"must": [{"key": "lang", "match": {"value": "en"}}]}`."""

    vector_name: str | None = None
    """Which vector of the points to compare; None where they have one without a name."""

    payload_key: str = "document"
    """Where in a point's payload the text is."""

    template: str = "{text}"
    """How a passage is written, as for `str.format`: `text`, `score`, `id` and the keys of its payload."""

    documents: Sequence[str | Mapping[str, Any]] = ()
    """For a folder or `:memory:`: texts, or payloads with one, that are added before the first question if missing."""

    timeout_s: float = 10.0
    """Seconds a retrieval may take."""

    _sealed: ClassVar[bool] = False
    """Whether they came from another process, whose environment had no other key for this address."""

    def __post_init__(self) -> None:
        """Find out what cannot work, where the program is written.

        Raises:
            ConfigError: The text says what to correct.
        """
        self.url = _checked_url(self.url)
        for name in ("collection_name", "payload_key"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise ConfigError(f"{name} of a Qdrant retriever must be a text that is not empty.")
        if not isinstance(self.limit, int) or self.limit < 1:
            raise ConfigError(f"limit of a Qdrant retriever must be a whole number from 1, not {self.limit!r}.")
        if not isinstance(self.timeout_s, int | float) or not self.timeout_s > 0:
            raise ConfigError(f"timeout_s of a Qdrant retriever must be more than 0, not {self.timeout_s!r}.")
        if self.embedder is not None and not callable(self.embedder):
            raise ConfigError(f"embedder of a Qdrant retriever must be callable, not {self.embedder!r:.60}.")
        _check_template(self.template)
        if self.documents and not self.is_local:
            raise ConfigError(
                "documents are for a folder or :memory:. Fill a server's collection with a program of your own "
                "(AsyncQdrantClient.upsert): it would be filled by every process that asks."
            )
        self.payloads()

    @property
    def is_local(self) -> bool:
        """Whether the database is opened by this library, instead of asked for."""
        return not self.url.startswith(("http://", "https://"))

    @property
    def place(self) -> str:
        """The database, for people."""
        if self.url == MEMORY:
            return "The Qdrant database in memory"
        return f"The Qdrant database in {self.url}" if self.is_local else f"Qdrant at {url_to_show(self.url)}"

    def key(self, environ: Mapping[str, str]) -> str | None:
        """The key to sign in with."""
        return None if self.is_local else key_of(self.api_key, KEY_VARIABLE, {} if self._sealed else environ)

    def secrets(self, environ: Mapping[str, str]) -> Secrets:
        """What must not be quoted; logs are kept free of it while the result is held."""
        return NO_SECRETS if self.is_local else secrets_of(self.key(environ), self.url)

    def payloads(self) -> dict[str, dict[str, Any]]:
        """The documents by the id of their point, which follows from their content: adding them again changes nothing.

        Raises:
            ConfigError: One has no text, or is not JSON data.
        """
        found: dict[str, dict[str, Any]] = {}
        for document in self.documents:
            payload = {self.payload_key: document} if isinstance(document, str) else dict(cast("Any", document))
            if not isinstance(payload.get(self.payload_key), str):
                raise ConfigError(f"A document of a Qdrant retriever has no text under {self.payload_key!r}.")
            try:
                content = json.dumps(payload, sort_keys=True)
            except (TypeError, ValueError) as error:
                raise ConfigError(f"A document of a Qdrant retriever is not plain JSON data: {error}") from None
            found[str(uuid.uuid5(uuid.NAMESPACE_URL, content))] = payload
        return found

    def write(self, passages: Sequence[Passage]) -> str:
        """The passages as one text, a line or paragraph each."""
        return "\n".join(
            self.template.format_map(_Fields({**one.payload, "text": one.text, "score": one.score, "id": one.id}))
            for one in passages
        )

    def __getstate__(self) -> dict[str, Any]:
        """What travels: with the key of this process's environment, as the other one may have none.

        Nor is that one's for this address.
        """
        return {**self.__dict__, "api_key": self.key(os.environ), "_sealed": True}

    def __repr__(self) -> str:
        """The options without the key."""
        shown = {
            "url": url_to_show(self.url),
            "collection_name": self.collection_name,
            "api_key": "***" if self.api_key else None,
            "embedder": self.embedder,
            "documents": len(self.documents),
        }
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class _Fields(dict[str, Any]):
    """A payload need not have every key that a template names."""

    def __missing__(self, key: str) -> str:
        return ""


def _checked_url(url: Any) -> str:
    if not isinstance(url, str) or not url.strip():
        raise ConfigError("url of a Qdrant retriever must be http://host:6333, a folder, or :memory:.")
    url = url.strip()
    if url == MEMORY or url.startswith(("http://", "https://")):
        return url.rstrip("/")
    if re.fullmatch(r"[\w.-]+:\d+/?", url):
        raise ConfigError(f"url={url!r} of a Qdrant retriever has no scheme: write http://{url} or https://{url}.")
    if "://" in url and not url.startswith("file://"):
        raise ConfigError(f"url={url_to_show(url)!r} of a Qdrant retriever must begin with http:// or https://.")
    # Absolute now: the process that opens it works in another folder.
    return os.path.abspath(os.path.expanduser(url.removeprefix("file://")))


def _check_template(template: Any) -> None:
    try:
        list(Formatter().parse(template))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"template={template!r} of a Qdrant retriever is no format: {error}") from None
