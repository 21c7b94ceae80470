"""How a vendor's refusals become our errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from rojak_ray.errors import ModelRejected, ModelUnavailable
from rojak_ray.providers.failures import causes, read_error_body, read_retry_after, status_failure
from rojak_ray.redaction import NO_SECRETS, Secrets

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@dataclass
class Reply:
    status_code: int
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "86400"}, 86400.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": "Sun, 01 Mar 2026 12:01:30 GMT"}, 90.0),
        ({"retry-after": "Sun, 01 Mar 2026 12:01:30 -0000"}, 90.0),
        ({"retry-after": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "1_0"}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "\u0661\u0660"}, None),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "9" * 400}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert read_retry_after(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("body", "words", "kinds"),
    [
        ({"error": {"message": "no", "type": "t", "code": "c"}}, "no [t, c]", {"t", "c"}),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}}, "Busy [overloaded_error]", None),
        ({"error": "just text"}, "just text", set()),
        ({"detail": "from a proxy"}, "from a proxy", set()),
        ({"error": {"message": "bad thing", "type": "thing", "code": 7}}, "bad thing", {"thing"}),
        ({"error": None}, "None", set()),
        ([1], "[1]", set()),
    ],
)
def test_words(body: Any, words: str, kinds: set[str] | None) -> None:
    said, known = read_error_body(json.dumps(body))
    assert said == words
    assert kinds is None or known == kinds


def test_words_of_no_json() -> None:
    assert read_error_body(" <html>\n") == ("<html>", frozenset())
    assert read_error_body("") == ("", frozenset())


@pytest.mark.parametrize("body", [{"error": {"code": "insufficient_quota"}}, {"error": {"type": "insufficient_quota"}}])
def test_quota(body: Any) -> None:
    error = status_failure("Vendor", Reply(429, json.dumps(body), {"retry-after": "1"}), NOW, NO_SECRETS)
    assert isinstance(error, ModelRejected)
    assert error.status == 429


def test_a_status_without_words() -> None:
    error = status_failure("Vendor", Reply(503, headers={"request-id": "r1", "retry-after": "2"}), NOW, NO_SECRETS)
    assert isinstance(error, ModelUnavailable)
    assert str(error) == "Vendor answered 503: no reason given (request r1)"
    assert error.retry_after_s == 2.0


def test_a_key_at_the_end_of_long_words_is_not_cut_but_replaced() -> None:
    error = status_failure("Vendor", Reply(400, "x" * 990 + "sk-1234567890" * 9), NOW, Secrets(["sk-1234567890"]))
    assert "sk-" not in str(error)
    assert len(str(error)) < 1_100


def test_a_key_that_json_spells_otherwise_is_replaced() -> None:
    body = json.dumps({"error": {"message": "bad key sk-123/456"}}).replace("/", "\\/").replace("sk", "\\u0073k")
    error = status_failure("Vendor", Reply(401, body), NOW, Secrets(["sk-123/456"]))
    assert str(error) == "Vendor answered 401: bad key ***"


def test_causes() -> None:
    error = RuntimeError("Connection error.")
    error.__cause__ = ConnectionRefusedError("refused")
    error.__cause__.__cause__ = TimeoutError()
    assert causes(error, NO_SECRETS) == "Connection error: refused: TimeoutError"
    assert causes(error, Secrets(["refused"])) == "Connection error: ***: TimeoutError"
