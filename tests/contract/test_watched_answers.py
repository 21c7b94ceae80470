"""Watching changes nothing: recorded answers through the vendors' SDKs, and servers that stream badly or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from contract.test_providers import ADD, PROVIDERS, Provider, params, provider, vendor
from support.answers import Case, as_recorded, cases
from support.vendor import Calls, Drip, Hold, Raw, Reply, Request, Status, Stream, Text, Vendor
from support.vendor_streams import anthropic_events, openai_events

from rojak_ray.errors import ModelMisbehaved, ModelRejected, ModelUnavailable, RojakError

__all__ = ["provider", "vendor"]

OPENAI = next(one for one in PROVIDERS if one.name == "openai")
REFUSES_OPTIONS = [
    Status(422, "body.stream_options: Extra inputs are not permitted"),
    Status(422, "Unprocessable Entity"),
    Status(400, "Unrecognized request argument supplied: stream_options"),
    Status(400, "unknown field include_usage"),
]
REFUSES_STREAMS = [
    Status(400, "Unsupported value: 'stream' does not support true with this model."),
    Status(501, "Streaming is not implemented"),
    Status(500, "Cannot use tools with stream"),
    Status(403, "Your organization must be verified to stream this model."),
]


async def outcome(activities: Any, **given: Any) -> dict[str, Any] | str:
    """An answer as it is recorded, or the name of the error."""
    try:
        return as_recorded(await activities.call(params(functions=[ADD], **given)))
    except RojakError as error:
        return type(error).__name__


@pytest.mark.parametrize("case", cases(), ids=str)
async def test_recorded_answer_is_the_same_whether_it_is_watched_or_not(vendor: Vendor, case: Case) -> None:
    provider = next(one for one in PROVIDERS if one.name == case.wire)
    stream = Raw(case.stream, content_type="text/event-stream")
    vendor.enqueue(Raw(case.plain), stream)
    activities = provider.make(vendor)
    told: list[str] = []
    plain, watched = await outcome(activities), await outcome(activities, on_delta=told.append)
    for found in (plain, watched):
        if case.answer is None:
            assert found == case.error
        else:
            assert isinstance(found, dict)
            assert {name: found[name] for name in case.answer} == case.answer
            assert case.answer["content"].startswith("".join(told))
    assert len(vendor.requests) == 2, "each was asked once"


def answering(refusal: Status, refused: Callable[[Request], bool]) -> Callable[[Request], Reply]:
    return lambda request: refusal if refused(request) else Text("fine")


@pytest.mark.parametrize("refusal", REFUSES_OPTIONS, ids=lambda refusal: refusal.message)
async def test_field_that_the_server_refuses_is_left_out_from_then_on(vendor: Vendor, refusal: Status) -> None:
    async with Vendor(answering(refusal, lambda request: "stream_options" in request.body)) as server:
        activities = OPENAI.make(server)
        for _ in range(2):
            told: list[str] = []
            answer = await activities.call(params(on_delta=told.append))
            assert (answer.content, "".join(told)) == ("fine", "fine")
        assert [("stream_options" in request.body) for request in server.requests] == [True, False, False]
        assert all(request.body["stream"] for request in server.requests)


@pytest.mark.parametrize("refusal", REFUSES_STREAMS, ids=lambda refusal: refusal.message)
async def test_model_that_the_server_does_not_stream_is_asked_plainly_from_then_on(
    provider: Provider, refusal: Status
) -> None:
    async with Vendor(answering(refusal, lambda request: "stream" in request.body)) as server:
        activities = provider.make(server)
        for _ in range(2):
            assert (await activities.call(params(on_delta=lambda text: None))).content == "fine"
        assert [("stream" in request.body) for request in server.requests] == [True, False, False]


async def test_server_that_refuses_both_is_asked_plainly(vendor: Vendor) -> None:
    def respond(request: Request) -> Reply:
        if "stream_options" in request.body:
            return Status(400, "stream_options is not known")
        return Status(400, "stream is not supported") if "stream" in request.body else Text("fine")

    async with Vendor(respond) as server:
        assert (await OPENAI.make(server).call(params(on_delta=lambda text: None))).content == "fine"
        assert len(server.requests) == 3


async def test_other_refusals_are_what_they_are(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Status(400, "max_tokens is too large"), Status(401, "who are you?"))
    activities = provider.make(vendor)
    for _ in range(2):
        with pytest.raises(ModelRejected):
            await activities.call(params(on_delta=lambda text: None))
    assert len(vendor.requests) == 2


@pytest.mark.parametrize(
    ("config", "sent"),
    [
        ({"stream_options": None}, None),
        ({"stream_options": {"include_usage": False}}, {"include_usage": False}),
        ({"stream": False}, {"include_usage": True}),
        ({"extra_body": {"stream_options": {"x": 1}, "stream": False}}, {"include_usage": True}),
    ],
)
@pytest.mark.parametrize("place", ["agent", "options"])
async def test_config_decides_about_stream_options_and_nothing_else(
    vendor: Vendor, config: Any, sent: Any, place: str
) -> None:
    vendor.enqueue(Text("fine"), Text("fine"))
    activities = OPENAI.make(vendor, inference_config=config) if place == "options" else OPENAI.make(vendor)
    given = {"inference_config": config} if place == "agent" else {}
    await activities.call(params(on_delta=lambda text: None, **given))
    await activities.call(params(**given))
    watched, plain = (request.body for request in vendor.requests)
    assert watched["stream"] is True
    assert watched.get("stream_options") == sent
    assert not {"stream", "stream_options"} & set(plain)


UNREADABLE = [b"data: {not json\n\n", b"<html>busy</html>", b"", b'data: {"choices": 7}\n\n', b": comment\n\n"]


@pytest.mark.parametrize("payload", UNREADABLE)
async def test_stream_that_cannot_be_read_gives_way_to_the_whole_answer(
    provider: Provider, vendor: Vendor, payload: bytes
) -> None:
    vendor.enqueue(Raw(payload, content_type="text/event-stream"), Calls([("add", '{"a": 1}')], text="So:"))
    answer = await provider.make(vendor).call(params(functions=[ADD], on_delta=lambda text: None))
    assert (answer.content, answer.tool_calls[0].function.name) == ("So:", "add")
    assert [bool(request.body.get("stream")) for request in vendor.requests] == [True, False]
    assert len({request.headers.get("Idempotency-Key") for request in vendor.requests}) == 1


async def test_stream_that_breaks_behind_its_first_words_gives_way_at_the_next_attempt(
    provider: Provider, vendor: Vendor
) -> None:
    after = {"openai": 3, "anthropic": 5}[provider.name]
    vendor.enqueue(Stream(Text("one two three"), after=after), Text("one two three"), Text("four"))
    activities = provider.make(vendor)
    told: list[str] = []
    with pytest.raises(ModelMisbehaved):
        await activities.call(params(on_delta=told.append, idempotency_key="question-1"))
    assert told
    assert (await activities.call(params(on_delta=told.append, idempotency_key="question-1"))).content
    assert (await activities.call(params(on_delta=told.append, idempotency_key="question-2"))).content == "four"
    assert [bool(request.body.get("stream")) for request in vendor.requests] == [True, False, True]


async def test_the_time_is_for_the_stream_and_what_follows_it(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Raw(b"nonsense", content_type="text/event-stream"), Hold())
    with pytest.raises(ModelMisbehaved):
        await provider.make(vendor).call(params(on_delta=lambda text: None, timeout_s=0.5))
    assert await vendor.dropped(vendor.requests[1])


def body_of(provider: Provider, text: str) -> Any:
    wire: Any = provider.name
    return Text(text).body(wire, "m")


def stream_of(provider: Provider, text: str) -> bytes:
    make = {"openai": openai_events, "anthropic": anthropic_events}[provider.name]
    return b"".join(make(body_of(provider, text)))


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/octet-stream"])
@pytest.mark.parametrize("watched", [True, False])
async def test_events_of_the_wrong_type_are_events_whoever_asked(
    provider: Provider, vendor: Vendor, content_type: str, watched: bool
) -> None:
    vendor.enqueue(Raw(stream_of(provider, "one two"), content_type=content_type))
    told: list[str] = []
    answer = await provider.make(vendor).call(params(on_delta=told.append if watched else None))
    assert (answer.content, "".join(told)) == ("one two", "one two" if watched else "")
    assert len(vendor.requests) == 1


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b" \n\n "])
@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json"])
@pytest.mark.parametrize("watched", [True, False])
async def test_whole_answer_of_the_wrong_type_is_whole(
    provider: Provider, vendor: Vendor, content_type: str, before: bytes, watched: bool
) -> None:
    vendor.enqueue(Raw(before + json.dumps(body_of(provider, "ü one")).encode(), content_type=content_type))
    on_delta = (lambda text: None) if watched else None
    assert (await provider.make(vendor).call(params(on_delta=on_delta))).content == "ü one"
    assert len(vendor.requests) == 1


async def test_lines_of_json_are_no_answer_and_give_way_to_one(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Raw(b'{"a": 1}\n{"b": 2}\n', content_type="application/json"), Text("fine"))
    assert (await provider.make(vendor).call(params(on_delta=lambda text: None))).content == "fine"


@pytest.mark.parametrize("last", [True, False])
async def test_stream_that_breaks_behind_its_first_words_gives_way_at_once_where_no_attempt_follows(
    provider: Provider, vendor: Vendor, last: bool
) -> None:
    """Whether it is the last attempt, or nobody says that another may follow."""
    vendor.enqueue(Stream(Text("one two three"), after={"openai": 3, "anthropic": 5}[provider.name]), Text("one two"))
    key = {"idempotency_key": "question-1"} if last else {}
    told: list[str] = []
    answer = await provider.make(vendor).call(params(on_delta=told.append, is_last_attempt=last, **key))
    assert answer.content == "one two"
    assert told


async def test_connection_that_breaks_in_every_stream_gives_way_to_the_whole_answer(
    provider: Provider, vendor: Vendor
) -> None:
    dropped = Stream(Text("one two three"), after=4, ending="dropped")
    vendor.enqueue(dropped, Text("whole"), dropped, Text("at once"))
    activities = provider.make(vendor)
    given = {"on_delta": lambda text: None, "idempotency_key": "question-1"}
    with pytest.raises(ModelUnavailable):
        await activities.call(params(**given))
    assert (await activities.call(params(**given))).content == "whole"
    given["idempotency_key"] = "question-2"
    assert (await activities.call(params(**given, is_last_attempt=True))).content == "at once"


@pytest.mark.parametrize("ending", ["dropped", "stalled"])
async def test_stream_that_has_its_answer_may_end_as_it_likes(provider: Provider, vendor: Vendor, ending: Any) -> None:
    count = {"openai": 6, "anthropic": 8}[provider.name]
    vendor.enqueue(Stream(Text("one two"), after=count, ending=ending))
    answer = await provider.make(vendor).call(params(on_delta=lambda text: None))
    assert answer.content == "one two"
    assert len(vendor.requests) == 1


ONLY_STREAMS = [
    Status(400, "This model only support stream mode, please enable the stream parameter to access the model."),
    Status(400, "parameter.enable_thinking must be set to false for non-streaming calls"),
    Status(400, "Stream must be set to true", payload={"detail": "Stream must be set to true"}),
    Status(422, "Requests with max_tokens > 4096 must have stream=true"),
]


@pytest.mark.parametrize("refusal", ONLY_STREAMS, ids=lambda refusal: refusal.message[:30])
async def test_model_that_the_server_only_streams_is_asked_so_though_nobody_watches(
    provider: Provider, refusal: Status
) -> None:
    async with Vendor(answering(refusal, lambda request: "stream" not in request.body)) as server:
        activities = provider.make(server)
        for _ in range(2):
            assert (await activities.call(params())).content == "fine"
        assert [bool(request.body.get("stream")) for request in server.requests] == [False, True, True]


async def test_answer_refused_for_good_is_so_behind_a_stream_without_an_end(vendor: Vendor) -> None:
    refused = {"error": {"message": "no credits", "code": 402}}
    vendor.enqueue(Raw(b": busy\n\n", content_type="text/event-stream"), Raw(refused))
    with pytest.raises(ModelRejected, match="no credits"):
        await OPENAI.make(vendor).call(params(on_delta=lambda text: None))


IN_PLACE_OF_A_STREAM = [
    b'{"error":{"message":"Streaming is not supported","code":400}}',
    b'{"error":{"message":"Unknown field stream_options","code":422}}',
    b'{"error":{"message":"Streaming is off","type":"invalid_request_error"}}',
    b'{"error":"streaming unsupported"}',
    b'{"detail":"Streaming is not supported"}',
    b"{}",
    b"[]",
    b'data: {"error":{"message":"Streaming is not supported","code":400}}\n\ndata: [DONE]\n\n',
    b'event: error\ndata: {"error":{"message":"no stream here","type":"invalid_request_error"}}\n\n',
]


@pytest.mark.parametrize("body", IN_PLACE_OF_A_STREAM, ids=lambda body: body.decode()[:60])
async def test_server_that_takes_a_stream_and_gives_none_is_asked_plainly(provider: Provider, body: bytes) -> None:
    async with Vendor(lambda request: Raw(body) if request.body.get("stream") else Text("fine")) as server:
        assert (await provider.make(server).call(params(on_delta=lambda text: None))).content == "fine"
        assert not server.requests[-1].body.get("stream")


@pytest.mark.parametrize(
    "reply",
    [Hold(), Drip(), Stream(Text("one two three"), after=4, ending="stalled"), Stream(after=0, ending="dropped")],
    ids=["silent", "pings", "one word", "closed"],
)
@pytest.mark.parametrize("ended_by", ["our own limit", "the step's"])
async def test_stream_that_falls_silent_is_a_plain_question_at_the_next_attempt(
    provider: Provider, reply: Any, ended_by: str
) -> None:
    async with Vendor(lambda request: reply if request.body.get("stream") else Text("fine")) as server:
        activities = provider.make(server)
        given = {"on_delta": lambda text: None, "idempotency_key": "question-1"}
        own = {"timeout_s": 0.3} if ended_by == "our own limit" else {}
        with pytest.raises((ModelUnavailable, TimeoutError)):
            async with asyncio.timeout(0.3 if not own else None):
                await activities.call(params(**given, **own))
        assert (await activities.call(params(**given))).content == "fine"
