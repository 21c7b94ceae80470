"""Messages, as people pass them and as we keep them.

`ConversationMessage` is the public, tolerant shape: attributes and `["keys"]`, tool calls as dictionaries in OpenAI's
form. `Message` is the frozen record the journal keeps. `read_messages` is the edge between them, where bad input stops.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast, get_args

from pydantic import BaseModel, ConfigDict, JsonValue

from rojak_ray.errors import InvalidContext, InvalidMessage

Role = Literal["user", "assistant", "tool", "system"]
ContextVariables: TypeAlias = dict[str, Any]
MessageInput: TypeAlias = (
    "str | ConversationMessage | Mapping[str, Any] | Iterable[ConversationMessage | Mapping[str, Any]]"
)

_ROLES = get_args(Role)
_MAX_DEPTH = 100
_MAX_INTEGER_BITS = 4096
"""Python itself refuses to print or read integers of more than 4300 digits."""


class Record(BaseModel):
    """Base of everything that is stored: frozen, strict about unknown fields, plain JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ToolCall(Record):
    """A function the model wants called. `arguments` is the model's JSON text, unchecked."""

    id: str
    name: str
    arguments: str = "{}"


class Message(Record):
    """One message of a conversation, as the journal keeps it."""

    role: Role
    content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    sender: str | None = None


class Usage(Record):
    """What model calls consumed."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0

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
        )


@dataclass
class ConversationMessage:
    """A message as callers pass and receive it; `message.content` and `message["content"]` both work."""

    role: Role
    content: str | None = None
    tool_calls: list[Any] | None = None
    """In OpenAI's form: `{"id", "type": "function", "function": {"name", "arguments"}}`."""

    tool_call_id: str | None = None
    sender: str | None = None
    """Name of the agent that spoke or called."""

    def __getitem__(self, key: str) -> Any:
        """The field named `key`."""
        if key not in self.__dataclass_fields__:
            raise KeyError(key)
        return getattr(self, key)

    def get(self, key: str, default: Any = None) -> Any:
        """The field named `key`, or `default` if there is no such field."""
        return getattr(self, key) if key in self.__dataclass_fields__ else default

    def keys(self) -> Iterable[str]:
        """Field names, so that `dict(message)` works."""
        return self.__dataclass_fields__.keys()


def to_public(message: Message) -> ConversationMessage:
    """The caller's form of a stored message."""
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in message.tool_calls
    ]
    return ConversationMessage(
        role=message.role,
        content=message.content,
        tool_calls=calls or None,
        tool_call_id=message.tool_call_id,
        sender=message.sender,
    )


def read_messages(given: MessageInput) -> tuple[Message, ...]:
    """Check what a caller passed as messages and turn it into records.

    Args:
        given: A string (one user message), one message, or an iterable of messages (objects or mappings). Keys that
            are not ours are ignored.

    Raises:
        InvalidMessage: Nothing was given, a role is unknown, content is not text, or text that no JSON reader could
            give back (lone surrogates). The text says which message and what to do.
    """
    if isinstance(given, str):
        return (_read_message({"role": "user", "content": given}, 0),)
    if isinstance(given, ConversationMessage | Mapping):
        return (_read_message(cast("ConversationMessage | Mapping[str, Any]", given), 0),)
    if not isinstance(given, Iterable):
        raise InvalidMessage(f"Messages must be a string or a list of messages, not {type(given).__name__}.")
    messages = tuple(_read_message(message, index) for index, message in enumerate(given))
    if not messages:
        raise InvalidMessage("There are no messages; pass at least one.")
    return messages


def _read_message(given: ConversationMessage | Mapping[str, Any], index: int) -> Message:
    if not isinstance(given, ConversationMessage | Mapping):
        raise InvalidMessage(f"Message {index} must be a mapping or a ConversationMessage, not {type(given).__name__}.")
    role = given.get("role")
    if role not in _ROLES:
        raise InvalidMessage(f"Message {index} has the role {role!r}; it must be one of {', '.join(_ROLES)}.")
    content = given.get("content")
    if content is not None and not isinstance(content, str):
        raise InvalidMessage(f"Message {index} has content of type {type(content).__name__}; it must be a string.")
    calls = _read_tool_calls(given.get("tool_calls"), index)
    if role == "user" and not content:
        raise InvalidMessage(f"Message {index} is a user message without content; say something.")
    if content is None and not calls and role != "assistant":
        raise InvalidMessage(f"Message {index} has the role {role!r} but no content.")
    message = Message(
        role=cast("Role", role),
        content=content,
        tool_calls=calls,
        tool_call_id=_read_text(given.get("tool_call_id"), index, "tool_call_id"),
        sender=_read_text(given.get("sender"), index, "sender"),
    )
    if role == "tool" and not message.tool_call_id:
        raise InvalidMessage(f"Message {index} is a tool message without tool_call_id; name the call it answers.")
    _check_text(message, index)
    return message


