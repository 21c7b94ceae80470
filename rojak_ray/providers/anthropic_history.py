"""A history as Anthropic's messages API takes it. The rules and their sources: docs/histories.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rojak_ray.messages import ConversationMessage, clean_text
from rojak_ray.providers.anthropic_parts import content_of
from rojak_ray.providers.anthropic_state import container_of, is_paused, restored
from rojak_ray.providers.history import (
    EARLIER_LEFT_OUT,
    EMPTY_MESSAGE,
    GO_ON,
    NO_RESULT,
    Call,
    CallIds,
    Origin,
    Turn,
    arguments_object,
    sendable_name,
    turns,
)

_LONGEST_ID = 64
_THOUGHTS = ("thinking", "redacted_thinking")


@dataclass(frozen=True)
class Spoken:
    """A history on the wire."""

    system: str
    messages: list[dict[str, Any]]
    called: tuple[str, ...]
    """Names of the functions in it, each once: the API wants tools defined where there are any."""

    container: str
    """Of the answer that is gone on with."""


def spoken(messages: Iterable[ConversationMessage], origin: Origin) -> Spoken:
    """System text and messages: results of one answer's calls together, and a user first."""
    system, said = turns(messages)
    ids = CallIds(_LONGEST_ID)
    sent: list[dict[str, Any]] = []
    called: dict[str, None] = {}
    container = ""
    for turn in said:
        container = container_of(origin.own(turn.message)) or container
        if turn.message.role == "user":
            container = ""
            sent.append({"role": "user", "content": content_of(turn.message) or EMPTY_MESSAGE})
            continue
        called |= {sendable_name(call.name): None for call in turn.calls}
        sent += _answer(turn, ids, origin)
    sent = _paired_server_tools(sent)
    if sent and sent[0]["role"] == "assistant":
        sent.insert(0, {"role": "user", "content": EARLIER_LEFT_OUT})
    if not sent and messages:
        sent = [{"role": "user", "content": GO_ON}]
    return Spoken("\n\n".join(system), sent, tuple(called), container)


def ended(messages: list[dict[str, Any]], last: ConversationMessage | None, origin: Origin) -> list[dict[str, Any]]:
    """The messages with a user's at the end, unless the vendor itself paused and goes on with its answer."""
    if not messages or messages[-1]["role"] != "assistant":
        return messages
    if last is not None and last.role == "assistant" and is_paused(origin.own(last)):
        return messages
    return [*messages, {"role": "user", "content": GO_ON}]


def begins_with_thought(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether thinking can be on: answers whose results come last must begin with a thought, the first or the last.

    What another model began, with calls and without a thought, is gone on with without thinking.
    """
    answers: list[Mapping[str, Any]] = []
    for role, group in groupby(reversed(messages), key=lambda message: str(message["role"])):
        run = list(group)
        if role == "assistant":
            answers.append(run[-1])
        elif not any(_has_results(message) for message in run):
            break
    return not answers or _begins_with_thought(answers[0]) or _begins_with_thought(answers[-1])


def _begins_with_thought(message: Mapping[str, Any]) -> bool:
    content = message["content"]
    return isinstance(content, list) and content[0].get("type") in _THOUGHTS


def _has_results(message: Mapping[str, Any]) -> bool:
    content = message["content"]
    return isinstance(content, list) and any(block.get("type") == "tool_result" for block in content)


def _answer(turn: Turn, ids: CallIds, origin: Origin) -> list[dict[str, Any]]:
    """An assistant's message, and the results of its calls as a user's; nothing if it said nothing."""
    state = origin.own(turn.message)
    text = clean_text(turn.message.text)
    given = {id(call): ids.give(call) for call in turn.calls}
    uses = [_use(call, given[id(call)]) for call in turn.calls]
    content: str | list[dict[str, Any]]
    if state is not None and "blocks" in state:
        content = restored(state, text, uses)
    elif uses:
        content = [{"type": "text", "text": text}, *uses] if text.strip() else uses
    else:
        content = text if text.strip() else ""
    sent: list[dict[str, Any]] = [{"role": "assistant", "content": content}] if content else []
    if uses:
        results = [_result(call, given[id(call)]) for call in turn.by_result]
        sent.append({"role": "user", "content": results})
    return sent


def _use(call: Call, call_id: str) -> dict[str, Any]:
    return {
        "type": "tool_use",
        "id": call_id,
        "name": sendable_name(call.name),
        "input": arguments_object(call.arguments),
    }


def _result(call: Call, call_id: str) -> dict[str, Any]:
    content = content_of(call.result) if call.result is not None else NO_RESULT
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": call_id}
    return {**result, "content": content} if content else result


def _paired_server_tools(sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages without a vendor's tool use that has no result, and without a result that has no use.

    A history that was cut leaves such halves, and so does an answer that was never gone on with. In the last answer a
    use may wait for its result: the vendor runs the tool when it is asked again.
    """
    last = max((place for place, message in enumerate(sent) if message["role"] == "assistant"), default=-1)
    open_uses = _uses_without_result(sent, last)
    begun: set[Any] = set()
    kept: list[dict[str, Any]] = []
    for message in sent:
        content = message["content"]
        if message["role"] != "assistant" or not isinstance(content, list):
            kept.append(message)
            continue
        blocks: list[dict[str, Any]] = []
        for block in content:
            if id(block) in open_uses or (_is_server_result(block) and block["tool_use_id"] not in begun):
                continue
            if _is_server_use(block):
                begun.add(block.get("id"))
            blocks.append(block)
        while blocks and blocks[-1].get("type") in _THOUGHTS:
            blocks.pop()  # an answer that was cut; the API takes no thought at the end
        if blocks:
            kept.append({**message, "content": blocks})
    return kept


def _uses_without_result(sent: Sequence[Mapping[str, Any]], last: int) -> set[int]:
    """The vendor's tool uses before the last answer behind which no result of theirs comes, by their identity."""
    results: set[Any] = set()
    found: set[int] = set()
    for place in range(last, -1, -1):
        content = sent[place]["content"]
        if sent[place]["role"] != "assistant" or not isinstance(content, list):
            continue
        for block in reversed(content):
            if _is_server_result(block):
                results.add(block["tool_use_id"])
            elif _is_server_use(block) and place < last and block.get("id") not in results:
                found.add(id(block))
    return found


def _is_server_use(block: Mapping[str, Any]) -> bool:
    return str(block.get("type")).endswith("_tool_use")


def _is_server_result(block: Mapping[str, Any]) -> bool:
    return isinstance(block.get("tool_use_id"), str)
