"""What both providers promise of streamed answers, against a server that streams, drips, stalls and cuts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from contract.test_providers import ADD, KEY, Provider, params, provider, vendor
from support.vendor import Calls, Drip, Hold, Raw, Status, Stream, Text, Vendor

from rojak_ray.agents.results import AgentResponse
from rojak_ray.errors import ModelMisbehaved, ModelRejected, ModelUnavailable, RojakError

__all__ = ["provider", "vendor"]

USAGE = {
    "openai": {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 3}},
    "anthropic": {"input_tokens": 6, "output_tokens": 4, "cache_read_input_tokens": 3},
}


async def streamed(activities: Any, **given: Any) -> tuple[AgentResponse, list[str]]:
    """The answer and the pieces it came in."""
    pieces: list[str] = []
    return await activities.call(params(on_delta=pieces.append, **given)), pieces


async def failure_of(activities: Any, **given: Any) -> tuple[RojakError, list[str]]:
    """The error of a streamed call, free of the key, and the pieces that came before it."""
    pieces: list[str] = []
    with pytest.raises(RojakError) as caught:
        await activities.call(params(on_delta=pieces.append, **given))
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value, pieces


@pytest.mark.parametrize(
    "reply",
    [
        Text("Hello there, you."),
        Text(""),
        Text(" spaces  around "),
        Text("and then", finish="length"),
        Text("emoji 😀 and 漢字"),
        Calls([("add", '{"a": 1}'), ("add", '{"a": 22}')], text="Adding two."),
        Calls([("add", "{}")]),
        Calls([("add", '{"a": ')]),
        Calls([("add", "{}"), ("add", "{}")], ids=[None, None]),
    ],
)
async def test_a_streamed_answer_is_the_same_as_a_plain_one(provider: Provider, vendor: Vendor, reply: Any) -> None:
    reply.usage = USAGE[provider.name]
    vendor.enqueue(reply, reply)
    activities = provider.make(vendor)
    plain = await activities.call(params(functions=[ADD]))
    answer, pieces = await streamed(activities, functions=[ADD])
    if provider.name == "anthropic" and answer.tool_calls:  # the plain wire has objects, the stream the model's text
        assert [c.function.arguments for c in answer.tool_calls] == [c.function.arguments for c in plain.tool_calls]
    assert answer == plain
    assert "".join(pieces) == (answer.content or "")
    assert answer.usage.cached_input_tokens == 3


async def test_the_vendor_is_asked_to_stream_only_when_somebody_watches(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Text(), Text())
    activities = provider.make(vendor)
    await streamed(activities)
    await activities.call(params())
    watched, plain = (request.body for request in vendor.requests)
    assert watched.pop("stream") is True
    assert watched.pop("stream_options", None) == ({"include_usage": True} if provider.name == "openai" else None)
    assert watched == plain


async def test_words_come_while_the_answer_is_under_way(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Stream(Text("one two three"), after=5, ending="stalled"))
    came = asyncio.Event()
    pieces: list[str] = []

    def on_delta(text: str) -> None:
        pieces.append(text)
        came.set()

    call = asyncio.create_task(provider.make(vendor).call(params(on_delta=on_delta)))
    await asyncio.wait_for(came.wait(), 10)
    assert not call.done()
    vendor.release()
    assert (await call).content == "one two three"
    assert "".join(pieces) == "one two three"


@pytest.mark.parametrize("after", [0, 1, 3, 4])
async def test_a_stream_without_its_end_is_an_error(provider: Provider, vendor: Vendor, after: int) -> None:
    vendor.enqueue(Stream(Text("one two three"), after=after))
    error, _ = await failure_of(provider.make(vendor))
    assert isinstance(error, ModelMisbehaved)
    assert error.retryable


async def test_calls_without_their_end_are_an_error(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Stream(Calls([("add", {"a": 1})]), after=3))
    error, _ = await failure_of(provider.make(vendor), functions=[ADD])
    assert isinstance(error, ModelMisbehaved)


async def test_a_connection_lost_in_mid_stream(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Stream(Text("one two three"), after=4, ending="dropped"), Text("back"))
    activities = provider.make(vendor)
    error, _ = await failure_of(activities)
    assert isinstance(error, ModelUnavailable)
    assert (await streamed(activities))[0].content == "back"


async def test_an_error_in_mid_stream(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Stream(Text("one two three"), after=4, ending="error"))
    error, pieces = await failure_of(provider.make(vendor))
    assert isinstance(error, ModelUnavailable)
    assert "broken off" in str(error)
    assert "overloaded_error" in str(error)
    assert pieces


@pytest.mark.parametrize("kind", ["invalid_request_error", "insufficient_quota"])
async def test_an_error_in_mid_stream_that_will_not_pass(provider: Provider, vendor: Vendor, kind: str) -> None:
    vendor.enqueue(Stream(Text("one two three"), after=4, ending="error", error=kind))
    error, _ = await failure_of(provider.make(vendor))
    assert isinstance(error, ModelRejected)


async def test_an_error_status_instead_of_a_stream(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Status(429, "slow down", headers={"Retry-After": "7"}), Status(400, "wrong"))
    activities = provider.make(vendor)
    error, _ = await failure_of(activities)
    assert isinstance(error, ModelUnavailable)
    assert (error.status, error.retry_after_s) == (429, 7.0)
    assert "slow down" in str(error)
    error, _ = await failure_of(activities)
    assert isinstance(error, ModelRejected)


async def test_the_time_is_for_the_whole_stream(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Stream(Text("word " * 10_000), every=0.02))
    error, pieces = await failure_of(provider.make(vendor), timeout_s=0.4)
    assert isinstance(error, ModelUnavailable)
    assert "0.4 s" in str(error)
    assert pieces
    assert await vendor.dropped(vendor.requests[0])


@pytest.mark.parametrize("reply", [Hold(), Drip(), Stream(after=3, ending="stalled")], ids=["silent", "drip", "stall"])
async def test_a_stream_that_stalls(provider: Provider, vendor: Vendor, reply: Any) -> None:
    vendor.enqueue(reply)
    error, _ = await failure_of(provider.make(vendor), timeout_s=0.3)
    assert isinstance(error, ModelUnavailable)
    assert await vendor.dropped(vendor.requests[0])


async def test_cancelling_in_mid_stream_drops_the_connection(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Stream(Text("one two three"), after=5, ending="stalled"))
    came = asyncio.Event()
    call = asyncio.create_task(provider.make(vendor).call(params(on_delta=lambda text: came.set())))
    await asyncio.wait_for(came.wait(), 10)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await vendor.dropped(vendor.requests[0])


async def test_a_connection_is_used_again_after_a_stream(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Text("one"), Text("two"))
    activities = provider.make(vendor)
    await streamed(activities)
    await streamed(activities)
    assert vendor.connections == 1


async def test_a_server_that_does_not_stream_is_read_as_it_answers(provider: Provider, vendor: Vendor) -> None:
    wire: Any = provider.name
    unusable = [Raw({"hello": 1}), Raw(b'{"choices": [{"message"')]
    vendor.enqueue(Raw(Text("whole").body(wire, "m")), *(reply for reply in unusable for _ in ("streamed", "plain")))
    activities = provider.make(vendor)
    assert (await streamed(activities))[0].content == "whole"
    for _ in range(2):
        error, _ = await failure_of(activities)
        assert isinstance(error, ModelMisbehaved)
    assert [bool(request.body.get("stream")) for request in vendor.requests] == [True, True, False, True, False]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"data: {not json\n\n",
        b"event: message_stop\ndata: not json\n\n",
        b"data: 7\n\ndata: [DONE]\n\n",
        b'event: x\ndata: {"choices": 7, "type": []}\n\n',
        b'data: {"choices": [7, {"delta": {"tool_calls": [{}]}, "finish_reason": "stop"}]}\n\n',
        b"\xff\xfe\xfd",
    ],
)
async def test_a_stream_of_the_wrong_shape(provider: Provider, vendor: Vendor, payload: bytes) -> None:
    vendor.enqueue(Raw(payload, content_type="text/event-stream"))
    error, _ = await failure_of(provider.make(vendor), functions=[ADD])
    assert isinstance(error, ModelMisbehaved)


async def test_a_character_in_two_halves_is_one(provider: Provider, vendor: Vendor) -> None:
    reply = Text("smile: 😀!")
    halves = [b"\\ud83d", b"\\ude00"]
    if provider.name == "openai":
        begin, end = b'data: {"choices": [{"delta": {"content": "', b'"}}]}\n\n'
        last = b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n'
    else:
        begin = b'event: content_block_delta\ndata: {"type": "content_block_delta", "index": 0, "delta": '
        begin, end = begin + b'{"type": "text_delta", "text": "', b'"}}\n\n'
        last = b'event: message_stop\ndata: {"type": "message_stop"}\n\n'
    sent = [b"smile: ", *halves, b"!"]
    body = b"".join(begin + piece + end for piece in sent) + last
    vendor.enqueue(Raw(body, content_type="text/event-stream"))
    answer, _ = await streamed(provider.make(vendor))
    assert answer.content == reply.text
