"""A store in a bucket: S3, Google Cloud Storage or Azure, each through a driver of its own.

The vendors' own caches and retries are off or bounded; every error becomes one of ours at this edge.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from importlib import import_module
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from rojak_ray.clock import Clock, SystemClock
from rojak_ray.errors import MissingExtra, ObjectExists, ObjectNotFound, StorageError, StoreRefused, StoreUnavailable
from rojak_ray.ids import IdSource, RandomIds, digest
from rojak_ray.logs import get_logger
from rojak_ray.redaction import LOG_GUARD, Secrets
from rojak_ray.retry import RetryPolicy, delay_before_retry
from rojak_ray.storage.clients import Clients
from rojak_ray.storage.drivers import Driver, Expect, Outcome, Page, vendor_words
from rojak_ray.storage.keys import check_data, check_key, check_limit, check_prefix, is_key
from rojak_ray.storage.options import options_for
from rojak_ray.storage.presence import Presence
from rojak_ray.storage.sent import secrets_of_environment

logger = get_logger(__name__)

DRIVERS = {
    "s3": ("rojak_ray.storage.s3", "S3Driver", "s3"),
    "gs": ("rojak_ray.storage.gcs", "GcsDriver", "gcs"),
    "az": ("rojak_ray.storage.azure", "AzureDriver", "azure"),
}
"""URL scheme: module, class and extra. A module imports its vendor's packages, so it is loaded on first use."""

PATIENCE_S = 30.0
SLOWEST_BYTES_PER_S = 128 * 1024
"""A call may take so much longer than our patience as its object needs at this rate."""

_LARGE = 1 << 20
_TRIES_OF_A_LARGE = 2
"""A large object may use up our patience in its first try, and be cut short then; it has another one."""

_BACKOFF = RetryPolicy(initial_interval_in_seconds=0.1, maximum_interval_in_seconds=3)

_T = TypeVar("_T")


class VendorError(Exception):
    """Stands for an error of a vendor's package, without what that repeats of our secrets."""


class _Deadline:
    """When to give up a call: our patience, and what the size of its object allows."""

    def __init__(self, clock: Clock, patience_s: float, size: int) -> None:
        self._clock = clock
        self._patient_until = clock.monotonic() + patience_s
        self._size = size
        self._scope: asyncio.Timeout | None = None

    @property
    def _left_s(self) -> float:
        return self._patient_until + self._size / SLOWEST_BYTES_PER_S - self._clock.monotonic()

    def scope(self) -> asyncio.Timeout:
        """Bounds one try."""
        self._scope = asyncio.timeout(self._left_s)
        return self._scope

    def expect(self, size: int) -> None:
        """The object that is about to be read has this size."""
        if size > self._size:
            self._size = size
            if self._scope is not None:
                self._scope.reschedule(asyncio.get_running_loop().time() + self._left_s)

    def is_over(self, failures: int, pause: float) -> bool:
        """Whether no further try begins, `pause` seconds from now and after so many that failed."""
        at = self._clock.monotonic() + pause
        if self._size >= _LARGE and failures < _TRIES_OF_A_LARGE:
            return self._left_s <= pause
        return at >= self._patient_until


