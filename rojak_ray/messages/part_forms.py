"""Reading parts in the forms people have them in: our classes, and what each vendor's API takes.

our own               TextPart, ImagePart, FilePart, or their fields as a dictionary
OpenAI's chat         text, image_url, file
OpenAI's responses    input_text, output_text, input_image, input_file
Anthropic's           text, image and document with a `source`
MCP's                 text, image with `data` and `mimeType`
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from rojak_ray.checks import kind_of, shown
from rojak_ray.errors import InvalidMessage
from rojak_ray.messages.parts import FilePart, ImagePart, TextPart
from rojak_ray.messages.text import has_lone_surrogate

MAX_PART_BYTES = 20 * 1024 * 1024
"""Of data in one part. No vendor takes a larger image with a request; larger files are passed by url."""

_IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*")
_DATA_URL = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),", re.IGNORECASE)
_MAX_URL = 8192
_SPACES = re.compile(r"\s+")
_OURS = "TextPart(text=...), ImagePart(url=... or data=...) or FilePart(url=... or data=...)"
_UPLOADED = "names a file that was uploaded to one vendor; pass its data or a url, which every vendor can be given"

AnyPart = TextPart | ImagePart | FilePart


class _Unreadable(Exception):
    """Why a part cannot be taken, to be told with its place."""


def read_parts(given: Iterable[Any], where: str) -> tuple[AnyPart, ...]:
    """Check parts and turn them into ours; empty texts are left out.

    Args:
        given: Parts in any accepted form.
        where: What they belong to, as the beginning of a sentence: "Message 2".

    Raises:
        InvalidMessage: The text names the place of the part, what is wrong with it, and what to write.
    """
    parts: list[AnyPart] = []
    for index, part in enumerate(given):
        try:
            read = _check(_read(part))
        except _Unreadable as error:
            raise InvalidMessage(f"{where}, part {index}: {error}") from None
        if not isinstance(read, TextPart) or read.text:
            parts.append(read)
    return tuple(parts)


def _read(given: Any) -> AnyPart:
    if isinstance(given, TextPart | ImagePart | FilePart):
        return given
    if not isinstance(given, Mapping):
        raise _Unreadable(f"it is of type {kind_of(given)}; write {_OURS}.")
    part = cast("Mapping[str, Any]", given)
    kind = part.get("type")
    read = _FORMS.get(kind) if isinstance(kind, str) else None
    if read is None:
        hint = _HINTS.get(kind if isinstance(kind, str) else "", f"write {_OURS}")
        raise _Unreadable(f"parts of the type {shown(kind)} cannot be taken; {hint}.")
    try:
        return read(part)
    except InvalidMessage as error:
        raise _Unreadable(f"{error}; write {_OURS}.") from None


def _read_text(part: Mapping[str, Any]) -> AnyPart:
    return TextPart(text=cast("str", part.get("text")))


def _read_refusal(part: Mapping[str, Any]) -> AnyPart:
    return TextPart(text=cast("str", part.get("refusal")))


def _read_image_url(part: Mapping[str, Any]) -> AnyPart:
    """OpenAI's chat has `{"url", "detail"}`, its responses the url alone with `detail` beside it."""
    if part.get("file_id"):
        raise _Unreadable(f"'file_id' {_UPLOADED}.")
    image: Any = part.get("image_url")
    inner = cast("Mapping[str, Any]", image) if isinstance(image, Mapping) else part
    url = inner.get("url") if inner is not part else image
    detail = inner.get("detail") or None
    return ImagePart(url=_need(url, "image_url"), detail=detail)


def _read_file(part: Mapping[str, Any]) -> AnyPart:
    """OpenAI's chat has the fields under `file`, its responses beside `type`; ours are `url`, `data`, `name`."""
    inner: Any = part.get("file")
    fields = cast("Mapping[str, Any]", inner) if isinstance(inner, Mapping) else part
    if fields.get("file_id"):
        raise _Unreadable(f"'file_id' {_UPLOADED}.")
    data: Any = fields.get("file_data") if fields.get("file_data") is not None else fields.get("data")
    url: Any = fields.get("file_url") if fields.get("file_url") is not None else fields.get("url")
    if isinstance(data, str) and data.startswith(("http:", "https:")):
        data, url = None, data  # as OpenRouter spells it
    return FilePart(
        url=url,
        data=data,
        media_type=fields.get("media_type"),
        name=fields.get("filename") or fields.get("name"),
    )


def _read_image(part: Mapping[str, Any]) -> AnyPart:
    if isinstance(part.get("source"), Mapping):
        return ImagePart(**_from_source(cast("Mapping[str, Any]", part["source"])))
    known = {name: part[name] for name in ("url", "data", "media_type", "detail") if name in part}
    if "mimeType" in part:  # as MCP spells it
        known["media_type"] = part["mimeType"]
    return ImagePart(**known)


def _read_document(part: Mapping[str, Any]) -> AnyPart:
    source: Any = part.get("source")
    if not isinstance(source, Mapping):
        raise _Unreadable("it has no 'source'; write FilePart(url=... or data=..., media_type=...).")
    fields = _from_source(cast("Mapping[str, Any]", source))
    return FilePart(name=part.get("title"), **fields)


def _from_source(source: Mapping[str, Any]) -> dict[str, Any]:
    match source.get("type"):
        case "base64":
            return {"data": _need(source.get("data"), "data"), "media_type": source.get("media_type")}
        case "url":
            return {"url": _need(source.get("url"), "url")}
        case "text":
            text = str(_need(source.get("data"), "data"))
            return {"data": text.encode("utf-8", "replace"), "media_type": "text/plain"}
        case "file":
            raise _Unreadable(f"a source of the type 'file' {_UPLOADED}.")
        case kind:
            raise _Unreadable(f"a source of the type {shown(kind)} cannot be taken; use 'base64' or 'url'.")


