"""Keeping secrets out of what others read: what is secret, how it is replaced in texts, and how logs are guarded."""

from rojak_ray.redaction.fields import first_secret, without_secrets
from rojak_ray.redaction.logs import LOG_GUARD
from rojak_ray.redaction.named import without_named
from rojak_ray.redaction.secrets import NO_SECRETS, Secrets
from rojak_ray.redaction.sent import (
    all_of,
    is_harmless_header,
    is_harmless_query,
    of_environment_proxies,
    of_headers,
    of_login,
    of_query,
    of_request,
    of_url,
    url_to_show,
)

__all__ = [
    "LOG_GUARD",
    "NO_SECRETS",
    "Secrets",
    "all_of",
    "first_secret",
    "is_harmless_header",
    "is_harmless_query",
    "of_environment_proxies",
    "of_headers",
    "of_login",
    "of_query",
    "of_request",
    "of_url",
    "url_to_show",
    "without_named",
    "without_secrets",
]
