"""Contents on Anthropic's wire: text where text will do, else blocks."""

from __future__ import annotations

from typing import Any

from rojak_ray.messages import ConversationMessage, FilePart, ImagePart, TextPart, clean_text, describe_part
from rojak_ray.providers.history import file_text

_LARGEST_IMAGE = 5 * 1024 * 1024
"""Characters of base64; the API refuses a larger one, and with it the whole request."""


def content_of(message: ConversationMessage) -> str | list[dict[str, Any]]:
    """What a user said or a function returned; empty where that is nothing but white space."""
    if not isinstance(message.content, list):
        text = clean_text(message.content or "")
        return text if text.strip() else ""
    blocks = [block for block in (_block(part) for part in message.content) if block is not None]
    if all(block["type"] == "text" for block in blocks):
        return "\n".join(block["text"] for block in blocks)
    return blocks


def _block(part: TextPart | ImagePart | FilePart) -> dict[str, Any] | None:
    if isinstance(part, TextPart):
        return _text(part.text) if part.text.strip() else None
    if isinstance(part, ImagePart):
        if part.data is not None and len(part.data) > _LARGEST_IMAGE:
            return _text(f"{describe_part(part)} (left out: it is larger than 5 MB)")
        if not _can_be_fetched(part):
            return _text(f"{describe_part(part)} (left out: its address is not https)")
        return {"type": "image", "source": _source(part)}
    source = _document_source(part)
    if source is None:
        return _text(f"{describe_part(part)} (left out: it is neither PDF nor text that can be had)")
    document: dict[str, Any] = {"type": "document", "source": source}
    if part.name and part.name.strip():
        document["title"] = clean_text(part.name)
    return document


def _can_be_fetched(part: ImagePart | FilePart) -> bool:
    return part.url is None or part.url[:8].lower() == "https://"


def _source(part: ImagePart | FilePart) -> dict[str, Any]:
    if part.url is not None:
        return {"type": "url", "url": part.url}
    return {"type": "base64", "media_type": part.media_type, "data": part.data}


def _document_source(part: FilePart) -> dict[str, Any] | None:
    media_type = part.media_type or "application/pdf"
    if media_type == "application/pdf" and _can_be_fetched(part):
        return _source(part)
    text = file_text(part)
    return {"type": "text", "media_type": "text/plain", "data": text} if text and text.strip() else None


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": clean_text(text)}
