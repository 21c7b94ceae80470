"""Azure Blob Storage, through adlfs."""

from __future__ import annotations

from typing import Any, ClassVar

from adlfs import AzureBlobFileSystem
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ResourceExistsError
from azure.storage.blob.aio import BlobPrefix

from rojak_ray.storage.drivers import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, Outcome, Page, status_outcome


class AzureDriver:
    """A container of Azure Blob Storage."""

    failures: ClassVar[tuple[type[Exception], ...]] = (OSError, AzureError, ValueError)
    credentials: ClassVar[str] = (
        "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY or a login"
    )

    def __init__(self, filesystem: Any, container: str) -> None:
        self._fs = filesystem
        self._container = container

    @classmethod
    async def open(cls, bucket: str) -> AzureDriver:
        """Connect on the running event loop."""
        filesystem: Any = AzureBlobFileSystem(
            asynchronous=False,  # all the same to the calls below; True makes adlfs fail noisily when Python ends
            skip_instance_cache=True,
            use_listings_cache=False,
            connection_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
        )
        # The object store retries, within its own deadline; Azure's first pause alone would be 15 seconds.
        filesystem.service_client._config.retry_policy.total_retries = 0
        return cls(filesystem, bucket)

    async def create(self, name: str, data: bytes) -> None:
        """Put Blob with `If-None-Match: *`."""
        await self._fs._pipe_file(f"{self._container}/{name}", data, mode="create")

    async def read(self, name: str) -> bytes:
        """The whole blob."""
        return await self._fs._cat_file(f"{self._container}/{name}", max_concurrency=1)

    async def remove(self, name: str) -> None:
        """Delete Blob."""
        await self._fs._rm_file(f"{self._container}/{name}")

    async def page(self, prefix: str, after: str, start: str | None) -> Page:
        """All of List Blobs: it can start only where a former answer ended, and need not be in byte order."""
        async with self._fs.service_client.get_container_client(self._container) as container:
            blobs = container.list_blobs(name_starts_with=prefix, include=["metadata"])
            return Page([blob.name async for blob in blobs if not _is_folder(blob.metadata)])

    async def folders(self, prefix: str, start: str | None) -> Page:
        """All of List Blobs with a delimiter."""
        async with self._fs.service_client.get_container_client(self._container) as container:
            found = container.walk_blobs(name_starts_with=prefix, delimiter="/")
            return Page([item.name async for item in found if isinstance(item, BlobPrefix)])

    async def close(self) -> None:
        """Close the client."""
        await self._fs.service_client.close()

    @staticmethod
    def outcome(error: Exception) -> Outcome:
        """By Azure's own code and status, also where adlfs made a Python error of them."""
        for each in (error, error.__cause__, error.__context__):
            if isinstance(each, ResourceExistsError):
                exists = getattr(each, "error_code", None) in (None, "BlobAlreadyExists")
                return Outcome.TAKEN if exists else Outcome.UNKNOWN
            if isinstance(each, ClientAuthenticationError):
                return Outcome.REFUSED
            if isinstance(each, HttpResponseError):
                if getattr(each, "error_code", None) == "ContainerNotFound":
                    return Outcome.NO_BUCKET
                return status_outcome(each.status_code or 0)
        match error:
            case FileExistsError():
                return Outcome.TAKEN
            case FileNotFoundError():
                return Outcome.MISSING
            case ValueError():
                return Outcome.REFUSED
            case _:
                return Outcome.UNKNOWN


def _is_folder(metadata: dict[str, str] | None) -> bool:
    """Accounts with a hierarchy list their folders as blobs."""
    return (metadata or {}).get("hdi_isfolder") == "true"
