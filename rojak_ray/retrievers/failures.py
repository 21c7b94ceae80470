"""What a database or an embeddings endpoint answered instead of a result, as errors of ours.

Errors of the libraries hold requests and responses and do not survive the way to another process, so nothing of them
is kept but words. Whatever a server says is stripped of our keys first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, cast

from rojak_ray.errors import RetrieverRejected, RetrieverUnavailable, StepError
from rojak_ray.redaction import NO_SECRETS, Secrets

_PASSING = frozenset({408, 409, 429})
_LONGEST_WORDS = 500
_LONGEST_LOOKED_AT = 16 * _LONGEST_WORDS


def status_failure(
    who: str, status: int, words: str, *, retry_after: str | None = None, remedy: str | None = None
) -> StepError:
    """The error for an answer with an error status; `remedy` is what a person should do about it."""
    text = f"{who} answered {status}: {words or 'no reason given'}"
    text = f"{text.rstrip('.')}. {remedy}" if remedy else text
    if status in _PASSING or status >= 500:
        return RetrieverUnavailable(text, retry_after_s=_seconds(retry_after))
    return RetrieverRejected(text)


def said(body: str, secrets: Secrets = NO_SECRETS) -> str:
    """The reason in an error answer's body: Qdrant's `status.error`, OpenAI's `error.message`, or the body itself."""
    try:
        inner: Any = json.loads(body)
    except (ValueError, RecursionError):
        return tidy(body, secrets)
    for name in ("status", "error", "message", "detail"):
        if isinstance(inner, Mapping):
            inner = cast("Mapping[str, Any]", inner).get(name, inner)
    return tidy(inner if isinstance(inner, str) else body, secrets)


def tidy(text: str, secrets: Secrets = NO_SECRETS) -> str:
    """Foreign words, fit to be quoted: short, and without our keys."""
    text = " ".join(secrets.redact(text[:_LONGEST_LOOKED_AT]).split())
    return text if len(text) <= _LONGEST_WORDS else f"{text[:_LONGEST_WORDS]}..."


def _seconds(value: str | None) -> float | None:
    try:
        seconds = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
