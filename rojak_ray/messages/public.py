"""`ConversationMessage`: a message as callers and providers hold it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rojak_ray.messages.parts import FilePart, ImagePart, TextPart, content_text
from rojak_ray.messages.records import Message, Role, VendorState


@dataclass
class ConversationMessage:
    """A message as callers pass and receive it; `message.content` and `message["content"]` both work.

    Example:
        response = await rojak.run(agent=agent, messages=[ConversationMessage(role="user", content="Hello!")])
        assert response.messages[0].content == response.messages[0]["content"] == "Hello!"
    """

    role: Role
    content: str | list[TextPart | ImagePart | FilePart] | None = None
    """Text, or a list of parts; `text` is the text of either."""

    tool_calls: list[Any] | None = None
    """In OpenAI's form: `{"id", "type": "function", "function": {"name", "arguments"}}`."""

    tool_call_id: str | None = None
    sender: str | None = None
    """Name of the agent that spoke or called."""

    vendor: VendorState | None = field(default=None, repr=False)
    """What the provider that answered wants back with this message; nobody else's business."""

    @property
    def text(self) -> str:
        """The text of the content; of parts, those that are text, one below the other."""
        return content_text(self.content)

    def __getitem__(self, key: str) -> Any:
        """The field named `key`."""
        if key not in self.__dataclass_fields__:
            raise KeyError(key)
        return getattr(self, key)

    def get(self, key: str, default: Any = None) -> Any:
        """The field named `key`, or `default` if there is no such field.

        Example:
            message = ConversationMessage(role="user", content="Hello!")
            assert message.get("sender", "nobody") is None and message.get("mood", "unknown") == "unknown"
        """
        return getattr(self, key) if key in self.__dataclass_fields__ else default

    def keys(self) -> Iterable[str]:
        """Field names, so that `dict(message)` works.

        Example:
            assert dict(ConversationMessage(role="user", content="Hello!"))["content"] == "Hello!"
        """
        return self.__dataclass_fields__.keys()


def to_public(message: Message) -> ConversationMessage:
    """The caller's form of a stored message."""
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in message.tool_calls
    ]
    return ConversationMessage(
        role=message.role,
        content=list(message.content) if isinstance(message.content, tuple) else message.content,
        tool_calls=calls or None,
        tool_call_id=message.tool_call_id,
        sender=message.sender,
        vendor=message.vendor,
    )
