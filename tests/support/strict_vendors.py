"""What vendors refuse, each rule spelled anew from what they document and from reports of their 400s.

`openai_faults` and `anthropic_faults` take the body of a request and say what a strict server would refuse in it; they
share nothing with the code that writes bodies. Sources are in docs/histories.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import groupby, pairwise
from typing import Any

NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}")
ID = re.compile(r"[a-zA-Z0-9_-]+")
THOUGHTS = ("thinking", "redacted_thinking")


def unsendable(body: Mapping[str, Any]) -> Iterator[str]:
    try:
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, UnicodeEncodeError) as error:
        yield f"the body is no JSON: {error}"


def blank(text: Any) -> bool:
    return not isinstance(text, str) or not text.strip()


# OpenAI's wire


def openai_faults(body: Mapping[str, Any], own_fields: frozenset[str] = frozenset()) -> list[str]:
    """`own_fields`: fields of assistants' messages that the asked server knows."""
    faults = [*unsendable(body)]
    messages = body["messages"]
    spoken = messages[1:] if messages and messages[0]["role"] == "system" else messages
    if spoken is not messages and blank(messages[0]["content"]):
        faults.append("the system message is blank")
    if any(message["role"] == "system" for message in spoken):
        faults.append("a system message is not the first")
    if not spoken or spoken[0]["role"] != "user":
        faults.append("a user must speak first")
    used: list[str] = []
    waiting: list[str] = []
    for place, message in enumerate(spoken):
        before = spoken[place - 1]["role"] if place else None
        if message["role"] != "tool" and waiting:
            faults.append(f"calls without results: {waiting}")
            waiting = []
        match message["role"]:
            case "user":
                faults += user_faults(message)
            case "assistant":
                faults += assistant_faults(message, own_fields)
                waiting = [call["id"] for call in message.get("tool_calls", [])]
                used += waiting
                if waiting and before not in ("user", "tool"):
                    faults.append("a call must come right behind a user or a result")
            case "tool":
                if message["tool_call_id"] not in waiting:
                    faults.append(f"a result of no call: {message['tool_call_id']}")
                else:
                    waiting.remove(message["tool_call_id"])
                if not isinstance(message["content"], str):
                    faults.append("a result must be text")
            case role:
                faults.append(f"unknown role {role}")
    if waiting:
        faults.append(f"calls without results: {waiting}")
    if len(set(used)) != len(used):
        faults.append("ids of calls are used twice")
    return faults


def user_faults(message: Mapping[str, Any]) -> Iterator[str]:
    content = message["content"]
    if set(message) != {"role", "content"}:
        yield f"unknown fields of a user's message: {set(message)}"
    if isinstance(content, str):
        if blank(content):
            yield "a user's message is blank"
        return
    if not content:
        yield "a user's message has no parts"
    for part in content:
        match part["type"]:
            case "text":
                if blank(part["text"]):
                    yield "a part is blank"
            case "image_url":
                if not re.match(r"https?://|data:image/(png|jpeg|gif|webp);base64,", part["image_url"]["url"]):
                    yield "no address of an image"
            case "file":
                if not part["file"]["file_data"].startswith("data:application/pdf;base64,"):
                    yield "no PDF"
            case kind:
                yield f"unknown part {kind}"


def assistant_faults(message: Mapping[str, Any], own_fields: frozenset[str]) -> Iterator[str]:
    if "content" not in message:
        yield "the key content is missing"
    elif message["content"] is None:
        if not message.get("tool_calls"):
            yield "an assistant says nothing"
    elif isinstance(message["content"], str) and blank(message["content"]):
        yield "an assistant's message is blank"
    if unknown := set(message) - {"role", "content", "tool_calls"} - own_fields:
        yield f"unknown fields of an assistant's message: {unknown}"
    for call in message.get("tool_calls", []):
        if unknown := set(call) - {"id", "type", "function"} - own_fields:
            yield f"unknown fields of a call: {unknown}"
        if not ID.fullmatch(call["id"]) or len(call["id"]) > 40:
            yield f"id {call['id']!r}"
        yield from name_and_arguments(call["function"]["name"], call["function"]["arguments"])


def name_and_arguments(name: str, arguments: str) -> Iterator[str]:
    if not NAME.fullmatch(name):
        yield f"name {name!r}"

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        given = json.loads(arguments, parse_constant=refuse)
    except ValueError as error:
        yield f"arguments: {error}"
    else:
        if not isinstance(given, dict):
            yield "arguments are no object"


