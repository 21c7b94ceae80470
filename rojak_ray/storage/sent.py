"""What a bucket's client proves who we are with, so that it is never quoted: not in errors, not in logs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl

from rojak_ray.redaction import of_environment_proxies

_ENDINGS = ("KEY", "TOKEN", "SECRET", "PASSWORD")
_VENDORS = ("AWS_", "AZURE_", "GOOGLE_", "IDENTITY_", "MSI_")


def secrets_of_environment(environ: Mapping[str, str]) -> Iterator[str]:
    """The secrets that variables of the vendors' tools hold, and those of proxies."""
    yield from of_environment_proxies()
    for name, value in environ.items():
        if not name.startswith(_VENDORS):
            continue
        if name.endswith(_ENDINGS):
            yield value
        if name.endswith("SAS_TOKEN"):
            yield from secrets_of_signature(value)
        if name.endswith("CONNECTION_STRING"):
            yield value
            for part in value.split(";"):
                field, _, content = part.partition("=")
                if field.lower() in {"accountkey", "sharedaccesssignature"}:
                    yield content
                    yield from secrets_of_signature(content)


def secrets_of_signature(text: str) -> Iterator[str]:
    """The signature of a query that is a right by itself (a SAS of Azure's)."""
    yield from (value for name, value in parse_qsl(text.lstrip("?")) if name == "sig")
