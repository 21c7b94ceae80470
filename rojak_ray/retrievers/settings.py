"""What the options of retrievers have in common: keys that wait in the environment, and never show themselves."""

from __future__ import annotations

from collections.abc import Mapping

from rojak_ray.errors import ConfigError
from rojak_ray.redaction import LOG_GUARD, Secrets, all_of, of_environment_proxies, of_url


def key_of(given: str | None, variable: str, environ: Mapping[str, str]) -> str | None:
    """The key to use: the given one, else the environment's. Keys read from files often end in a line break.

    Raises:
        ConfigError: No HTTP header can carry it. Found out while sending, this would be an error that shows it.
    """
    key = (given or "").strip() or environ.get(variable, "").strip() or None
    if key is not None and not (key.isascii() and key.isprintable()):
        raise ConfigError(f"The API key ({variable}) has a character that no HTTP header can carry; copy it again.")
    return key


def secrets_of(key: str | None, url: str) -> Secrets:
    """What a request to `url` with this key shows of who we are, kept out of logs while the result is held."""
    secrets = Secrets(all_of((key,) if key else (), of_url(url), of_environment_proxies()))
    LOG_GUARD.protect(secrets)
    return secrets
