"""Options of a bucket that its URL does not say: requester pays, encryption, endpoint. Never credentials."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

from rojak_ray.checks import reading
from rojak_ray.errors import InvalidStorage

OPTIONS_VARIABLE = "ROJAK_STORAGE_OPTIONS"


@dataclass(frozen=True)
class S3Options:
    """Of an `s3://` bucket. What is not set is as the AWS tools find it."""

    endpoint_url: str | None = None
    """Another server than Amazon's; wins over AWS_ENDPOINT_URL."""

    region: str | None = None
    """Wins over AWS_DEFAULT_REGION."""

    addressing_style: str | None = None
    """`path` or `virtual`."""

    requester_pays: bool = False
    """Send `x-amz-request-payer: requester`: our account pays for the requests."""

    server_side_encryption: str | None = None
    """`AES256`, `aws:kms` or `aws:kms:dsse`, sent with each object, as some bucket policies demand."""

    sse_kms_key_id: str | None = None
    """Key id or ARN for `aws:kms`."""


@dataclass(frozen=True)
class GcsOptions:
    """Of a `gs://` bucket."""

    endpoint_url: str | None = None
    """Another server than Google's; wins over STORAGE_EMULATOR_HOST."""

    requester_pays: str | None = None
    """Project that pays for the requests."""

    kms_key_name: str | None = None
    """`projects/.../cryptoKeys/...`, sent with each object."""


@dataclass(frozen=True)
class AzureOptions:
    """Of an `az://` container."""

    endpoint_url: str | None = None
    """Of the account: `https://account.blob.core.windows.net` or an endpoint of your own."""

    encryption_scope: str | None = None
    """Sent with each object."""


StorageOptions = S3Options | GcsOptions | AzureOptions

_KINDS: dict[str, type[StorageOptions]] = {"s3": S3Options, "gs": GcsOptions, "az": AzureOptions}
_CHOICES = {
    "addressing_style": ("path", "virtual"),
    "server_side_encryption": ("AES256", "aws:kms", "aws:kms:dsse"),
}
_SECRET_PARTS = ("key", "secret", "token", "password", "credential", "sas", "connection_string")
_EXAMPLE = '{"requester_pays": true}'


def read_options(value: Mapping[str, Any] | str | None, environ: Mapping[str, str]) -> dict[str, Any]:
    """Options as a program gave them, else as `ROJAK_STORAGE_OPTIONS` has them (a JSON object); {} without either.

    Raises:
        InvalidStorage: They are no JSON object. Their values are not repeated.
    """
    where = "storage_options"
    if value is None:
        value, where = environ.get(OPTIONS_VARIABLE, "").strip() or {}, OPTIONS_VARIABLE
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise InvalidStorage(f"{where} is not JSON; write an object, such as {_EXAMPLE}.") from None
    if not isinstance(value, Mapping):
        raise InvalidStorage(f"{where} is not an object of names and values, such as {_EXAMPLE}.")
    with reading(where, InvalidStorage):
        return dict(value)


def options_for(scheme: str, given: Mapping[str, Any]) -> StorageOptions:
    """The options of a bucket at `scheme`.

    Raises:
        InvalidStorage: One is unknown, has a wrong value or would be a secret. The text names it, not its value.
    """
    kind = _KINDS[scheme]
    known = {field.name: field for field in fields(kind)}
    for name, value in given.items():
        if name not in known:
            _refuse_name(scheme, str(name), list(known))
        _check_value(name, value, flag=isinstance(known[name].default, bool))
    options = kind(**given)
    if isinstance(options, S3Options) and options.sse_kms_key_id and not _uses_kms(options):
        raise InvalidStorage('The storage option "sse_kms_key_id" needs "server_side_encryption": "aws:kms".')
    return options


def _uses_kms(options: S3Options) -> bool:
    return (options.server_side_encryption or "").startswith("aws:kms")


def _refuse_name(scheme: str, name: str, known: list[str]) -> None:
    if "kms" not in name.lower() and any(part in name.lower() for part in _SECRET_PARTS):
        raise InvalidStorage(
            f"The storage option {name[:60]!r} looks like a credential; options are shown and sent around, so they "
            "hold none. Credentials come from the environment, files or roles of the vendor's own tools "
            "(AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_CONNECTION_STRING ...)."
        )
    raise InvalidStorage(f"There is no storage option {name[:60]!r} for {scheme}://; there are {', '.join(known)}.")


def _check_value(name: str, value: object, *, flag: bool) -> None:
    if value is None or (flag and isinstance(value, bool)):
        return
    wanted = "true or false" if flag else f"one of {', '.join(_CHOICES[name])}" if name in _CHOICES else "a text"
    usable = not flag and isinstance(value, str) and bool(value) and value.isprintable()
    if not usable or value not in _CHOICES.get(name, (value,)):
        raise InvalidStorage(f"The storage option {name!r} cannot have this value; it is {wanted}.")
    if name == "endpoint_url":
        _check_endpoint(str(value))


def _check_endpoint(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable, parts = False, urlsplit("")
    if not usable or parts.query or parts.fragment or "@" in parts.netloc:
        # Not repeated here: it may hold a secret.
        raise InvalidStorage(
            "The storage option 'endpoint_url' must be http(s)://host:port/path, without user, password or query."
        )
