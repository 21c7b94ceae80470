"""What is secret of a request: whatever we send to prove who we are, so every value that is not known to be harmless.

Names of headers tell nothing: gateways have their own. So the lists here are of what may be quoted.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from rojak_ray.redaction.secrets import HIDDEN

HARMLESS_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "anthropic-beta",
        "anthropic-version",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "date",
        "host",
        "http-referer",
        "idempotency-key",
        "openai-beta",
        "openai-organization",
        "openai-project",
        "referer",
        "traceparent",
        "transfer-encoding",
        "user-agent",
        "x-client-request-id",
        "x-request-id",
        "x-request-source",
        "x-title",
    }
)
"""Headers whose values prove nothing, in lower case."""

_HARMLESS_PREFIX = "x-stainless-"

HARMLESS_QUERY = frozenset({"api-version", "api_version", "beta"})
"""Parameters of a query whose values prove nothing, in lower case."""

_SCHEMES = frozenset({"basic", "bearer", "digest", "token", "negotiate", "apikey", "api-key", "key"})


class SentRequest(Protocol):
    """What we use of an HTTP library's request."""

    @property
    def headers(self) -> Mapping[str, str]: ...  # noqa: D102

    @property
    def url(self) -> Any: ...  # noqa: D102


def is_harmless_header(name: str) -> bool:
    """Whether a header of this name may be stored and shown."""
    name = name.strip().lower()
    return name in HARMLESS_HEADERS or name.startswith(_HARMLESS_PREFIX)


def is_harmless_query(name: str) -> bool:
    """Whether a parameter of a query may be stored and shown."""
    return name.strip().lower() in HARMLESS_QUERY


def of_headers(headers: Mapping[Any, Any] | None) -> Iterator[str]:
    """The secrets in headers: values, and what is in them by itself, such as the key after `Bearer`."""
    for name, value in (headers or {}).items():
        if not is_harmless_header(_text(name)):
            yield from _in_header(_text(value))


def of_query(query: Mapping[Any, Any] | None) -> Iterator[str]:
    """The secrets in parameters of a query."""
    for name, value in (query or {}).items():
        if not is_harmless_query(_text(name)):
            for one in value if isinstance(value, list | tuple) else (value,):
                yield _text(one)


def of_url(url: Any) -> Iterator[str]:
    """The secrets in an address: user, password, what both are as `Basic`, and the values of its query."""
    text = _text(url) if isinstance(url, str | bytes) else str(url or "")
    authority = re.split(r"[/?#]", text.partition("://")[2], maxsplit=1)[0]
    userinfo, at, _ = authority.rpartition("@")
    if at:
        yield from _in_userinfo(userinfo)
    try:
        parameters = parse_qsl(urlsplit(text).query)
    except ValueError:
        return
    yield from of_query(dict(parameters))


def of_login(user: str, password: str) -> Iterator[str]:
    """A user and a password, each by itself and both as they are sent."""
    yield user
    yield password
    yield f"{user}:{password}"
    yield base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def of_request(request: SentRequest | None) -> Iterator[str]:
    """The secrets in a request as it was sent, whoever put them there."""
    if request is not None:
        yield from of_headers(request.headers)
        yield from of_url(request.url)


def of_environment_proxies() -> Iterator[str]:
    """The secrets in the proxies that this process's environment names."""
    for name, url in os.environ.items():
        if name.lower().endswith("_proxy"):
            yield from of_url(url if "://" in url else f"http://{url}")


def url_to_show(url: str) -> str:
    """An address without user, password and the values of its query."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "", url
    place, question, query = rest.partition("?")
    authority, slash, path = place.partition("/")
    if "@" in path.partition("#")[0] and "@" not in authority and ":" in authority:
        authority, path = authority.partition(":")[0] + "@", path.rpartition("@")[2]  # a password with a slash in it
        return f"{scheme}{mark}{HIDDEN}@{path}"
    if "@" in authority:
        authority = f"{HIDDEN}@{authority.rpartition('@')[2]}"
    if question:
        query = "&".join(_parameter_to_show(one) for one in query.partition("#")[0].split("&"))
    return f"{scheme}{mark}{authority}{slash}{path}{question}{query}"


def _parameter_to_show(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    if not equals:
        return HIDDEN if name else ""
    return parameter if is_harmless_query(unquote(name)) else f"{name}={HIDDEN}"


def _in_header(value: str) -> Iterator[str]:
    yield value
    scheme, _, rest = value.partition(" ")
    if rest and scheme.lower() == "basic":
        with_colon = _from_base64(rest.strip())
        if with_colon is not None:
            yield from of_login(*with_colon.partition(":")[::2])
    for piece in re.split(r"[\s;,]+", value):
        _, equals, inner = piece.partition("=")
        inner = inner.strip("\"'") if equals and inner.strip("=") else ""
        yield from (one for one in (piece, inner) if one.lower() not in _SCHEMES)


def _in_userinfo(userinfo: str) -> Iterator[str]:
    """As it is written in an address, and as it is meant."""
    yield from of_login(*userinfo.partition(":")[::2])
    yield from of_login(*map(unquote, userinfo.partition(":")[::2]))


def _from_base64(text: str) -> str | None:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _text(value: Any) -> str:
    """A name or value of the kinds that libraries take; what is none of them is not sent."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else str(value) if isinstance(value, int | float) else ""


def all_of(*sources: Iterable[str]) -> Iterator[str]:
    """The values of all sources."""
    for source in sources:
        yield from source
