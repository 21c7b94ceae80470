"""Contents on OpenAI's wire: text where text will do, else parts."""

from __future__ import annotations

from typing import Any

from rojak_ray.messages import ConversationMessage, FilePart, ImagePart, TextPart, clean_text, describe_part
from rojak_ray.providers.history import file_text


def user_content(message: ConversationMessage) -> str | list[dict[str, Any]]:
    """What a user said: text, or parts if an image or file is among them."""
    if not isinstance(message.content, list):
        return clean_text(message.content or "")
    sent = [part for part in (_part(part) for part in message.content) if part is not None]
    if all(part["type"] == "text" for part in sent):
        return "\n".join(part["text"] for part in sent)
    return sent


def result_text(message: ConversationMessage) -> tuple[str, list[dict[str, Any]]]:
    """A function's result as text, and the images and files of it that text cannot hold."""
    if not isinstance(message.content, list):
        return clean_text(message.content or ""), []
    texts: list[str] = []
    shown: list[dict[str, Any]] = []
    for part in message.content:
        sent = _part(part)
        if sent is None:
            continue
        if sent["type"] == "text":
            texts.append(sent["text"])
        else:
            shown.append(sent)
            texts.append(clean_text(describe_part(part)) if not isinstance(part, TextPart) else "")
    return "\n".join(texts), shown


def _part(part: TextPart | ImagePart | FilePart) -> dict[str, Any] | None:
    if isinstance(part, TextPart):
        return _text(part.text) if part.text.strip() else None
    if isinstance(part, ImagePart):
        image = {"url": part.url or data_url(part)}
        if part.detail is not None:
            image["detail"] = part.detail
        return {"type": "image_url", "image_url": image}
    if part.data is None:
        return _text(f"{describe_part(part)} (only its address is known here)")
    if part.media_type == "application/pdf":
        return {"type": "file", "file": {"filename": clean_text(part.name or "file.pdf"), "file_data": data_url(part)}}
    text = file_text(part)
    if text is None:
        return _text(f"{describe_part(part)} (left out: it is neither PDF nor text)")
    return _text(f"[{part.name or 'file'}]\n{text}")


def data_url(part: ImagePart | FilePart) -> str:
    """The part's data as an address."""
    return f"data:{part.media_type or 'application/octet-stream'};base64,{part.data}"


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": clean_text(text)}
