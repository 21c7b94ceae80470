"""Whole answers told again as streams, and changed in one place, to compare how the two are read.

`streams_of` spells a plain reply in the ways in which servers stream; whatever in it is no text is told in one piece.
`changed` replaces one value of a reply by what servers were seen, or might be seen, to put there.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

ABSENT = object()
ODD: tuple[Any, ...] = (ABSENT, None, False, True, 0, 7, "", "x", [], {}, [None], ["x"], [7], {"x": 1}, {"text": "t"})
"""What may stand where something else should."""

Place = tuple[str | int, ...]
Cut = Callable[[str], list[str]]


def places(value: Any, here: Place = ()) -> Iterator[Place]:
    """Every place in a reply, the outer ones first."""
    inner: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in inner:
        yield (*here, name)
        yield from places(item, (*here, name))


def changed(reply: Any, place: Place, value: Any) -> Any:
    """A copy of the reply with another value in one place; ABSENT takes it out."""
    result = copy.deepcopy(reply)
    holder = result
    for name in place[:-1]:
        holder = holder[name]
    if value is not ABSENT:
        holder[place[-1]] = copy.deepcopy(value)
    else:
        del holder[place[-1]]
    return result


def doubled(reply: Any, place: Place) -> Any:
    """A copy with what stands in one place said twice: a text on end, an entry of a list beside itself."""
    result = copy.deepcopy(reply)
    holder = result
    for name in place[:-1]:
        holder = holder[name]
    if isinstance(holder, list):
        holder.insert(int(place[-1]), copy.deepcopy(holder[int(place[-1])]))
    elif isinstance(holder[place[-1]], str | list):
        holder[place[-1]] = holder[place[-1]] + copy.deepcopy(holder[place[-1]])
    return result


def streams_of(wire: str, reply: Any, cut: Cut) -> dict[str, bytes]:
    """The reply as streams, by the name of the way in which it is told; texts are cut by `cut`."""
    if wire == "anthropic":
        if not isinstance(reply, dict) or not isinstance(reply.get("content"), list):
            return {"in pieces": message_events(reply, cut, block_events)}
        return {
            "in pieces": message_events(reply, cut, block_events),
            "blocks whole": message_events(reply, cut, lambda index, block, _: [begin(index, block), end(index)]),
            "whole in the first event": named({"type": "message_start", "message": reply}) + named(STOP),
        }
    return {
        "in pieces": chunks(reply, cut, numbered_calls),
        "calls whole, without places": chunks(reply, cut, lambda call, _, cut: [call]),
        "calls whole, under index 0": chunks(reply, cut, lambda call, _, cut: [with_index(call, 0)]),
        "all in one piece": chunks(reply, None, None),
        "the message in one piece": chunks(reply, None, None, "message"),
    }


def with_index(call: Any, index: int) -> Any:
    return {**call, "index": index} if isinstance(call, dict) else call


def numbered_calls(call: Any, index: int, cut: Cut) -> list[Any]:
    """As OpenAI streams a call: its head, then pieces of its arguments."""
    function = call.get("function") if isinstance(call, dict) else None
    arguments = function.get("arguments") if isinstance(function, dict) else None
    if not isinstance(arguments, str):
        return [with_index(call, index)]
    head = {**call, "index": index, "function": {**function, "arguments": ""}}
    return [head, *({"index": index, "function": {"arguments": piece}} for piece in cut(arguments))]


def chunks(reply: Any, cut: Cut | None, calls: Any, under: str = "delta") -> bytes:
    """A completion in chunks; `cut` None: in one, whose message stands `under` this name."""
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list):
        return data(reply) + b"data: [DONE]\n\n"
    told: list[Any] = []
    for choice in choices:
        if not isinstance(choice, dict) or "message" not in choice:
            told.append(choice)
            continue
        rest = {name: value for name, value in choice.items() if name != "message"}
        if cut is None:
            told.append({**rest, under: choice["message"]})
            continue
        place = {"index": rest.pop("index")} if "index" in rest else {}
        told += [{**place, "delta": delta} for delta in deltas(choice["message"], cut, calls)]
        told.append({**place, "delta": {} if isinstance(choice["message"], dict) else None, **rest})
    around = {name: value for name, value in reply.items() if name not in ("choices", "usage")}
    sent = [{**around, "choices": [choice]} for choice in told] or [{**around, "choices": choices}]
    if "usage" in reply:
        sent.append({**around, "choices": [], "usage": reply["usage"]})
    return b"".join(map(data, sent)) + b"data: [DONE]\n\n"


def deltas(message: Any, cut: Cut, calls: Any) -> Iterator[Any]:
    if not isinstance(message, dict):
        yield message
        return
    yield {"role": "assistant"}
    for name, value in message.items():
        if name in ("content", "refusal", "reasoning_content", "reasoning") and isinstance(value, str):
            yield from ({name: piece} for piece in cut(value))
        elif name == "tool_calls" and isinstance(value, list):
            for index, call in enumerate(value):
                yield from ({name: [piece]} for piece in calls(call, index, cut))
        elif name != "role":
            yield {name: value}


STOP = {"type": "message_stop"}


def message_events(reply: Any, cut: Cut, events_of: Any) -> bytes:
    """A message in events."""
    if not isinstance(reply, Mapping) or not isinstance(reply.get("content"), list):
        return named({"type": "message_start", "message": reply})
    events: list[Any] = [{"type": "message_start", "message": {**reply, "content": [], "stop_reason": None}}]
    for index, block in enumerate(reply["content"]):
        events += events_of(index, block, cut)
    ending = {name: reply[name] for name in ("stop_reason",) if name in reply}
    events += [{"type": "message_delta", "delta": ending}, STOP]
    return b"".join(map(named, events))


def block_events(index: int, block: Any, cut: Cut) -> Iterator[Any]:
    began, told = block, list[Any]()
    kind = block.get("type") if isinstance(block, dict) else None
    if kind == "text" and "text" in block:
        began = {**block, "text": ""}
        texts = cut(block["text"]) if isinstance(block["text"], str) else [block["text"]]
        told = [{"type": "text_delta", "text": piece} for piece in texts]
    elif kind in ("tool_use", "server_tool_use") and isinstance(block.get("input"), dict):
        began = {**block, "input": {}}
        text = json.dumps(block["input"], ensure_ascii=False) if block["input"] else ""
        told = [{"type": "input_json_delta", "partial_json": piece} for piece in cut(text)]
    yield begin(index, began)
    yield from ({"type": "content_block_delta", "index": index, "delta": delta} for delta in told)
    yield end(index)


def begin(index: int, block: Any) -> Any:
    return {"type": "content_block_start", "index": index, "content_block": block}


def end(index: int) -> Any:
    return {"type": "content_block_stop", "index": index}


def data(payload: Any) -> bytes:
    return f"data: {json.dumps(payload)}\n\n".encode()


def named(event: Any) -> bytes:
    return f"event: {event['type']}\n".encode() + data(event)
