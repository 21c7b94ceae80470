"""Any exception as data: what a step says of code that failed, whoever wrote it.

Exceptions of user code never travel: not every one can be pickled, shown or even looked at. They are described once,
in the process and thread that ran the code, by nothing that a class can override without being asked.
"""

from __future__ import annotations

import asyncio
import math
import re
from typing import Any

from rojak_ray.core.steps import StepError
from rojak_ray.errors import CodeNotFound, ModelCutShort, RojakError
from rojak_ray.messages import clean_text

_TRANSIENT_NAMES = frozenset({"ConnectionError", "TimeoutError", "Timeout", "TimeoutException", "NetworkError"})
"""Base classes by which clients that do not derive from Python's own errors tell a passing failure."""

_ENDS = (StopIteration, StopAsyncIteration)
_RAISED_ENDS = re.compile(r"(?:async )?(?:coroutine|generator) raised Stop(?:Async)?Iteration")
_LONGEST_ERROR = 4000
_LONGEST_NAME = 200
_MOST_MEMBERS, _DEEPEST_GROUP = 10, 5
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-_]|[\x00-\x08\x0b-\x1f\x7f]")
"""Colours of terminals and other characters that are no text; line breaks and tabs are."""


class OutOfTime(BaseException):
    """Raised into code that overran its limit; described as a `TimeoutError`. No `except Exception` swallows it."""


class Stopped(BaseException):
    """Stands for a `SystemExit` or `KeyboardInterrupt`, which would end the event loop and everybody's work with it."""

    def __init__(self, error: BaseException) -> None:
        """What was raised."""
        super().__init__()
        self.error = error


def error_of(error: BaseException) -> StepError:
    """An exception as data, with what the retry rules need to know. Raises nothing, whatever the exception does."""
    error = _as_raised(error)
    kind = type(error)
    if kind is OutOfTime:
        return timed_out(_text_of(error))
    return StepError(
        error_type=_name_of(kind),
        message=readable(_describe(error), _LONGEST_ERROR),
        transient=_is_transient(error),
        retry_after_s=_retry_after(error) if issubclass(kind, RojakError) else None,
        finish_reason=_attribute(error, "finish_reason") if issubclass(kind, ModelCutShort) else None,
        missing_code=(_attribute(error, "missing") or None) if issubclass(kind, CodeNotFound) else None,
    )


def _as_raised(error: BaseException) -> BaseException:
    """What the code raised: Python puts another error around a StopIteration that leaves a coroutine or generator."""
    if type(error) is Stopped:
        return error.error
    cause = error.__cause__ if type(error) is RuntimeError else None
    if cause is not None and issubclass(type(cause), _ENDS) and _RAISED_ENDS.fullmatch(_text_of(error)):
        return cause
    return error


def timed_out(text: str) -> StepError:
    """What did not end within its limit."""
    return StepError(error_type="TimeoutError", message=text, transient=True)


def overran(what: str, limit_s: float) -> str:
    """The words for it."""
    return f"{what} did not finish in time ({limit_s:g} s)."


def readable(text: str, longest: int) -> str:
    """A text that can be stored, sent and shown: no half characters, nothing for terminals, not longer than that."""
    kept = _CONTROL.sub("", clean_text(text[: longest * 2]))
    if len(text) <= longest * 2 and len(kept) <= longest:
        return kept
    more = f"... ({len(text)} characters)"
    return kept[: longest - len(more)] + more


def describe(error: BaseException) -> str:
    """`ExcType: text`, in one piece."""
    told = error_of(error)
    return f"{told.error_type}: {told.message}"


def _describe(error: BaseException, depth: int = 0) -> str:
    """The text of an exception; a group names its members."""
    if issubclass(type(error), asyncio.CancelledError):
        return _text_of(error) if _attribute(error, "args") else "it cancelled itself"
    if not issubclass(type(error), BaseExceptionGroup):
        return _text_of(error)
    members = _members(error)
    if depth >= _DEEPEST_GROUP:
        return f"{len(members)} errors"
    told = [f"{_name_of(type(member))}: {_describe(member, depth + 1)}" for member in members[:_MOST_MEMBERS]]
    if len(members) > _MOST_MEMBERS:
        told.append(f"and {len(members) - _MOST_MEMBERS} more")
    return f"{_text_of(error)}: [{'; '.join(told)}]"


def _members(group: Any) -> list[BaseException]:
    found: tuple[BaseException, ...] = BaseExceptionGroup.exceptions.__get__(group)  # type: ignore[attr-defined]
    return [_as_raised(member) for member in found]


def _text_of(error: BaseException) -> str:
    """What `str` gives, or `repr`; a class may break both."""
    message = _attribute(error, "message") if issubclass(type(error), RojakError) else None
    if type(message) is str and message:
        return message
    problem = ""
    for show in (str, repr):
        try:
            text = str.__str__(show(error))
        except BaseException as broken:  # noqa: BLE001  (it runs code of the exception's class)
            problem = problem or _name_of(type(broken))
        else:
            if text:
                return text
    return f"(no text: its class raised {problem} when asked for one)" if problem else ""


def _name_of(kind: type) -> str:
    name: str = type.__dict__["__name__"].__get__(kind)
    return readable(name, _LONGEST_NAME)


def _is_transient(error: BaseException, depth: int = 0) -> bool:
    """Whether another attempt may succeed; of a group, all members must be so."""
    kind = type(error)
    if issubclass(kind, BaseExceptionGroup):
        members = _members(error)
        return depth < _DEEPEST_GROUP and all(_is_transient(member, depth + 1) for member in members)
    if issubclass(kind, RojakError) and _attribute(error, "retryable") is True:
        return True
    bases: tuple[type, ...] = type.__dict__["__mro__"].__get__(kind)
    return any(_name_of(base) in _TRANSIENT_NAMES for base in bases)


def _retry_after(error: BaseException) -> float | None:
    """Seconds a provider or retriever says to wait; None where it says nothing that is a time."""
    given = _attribute(error, "retry_after_s")
    try:
        seconds = float(given) if given is not None else math.nan
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _attribute(error: BaseException, name: str) -> Any:
    try:
        return getattr(error, name, None)
    except BaseException:  # noqa: BLE001  (a property may raise anything)
        return None
