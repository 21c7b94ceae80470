"""The SDK client by which one event loop reaches one vendor: made on first use."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from rojak_ray.errors import ConfigError, MissingKey
from rojak_ray.providers.asked import Asked
from rojak_ray.providers.options import EndpointOptions
from rojak_ray.providers.recipe import ClientRecipe, import_sdk, is_async, recipe_of, timeout_of
from rojak_ray.redaction import (
    LOG_GUARD,
    Secrets,
    all_of,
    of_environment_proxies,
    of_headers,
    of_login,
    of_query,
    of_request,
    of_url,
)

_MOST_CONNECTIONS = 100_000
_KEEPALIVE_S = 60.0


@dataclass(frozen=True)
class Vendor:
    """The names by which a vendor's SDK goes."""

    name: str
    package: str
    client_class: str
    error_class: str
    path: str
    """Where questions are posted."""


class Connection:
    """One event loop's client of one vendor. Any number of calls may wait at once."""

    def __init__(self, vendor: Vendor, options: EndpointOptions) -> None:
        self.sdk: ModuleType = import_sdk(vendor.package)
        self.reply_class: Any = import_sdk("httpx2").Response
        self.http_error: type[Exception] = import_sdk("httpx2").HTTPError
        self._never_met: tuple[type[Exception], ...] = (
            import_sdk("httpx2").ConnectError,
            import_sdk("httpx2").ConnectTimeout,
            import_sdk("httpx2").PoolTimeout,
        )
        self.url_error: type[Exception] = import_sdk("httpx2").InvalidURL
        given = options.client
        overrides = _overrides(options)
        self._is_ours = True
        if given is not None and not isinstance(given, ClientRecipe) and is_async(given):
            self._is_ours = False
            self.client: Any = given.with_options(**overrides) if overrides else given
        else:
            self.client = _make_client(self.sdk, vendor, _recipe(vendor, options), overrides)
        added = Asked.of(options.inference_config).request({}).secrets()
        self.secrets = secrets_of(self.client) | added | all_of((options.api_key or "",), of_url(options.base_url))
        """What must never be quoted: see `sent`."""

        LOG_GUARD.protect(self.secrets)

        self.has_own_timeout = given is not None and timeout_of(self.client) is not None
        """Whether the user's client brought a timeout, which then holds for its calls."""

    def sent(self, request: Any = None) -> Secrets:
        """What must never be quoted of a request: all that we have, and what was sent in fact.

        Keys that the SDK gets from a callable, and what a client's hooks add, can only be seen there.
        """
        return self.secrets | of_request(request) if request is not None else self.secrets

    def was_lost(self, error: Exception) -> bool:
        """Whether the server was reached and did not answer, with an error or anything else."""
        return isinstance(error, self.sdk.APIConnectionError) and not isinstance(error.__cause__, self._never_met)

    async def aclose(self) -> None:
        """Close what was opened here; a client the user gave stays open."""
        if self._is_ours:
            await self.client.close()


def _make_client(sdk: ModuleType, vendor: Vendor, recipe: ClientRecipe, overrides: dict[str, str]) -> Any:
    """A client of the SDK over aiohttp: a call costs half of what it does over the SDK's usual transport.

    What is more, that one looks at each of its idle connections whenever a call ends. But it knows what to do with a
    user name and password in a URL, which aiohttp refuses to combine with a key.
    """
    limits = import_sdk("httpx2").Limits(
        max_connections=_MOST_CONNECTIONS, max_keepalive_connections=None, keepalive_expiry=_KEEPALIVE_S
    )
    try:
        client = recipe.build(**overrides, http_client=sdk.DefaultAioHttpClient(limits=limits))
        if client.base_url.userinfo:
            return recipe.build(**overrides, http_client=sdk.DefaultAsyncHttpxClient(limits=limits))
    except getattr(sdk, vendor.error_class) as error:
        raise MissingKey(f"No {vendor.name} client can be made: {error}") from None
    except Exception as error:  # noqa: BLE001  (an address that cannot be read is quoted, with the password in it)
        raise ConfigError(
            f"No {vendor.name} client can be made ({type(error).__name__}). Is base_url an address, with user name and "
            "password percent-encoded, and are the addresses of proxies in the environment?"
        ) from None
    return client


def secrets_of(client: Any) -> Secrets:
    """What a client of an SDK has to show who we are: what it, or the HTTP client beneath it, adds to requests."""
    keys = (value for name, value in vars(client).items() if isinstance(value, str) and _is_key(name))
    http = getattr(client, "_client", None)
    found = Secrets(
        all_of(
            keys,
            of_headers(getattr(client, "default_headers", None)),
            of_headers(getattr(client, "_custom_headers", None)),
            of_query(getattr(client, "default_query", None)),
            of_url(getattr(client, "base_url", None)),
            of_headers(getattr(http, "headers", None)),
            of_query(getattr(http, "params", None)),
            of_url(getattr(http, "base_url", None)),
            (cookie.value or "" for cookie in getattr(getattr(http, "cookies", None), "jar", ())),
            of_headers({"authorization": getattr(getattr(http, "auth", None), "_auth_header", "")}),
            of_environment_proxies(),
        )
    )
    transports = [getattr(http, "_transport", None), *getattr(http, "_mounts", {}).values()]
    return functools.reduce(lambda known, transport: known | _of_proxy(transport), transports, found)


def _is_key(name: str) -> bool:
    """Whether an attribute of an SDK's client that has this name is a key."""
    return any(word in name for word in ("key", "token", "secret", "password"))


def _of_proxy(transport: Any) -> Iterator[str]:
    """The secrets of the proxy that a transport goes through, as httpx's and aiohttp's keep them."""
    proxy = getattr(transport, "proxy", None)
    user, password = getattr(proxy, "raw_auth", None) or (b"", b"")
    yield from of_login(user.decode("latin-1"), password.decode("latin-1"))
    yield from of_url(getattr(proxy, "url", proxy))
    yield from of_headers(getattr(proxy, "headers", None))
    pool = getattr(transport, "_pool", None)
    yield from of_headers(dict(getattr(pool, "_proxy_headers", None) or ()))


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
