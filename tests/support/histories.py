"""Histories as hypothesis draws them: everything a durable conversation may hold after years with many vendors."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from rojak_ray.messages import FilePart, ImagePart, Message, TextPart, ToolCall, VendorState
from rojak_ray.providers import anthropic, anthropic_state, openai, openai_state
from rojak_ray.providers.history import Origin

HERE = Origin("openai/here", "m")
CLAUDE = Origin("anthropic/there", "claude")

TEXTS = st.sampled_from(["hi", "", " \n", "\ud83d", "\ufeff", "two\n\nlines ", "a" * 300])
IDS = st.sampled_from(
    ["call_0", "c1", "", "lookup:0", "lookup.0", "lookup_0", "x" * 70, "ü", "A1b2C3d4E", "srvtoolu_9"]
)
NAMES = st.sampled_from(["lookup", "functions.x", "multi_tool_use.parallel", "", "9lives", "größe", "n" * 90, "a b"])
ARGUMENTS = st.sampled_from(
    ["{}", '{"a": 1}', "", "{oops", "[1]", '"a"', '{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}', "null", "\ud800"]
)
PARTS = st.sampled_from(
    [
        TextPart(text="look"),
        TextPart(text=" "),
        TextPart(text="\ud800"),
        ImagePart(url="https://example.com/a.png", detail="low"),
        ImagePart(url="http://example.com/a.png"),
        ImagePart(data="aGVsbG8=", media_type="image/png"),
        FilePart(data="aGVsbG8=", media_type="application/pdf", name="a.pdf"),
        FilePart(data="aGVsbG8=", media_type="text/plain"),
        FilePart(data="", media_type="text/plain", name=" "),
        FilePart(data="aGVsbG8=", media_type="application/zip", name="a\ud800.zip"),
        FilePart(url="https://example.com/a.pdf"),
        FilePart(url="http://example.com/a.pdf"),
    ]
)
CONTENTS = TEXTS | st.lists(PARTS, max_size=3).map(tuple)


@st.composite
def foreign_answers(draw: st.DrawFn) -> Message:
    """An assistant's message as anybody may have passed it, with the state of a server that is asked no more."""
    calls = draw(st.lists(st.builds(ToolCall, id=IDS, name=NAMES, arguments=ARGUMENTS), max_size=3))
    state = draw(st.sampled_from([None, {"blocks": [{"type": "thinking", "signature": "x"}]}, {"message": {"a": 1}}]))
    vendor = VendorState(vendor="other/host", model="m", state=state) if state else None
    return Message(role="assistant", content=draw(st.none() | TEXTS), tool_calls=tuple(calls), vendor=vendor)


ANTHROPIC_BLOCKS = st.sampled_from(
    [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "b3BhcXVl"},
        {"type": "text", "text": "I say"},
        {"type": "text", "text": "\n\n"},
        {"type": "text", "text": "cited", "citations": [{"type": "web_search_result_location", "url": "u"}]},
        {"type": "tool_use", "id": "toolu_1", "name": "lookup", "input": {"a": 1}},
        {"type": "tool_use", "id": "toolu_2", "name": "lookup", "input": {}, "caller": {"type": "direct"}},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
        {"type": "server_tool_use", "id": "srvtoolu_2", "name": "web_search", "input": {}},
        {"type": "what_is_yet_to_come", "data": {"x": 1}},
    ]
)


@st.composite
def claudes_answers(draw: st.DrawFn) -> Message:
    """An answer that Anthropic gave, read as we read it."""
    blocks = draw(st.lists(ANTHROPIC_BLOCKS, min_size=1, max_size=5, unique_by=str))
    reason = draw(st.sampled_from(["end_turn", "pause_turn", "tool_use"]))
    reply = {"content": blocks, "stop_reason": reason}
    return as_message(anthropic.read_message(reply), CLAUDE.keep(anthropic_state.state_of(reply)))


@st.composite
def our_servers_answers(draw: st.DrawFn, origin: Origin = HERE) -> Message:
    """An answer that a server on OpenAI's wire gave, read as we read it."""
    calls = [
        {
            "id": call_id,
            "function": {"name": "lookup", "arguments": "{}"},
            "extra_content": {"google": {"thought_signature": "c2ln"}},
        }
        for call_id in draw(st.lists(st.sampled_from(["functions.f:0", "c1", "y" * 80]), max_size=2, unique=True))
    ]
    message: dict[str, Any] = {
        "content": draw(
            st.sampled_from(
                [
                    None,
                    "fine",
                    [
                        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                        {"type": "text", "text": "so"},
                    ],
                ]
            )
        ),
        "tool_calls": calls or None,
        **draw(
            st.sampled_from(
                [
                    {},
                    {"reasoning_content": "hm"},
                    {"reasoning": "hm", "reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]},
                    {"reasoning_details": [{"type": "reasoning.text", "text": "y", "signature": "s", "index": 0}]},
                    {"thinking_blocks": [{"type": "thinking", "thinking": "z", "signature": "t"}]},
                    {"extra_content": {"google": {"thought_signature": "c2ln"}}},
                    {"provider_specific_fields": {"seal": "u"}},
                ]
            )
        ),
    }
    reply = {"choices": [{"message": message, "finish_reason": "stop"}]}
    return as_message(openai.read_completion(reply), origin.keep(openai_state.state_of(reply)))


def as_message(answer: Any, vendor: VendorState | None) -> Message:
    """An answer as the journal keeps it."""
    calls = tuple(
        ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
        for call in answer.tool_calls or ()
    )
    return Message(role="assistant", content=answer.content, tool_calls=calls, vendor=vendor)


def messages(answers: st.SearchStrategy[Message]) -> st.SearchStrategy[Message]:
    """Any message."""
    return st.one_of(
        st.builds(Message, role=st.just("user"), content=CONTENTS),
        st.builds(Message, role=st.just("system"), content=TEXTS),
        st.builds(
            Message,
            role=st.just("tool"),
            content=CONTENTS,
            tool_call_id=IDS | st.sampled_from(["toolu_1", "toolu_2", "functions.f:0"]),
        ),
        answers,
    )


@st.composite
def runs(draw: st.DrawFn, answers: st.SearchStrategy[Message]) -> list[Message]:
    """What an undisturbed run leaves: a question, answers with the results of their calls, an answer."""
    messages = [Message(role="user", content="go")]
    for answer in draw(st.lists(answers, min_size=1, max_size=3)):
        messages.append(answer)
        messages += [Message(role="tool", content=draw(CONTENTS), tool_call_id=call.id) for call in answer.tool_calls]
    return messages


def histories(origin: Origin) -> st.SearchStrategy[list[Message]]:
    """Histories in which `origin`, others and Anthropic answered."""
    answers = foreign_answers() | claudes_answers() | our_servers_answers(origin)
    run, message = runs(answers), messages(answers)
    return st.one_of(
        st.lists(message, max_size=9),
        st.lists(run, min_size=1, max_size=4).map(lambda told: [message for run in told for message in run]),
        st.tuples(st.lists(run, max_size=2), st.lists(message, max_size=4)).map(
            lambda both: [message for run in both[0] for message in run] + both[1]
        ),
        st.lists(our_servers_answers(origin), min_size=1, max_size=4),
    )


HISTORIES = histories(HERE)