def mistral_faults(body: Mapping[str, Any]) -> list[str]:
    """What Mistral's models refuse besides."""
    faults: list[str] = []
    spoken = [message for message in body["messages"] if message["role"] != "system"]
    if spoken[-1]["role"] == "assistant":
        faults.append("the last message is an assistant's")
    for before, message in pairwise(spoken):
        if (before["role"], message["role"]) in {("tool", "user"), ("user", "user")}:
            faults.append(f"{message['role']} behind {before['role']}")
        if before["role"] == message["role"] == "assistant":
            faults.append("two answers in a row")
    ids = [call["id"] for message in spoken for call in message.get("tool_calls", [])]
    faults += [f"id {call_id!r}" for call_id in ids if not re.fullmatch(r"[a-zA-Z0-9]{9}", call_id)]
    return faults


def alternation_faults(body: Mapping[str, Any]) -> list[str]:
    """What templates refuse that want users and assistants in turns."""
    roles = [message["role"] for message in body["messages"] if message["role"] != "system"]
    return [f"two of {role} in a row" for role, other in pairwise(roles) if role == other != "tool"]


def kimi_faults(body: Mapping[str, Any]) -> list[str]:
    """What Kimi K2 cannot read: ids that are not the function's name and the number of the call."""
    calls = [call for message in body["messages"] for call in message.get("tool_calls", [])]
    expected = [f"functions.{call['function']['name']}:{number}" for number, call in enumerate(calls)]
    return [] if [call["id"] for call in calls] == expected else [f"ids {[call['id'] for call in calls]}"]


def gemini_faults(body: Mapping[str, Any]) -> list[str]:
    """What Gemini 3 refuses besides."""
    spoken = [message for message in body["messages"] if message["role"] != "system"]
    faults = ["the last message is an assistant's"] if spoken[-1]["role"] == "assistant" else []
    since_user = max(place for place, message in enumerate(spoken) if message["role"] == "user")
    for message in spoken[since_user:]:
        for call in message.get("tool_calls", [])[:1]:
            if not call.get("extra_content", {}).get("google", {}).get("thought_signature"):
                faults.append("a call is missing a thought_signature")
    return faults


def deepseek_faults(body: Mapping[str, Any]) -> list[str]:
    """What DeepSeek refuses besides."""

    def is_what_functions_showed(message: Mapping[str, Any]) -> bool:
        content = message.get("content")
        return isinstance(content, list) and content[0].get("text", "").startswith("[What ")

    faults: list[str] = []
    turn: list[Mapping[str, Any]] = []
    for message in [*body["messages"], {"role": "user"}]:
        if message["role"] == "user" and not is_what_functions_showed(message):
            called = any(answer.get("tool_calls") for answer in turn)
            for answer in turn:
                if called != ("reasoning_content" in answer):
                    faults.append(f"reasoning_content {'must' if called else 'must not'} be passed back")
            turn = []
        elif message["role"] == "assistant":
            turn.append(message)
    return faults


# Anthropic


def anthropic_faults(body: Mapping[str, Any], *, paused: bool = False) -> list[str]:
    """`paused`: the vendor itself paused in the last answer."""
    faults = [*unsendable(body)]
    messages = body["messages"]
    if not messages or messages[0]["role"] != "user":
        faults.append("a user must speak first")
    if messages and messages[-1]["role"] != "user" and not paused:
        faults.append("the conversation must end with a user message")
    if "system" in body and blank(body["system"]):
        faults.append("system is blank")
    for message in messages:
        faults += block_faults(message)
    turns = merged(messages)
    faults += [*tool_faults(turns), *server_tool_faults(turns)]
    kinds = {block["type"] for turn in turns for block in turn["content"]}
    if kinds & {"tool_use", "tool_result"} and not body.get("tools"):
        faults.append("Requests which include `tool_use` or `tool_result` blocks must define tools.")
    if body.get("thinking", {}).get("type") == "enabled":
        faults += thinking_faults(turns)
    return faults


def merged(messages: list[Any]) -> list[dict[str, Any]]:
    """As the API does: messages of one role in a row are one turn."""
    turns: list[dict[str, Any]] = []
    for role, group in groupby(messages, key=lambda message: message["role"]):
        blocks: list[Any] = []
        for message in group:
            content = message["content"]
            blocks += [{"type": "text", "text": content}] if isinstance(content, str) else content
        turns.append({"role": role, "content": blocks})
    return turns


