"""An SDK client as plain data: its class and settings, to make the same client in another process."""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from rojak_ray.errors import ConfigError, MissingExtra

SDK_PACKAGES = ("openai", "anthropic")

_SETTINGS = (
    "api_key",
    "admin_api_key",
    "auth_token",
    "organization",
    "project",
    "api_version",
    "azure_ad_token",
    "azure_ad_token_provider",
    "aws_region",
    "aws_profile",
    "aws_access_key",
    "aws_secret_key",
    "aws_session_token",
    "region",
    "location",
    "project_id",
    "access_token",
    "workspace_id",
    "skip_auth",
)
"""Constructor parameters that the SDKs keep in an attribute of the same name, or of that name after an underscore."""

_NOT_SHIPPABLE = ("_provider", "workload_identity")


@dataclass(frozen=True, repr=False)
class ClientRecipe:
    """How to make an asynchronous client of an SDK."""

    package: str
    class_name: str
    settings: dict[str, Any]
    unset: tuple[str, ...] = ()
    """Attributes that the client is not to take from the environment of the process it is made in."""

    def build(self, **overrides: Any) -> Any:
        """Make the client; `overrides` are constructor arguments that win over the settings."""
        client = getattr(import_sdk(self.package), self.class_name)(**{**self.settings, **overrides})
        for name in self.unset:
            if name not in overrides:
                setattr(client, name, None)
        return client

    def __repr__(self) -> str:
        """The class alone: the settings hold keys."""
        return f"{type(self).__name__}({self.package}.{self.class_name})"


def import_sdk(package: str) -> ModuleType:
    """Import a vendor's SDK.

    Raises:
        MissingExtra: It is not installed (or something it needs is not); the text says what to install.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingExtra(
            f"The package {package!r} cannot be imported ({error}). "
            f"Install it where models are called: pip install 'rojak-ray[{package}]'"
        ) from None


def is_async(client: Any) -> bool:
    """Whether the client's `post` is a coroutine function."""
    return inspect.iscoroutinefunction(client.post)


def recipe_of(client: Any) -> ClientRecipe:
    """Read the settings off a client, synchronous or not.

    Raises:
        ConfigError: The client is not one of the SDK's own classes, or signs in by means that cannot be copied.
    """
    kind = type(client)
    package = kind.__module__.partition(".")[0]
    class_name = kind.__name__ if kind.__name__.startswith("Async") else f"Async{kind.__name__}"
    made = getattr(sys.modules.get(package), class_name, None) if package in SDK_PACKAGES else None
    if made is None:
        raise ConfigError(
            f"A client of the class {kind.__module__}.{kind.__name__} cannot be sent to another process. Give api_key "
            "and base_url instead, or subclass the activities and make the client where it is used."
        )
    for name in _NOT_SHIPPABLE:
        if getattr(client, name, None) is not None:
            raise ConfigError(
                f"A client that signs in by {name.lstrip('_')} cannot be sent to another process. Give api_key and "
                "base_url instead."
            )
    return ClientRecipe(package, class_name, _settings_of(client, set(inspect.signature(made).parameters)))


def _settings_of(client: Any, parameters: set[str]) -> dict[str, Any]:
    settings = {name: _attribute(client, name) for name in _SETTINGS if name in parameters}
    settings["api_key"] = settings.get("api_key") or getattr(client, "_api_key_provider", None)
    if settings.get("azure_ad_token") or settings.get("azure_ad_token_provider"):
        settings.pop("api_key")  # Azure clients hold a placeholder there, and take one credential only
    settings["base_url"] = str(client.base_url)
    # The public `default_headers` also holds what the SDK adds by itself, the key among it.
    settings["default_headers"] = dict(getattr(client, "_custom_headers", None) or {})
    settings["default_query"] = dict(getattr(client, "_custom_query", None) or {})
    settings["timeout"] = timeout_of(client)
    return {name: value for name, value in settings.items() if value and name in parameters}


def timeout_of(client: Any) -> Any | None:
    """The timeout somebody chose for this client; None if it is the SDK's default."""
    default = getattr(sys.modules.get(type(client).__module__.partition(".")[0]), "DEFAULT_TIMEOUT", None)
    chosen = getattr(client, "timeout", None)
    return None if chosen == default else chosen


def _attribute(client: Any, name: str) -> Any:
    found = getattr(client, name, None)
    return found if found is not None else getattr(client, f"_{name}", None)
