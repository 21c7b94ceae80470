"""Whatever a history holds, each request is one that a strict vendor takes: drawn histories against tables of rules."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from support.histories import CLAUDE, HERE, HISTORIES, histories
from support.strict_vendors import (
    alternation_faults,
    anthropic_faults,
    deepseek_faults,
    gemini_faults,
    kimi_faults,
    mistral_faults,
    openai_faults,
)

from rojak_ray.agents.activities import AgentCallParams, FunctionSchema
from rojak_ray.core.evolve import truncate
from rojak_ray.messages import ConversationMessage, ImagePart, Message, to_public
from rojak_ray.providers.anthropic import message_request
from rojak_ray.providers.history import Origin
from rojak_ray.providers.openai import chat_request
from rojak_ray.providers.openai_state import MESSAGE_FIELDS

LOOKUP = FunctionSchema("lookup", "", {"type": "object", "properties": {}})
OWN_FIELDS = frozenset(MESSAGE_FIELDS)
EXAMPLES = settings(max_examples=40, deadline=None)
SIZES = st.none() | st.integers(0, 8)


def params(history: list[Message], size: int | None, instructions: str, **more: Any) -> AgentCallParams:
    """The question of a run that begins with a user's message behind a history of that size."""
    kept = [*truncate(tuple(history), size), Message(role="user", content="go on")]
    messages = [ConversationMessage("system", instructions), *map(to_public, kept)]
    return AgentCallParams(messages=messages, model=more.pop("model", "m"), **more)


def asked_in_a_loop(history: list[Message], **more: Any) -> AgentCallParams:
    """The question of a run that is under way: nothing stands behind the history."""
    begun = [Message(role="user", content="go"), *history]
    return AgentCallParams(messages=list(map(to_public, begun)), model=more.pop("model", "m"), **more)


@EXAMPLES
@given(history=HISTORIES, size=SIZES, instructions=st.sampled_from(["", "Be kind.", " "]), functions=st.booleans())
def test_every_request_on_openais_wire_is_one_that_strict_servers_take(
    history: list[Message], size: int | None, instructions: str, functions: bool
) -> None:
    asked = params(history, size, instructions, functions=[LOOKUP] if functions else [])
    for question in (asked, asked_in_a_loop(history)):
        body = chat_request(question, None, HERE).body
        note(json.dumps(body, indent=1))
        assert openai_faults(body, OWN_FIELDS) == []
        nowhere = chat_request(question).body
        assert openai_faults(nowhere) == []


OTHERS = {
    "mistral": (Origin("openai/api.mistral.ai", "mistral-large"), mistral_faults),
    "mistral elsewhere": (Origin("openai/127.0.0.1:8000", "mistralai/Devstral-2"), mistral_faults),
    "gemma": (Origin("openai/openrouter.ai", "google/gemma-4"), alternation_faults),
    "reasoner": (Origin("openai/api.deepseek.com", "deepseek-reasoner"), alternation_faults),
    "gemini": (Origin("openai/generativelanguage.googleapis.com", "gemini-3-pro"), gemini_faults),
    "gemini elsewhere": (Origin("openai/gateway", "gemini-3.5-flash"), gemini_faults),
    "kimi": (Origin("openai/gpu:8000", "moonshotai/Kimi-K2.7"), kimi_faults),
    "deepseek": (Origin("openai/api.deepseek.com", "deepseek-v4"), deepseek_faults),
}


@settings(max_examples=25, deadline=None)
@given(data=st.data(), size=SIZES)
@pytest.mark.parametrize(("origin", "faults"), OTHERS.values(), ids=OTHERS)
def test_every_request_keeps_the_rules_of_a_server_that_differs(
    origin: Origin, faults: Any, data: st.DataObject, size: int | None
) -> None:
    history = data.draw(BY_ORIGIN[origin], label="history")
    for question in (params(history, size, "", model=origin.model), asked_in_a_loop(history, model=origin.model)):
        body = chat_request(question, None, origin).body
        note(json.dumps(body, indent=1))
        assert faults(body) == []
        common = [fault for fault in openai_faults(body, OWN_FIELDS) if not re.match(r"a result must|id 'funct", fault)]
        assert common == []
        assert signed_by_themselves(body["messages"]) == signed_by_themselves(wanted_back(question.messages, origin))


