"""What the options of retrievers have in common: keys that wait in the environment, and never show themselves."""

from __future__ import annotations

from collections.abc import Mapping

from rojak_ray.errors import ConfigError


def key_of(given: str | None, variable: str, environ: Mapping[str, str]) -> str | None:
    """The key to use: the given one, else the environment's. Keys read from files often end in a line break.

    Raises:
        ConfigError: No HTTP header can carry it. Found out while sending, this would be an error that shows it.
    """
    key = (given or "").strip() or environ.get(variable, "").strip() or None
    if key is not None and not (key.isascii() and key.isprintable()):
        raise ConfigError(f"The API key ({variable}) has a character that no HTTP header can carry; copy it again.")
    return key


def without_userinfo(url: str) -> str:
    """A URL that can be shown."""
    scheme, mark, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{mark}***@{authority.rpartition('@')[2]}{slash}{path}" if "@" in authority else url