def block_faults(message: Mapping[str, Any]) -> Iterator[str]:
    role, content = message["role"], message["content"]
    if role not in ("user", "assistant"):
        yield f"unknown role {role}"
    if not content or (isinstance(content, str) and blank(content)):
        yield "messages must have non-empty content"
    blocks = content if isinstance(content, list) else []
    for block in blocks:
        if block["type"] == "text" and blank(block["text"]):
            yield "text content blocks must contain non-whitespace text"
        if role == "assistant" and block["type"] in ("image", "document", "tool_result"):
            yield f"{block['type']} in an assistant's message"
        if role == "user" and block["type"] not in ("text", "image", "document", "tool_result"):
            yield f"{block['type']} in a user's message"
        if block["type"] == "tool_result" and "content" in block and not block["content"]:
            yield "an empty result has no content"
        inner = block.get("content") if block["type"] == "tool_result" else None
        for shown in [block, *(inner if isinstance(inner, list) else [])]:
            yield from source_faults(shown)
    if role == "assistant" and blocks and blocks[-1]["type"] in THOUGHTS:
        yield "the final block in an assistant message cannot be `thinking`"


def source_faults(block: Mapping[str, Any]) -> Iterator[str]:
    source = block.get("source", {})
    if block["type"] == "image" and source.get("type") == "base64":
        if source["media_type"] not in ("image/jpeg", "image/png", "image/gif", "image/webp"):
            yield f"media type {source['media_type']}"
        if len(source["data"]) > 5 * 1024 * 1024:
            yield "image exceeds 5 MB maximum"
    if source.get("type") == "url" and not source["url"].startswith("https://"):
        yield "Only HTTPS URLs are supported."
    if block["type"] == "document" and source.get("type") == "base64" and source["media_type"] != "application/pdf":
        yield f"document of the type {source['media_type']}"


def tool_faults(turns: list[dict[str, Any]]) -> Iterator[str]:
    used: set[str] = set()
    for place, turn in enumerate(turns):
        uses = [block for block in turn["content"] if block["type"] == "tool_use"]
        behind = turns[place + 1]["content"] if place + 1 < len(turns) else []
        leading = [block["tool_use_id"] for block in behind[: len(uses)] if block["type"] == "tool_result"]
        if sorted(leading) != sorted(use["id"] for use in uses):
            yield f"`tool_use` ids were found without `tool_result` blocks immediately after: {leading}"
        for use in uses:
            if use["id"] in used or not ID.fullmatch(use["id"]) or len(use["id"]) > 64:
                yield f"`tool_use` ids must be unique and match the pattern: {use['id']!r}"
            used.add(use["id"])
            if not NAME.fullmatch(use["name"]) or not isinstance(use["input"], dict):
                yield f"tool_use {use['name']!r} with {type(use['input']).__name__}"
        results = [block["tool_use_id"] for block in turn["content"] if block["type"] == "tool_result"]
        before = turns[place - 1]["content"] if place else []
        called = {block["id"] for block in before if block["type"] == "tool_use"}
        if len(results) != len(set(results)) or not set(results) <= called:
            yield "unexpected `tool_use_id` found in `tool_result` blocks"


def server_tool_faults(turns: list[dict[str, Any]]) -> Iterator[str]:
    blocks = [block for turn in turns if turn["role"] == "assistant" for block in turn["content"]]
    last = next((turn["content"] for turn in reversed(turns) if turn["role"] == "assistant"), [])
    begun: set[str] = set()
    finished = {block["tool_use_id"] for block in blocks if "tool_use_id" in block}
    for block in blocks:
        if block["type"] == "server_tool_use":
            begun.add(block["id"])
            if not isinstance(block["input"], dict):
                yield "input of a server tool is no object"
            if block["id"] not in finished and block not in last:
                yield f"tool use with id {block['id']} was found without a corresponding result block"
        elif "tool_use_id" in block and block["tool_use_id"] not in begun:
            yield f"unexpected `tool_use_id` found in `{block['type']}` blocks"


def thinking_faults(turns: list[dict[str, Any]]) -> Iterator[str]:
    if not turns or all(block["type"] != "tool_result" for block in turns[-1]["content"]):
        return
    answers: list[dict[str, Any]] = []
    for turn in reversed(turns):
        if turn["role"] == "assistant":
            answers.append(turn)
        elif all(block["type"] != "tool_result" for block in turn["content"]):
            break
    if not any(answer["content"][0]["type"] in THOUGHTS for answer in (answers[0], answers[-1])):
        yield "Expected `thinking` or `redacted_thinking`, but found something else."
