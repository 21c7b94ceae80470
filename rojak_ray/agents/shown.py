"""What a function shows a model besides text: images and files, alone or in a list among other values.

Shown is what is returned as a part, in our classes or as OpenAI, Anthropic and MCP write one, or as a list with one.
An image or file anywhere deeper would be told as megabytes of base64; that is refused in words the model can read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from rojak_ray.agents.held import all_within
from rojak_ray.checks import is_kind, kind_of
from rojak_ray.errors import InvalidMessage
from rojak_ray.messages import Content, FilePart, ImagePart, Part, TextPart, read_parts

_SHOWN = (ImagePart, FilePart)
_PARTS = (TextPart, *_SHOWN)
_BYTES = (bytes, bytearray, memoryview)
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
    return _refusal(value)


def answered(value: Any, as_text: Callable[[Any], str]) -> Content:
    """What somebody answers for a function: a part, a list with some, or what is told as text.

    Raises:
        InvalidMessage: A part cannot be taken, or there is one where nobody sees it; the text says why. What
            `as_text` raises comes through as well.
    """
    several = is_kind(value, (list, tuple)) and any(is_part(item) for item in value)
    for item in value if several else [value]:
        problem = None if is_part(item) else _cannot_be_shown(item)
        if problem is None:
            continue
        raise InvalidMessage(f"The answer is {problem}. Give ImagePart(...) or FilePart(...), a list of them, or text.")
    parts = _parts_in(value, as_text)
    return as_text(value) if parts is None else _content(read_parts(parts, "The answer"))


def is_part(value: Any) -> bool:
    """Whether a value is one part: ours, or an image or file as a vendor writes it."""
    return is_kind(value, _PARTS) or _is_vendor_part(value)


def _cannot_be_shown(value: Any) -> str | None:
    """What to call an image or file that is not a part of its own; None if there is none."""
    if is_kind(value, _BYTES):
        return f"{kind_of(value)}, which cannot be shown"
    for item in all_within(value):
        deep = item is not value
        if is_kind(item, _SHOWN) or (deep and (is_kind(item, _BYTES) or _is_vendor_part(item, with_data=True))):
            return f"an image or file deep within {kind_of(value)}"
        if _is_of_pillow(item):
            return "a PIL image, which cannot be stored" if not deep else f"a PIL image deep within {kind_of(value)}"
    return None


def _is_of_pillow(value: Any) -> bool:
    try:
        return str(type(value).__module__).startswith("PIL.")
    except BaseException:  # noqa: BLE001  (a metaclass runs code of its own)
        return False


def _told(value: Any, as_text: Callable[[Any], str]) -> TextPart:
    """What stands beside a part and is none: a list of more parts is deep already."""
    return TextPart(text=_refusal(value) or as_text(value))


def _refusal(value: Any) -> str | None:
    problem = _cannot_be_shown(value)
    return f"TypeError: the function returned {problem}. {_HOW_TO_SHOW}" if problem else None


def _parts_in(value: Any, as_text: Callable[[Any], str]) -> list[Any] | None:
    if is_part(value):
        return [value]
    if is_kind(value, (list, tuple)) and any(is_part(item) for item in value):
        return [item if is_part(item) or _is_text_form(item) else _told(item, as_text) for item in value]
    return None


def _is_text_form(value: Any) -> bool:
    """Text as vendors write it beside images."""
    fields = _fields_of(value)
    return fields.get("type") in ("text", "input_text", "output_text") and type(fields.get("text")) is str


def _is_vendor_part(value: Any, *, with_data: bool = False) -> bool:
    """Whether a dictionary can only mean an image or file: plain data may well have a `type`, too.

    Args:
        value: Anything.
        with_data: Only one that holds the image or file itself; an address may be told as text.
    """
    fields = _fields_of(value)
    inner: Any = None
    match fields.get("type"):
        case "image_url" | "input_image":
            image = fields.get("image_url")
            inner = _fields_of(image).get("url") if isinstance(image, Mapping) else image
        case "image" | "document" if isinstance(fields.get("source"), Mapping):
            source = _fields_of(fields["source"])
            inner = source.get("data") if source.get("type") in ("base64", "text") else source.get("url")
            with_data = with_data and source.get("type") != "base64"
        case "image" if "mimeType" in fields or "media_type" in fields:
            inner = fields.get("data") or fields.get("url")
            with_data = with_data and "data" not in fields
        case "file" | "input_file":
            file = _fields_of(fields["file"]) if isinstance(fields.get("file"), Mapping) else fields
            inner = file.get("file_data") or file.get("file_url")
            with_data = with_data and "file_data" not in file
        case _:
            return False
    if type(inner) is not str and not is_kind(inner, _BYTES):
        return False
    return not with_data or (type(inner) is str and inner[:5].lower() == "data:")


def _fields_of(value: Any) -> Mapping[str, Any]:
    return cast("dict[str, Any]", value) if type(value) is dict else {}


def _content(read: tuple[Part, ...]) -> Content:
    if all(isinstance(part, TextPart) for part in read):
        return "\n".join(part.text for part in read if isinstance(part, TextPart))
    return read
