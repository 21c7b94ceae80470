"""What a guard of logs knows, it knows for as long as anybody uses it, and no longer."""

import gc
import logging

from rojak_ray.redaction import Secrets
from rojak_ray.redaction.logs import LogGuard


def shown(guard: LogGuard, text: str) -> str:
    record = logging.LogRecord("httpx", logging.INFO, "", 0, text, None, None)
    guard.filter(record)
    return record.getMessage()


def test_one_of_two_users_of_a_secret_goes_and_the_other_stays_protected() -> None:
    guard, first, second = LogGuard(), Secrets(["canary-0123"]), Secrets(["canary-0123"])
    guard.protect(first)
    guard.protect(second)
    del first
    gc.collect()
    assert shown(guard, "GET /?key=canary-0123") == "GET /?key=***"
    del second
    gc.collect()
    assert "canary-0123" in shown(guard, "a canary-0123 of nobody")
