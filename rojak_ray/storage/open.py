"""From what a person writes to a store."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rojak_ray.errors import InvalidStorage
from rojak_ray.storage.base import Store
from rojak_ray.storage.keys import MAX_PREFIX_LENGTH, is_bucket_prefix
from rojak_ray.storage.local import LocalStore
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.storage.objects import ObjectStore
from rojak_ray.storage.options import OPTIONS_VARIABLE, options_for, read_options

STORAGE_VARIABLE = "ROJAK_STORAGE"

_KNOWN = "a directory, file:///path, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or memory://"
_BUCKET_SCHEMES = {"s3": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az"}
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,221}")
_CHAINED = re.compile(r"[a-z0-9+.-]+::")
_URL = re.compile(r"([a-z0-9+.-]+)://", re.IGNORECASE)
_LIKE_A_URL = re.compile(r"([a-z][a-z0-9+.-]*):(.*)", re.IGNORECASE)
_UNEXPANDED = re.compile(r"(?:^|/)\$\w|\$\{|\$\(|(?:^|/)%\w+%|\{\{")
_LOST_SLASH = re.compile(r"(?:^|/)(?:s3|gs|gcs|az|abfs|file|memory|https?):(?:/|$)", re.IGNORECASE)
_USER_AND_PASSWORD = re.compile(r"[^/]+:.*@")
_CONNECTION_STRING = re.compile(r"(?i)(?:^|;)\s*(?:AccountKey|SharedAccessSignature|DefaultEndpointsProtocol)=")
_PERHAPS_SECRET = frozenset("@?#=;&")
_SHOWN = 80


def open_store(storage: str | os.PathLike[str], storage_options: Mapping[str, Any] | str | None = None) -> Store:
    """The store at a URL or path. Touches neither disk nor network yet, apart from looking whether a path is a file.

    Args:
        storage: As `Rojak(storage=...)` takes it.
        storage_options: Options of a bucket (`rojak_ray.storage.options`); None takes ROJAK_STORAGE_OPTIONS.

    Raises:
        InvalidStorage: The text says what is wrong and what is possible.
    """
    place = resolve_storage(storage, os.environ)
    options = resolve_options(place, storage_options, os.environ)
    if place.startswith("memory:"):
        return MemoryStore()
    if place.startswith("file:"):
        return LocalStore(_file_path(place))
    return ObjectStore(place, options=options)


def resolve_storage(value: str | os.PathLike[str] | None, environ: Mapping[str, str], home: Path | None = None) -> str:
    """The URL of the storage to use: `value`, else `ROJAK_STORAGE`, else `.rojak/storage` in the home directory.

    The same place always gives the same string, whatever the current directory is and however it was written.

    Args:
        value: URL, path or `Path`; None for what the environment says.
        environ: The environment.
        home: The home directory; None finds it where one is needed.

    Raises:
        InvalidStorage: The text says what is wrong and what is possible.
    """
    if value is None:
        value = environ.get(STORAGE_VARIABLE) or os.path.join("~", ".rojak", "storage")
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        raise InvalidStorage(f"The storage must be a text or a Path, not {type(value).__name__}. Use {_KNOWN}.")
    if not value.strip() or not value.isprintable():
        raise InvalidStorage(f"The storage is empty or has characters that cannot be shown. Use {_KNOWN}.")
    if _CHAINED.match(value):
        raise InvalidStorage(f"Storage cannot go through another file system ('::'). Use {_KNOWN}.")
    match = _URL.match(value)
    if match is None:
        return _canonical_directory(_plain_path(value), home)
    scheme = match[1].lower()
    if scheme == "memory":
        return "memory://"
    if scheme == "file":
        return _canonical_directory(_file_path(value), home)
    if scheme not in _BUCKET_SCHEMES:
        raise InvalidStorage(f"Storage cannot be at {scheme}://. Use {_KNOWN}.")
    return _canonical_bucket(value, _BUCKET_SCHEMES[scheme])


def folder_of(url: str) -> str | None:
    """The directory behind a canonical URL; None for a bucket or the memory."""
    return _file_path(url) if url.startswith("file:") else None


def resolve_options(place: str, value: Mapping[str, Any] | str | None, environ: Mapping[str, str]) -> dict[str, Any]:
    """The options of the storage at a canonical URL: `value`, else `ROJAK_STORAGE_OPTIONS`; checked.

    What the environment says of buckets is nothing to a directory.

    Raises:
        InvalidStorage: The text names what is wrong, and repeats no value.
    """
    options = read_options(value, environ)
    scheme = place.partition(":")[0]
    if scheme in {"file", "memory"}:
        if value is not None and options:
            raise InvalidStorage(
                f"storage_options are for buckets; {place} takes none. Leave them out, or set {OPTIONS_VARIABLE} "
                "where the storage is a bucket."
            )
        return {}
    options_for(scheme, options)
    return options


def _plain_path(value: str) -> str:
    """A path as written, unless it plainly was meant to be something else: that would become a folder here."""
    like_url = _LIKE_A_URL.fullmatch(value)
    if like_url is not None and like_url[1].lower() == "file" and like_url[2].startswith("/"):
        return unquote(like_url[2])  # as Java writes it
    known = like_url is not None and like_url[1].lower() in {*_BUCKET_SCHEMES, "file", "memory", "arn"}
    if known or _LOST_SLASH.search(value) or (like_url is not None and like_url[2][:1] in {"/", "\\"}):
        raise InvalidStorage(
            "The storage looks like a URL that lost a slash, as one does that went through Path or os.path. Give the "
            f"text itself: {_KNOWN}."
        )
    if _USER_AND_PASSWORD.match(value):
        # Not repeated here: it may hold a secret.
        raise InvalidStorage(f"The storage begins with a user and a password, but has no scheme. Use {_KNOWN}.")
    if _CONNECTION_STRING.search(value):
        raise InvalidStorage(
            "The storage is a connection string; it belongs into AZURE_STORAGE_CONNECTION_STRING, and the storage is "
            "az://container/prefix."
        )
    if value != value.strip() or value[0] in "'\"" or value.lower() in {"none", "null", "undefined"}:
        raise InvalidStorage(
            f"The storage{_quoted(value)} has quotes or spaces around it, or is no path. Use {_KNOWN}."
        )
    return value


def _quoted(value: str) -> str:
    """The beginning of a storage for a message; nothing of one that may hold a secret."""
    return "" if _PERHAPS_SECRET.intersection(value) else f" {value[:_SHOWN]!r}"


def _canonical_directory(path: str, home: Path | None) -> str:
    first, _, rest = path.partition("/")
    if first == "~":
        path = os.path.join(_home(home), rest)
    elif first.startswith("~") or "/~/" in path:
        raise InvalidStorage(
            f"The storage{_quoted(path)} names a home directory in a way that nobody expands; write the whole path, "
            "or ~/... for your own."
        )
    if _UNEXPANDED.search(path):
        raise InvalidStorage(
            f"The storage{_quoted(path)} holds a variable that nobody expanded. Expand it first, for example with "
            "os.path.expandvars."
        )
    place = os.path.realpath(path)
    if os.path.exists(place) and not os.path.isdir(place):
        raise InvalidStorage(f"{place} is a file; storage needs a directory.")
    return Path(place).as_uri()


def _home(home: Path | None) -> str:
    """The home directory, which a process with an arbitrary user id and no HOME does not have."""
    found = str(home) if home is not None else os.path.expanduser("~")
    if not os.path.isabs(found):
        raise InvalidStorage(
            "There is no home directory to keep the storage in (HOME is not set, and this user has none). Give the "
            f"storage, or set {STORAGE_VARIABLE}: {_KNOWN}."
        )
    return found


def _canonical_bucket(value: str, scheme: str) -> str:
    bucket, _, folder = value.partition("://")[2].partition("/")
    if any(mark in value for mark in "@?#") or ":" in bucket:
        # Not repeated here: it may hold a secret.
        raise InvalidStorage(
            f"A {scheme}:// storage URL is only a bucket and a prefix. Credentials and accounts come from the "
            "environment of the vendor's own tools, for example AWS_ACCESS_KEY_ID or AZURE_STORAGE_ACCOUNT_NAME; "
            "a server of your own and other options are storage_options."
        )
    if not _BUCKET.fullmatch(bucket):
        raise InvalidStorage(
            f"Write {scheme}://bucket/prefix; the name of a bucket is 2 to 222 lower-case letters, digits and ._- here."
        )
    folder = folder.strip("/")
    if folder and not is_bucket_prefix(folder):
        raise InvalidStorage(
            "The prefix of the storage URL cannot be used: its parts are made of letters, digits and ._=- and do not "
            f"start with a dot, and all of it has at most {MAX_PREFIX_LENGTH} characters, which leaves room for the "
            "names of the objects."
        )
    return f"{scheme}://{bucket}/{folder}".rstrip("/")


def _file_path(url: str) -> str:
    host, slash, path = url.partition("://")[2].partition("/")
    if host not in {"", "localhost"} or not slash:
        raise InvalidStorage("A file:// storage URL has the form file:///path/to/directory.")
    return slash + unquote(path)
