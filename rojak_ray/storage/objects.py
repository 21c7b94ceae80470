"""A store in a bucket: S3, Google Cloud Storage or Azure, each through its fsspec filesystem.

The vendors' own caches and retries are off or bounded; every error becomes one of ours at this edge.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from importlib import import_module
from typing import NoReturn, TypeVar, cast
from urllib.parse import urlsplit

from rojak_ray.clock import Clock, SystemClock
from rojak_ray.errors import MissingExtra, ObjectExists, ObjectNotFound, StoreRefused, StoreUnavailable
from rojak_ray.ids import IdSource, RandomIds, digest
from rojak_ray.retry import RetryPolicy, delay_before_retry
from rojak_ray.storage.drivers import Driver, Outcome, Page
from rojak_ray.storage.keys import check_data, check_key, check_limit, check_prefix, is_key

DRIVERS = {
    "s3": ("rojak_ray.storage.s3", "S3Driver", "s3"),
    "gs": ("rojak_ray.storage.gcs", "GcsDriver", "gcs"),
    "az": ("rojak_ray.storage.azure", "AzureDriver", "azure"),
}
"""URL scheme: module, class and extra. A module imports its vendor's packages, so it is loaded on first use."""

PATIENCE_S = 30.0

_BACKOFF = RetryPolicy(initial_interval_in_seconds=0.1, maximum_interval_in_seconds=3)
_SHOWN = 300

_T = TypeVar("_T")