BY_ORIGIN = {origin: histories(origin) for origin, _ in OTHERS.values()}


def wanted_back(messages: list[ConversationMessage], origin: Origin) -> list[Any]:
    """What the asked server wants back with its answers, as far as these are sent at all."""
    kept = [origin.own(message) or {} for message in messages if message.text.strip() or message.tool_calls]
    return [state.get("message", {}) for state in kept]


def signed_by_themselves(messages: list[Any]) -> list[list[Any]]:
    """Entries of lists that stand beside contents, in their order."""
    names = ("reasoning_details", "thinking_blocks")
    return [[entry for message in messages for entry in message.get(name, [])] for name in names]


@EXAMPLES
@given(
    history=HISTORIES,
    size=SIZES,
    instructions=st.sampled_from(["", "Be kind.", " "]),
    functions=st.booleans(),
    thinking=st.booleans(),
)
def test_every_request_on_anthropics_wire_is_one_that_it_takes(
    history: list[Message], size: int | None, instructions: str, functions: bool, thinking: bool
) -> None:
    config = {"thinking": {"type": "enabled", "budget_tokens": 1024}} if thinking else None
    more: dict[str, Any] = {"functions": [LOOKUP] if functions else [], "inference_config": config}
    asked = params(history, size, instructions, model=CLAUDE.model, **more)
    for question in (asked, asked_in_a_loop(history, model=CLAUDE.model, **more)):
        for origin in (CLAUDE, None):
            body = message_request(question, None, origin).body
            note(json.dumps(body, indent=1))
            last = question.messages[-1].vendor
            paused = origin is not None and last is not None and last.vendor == CLAUDE.vendor
            assert anthropic_faults(body, paused=paused and last.state.get("paused") is True) == []


@EXAMPLES
@given(history=HISTORIES)
def test_a_history_is_written_the_same_way_again_and_is_never_changed(history: list[Message]) -> None:
    messages = [to_public(message) for message in history]
    before = repr(messages)
    for write in (chat_request, message_request):
        first = write(AgentCallParams(messages=messages, model="m")).body
        assert write(AgentCallParams(messages=messages, model="m")).body == first
    assert repr(messages) == before


@EXAMPLES
@given(history=HISTORIES)
def test_what_a_vendor_wants_back_reaches_no_other(history: list[Message]) -> None:
    question = asked_in_a_loop(history)
    for write in (chat_request, message_request):
        for origin in (None, Origin("openai/here:1", "m"), Origin("openai/here", "m2"), Origin("anthropic/there", "c")):
            text = json.dumps(write(question, None, origin).body)
            assert not re.search(r"signature|reasoning|thinking|server_tool_use|redacted|yet_to_come", text)


def long_history(turns: int) -> list[ConversationMessage]:
    """Turns that need every rule: one id for all calls, an odd name, broken arguments, a system message between."""
    history: list[ConversationMessage] = []
    for _ in range(turns):
        call = {"id": "call:0", "type": "function", "function": {"name": "functions.x", "arguments": "{oops"}}
        history += [
            ConversationMessage("user", "u"),
            ConversationMessage("assistant", None, tool_calls=[call]),
            ConversationMessage("system", "s"),
            ConversationMessage("tool", [ImagePart(url="https://example.com/a.png")], tool_call_id="call:0"),
            ConversationMessage("assistant", "a"),
        ]
    return history


def operations(write: Any, origin: Origin, turns: int) -> int:
    """How many calls of Python and C functions it takes to write a request."""
    question = AgentCallParams(messages=long_history(turns), model=origin.model)
    counted = 0

    def count(*_: Any) -> None:
        nonlocal counted
        counted += 1

    sys.setprofile(count)
    try:
        write(question, None, origin)
    finally:
        sys.setprofile(None)
    return counted


@pytest.mark.parametrize(
    ("write", "origin"),
    [
        (chat_request, HERE),
        (chat_request, Origin("openai/api.mistral.ai", "mistral-large")),
        (chat_request, Origin("openai/gpu", "kimi-k2")),
        (message_request, CLAUDE),
    ],
    ids=["openai", "mistral", "kimi", "anthropic"],
)
def test_ten_times_the_history_is_ten_times_the_work(write: Any, origin: Origin) -> None:
    few, many = (operations(write, origin, turns) for turns in (20, 200))
    assert many < 11 * few
