"""What Anthropic wants back with an answer: its blocks, in their order, as they came.

    {"blocks": [...], "paused": true, "container": "..."}

A block that is ours already is not kept twice: of a text, `{"text": n}` is the number of its characters, and of a call,
`{"call": n}` is its place; what else such a block has (citations) stands beside. Any other block is kept whole:
thinking with its signature, redacted thinking, uses and results of the vendor's own tools, and what is yet to come.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from rojak_ray.providers.history import storable
from rojak_ray.providers.wire import entries, is_nothing, mapping, text_of, word_of

PAUSED = "pause_turn"


def state_of(reply: Any) -> dict[str, Any] | None:
    """What to keep of a message; None if text and then calls say it all."""
    message = mapping(reply)
    kept: list[dict[str, Any]] = []
    calls = 0
    for block in entries(message.get("content")):
        match block.get("type"):
            case "text":
                kept.append({"text": len(text_of(block.get("text"))), **_beside(block, ("type", "text"))})
            case "tool_use":
                kept.append({"call": calls, **_beside(block, ("type", "id", "name", "input"))})
                calls += 1
            case _:
                kept.append(_with_input(block))
    state: dict[str, Any] = {"blocks": kept} if not _is_plain(kept) else {}
    if word_of(message.get("stop_reason")) == PAUSED:
        state = {"blocks": kept, "paused": True}
    if state and (container := text_of(mapping(message.get("container")).get("id"))):
        state["container"] = container
    return storable(state) if state else None


def _beside(block: Mapping[str, Any], ours: Sequence[str]) -> dict[str, Any]:
    """What a block has besides; that a model called directly goes without saying."""
    return {
        name: value
        for name, value in block.items()
        if name not in ours and value is not None and not (name == "caller" and value == {"type": "direct"})
    }


def _with_input(block: Mapping[str, Any]) -> dict[str, Any]:
    """A block whose input came in pieces has it as text; it goes back as an object, an absent one too."""
    whole = dict(block)
    if "input" in whole and is_nothing(whole["input"]):
        whole["input"] = {}
    elif isinstance(whole.get("input"), str):
        try:
            whole["input"] = json.loads(whole["input"] or "{}")
        except (ValueError, RecursionError):
            whole["input"] = {}
    return whole


def _is_plain(kept: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the blocks are texts and then calls, with nothing beside."""
    kinds = [next(iter(block)) for block in kept if len(block) == 1]
    texts = [kind for kind in kinds if kind == "text"]
    return len(kinds) == len(kept) and kinds == texts + ["call"] * (len(kinds) - len(texts))


def container_of(state: Mapping[str, Any] | None) -> str:
    """Where the vendor ran code for this answer; it wants to be told when the answer is gone on with."""
    return text_of(state.get("container")) if state else ""


def is_paused(state: Mapping[str, Any] | None) -> bool:
    """Whether the vendor goes on with this answer."""
    return state is not None and state.get("paused") is True


def restored(state: Mapping[str, Any], text: str, uses: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The blocks as they came; texts of nothing but white space, which the vendor sends but refuses, are left out."""
    blocks: list[dict[str, Any]] = []
    open_uses = dict(enumerate(uses))
    rest = text
    for kept in entries(state.get("blocks")):
        block = dict(kept)
        if isinstance(size := block.get("text"), int):
            said, rest = rest[:size], rest[size:]
            if said.strip():
                blocks.append({**block, "type": "text", "text": said})
        elif isinstance(place := block.get("call"), int):
            if (use := open_uses.pop(place, None)) is not None:
                blocks.append({**{name: value for name, value in block.items() if name != "call"}, **use})
        elif isinstance(block.get("type"), str):
            blocks.append(block)
    if rest.strip():
        blocks.append({"type": "text", "text": rest})
    return blocks + list(open_uses.values())


_GROWING = {"thinking_delta": "thinking", "signature_delta": "signature", "compaction_delta": "content"}


def add_piece(block: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """Take a piece of a streamed block that is neither its text nor its input."""
    kind = delta.get("type")
    if (name := _GROWING.get(str(kind))) is not None:
        block[name] = text_of(block.get(name)) + text_of(delta.get(name))
    elif kind == "citations_delta" and isinstance(delta.get("citation"), Mapping):
        block["citations"] = [*cast("list[Any]", block.get("citations") or []), delta["citation"]]