def _need(value: Any, name: str) -> Any:
    if value is None:
        raise _Unreadable(f"it has no {name!r}.")
    return value


_FORMS: Mapping[str, Callable[[Mapping[str, Any]], AnyPart]] = {
    "text": _read_text,
    "input_text": _read_text,
    "output_text": _read_text,
    "refusal": _read_refusal,
    "image": _read_image,
    "image_url": _read_image_url,
    "input_image": _read_image_url,
    "file": _read_file,
    "input_file": _read_file,
    "document": _read_document,
}
_HINTS = {
    "input_audio": "audio is not supported yet: transcribe it and pass the text",
    "audio": "audio is not supported yet: transcribe it and pass the text",
    "video_url": "video is not supported yet: pass single images",
    "tool_use": "calls stand in the message's 'tool_calls'",
    "tool_result": "a result is a message of its own: role 'tool', 'tool_call_id' and 'content'",
}


def _check(part: AnyPart) -> AnyPart:
    """The part, if it can be stored and sent; raises _Unreadable."""
    if isinstance(part, TextPart):
        if has_lone_surrogate(part.text):
            raise _Unreadable(
                "it holds half a character (a lone surrogate), which cannot be sent or stored as UTF-8; clean the "
                "text with text.encode('utf-8', 'replace').decode()."
            )
        return part
    if isinstance(part, FilePart) and part.name is not None and has_lone_surrogate(part.name):
        raise _Unreadable("its name holds half a character (a lone surrogate); clean it.")
    part = _open_data_url(part)
    if (part.url is None) == (part.data is None):
        which = "neither 'url' nor 'data'" if part.url is None else "both 'url' and 'data'"
        raise _Unreadable(f"it has {which}; give one of them.")
    media_type = _check_media_type(part)
    if part.url is not None:
        _check_url(part.url)
        return part.model_copy(update={"media_type": media_type})
    data, head = _check_data(part.data or "")
    if isinstance(part, ImagePart):
        media_type = _image_type(head) or media_type
        if media_type not in _IMAGE_TYPES:
            known = ", ".join(_IMAGE_TYPES)
            raise _Unreadable(
                f"its media_type is {media_type!r}; vendors take {known}: convert the image."
                if media_type
                else f"its data is no image of a known kind; vendors take {known}."
            )
    elif media_type is None:
        media_type = "application/pdf" if head.startswith(b"%PDF-") else None
        if media_type is None:
            raise _Unreadable("a file with 'data' needs a media_type, such as 'application/pdf' or 'text/plain'.")
    return part.model_copy(update={"media_type": media_type, "data": data})


def _open_data_url(part: ImagePart | FilePart) -> ImagePart | FilePart:
    """`data:image/png;base64,...`, as a url or as data, is data with its media type."""
    given = part.url if part.url is not None else part.data
    if given is None or not given[:5].lower().startswith("data:"):
        return part
    head = _DATA_URL.match(given[:200])
    if head is None or ";base64" not in head[2].lower():
        raise _Unreadable("its data: url is not in base64; write 'data:<media type>;base64,<data>'.")
    if part.url is not None and part.data is not None:
        raise _Unreadable("it has both 'url' and 'data'; give one of them.")
    media_type = head[1].strip().lower() or None
    return part.model_copy(
        update={"url": None, "data": given[head.end() :], "media_type": part.media_type or media_type}
    )


def _check_url(url: str) -> None:
    if len(url) > _MAX_URL:
        raise _Unreadable(f"its url has {len(url)} characters, at most {_MAX_URL} are taken; pass the data instead.")
    try:
        parsed = urlsplit(url)
        good = parsed.scheme.lower() in ("http", "https") and bool(parsed.hostname)
    except ValueError:
        good = False
    if not good or not url.isprintable() or " " in url or has_lone_surrogate(url):
        raise _Unreadable(
            f"its url {url[:80]!r} is no http or https address; vendors fetch nothing else. Pass what a local file "
            "holds as data: ImagePart(data=path.read_bytes())."
        )


def _check_media_type(part: ImagePart | FilePart) -> str | None:
    if part.media_type is None:
        return None
    media_type = part.media_type.partition(";")[0].strip().lower()
    media_type = "image/jpeg" if media_type == "image/jpg" else media_type
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise _Unreadable(f"its media_type {part.media_type[:80]!r} is none; write one such as 'image/png'.")
    return media_type


def _check_data(given: str) -> tuple[str, bytes]:
    """The data without white space, and its first bytes."""
    data = _SPACES.sub("", given)
    if not data:
        raise _Unreadable("its data is empty.")
    size = len(data) * 3 // 4
    if size > MAX_PART_BYTES:
        raise _Unreadable(
            f"its data is {size // 1024 // 1024} MiB, at most {MAX_PART_BYTES // 1024 // 1024} MiB are taken; "
            "pass a url, or make it smaller."
        )
    try:
        return data, base64.b64decode(data, validate=True)[:64]
    except (binascii.Error, ValueError):
        raise _Unreadable(
            "its data is not base64; pass the bytes themselves, or base64.b64encode(content).decode()."
        ) from None


def _image_type(head: bytes) -> str | None:
    """The media type of an image by its first bytes; vendors refuse one that is not what it says it is."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return "image/webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None
