"""What a function shows a model besides text: images and files, alone or among other values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rojak_ray.errors import InvalidMessage
from rojak_ray.messages import Content, FilePart, ImagePart, Part, TextPart, read_parts

_SHOWN = (ImagePart, FilePart)
_PARTS = (TextPart, *_SHOWN)
_DEEPEST = 6
_HOW_TO_SHOW = "Return ImagePart(data=..., media_type=...) or FilePart(...) for what the model is to see, or text."


def shown(value: Any, as_text: Callable[[Any], str]) -> Content | None:
    """What a returned value shows, if it is or holds an image or file; None if text says it all.

    Args:
        value: What a function returned: a part, or a list of parts and of values that are told as text.
        as_text: How a value is told.

    Raises nothing: the function has run. What cannot be shown is told in words, for the model and who reads along.
    """
    parts = _parts_in(value, as_text)
    if parts is not None:
        try:
            return _content(read_parts(parts, "What the function returned"))
        except InvalidMessage as error:
            return f"InvalidMessage: {error}"
    if _is_one_of(value, (bytes, bytearray, memoryview)):
        return f"TypeError: the function returned {type(value).__name__}, which cannot be shown. {_HOW_TO_SHOW}"
    if type(value).__module__.startswith("PIL."):
        return f"TypeError: the function returned a PIL image, which cannot be stored. {_HOW_TO_SHOW}"
    if _holds_one(value):
        return f"TypeError: the function returned an image or file deep within {type(value).__name__}. {_HOW_TO_SHOW}"
    return None


def _told(value: Any, as_text: Callable[[Any], str]) -> TextPart:
    seen = shown(value, as_text)
    return TextPart(text=seen if isinstance(seen, str) else as_text(value))


def _holds_one(value: Any, depth: int = 0, seen: dict[int, Any] | None = None) -> bool:
    """Whether an image or file is in a value, whose text would be told as megabytes of base64."""
    if _is_one_of(value, _SHOWN):
        return True
    seen = {} if seen is None else seen
    if depth >= _DEEPEST or id(value) in seen:
        return False
    seen[id(value)] = value  # held, so that its id cannot pass to another object meanwhile
    inner: Any = ()
    if _is_one_of(value, (dict,)):
        inner = value.values()
    elif _is_one_of(value, (list, tuple, set, frozenset)):
        inner = value
    return any(_holds_one(item, depth + 1, seen) for item in inner)


def answered(value: Any, as_text: Callable[[Any], str]) -> Content:
    """What somebody answers for a function: a part, a list with some, or what is told as text.

    Raises:
        InvalidMessage: A part cannot be taken; the text says why.
    """
    parts = _parts_in(value, as_text)
    return _content(read_parts(parts, "The answer")) if parts is not None else as_text(value)


def _parts_in(value: Any, as_text: Callable[[Any], str]) -> list[Any] | None:
    if _is_one_of(value, _PARTS):
        return [value]
    if _is_one_of(value, (list, tuple)) and any(_is_one_of(item, _SHOWN) for item in value):
        return [item if _is_one_of(item, _PARTS) else _told(item, as_text) for item in value]
    return None


def _is_one_of(value: Any, kinds: tuple[type, ...]) -> bool:
    return issubclass(type(value), kinds)


def _content(read: tuple[Part, ...]) -> Content:
    if all(isinstance(part, TextPart) for part in read):
        return "\n".join(part.text for part in read if isinstance(part, TextPart))
    return read
