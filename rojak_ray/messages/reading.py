"""`read_messages`: the edge where what a caller passes as messages is checked and becomes records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias, cast, get_args

from rojak_ray.checks import reading, shown
from rojak_ray.errors import InvalidContext, InvalidMessage
from rojak_ray.messages.bounds import TEXT_BYTES, is_longer, too_large
from rojak_ray.messages.context import read_json
from rojak_ray.messages.part_forms import read_parts
from rojak_ray.messages.parts import Content, TextPart
from rojak_ray.messages.public import ConversationMessage
from rojak_ray.messages.records import Message, Role, ToolCall, VendorState
from rojak_ray.messages.text import has_lone_surrogate

MessageInput: TypeAlias = (
    "str | ConversationMessage | Mapping[str, Any] | Iterable[ConversationMessage | Mapping[str, Any]]"
)

_ROLES = get_args(Role)
_SHOWING_ROLES = ("user", "tool")
"""Who may show an image or a file; vendors take text alone from the others."""


def read_messages(given: MessageInput) -> tuple[Message, ...]:
    """Check what a caller passed as messages and turn it into records.

    Args:
        given: A string (one user message), one message, or an iterable of messages (objects or mappings). Keys that
            are not ours are ignored.

    Raises:
        InvalidMessage: Nothing was given, a role is unknown, content is neither text nor parts, a part cannot be
            taken, or text that no JSON reader could give back (lone surrogates). The text says which message (and
            part) and what to do.
    """
    if isinstance(given, str):
        given = {"role": "user", "content": given}
    if isinstance(given, ConversationMessage | Mapping):
        given = [cast("ConversationMessage | Mapping[str, Any]", given)]
    if not isinstance(given, Iterable):
        raise InvalidMessage(f"messages must be a string or a list of messages, not {shown(given)}.")
    if isinstance(given, bytes | bytearray | memoryview):
        raise InvalidMessage("messages are bytes; decode them into a string, or pass a FilePart or ImagePart.")
    messages = tuple(_read_each(given))
    if not messages:
        raise InvalidMessage("messages is empty; pass at least one.")
    return messages


def _read_each(given: Iterable[ConversationMessage | Mapping[str, Any]]) -> Iterator[Message]:
    with reading("messages", InvalidMessage):
        for index, message in enumerate(given):
            with reading(f"Message {index}", InvalidMessage):
                read = _read_message(message, index)
            yield read


def _read_message(given: ConversationMessage | Mapping[str, Any], index: int) -> Message:
    if not isinstance(given, ConversationMessage | Mapping):
        raise InvalidMessage(f"Message {index} must be a mapping or a ConversationMessage, not {shown(given)}.")
    role = given.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise InvalidMessage(f"Message {index} has the role {shown(role)}; it must be one of {', '.join(_ROLES)}.")
    content = _read_content(given.get("content"), cast("Role", role), index)
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
        vendor=_read_vendor(given.get("vendor")),
    )
    if role == "tool" and not message.tool_call_id:
        raise InvalidMessage(f"Message {index} is a tool message without tool_call_id; name the call it answers.")
    _check_text(message, index)
    return message


def _read_content(given: Any, role: Role, index: int) -> Content | None:
    """Text as it is, parts as ours; a single part of text is that text."""
    if given is None or isinstance(given, str):
        return given
    if isinstance(given, Mapping) or not isinstance(given, list | tuple):
        raise InvalidMessage(
            f"Message {index} has content of type {type(given).__name__}; it must be a string or a list of parts, such "
            'as [{"type": "text", "text": "..."}, ImagePart(url="https://...")].'
        )
    parts = read_parts(cast("list[Any]", given), f"Message {index}")
    for place, part in enumerate(parts):
        if role not in _SHOWING_ROLES and not isinstance(part, TextPart):
            raise InvalidMessage(
                f"Message {index}, part {place}: {role} messages hold text only; show the {part.type} in one of the "
                "role 'user'."
            )
    if not parts:
        return ""
    return parts[0].text if len(parts) == 1 and isinstance(parts[0], TextPart) else parts


def _read_vendor(given: Any) -> VendorState | None:
    """What a provider wants back, if the message comes from one of our answers; anything else is not ours."""
    if given is None or isinstance(given, VendorState):
        return given
    fields = cast("Mapping[str, Any]", given) if isinstance(given, Mapping) else {}
    vendor, model = fields.get("vendor"), fields.get("model")
    if set(fields) != set(VendorState.model_fields) or not isinstance(vendor, str) or not isinstance(model, str):
        return None
    try:
        return VendorState(vendor=vendor, model=model, state=read_json(fields["state"], "vendor"))
    except InvalidContext:
        return None


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
    texts = [message.tool_call_id, message.sender]
    texts += [message.content] if isinstance(message.content, str) else []
    texts += [text for call in message.tool_calls for text in (call.id, call.name, call.arguments)]
    parts = message.content if isinstance(message.content, tuple) else ()
    texts += [part.text for part in parts if isinstance(part, TextPart)]
    for text in texts:
        if text is not None and is_longer(text, TEXT_BYTES):
            raise InvalidMessage(too_large(f"A text of message {index}"))
        if text is not None and has_lone_surrogate(text):
            raise InvalidMessage(
                f"Message {index} holds half a character (a lone surrogate), which cannot be sent or stored as "
                "UTF-8; clean the text with text.encode('utf-8', 'replace').decode()."
            )
