"""The SDK client by which one event loop reaches one vendor: made on first use."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from rojak_ray.errors import ConfigError, MissingKey
from rojak_ray.providers.options import EndpointOptions
from rojak_ray.providers.recipe import ClientRecipe, import_sdk, is_async, recipe_of, timeout_of

_MOST_CONNECTIONS = 100_000
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


class Connection:
    """One event loop's client of one vendor. Any number of calls may wait at once."""

    def __init__(self, vendor: Vendor, options: EndpointOptions) -> None:
        self.sdk: ModuleType = import_sdk(vendor.package)
        self.reply_class: Any = import_sdk("httpx2").Response
        self.http_error: type[Exception] = import_sdk("httpx2").HTTPError
        given = options.client
        overrides = _overrides(options)
        self._is_ours = True
        if given is not None and not isinstance(given, ClientRecipe) and is_async(given):
            self._is_ours = False
            self.client: Any = given.with_options(**overrides) if overrides else given
        else:
            self.client = _make_client(self.sdk, vendor, _recipe(vendor, options), overrides)
        self.secrets = tuple(value for name in _SECRETS if isinstance(value := getattr(self.client, name, None), str))
        """What must never be quoted."""

        self.has_own_timeout = given is not None and timeout_of(self.client) is not None
        """Whether the user's client brought a timeout, which then holds for its calls."""

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
    except getattr(sdk, vendor.error_class) as error:
        raise MissingKey(f"No {vendor.name} client can be made: {error}") from None
    if client.base_url.userinfo:
        return recipe.build(**overrides, http_client=sdk.DefaultAsyncHttpxClient(limits=limits))
    return client


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
