"""The SDK clients that one event loop uses to reach one vendor: made on first use, closed together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from rojak_ray.errors import ConfigError, MissingKey
from rojak_ray.providers.options import EndpointOptions
from rojak_ray.providers.recipe import ClientRecipe, import_sdk, is_async, recipe_of, timeout_of

_CALLS_PER_POOL = 64
_KEEPALIVE_S = 60.0
_SECRETS = (
    "api_key",
    "admin_api_key",
    "auth_token",
    "access_token",
    "_azure_ad_token",
    "aws_access_key",
    "aws_secret_key",
    "aws_session_token",
)


@dataclass(frozen=True)
class Vendor:
    """The names by which a vendor's SDK goes."""

    name: str
    package: str
    client_class: str
    error_class: str
    path: str
    """Where questions are posted."""


@dataclass(eq=False)
class _Line:
    """A client with a connection pool of its own."""

    client: Any
    calls: int = 0
    idle_since: float = 0.0


class Connection:
    """One event loop's clients of one vendor.

    Any number of calls may wait at once. A pool of the HTTP library looks at each of its idle connections whenever a
    call ends, so thousands in one pool cost seconds; therefore each 64 calls at a time share a pool, the first pools
    are used first, and the later ones are closed when a burst is over. A client the user gave is used alone.
    """

    def __init__(self, vendor: Vendor, options: EndpointOptions) -> None:
        self.sdk: ModuleType = import_sdk(vendor.package)
        self.reply_class: Any = import_sdk("httpx2").Response
        self.http_error: type[Exception] = import_sdk("httpx2").HTTPError
        self._make: Callable[[], Any] | None = None
        given = options.client
        overrides = _overrides(options)
        if given is not None and not isinstance(given, ClientRecipe) and is_async(given):
            client = given.with_options(**overrides) if overrides else given
        else:
            self._make = _factory(self.sdk, vendor, _recipe(vendor, options), overrides)
            client = self._make()
        self._lines = [_Line(client)]
        self.secrets = tuple(value for name in _SECRETS if isinstance(value := getattr(client, name, None), str))
        """What must never be quoted."""

        self.has_own_timeout = given is not None and timeout_of(client) is not None
        """Whether the user's client brought a timeout, which then holds for its calls."""

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Any, None]:
        """A client for one call."""
        await self._close_idle()
        line = self._free_line()
        line.calls += 1
        try:
            yield line.client
        finally:
            line.calls -= 1
            line.idle_since = asyncio.get_running_loop().time()

    async def aclose(self) -> None:
        """Close what was opened here; a client the user gave stays open."""
        if self._make is not None:
            for line in self._lines:
                await line.client.close()

    def _free_line(self) -> _Line:
        if self._make is None:
            return self._lines[0]
        for line in self._lines:
            if line.calls < _CALLS_PER_POOL:
                return line
        self._lines.append(_Line(self._make()))
        return self._lines[-1]

    async def _close_idle(self) -> None:
        if len(self._lines) == 1:
            return
        patience = asyncio.get_running_loop().time() - _KEEPALIVE_S
        idle = [line for line in self._lines[1:] if not line.calls and line.idle_since < patience]
        self._lines = [line for line in self._lines if line not in idle]
        for line in idle:
            await line.client.close()


def _factory(sdk: ModuleType, vendor: Vendor, recipe: ClientRecipe, overrides: dict[str, str]) -> Callable[[], Any]:
    """How to make one more client of the SDK, with a pool of its own and the TLS settings of all."""
    http = import_sdk("httpx2")
    tls = http.create_ssl_context()
    limits = http.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=_KEEPALIVE_S)

    def make() -> Any:
        pool = sdk.DefaultAsyncHttpxClient(limits=limits, verify=tls)
        try:
            return recipe.build(**overrides, http_client=pool)
        except getattr(sdk, vendor.error_class) as error:
            raise MissingKey(f"No {vendor.name} client can be made: {error}") from None

    return make


def _recipe(vendor: Vendor, options: EndpointOptions) -> ClientRecipe:
    if options.client is None:
        if options.api_key is None:
            raise MissingKey(
                f"There is no API key for {vendor.name}: set {options.key_variable} in the environment, or pass "
                "api_key in the options of the activities."
            )
        return ClientRecipe(vendor.package, vendor.client_class, {})
    return options.client if isinstance(options.client, ClientRecipe) else recipe_of(options.client)


def _overrides(options: EndpointOptions) -> dict[str, str]:
    overrides = {"api_key": (options.api_key or "").strip(), "base_url": (options.base_url or "").strip()}
    if not (overrides["api_key"].isascii() and overrides["api_key"].isprintable()):
        # Found out while sending, this would be an error that carries the key.
        raise ConfigError("The API key has a character that no HTTP header can carry; copy it again.")
    return {name: value for name, value in overrides.items() if value}
