"""Messages as the journal keeps them: frozen records."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from rojak_ray.messages.parts import Content, Given, Record

Role = Literal["user", "assistant", "tool", "system"]


class ToolCall(Record):
    """A function the model wants called. `arguments` is the model's JSON text, unchecked."""

    id: str
    name: str
    arguments: str = "{}"


class VendorState(Given):
    """What a vendor handed out with an answer and must get back unread: signatures, reasoning, blocks of its own tools.

    It goes back with its message, and only to whom it came from; asked of anybody else, the message goes without it.

    Example:
        state = VendorState(vendor="local/my-server", model="llama", state={"signature": "..."})
        assert AgentResponse(content="Hello!", vendor=state).vendor == state
    """

    vendor: str
    """The wire and the server: the same model elsewhere is another vendor's."""

    model: str
    state: JsonValue
    """Only the provider that wrote it knows what is in it."""


class Message(Record):
    """One message of a conversation, as the journal keeps it."""

    role: Role
    content: Content | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    sender: str | None = None
    vendor: VendorState | None = None


class Usage(Record):
    """What model calls consumed."""

    requests: int = 0
    input_tokens: int = 0
    """All of them, those read from or written to a cache included."""

    output_tokens: int = 0
    """All of them, those spent on reasoning included."""

    cached_input_tokens: int = 0
    """Of the input, what the vendor read from its cache."""

    reasoning_tokens: int = 0
    """Of the output, what nobody sees; 0 where the vendor does not tell."""

    cache_write_tokens: int = 0
    """Of the input, what the vendor wrote to its cache, where it tells (and may charge more for it)."""

    @property
    def total_tokens(self) -> int:
        """Tokens in and out."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        """The sum of both."""
        return Usage(
            requests=self.requests + other.requests,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_input_tokens=self.cached_input_tokens + other.cached_input_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
        )
