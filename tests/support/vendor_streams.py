"""A scripted answer as the events of a stream, on either vendor's wire, each as the bytes that are sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any


def pieces(text: str) -> list[str]:
    """The text word by word, with the space before each."""
    return re.findall(r"\s*\S+|\s+$", text)


def openai_events(body: Any) -> list[bytes]:
    """A chat completion in chunks: a role, words, calls in two halves, a finish reason, the usage, the end."""
    choice = body["choices"][0]
    message = choice["message"]
    shared = {"id": body["id"], "object": "chat.completion.chunk", "created": 1, "model": body["model"]}

    def chunk(delta: Any, finish: str | None = None) -> bytes:
        return _data({**shared, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": None})

    events = [chunk({"role": "assistant", "content": ""})]
    events += [chunk({"content": word}) for word in pieces(message["content"] or "")]
    for index, call in enumerate(message.get("tool_calls") or []):
        arguments = call["function"]["arguments"]
        half = len(arguments) // 2
        first = {**call, "index": index, "function": {**call["function"], "arguments": arguments[:half]}}
        events.append(chunk({"tool_calls": [first]}))
        events.append(chunk({"tool_calls": [{"index": index, "function": {"arguments": arguments[half:]}}]}))
    events.append(chunk({}, choice["finish_reason"]))
    events.append(_data({**shared, "choices": [], "usage": body["usage"]}))
    return [*events, b"data: [DONE]\n\n"]


def anthropic_events(body: Any) -> list[bytes]:
    """A message in events, the input of tools in two halves."""
    begun = {**body, "content": [], "stop_reason": None, "usage": {**body["usage"], "output_tokens": 1}}
    events = [_event({"type": "message_start", "message": begun}), _event({"type": "ping"})]
    for index, block in enumerate(body["content"]):
        events += _block_events(index, block)
    ending = {"stop_reason": body["stop_reason"], "stop_sequence": None}
    usage = {"output_tokens": body["usage"].get("output_tokens", 0)}
    events.append(_event({"type": "message_delta", "delta": ending, "usage": usage}))
    return [*events, _event({"type": "message_stop"})]


def _block_events(index: int, block: Any) -> Iterator[bytes]:
    if block["type"] == "text":
        yield _event({"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}})
        deltas: list[Any] = [{"type": "text_delta", "text": word} for word in pieces(block["text"])]
    else:
        yield _event({"type": "content_block_start", "index": index, "content_block": {**block, "input": {}}})
        given = block["input"]
        text = given if isinstance(given, str) else json.dumps(given)
        halves = (text[: len(text) // 2], text[len(text) // 2 :])
        deltas = [{"type": "input_json_delta", "partial_json": half} for half in halves]
    for delta in deltas:
        yield _event({"type": "content_block_delta", "index": index, "delta": delta})
    yield _event({"type": "content_block_stop", "index": index})


def error_event(wire: str, kind: str, message: str) -> bytes:
    """An error in mid-stream."""
    if wire == "openai":
        return _data({"error": {"message": message, "type": kind, "code": None}})
    return _event({"type": "error", "error": {"type": kind, "message": message}})


def _data(payload: Any) -> bytes:
    return f"data: {json.dumps(payload)}\n\n".encode()


def _event(payload: Any) -> bytes:
    return f"event: {payload['type']}\n".encode() + _data(payload)
