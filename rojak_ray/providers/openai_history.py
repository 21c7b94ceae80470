"""A history as OpenAI's wire and its strict servers take it. The rules and their sources: docs/histories.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rojak_ray.messages import ConversationMessage, clean_text
from rojak_ray.providers.history import (
    EARLIER_LEFT_OUT,
    EMPTY_MESSAGE,
    GO_ON,
    NO_RESULT,
    Call,
    CallIds,
    Origin,
    Turn,
    arguments_text,
    sendable_name,
    turns,
)
from rojak_ray.providers.openai_dialects import Dialect
from rojak_ray.providers.openai_parts import result_text, user_content
from rojak_ray.providers.openai_state import PLAIN_REASONING, call_fields, message_content, message_fields

_LONGEST_ID = 40
_SHOWN = "[What {names} returned:]"
_NO_ANSWER = "[There was no answer.]"
_UNSIGNED = {"google": {"thought_signature": "skip_thought_signature_validator"}}
"""What Google documents for calls that another model made."""


def chat_messages(messages: Iterable[ConversationMessage], origin: Origin, dialect: Dialect) -> list[dict[str, Any]]:
    """The `messages` of a request; none if there is nothing to say."""
    system, spoken = turns(messages)
    writing = _Writing(origin, dialect)
    reasoned = _with_calls_between_users(spoken)
    signed_from = max((place for place, turn in enumerate(spoken) if turn.message.role == "user"), default=0)
    for place, turn in enumerate(spoken):
        if turn.message.role == "user":
            writing.user(turn)
        else:
            writing.assistant(turn, reasons=reasoned[place], signs=place >= signed_from)
    sent = _ended(writing.sent, dialect)
    if not sent and messages:
        sent = [{"role": "user", "content": GO_ON}]
    if sent and sent[0]["role"] == "assistant":
        sent.insert(0, {"role": "user", "content": EARLIER_LEFT_OUT})
    if dialect.alternates:
        sent = _alternating(sent)
    return [{"role": "system", "content": "\n\n".join(system)}, *sent] if system else sent


def called_in(messages: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of the functions called in messages as they are sent, each once."""
    calls = (call for message in messages for call in message.get("tool_calls") or ())
    return list(dict.fromkeys(str(call["function"]["name"]) for call in calls))


def _with_calls_between_users(spoken: list[Turn]) -> list[bool]:
    """For each message, whether a function was called between the user's messages around it."""
    found: list[bool] = []
    begin, calls = 0, False
    for place, turn in enumerate([*spoken, None]):
        if turn is None or turn.message.role == "user":
            found += [calls] * (place - begin)
            begin, calls = place, False
        else:
            calls = calls or bool(turn.calls)
    return found


class _Writing:
    """Messages as they are written, one behind the other."""

    def __init__(self, origin: Origin, dialect: Dialect) -> None:
        self.sent: list[dict[str, Any]] = []
        self._origin = origin
        self._dialect = dialect
        self._ids = CallIds(_LONGEST_ID, dialect.call_id_length, by_name=dialect.call_ids_by_name)

    def user(self, turn: Turn) -> None:
        content = user_content(turn.message)
        if isinstance(content, str) and not content.strip():
            content = EMPTY_MESSAGE
        self._add_user(content)

    def _add_user(self, content: Any) -> None:
        if self._dialect.answer_before_user and self.sent and self.sent[-1]["role"] == "tool":
            self.sent.append({"role": "assistant", "content": _NO_ANSWER})
        self.sent.append({"role": "user", "content": content})

    def assistant(self, turn: Turn, *, reasons: bool, signs: bool) -> None:
        state = self._origin.own(turn.message)
        text = clean_text(turn.message.text)
        if not turn.calls and not text.strip():
            return
        fields = self._fields(state, reasons=reasons)
        content: Any = message_content(state, text)
        if not turn.calls:
            self.sent.append({"role": "assistant", "content": content, **fields})
            return
        if isinstance(content, str) and not content.strip():
            content = None
        ids = {id(call): self._ids.give(call) for call in turn.calls}
        calls = [self._call(call, ids[id(call)], call_fields(state, place)) for place, call in enumerate(turn.calls)]
        if signs and self._dialect.signed_calls:
            calls[0].setdefault("extra_content", _UNSIGNED)
        answer: dict[str, Any] = {"role": "assistant", "content": content, "tool_calls": calls, **fields}
        while self.sent and _is_plain_answer(self.sent[-1]):
            # A call stands right behind what it answers: Gemini refuses one behind an assistant's text.
            answer = _as_one(self.sent.pop(), answer)
        self.sent.append(answer)
        self._results(turn, ids)

    def _fields(self, state: Mapping[str, Any] | None, *, reasons: bool) -> dict[str, Any]:
        """What the server wants back beside the content: plain reasoning only where functions are called."""
        fields = message_fields(state)
        if not reasons:
            return {name: value for name, value in fields.items() if name not in PLAIN_REASONING}
        if self._dialect.reasoning_with_calls:
            fields.setdefault("reasoning_content", "")
        return fields

    def _call(self, call: Call, call_id: str, extra: Mapping[str, Any]) -> dict[str, Any]:
        function = {"name": sendable_name(call.name), "arguments": arguments_text(call.arguments)}
        return {"id": call_id, "type": "function", "function": function, **extra}

    def _results(self, turn: Turn, ids: Mapping[int, str]) -> None:
        """The results, then in one user message what text cannot hold of them."""
        behind: list[dict[str, Any]] = []
        names: list[str] = []
        for call in turn.by_result:
            text, shown = result_text(call.result) if call.result is not None else (NO_RESULT, [])
            content: Any = text
            if shown and self._dialect.images_in_results:
                content = [{"type": "text", "text": text}, *shown] if text else shown
            elif shown:
                behind += shown
                names.append(call.name)
            self.sent.append({"role": "tool", "content": content, "tool_call_id": ids[id(call)]})
        if behind:
            told = {"type": "text", "text": _SHOWN.format(names=", ".join(dict.fromkeys(names)))}
            self._add_user([told, *behind])


def _is_plain_answer(sent: Mapping[str, Any]) -> bool:
    return sent["role"] == "assistant" and "tool_calls" not in sent


def _ended(sent: list[dict[str, Any]], dialect: Dialect) -> list[dict[str, Any]]:
    if dialect.ends_with_user and sent and sent[-1]["role"] == "assistant":
        return [*sent, {"role": "user", "content": GO_ON}]
    return sent


def _alternating(sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with neighbours of one role joined; results of functions stay apart."""
    joined: list[dict[str, Any]] = []
    for message in sent:
        last = joined[-1] if joined else None
        if last is not None and last["role"] == message["role"] != "tool" and "tool_calls" not in last:
            joined[-1] = _as_one(last, message)
        else:
            joined.append(message)
    return joined


def _as_one(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Two messages of one role as one.

    Texts follow each other, and so do entries of lists: reasoning, and thoughts that are signed one by one. Of what
    seals a whole message, such as an object with a signature, the later one holds.
    """
    one = {**first, **second}
    for name in first.keys() & second.keys() - {"role"}:
        one[name] = _both(first[name], second[name]) if name == "content" else _one_value(first[name], second[name])
    return one


def _one_value(first: Any, second: Any) -> Any:
    if isinstance(first, str) and isinstance(second, str):
        return "\n\n".join(text for text in (first, second) if text)
    return [*first, *second] if isinstance(first, list) and isinstance(second, list) else second


def _both(first: Any, second: Any) -> Any:
    if first is None or second is None:
        return second if first is None else first
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [*_as_parts(first), *_as_parts(second)]


def _as_parts(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
