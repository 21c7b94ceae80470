"""What went wrong between us and a vendor, as errors of ours.

An SDK's own errors hold requests and responses and may not survive the way to another process, so nothing of them is
kept but words and numbers. Whatever a vendor says is stripped of our keys first.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, cast

from rojak_ray.errors import ModelMisbehaved, ModelRejected, ModelUnavailable, StepError
from rojak_ray.redaction import Secrets

_UNAVAILABLE = frozenset({408, 409, 429})
_OUT_OF_QUOTA = "insufficient_quota"
_FINAL_KINDS = frozenset(
    {
        _OUT_OF_QUOTA,
        "authentication_error",
        "billing_error",
        "invalid_request_error",
        "not_found_error",
        "permission_error",
        "request_too_large",
    }
)
_FIRST_ERROR, _FIRST_SERVER_ERROR, _LAST_ERROR = 400, 500, 599
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_LONGEST_WORDS = 1000
_LONGEST_LOOKED_AT = 8 * _LONGEST_WORDS


class ErrorReply(Protocol):
    """What we use of an HTTP library's response."""

    @property
    def status_code(self) -> int: ...  # noqa: D102

    @property
    def headers(self) -> Mapping[str, str]: ...  # noqa: D102

    @property
    def text(self) -> str: ...  # noqa: D102


def status_failure(vendor: str, reply: ErrorReply, now: datetime, secrets: Secrets) -> StepError:
    """The error for a reply with an error status; a Retry-After date in it is relative to `now`."""
    status, headers = reply.status_code, reply.headers
    words, kinds = read_error_body(reply.text)
    request_id = headers.get("x-request-id") or headers.get("request-id")
    message = f"{vendor} answered {status}: {quoted(words, secrets) or 'no reason given'}"
    if request_id:
        message += f" (request {quoted(request_id, secrets)})"
    if not _may_pass(status) or _OUT_OF_QUOTA in kinds:
        return ModelRejected(message, status=status)
    return ModelUnavailable(message, status=status, retry_after_s=read_retry_after(headers, now))


def stream_failure(vendor: str, body: Any, words: str, secrets: Secrets) -> StepError:
    """The error for an error event in a stream. The vendor had taken the request, so it may pass unless it says not."""
    told, kinds = read_error_body(json.dumps(body) if isinstance(body, Mapping) else str(body or words))
    message = f"{vendor} broke off its answer: {quoted(told, secrets)}"
    status = _status_in(body)
    if kinds & _FINAL_KINDS or not _may_pass(status):
        return ModelRejected(message, status=status)
    return ModelUnavailable(message, status=status)


def reply_failure(vendor: str, words: str, error: Any, secrets: Secrets) -> StepError:
    """The error for an answer that is one although its status says otherwise, as gateways pass on their upstream's.

    Its code, where that is a status or one of the vendor's kinds, tells whether it may pass.
    """
    told, kinds = read_error_body(json.dumps({"error": error})) if error else ("", frozenset[str]())
    reason = quoted(told, secrets)
    message = f"{vendor}'s answer cannot be used: {words}" + (f": {reason}" if reason else "")
    status = _status_in(error)
    if kinds & _FINAL_KINDS or not _may_pass(status):
        return ModelRejected(message, status=status)
    if error and status is None and not kinds:
        return ModelMisbehaved(message)
    return ModelUnavailable(message, status=status)


def _may_pass(status: int | None) -> bool:
    return status is None or status in _UNAVAILABLE or status >= _FIRST_SERVER_ERROR


def _status_in(error: Any) -> int | None:
    """The status of an upstream that an error names as its code."""
    code = cast("Mapping[str, Any]", error).get("code") if isinstance(error, Mapping) else None
    number = int(code) if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) == 3 else code
    return number if isinstance(number, int) and _FIRST_ERROR <= number <= _LAST_ERROR else None


def read_error_body(text: str) -> tuple[str, frozenset[str]]:
    """The vendor's words, and its codes for the kind of error, out of an error answer's body."""
    try:
        body: Any = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, Mapping):
        return text.strip(), frozenset()
    outer = cast("Mapping[str, Any]", body)
    error = outer.get("error", outer)
    if not isinstance(error, Mapping):
        return str(error), frozenset()
    inner = cast("Mapping[str, Any]", error)
    kinds = [kind for name in ("type", "code") if isinstance(kind := inner.get(name), str) and kind]
    words = inner.get("message") or inner.get("detail") or text
    unsaid = [kind for kind in dict.fromkeys(kinds) if kind not in str(words)]
    suffix = f" [{', '.join(unsaid)}]" if unsaid else ""
    return f"{words}{suffix}", frozenset(kinds)


def read_retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait by `retry-after-ms` or `retry-after` (seconds or a date), or None if neither makes sense."""
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    given = headers.get("retry-after")
    seconds = _seconds(given)
    if seconds is not None or given is None:
        return seconds
    try:
        moment = parsedate_to_datetime(given)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, (moment - now).total_seconds())
    except (ValueError, TypeError, OverflowError):  # no date, or one that no calendar has in some time zone
        return None


def quoted(text: str, secrets: Secrets, longest: int = _LONGEST_WORDS) -> str:
    """Foreign words, fit to be repeated: without secrets, and not too long. A server may send megabytes."""
    text = secrets.redact(text[:_LONGEST_LOOKED_AT])
    return text if len(text) <= longest else f"{text[:longest]}..."


def causes(error: BaseException, secrets: Secrets) -> str:
    """The words of an error and of what caused it, outermost first."""
    seen: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(seen) < 5:
        words = str(cause) or type(cause).__name__
        if words not in seen:
            seen.append(words)
        cause = cause.__cause__
    return quoted(": ".join(words.rstrip(".") for words in seen), secrets)


def _seconds(value: str | None) -> float | None:
    """A number as headers have it; Python's own reader also takes `1_0` and digits of other scripts."""
    if value is None or not _NUMBER.fullmatch(value.strip()):
        return None
    seconds = float(value)
    return max(0.0, seconds) if math.isfinite(seconds) else None
