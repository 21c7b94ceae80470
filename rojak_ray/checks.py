"""What a program hands us, checked by kind: the one place that says what a flag, a number, a text or a list is.

Every refusal names the argument, says what is wanted and shows what was given, whatever that is: a value that cannot
describe itself is no reason for another error. The caller says which class of ours the refusal is.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from rojak_ray.errors import RojakError

T = TypeVar("T")

Refusal = type[RojakError]

_SHOWN = 60
_LONGEST_REASON = 500


def shown(value: object) -> str:
    """A refused value, for the text of an error: short, and whatever it is."""
    try:
        text = value[: _SHOWN + 1].__repr__() if type(value) is str else str.__str__(repr(value))
    except BaseException:  # noqa: BLE001  (a number of more digits than Python writes, an object that raises when asked)
        return f"a {kind_of(value)} that cannot be shown"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def kind_of(value: object) -> str:
    """The name of a value's class, whatever the class says of itself."""
    return kind_of_class(type(value))


def kind_of_class(kind: type) -> str:
    """The name of a class, whatever its metaclass makes of that."""
    name: str = type.__dict__["__name__"].__get__(kind)
    return name.encode("utf-8", "replace").decode("utf-8")[:_SHOWN]


def reason_of(error: BaseException) -> str:
    """The class and text of an exception of whoever's, in one line."""
    try:
        text = str.__str__(str(error))
    except BaseException:  # noqa: BLE001  (asking for it runs code of its class)
        text = "(it has no text)"
    text = " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
    return f"{kind_of(error)}: {text[:_LONGEST_REASON]}"


def is_kind(value: object, kind: type | tuple[type, ...]) -> bool:
    """Whether a value's class is derived from another, whatever the value answers when it is asked."""
    try:
        return issubclass(type(value), kind)
    except BaseException:  # noqa: BLE001  (a metaclass runs code of its own)
        return False


@contextlib.contextmanager
def reading(what: str, refusal: Refusal) -> Generator[None]:
    """While a value of a class of the user's is looked at: what that raises is a refusal, too.

    Args:
        what: The argument, for the text.
        refusal: The class of the error.
    """
    try:
        yield
    except RojakError:
        raise
    except Exception as error:
        raise refusal(f"{what} cannot be read: {reason_of(error)}. Pass plain data.") from error


def check_flag(value: object, name: str, refusal: Refusal) -> bool:
    """What is either True or False; raises `refusal`, which names the argument."""
    if not isinstance(value, bool):
        raise refusal(f"{name} must be True or False, not {shown(value)}.")
    return value


def check_number(
    value: object,
    name: str,
    refusal: Refusal,
    *,
    least: float = 0,
    most: float = math.inf,
    whole: bool = False,
    why: str = "",
) -> float:
    """A number within its bounds. True and False are none, nor is NaN; infinity only where `most` allows it.

    Args:
        value: What was given.
        name: The argument.
        refusal: The class of the error.
        least: The smallest that is taken.
        most: The largest that is taken.
        whole: Fractions are refused.
        why: What to do instead, as a sentence.

    Raises:
        RojakError: It is of the class `refusal`; the text names the argument.
    """
    kinds = int if whole else (int, float)
    wanted = "a whole number" if whole else "a number"
    wanted += f" of at least {_written(least)}" if most == math.inf else f" from {_written(least)} to {_written(most)}"
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= cast("float", value) <= most:
        raise refusal(f"{name} must be {wanted}, not {shown(value)}.{f' {why}' if why else ''}")
    return cast("float", value)


def _written(bound: float) -> str:
    return f"{int(bound):,}" if bound == int(bound) else f"{bound:g}"


def check_text(
    value: object, name: str, refusal: Refusal, *, longest: int | None = None, empty: bool = False, why: str = ""
) -> str:
    """A text that can be stored and sent.

    Args:
        value: What was given.
        name: The argument.
        refusal: The class of the error.
        longest: The most characters that are taken; None: any number.
        empty: Whether a text of nothing, or of nothing but spaces, is taken.
        why: What to do instead, as a sentence.

    Raises:
        RojakError: It is of the class `refusal`; the text names the argument.
    """
    rest = f" {why}" if why else ""
    if not isinstance(value, str):
        raise refusal(f"{name} must be text, not {shown(value)}.{rest}")
    if not empty and not value.strip():
        raise refusal(f"{name} must be non-empty text, not {shown(value)}.{rest}")
    if longest is not None and len(value) > longest:
        raise refusal(f"{name} must be text of at most {longest} characters, not of {len(value)}.{rest}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise refusal(
            f"{name} holds half a character ({shown(value)}, a lone surrogate); write whole ones.{rest}"
        ) from None
    return value


def check_list(value: object, name: str, refusal: Refusal, of: str) -> list[Any]:
    """A list, tuple or other sequence that is no text, as a list of its own.

    Args:
        value: What was given.
        name: The argument.
        refusal: The class of the error.
        of: What its members are, for the text.

    Raises:
        RojakError: It is of the class `refusal`; the text names the argument.
    """
    if not isinstance(value, Sequence) or isinstance(value, str | bytes | bytearray | memoryview):
        hint = f" Put it into a list: {name}=[...]." if not isinstance(value, Iterable) else ""
        raise refusal(f"{name} must be a list of {of}, not {shown(value)}.{hint}")
    try:
        return list(cast("Sequence[Any]", value))
    except Exception as error:  # a sequence of a class of the user's
        raise refusal(f"{name} cannot be read as a list of {of}: {reason_of(error)}") from error


def check_mapping(value: object, name: str, refusal: Refusal) -> dict[str, Any]:
    """A dictionary whose keys are texts, as one of its own; raises `refusal`, which names the argument."""
    if not isinstance(value, Mapping):
        raise refusal(f"{name} must be a dictionary, not {shown(value)}.")
    try:
        pairs = dict(cast("Mapping[Any, Any]", value))
    except Exception as error:  # a mapping of a class of the user's
        raise refusal(f"{name} cannot be read as a dictionary: {reason_of(error)}") from error
    wrong = [key for key in pairs if not isinstance(key, str)]
    if wrong:
        raise refusal(f"The keys of {name} must be texts, not {shown(wrong[0])}.")
    return pairs


def check_kind(value: object, name: str, refusal: Refusal, kind: type[T], *, why: str = "") -> T:
    """A value of a class of ours; raises `refusal`, which names the argument and the class."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        given = f"the class {value.__name__}; make one of it" if isinstance(value, type) else shown(value)
        raise refusal(f"{name} must be {article} {kind.__name__}, not {given}.{f' {why}' if why else ''}")
    return value
