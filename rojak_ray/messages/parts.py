"""The parts of a message that is more than text: text, an image, a file.

A part holds what it shows either itself (`data`, as base64) or by address (`url`). Both are sent as they are; nothing
is fetched by us. What is wrong with a part is said where messages enter (`read_messages`), which knows its place.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError

from rojak_ray.errors import InvalidMessage

DATA_BYTES = 16 * 1024
"""Data of a part that takes more than this is stored once, beside the records and snapshots that hold it."""


class Record(BaseModel):
    """Base of everything that is stored: frozen, strict about unknown fields, plain JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _as_base64(value: Any) -> Any:
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes | bytearray | memoryview) else value


Data = Annotated[str, BeforeValidator(_as_base64)]
"""Base64 text; bytes are taken, too, and written as such."""


class Given(Record):
    """A record that people make: what is wrong with it is told in words of ours."""

    if not TYPE_CHECKING:  # or type checkers would not know the fields

        def __init__(self, /, **fields: Any) -> None:
            try:
                super().__init__(**fields)
            except ValidationError as error:
                raise InvalidMessage(f"{type(self).__name__}: {fault_in(error)}") from None


def fault_in(error: ValidationError) -> str:
    """The first thing that is wrong, with the name of its field and without what was given."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(step) for step in fault["loc"])
    return f"{place!r} is wrong ({fault['msg']})"


class TextPart(Given):
    """Text beside other parts.

    Example:
        await session.send_messages([{"role": "user", "content": [TextPart(text="Hello!")]}])
    """

    type: Literal["text"] = "text"
    text: str


class ImagePart(Given):
    """An image: `ImagePart(url="https://...")` or `ImagePart(data=path.read_bytes())`.

    PNG, JPEG, GIF and WebP, which is what vendors take.

    Example:
        seen = [TextPart(text="What is this?"), ImagePart(url="https://example.com/laksa.png")]
        await session.send_messages([{"role": "user", "content": seen}])
    """

    type: Literal["image"] = "image"
    url: str | None = None
    data: Data | None = Field(default=None, repr=False)
    media_type: str | None = None
    """As in "image/png"; found from the data if it is left out."""

    detail: Literal["auto", "low", "high"] | None = None
    """How closely OpenAI's models look; other vendors have no such choice."""


class FilePart(Given):
    """A file: `FilePart(data=path.read_bytes(), media_type="application/pdf", name="invoice.pdf")`, or by `url`.

    Every vendor reads PDF and plain text; of a file that the asked one cannot read, the model is told that it is left
    out.

    Example:
        bill = FilePart(data=b"2 laksa, $13", media_type="text/plain", name="bill.txt")
        await session.send_messages([{"role": "user", "content": [TextPart(text="Read it."), bill]}])
    """

    type: Literal["file"] = "file"
    url: str | None = None
    data: Data | None = Field(default=None, repr=False)
    media_type: str | None = None
    name: str | None = None


Part: TypeAlias = Annotated[TextPart | ImagePart | FilePart, Field(discriminator="type")]
Content: TypeAlias = str | tuple[Part, ...]
"""What a message says: text, or several parts."""


def content_text(content: Content | list[Any] | None) -> str:
    """The text in a content, its parts one below the other; images and files have none."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text for part in content if isinstance(part, TextPart) and part.text)


def plain_content(content: Content | None) -> JsonValue:
    """A content as plain JSON data: text as it is, parts as objects."""
    return [part.model_dump(mode="json") for part in content] if isinstance(content, tuple) else content


def describe_content(content: Content | list[Any] | None) -> str:
    """A content in one text for people: where an image or file stands, its kind, name and address are named."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text if isinstance(part, TextPart) else describe_part(part) for part in content)


def describe_part(part: ImagePart | FilePart) -> str:
    """An image or file in words, without its data: `[image image/png, 12 KB]`."""
    about = [part.name] if isinstance(part, FilePart) and part.name else []
    about += [part.url] if part.url else [part.media_type or "data"]
    if part.data is not None:
        about.append(f"{len(part.data) * 3 // 4 // 1024 + 1} KB")
    return f"[{part.type} {', '.join(about)}]"
