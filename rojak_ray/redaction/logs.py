"""Keeping secrets out of the logs of HTTP libraries, SDKs and clients of buckets, at every level.

They write down addresses (at INFO), and headers and answers with credentials (at DEBUG). A filter on their loggers
replaces what is known to be secret, and what has the name of a secret, before any handler, ours or the user's, sees
the record.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from weakref import WeakValueDictionary

from rojak_ray.redaction.named import without_named
from rojak_ray.redaction.secrets import Secrets

_LIBRARIES = (
    *("openai", "anthropic", "qdrant_client"),
    *("httpx2", "httpcore2", "httpx", "httpcore", "aiohttp", "asyncio", "urllib3", "requests"),
    *("botocore", "aiobotocore", "google", "azure", "msal"),
)
_LOGGERS = (
    "openai._base_client",
    "openai._response",
    "anthropic._base_client",
    "anthropic._response",
    *(f"{core}.{part}" for core in ("httpcore2", "httpcore") for part in ("connection", "http11", "http2", "proxy")),
    "aiohttp.client",
)


class LogGuard(logging.Filter):
    """Lets every record through, without secrets. What it protects it knows only as long as somebody uses it."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        super().__init__()
        self._known: WeakValueDictionary[int, Secrets] = WeakValueDictionary()
        """By identity: a `WeakSet` takes no second one of equal ones, and forgets both with the first."""

        self._lock = threading.Lock()
        self._loggers = 0

    def protect(self, secrets: Secrets) -> None:
        """Replace these from now on, for as long as somebody holds them."""
        with self._lock:
            self._known[id(secrets)] = secrets
        self.watch()

    def watch(self) -> None:
        """Guard the loggers of libraries that were loaded meanwhile; next to nothing where there are none.

        To be called before each request of a library that loads its parts when it needs them.
        """
        loggers = logging.root.manager.loggerDict
        if len(loggers) != self._loggers:
            names = {name for name in list(loggers) if name.partition(".")[0] in _LIBRARIES}
            for name in names.union(_LIBRARIES, _LOGGERS):
                logging.getLogger(name).addFilter(self)  # adding it again changes nothing
            self._loggers = len(loggers)

    def filter(self, record: logging.LogRecord) -> bool:
        """See that the record can be shown; nothing that a library logs is worth an error here."""
        if sys.is_finalizing():
            return False  # what is said of connections left open names them, and nothing can be looked up any more
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001  (a record that cannot be formatted is its library's fault)
            return True
        shown = self._redact(message)
        if shown != message:
            record.msg, record.args = shown, None
        if record.exc_info and record.exc_info[0] is not None and record.exc_text is None:
            text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            if (told := self._redact(text)) != text:
                record.exc_text, record.exc_info = told, None
        return True

    def _redact(self, text: str) -> str:
        text = without_named(text)
        with self._lock:
            known = set(self._known.values())  # equal ones once
        for secrets in known:
            text = secrets.redact(text)
        return text


LOG_GUARD = LogGuard()
"""One for the process, as its loggers are."""
