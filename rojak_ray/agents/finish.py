"""Why an answer ended: one small vocabulary for what every vendor spells in words of its own.

stop              the answer is whole
tool_calls        the model wants functions called
length            a token limit cut it
content_filter    a filter withheld the answer or the rest of it
refusal           the model refused
error             the vendor broke off for a reason of its own
max_turns         the run had appended all the messages it may before it had an answer
max_model_calls   the run had asked the model as often as it may before it had an answer
other             the vendor said something that we do not know; `raw_finish_reason` has its word
"""

from __future__ import annotations

import json
from typing import Literal, get_args

FinishReason = Literal[
    "stop", "tool_calls", "length", "content_filter", "refusal", "error", "max_turns", "max_model_calls", "other"
]

_WORDS: dict[FinishReason, tuple[str, ...]] = {
    "stop": ("end_turn", "stop_sequence", "eos", "eos_token", "complete", "completed", "end", "done", "finish"),
    "tool_calls": ("tool_use", "tool_call", "function_call", "function_calls"),
    "length": ("max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded", "limit"),
    "content_filter": (
        "safety",
        "recitation",
        "blocklist",
        "prohibited_content",
        "spii",
        "image_safety",
        "guardrail_intervened",
        "content_filtered",
        "sensitive",
        "language",
    ),
    "refusal": ("refused",),
    "error": (
        "abort",
        "aborted",
        "cancelled",
        "failed",
        "insufficient_system_resource",
        "malformed_function_call",
        "unexpected_tool_call",
        "network_error",
        "server_error",
        "timeout",
    ),
}
_OURS: dict[str, FinishReason] = {reason: reason for reason in get_args(FinishReason)}
_KNOWN: dict[str, FinishReason] = {**_OURS, **{word: reason for reason, words in _WORDS.items() for word in words}}

_UNKNOWN: FinishReason = "other"
_UNSAID: FinishReason = "stop"
_WHOLE = ("stop", "tool_calls")
_PAUSED = "pause_turn"
"""Anthropic's word for an answer that goes on when it is asked again: nothing of it is cut."""


def read_finish_reason(word: str | None, *, calls: bool = False) -> FinishReason:
    """A vendor's word, or one of ours, in our vocabulary.

    Args:
        word: In any case, as Gemini spells it in capitals; None or empty where the vendor said nothing.
        calls: Whether the answer asks for function calls. Several servers say "stop" then, and some say nothing.
    """
    reason = _reason(word.strip().lower()) if word and word.strip() else _UNSAID
    return "tool_calls" if calls and reason in _WHOLE else reason


def is_whole(word: str | None) -> bool:
    """Whether nothing broke the answer off: a call whose arguments are empty has none, rather than lost them."""
    return read_finish_reason(word) in _WHOLE or word == _PAUSED


def is_closed(arguments: str) -> bool:
    """Whether a call's arguments are complete JSON that cannot be the beginning of more, as `12` is of `123`."""
    if arguments.rstrip()[-1:] not in ("}", "]", '"'):
        return False
    try:
        json.loads(arguments)
    except (ValueError, RecursionError):
        return False
    return True


def survived(arguments: str) -> bool:
    """Whether a call's arguments are all there in an answer that broke off.

    Nothing, or an empty object, does not count: servers begin with them and fill in the rest, so that a function with
    defaults would run with values that nobody asked for.
    """
    return is_closed(arguments) and bool(json.loads(arguments))


def _reason(word: str) -> FinishReason:
    """A word, or one behind a colon: `function_call_filter: MALFORMED_FUNCTION_CALL`, as Gemini has it."""
    first, _, last = word.partition(":")
    return _KNOWN.get(word) or _KNOWN.get(last.strip()) or _KNOWN.get(first.strip()) or _UNKNOWN