class ObjectStore:
    """Objects below a prefix of a bucket, for example `s3://bucket/some/prefix`.

    A call is tried again while the vendor does not answer or asks to come back, until `patience_s` seconds have
    passed. Credentials come from the environment, in the way of the vendor's own tools. May be used from several event
    loops: each gets a client of its own.
    """

    def __init__(
        self, url: str, *, patience_s: float = PATIENCE_S, clock: Clock | None = None, ids: IdSource | None = None
    ) -> None:
        parts = urlsplit(url)
        self._scheme, self._bucket = parts.scheme, parts.netloc
        self._url = url.rstrip("/")
        folder = parts.path.strip("/")
        self._root = f"{folder}/" if folder else ""
        self._patience_s = patience_s
        self._clock = clock or SystemClock()
        self._ids = ids or RandomIds()
        self._type: type[Driver] | None = None
        self._drivers: dict[asyncio.AbstractEventLoop, asyncio.Future[Driver]] = {}

    @property
    def url(self) -> str:
        """The bucket and the prefix."""
        return self._url

    @property
    def shared(self) -> bool:
        """True: for everyone with credentials."""
        return True

    async def get(self, key: str) -> bytes:
        """Read a whole object."""
        name = self._root + check_key(key)
        return await self._try(lambda driver: driver.read(name), "read", key)

    async def put_new(self, key: str, data: bytes) -> None:
        """Create an object with a conditional write.

        Crash safety: the vendor makes the object visible at once and whole, in several zones, before it answers. An
        attempt whose reply was lost is repeated here and then finds its own object: that is `ObjectExists` as well.
        """
        name = self._root + check_key(key)
        check_data(key, data)
        await self._try(lambda driver: driver.create(name, data), "create", key)

    async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """Ask for the names page by page. Names that cannot be ours are left out."""
        folder = self._root + check_prefix(prefix)
        begin = max(self._root + after, folder) if after else folder
        keys: list[str] = []
        if check_limit(limit) == 0:
            return keys
        async for names in self._pages(prefix, lambda start: lambda driver: driver.page(folder, begin, start)):
            keys += filter(is_key, (name.removeprefix(self._root) for name in names if name > begin))
            if limit is not None and len(keys) >= limit:
                break
        return sorted(keys)[:limit]

    async def folders(self, prefix: str) -> list[str]:
        """Ask for the folders page by page. Names that cannot be ours are left out."""
        folder = self._root + check_prefix(prefix)
        found: list[str] = []
        async for names in self._pages(prefix, lambda start: lambda driver: driver.folders(folder, start)):
            found += (name.removeprefix(self._root) for name in names)
        return sorted(name for name in found if is_key(name.removesuffix("/")))

    async def delete(self, key: str) -> None:
        """Remove an object."""
        name = self._root + check_key(key)
        try:
            await self._try(lambda driver: driver.remove(name), "delete", key)
        except ObjectNotFound:
            return

    async def aclose(self) -> None:
        """Close this event loop's client. A later call opens a new one."""
        opening = self._drivers.pop(asyncio.get_running_loop(), None)
        if opening is not None:
            await asyncio.wait([opening])
            if not _failed(opening):
                await opening.result().close()

    async def _try(self, call: Callable[[Driver], Awaitable[_T]], verb: str, key: str) -> _T:
        """Make a call until it is answered or our patience ends."""
        driver_type = await self._driver_type()
        deadline = self._clock.monotonic() + self._patience_s
        failures = 0
        while True:
            try:
                async with asyncio.timeout(deadline - self._clock.monotonic()):
                    return await call(await self._driver(driver_type))
            except driver_type.failures as error:
                outcome = driver_type.outcome(error)
                failures += 1
                pause = self._pause(failures)
                if outcome is not Outcome.UNKNOWN or self._clock.monotonic() + pause >= deadline:
                    self._fail(error, outcome, verb, key, driver_type.credentials)
            await self._clock.sleep(pause)

    async def _pages(
        self, prefix: str, ask: Callable[[str | None], Callable[[Driver], Awaitable[Page]]]
    ) -> AsyncGenerator[list[str]]:
        """The names of one page after the other; a page may have none and not be the last."""
        start: str | None = None
        while True:
            page = await self._try(ask(start), "list", prefix)
            yield page.names
            if not page.next:
                return
            if page.next == start:
                raise StoreUnavailable(f"{self.url} does not get on with listing {prefix!r}.", key=prefix)
            start = page.next

    def _pause(self, failures: int) -> float:
        """Seconds before the next attempt, spread so that clients refused together do not return together."""
        spread = int(digest(self._ids.new_id())[:8], 16) / 0xFFFFFFFF
        return delay_before_retry(_BACKOFF, failures) * (0.5 + spread / 2)

    async def _driver_type(self) -> type[Driver]:
        if self._type is None:
            module, name, extra = DRIVERS[self._scheme]
            try:
                # In a thread, because the vendors' packages take a good part of a second to import.
                self._type = getattr(await asyncio.to_thread(import_module, module), name)
            except ImportError as error:
                words = f"{self.url} needs a package that is not installed: pip install 'rojak-ray[{extra}]'"
                raise MissingExtra(words) from error
        return cast("type[Driver]", self._type)

    async def _driver(self, driver_type: type[Driver]) -> Driver:
        """This loop's driver, opened once however many calls wait for it."""
        loop = asyncio.get_running_loop()
        opening = self._drivers.get(loop)
        if opening is None or _failed(opening):
            self._drivers = {each: task for each, task in self._drivers.items() if not each.is_closed()}
            opening = self._drivers[loop] = asyncio.ensure_future(driver_type.open(self._bucket))
        return await asyncio.shield(opening)

    def _fail(self, error: Exception, outcome: Outcome, verb: str, key: str, credentials: str) -> NoReturn:
        vendor = f"{type(error).__name__}: {error}"[:_SHOWN]
        match outcome:
            case Outcome.TAKEN:
                raise ObjectExists(f"{key} exists already in {self.url}.", key=key) from error
            case Outcome.MISSING:
                raise ObjectNotFound(f"{key} is not in {self.url}.", key=key) from error
            case Outcome.NO_BUCKET:
                words = f"There is no bucket {self._bucket!r} ({self.url}). Create it or correct the storage URL."
                raise StoreRefused(words, key=key) from error
            case Outcome.REFUSED:
                words = f"{self.url} refused to {verb} {key!r}. Check the access of these credentials: {credentials}."
                raise StoreRefused(f"{words} ({vendor})", key=key) from error
            case Outcome.UNKNOWN:
                words = f"{self.url} did not answer within {self._patience_s:g} s when asked to {verb} {key!r}."
                raise StoreUnavailable(f"{words} ({vendor})", key=key) from error


def _failed(opening: asyncio.Future[Driver]) -> bool:
    return opening.done() and (opening.cancelled() or opening.exception() is not None)
