"""Secrets in plain data that users give, such as an agent's `inference_config`: found by the names of its fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from rojak_ray.redaction.secrets import HIDDEN
from rojak_ray.redaction.sent import is_harmless_header, is_harmless_query, url_to_show

Path = tuple[str | int, ...]

_HEADERS = frozenset({"headers", "extraheaders", "defaultheaders", "customheaders", "httpheaders"})
_QUERIES = frozenset({"extraquery", "defaultquery", "queryparams"})
_SIGNING_IN = frozenset({"auth", "authentication"})
_SECRET_ENDINGS = (
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "authtoken",
    "accesstoken",
    "refreshtoken",
    "bearertoken",
    "sessiontoken",
    "authorizationtoken",
    "authorization",
    "password",
    "passwd",
    "secret",
    "credential",
    "credentials",
    "cookie",
    "cookies",
    "connectionstring",
)
_ABOUT_SIGNING_IN = ("type", "id", "url", "name")
_SCHEMAS = frozenset({"properties", "defs", "definitions", "schema", "inputschema", "jsonschema", "parameters"})
"""Where names may be those of a model's arguments, and say nothing about what is there."""

_USERINFO = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s?#@]+@")


def first_secret(data: Any) -> Path | None:
    """Where in the data a secret is; None if there is none."""
    return next((path for path, _ in _secrets_in(data, ())), None)


def without_secrets(data: Any) -> Any:
    """JSON data with every secret value replaced; the same data if it holds none."""
    found = list(_secrets_in(data, ()))
    if not found:
        return data
    shown: dict[Path, str] = dict(found)
    return _replaced(data, (), shown)


def _replaced(value: Any, path: Path, shown: Mapping[Path, str]) -> Any:
    if path in shown:
        return shown[path]
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        return {name: _replaced(item, (*path, name), shown) for name, item in fields.items()}
    if isinstance(value, list | tuple):
        items = cast("Sequence[Any]", value)
        return [_replaced(item, (*path, index), shown) for index, item in enumerate(items)]
    return value


def _secrets_in(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Every secret value's place, and what may be shown there."""
    if isinstance(value, Mapping):
        for name, item in cast("Mapping[Any, Any]", value).items():
            yield from _in_field(str(name), item, (*path, name))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(cast("Sequence[Any]", value)):
            yield from _secrets_in(item, (*path, index))
    elif isinstance(value, str) and _USERINFO.match(value):
        yield path, url_to_show(value)


def _in_field(name: str, value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    plain = _plain(name)
    if plain in _HEADERS | _QUERIES and value:
        yield from _in_pairs(value, path, is_harmless_header if plain in _HEADERS else is_harmless_query)
    elif plain in _SIGNING_IN and isinstance(value, Mapping):
        for key, item in cast("Mapping[Any, Any]", value).items():
            if isinstance(item, str) and not _plain(str(key)).endswith(_ABOUT_SIGNING_IN):
                yield (*path, key), HIDDEN
    elif plain.endswith(_SECRET_ENDINGS) and isinstance(value, str) and value:
        yield path, HIDDEN
    elif not (plain in _SCHEMAS and _is_schema(plain, value)):
        yield from _secrets_in(value, path)


def _in_pairs(value: Any, path: Path, is_harmless: Callable[[str], bool]) -> Iterator[tuple[Path, str]]:
    """Headers or parameters of a query, in any of the forms that libraries take."""
    if isinstance(value, Mapping):
        for key, item in cast("Mapping[Any, Any]", value).items():
            if item is not None and not is_harmless(str(key)):
                yield (*path, key), HIDDEN
    elif isinstance(value, list | tuple):
        for index, pair in enumerate(cast("Sequence[Any]", value)):
            fields: Any = pair
            name = fields.get("name") if isinstance(pair, Mapping) else fields[0] if pair else ""
            if not isinstance(name, str) or not is_harmless(name):
                yield (*path, index), HIDDEN
    else:
        yield path, HIDDEN


def _is_schema(plain: str, value: Any) -> bool:
    """Whether the names below are of a JSON schema; other things are called `parameters`, too."""
    return plain != "parameters" or (isinstance(value, Mapping) and ("properties" in value or "type" in value))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