def _read_text(value: Any, index: int, field: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InvalidMessage(f"Message {index} has a {field} of type {type(value).__name__}; it must be a string.")
    return value


def _read_tool_calls(given: Any, index: int) -> tuple[ToolCall, ...]:
    if not given:
        return ()
    if not isinstance(given, list | tuple):
        raise InvalidMessage(f"Message {index} has tool_calls of type {type(given).__name__}; it must be a list.")
    calls: list[ToolCall] = []
    for call in cast("list[Any]", given):
        if isinstance(call, ToolCall):
            calls.append(call)
            continue
        try:
            function = call["function"] if isinstance(call, Mapping) else call.function
            name, arguments = (
                (function["name"], function.get("arguments", "{}"))
                if isinstance(function, Mapping)
                else (function.name, function.arguments)
            )
            call_id = call["id"] if isinstance(call, Mapping) else call.id
            if not isinstance(arguments, str):
                arguments = json.dumps(arguments, allow_nan=False)
            calls.append(ToolCall(id=call_id, name=name, arguments=arguments))
        except (KeyError, AttributeError, TypeError, ValueError, RecursionError) as error:
            raise InvalidMessage(
                f"Message {index} has a tool call that is not in the form "
                '{"id": ..., "type": "function", "function": {"name": ..., "arguments": "..."}}: '
                f"{error}"
            ) from error
    return tuple(calls)


def _check_text(message: Message, index: int) -> None:
    texts = [message.content, message.tool_call_id, message.sender]
    texts += [text for call in message.tool_calls for text in (call.id, call.name, call.arguments)]
    for text in texts:
        if text is not None and has_lone_surrogate(text):
            raise InvalidMessage(
                f"Message {index} holds half a character (a lone surrogate), which cannot be sent or stored as "
                "UTF-8; clean the text with text.encode('utf-8', 'replace').decode()."
            )


def has_lone_surrogate(text: str) -> bool:
    """Whether the text cannot be written as UTF-8."""
    if text.isascii():
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def clean_text(text: str) -> str:
    """The text with every half character replaced, so that it can be stored and sent."""
    return text.encode("utf-8", "replace").decode("utf-8") if has_lone_surrogate(text) else text


def join_halves(text: str) -> str:
    """The text with halves that stand side by side as the character they are, and every other half replaced.

    A vendor that spells characters as two escapes may send them in two pieces of a stream.
    """
    if not has_lone_surrogate(text):
        return text
    return clean_text(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass"))


def read_context(given: Mapping[str, Any] | None) -> dict[str, JsonValue]:
    """Check context variables and return them as plain JSON data (tuples become lists).

    Raises:
        InvalidContext: A key is not a string, or a value is not null, bool, finite number, text, list or dict. The
            text names the path of the value.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidContext(f"Context variables must be a dictionary, not {type(given).__name__}.")
    return {_read_key(key, ""): read_json(value, str(key)) for key, value in given.items()}


def read_json(value: Any, path: str, depth: int = 0) -> JsonValue:
    """Check that `value` is plain JSON data and return it; raises InvalidContext naming `path`."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if has_lone_surrogate(value):
            raise InvalidContext(f"The value at {path!r} holds half a character (a lone surrogate).")
        return str.__str__(value)  # the text of an enum member that is a string
    if isinstance(value, int):
        if value.bit_length() > _MAX_INTEGER_BITS:
            raise InvalidContext(f"The value at {path!r} is an integer of more than {_MAX_INTEGER_BITS} bits.")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidContext(f"The value at {path!r} is {value}, which JSON cannot hold; use None or a string.")
        return float(value)
    if depth >= _MAX_DEPTH:
        raise InvalidContext(f"The value at {path[:60]!r} is nested deeper than {_MAX_DEPTH} levels (or in itself).")
    if isinstance(value, list | tuple):
        items = cast("list[Any]", value)
        return [read_json(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(items)]
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value)
        return {_read_key(k, path): read_json(v, f"{path}.{k}", depth + 1) for k, v in pairs.items()}
    raise InvalidContext(
        f"The value at {path!r} is of type {type(value).__name__}; only null, booleans, numbers, text, lists and "
        "dictionaries with text keys can be kept. Convert it first."
    )


def _read_key(key: Any, path: str) -> str:
    if not isinstance(key, str) or has_lone_surrogate(key):
        raise InvalidContext(f"The key {key!r} at {path or 'the top'!r} must be a string.")
    return key
