"""Loggers of ours: every line is one line, drives no terminal and holds no secret that is known.

What models, users and servers said gets into log lines by way of errors and names. Escaping it at each call would be
forgotten at one of them, so it is done where all records pass: a module has its logger from `get_logger` alone.
"""

from __future__ import annotations

import logging
import sys
import traceback

from rojak_ray.display import CONTINUED, hanging, one_line
from rojak_ray.redaction import LOG_GUARD

PACKAGE = "rojak_ray"
_FORMAT = logging.Formatter(logging.BASIC_FORMAT)


def get_logger(name: str) -> logging.Logger:
    """The logger of one of our modules, the same for each call.

    Args:
        name: The module's `__name__`.
    """
    logger = logging.getLogger(name)
    logger.addFilter(LOG_GUARD)  # adding it again changes nothing; the order matters: secrets are looked for unescaped
    logger.addFilter(_ONE_LINE)
    return logger


class _OneLine(logging.Filter):
    """Lets every record through, its message in one line and each line of its traceback marked as none of ours."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record where it would not stay in its line. A message that needs nothing keeps its arguments."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001  (a value that has no text must not end whoever logs it)
            record.msg, record.args = f"{record.msg} (a value of this line has no text)", None
            message = record.msg
        shown = one_line(message)
        if shown != message:
            record.msg, record.args = shown, None
        if record.exc_text is None and record.exc_info and record.exc_info[0] is not None:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        if record.exc_text:
            record.exc_text = hanging(f"\n{record.exc_text}").removeprefix("\n")
        return True


_ONE_LINE = _OneLine()


class _Hanging(logging.Formatter):
    """Formats whatever anybody logs in a process of ours: further lines of a record are marked."""

    def format(self, record: logging.LogRecord) -> str:
        return hanging(_FORMAT.format(record).replace(f"\n{CONTINUED}", "\n"))  # marked once, also what we marked


def set_up_process() -> None:
    """Log to standard error as a process does that is ours alone: an actor, whose lines Ray forwards to terminals.

    Ours from INFO on, everybody else's from WARNING on; lines of libraries are guarded as ours are. Where somebody has
    set up logging before, it stays as it is.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Hanging())
    handler.addFilter(LOG_GUARD)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger(PACKAGE).setLevel(logging.INFO)