class ObjectStore:
    """Objects below a prefix of a bucket, for example `s3://bucket/some/prefix`.

    A call is tried again while the vendor does not answer or asks to come back, until `patience_s` seconds have
    passed, and as many more as its object needs on a slow line. Only an answer with the vendor's mark counts: what a
    proxy sends says nothing. Credentials come from the environment, in the way of the vendor's own tools, and are
    looked for again when they are refused. May be used from several event loops: each gets a client of its own.
    """

    def __init__(
        self,
        url: str,
        *,
        options: Mapping[str, Any] | None = None,
        patience_s: float = PATIENCE_S,
        clock: Clock | None = None,
        ids: IdSource | None = None,
    ) -> None:
        """Make a store; nothing is asked yet.

        Raises:
            InvalidStorage: An option is unknown, has a wrong value or would be a secret.
        """
        parts = urlsplit(url)
        self._scheme, self._bucket = parts.scheme, parts.netloc
        self._url = url.rstrip("/")
        folder = parts.path.strip("/")
        self._root = f"{folder}/" if folder else ""
        self._options = options_for(self._scheme, options or {})
        self._patience_s = patience_s
        self._clock = clock or SystemClock()
        self._ids = ids or RandomIds()
        self._type: type[Driver] | None = None
        self._clients = Clients(self._open, self._clock)
        self._presence = Presence(self._url, self._read, self._create, self._ids.new_id)
        self._surprises: set[type[Exception]] = set()
        self._secrets = Secrets(secrets_of_environment(os.environ))
        """What the environment held when the program began with this place; held, so that logs are kept free of it."""

        LOG_GUARD.protect(self._secrets)
        self._signing = Secrets()

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
        try:
            return await self._read(check_key(key))
        except ObjectNotFound:
            await self._confirm_if_known()
            raise

    async def put_new(self, key: str, data: bytes) -> None:
        """Create an object with a conditional write, in one request.

        Crash safety: the vendor makes the object visible at once and whole, in several zones, before it answers. An
        attempt whose reply was lost is repeated here and then finds its own object: that is `ObjectExists` as well.
        When this returns, what this process wrote before is still there too: the bucket was not emptied meanwhile.
        """
        check_key(key)
        check_data(key, data)
        written, confirmed = await asyncio.gather(
            self._create(key, data), self._presence.confirm(), return_exceptions=True
        )
        for failed in (confirmed, written):  # a bucket that was emptied says nothing else that is true
            if failed is not None:
                raise failed

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
        if not keys:
            await self._confirm_if_known()
        return sorted(keys)[:limit]

    async def folders(self, prefix: str) -> list[str]:
        """Ask for the folders page by page. Names that cannot be ours are left out."""
        folder = self._root + check_prefix(prefix)
        found: list[str] = []
        async for names in self._pages(prefix, lambda start: lambda driver: driver.folders(folder, start)):
            found += (name.removeprefix(self._root) for name in names)
        if not found:
            await self._confirm_if_known()
        return sorted(name for name in found if is_key(name.removesuffix("/")))

    async def delete(self, key: str) -> None:
        """Remove an object."""
        name = self._root + check_key(key)
        try:
            await self._try(lambda driver, _: driver.remove(name), "delete", key, may_be=Outcome.MISSING)
        except ObjectNotFound:
            return

    async def aclose(self) -> None:
        """Close this event loop's client. A later call opens a new one."""
        await self._clients.aclose()

    async def _read(self, relative: str) -> bytes:
        name = self._root + relative
        return await self._try(
            lambda driver, expect: driver.read(name, expect), "read", relative, may_be=Outcome.MISSING
        )

    async def _create(self, relative: str, data: bytes) -> None:
        name = self._root + relative
        await self._try(
            lambda driver, _: driver.create(name, data), "create", relative, may_be=Outcome.TAKEN, size=len(data)
        )

    async def _confirm_if_known(self) -> None:
        if self._presence.known:
            await self._presence.confirm()

    async def _try(
        self,
        call: Callable[[Driver, Expect], Awaitable[_T]],
        verb: str,
        key: str,
        *,
        may_be: Outcome | None = None,
        size: int = 0,
    ) -> _T:
        """Make a call until it is answered or our patience ends.

        `may_be` is the answer about the object that this call can have: a write is never told that nothing is there.
        """
        driver_type = await self._driver_type()
        deadline = _Deadline(self._clock, self._patience_s, size)
        failures = 0
        renewed = False
        LOG_GUARD.watch()
        while True:
            driver: Driver | None = None
            try:
                async with deadline.scope(), self._clients.use() as driver:
                    self._guard(driver)
                    return await call(driver, deadline.expect)
            except Exception as error:  # noqa: BLE001  (whatever a vendor's package raises, nothing is known then)
                outcome = self._outcome(driver_type, driver, error)
                if outcome in {Outcome.TAKEN, Outcome.MISSING} and outcome is not may_be:
                    outcome = Outcome.UNKNOWN
                failures += 1
                pause = self._pause(failures)
                if outcome is Outcome.NOT_ALLOWED and driver is not None and not renewed:
                    renewed = self._clients.renew(driver)
                    if renewed:
                        continue
                if outcome is not Outcome.UNKNOWN or deadline.is_over(failures, pause):
                    shown = self._shown(error, driver)
                    raise self._told(str(shown), outcome, verb, key, driver_type.credentials) from shown
            await self._clock.sleep(pause)

    def _outcome(self, driver_type: type[Driver], driver: Driver | None, error: Exception) -> Outcome:
        if isinstance(error, driver_type.failures):
            return driver_type.outcome(error)
        if type(error) not in self._surprises:
            self._surprises.add(type(error))
            shown = self._shown(error, driver)
            logger.error("%s: its package failed in a way it should not: %s", self._url, shown, exc_info=shown)
        return Outcome.UNKNOWN

    async def _pages(
        self, prefix: str, ask: Callable[[str | None], Callable[[Driver], Awaitable[Page]]]
    ) -> AsyncGenerator[list[str]]:
        """The names of one page after the other; a page may have none and not be the last."""
        start: str | None = None
        while True:
            page_at = ask(start)
            page = await self._try(lambda driver, _, page_at=page_at: page_at(driver), "list", prefix)
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

    async def _open(self) -> Driver:
        driver = await cast("Any", await self._driver_type()).open(self._bucket, self._options)
        LOG_GUARD.watch()
        return driver

    def _guard(self, driver: Driver) -> None:
        """Keep logs free of what the next request is signed with, also if it was found elsewhere or changed."""
        secrets = Secrets(driver.secrets())
        if self._signing != secrets:
            self._signing = secrets
            LOG_GUARD.protect(secrets)

    def _shown(self, error: Exception, driver: Driver | None) -> VendorError:
        """The error of a vendor's package as it may be shown: where it was raised, and what it says but our secrets."""
        secrets = self._secrets if driver is None else self._secrets | Secrets(driver.secrets())
        return VendorError(vendor_words(error, secrets)).with_traceback(error.__traceback__)

    def _told(self, vendor: str, outcome: Outcome, verb: str, key: str, credentials: str) -> StorageError:
        refused = f"{self.url} refused to {verb} {key!r}."
        match outcome:
            case Outcome.TAKEN:
                return ObjectExists(f"{key} exists already in {self.url}.", key=key)
            case Outcome.MISSING:
                return ObjectNotFound(f"{key} is not in {self.url}.", key=key)
            case Outcome.NO_BUCKET:
                words = f"There is no bucket {self._bucket!r} ({self.url}). Create it or correct the storage URL."
                return StoreRefused(words, key=key)
            case Outcome.NOT_ALLOWED:
                words = f"{refused} Check the access of these credentials: {credentials}."
                return StoreRefused(f"{words} ({vendor})", key=key)
            case Outcome.REFUSED:
                return StoreRefused(f"{refused} Trying again cannot help: {vendor}", key=key)
            case Outcome.UNKNOWN:
                words = f"{self.url} did not answer within {self._patience_s:g} s when asked to {verb} {key!r}."
                return StoreUnavailable(f"{words} ({vendor})", key=key)
