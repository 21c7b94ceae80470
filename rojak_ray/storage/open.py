"""From what an operator writes (a path, a URL, nothing) to a store: one canonical string per place."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from rojak_ray.errors import InvalidStorage
from rojak_ray.storage.base import Store
from rojak_ray.storage.keys import is_key
from rojak_ray.storage.local import LocalStore
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.storage.objects import ObjectStore

STORAGE_VARIABLE = "ROJAK_STORAGE"

_KNOWN = "a directory, file:///path, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or memory://"
_BUCKET_SCHEMES = {"s3": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az"}
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,221}")
_CHAINED = re.compile(r"[a-z0-9+.-]+::")
_URL = re.compile(r"([a-z0-9+.-]+)://", re.IGNORECASE)


def open_store(url: str) -> Store:
    """The store at a URL or path. Touches neither disk nor network yet, apart from looking whether a path is a file.

    Raises:
        InvalidStorage: The text says what is wrong and what is possible.
    """
    place = _canonical(url, Path.home())
    if place.startswith("memory:"):
        return MemoryStore()
    if place.startswith("file:"):
        return LocalStore(_file_path(place))
    return ObjectStore(place)


def resolve_storage(value: str | None, environ: Mapping[str, str], home: Path) -> str:
    """The URL of the storage to use: `value`, else `ROJAK_STORAGE`, else `.rojak/storage` in the home directory.

    The same place always gives the same string, whatever the current directory is and however it was written.

    Raises:
        InvalidStorage: The text says what is wrong and what is possible.
    """
    if value is None:
        value = environ.get(STORAGE_VARIABLE) or str(home / ".rojak" / "storage")
    return _canonical(value, home)


def _canonical(value: str, home: Path) -> str:
    if not value.strip() or not value.isprintable():
        raise InvalidStorage(f"The storage is empty or has characters that cannot be shown. Use {_KNOWN}.")
    if _CHAINED.match(value):
        raise InvalidStorage(f"Storage cannot go through another file system ('::'). Use {_KNOWN}.")
    match = _URL.match(value)
    if match is None:
        return _canonical_directory(Path(value), home)
    scheme = match[1].lower()
    if scheme == "memory":
        return "memory://"
    if scheme == "file":
        return _canonical_directory(Path(_file_path(value)), home)
    if scheme not in _BUCKET_SCHEMES:
        raise InvalidStorage(f"Storage cannot be at {scheme}://. Use {_KNOWN}.")
    return _canonical_bucket(value, _BUCKET_SCHEMES[scheme])


def _canonical_directory(path: Path, home: Path) -> str:
    if path.parts[:1] == ("~",):
        path = home.joinpath(*path.parts[1:])
    place = os.path.realpath(path)
    if os.path.exists(place) and not os.path.isdir(place):
        raise InvalidStorage(f"{place} is a file; storage needs a directory.")
    return Path(place).as_uri()


def _canonical_bucket(value: str, scheme: str) -> str:
    bucket, _, folder = value.partition("://")[2].partition("/")
    if any(mark in value for mark in "@?#"):
        # Not repeated here: it may hold a secret.
        raise InvalidStorage(
            f"A {scheme}:// storage URL is only a bucket and a prefix. Credentials, accounts and options come from the "
            "environment of the vendor's own tools, for example AWS_ACCESS_KEY_ID or AZURE_STORAGE_ACCOUNT_NAME."
        )
    if not _BUCKET.fullmatch(bucket):
        raise InvalidStorage(f"{bucket!r} cannot be the name of a bucket. Write {scheme}://bucket/prefix.")
    folder = folder.strip("/")
    if folder and not is_key(folder):
        raise InvalidStorage(
            f"The prefix {folder!r} of the storage URL cannot be used: its parts are made of letters, digits and ._=- "
            "and do not start with a dot."
        )
    return f"{scheme}://{bucket}/{folder}".rstrip("/")


def _file_path(url: str) -> str:
    host, slash, path = url.partition("://")[2].partition("/")
    if host not in {"", "localhost"} or not slash:
        raise InvalidStorage("A file:// storage URL has the form file:///path/to/directory.")
    return slash + unquote(path)
