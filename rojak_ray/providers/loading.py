"""Loading a vendor's SDK, which takes seconds on a busy machine, in a thread and outside any call's time."""

from __future__ import annotations

import asyncio
import contextlib

from rojak_ray.providers.recipe import import_sdk


class Loader:
    """Has one SDK loaded before the first question. Whoever comes meanwhile waits, and nobody else does."""

    def __init__(self, package: str) -> None:
        """Nothing is loaded yet."""
        self._package = package
        self._is_loaded = False

    async def load(self) -> None:
        """Return when the SDK is loaded, or cannot be: that is said, with what to do, to who connects."""
        if not self._is_loaded:
            await asyncio.to_thread(load_sdk, self._package)
            self._is_loaded = True


def load_sdk(package: str) -> None:
    """Import what a client needs. Some of it the SDK imports only when its HTTP client is made. Raises nothing."""
    with contextlib.suppress(Exception):
        import_sdk("httpx2")
        import_sdk(package).DefaultAioHttpClient()
